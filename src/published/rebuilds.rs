//! What rebuilders found: who agrees, who disagrees, whose word is too old, who is silent; and whether those who
//! agree are enough.
//!
//! A builder has one vote, his newest. It agrees if he got every launch digest that follows from the release's
//! record, from its very manifest and lock, and no other byte differed. An agreement counts if it was logged like
//! the statement; a disagreement counts without, since nobody gains by inventing one against his own key.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::distinct::distinct;
use super::logged::{Failure, Heads, logged};
use super::signer::{Signer, signer};
use super::trust::{OnDisagree, Trust};
use super::{Document, Known, Question};
use crate::digest::Sha256;
use crate::error::in_one_line;
use crate::layout;
use crate::log::Quorum;
use crate::report::Reason;
use crate::report::time::Time;
use crate::report::verdict::Ledger;
use crate::statement::bundle::{Bundle, BundleError};
use crate::statement::intoto::Statement;
use crate::statement::provenance::{Provenance, REBUILD};

/// The builders whom the verifier's policy names, each in one list.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Rebuilds {
    /// They got the same.
    pub agree: Vec<String>,
    /// They got something else.
    pub disagree: Vec<String>,
    /// Nothing of theirs is there that counts.
    pub silent: Vec<String>,
    /// They got the same, longer ago than is taken.
    pub stale: Vec<String>,
    /// Whether those who agree are enough; none where nobody asks for any.
    pub reached: Option<bool>,
    /// The bundles that were counted as agreement, by the SHA-256 of their bytes: a summary's inputs.
    pub counted: Vec<Counted>,
}

/// A bundle that was counted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Counted {
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub builder: String,
    /// SHA-256 of the bundle.
    pub sha256: Sha256,
}

/// What a rebuild must have compared, as far as a release has it.
const MEASURED: [&str; 8] = [
    layout::IGVM_RECORD,
    layout::CMDLINE,
    layout::FIRMWARE,
    layout::INITRD,
    layout::KERNEL,
    layout::RECORD,
    layout::LOCK,
    layout::MANIFEST,
];

/// For how many days a builder's clock may be ahead.
const AHEAD: u32 = 1;

/// A vote.
struct Vote<'a> {
    builder: &'a str,
    counted: Counted,
    finished: Time,
    tool: String,
    /// What it says: nothing differs, or what.
    differs: Option<String>,
    logged: Result<(), Failure>,
}

pub(super) fn check(question: &Question<'_>, heads: &mut Heads, ledger: &mut Ledger) -> Rebuilds {
    let Question { trust, publication, at, .. } = *question;
    let mut all: BTreeMap<&str, Vec<Vote<'_>>> = BTreeMap::new();
    for document in &publication.rebuilds {
        match vote(document, question, heads, ledger) {
            Ok(Some(vote)) => all.entry(vote.builder).or_default().push(vote),
            Ok(None) => {}
            Err((reason, says)) => ledger.failed("rebuild", reason, says),
        }
    }
    let mut tally = Tally::default();
    for name in trust.builders.keys() {
        let votes = all.remove(name.as_str()).unwrap_or_default();
        tally.add(name, votes, trust, at, ledger);
    }
    tally.judge(trust, ledger);
    tally.rebuilds
}

/// The vote in a document: none if it is nobody's who counts, or on something else.
fn vote<'a>(
    document: &Document,
    question: &Question<'a>,
    heads: &mut Heads,
    ledger: &mut Ledger,
) -> Result<Option<Vote<'a>>, Failure> {
    let Question { trust, release, .. } = *question;
    let name = &document.name;
    let form = |error: &dyn std::error::Error| {
        (Reason::RebuildForm, format!("{name}: {}", in_one_line(error)))
    };
    // Anybody can put a file there: what nobody who counts has signed is nothing.
    let (bundle, entry) = match Bundle::from_json(&document.bundle) {
        Ok(bundle) => (bundle, None),
        Err(BundleError::Other(bundle)) => {
            (*bundle, Some(format!("{name}: the entry in it is not of what was signed")))
        }
        Err(error) => {
            ledger.note(format!("{name} is no rebuild: {}", in_one_line(&error)));
            return Ok(None);
        }
    };
    let builders = trust.builders.iter().map(|(name, builder)| (name.as_str(), &builder.key));
    let (builder, key) = match signer(&bundle, builders) {
        Signer::Known(builder, key) => (builder, key),
        Signer::Forged(builder) => {
            let says = format!("{name} names the key of `{builder}`, who did not sign it");
            return Err((Reason::RebuildSignature, says));
        }
        Signer::Unknown => {
            ledger.note(format!("{name} is signed by no builder whom the policy names"));
            return Ok(None);
        }
    };
    if let Some(says) = entry {
        return Err((Reason::LogEntry, says));
    }
    // Whatever else he has signed can be put there, too.
    if !may_be_on(&bundle.envelope.payload, release) {
        ledger.note(format!("{name}, of `{builder}`, is on another release"));
        return Ok(None);
    }
    let statement = Statement::<Provenance>::from_json(&bundle.envelope.payload)
        .map_err(|error| form(&error))?;
    let provenance = &statement.predicate;
    let definition = &provenance.build_definition;
    let verdict = provenance.verdict().map_err(|says| (Reason::RebuildForm, says))?;
    let (Some(verdict), Some(finished), REBUILD) = (
        verdict,
        provenance.run_details.metadata.map(|it| it.finished_on),
        definition.build_type.as_str(),
    ) else {
        return Err((Reason::RebuildForm, format!("{name} is the statement of no rebuilder")));
    };
    let recipe = definition.external_parameters.recipe;
    let target = definition.external_parameters.target.map(|target| target.launch_record.sha256);
    let is_of = |file: &str, digest: Option<Sha256>| release.files.get(file) == digest.as_ref();
    if !is_of(layout::MANIFEST, Some(recipe.manifest.sha256))
        || !is_of(layout::LOCK, Some(recipe.lock.sha256))
        || !is_of(layout::RECORD, target)
    {
        ledger.note(format!("{name}, of `{builder}`, is on another release"));
        return Ok(None);
    }
    let other = statement.subjects.iter().find(|subject| {
        release.files.get(&subject.name).is_some_and(|known| *known != subject.digest.sha256)
    });
    let differs = match (&verdict.first_difference, other) {
        (Some(first), _) => Some(format!("[{}] {}: {}", first.cause, first.place, first.what)),
        (None, _) if !verdict.matches || !verdict.measured || !verdict.files.is_empty() => {
            Some("something differs".to_owned())
        }
        (None, Some(other)) => Some(format!("`{}` has other bytes", other.name)),
        (None, None) if verdict.measurements != release.measurements => {
            Some("other launch digests".to_owned())
        }
        (None, None) => None,
    };
    // A no is a no, also where it is of a copy that was damaged: the same builder can take it back.
    let is_same = |(file, known): (&String, &Sha256)| {
        statement.subject(file).is_some_and(|subject| subject.digest.sha256 == *known)
    };
    let is_this = verdict.measurements == release.measurements && release.files.iter().all(is_same);
    let differs = differs.map(|says| match is_this {
        true => format!(
            "{says}; and yet it has built this very release: its copy may have been damaged, and a new word of the \
             same builder counts in place of this"
        ),
        false => says,
    });
    // Texts in the words of another version need not be the same, and volumes are known by their records.
    let measured = |file: &&String| MEASURED.contains(&file.as_str());
    let covered =
        |file: &String| statement.subject(file).is_some() && !verdict.not_compared.contains(file);
    let left_out = release.files.keys().filter(measured).find(|file| !covered(file));
    if let (None, Some(file)) = (&differs, left_out) {
        ledger.note(format!("an agreement does not count: `{builder}` has not compared `{file}`"));
        return Ok(None);
    }
    let logged = match trust.logs.is_empty() {
        true => Ok(()),
        false => logged(document, &bundle, key, question, heads).map(drop),
    };
    let counted = Counted {
        name: name.clone(),
        builder: builder.to_owned(),
        sha256: Sha256::of(&document.bundle),
    };
    let tool = provenance.run_details.builder.version.tool_digest.clone();
    Ok(Some(Vote { builder, counted, finished, tool, differs, logged }))
}

/// Whether something that a builder has signed can be about this release, also if it is in a form that is not known:
/// whatever is on it names its lock.
pub fn may_be_on(payload: &[u8], release: &Known) -> bool {
    let Some(lock) = release.files.get(layout::LOCK) else { return true };
    let lock = lock.to_string();
    payload.windows(lock.len()).any(|window| window == lock.as_bytes())
}

/// Those who have voted.
#[derive(Default)]
struct Tally {
    rebuilds: Rebuilds,
    /// The tools of those who agree.
    tools: BTreeMap<String, String>,
    differences: Vec<(String, String)>,
    /// Who has said more than once that it is the same.
    twice: BTreeSet<String>,
    /// Whose agreement is too old.
    stale_agree: BTreeSet<String>,
}

impl Tally {
    fn add(
        &mut self,
        name: &str,
        mut votes: Vec<Vote<'_>>,
        trust: &Trust,
        at: Time,
        ledger: &mut Ledger,
    ) {
        votes.retain(|vote| {
            // A disagreement is not lost by a wrong clock.
            let early = vote.differs.is_none() && vote.finished > at.plus_days(AHEAD);
            if early {
                ledger.note(format!("{} was made after {at}", vote.counted.name));
            }
            !early
        });
        let mut seen_long_ago = false;
        votes.retain(|vote| match &vote.logged {
            Err((reason, says)) if vote.differs.is_none() => {
                seen_long_ago |= *reason == Reason::LogStale;
                let says = format!("`{name}`: {says}");
                match reason {
                    // What may come yet.
                    Reason::LogProofMissing
                    | Reason::LogUnknown
                    | Reason::WitnessQuorum
                    | Reason::LogStale => {
                        ledger.note(format!("an agreement does not count: {says}"));
                    }
                    _ => ledger.failed("rebuild", *reason, says),
                }
                false
            }
            _ => true,
        });
        if votes.iter().filter(|vote| vote.differs.is_none()).count() > 1 {
            self.twice.insert(name.to_owned());
        }
        // Of two of the same second, the one that disagrees.
        votes.sort_by_key(|vote| (vote.finished, vote.differs.is_some()));
        let Some(vote) = votes.pop() else {
            if !seen_long_ago {
                return self.rebuilds.silent.push(name.to_owned());
            }
            self.stale_agree.insert(name.to_owned());
            return self.rebuilds.stale.push(name.to_owned());
        };
        if !votes.is_empty() {
            ledger.note(format!("`{name}` has voted {} times; the newest counts", votes.len() + 1));
        }
        let stale = trust.max_age.is_some_and(|days| vote.finished.plus_days(days) < at);
        match vote.differs {
            // It holds until the same builder has got the same.
            Some(what) => {
                self.differences.push((name.to_owned(), what));
                self.rebuilds.disagree.push(name.to_owned());
            }
            None if stale => {
                self.stale_agree.insert(name.to_owned());
                self.rebuilds.stale.push(name.to_owned());
            }
            None => {
                self.tools.insert(name.to_owned(), vote.tool);
                self.rebuilds.agree.push(name.to_owned());
                self.rebuilds.counted.push(vote.counted);
            }
        }
    }

    fn judge(&mut self, trust: &Trust, ledger: &mut Ledger) {
        for (name, what) in &self.differences {
            let says = format!("`{name}` got something else: {what}");
            match trust.on_disagree {
                OnDisagree::Fail => {
                    ledger.failed("rebuild-disagreement", Reason::RebuildDisagrees, says);
                }
                OnDisagree::Note => ledger.note(says),
            }
        }
        const CHECK: &str = "rebuild-quorum";
        if trust.rebuild_quorum == Quorum::None {
            return ledger.not_checked(CHECK, "the policy asks for no rebuilder");
        }
        let agree: BTreeSet<&str> = self.rebuilds.agree.iter().map(String::as_str).collect();
        let lists = [
            ("agree", &self.rebuilds.agree),
            ("disagree", &self.rebuilds.disagree),
            ("stale", &self.rebuilds.stale),
            ("silent", &self.rebuilds.silent),
        ];
        let lists = lists.iter().filter(|(_, names)| !names.is_empty());
        let lists: Vec<_> =
            lists.map(|(word, names)| format!("{word}: {}", names.join(", "))).collect();
        let says = format!("{}; wanted: {}", lists.join("; "), trust.rebuild_quorum.describe());
        let count = |names: &[&str]| {
            let trait_of = |name: &&str| {
                let org = trust.builders.get(*name).and_then(|builder| builder.org.as_deref());
                let tool = self.tools.get(*name).map(String::as_str);
                (org.filter(|_| trust.distinct.org), tool.filter(|_| trust.distinct.tool))
            };
            distinct(&names.iter().map(trait_of).collect::<Vec<_>>())
        };
        let rule = &trust.rebuild_quorum;
        let reached = rule.is_reached_by(&|name| agree.contains(name), &count);
        self.rebuilds.reached = Some(reached);
        if reached {
            return ledger.passed(CHECK, says);
        }
        let with_stale = |name: &str| agree.contains(name) || self.stale_agree.contains(name);
        let double = |names: &[&str]| {
            names.len() + names.iter().filter(|name| self.twice.contains(**name)).count()
        };
        let reason = match () {
            () if rule.is_reached(&|name| agree.contains(name)) => Reason::RebuildCountedTwice,
            () if rule.is_reached_by(&|name| agree.contains(name), &double) => {
                Reason::RebuildCountedTwice
            }
            () if rule.is_reached(&with_stale) => Reason::RebuildStale,
            () => Reason::RebuildQuorum,
        };
        ledger.failed(CHECK, reason, says);
    }
}
