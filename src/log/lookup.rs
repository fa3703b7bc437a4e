//! Which entries are of a measurement. The files that say so are an index, which nobody signs: it can leave something
//! out. What it names is proved, and shown if the statement that the entry is of is about the measurement.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::digest::{Sha256, Sha384};
use crate::error::{Context as _, Error, Kind, Result};
use crate::log::checkpoint::Checkpoint;
use crate::log::entry::Entry;
use crate::log::note::Note;
use crate::log::proof::Proof;
use crate::log::prove;
use crate::log::reader::Reader;
use crate::log::submit::statement_path;
use crate::log::tree::Tree;
use crate::statement::dsse::{MAX_PAYLOAD, PAYLOAD_TYPE, pae};
use crate::statement::intoto::Statement;
use crate::statement::key::PublicKey;
use crate::statement::launch::{Launch, Revoked};
use crate::statement::provenance::Provenance;
use crate::statement::revocation::Revocation;

/// The most bytes that an index file may have.
pub const MOST_INDEX: u64 = 16 << 20;

/// The most entries of one measurement that are proved.
pub const MOST_HITS: usize = 10_000;

/// What came of looking.
#[derive(Clone, Debug)]
pub struct Found {
    /// The entries that are of the measurement, or may be.
    pub hits: Vec<Hit>,
    /// How many entries the index names that are of something else.
    pub others: usize,
}

/// An entry that the index names, and what proves that it is in the log.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The entry.
    pub entry: Vec<u8>,
    /// That it is in the log, and where.
    pub proof: Proof,
    /// Who has signed; none where it is no entry of a signed statement.
    pub key: Option<PublicKey>,
    /// What.
    pub says: Says,
}

/// What a statement says to whoever asks for a launch digest.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Says {
    /// That a release has it.
    Statement {
        /// The statement's number.
        sequence: u64,
        /// The release's name.
        release: String,
    },
    /// How a release that has it was made.
    Provenance {
        /// Who made it, as they name themselves.
        builder: String,
    },
    /// What came of making such a release again.
    Rebuild {
        /// Who made it again, as they name themselves.
        builder: String,
        /// Whether it came to this digest.
        agrees: bool,
    },
    /// That a statement of it is not to be believed any more.
    Revocation {
        /// Why.
        reason: String,
    },
    /// Nothing of which it is known whether it is about the digest.
    Unclear {
        /// Why not.
        why: String,
    },
}

/// The entries that the index has for a measurement, each once and in their order. Whether the note is signed by
/// anybody, is for the caller to ask.
///
/// # Errors
/// When the log cannot be read, or is not what was signed; [`Kind::Malformed`] when the index names more than
/// [`MOST_HITS`].
pub fn lookup(reader: &Reader, note: &Note, measurement: &Sha384) -> Result<Found> {
    let path = path(measurement);
    let mut found = Found { hits: Vec::new(), others: 0 };
    let Some(bytes) = reader.get(&path, MOST_INDEX)? else { return Ok(found) };
    let checkpoint = Checkpoint::parse(&note.text)
        .context(Kind::Malformed, || "the log's checkpoint is none".to_owned())?;
    let mut named = BTreeSet::new();
    // A line beyond the tree is of an append that never came to its end.
    for index in indices(&bytes).filter(|index| *index < checkpoint.size) {
        named.insert(index);
        if named.len() > MOST_HITS {
            let message = format!("`{}` names more than {MOST_HITS} entries", reader.name(&path));
            return Err(Error::new(Kind::Malformed, message)
                .hint("read the log itself: its index is no part of what was signed"));
        }
    }
    let mut tree = Tree::open(reader, &checkpoint)?;
    let mut read = Vec::new();
    for index in named {
        let entry = prove::entry(&mut tree, index)?;
        let proof = prove::inclusion(&mut tree, note, index)?;
        let signed = Entry::from_body(&entry).ok();
        let content = content(reader, signed.as_ref())?;
        read.push((entry, proof, signed.map(|signed| signed.key), content));
    }
    let known = Known::of(measurement, read.iter().map(|(.., content)| content));
    for (entry, proof, key, content) in read {
        match known.says(content) {
            Some(says) => found.hits.push(Hit { entry, proof, key, says }),
            None => found.others += 1,
        }
    }
    Ok(found)
}

/// What is kept of a statement until all are read.
enum Content {
    Launch { sha256: Sha256, launch: Box<Launch> },
    Provenance { record: Option<Sha256>, builder: String, digests: Option<BTreeSet<Sha384>> },
    Revocation(Vec<Revoked>),
    Unclear(String),
}

/// The statement of an entry, as it is served beside the log.
fn content(reader: &Reader, entry: Option<&Entry>) -> Result<Content> {
    let unclear = |why: &str| Ok(Content::Unclear(why.to_owned()));
    let Some(entry) = entry else { return unclear("no entry of a signed statement") };
    let payload = match reader.get(&statement_path(&entry.digest), MAX_PAYLOAD as u64) {
        Ok(Some(payload)) => payload,
        Ok(None) => return unclear("its statement is not there"),
        Err(error) if error.kind() == Kind::Malformed => {
            return unclear("its statement is too large, or no file");
        }
        Err(_) => {
            // A log that does not answer is another matter than one that keeps a single file back.
            reader.checkpoint()?;
            return unclear("its statement cannot be read");
        }
    };
    let sha256 = Sha256::of(&payload);
    if Sha256::of(pae(PAYLOAD_TYPE, &payload)) != entry.digest {
        return unclear("what stands in the place of its statement is something else");
    }
    if let Ok(statement) = Statement::<Launch>::from_json(&payload) {
        return Ok(Content::Launch { sha256, launch: Box::new(statement.predicate) });
    }
    if let Ok(statement) = Statement::<Revocation>::from_json(&payload) {
        return Ok(Content::Revocation(statement.predicate.revokes));
    }
    let Ok(statement) = Statement::<Provenance>::from_json(&payload) else {
        return unclear("its statement is of a kind that is not known here, or cannot be read");
    };
    let provenance = &statement.predicate;
    let verdict = provenance.verdict().ok().flatten();
    let digests = verdict.map(|verdict| {
        let rows = verdict.measurements.into_iter().flat_map(|group| group.launches);
        rows.map(|row| row.launch_digest).collect()
    });
    let target = provenance.build_definition.external_parameters.target;
    let made = statement.subject("launch.json").map(|subject| subject.digest.sha256);
    Ok(Content::Provenance {
        record: target.map(|target| target.launch_record.sha256).or(made),
        builder: provenance.run_details.builder.id.clone(),
        digests,
    })
}

/// What the statements of a measurement are about beside it.
struct Known {
    measurement: Sha384,
    /// Their launch records.
    records: BTreeSet<Sha256>,
    /// Themselves.
    statements: BTreeSet<Sha256>,
}

impl Known {
    fn of<'a>(measurement: &Sha384, all: impl Iterator<Item = &'a Content>) -> Self {
        let mut known = Self {
            measurement: *measurement,
            records: BTreeSet::new(),
            statements: BTreeSet::new(),
        };
        for content in all {
            if let Content::Launch { sha256, launch } = content
                && known.has(launch)
            {
                known.records.insert(launch.launch_record.sha256);
                known.statements.insert(*sha256);
            }
        }
        known
    }

    fn has(&self, launch: &Launch) -> bool {
        launch.digests().any(|(_, row)| row.launch_digest == self.measurement)
    }

    /// `None` for what is about something else.
    fn says(&self, content: Content) -> Option<Says> {
        match content {
            Content::Unclear(why) => Some(Says::Unclear { why }),
            Content::Launch { launch, .. } if self.has(&launch) => {
                Some(Says::Statement { sequence: launch.sequence, release: launch.release })
            }
            Content::Launch { launch, .. } => self.revoked(launch.revokes),
            Content::Revocation(revokes) => self.revoked(revokes),
            Content::Provenance { record, builder, digests } => {
                let agrees = digests.as_ref().map(|it| it.contains(&self.measurement));
                let is_of = record.is_some_and(|record| self.records.contains(&record));
                match agrees {
                    Some(agrees) if agrees || is_of => Some(Says::Rebuild { builder, agrees }),
                    None if is_of => Some(Says::Provenance { builder }),
                    // Nobody shall hide a rebuilder's word by not logging what it is about.
                    _ => {
                        let what = if agrees.is_some() { "rebuild" } else { "provenance" };
                        let why = format!(
                            "{what} by {builder}, of a release whose statement is not among these"
                        );
                        Some(Says::Unclear { why })
                    }
                }
            }
        }
    }

    fn revoked(&self, revokes: Vec<Revoked>) -> Option<Says> {
        let mut revokes = revokes.into_iter();
        let revoked = revokes.find(|it| self.statements.contains(&it.statement))?;
        Some(Says::Revocation { reason: revoked.reason })
    }
}

/// Where the entries of a measurement are listed, below the log's directory.
pub fn path(measurement: &Sha384) -> String {
    format!("by-measurement/{measurement}")
}

/// The indices in an index file; lines that are none are passed over, so that what damages one line takes no other.
pub(super) fn indices(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.filter_map(|line| str::from_utf8(line).ok()?.parse().ok())
}
