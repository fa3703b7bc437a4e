//! `log verify`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::given::{Entry, Given};
use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::reason::Reason;
use crate::log::tree::Tree;
use crate::log::verify::{self, Finding, Signers};
use crate::log::{Checkpoint, VerifierKey};

const EXAMPLES: &str = "\
Examples:
  counterfoil log verify LOG --log VKEY
  counterfoil log verify LOG --log VKEY --old checkpoint.seen   that it goes on from that
  counterfoil log verify 7.tlog-proof --entry FILE --log VKEY --witness VKEY
  counterfoil log verify release/statement.sigstore.json --log VKEY";

/// Verify a log to its last byte, or a proof from one.
///
/// Every reason for which it is not to be believed is told by a stable name.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// The log's directory, the URL that it is served at, a proof, or a Sigstore bundle with one.
    what: String,
    /// The log's key (a vkey, or a file with one), whose name is the log's origin.
    #[arg(long, value_name = "VKEY", value_parser = super::of_log, required_unless_present = "trust")]
    log: Option<VerifierKey>,
    /// A trust policy, whose logs count, and whose quorum of witnesses must have cosigned.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["log", "witness"])]
    trust: Option<PathBuf>,
    /// A witness that must have cosigned; may be repeated.
    #[arg(long, value_name = "VKEY", value_parser = super::of_witness)]
    witness: Vec<VerifierKey>,
    /// A checkpoint of the log that was seen before; may be repeated.
    #[arg(long, value_name = "FILE")]
    old: Vec<PathBuf>,
    /// The entry that the proof is of, or the bundle whose entry it is of.
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let policy = self.trust.as_deref().map(super::read_trust).transpose()?;
        let signers = super::signers(self.log.as_ref(), &self.witness, policy.as_ref())?;
        let is_proof = Path::new(&self.what).is_file();
        let (checkpoint, findings) = match is_proof {
            true => self.proof(&signers, ui)?,
            false => self.whole(&signers, ui)?,
        };
        if ui.is_json() {
            ui.json(&json!({
                "accepted": findings.is_empty(),
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root,
                "reasons": findings,
            }))?;
        } else {
            ui.answer(&as_text(ui, &checkpoint, &findings))?;
        }
        verify::verdict(&findings, &self.what)
    }

    fn proof(&self, signers: &Signers, ui: &Ui) -> Result<(Checkpoint, Vec<Finding>)> {
        let path = Path::new(&self.what);
        if !self.old.is_empty() {
            let message = "a proof does not tell whether the log goes on from `--old`";
            return Err(Error::new(Kind::Usage, message).hint("verify the log itself"));
        }
        let proof = match (Given::read(path)?, &self.entry) {
            (Given::Bundle(logged), None) => {
                let body = logged.entry.to_body();
                let body = body.context(Kind::Malformed, || format!("`{}`", self.what))?;
                ui.note(&format!(
                    "the entry is of the statement in the bundle, signed by the key {}; whether that is anybody's, `counterfoil verify --trust` asks",
                    logged.entry.key.id()
                ));
                return verify::proof(&logged.proof, &body, signers, &self.what);
            }
            (Given::Bundle(_), Some(_)) => {
                let message = format!("`{}` is a bundle, which holds its entry itself", self.what);
                return Err(Error::new(Kind::Usage, message).hint("leave `--entry` out"));
            }
            (Given::Proof(proof), _) => proof,
        };
        let Some(path) = &self.entry else {
            let message = format!("`{}` is a proof, and of which entry is not said", self.what);
            return Err(Error::new(Kind::Usage, message)
                .hint("say it by `--entry FILE`: the entry, or the bundle that was logged"));
        };
        let entry = Entry::read(path)?;
        let (checkpoint, findings) = verify::proof(&proof, &entry.bytes, signers, &self.what)?;
        let not_in_it = findings.iter().any(|finding| finding.reason == Reason::Inclusion);
        if let Some(what) = entry.looks_like.filter(|_| not_in_it) {
            let name = printable_in_line(&path.display().to_string());
            ui.warn(&format!("`{name}` is {what}: is it meant to be the entry?"));
        }
        Ok((checkpoint, findings))
    }

    fn whole(&self, signers: &Signers, ui: &Ui) -> Result<(Checkpoint, Vec<Finding>)> {
        if self.entry.is_some() {
            let message = format!("`{}` is a log, and `--entry` is for proofs", self.what);
            return Err(Error::new(Kind::Usage, message));
        }
        let reader = Reader::open(&self.what)?;
        let note = reader.checkpoint()?;
        let (checkpoint, mut findings) =
            verify::checkpoint(&note, signers, &reader.name(CHECKPOINT))?;
        let mut tree = match Tree::open(&reader, &checkpoint) {
            Ok(tree) => tree,
            Err(error) => {
                findings.push(Finding::from(error)?);
                return Ok((checkpoint, findings));
            }
        };
        if checkpoint.size > MOST_ENTRIES {
            let message = format!(
                "`{}` says that it has {} entries: no more than {MOST_ENTRIES} are read",
                self.what, checkpoint.size
            );
            return Err(Error::new(Kind::CannotDecide, message));
        }
        for path in &self.old {
            let name = path.display().to_string();
            let (old, wrong) =
                verify::checkpoint(&super::read_note(path)?, &signers.unwitnessed(), &name)?;
            // What the log did not sign says nothing against it.
            match wrong.is_empty() {
                true => findings.extend(verify::goes_on(&mut tree, &checkpoint, &old, &name)?),
                false => findings.extend(wrong),
            }
        }
        ui.begin("reading the log", None);
        findings.extend(verify::files(&mut tree, |count| ui.advance(count))?);
        ui.end();
        Ok((checkpoint, findings))
    }
}

fn as_text(ui: &Ui, checkpoint: &Checkpoint, findings: &[Finding]) -> String {
    let Checkpoint { origin, size, root, .. } = checkpoint;
    let mut text = format!("{}: {size} entries, root {root}\n", printable_in_line(origin));
    for Finding { reason, message } in findings {
        let code = ui.paint(Style::Red, reason.code());
        text += &format!("{code}: {}\n", printable_in_line(message));
    }
    if findings.is_empty() {
        text += &format!("{}\n", ui.paint(Style::Green, "accepted"));
    }
    text
}

/// The most entries that are read again: a server can show any number of them, all in one tile, for nothing.
const MOST_ENTRIES: u64 = 1 << 32;
