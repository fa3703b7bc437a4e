//! Adding entries. A batch is in the log when its checkpoint is; until then, what was written counts for nothing
//! and is written over by the next batch.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::digest::{Sha256, Sha384};
use crate::error::{Error, Kind, Result};
use crate::input::bounded;
use crate::log::directory::Directory;
use crate::log::lookup::{self, MOST_INDEX};
use crate::log::note::Note;
use crate::log::staging::Staging;
use crate::log::tile::{Malformed, Tile, WIDTH};

/// Where statements stand, below the log's directory.
pub const STATEMENTS: &str = "statement";

/// What is added to a log.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The entry itself.
    pub bytes: Vec<u8>,
    /// The statement that it is of, and the digest that it goes by.
    pub statement: Option<(Sha256, Vec<u8>)>,
    /// The launch digests by which it is to be found.
    pub measurements: Vec<Sha384>,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The first entry's index; the others follow.
    pub first: u64,
    /// How many there were.
    pub count: u64,
    /// What the log has signed.
    pub checkpoint: Note,
}

impl Directory {
    /// Adds a batch, and returns when it is in the log and on the disk. When it fails, the batch may be in the log
    /// whole or not at all; the next append tells.
    ///
    /// # Errors
    /// [`Kind::Malformed`] for an entry that is too long, [`Kind::Environment`] when it cannot be written.
    pub fn append(&mut self, batch: impl IntoIterator<Item = Entry>) -> Result<Appended> {
        let path = self.path().to_owned();
        let first = self.size();
        let mut edge = self.edge().clone();
        let mut staging = Staging::begin(&path)?;
        let mut full = Vec::new();
        let mut found: BTreeMap<Sha384, Vec<u64>> = BTreeMap::new();
        for entry in batch {
            let index = edge.size();
            edge.push(&entry.bytes, |tile, bytes| {
                full.push(tile);
                staging.write(tile.to_string(), bytes).map_err(Failure::Write)
            })
            .map_err(|failure| failure.of(index))?;
            for measurement in entry.measurements {
                found.entry(measurement).or_default().push(index);
            }
            if let Some((digest, statement)) = entry.statement {
                staging.write(format!("{STATEMENTS}/{digest}"), &statement)?;
            }
        }
        for (tile, bytes) in edge.partial(first) {
            staging.write(tile.to_string(), &bytes)?;
        }
        for (measurement, indices) in found {
            let target = lookup::path(&measurement);
            let text = index_with(&path.join(&target), first, &indices)?;
            staging.write(target, text.as_bytes())?;
        }
        let count = edge.size() - first;
        let checkpoint = self.publish(staging, edge)?;
        remove_partials(&path, &full);
        Ok(Appended { first, count, checkpoint })
    }
}

enum Failure {
    Entry(Malformed),
    Write(Error),
}

impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Self {
        Self::Entry(error)
    }
}

impl Failure {
    fn of(self, index: u64) -> Error {
        match self {
            Self::Write(error) => error,
            Self::Entry(error) => {
                let message = format!("what was to be entry {index} cannot be logged");
                Error::caused(Kind::Malformed, message, error)
                    .hint("log a digest of it instead, and serve it beside the log")
            }
        }
    }
}

/// The lines of an index file, without those that an append which never came to its end has left, and without what
/// is no line of an index: it is damaged, and no append is to wait until somebody mends it.
fn index_with(path: &Path, size: u64, indices: &[u64]) -> Result<String> {
    let mut known = Vec::new();
    if path.exists() {
        let bytes = bounded::at_most(path, MOST_INDEX)?;
        known.extend(lookup::indices(&bytes).filter(|index| *index < size));
    }
    known.extend(indices);
    known.sort_unstable();
    known.dedup();
    Ok(known.iter().map(|index| format!("{index}\n")).collect())
}

/// Removes the forms of tiles from before they were full, as a log may (tlog-tiles, Partial Tiles). Whoever reads
/// by an older checkpoint finds the full one.
fn remove_partials(log: &Path, full: &[Tile]) {
    for tile in full.iter().filter(|tile| tile.width == WIDTH) {
        // What stays does no harm.
        let _ = fs::remove_dir_all(log.join(tile.partials()));
    }
}
