//! Where the levels of a hash tree are.

use super::{BLOCK_SIZE, PER_BLOCK};

/// The shape of a tree: it follows from the number of data blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geometry {
    data_blocks: u64,
}

/// One level of a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Level {
    /// The file's block that its first block is; the data is before it.
    pub first: u64,
    /// How many blocks it has.
    pub blocks: u64,
}

/// What the kernel can address: `loff_t` is signed.
const MAX_BLOCKS: u64 = (i64::MAX as u64) / BLOCK_SIZE as u64;

impl Geometry {
    /// The tree over so many blocks of data; `None` for no block at all, and for more than can be
    /// addressed.
    pub fn new(data_blocks: u64) -> Option<Self> {
        let geometry = Self { data_blocks };
        let fits = (1..=MAX_BLOCKS).contains(&data_blocks) && geometry.blocks() <= MAX_BLOCKS;
        fits.then_some(geometry)
    }

    /// The tree that makes, with its data, a file of so many blocks; `None` when no number of data
    /// blocks does.
    pub fn of_file(blocks: u64) -> Option<Self> {
        // A tree adds less than 1/127 of the data and a block a level; more data, more blocks.
        let low = (blocks.saturating_mul(126) / 127).saturating_sub(16).max(1);
        let (mut low, mut high) = (low, blocks.min(MAX_BLOCKS));
        while low < high {
            let middle = low + (high - low) / 2;
            match (Self { data_blocks: middle }).blocks() < blocks {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Self::new(low).filter(|geometry| geometry.blocks() == blocks)
    }

    /// The number of data blocks.
    pub fn data_blocks(self) -> u64 {
        self.data_blocks
    }

    /// The number of levels. None over a single block: its own digest is the root hash.
    pub fn levels(self) -> usize {
        let mut levels = 0;
        let mut blocks = self.data_blocks;
        while blocks > 1 {
            blocks = blocks.div_ceil(PER_BLOCK);
            levels += 1;
        }
        levels
    }

    /// The level `level`; 0 holds the digests of the data.
    pub fn level(self, level: usize) -> Level {
        let above = (level + 1..self.levels()).map(|above| self.level_blocks(above)).sum::<u64>();
        Level { first: self.data_blocks + above, blocks: self.level_blocks(level) }
    }

    /// The number of blocks of level `level`.
    pub fn level_blocks(self, level: usize) -> u64 {
        (0..=level).fold(self.data_blocks, |blocks, _| blocks.div_ceil(PER_BLOCK))
    }

    /// How many blocks of digests the data makes: its units of up to [`PER_BLOCK`] blocks.
    pub fn units(self) -> u64 {
        self.level_blocks(0)
    }

    /// The number of blocks of the whole tree.
    pub fn hash_blocks(self) -> u64 {
        (0..self.levels()).map(|level| self.level_blocks(level)).sum()
    }

    /// The number of blocks of data and tree together.
    pub fn blocks(self) -> u64 {
        self.data_blocks + self.hash_blocks()
    }

    /// The number of bytes of data and tree together.
    pub fn size(self) -> u64 {
        self.blocks() * BLOCK_SIZE as u64
    }

    /// The number of digests in block `index` of `level`.
    pub fn entries(self, level: usize, index: u64) -> u64 {
        let below = match level {
            0 => self.data_blocks,
            level => self.level_blocks(level - 1),
        };
        below.saturating_sub(index * PER_BLOCK).min(PER_BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_comes_first_and_the_hashes_of_data_last() {
        let geometry = Geometry::new(128 * 128 + 1).unwrap();
        assert_eq!(geometry.levels(), 3);
        let levels: Vec<_> = (0..3).map(|level| geometry.level(level)).collect();
        assert_eq!(levels[2], Level { first: 16385, blocks: 1 });
        assert_eq!(levels[1], Level { first: 16386, blocks: 2 });
        assert_eq!(levels[0], Level { first: 16388, blocks: 129 });
        assert_eq!(geometry.blocks(), 16385 + 132);
        assert_eq!(
            (geometry.entries(0, 128), geometry.entries(1, 1), geometry.entries(2, 0)),
            (1, 1, 2)
        );
        assert_eq!(Geometry::new(0), None);
        assert_eq!(Geometry::new(u64::MAX), None);
        assert_eq!(Geometry::new(1).unwrap().levels(), 0);
    }

    #[test]
    fn a_files_size_gives_the_data() {
        for data in (1..70_000).chain([1 << 28, (1 << 32) - 1, (1 << 40) + 12345]) {
            let geometry = Geometry::new(data).unwrap();
            assert_eq!(Geometry::of_file(geometry.blocks()), Some(geometry));
        }
        // Two blocks would be one of data, which has no tree, and one too many.
        for none in [0, 2, 131, u64::MAX] {
            assert_eq!(Geometry::of_file(none), None, "{none}");
        }
    }
}
