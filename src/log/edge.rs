//! The right edge of a tree: all that is needed to add entries to it, and to know its root.

use crate::digest::Sha256;
use crate::log::merkle::{self, Hashes};
use crate::log::tile::{self, Content, HEIGHT, Malformed, Tile, WIDTH};

/// The tiles of a tree that are not full, and the bundle of entries that is not.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    /// The entries behind the last full bundle, as they stand in theirs.
    bundle: Vec<u8>,
    /// The hashes behind the last full tile, level by level.
    levels: Vec<Vec<Sha256>>,
}

impl Edge {
    /// The edge of a tree of `size` entries, of whose tiles that are not full `read` gives the hashes. To add to it,
    /// [`Edge::with_bundle`] must follow.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E>(
        size: u64,
        mut read: impl FnMut(Tile) -> Result<Vec<Sha256>, E>,
    ) -> Result<Self, E> {
        let mut edge = Self { size, ..Self::default() };
        for level in 0.. {
            let hashes = size.checked_shr(u32::from(level) * HEIGHT).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let tile = Tile::of(Content::Hashes(level), hashes / u64::from(WIDTH), size);
            edge.levels.push(match tile {
                Some(tile) => read(tile)?,
                None => Vec::new(),
            });
        }
        Ok(edge)
    }

    /// The bundle that is not full, if there is one.
    pub fn bundle(&self) -> Option<Tile> {
        Tile::of(Content::Entries, self.size / u64::from(WIDTH), self.size)
    }

    /// The same edge with that bundle.
    #[must_use]
    pub fn with_bundle(self, bundle: Vec<u8>) -> Self {
        Self { bundle, ..self }
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Sha256 {
        // There is no subtree in it that the edge has not: what is left of a level is that level's bits of the size.
        merkle::root(&mut Subtrees(self), self.size).unwrap_or_else(|Missing| merkle::empty())
    }

    /// The hashes that are not in a full tile, at this level.
    pub fn level(&self, level: u8) -> &[Sha256] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Adds an entry. What becomes full by it is given to `write`, in an order in which each hash is over what was
    /// given before.
    ///
    /// # Errors
    /// [`Malformed::Entry`], and nothing is added; those of `write`.
    pub fn push<E: From<Malformed>>(
        &mut self,
        entry: &[u8],
        mut write: impl FnMut(Tile, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        tile::push(&mut self.bundle, entry)?;
        let mut hash = merkle::leaf(entry);
        let last = self.size;
        self.size += 1;
        if self.size.is_multiple_of(u64::from(WIDTH)) {
            let index = last / u64::from(WIDTH);
            write(Tile { content: Content::Entries, index, width: WIDTH }, &self.bundle)?;
            self.bundle.clear();
        }
        for level in 0.. {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else { break };
            hashes.push(hash);
            let Some(above) = tile::above(hashes) else { break };
            let index = last >> (u32::from(level + 1) * HEIGHT);
            let full = Tile { content: Content::Hashes(level), index, width: WIDTH };
            write(full, &tile::concatenated(hashes))?;
            hashes.clear();
            hash = above;
        }
        Ok(())
    }

    /// The files that are not full and are others than in the tree of `old` entries that this one began as.
    pub fn partial(&self, old: u64) -> Vec<(Tile, Vec<u8>)> {
        let mut files = Vec::new();
        for (level, hashes) in (0_u8..).zip(&self.levels) {
            let shift = u32::from(level) * HEIGHT;
            let tile = Tile::of(Content::Hashes(level), (self.size >> shift) >> HEIGHT, self.size);
            if let Some(tile) = tile
                && self.size >> shift != old >> shift
            {
                files.push((tile, tile::concatenated(hashes)));
            }
        }
        if let Some(bundle) = self.bundle()
            && self.size != old
        {
            files.push((bundle, self.bundle.clone()));
        }
        files
    }
}

struct Subtrees<'a>(&'a Edge);

/// A subtree that is not at the edge.
struct Missing;

impl Hashes for Subtrees<'_> {
    type Error = Missing;

    fn subtree(&mut self, height: u32, index: u64) -> Result<Sha256, Missing> {
        let (tile, range) = tile::holding(height, index, self.0.size).ok_or(Missing)?;
        let Content::Hashes(level) = tile.content else { return Err(Missing) };
        let hashes = self.0.level(level).get(range).filter(|_| !tile.is_full()).ok_or(Missing)?;
        merkle::complete(hashes).ok_or(Missing)
    }
}
