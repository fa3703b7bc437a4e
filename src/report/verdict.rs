//! What came of a question: every check with its result in words, every reason by its name.

use std::mem;

use serde::Serialize;

use super::describe::Summary;
use super::reason::{Class, Reason};
use super::time::Time;
use crate::digest::Sha384;
use crate::launch::explain::Explanation;
use crate::launch::igvm::IgvmRecord;
use crate::launch::record::DigestRecord;
use crate::launch::{Record, SevFeatures};

/// The version of the verdict's form as JSON.
///
/// # Changelog
/// 1: report, chain, policy, launch.
pub const VERSION: u32 = 1;

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// [`VERSION`].
    pub version: u32,
    /// In a word.
    pub verdict: Answer,
    /// The time for which it was asked.
    pub at: Time,
    /// Whose root the chain had to end in.
    pub root: Root,
    /// What was asked: an answer is to nothing else.
    pub asked: Asked,
    /// What the report says, where there is one.
    pub report: Option<Summary>,
    /// Which of the release's launches it is.
    pub matched: Option<Matched>,
    /// Everything that was looked at, in order.
    pub checks: Vec<Check>,
    /// Why it is not accepted; empty exactly when it is.
    pub reasons: Vec<Finding>,
    /// What does not decide and should be known.
    pub notes: Vec<String>,
    /// Why the digest may be another. It decides nothing.
    pub diagnosis: Option<Diagnosis>,
}

/// The answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Nothing speaks against it.
    Accepted,
    /// Something does.
    Rejected,
    /// Nothing does, and something needed is missing.
    CannotDecide,
    /// What was given is not what it is called.
    Malformed,
}

/// What a question asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Asked {
    /// What must run.
    pub runs: Runs,
    /// By which scheme REPORT_DATA was checked.
    pub report_data: &'static str,
    /// Whether it had to hold a nonce of the verifier's: without, evidence may be a recording.
    pub nonce: bool,
}

/// What a machine must run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    /// One of a release's launches.
    Release,
    /// Something with one digest.
    Measurement,
    /// Anything.
    Anything,
}

/// Whose root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Root {
    /// AMD's, built in.
    #[serde(rename = "AMD")]
    Amd,
    /// One that whoever asked has named.
    #[serde(rename = "other")]
    Other,
}

/// One check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// Its stable name.
    pub check: &'static str,
    /// How it went.
    pub result: Outcome,
    /// The same in words, with the values.
    pub says: String,
    /// Why it did not pass.
    pub reason: Option<Reason>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it must be.
    Passed,
    /// Otherwise.
    Failed,
    /// What it needs is missing.
    Unknown,
    /// Nobody asked for it.
    NotChecked,
}

/// A reason, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The reason.
    pub code: Reason,
    /// What was found.
    pub says: String,
    /// What to do.
    pub advice: &'static str,
}

/// A launch of the release.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Matched {
    /// Its form.
    pub launch: Form,
    /// vCPUs.
    pub vcpus: u32,
    /// The CPU's model or signature; none where the digest does not depend on it.
    pub cpu: Option<String>,
    /// SEV_FEATURES.
    pub sev_features: SevFeatures,
    /// The digest.
    pub digest: Sha384,
}

impl Matched {
    pub(super) fn of(row: &DigestRecord) -> Self {
        Self {
            launch: Form::DirectBoot,
            vcpus: row.vcpus,
            cpu: Some(row.cpu.clone()),
            sev_features: row.sev_features,
            digest: row.digest,
        }
    }

    pub(super) fn of_igvm(record: &IgvmRecord) -> Self {
        Self {
            launch: Form::Igvm,
            vcpus: record.vcpus,
            cpu: None,
            sev_features: record.sev_features,
            digest: record.digest,
        }
    }
}

/// How a release is launched.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// From its four files.
    DirectBoot,
    /// From its IGVM file.
    Igvm,
}

/// A diagnosis.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Each a launch near the release's that gives the digest.
    pub causes: Vec<Cause>,
    /// How many launches were tried.
    pub searched: u64,
}

/// One explanation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Cause {
    /// What is other about the launch.
    pub changes: Vec<Changed>,
}

/// One change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Changed {
    /// Its stable name, as `explain` has it.
    pub reason: &'static str,
    /// What is other.
    pub says: String,
    /// What to do.
    pub advice: String,
}

impl Diagnosis {
    pub(super) fn of(found: &Explanation, record: &Record) -> Self {
        let changed = |change: &crate::launch::explain::Change| Changed {
            reason: change.code(),
            says: change.sentence(record),
            advice: change.advice(record),
        };
        let cause = |cause: &crate::launch::explain::Cause| Cause {
            changes: cause.changes.iter().map(changed).collect(),
        };
        Self { causes: found.causes.iter().map(cause).collect(), searched: found.searched }
    }
}

impl Verdict {
    /// An answer on a release alone, to which the checks are yet to be joined.
    pub(crate) fn of_release(at: Time) -> Self {
        Self {
            version: VERSION,
            verdict: Answer::Accepted,
            at,
            root: Root::Amd,
            asked: Asked { runs: Runs::Release, report_data: "unchecked", nonce: false },
            report: None,
            matched: None,
            checks: Vec::new(),
            reasons: Vec::new(),
            notes: Vec::new(),
            diagnosis: None,
        }
    }

    /// The same answer with more that was looked at.
    pub(crate) fn append(&mut self, more: Ledger) {
        let mut ledger =
            Ledger { checks: mem::take(&mut self.checks), notes: mem::take(&mut self.notes) };
        ledger.append(more);
        self.verdict = ledger.answer();
        self.reasons = ledger.findings();
        self.checks = ledger.checks;
        self.notes = ledger.notes;
    }
}

/// The checks as they are made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(super) checks: Vec<Check>,
    pub(super) notes: Vec<String>,
}

impl Ledger {
    pub(crate) fn passed(&mut self, check: &'static str, says: impl Into<String>) {
        self.push(check, Outcome::Passed, says.into(), None);
    }

    pub(crate) fn failed(&mut self, check: &'static str, reason: Reason, says: impl Into<String>) {
        let outcome = match reason.class() {
            Class::CannotDecide => Outcome::Unknown,
            Class::Rejected | Class::Malformed => Outcome::Failed,
        };
        self.push(check, outcome, says.into(), Some(reason));
    }

    pub(crate) fn not_checked(&mut self, check: &'static str, says: impl Into<String>) {
        self.push(check, Outcome::NotChecked, says.into(), None);
    }

    /// Passed or failed; what is said must be true either way.
    pub(crate) fn hold(
        &mut self,
        check: &'static str,
        holds: bool,
        reason: Reason,
        says: impl Into<String>,
    ) {
        match holds {
            true => self.passed(check, says),
            false => self.failed(check, reason, says),
        }
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.checks.extend(other.checks);
        self.notes.extend(other.notes);
    }

    /// How many did not pass.
    pub(super) fn failures(&self) -> usize {
        self.checks.iter().filter(|check| check.reason.is_some()).count()
    }

    /// The reasons, each check's once.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let finding = |check: &Check| {
            let code = check.reason?;
            Some(Finding { code, says: check.says.clone(), advice: code.advice() })
        };
        self.checks.iter().filter_map(finding).collect()
    }

    pub(crate) fn answer(&self) -> Answer {
        let classes = self.checks.iter().filter_map(|check| Some(check.reason?.class()));
        // One thing that speaks against it is enough, whatever is missing beside it.
        match classes.max_by_key(|class| match class {
            Class::CannotDecide => 0,
            Class::Malformed => 1,
            Class::Rejected => 2,
        }) {
            None => Answer::Accepted,
            Some(Class::CannotDecide) => Answer::CannotDecide,
            Some(Class::Malformed) => Answer::Malformed,
            Some(Class::Rejected) => Answer::Rejected,
        }
    }

    fn push(&mut self, check: &'static str, result: Outcome, says: String, reason: Option<Reason>) {
        self.checks.push(Check { check, result, says, reason });
    }
}

impl Answer {
    /// In a word, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::CannotDecide => "cannot-decide",
            Self::Malformed => "malformed",
        }
    }
}
