//! Watching a log: what is new since it was last looked at, and what of that somebody must be told.
//!
//! What was seen is kept in a [`State`], so that the log cannot show another past. The state goes on only from a log
//! that holds. Each new entry is told once; what is still not rebuilt, and what still cannot be had, is told every
//! time.

mod state;

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::log::checkpoint::Checkpoint;
use crate::log::entry::Entry;
use crate::log::note::Note;
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::reason::Reason;
use crate::log::submit::statement_path;
use crate::log::tile::WIDTH;
use crate::log::tree::Tree;
use crate::log::verify::{self, Finding, Signers};
use crate::statement::dsse::{MAX_PAYLOAD, PAYLOAD_TYPE, pae};
use crate::statement::intoto::{Statement, StatementError, predicate_type};
use crate::statement::key::PublicKey;
use crate::statement::launch::{self, Launch, Measurements};
use crate::statement::provenance::{self, FirstDifference, Provenance};
use crate::statement::revocation::{self, Revocation};
use crate::statement::vsa::{self, Summary};

pub use state::{ByRecord, Rebuild, Release, State, VERSION};

/// What is asked of a monitor.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Whose word counts.
    pub signers: Signers,
    /// My key, and the digests of what I signed with it.
    pub mine: Option<(PublicKey, BTreeSet<Sha256>)>,
    /// Whom a policy knows; without, everybody's word counts.
    pub known: Option<Known>,
    /// After how many seconds a release must have been rebuilt.
    pub patience: Option<u64>,
    /// What time it is, in seconds since 1970.
    pub now: u64,
}

/// Whom a policy knows: the names that it has for keys, which stand here on one line.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Who publishes.
    pub publishers: BTreeMap<String, String>,
    /// Whose rebuilds count.
    pub builders: BTreeMap<String, String>,
}

/// What came of looking.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What to keep for the next time: after a log that does not hold, what was kept before.
    pub state: State,
    /// The log as it is now.
    pub checkpoint: Checkpoint,
    /// The entries that were read now.
    pub new: std::ops::Range<u64>,
    /// What is wrong, or to be told.
    pub findings: Vec<Finding>,
}

/// The most entries that are read at one look: more than any log gets in a day. A server can show any number of them,
/// all in one tile, for nothing.
pub const MOST_NEW: u64 = 1 << 24;

/// Looks at a log again.
///
/// # Errors
/// When the log or the state cannot be read.
pub fn look(reader: &Reader, state: State, watch: &Watch) -> Result<Seen> {
    let note = reader.checkpoint()?;
    let name = reader.name(CHECKPOINT);
    let (checkpoint, mut findings) = verify::checkpoint(&note, &watch.signers, &name)?;
    let before = last_seen(&state)?;
    let from = state.read;
    let nothing =
        |state, checkpoint, findings| Ok(Seen { state, checkpoint, new: from..from, findings });
    let mut tree = match Tree::open(reader, &checkpoint) {
        Ok(tree) => tree,
        Err(error) => {
            findings.push(Finding::from(error)?);
            return nothing(state, checkpoint, findings);
        }
    };
    if let Some(before) = &before {
        let name = "the checkpoint seen before";
        findings.extend(verify::goes_on(&mut tree, &checkpoint, before, name)?);
    }
    // What does not hold is not read on: the next look begins where this one did.
    if !findings.is_empty() {
        return nothing(state, checkpoint, findings);
    }
    let to = checkpoint.size.min(from.saturating_add(MOST_NEW));
    let mut next = state.clone();
    let mut told = Told {
        reader,
        watch,
        state: &mut next,
        findings: &mut findings,
        releases: Vec::new(),
        rebuilds: Vec::new(),
    };
    let bundle_of = |index: &u64| index / u64::from(WIDTH);
    let new = from / u64::from(WIDTH)..to.div_ceil(u64::from(WIDTH));
    let bundles: BTreeSet<u64> = state.pending.iter().map(bundle_of).chain(new).collect();
    for bundle in bundles {
        let entries = match tree.entries(bundle) {
            Ok(entries) => entries,
            Err(error) => {
                let finding = Finding::from(error)?;
                return nothing(state, checkpoint, vec![finding]);
            }
        };
        for (index, body) in (bundle * u64::from(WIDTH)..).zip(entries) {
            let is_new = (from..to).contains(&index);
            // A log may hold whatever its keeper likes; what is no signed statement is nobody's claim.
            if (is_new || state.pending.contains(&index))
                && let Ok(entry) = Entry::from_body(&body)
            {
                told.entry(index, &entry, is_new)?;
            }
        }
    }
    told.disagreements();
    // What is still to be read may be the rebuild.
    if to == checkpoint.size {
        told.not_rebuilt();
    }
    next.read = to;
    next.checkpoint = Some(note.to_string());
    Ok(Seen { state: next, new: from..to, checkpoint, findings })
}

fn last_seen(state: &State) -> Result<Option<Checkpoint>> {
    let wrong = || "the monitor's state holds no checkpoint".to_owned();
    let seen = match &state.checkpoint {
        None => None,
        Some(text) => {
            let note = Note::parse(text).context(Kind::Malformed, wrong)?;
            Some(Checkpoint::parse(&note.text).context(Kind::Malformed, wrong)?)
        }
    };
    match state.read > seen.as_ref().map_or(0, |seen| seen.size) {
        true => Err(Error::new(Kind::Malformed, "the monitor's state has read what it never saw")),
        false => Ok(seen),
    }
}

struct Told<'a> {
    reader: &'a Reader,
    watch: &'a Watch,
    state: &'a mut State,
    findings: &'a mut Vec<Finding>,
    /// Releases that are said for the first time.
    releases: Vec<Said>,
    /// What rebuilders say now, and whether they themselves say that it is something else than the release.
    rebuilds: Vec<(Said, Rebuild, bool)>,
}

/// What a statement says: of which launch record, with which key, and which measurements, by their digest.
#[derive(Clone, Eq, PartialEq)]
struct Said {
    record: Sha256,
    key: String,
    measurements: Sha256,
}

impl Told<'_> {
    fn entry(&mut self, index: u64, entry: &Entry, is_new: bool) -> Result<()> {
        if let Some((key, made)) = &self.watch.mine
            && is_new
            && entry.key == *key
            && !made.contains(&entry.digest)
        {
            let message = format!(
                "entry {index} is signed by your key, and its statement ({}) is not among yours",
                entry.digest
            );
            self.tell(Reason::NotMine, message);
        }
        let Some(payload) = self.payload(index, entry)? else {
            self.state.pending.insert(index);
            return Ok(());
        };
        self.state.pending.remove(&index);
        let kind = predicate_type(&payload);
        let read = match kind.as_deref() {
            Ok(launch::TYPE) => Statement::<Launch>::from_json(&payload)
                .map(|statement| self.release(index, entry, statement.predicate)),
            Ok(provenance::TYPE) => Statement::<Provenance>::from_json(&payload)
                .map(|statement| self.rebuild(index, entry, statement.predicate)),
            Ok(revocation::TYPE) => Statement::<Revocation>::from_json(&payload).map(|_| Ok(())),
            Ok(vsa::TYPE) => Statement::<Summary>::from_json(&payload).map(|_| Ok(())),
            Ok(other) => Err(StatementError::Type(other.to_owned())),
            Err(_) => Err(StatementError::NotCanonical),
        };
        read.unwrap_or_else(|error| {
            self.unread(index, entry, kind.as_deref().ok(), &error);
            Ok(())
        })
    }

    /// The statement of an entry; if it cannot be had, that is told, and the look goes on.
    fn payload(&mut self, index: u64, entry: &Entry) -> Result<Option<Vec<u8>>> {
        let path = statement_path(&entry.digest);
        let name = self.reader.name(&path);
        let (reason, message) = match self.reader.get(&path, MAX_PAYLOAD as u64) {
            Ok(Some(payload)) if Sha256::of(pae(PAYLOAD_TYPE, &payload)) == entry.digest => {
                return Ok(Some(payload));
            }
            Ok(Some(_)) => {
                (Reason::Damaged, format!("`{name}` is not the statement of entry {index}"))
            }
            Ok(None) => {
                (Reason::Missing, format!("`{name}`, the statement of entry {index}, is not there"))
            }
            Err(error) if error.kind() == Kind::Malformed => (
                Reason::Damaged,
                format!(
                    "`{name}` is not the statement of entry {index}: it is too large, or no file"
                ),
            ),
            Err(error) => {
                // A log that does not answer is another matter than one that keeps a single file back.
                self.reader.checkpoint()?;
                let message =
                    format!("`{name}`, the statement of entry {index}, cannot be read: {error}");
                (Reason::Missing, message)
            }
        };
        self.tell(reason, message);
        Ok(None)
    }

    fn release(&mut self, index: u64, entry: &Entry, launch: Launch) -> Result<()> {
        let said = Said {
            record: launch.launch_record.sha256,
            key: entry.key.to_string(),
            measurements: digest(&launch.measurements)?,
        };
        let release = Release {
            index,
            name: clipped(&launch.release),
            // Who says that it is to be believed in a thousand years has said it now.
            since: launch.validity.not_before.as_unix().min(self.watch.now),
        };
        let of_record = self.state.releases.entry(said.record).or_default();
        let of_key = of_record.entry(said.key.clone()).or_default();
        if of_key.contains_key(&said.measurements) {
            return Ok(());
        }
        of_key.insert(said.measurements, release);
        self.releases.push(said);
        Ok(())
    }

    fn rebuild(&mut self, index: u64, entry: &Entry, provenance: Provenance) -> Result<()> {
        let Ok(Some(verdict)) = provenance.verdict() else { return Ok(()) };
        let target = provenance.build_definition.external_parameters.target;
        let Some(target) = target else { return Ok(()) };
        let said = Said {
            record: target.launch_record.sha256,
            key: entry.key.to_string(),
            measurements: digest(&verdict.measurements)?,
        };
        let first = |first: FirstDifference| clipped(&format!("`{}`: {}", first.place, first.what));
        let rebuild = Rebuild {
            index,
            builder: clipped(&provenance.run_details.builder.id),
            first: verdict.first_difference.map(first),
        };
        let of_record = self.state.rebuilds.entry(said.record).or_default();
        let of_key = of_record.entry(said.key.clone()).or_default();
        of_key.entry(said.measurements).or_insert_with(|| rebuild.clone());
        self.rebuilds.push((said, rebuild, !verdict.measured));
        Ok(())
    }

    /// Who has something to say that counts, and cannot be understood, may have said anything.
    fn unread(&mut self, index: u64, entry: &Entry, kind: Option<&str>, error: &StatementError) {
        let key = entry.key.to_string();
        let ours = [launch::TYPE, provenance::TYPE, revocation::TYPE, vsa::TYPE];
        let mine = self.watch.mine.as_ref().is_some_and(|(mine, _)| *mine == entry.key);
        let who = match &self.watch.known {
            _ if mine => "your key".to_owned(),
            Some(known) => match (known.builders.get(&key), known.publishers.get(&key)) {
                (Some(name), _) => format!("the builder `{name}`"),
                (None, Some(name)) => format!("the publisher `{name}`"),
                (None, None) => return,
            },
            // There is no end of statements of other kinds.
            None if kind.is_some_and(|kind| ours.contains(&kind)) => {
                format!("the key {}", entry.key.id())
            }
            None => return,
        };
        let what = match kind.filter(|kind| !ours.contains(kind)) {
            Some(kind) => format!("a statement of the unknown kind `{}`", clipped(kind)),
            None => format!("a statement that cannot be read ({})", clipped(&error.to_string())),
        };
        self.tell(Reason::Unread, format!("entry {index}: {who} has signed {what}"));
    }

    /// Who came to something else than a release says, or says so.
    fn disagreements(&mut self) {
        let mut told = Vec::new();
        for (said, rebuild, differs) in &self.rebuilds {
            let releases = self.state.releases.get(&said.record);
            let all = releases.into_iter().flat_map(BTreeMap::values).flatten();
            let others = all.filter(|(measurements, _)| **measurements != said.measurements);
            let others: Vec<&Release> = others.map(|(_, release)| release).collect();
            let than = match releases {
                _ if !others.is_empty() => named(others),
                _ if *differs => format!("the release of {}", said.record),
                None => match self.other_rebuild(said, rebuild) {
                    Some(other) => format!("`{}` (entry {})", other.builder, other.index),
                    None => continue,
                },
                Some(_) => continue,
            };
            told.push(self.disagreement(&said.key, rebuild, &than));
        }
        // What was said before the release was.
        let now: BTreeSet<u64> = self.rebuilds.iter().map(|(_, it, _)| it.index).collect();
        let mut before: BTreeMap<u64, (&String, &Rebuild, Vec<&Release>)> = BTreeMap::new();
        for new in &self.releases {
            let release = self.state.releases.get(&new.record).and_then(|it| it.get(&new.key));
            let Some(release) = release.and_then(|it| it.get(&new.measurements)) else { continue };
            for (key, all) in self.state.rebuilds.get(&new.record).into_iter().flatten() {
                let others = all.iter().filter(|it| *it.0 != new.measurements).map(|it| it.1);
                for rebuild in others.filter(|rebuild| !now.contains(&rebuild.index)) {
                    let entry = before.entry(rebuild.index);
                    entry.or_insert_with(|| (key, rebuild, Vec::new())).2.push(release);
                }
            }
        }
        for (key, rebuild, releases) in before.into_values() {
            told.push(self.disagreement(key, rebuild, &named(releases)));
        }
        for message in told {
            self.tell(Reason::Disagreement, message);
        }
    }

    /// An earlier rebuild of the same release that came to something else. Without a statement of the release it is
    /// not known who is right, and that one of them is wrong.
    fn other_rebuild(&self, said: &Said, rebuild: &Rebuild) -> Option<&Rebuild> {
        let all = self.state.rebuilds.get(&said.record).into_iter().flat_map(BTreeMap::values);
        let others = all.flatten().filter(|(measurements, _)| **measurements != said.measurements);
        let is_new = |index| self.rebuilds.iter().any(|(_, it, _)| it.index == index);
        let earlier = |it: &&Rebuild| it.index < rebuild.index || !is_new(it.index);
        others.map(|(_, other)| other).filter(earlier).min_by_key(|other| other.index)
    }

    fn disagreement(&self, key: &str, rebuild: &Rebuild, release: &str) -> String {
        let Rebuild { index, builder, first } = rebuild;
        let named = self.watch.known.as_ref().map(|known| known.builders.get(key));
        let named = match named {
            None => String::new(),
            Some(Some(name)) => format!(" (the builder `{name}`)"),
            Some(None) => " (no builder of the policy)".to_owned(),
        };
        let first = first.as_ref();
        let first =
            first.map_or(String::new(), |first| format!("; the first difference is in {first}"));
        format!("entry {index}: `{builder}`{named} came to something else than {release}{first}")
    }

    /// Whether somebody whose word counts came to what a release says. Who agrees with himself is no second opinion.
    fn is_rebuilt(&self, record: &Sha256, publisher: &String, measurements: &Sha256) -> bool {
        let counts = |key: &String| match &self.watch.known {
            Some(known) => known.builders.contains_key(key),
            None => key != publisher,
        };
        let mut rebuilds = self.state.rebuilds.get(record).into_iter().flatten();
        rebuilds.any(|(key, found)| counts(key) && found.contains_key(measurements))
    }

    fn not_rebuilt(&mut self) {
        let Some(patience) = self.watch.patience else { return };
        let mine = self.watch.mine.as_ref().map(|(key, _)| key.to_string());
        let mut late = Vec::new();
        for (record, by_key) in &self.state.releases {
            for (publisher, said) in by_key {
                if mine.as_ref().is_some_and(|mine| mine != publisher) {
                    continue;
                }
                for (measurements, release) in said {
                    let waited = self.watch.now.saturating_sub(release.since);
                    if waited > patience && !self.is_rebuilt(record, publisher, measurements) {
                        late.push((release.index, release.name.clone(), waited / (24 * 60 * 60)));
                    }
                }
            }
        }
        late.sort();
        for (index, name, days) in late {
            let message = format!(
                "entry {index}: nobody whose word counts has come to what `{name}` says, in {days} days"
            );
            self.tell(Reason::NotRebuilt, message);
        }
    }

    fn tell(&mut self, reason: Reason, message: String) {
        self.findings.push(Finding::new(reason, message));
    }
}

/// The first of several releases by their names: of one launch record anybody may log as many as they like.
fn named(mut releases: Vec<&Release>) -> String {
    releases.sort_by_key(|release| release.index);
    let named = releases.iter().take(MOST_NAMED);
    let named = named.map(|release| format!("`{}` (entry {})", release.name, release.index));
    let named = named.collect::<Vec<_>>().join(", ");
    match releases.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named} and {more} others"),
    }
}

const MOST_NAMED: usize = 4;

fn digest(measurements: &[Measurements]) -> Result<Sha256> {
    let json = serde_json::to_vec(measurements);
    json.map(Sha256::of).context(Kind::Environment, || "failed writing JSON".to_owned())
}

/// As much of a text as a line takes: what others write is kept and told, and may be long.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

const MOST_CHARS: usize = 200;
