//! That something was logged: its entry leads to a checkpoint, a log that is believed has signed that, and
//! enough witnesses have seen it.

use std::collections::BTreeMap;
use std::error::Error as StdError;

use serde::Serialize;

use super::trust::Trust;
use super::{Document, Question};
use crate::digest::Sha256;
use crate::error::in_one_line;
use crate::log::checkpoint::Checkpoint;
use crate::log::entry::Entry;
use crate::log::merkle;
use crate::log::note::Note;
use crate::log::proof::Proof;
use crate::log::signed::Signed;
use crate::report::Reason;
use crate::report::time::Time;
use crate::report::verdict::Ledger;
use crate::statement::bundle::Bundle;
use crate::statement::key::PublicKey;

/// Where something is in a log.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InLog {
    /// Which log.
    pub origin: String,
    /// Which entry.
    pub index: u64,
    /// Of how many.
    pub size: u64,
    /// The witnesses who signed, by the verifier's names for them.
    pub witnesses: Vec<String>,
}

/// Why something does not count as logged, and what was found.
pub(super) type Failure = (Reason, String);

/// The tree heads that were signed by logs that are believed, to hold them against one another.
#[derive(Debug, Default)]
pub(super) struct Heads {
    seen: BTreeMap<(String, u64), Sha256>,
    forked: Vec<String>,
}

/// That the statement in `bundle`, which `key` signed, was logged. Every proof that came along must hold; one of
/// them must have enough witnesses.
pub(super) fn logged(
    document: &Document,
    bundle: &Bundle,
    key: &PublicKey,
    question: &Question<'_>,
    heads: &mut Heads,
) -> Result<InLog, Failure> {
    let form = |error: &dyn StdError| malformed(&document.name, error);
    let mut proofs = Vec::new();
    if let Some(bytes) = &document.proof {
        proofs.push(Proof::from_bytes(bytes).map_err(|error| form(&error))?);
    }
    if let Some(logged) = &bundle.logged {
        if logged.entry.key != *key {
            let says = format!("{}: the bundle's entry is of another key", document.name);
            return Err((Reason::LogEntry, says));
        }
        proofs.push(logged.proof.clone());
    }
    let entry = Entry::of(&bundle.envelope, *key).and_then(|entry| entry.to_body());
    let leaf = merkle::leaf(&entry.map_err(|error| form(&error))?);
    let mut best: Option<Result<InLog, Failure>> = None;
    for proof in &proofs {
        let found = included(&document.name, proof, leaf, question.trust, heads);
        let found = found.and_then(|found| {
            let witnesses = witnessed(&proof.checkpoint, question.trust, question.at)?;
            Ok(InLog { witnesses, ..found })
        });
        match found {
            // In another log, or not seen by enough: that may be so beside a proof which is enough.
            Ok(_) | Err((Reason::LogUnknown | Reason::WitnessQuorum | Reason::LogStale, _)) => {
                if best.as_ref().is_none_or(Result::is_err) {
                    best = Some(found);
                }
            }
            // What claims a known key and does not hold is forged.
            Err(_) => return found,
        }
    }
    best.unwrap_or_else(|| {
        Err((Reason::LogProofMissing, format!("{} has no proof of logging", document.name)))
    })
}

/// That the entry is in the tree of a checkpoint that a known log has signed.
fn included(
    name: &str,
    proof: &Proof,
    leaf: Sha256,
    trust: &Trust,
    heads: &mut Heads,
) -> Result<InLog, Failure> {
    let head = proof.tree_head().map_err(|error| malformed(name, &error))?;
    signed_by_log(&proof.checkpoint, &head, trust)?;
    let root = merkle::inclusion_root(proof.index, head.size, leaf, &proof.hashes);
    if root != Some(head.root) {
        let says = format!(
            "{name}: entry {} of {} in `{}` does not lead to the root",
            proof.index, head.size, head.origin
        );
        return Err((Reason::LogInclusion, says));
    }
    heads.add(&head);
    Ok(InLog { origin: head.origin, index: proof.index, size: head.size, witnesses: Vec::new() })
}

/// That something is no proof, or holds no checkpoint.
fn malformed(name: &str, error: &dyn StdError) -> Failure {
    (Reason::LogProofForm, format!("{name}: {}", in_one_line(error)))
}

/// That a log which is believed has signed a checkpoint of its own.
pub(super) fn signed_by_log(note: &Note, head: &Checkpoint, trust: &Trust) -> Result<(), Failure> {
    let mut good = false;
    for log in &trust.logs {
        match log.key.verify(note) {
            Signed::Bad => {
                let says = format!("`{}` did not sign this checkpoint", log.key.name());
                return Err((Reason::LogSignature, says));
            }
            // The name of a log's key is its origin (tlog-policy, "Defining a log").
            Signed::Good { .. } => good |= log.key.name() == head.origin,
            Signed::Absent => {}
        }
    }
    match good {
        true => Ok(()),
        false => Err((Reason::LogUnknown, format!("the checkpoint is of `{}`", head.origin))),
    }
}

/// That a checkpoint which is shown is one to go by: of a log that is believed, seen by enough witnesses, and
/// recently enough. Without that, whoever shows it could show an old one, or another one to somebody else.
pub(super) fn to_go_by(note: &Note, trust: &Trust, at: Time) -> Result<Checkpoint, Failure> {
    let head =
        Checkpoint::parse(&note.text).map_err(|error| malformed("its checkpoint", &error))?;
    signed_by_log(note, &head, trust)?;
    witnessed(note, trust, at)?;
    Ok(head)
}

/// That enough witnesses have signed, and recently enough: who has.
fn witnessed(note: &Note, trust: &Trust, at: Time) -> Result<Vec<String>, Failure> {
    let mut times: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for (name, witness) in &trust.witnesses {
        match witness.key.verify(note) {
            Signed::Bad => {
                let says = format!("`{name}` did not sign this checkpoint");
                return Err((Reason::WitnessSignature, says));
            }
            Signed::Good { time } => drop(times.insert(name, time)),
            Signed::Absent => {}
        }
    }
    let witnesses: Vec<String> = times.keys().map(|name| (*name).to_owned()).collect();
    let who = match witnesses.as_slice() {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    };
    if !trust.quorum.is_reached(&|name| times.contains_key(name)) {
        let says = format!("witnessed by {who}; wanted: {}", trust.quorum.describe());
        return Err((Reason::WitnessQuorum, says));
    }
    let Some(days) = trust.max_age else { return Ok(witnesses) };
    // One that was made later than is asked for is not too old.
    let fresh = |name: &str| {
        let time = times.get(name).copied().flatten();
        time.is_some_and(|time| at <= Time::from_unix(time).plus_days(days))
    };
    if trust.quorum.is_reached(&fresh) {
        return Ok(witnesses);
    }
    let newest = times.values().flatten().max();
    let seen = newest.map_or("at no time that is told".to_owned(), |time| {
        format!("last at {}", Time::from_unix(*time))
    });
    Err((
        Reason::LogStale,
        format!("witnessed by {who}, {seen}: more than {days} days before {at}"),
    ))
}

impl Heads {
    fn add(&mut self, head: &Checkpoint) {
        let before = self.seen.insert((head.origin.clone(), head.size), head.root);
        if before.is_some_and(|before| before != head.root) {
            self.forked.push(format!("`{}` has two trees of {} entries", head.origin, head.size));
        }
    }

    /// That all are of one growing tree, as far as can be told: by those of one size, and by the log itself where
    /// it can be looked into.
    pub(super) fn check(mut self, question: &Question<'_>, ledger: &mut Ledger) {
        const CHECK: &str = "one-log";
        if let Some(view) = question.log {
            let head = match to_go_by(view.checkpoint(), question.trust, question.at) {
                Ok(head) => head,
                Err((reason, says)) => {
                    return ledger.failed(CHECK, reason, format!("what the log shows: {says}"));
                }
            };
            if !self.seen.is_empty() && !self.seen.keys().any(|(origin, _)| *origin == head.origin)
            {
                let says = format!("what is shown is `{}`, and no proof is of that", head.origin);
                return ledger.failed(CHECK, Reason::LogUnknown, says);
            }
            let of_this = self.seen.iter().filter(|((origin, _), _)| *origin == head.origin);
            for ((origin, size), root) in of_this {
                if *size > head.size {
                    let says = format!(
                        "`{origin}` has signed a tree of {size} entries, and shows {}",
                        head.size
                    );
                    return ledger.failed(CHECK, Reason::LogRollback, says);
                }
                if view.root(*size) != Some(*root) {
                    self.forked.push(format!(
                        "the tree of {size} entries that `{origin}` has signed is not the beginning of the one \
                         that it shows"
                    ));
                }
            }
        }
        match (self.forked.as_slice(), question.log, self.seen.is_empty()) {
            ([first, ..], _, _) => ledger.failed(CHECK, Reason::LogSplitView, first.clone()),
            ([], Some(_), true) => {
                ledger.not_checked(CHECK, "there is no proof to hold the log against")
            }
            ([], Some(_), false) => {
                let lately = match question.trust.max_age {
                    Some(_) => "",
                    None => "; how long ago its witnesses saw that is not asked (`max-age`)",
                };
                ledger.passed(CHECK, format!("the log shows what it has signed before{lately}"));
            }
            ([], None, false) => ledger
                .not_checked(CHECK, "whether the log still shows these entries is seen by `--log`"),
            ([], None, true) => {}
        }
    }
}
