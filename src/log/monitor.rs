//! Watching a log: what is new since it was last looked at, and what of that somebody must be told.
//!
//! What was seen is kept in a state, so that the log cannot show another past. The state goes on only from a log
//! that holds; each new entry is told once, and what is still not rebuilt is told every time.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

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
use crate::statement::intoto::Statement;
use crate::statement::key::PublicKey;
use crate::statement::launch::{Launch, Measurements};
use crate::statement::provenance::Provenance;

/// What was seen of a log.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The version of this file.
    pub version: u32,
    /// The last checkpoint that held.
    pub checkpoint: Option<String>,
    /// The releases that the log has, by the digests of their launch records.
    pub releases: BTreeMap<String, Release>,
    /// Who came to the measurements of which release, also of one that is not in the log yet: for each launch
    /// record the keys, each with the digest of the measurements that it came to.
    pub rebuilt: BTreeMap<String, BTreeMap<String, Sha256>>,
}

/// The version of [`State`] that is read and written.
pub const VERSION: u32 = 1;

/// A release that the log has.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The entry of its statement.
    pub index: u64,
    /// Its name.
    pub name: String,
    /// Its publisher's key, on one line.
    pub publisher: String,
    /// Since when it is to be believed, in seconds since 1970.
    pub since: u64,
    /// The SHA-256 of its launch digests, as the statement lists them.
    pub measurements: Sha256,
}

/// What is asked of a monitor.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Whose word counts.
    pub signers: Signers,
    /// My key, and the digests of what I signed with it.
    pub mine: Option<(PublicKey, BTreeSet<Sha256>)>,
    /// Whose rebuilds count; without, those of everyone but the release's publisher.
    pub builders: Option<Vec<PublicKey>>,
    /// After how many seconds a release must have been rebuilt, and what time it is.
    pub patience: Option<(u64, u64)>,
}

/// What came of looking.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What to keep for the next time: after a log that does not hold, what was kept before.
    pub state: State,
    /// The log as it is now.
    pub checkpoint: Checkpoint,
    /// The entries that are new.
    pub new: std::ops::Range<u64>,
    /// What is wrong, or to be told.
    pub findings: Vec<Finding>,
}

/// Looks at a log again.
///
/// # Errors
/// When the log or the state cannot be read.
pub fn look(reader: &Reader, state: State, watch: &Watch) -> Result<Seen> {
    let note = reader.checkpoint()?;
    let name = reader.name(CHECKPOINT);
    let (checkpoint, mut findings) = verify::checkpoint(&note, &watch.signers, &name)?;
    let before = last_seen(&state)?;
    let from = before.as_ref().map_or(0, |before| before.size);
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
    let mut next = state.clone();
    let mut told = Told { reader, watch, state: &mut next, findings: &mut findings };
    for bundle in from / u64::from(WIDTH)..checkpoint.size.div_ceil(u64::from(WIDTH)) {
        let entries = match tree.entries(bundle) {
            Ok(entries) => entries,
            Err(error) => {
                let finding = Finding::from(error)?;
                return nothing(state, checkpoint, vec![finding]);
            }
        };
        for (index, entry) in (bundle * u64::from(WIDTH)..).zip(entries) {
            if index >= from {
                told.entry(index, &entry)?;
            }
        }
    }
    told.not_rebuilt();
    next.version = VERSION;
    next.checkpoint = Some(note.to_string());
    Ok(Seen { state: next, new: from..checkpoint.size, checkpoint, findings })
}

fn last_seen(state: &State) -> Result<Option<Checkpoint>> {
    let wrong = || "the monitor's state holds no checkpoint".to_owned();
    let Some(text) = &state.checkpoint else { return Ok(None) };
    let note = Note::parse(text).context(Kind::Malformed, wrong)?;
    Checkpoint::parse(&note.text).context(Kind::Malformed, wrong).map(Some)
}

struct Told<'a> {
    reader: &'a Reader,
    watch: &'a Watch,
    state: &'a mut State,
    findings: &'a mut Vec<Finding>,
}

impl Told<'_> {
    fn entry(&mut self, index: u64, body: &[u8]) -> Result<()> {
        // A log may hold whatever its keeper likes; what is no signed statement is nobody's claim.
        let Ok(entry) = Entry::from_body(body) else { return Ok(()) };
        if let Some((key, made)) = &self.watch.mine
            && entry.key == *key
            && !made.contains(&entry.digest)
        {
            let message = format!(
                "entry {index} is signed by your key, and its statement ({}) is not among yours",
                entry.digest
            );
            self.tell(Reason::NotMine, message);
        }
        let path = statement_path(&entry.digest);
        let name = self.reader.name(&path);
        let Some(payload) = self.reader.get(&path, MAX_PAYLOAD as u64)? else {
            self.tell(
                Reason::Missing,
                format!("`{name}`, the statement of entry {index}, is not there"),
            );
            return Ok(());
        };
        if Sha256::of(pae(PAYLOAD_TYPE, &payload)) != entry.digest {
            self.tell(Reason::Damaged, format!("`{name}` is not the statement of entry {index}"));
            return Ok(());
        }
        if let Ok(statement) = Statement::<Launch>::from_json(&payload) {
            let launch = statement.predicate;
            let release = Release {
                index,
                name: launch.release,
                publisher: entry.key.to_string(),
                since: launch.validity.not_before.as_unix(),
                measurements: digest(&launch.measurements)?,
            };
            let record = launch.launch_record.sha256.to_string();
            self.state.releases.entry(record).or_insert(release);
        } else if let Ok(statement) = Statement::<Provenance>::from_json(&payload) {
            self.rebuild(index, &entry, &statement.predicate)?;
        }
        Ok(())
    }

    fn rebuild(&mut self, index: u64, entry: &Entry, provenance: &Provenance) -> Result<()> {
        let target = provenance.build_definition.external_parameters.target;
        let Ok(Some(verdict)) = provenance.verdict() else { return Ok(()) };
        let Some(target) = target else { return Ok(()) };
        let builder = &provenance.run_details.builder.id;
        let record = target.launch_record.sha256.to_string();
        if !verdict.measured {
            let first = verdict.first_difference.map_or(String::new(), |first| {
                format!("; the first difference is in `{}`: {}", first.place, first.what)
            });
            let message = format!(
                "entry {index}: `{builder}` came to other measurements than the release of {record}{first}"
            );
            self.tell(Reason::Disagreement, message);
        } else {
            let measurements = digest(&verdict.measurements)?;
            let keys = self.state.rebuilt.entry(record).or_default();
            keys.insert(entry.key.to_string(), measurements);
        }
        Ok(())
    }

    /// Whether somebody whose word counts came to what a release says. Who agrees with himself is no second opinion.
    fn is_rebuilt(&self, record: &str, release: &Release) -> bool {
        let builders = self.watch.builders.as_ref();
        let builders: Option<BTreeSet<String>> =
            builders.map(|keys| keys.iter().map(ToString::to_string).collect());
        let counts = |key: &String| match &builders {
            Some(builders) => builders.contains(key),
            None => *key != release.publisher,
        };
        let rebuilt = self.state.rebuilt.get(record).into_iter().flatten();
        rebuilt.into_iter().any(|(key, found)| counts(key) && *found == release.measurements)
    }

    fn not_rebuilt(&mut self) {
        let Some((patience, now)) = self.watch.patience else { return };
        let mine = self.watch.mine.as_ref().map(|(key, _)| key.to_string());
        let late = |(record, release): &(&String, &Release)| {
            let asked = mine.as_ref().is_none_or(|mine| *mine == release.publisher);
            asked
                && now.saturating_sub(release.since) > patience
                && !self.is_rebuilt(record, release)
        };
        let message = |(_, release): (&String, &Release)| {
            let days = now.saturating_sub(release.since) / (24 * 60 * 60);
            format!(
                "entry {}: nobody whose word counts has come to what `{}` says, in {days} days",
                release.index, release.name
            )
        };
        let late: Vec<_> = self.state.releases.iter().filter(late).map(message).collect();
        for message in late {
            self.tell(Reason::NotRebuilt, message);
        }
    }

    fn tell(&mut self, reason: Reason, message: String) {
        self.findings.push(Finding::new(reason, message));
    }
}

fn digest(measurements: &[Measurements]) -> Result<Sha256> {
    let json = serde_json::to_vec(measurements);
    json.map(Sha256::of).context(Kind::Environment, || "failed writing JSON".to_owned())
}

impl State {
    /// Reads what an earlier look has kept.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when it is none.
    pub fn from_json(bytes: &[u8], name: &str) -> Result<Self> {
        let state: Self = serde_json::from_slice(bytes)
            .context(Kind::Malformed, || format!("`{name}` is no state of a monitor"))?;
        match state.version {
            VERSION => Ok(state),
            other => {
                let message =
                    format!("`{name}` is of version {other}: this program knows {VERSION}");
                Err(Error::new(Kind::CannotDecide, message))
            }
        }
    }
}
