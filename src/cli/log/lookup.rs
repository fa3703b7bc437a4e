//! `log lookup`.

use clap::Args;
use serde_json::json;

use crate::cli::ui::{Ui, printable};
use crate::digest::Sha384;
use crate::error::{Error, Kind, Result};
use crate::log::lookup;
use crate::log::reader::Reader;

const EXAMPLES: &str = "\
Example:
  counterfoil log lookup https://log.example.org/2026 MEASUREMENT";

/// Find the entries of a launch digest, each of them proved.
///
/// The log's index is not believed: it can leave something out, which a monitor finds, and no more.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Lookup {
    /// The log's directory, or the URL that it is served at.
    log: String,
    /// The launch digest: 96 hex digits.
    measurement: Sha384,
}

impl Lookup {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let reader = Reader::open(&self.log)?;
        let note = reader.checkpoint()?;
        let hits = lookup::lookup(&reader, &note, &self.measurement)?;
        if ui.is_json() {
            let hit = |hit: &lookup::Hit| {
                json!({
                    "index": hit.proof.index,
                    "entry": String::from_utf8_lossy(&hit.entry),
                    "proof": hit.proof.to_string(),
                })
            };
            ui.json(&json!({ "entries": hits.iter().map(hit).collect::<Vec<_>>() }))?;
        } else if !hits.is_empty() {
            let line = |hit: &lookup::Hit| {
                let entry = String::from_utf8_lossy(&hit.entry).into_owned();
                format!("{} {}\n", hit.proof.index, printable(&entry))
            };
            ui.answer(&hits.iter().map(line).collect::<String>())?;
        }
        if hits.is_empty() {
            let message = format!("the log has no entry of {}", self.measurement);
            return Err(Error::new(Kind::CannotDecide, message));
        }
        Ok(())
    }
}
