//! `log`: a transparency log as files, that any web server can serve.

use clap::{Args, Subcommand};

use crate::cli::ui::Ui;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  counterfoil log init LOG --key log.key                     an empty log, named as its key is
  counterfoil log append LOG --key log.key --entries FILE    an entry a line
  counterfoil log prove LOG --index 7 -o 7.tlog-proof        what proves that an entry is in it
  counterfoil log verify LOG --log VKEY                      read all of it again";

/// Keep, prove, verify and watch a transparency log.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Log {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {}

impl Log {
    pub(super) fn run(self, _ui: &Ui) -> Result<()> {
        match self.command {}
    }
}
