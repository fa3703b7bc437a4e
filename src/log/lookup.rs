//! Which entries are of a measurement. The files that say so are an index and no more: each hit is proved, and an
//! index that leaves something out is found by whoever reads the log.

use std::collections::BTreeSet;

use crate::digest::Sha384;
use crate::error::{Context as _, Error, Kind, Result};
use crate::log::checkpoint::Checkpoint;
use crate::log::note::Note;
use crate::log::proof::Proof;
use crate::log::prove;
use crate::log::reader::Reader;
use crate::log::tree::Tree;

/// The most bytes that an index file may have.
pub const MOST_INDEX: u64 = 16 << 20;

/// The most entries of one measurement that are proved.
pub const MOST_HITS: usize = 10_000;

/// An entry that the index names, and what proves that it is in the log.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The entry.
    pub entry: Vec<u8>,
    /// That it is in the log, and where.
    pub proof: Proof,
}

/// The entries that the index has for a measurement, each once and in their order. Whether they are of it, their
/// statements say; whether the note is signed by anybody, is for the caller to ask.
///
/// # Errors
/// When the log cannot be read, or is not what was signed; [`Kind::Malformed`] when the index names more than
/// [`MOST_HITS`].
pub fn lookup(reader: &Reader, note: &Note, measurement: &Sha384) -> Result<Vec<Hit>> {
    let path = path(measurement);
    let Some(bytes) = reader.get(&path, MOST_INDEX)? else { return Ok(Vec::new()) };
    let text = String::from_utf8(bytes)
        .context(Kind::Malformed, || format!("`{}` is no index", reader.name(&path)))?;
    let checkpoint = Checkpoint::parse(&note.text)
        .context(Kind::Malformed, || "the log's checkpoint is none".to_owned())?;
    let mut named = BTreeSet::new();
    // A line beyond the tree is of an append that never came to its end.
    for index in indices(&text).filter(|index| *index < checkpoint.size) {
        named.insert(index);
        if named.len() > MOST_HITS {
            let message = format!("`{}` names more than {MOST_HITS} entries", reader.name(&path));
            return Err(Error::new(Kind::Malformed, message)
                .hint("read the log itself: its index is no part of what was signed"));
        }
    }
    let mut tree = Tree::open(reader, &checkpoint)?;
    let mut hits = Vec::new();
    for index in named {
        let entry = prove::entry(&mut tree, index)?;
        hits.push(Hit { entry, proof: prove::inclusion(&mut tree, note, index)? });
    }
    Ok(hits)
}

/// Where the entries of a measurement are listed, below the log's directory.
pub fn path(measurement: &Sha384) -> String {
    format!("by-measurement/{measurement}")
}

/// The indices in an index file; lines that are none are passed over.
pub(super) fn indices(text: &str) -> impl Iterator<Item = u64> {
    text.lines().filter_map(|line| line.parse().ok())
}
