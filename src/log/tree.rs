//! A log's tree, read from its tiles and held against the signed root from the top down: what comes from here is
//! what was signed, and what is not is told by the name of the file.

use std::collections::BTreeMap;

use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::log::checkpoint::Checkpoint;
use crate::log::edge::Edge;
use crate::log::merkle::{self, Hashes};
use crate::log::reader::Reader;
use crate::log::reason::Reason;
use crate::log::tile::{self, Content, Tile, WIDTH};

/// The tree of one checkpoint.
#[derive(Debug)]
pub struct Tree<'a> {
    reader: &'a Reader,
    edge: Edge,
    /// Full tiles that were read and found to be what stands for them above.
    full: BTreeMap<Tile, Vec<Sha256>>,
}

impl<'a> Tree<'a> {
    /// Reads the right edge, which must give the checkpoint's root.
    ///
    /// # Errors
    /// [`Kind::Rejected`] and which file is damaged; others when one cannot be read.
    pub fn open(reader: &'a Reader, checkpoint: &Checkpoint) -> Result<Self> {
        let edge = Edge::read(checkpoint.size, |tile| hashes(reader, tile))?;
        let tree = Self { reader, edge, full: BTreeMap::new() };
        if tree.edge.root() == checkpoint.root {
            return Ok(tree);
        }
        Err(tree.blame(checkpoint))
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Its right edge.
    pub fn into_edge(self) -> Edge {
        self.edge
    }

    /// The hashes of a tile of the tree.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn tile(&mut self, tile: Tile) -> Result<&[Sha256]> {
        let Content::Hashes(level) = tile.content else { return Ok(&[]) };
        if !tile.is_full() {
            return Ok(self.edge.level(level));
        }
        if !self.full.contains_key(&tile) {
            let hashes = hashes(self.reader, tile)?;
            let above = self.above(level, tile.index)?;
            if tile::above(&hashes) != above {
                return Err(self.damaged(tile, "its hashes do not give the one above them"));
            }
            self.full.insert(tile, hashes);
        }
        Ok(self.full.get(&tile).map_or(&[], Vec::as_slice))
    }

    /// The hash of an entry.
    ///
    /// # Errors
    /// As [`Tree::open`]; [`Kind::Usage`] when there is no such entry.
    pub fn leaf(&mut self, index: u64) -> Result<Sha256> {
        let size = self.size();
        let tile = Tile::of(Content::Hashes(0), index / u64::from(WIDTH), size);
        let hashes = tile.map(|tile| self.tile(tile)).transpose()?.unwrap_or_default();
        let at = usize::try_from(index % u64::from(WIDTH)).ok();
        at.and_then(|at| hashes.get(at)).copied().ok_or_else(|| {
            let message = format!("there is no entry {index}: the log has {size}, counted from 0");
            Error::new(Kind::Usage, message)
        })
    }

    /// The entries whose hashes are in the tile at level 0 with this index.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn entries(&mut self, index: u64) -> Result<Vec<Vec<u8>>> {
        let (Some(bundle), Some(tile)) = (
            Tile::of(Content::Entries, index, self.size()),
            Tile::of(Content::Hashes(0), index, self.size()),
        ) else {
            return Ok(Vec::new());
        };
        let bytes = self.reader.tile(bundle)?;
        let entries: Vec<_> = bundle.entries(&bytes).unwrap_or_default();
        let entries: Vec<_> = entries.into_iter().map(<[u8]>::to_vec).collect();
        let hashes = self.tile(tile)?;
        let right = |(entry, hash): (&Vec<u8>, &Sha256)| merkle::leaf(entry) == *hash;
        match entries.iter().zip(hashes).position(|both| !right(both)) {
            Some(at) => {
                let number = index * u64::from(WIDTH) + at as u64;
                Err(self.damaged(bundle, &format!("entry {number} is not the one that was logged")))
            }
            None => Ok(entries),
        }
    }

    /// The hash that stands for full tile `index` of a level.
    fn above(&mut self, level: u8, index: u64) -> Result<Option<Sha256>> {
        let (at, in_tile) = (index / u64::from(WIDTH), index % u64::from(WIDTH));
        let tile = Tile::of(Content::Hashes(level + 1), at, self.size());
        let hashes = tile.map(|tile| self.tile(tile)).transpose()?.unwrap_or_default();
        Ok(usize::try_from(in_tile).ok().and_then(|at| hashes.get(at)).copied())
    }

    fn damaged(&self, tile: Tile, how: &str) -> Error {
        let name = self.reader.name(&tile.to_string());
        Error::caused(Kind::Rejected, format!("`{name}` is damaged: {how}"), Reason::Damaged)
            .hint("take this file from a backup or another copy of the log, and verify again")
    }

    /// Why the edge does not give the signed root: the first file that is not made of what is below it.
    fn blame(&self, checkpoint: &Checkpoint) -> Error {
        let size = self.size();
        if let Some(error) = self.blame_entries() {
            return error;
        }
        for level in 1..8 {
            let parts = self.edge.level(level);
            let below =
                (size >> (u32::from(level) * tile::HEIGHT)).saturating_sub(parts.len() as u64);
            for (index, hash) in (below..).zip(parts) {
                let child = Tile { content: Content::Hashes(level - 1), index, width: WIDTH };
                match hashes(self.reader, child) {
                    Ok(hashes) if tile::above(&hashes) == Some(*hash) => {}
                    Ok(_) => {
                        let own = Tile::of(
                            Content::Hashes(level),
                            size.checked_shr(u32::from(level + 1) * tile::HEIGHT).unwrap_or(0),
                            size,
                        );
                        let name = self.reader.name(&child.to_string());
                        return self.damaged(
                            own.unwrap_or(child),
                            &format!("it does not hold what `{name}` gives"),
                        );
                    }
                    Err(error) => return error,
                }
            }
        }
        let message = format!(
            "`{}` is of another tree: its files fit together, but their root is not the signed one",
            self.reader.name(super::reader::CHECKPOINT)
        );
        Error::caused(Kind::Rejected, message, Reason::Damaged)
            .hint(format!("signed is {}, the tiles give {}", checkpoint.root, self.edge.root()))
            .hint("was an older copy of the tiles put in the place of newer ones?")
    }

    fn blame_entries(&self) -> Option<Error> {
        let bundle = self.edge.bundle()?;
        let bytes = match self.reader.tile(bundle) {
            Ok(bytes) => bytes,
            Err(error) => return Some(error),
        };
        let entries = bundle.entries(&bytes).ok()?;
        let hashes = self.edge.level(0);
        let strange =
            entries.iter().zip(hashes).position(|(entry, hash)| merkle::leaf(entry) != *hash)?;
        let tile = Tile { content: Content::Hashes(0), ..bundle };
        let name = self.reader.name(&bundle.to_string());
        Some(self.damaged(tile, &format!("hash {strange} is not that of the entry in `{name}`")))
    }
}

impl Hashes for Tree<'_> {
    type Error = Error;

    fn subtree(&mut self, height: u32, index: u64) -> Result<Sha256> {
        let missing = || Error::new(Kind::CannotDecide, "the log has no such subtree");
        let (tile, range) = tile::holding(height, index, self.size()).ok_or_else(missing)?;
        let hashes = self.tile(tile)?.get(range).ok_or_else(missing)?;
        merkle::complete(hashes).ok_or_else(missing)
    }
}

fn hashes(reader: &Reader, tile: Tile) -> Result<Vec<Sha256>> {
    let bytes = reader.tile(tile)?;
    tile.hashes(&bytes).map_err(|error| {
        let message = format!("`{}` is damaged: {error}", reader.name(&tile.to_string()));
        Error::caused(Kind::Rejected, message, Reason::Damaged)
    })
}
