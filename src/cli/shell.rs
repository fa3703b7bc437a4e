//! `completions` and `man`: what shells and manuals want to know of the command line.

use std::io::{self, Write as _};

use clap::Args;
use clap_complete::Shell;

use crate::error::{Context as _, Kind, Result};

/// Print shell completions to standard output.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  counterfoil completions bash > ~/.local/share/bash-completion/completions/counterfoil"
)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Print the manual page to standard output.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  counterfoil man > counterfoil.1 && man ./counterfoil.1")]
pub(super) struct Man {}

impl Completions {
    pub(super) fn run(self, mut command: clap::Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "counterfoil", &mut script);
        io::stdout()
            .lock()
            .write_all(&script)
            .context(Kind::Environment, || "failed writing the completions".to_owned())
    }
}

impl Man {
    pub(super) fn run(self, command: clap::Command) -> Result<()> {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .and_then(|()| io::stdout().lock().write_all(&page))
            .context(Kind::Environment, || "failed writing the manual page".to_owned())
    }
}
