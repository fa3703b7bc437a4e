//! What the publisher states: that it is his, that it is of this release, that it holds today, and that he has
//! not taken it back.

use std::collections::BTreeSet;
use std::error::Error as StdError;

use serde::{Serialize, Serializer};

use super::logged::{self, Heads, InLog, logged};
use super::signer::{Signer, signer};
use super::{Document, Known, Question};
use crate::digest::Sha256;
use crate::error::in_one_line;
use crate::layout;
use crate::report::Reason;
use crate::report::time::Time;
use crate::report::verdict::Ledger;
use crate::statement::bundle::{Bundle, BundleError};
use crate::statement::dsse::Envelope;
use crate::statement::intoto::{Statement, predicate_type};
use crate::statement::key::PublicKey;
use crate::statement::launch::{self, Launch, Revoked};
use crate::statement::revocation::{self, Revocation};
use crate::statement::{provenance, vsa};

/// A statement that a known publisher has signed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stated {
    /// Who, by the verifier's name.
    pub publisher: String,
    /// SHA-256 of the statement's bytes, by which others supersede or revoke it.
    pub sha256: Sha256,
    /// What it says. (As JSON: its sequence number and its validity.)
    #[serde(flatten, serialize_with = "in_short")]
    pub launch: Launch,
    /// Where it was logged.
    pub log: Option<InLog>,
}

fn in_short<S: Serializer>(launch: &Launch, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Short<'a> {
        release: &'a str,
        sequence: u64,
        not_before: Time,
        not_after: Time,
    }
    let validity = &launch.validity;
    let (not_before, not_after) = (validity.not_before, validity.not_after);
    Short { release: &launch.release, sequence: launch.sequence, not_before, not_after }
        .serialize(serializer)
}

pub(super) fn check(
    question: &Question<'_>,
    heads: &mut Heads,
    ledger: &mut Ledger,
) -> Option<Stated> {
    const CHECK: &str = "statement";
    let Question { trust, publication, release, .. } = *question;
    if trust.publishers.is_empty() {
        ledger.not_checked(
            CHECK,
            "the policy names no publisher: the release stands on its rebuilders",
        );
        return None;
    }
    let Some(document) = &publication.statement else {
        ledger.failed(CHECK, Reason::StatementMissing, "there is no statement of a publisher");
        return None;
    };
    let form = |error: &dyn StdError| format!("{}: {}", document.name, in_one_line(error));
    // A signature that does not hold comes before an entry that is not of it.
    let (bundle, entry) = match Bundle::from_json(&document.bundle) {
        Ok(bundle) => (bundle, None),
        Err(error) => {
            let says = form(&error);
            let BundleError::Other(bundle) = error else {
                ledger.failed(CHECK, Reason::StatementForm, says);
                return None;
            };
            (*bundle, Some(says))
        }
    };
    let publishers = trust.publishers.iter().map(|(name, key)| (name.as_str(), key));
    let (name, key) = match signer(&bundle, publishers) {
        Signer::Known(name, key) => (name, key),
        Signer::Forged(name) => {
            let says = format!("it names the key of `{name}`, who did not sign it");
            ledger.failed(CHECK, Reason::StatementSignature, says);
            return None;
        }
        Signer::Unknown => {
            let says = format!("signed by none of: {}", names(trust.publishers.keys()));
            ledger.failed(CHECK, Reason::StatementSigner, says);
            return None;
        }
    };
    if let Some(says) = entry {
        ledger.failed(CHECK, Reason::LogEntry, says);
        return None;
    }
    let statement = match Statement::<Launch>::from_json(&bundle.envelope.payload) {
        Ok(statement) => statement,
        Err(error) => {
            ledger.failed(CHECK, Reason::StatementForm, form(&error));
            return None;
        }
    };
    // People read and pass on the words beside the bundle.
    if publication.words.as_ref().is_some_and(|words| *words != bundle.envelope.payload) {
        let says = "`statement.json` is not what was signed: the signed words are in the bundle";
        ledger.failed("statement-words", Reason::StatementRelease, says);
    }
    let sha256 = Sha256::of(&bundle.envelope.payload);
    ledger.passed(
        CHECK,
        format!("signed by `{name}`: {sha256}, number {}", statement.predicate.sequence),
    );
    subjects(&statement, release, ledger);
    validity(&statement.predicate, sha256, question, ledger);
    let log = log_leg(document, &bundle, key, question, heads, ledger);
    Some(Stated { publisher: name.to_owned(), sha256, launch: statement.predicate, log })
}

/// That it is of this release: its files, its recipe, its digests.
fn subjects(statement: &Statement<Launch>, release: &Known, ledger: &mut Ledger) {
    let launch = &statement.predicate;
    let recipe = [
        (layout::MANIFEST, launch.recipe.manifest.sha256),
        (layout::LOCK, launch.recipe.lock.sha256),
        (layout::RECORD, launch.launch_record.sha256),
    ];
    let subjects = statement.subjects.iter().map(|it| (it.name.as_str(), it.digest.sha256));
    let mut same: BTreeSet<&str> = BTreeSet::new();
    let mut other: BTreeSet<&str> = BTreeSet::new();
    let mut unseen: Vec<&str> = Vec::new();
    for (name, digest) in recipe.into_iter().chain(subjects) {
        match release.files.get(name) {
            Some(found) if *found == digest => drop(same.insert(name)),
            Some(_) => drop(other.insert(name)),
            None => unseen.push(name),
        }
    }
    // What a statement does not speak of is not vouched for by it.
    let silent = |name: &&String| statement.subject(name).is_none();
    let silent: Vec<&str> = release.files.keys().filter(silent).map(String::as_str).collect();
    let (check, reason) = ("statement-release", Reason::StatementRelease);
    match (other.is_empty(), silent.as_slice()) {
        (true, []) => {
            let how = match release.is_read {
                true => "",
                false => {
                    "; the large ones count as the launch record has them (`--artifacts` reads them)"
                }
            };
            let unseen = match unseen.as_slice() {
                [] => String::new(),
                names => format!("; not compared: {}", names.join(", ")),
            };
            ledger.passed(check, format!("it is of these {} files{how}{unseen}", same.len()));
        }
        (true, silent) => {
            ledger.failed(check, reason, format!("it does not speak of {}", silent.join(", ")));
        }
        (false, _) => {
            let other: Vec<&str> = other.into_iter().collect();
            ledger.failed(check, reason, format!("other bytes: {}", other.join(", ")));
        }
    }
    let (check, count) = ("statement-measurements", launch.digests().count());
    let same = launch.measurements == release.measurements;
    let says = match same {
        true => format!("{count} launch digests, which follow from the launch record"),
        false => format!("{count} launch digests, and others follow from the launch record"),
    };
    ledger.hold(check, same, Reason::StatementMeasurements, says);
}

/// That it holds at that time, and was not taken back.
fn validity(launch: &Launch, sha256: Sha256, question: &Question<'_>, ledger: &mut Ledger) {
    const CHECK: &str = "statement-validity";
    let Question { trust, at, .. } = *question;
    let span = launch.validity;
    let says = format!("from {} to {}, asked for {at}", span.not_before, span.not_after);
    match at {
        _ if at < span.not_before => ledger.failed(CHECK, Reason::StatementEarly, says),
        _ if at > span.not_after => ledger.failed(CHECK, Reason::StatementExpired, says),
        _ => ledger.passed(CHECK, says),
    }
    if launch.sequence < trust.min_sequence {
        let says = format!("number {}, and {} is the lowest", launch.sequence, trust.min_sequence);
        ledger.failed("statement-sequence", Reason::StatementSequence, says);
    }
    standing(sha256, launch, question, ledger);
}

/// That no publisher has taken it back, as far as one can see.
fn standing(own: Sha256, launch: &Launch, question: &Question<'_>, ledger: &mut Ledger) {
    const CHECK: &str = "statement-standing";
    let Question { trust, publication, at, log, .. } = *question;
    let by_publisher =
        |envelope: &&Envelope| trust.publishers.values().any(|key| envelope.verify(key).is_ok());
    let mut looked = 0;
    let mut newest = launch.sequence;
    let mut against: Vec<(Reason, String)> = Vec::new();
    for envelope in publication.others.iter().filter(by_publisher) {
        match said(&envelope.payload) {
            // The same words, signed once more.
            _ if Sha256::of(&envelope.payload) == own => {}
            Some(Said::Nothing) => {}
            None => against.push((Reason::StatementUnread, "it is a publisher's".to_owned())),
            Some(Said::About { release, revokes, supersedes, sequence, since }) => {
                looked += 1;
                if release.is_some_and(|release| release == launch.release) && since <= at {
                    newest = newest.max(sequence);
                }
                if let Some(found) = revokes.iter().find(|revoked| revoked.statement == own) {
                    against.push((Reason::StatementRevoked, format!("revoked: {}", found.reason)));
                }
                if supersedes.contains(&own) && since <= at {
                    let says = format!("number {sequence} stands in its place");
                    against.push((Reason::StatementSuperseded, says));
                }
            }
        }
    }
    let mut others = format!("{looked} other statements of publishers leave it as it is");
    // It may be good beside the newer one; whoever wants the newest alone says `min-sequence`.
    if newest > launch.sequence {
        others += &format!("; of `{}` there is number {newest} too", launch.release);
    }
    // What is not to be gone by was not read.
    let log = log.filter(|log| logged::to_go_by(log.checkpoint(), trust, at).is_ok());
    match (against.is_empty(), log) {
        (false, _) => {
            for (reason, says) in against {
                ledger.failed(CHECK, reason, says);
            }
        }
        (true, Some(_)) => ledger.passed(CHECK, others),
        // Whoever keeps a directory can leave a revocation out of it.
        (true, None) => ledger.not_checked(
            CHECK,
            format!(
                "whether it was revoked or superseded is seen in a log to go by (`--log`); in the release, {others}"
            ),
        ),
    }
}

/// What a publisher's statement has to say about others of his.
enum Said {
    /// Nothing: it is of a kind that never does.
    Nothing,
    /// This.
    About {
        release: Option<String>,
        revokes: Vec<Revoked>,
        supersedes: Vec<Sha256>,
        sequence: u64,
        since: Time,
    },
}

/// None of what cannot be read.
fn said(payload: &[u8]) -> Option<Said> {
    match predicate_type(payload).ok()?.as_str() {
        launch::TYPE => {
            let said = Statement::<Launch>::from_json(payload).ok()?.predicate;
            let Launch { release, revokes, supersedes, sequence, validity, .. } = said;
            let (release, since) = (Some(release), validity.not_before);
            Some(Said::About { release, revokes, supersedes, sequence, since })
        }
        revocation::TYPE => {
            let said = Statement::<Revocation>::from_json(payload).ok()?.predicate;
            let (supersedes, sequence, since) = (Vec::new(), 0, said.issued);
            Some(Said::About { release: None, revokes: said.revokes, supersedes, sequence, since })
        }
        provenance::TYPE | vsa::TYPE => Some(Said::Nothing),
        _ => None,
    }
}

fn log_leg(
    document: &Document,
    bundle: &Bundle,
    key: &PublicKey,
    question: &Question<'_>,
    heads: &mut Heads,
    ledger: &mut Ledger,
) -> Option<InLog> {
    const CHECK: &str = "log";
    if question.trust.logs.is_empty() {
        ledger.not_checked(CHECK, "the policy names no log");
        return None;
    }
    match logged(document, bundle, key, question, heads) {
        Ok(found) => {
            let InLog { origin, index, size, witnesses } = &found;
            let seen = match witnesses.as_slice() {
                [] => "without witnesses".to_owned(),
                names => format!("witnessed by {}", names.join(", ")),
            };
            ledger.passed(CHECK, format!("entry {index} of {size} in `{origin}`, {seen}"));
            Some(found)
        }
        Err((reason, says)) => {
            ledger.failed(CHECK, reason, says);
            None
        }
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}
