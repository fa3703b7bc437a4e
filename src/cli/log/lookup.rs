//! `log lookup`.

use clap::Args;
use serde_json::json;

use crate::cli::ui::{Ui, printable_in_line};
use crate::digest::Sha384;
use crate::error::{Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::verify::{self, Signers};
use crate::log::{Note, VerifierKey, lookup};

const EXAMPLES: &str = "\
Examples:
  counterfoil log lookup https://log.example/ MEASUREMENT --log VKEY
  counterfoil log lookup LOG MEASUREMENT     without asking who signed the log";

/// Find the entries of a launch digest, each of them proved.
///
/// The log's index is not believed: it can leave something out, which a monitor finds, and no more. Without `--log`,
/// nobody's signature is asked for: the entries are in the tree that is shown, and anybody may have made that.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Lookup {
    /// The log's directory, or the URL that it is served at.
    log: String,
    /// The launch digest: 96 hex digits.
    measurement: Sha384,
    /// The log's key (a vkey, or a file with one), by which its checkpoint must be signed.
    #[arg(long = "log", value_name = "VKEY", value_parser = super::verifier)]
    key: Option<VerifierKey>,
}

impl Lookup {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let reader = Reader::open(&self.log)?;
        let note = reader.checkpoint()?;
        match &self.key {
            Some(key) => signed(&note, key, &reader.name(CHECKPOINT))?,
            None => {
                ui.warn("nobody's signature was asked for: say by `--log VKEY` whose log it is")
            }
        }
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
                format!("{} {}\n", hit.proof.index, printable_in_line(&entry))
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

/// Whose log it is must hold before anything of it is shown.
fn signed(note: &Note, key: &VerifierKey, name: &str) -> Result<()> {
    let signers = Signers::all_of(key.clone(), &[]);
    let (_, findings) = verify::checkpoint(note, &signers, name)?;
    match findings.into_iter().next() {
        None => Ok(()),
        Some(finding) => {
            let message = printable_in_line(&finding.message);
            Err(Error::caused(Kind::Rejected, message, finding.reason))
        }
    }
}
