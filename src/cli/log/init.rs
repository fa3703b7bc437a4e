//! `log init`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::ui::{Ui, quoted};
use crate::error::{Error, Kind, Result};
use crate::log::directory;

const EXAMPLES: &str = "\
Example:
  counterfoil log init LOG --key log.key";

/// Make an empty log, whose origin is the name of its key.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The directory to make it in.
    log: PathBuf,
    /// The file with the log's private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl Init {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        super::writable(&self.log)?;
        if self.log.join("launch.json").exists() {
            let message =
                format!("`{}` is a release, which is no place for a log", self.log.display());
            return Err(Error::new(Kind::Usage, message)
                .hint("say another directory: one log is of many releases"));
        }
        let key = super::read_signer(&self.key)?;
        directory::init(&self.log, &key)?;
        let (origin, vkey) = (key.verifier().name(), key.verifier().to_string());
        if ui.is_json() {
            return ui.json(&json!({ "log": self.log, "origin": origin, "vkey": vkey, "size": 0 }));
        }
        ui.done(&format!("an empty log, `{origin}`, in `{}`", self.log.display()));
        ui.next(&format!(
            "counterfoil log append {} --key {} --entries FILE",
            quoted(&self.log.display().to_string()),
            quoted(&self.key.display().to_string())
        ));
        ui.answer(&vkey)
    }
}
