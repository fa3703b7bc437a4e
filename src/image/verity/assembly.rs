//! A tree put together from digests that arrive in any order.

use std::collections::BTreeMap;

use super::{Block, DIGEST_SIZE, Geometry, Hasher, PER_BLOCK, ZERO};
use crate::digest::Sha256;

/// The levels above the first, in the making. Only blocks that still lack a digest are held: a few,
/// however large the data is, as long as its units are hashed roughly in order.
///
/// The first unit comes last, since the block at its head says what the rest is.
#[derive(Debug)]
pub struct Assembly {
    geometry: Geometry,
    hasher: Hasher,
    begun: BTreeMap<(usize, u64), Begun>,
}

#[derive(Clone, Debug)]
struct Begun {
    block: Box<Block>,
    entries: u64,
}

/// A block of the tree and the file's block that it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// Number of the block in the file.
    pub at: u64,
    /// The block.
    pub block: Box<Block>,
}

/// Digests are missing.
#[derive(Debug, thiserror::Error)]
#[error("the hash tree lacks digests of level {level}")]
pub struct Unfinished {
    level: usize,
}

impl Assembly {
    /// A tree without digests.
    pub fn new(geometry: Geometry, hasher: Hasher) -> Self {
        Self { geometry, hasher, begun: BTreeMap::new() }
    }

    /// Takes the digest of the block of level 0 that has number `index`, which is not 0, and returns
    /// the blocks that are complete with it.
    pub fn add(&mut self, index: u64, digest: Sha256) -> Vec<Placed> {
        let mut complete = Vec::new();
        let (mut child, mut digest) = (index, digest);
        for level in 1..self.geometry.levels() {
            let index = child / PER_BLOCK;
            let begun = self
                .begun
                .entry((level, index))
                .or_insert_with(|| Begun { block: Box::new(ZERO), entries: 0 });
            set(&mut begun.block, child % PER_BLOCK, digest);
            begun.entries += 1;
            if begun.entries < self.geometry.entries(level, index) {
                break;
            }
            let Some(Begun { block, .. }) = self.begun.remove(&(level, index)) else { break };
            digest = self.hasher.digest(&block);
            complete.push(Placed { at: self.geometry.level(level).first + index, block });
            child = index;
        }
        complete
    }

    /// The root hash when `first` is the first block of level 0, and the blocks that depend on it.
    ///
    /// # Errors
    /// When a digest was not added.
    pub fn finish(&self, first: Box<Block>) -> Result<(Sha256, Vec<Placed>), Unfinished> {
        let mut digest = self.hasher.digest(&first);
        let mut placed = vec![Placed { at: self.geometry.level(0).first, block: first }];
        for level in 1..self.geometry.levels() {
            let begun = self.begun.get(&(level, 0));
            let (mut block, entries) = match begun {
                Some(begun) => (begun.block.clone(), begun.entries),
                None => (Box::new(ZERO), 0),
            };
            if entries + 1 != self.geometry.entries(level, 0) {
                return Err(Unfinished { level });
            }
            set(&mut block, 0, digest);
            digest = self.hasher.digest(&block);
            placed.push(Placed { at: self.geometry.level(level).first, block });
        }
        Ok((digest, placed))
    }

    /// How many blocks wait for digests.
    pub fn waiting(&self) -> usize {
        self.begun.len()
    }
}

fn set(block: &mut Block, entry: u64, digest: Sha256) {
    let entry = usize::try_from(entry).unwrap_or(0);
    if let Some(place) = block.chunks_exact_mut(DIGEST_SIZE).nth(entry) {
        place.copy_from_slice(&digest.0);
    }
}
