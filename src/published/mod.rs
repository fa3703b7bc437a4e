//! Whether what was published holds: the statement, the log and its witnesses, the rebuilders.
//!
//! ```text
//! trust ──┐
//! bundle ─┴─signer──▶ statement ──▶ is of these files, these digests, this time
//!            └─logged──▶ checkpoint of a known log, with enough witnesses
//! rebuilds ──signer, logged──▶ agree · disagree · silent · stale ──quorum──▶ enough
//! ```
//!
//! Bytes in, values out, as in [`crate::report`], with whose verdict the checks made here are joined. Whom to
//! believe is the verifier's own file ([`Trust`]); nothing that was published says it.

mod constraints;
mod distinct;
mod logged;
mod rebuilds;
mod signer;
mod stated;
pub mod trust;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Sha256;
use crate::log::checkpoint::Checkpoint;
use crate::log::note::Note;
use crate::report::time::Time;
use crate::report::verdict::Ledger;
use crate::report::{self, Verdict};
use crate::statement::dsse::Envelope;
use crate::statement::launch::Measurements;

pub use logged::InLog;
pub use rebuilds::{Counted, Rebuilds, may_be_on};
pub use stated::Stated;
pub use trust::Trust;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Whom the verifier believes.
    pub trust: &'a Trust,
    /// What was published.
    pub publication: &'a Publication,
    /// The release that it is to be about.
    pub release: &'a Known,
    /// The log, where it can be looked into.
    pub log: Option<&'a dyn View>,
    /// When.
    pub at: Time,
}

/// What was published, as it was received.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// The publisher's statement on the release.
    pub statement: Option<Document>,
    /// The words of the statement, as they stand beside it.
    pub words: Option<Vec<u8>>,
    /// Rebuilders'.
    pub rebuilds: Vec<Document>,
    /// What else publishers have said, which may take the statement back.
    pub others: Vec<Envelope>,
    /// What should be known of how it was read.
    pub notes: Vec<String>,
}

/// A signed statement and its proof of logging.
#[derive(Clone, Debug)]
pub struct Document {
    /// What to call it.
    pub name: String,
    /// The Sigstore bundle.
    pub bundle: Vec<u8>,
    /// The `.tlog-proof`, which counts beside the proof in the bundle.
    pub proof: Option<Vec<u8>>,
}

/// A release as the verifier knows it: from its files, and from nobody's word.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its files by their paths, with their digests: those that were read, and those that a record names that
    /// was.
    pub files: BTreeMap<String, Sha256>,
    /// Its launch digests, computed.
    pub measurements: Vec<Measurements>,
    /// Whether all of the files were read, also the large ones.
    pub is_read: bool,
}

/// A log that can be looked into.
pub trait View {
    /// The checkpoint that it shows today.
    fn checkpoint(&self) -> &Note;

    /// The root of its first `size` entries; none if it has fewer, or does not show them.
    fn root(&self, size: u64) -> Option<Sha256>;
}

/// What was found of a publication, beside the checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Published {
    /// The publisher's statement.
    pub statement: Option<Stated>,
    /// The rebuilders.
    pub rebuilds: Rebuilds,
}

/// A verdict that is also on what was published.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The verdict, with the checks of both. Without a report it is about no machine.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was found.
    pub published: Published,
}

/// The tree head in the checkpoint that a log shows, if it is one to go by: of a log that is believed, seen by enough
/// witnesses, and recently enough.
pub fn to_go_by(note: &Note, trust: &Trust, at: Time) -> Option<Checkpoint> {
    logged::to_go_by(note, trust, at).ok()
}

/// Answers a question on a publication, and, if there is one, that on the report of a machine with it.
pub fn verify(question: &Question<'_>, machine: Option<&report::Question<'_>>) -> Answer {
    let mut ledger = Ledger::default();
    let published = check(question, machine, &mut ledger);
    let mut verdict = match machine {
        Some(machine) => report::verify(machine),
        None => Verdict::of_release(question.at),
    };
    verdict.append(ledger);
    Answer { verdict, published }
}

fn check(
    question: &Question<'_>,
    machine: Option<&report::Question<'_>>,
    ledger: &mut Ledger,
) -> Published {
    for note in &question.publication.notes {
        ledger.note(note.clone());
    }
    let mut heads = logged::Heads::default();
    let stated = stated::check(question, &mut heads, ledger);
    if let (Some(launch), Some(machine)) = (stated.as_ref().map(|it| &it.launch), machine) {
        constraints::check(&launch.report_constraints, machine, ledger);
    }
    let rebuilds = rebuilds::check(question, &mut heads, ledger);
    heads.check(question, ledger);
    Published { statement: stated, rebuilds }
}
