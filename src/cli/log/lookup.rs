//! `log lookup`.

use clap::Args;
use serde_json::json;

use crate::cli::ui::{Ui, printable_in_line};
use crate::digest::Sha384;
use crate::error::{Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::log::lookup::{Found, Hit, Says};
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::verify::{self, Signers};
use crate::log::{Note, VerifierKey, lookup};

const EXAMPLES: &str = "\
Examples:
  counterfoil log lookup https://log.example/ MEASUREMENT --log VKEY
  counterfoil log lookup LOG MEASUREMENT     without asking who signed the log";

/// Find the entries of a launch digest, each of them proved.
///
/// Each line has the entry's index, the SHA-256 of the key that signed it, and what its statement says, which is read
/// beside the log. Whether that key is anybody's, `verify --trust` asks.
///
/// The log's index is not signed: it can leave something out, and nobody looks whether it does; `log monitor` reads the
/// log without it. Without `--log`, nobody's signature is asked for: the entries are in the tree that is shown, and
/// anybody may have made that.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Lookup {
    /// The log's directory, or the URL that it is served at.
    log: String,
    /// The launch digest: 96 hex digits.
    measurement: Sha384,
    /// The log's key (a vkey, or a file with one), by which its checkpoint must be signed.
    #[arg(long = "log", value_name = "VKEY", value_parser = super::of_log)]
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
        let Found { hits, others } = lookup::lookup(&reader, &note, &self.measurement)?;
        if ui.is_json() {
            let hit = |hit: &Hit| {
                json!({
                    "index": hit.proof.index,
                    "key": hit.key.map(|key| key.id()),
                    "says": hit.says,
                    "entry": String::from_utf8_lossy(&hit.entry),
                    "proof": hit.proof.to_string(),
                })
            };
            let entries: Vec<_> = hits.iter().map(hit).collect();
            ui.json(&json!({ "entries": entries, "others": others }))?;
        } else if !hits.is_empty() {
            ui.answer(&hits.iter().map(line).collect::<String>())?;
        }
        let is_clear = |hit: &Hit| !matches!(hit.says, Says::Unclear { .. });
        if !hits.iter().any(is_clear) {
            let message = match hits.is_empty() {
                true => format!("the log's index has no entry of {}", self.measurement),
                false => format!("of no entry is it known to be of {}", self.measurement),
            };
            let error = Error::new(Kind::CannotDecide, message);
            return Err(match others {
                0 => error,
                _ => error.hint(format!("the index names {others} that are of something else")),
            });
        }
        if others > 0 {
            ui.warn(&format!("{others} entries that the index names are of something else"));
        }
        Ok(())
    }
}

/// Which entry, who, and what.
fn line(hit: &Hit) -> String {
    let says = match &hit.says {
        Says::Statement { sequence, release } => {
            format!("statement number {sequence} of `{release}`")
        }
        Says::Provenance { builder } => format!("provenance, made by `{builder}`"),
        Says::Rebuild { builder, agrees: true } => format!("rebuild, agrees: `{builder}`"),
        Says::Rebuild { builder, agrees: false } => format!("rebuild, differs: `{builder}`"),
        Says::Revocation { reason } => format!("revocation: {reason}"),
        Says::Unclear { why } => format!("unclear: {why}"),
    };
    let key = hit.key.map_or_else(|| "-".to_owned(), |key| key.id().to_string());
    format!("{} {key} {}\n", hit.proof.index, printable_in_line(&says))
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
