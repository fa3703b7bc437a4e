//! The audit of an image: everything that is not measured, not pinned or not rebuildable by others, and
//! everything by which a guest is more open than it need be. Each finding has a stable code, so that a
//! pipeline can refuse some of them.
//!
//! A release is judged by what was measured, not by what its documents say: its firmware is looked into
//! again, and what PID 1 does is read from the initrd ([`evidence`]). A manifest is judged by itself and
//! its lock; what only a build can tell is called so.

mod cmdline;
mod deny;
pub mod evidence;
mod guest;
mod inputs;
mod launch;
mod rules;
mod sysctl;

use serde::Serialize;

pub use deny::{Deny, UnknownCode};
pub use rules::rules;

use crate::kernel::config::Config;
use crate::manifest::{Lock, Manifest};
use evidence::Evidence;

/// The subject of what holds whatever is launched.
pub const EVERY_LAUNCH: &str = "every launch";

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// To be known: it holds for every guest, or is a choice without a risk of its own.
    Info,
    /// It widens what can be attacked, or asks for a little trust.
    Low,
    /// It lets a host or a network see or reach what it need not, or asks for trust in somebody.
    Medium,
    /// It takes away a part of what a right report promises.
    High,
    /// Under a right report the host can run its own code, or read the guest's memory.
    Critical,
}

/// One kind of finding.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Rule {
    /// Its stable name.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// Why it matters.
    pub means: &'static str,
    /// What takes it away.
    pub remedy: &'static str,
}

/// One kind of finding, and where it is found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// The inputs, options, disks or ports that it is about, in the manifest's words; never none.
    pub subjects: Vec<String>,
}

/// A manifest's lock, as far as there is one.
#[derive(Clone, Copy, Debug)]
pub enum LockState<'a> {
    /// There is none.
    Missing,
    /// It was made from another manifest.
    OfAnother(&'a Lock),
    /// It was made from this one.
    Fits(&'a Lock),
}

/// What is audited.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The image by intent.
    pub manifest: &'a Manifest,
    /// Its inputs.
    pub lock: LockState<'a>,
    /// What a release has been measured to be; without it nothing was built.
    pub evidence: Option<&'a Evidence>,
    /// The kernel's configuration, where somebody has it.
    pub config: Option<&'a Config>,
}

impl Severity {
    /// All of them, the gravest first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Everything that is found, the gravest first, then in the order of [`rules`].
pub fn audit(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Found::default();
    launch::audit(subject, &mut found);
    guest::audit(subject, &mut found);
    inputs::audit(subject, &mut found);
    let mut findings: Vec<Finding> = rules()
        .into_iter()
        .filter_map(|rule| {
            let mut subjects: Vec<String> = Vec::new();
            for (code, subject) in &found.0 {
                if *code == rule.code && !subjects.contains(subject) {
                    subjects.push(subject.clone());
                }
            }
            (!subjects.is_empty()).then_some(Finding { rule, subjects })
        })
        .collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.rule.severity));
    findings
}

/// What was found so far: codes and their subjects.
#[derive(Default)]
struct Found(Vec<(&'static str, String)>);

impl Found {
    fn add(&mut self, code: &'static str, subject: impl Into<String>) {
        // A code without a rule would go unsaid.
        debug_assert!(rules().iter().any(|rule| rule.code == code), "{code}");
        self.0.push((code, subject.into()));
    }

    fn add_all(&mut self, code: &'static str, subjects: impl IntoIterator<Item = String>) {
        subjects.into_iter().for_each(|subject| self.add(code, subject));
    }
}

#[cfg(test)]
mod tests;
