//! Tiles and bundles of entries: where they stand and what is in them (C2SP tlog-tiles).
//!
//! A tile holds up to 256 hashes of one level; each hash of a level above is over a full tile below. A bundle
//! holds the entries whose hashes are the tile at level 0 with the same index.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256;
use crate::log::merkle;

/// How many hashes or entries are in a full tile (tlog-tiles, Merkle Tree).
pub const WIDTH: u16 = 256;

/// How many levels of the tree one level of tiles spans.
pub const HEIGHT: u32 = 8;

/// The most bytes that an entry may have: its length is a big-endian uint16 (tlog-tiles, Log entries).
pub const LARGEST_ENTRY: usize = u16::MAX as usize;

/// The most bytes that a bundle may have.
pub const LARGEST_BUNDLE: usize = WIDTH as usize * (2 + LARGEST_ENTRY);

/// What a tile is of. In the order in which a log's paths are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Entries.
    Entries,
    /// Hashes of this level, from 0 to 63.
    Hashes(u8),
}

/// One file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// What it is of.
    pub content: Content,
    /// Its place in the level.
    pub index: u64,
    /// How many hashes or entries are in it, from 1 to [`WIDTH`].
    pub width: u16,
}

/// Bytes that are not the tile they are meant to be, or a path that names none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not `256 * 32` bytes, or as many fewer as it is narrower.
    #[error("a tile of {width} hashes has {} bytes, not {got}", usize::from(*width) * 32)]
    Size {
        /// How many hashes there should be.
        width: u16,
        /// How many bytes there are.
        got: usize,
    },
    /// Another number of entries, or an entry that is cut off.
    #[error(
        "the bundle does not hold {width} entries with their lengths before them, and nothing else"
    )]
    Bundle {
        /// How many entries there should be.
        width: u16,
    },
    /// More than fits the length before it.
    #[error("an entry has {0} bytes, and {LARGEST_ENTRY} is the most")]
    Entry(usize),
    /// Not `tile/L/N` or `tile/L/N.p/W`.
    #[error("`{0}` is not the path of a tile")]
    Path(String),
}

impl Tile {
    /// Tile `index` as it stands in a tree of `size` entries; `None` where that has none.
    pub fn of(content: Content, index: u64, size: u64) -> Option<Self> {
        let level = match content {
            Content::Entries => 0,
            Content::Hashes(level) => level,
        };
        let hashes = size.checked_shr(u32::from(level) * HEIGHT).unwrap_or(0);
        let from = index.checked_mul(u64::from(WIDTH))?;
        let width = hashes.checked_sub(from)?.min(u64::from(WIDTH));
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { content, index, width })
    }

    /// Every file that a tree of `size` entries has, bundles first, then level by level.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let levels = (0..LEVELS).map(Content::Hashes);
        std::iter::once(Content::Entries)
            .chain(levels)
            .flat_map(move |content| (0..).map_while(move |index| Self::of(content, index, size)))
    }

    /// Whether nothing will ever be added to it.
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The same tile once it is full.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// The directory that its partial forms stand in, below the log's.
    pub fn partials(&self) -> String {
        format!("{}.p", self.full())
    }

    /// The hashes in its bytes.
    ///
    /// # Errors
    /// When they are not as many as it is wide.
    pub fn hashes(&self, bytes: &[u8]) -> Result<Vec<Sha256>, Malformed> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(self.width) {
            return Err(Malformed::Size { width: self.width, got: bytes.len() });
        }
        Ok(hashes.iter().map(|hash| Sha256(*hash)).collect())
    }

    /// The entries in its bytes.
    ///
    /// # Errors
    /// When they are not as many as it is wide, or one is cut off.
    pub fn entries<'a>(&self, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, Malformed> {
        let malformed = || Malformed::Bundle { width: self.width };
        let mut entries = Vec::with_capacity(usize::from(self.width));
        let mut rest = bytes;
        for _ in 0..self.width {
            let (size, after) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
            let size = usize::from(u16::from_be_bytes(*size));
            let (entry, after) = after.split_at_checked(size).ok_or_else(malformed)?;
            entries.push(entry);
            rest = after;
        }
        if rest.is_empty() { Ok(entries) } else { Err(malformed()) }
    }
}

impl Tile {
    /// The bytes of this tile, out of those of the same tile once it was full.
    ///
    /// # Errors
    /// When they are not a full tile.
    pub fn cut(&self, full: &[u8]) -> Result<Vec<u8>, Malformed> {
        let width = usize::from(self.width);
        match self.content {
            Content::Hashes(_) => {
                let hashes = self.full().hashes(full)?;
                Ok(hashes.iter().take(width).flat_map(|hash| hash.0).collect())
            }
            Content::Entries => {
                let mut bundle = Vec::new();
                for entry in self.full().entries(full)?.into_iter().take(width) {
                    push(&mut bundle, entry)?;
                }
                Ok(bundle)
            }
        }
    }

    /// The most bytes that it may have.
    pub fn most(&self) -> u64 {
        match self.content {
            Content::Hashes(_) => u64::from(self.width) * 32,
            Content::Entries => LARGEST_BUNDLE as u64,
        }
    }
}

/// Hashes as the bytes of a tile.
pub fn concatenated(hashes: &[Sha256]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Puts an entry behind those of a bundle.
///
/// # Errors
/// When it is too long.
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Malformed> {
    let size = u16::try_from(entry.len()).map_err(|_| Malformed::Entry(entry.len()))?;
    bundle.extend(size.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// The tile at the level of tiles, and the hashes in it, that a subtree of the tree is computed from.
pub fn holding(height: u32, index: u64, size: u64) -> Option<(Tile, std::ops::Range<usize>)> {
    let level = u8::try_from(height / HEIGHT).ok()?;
    let first = index.checked_mul(1 << (height % HEIGHT))?;
    let tile = Tile::of(Content::Hashes(level), first / u64::from(WIDTH), size)?;
    let from = usize::try_from(first % u64::from(WIDTH)).ok()?;
    let range = from..from + (1 << (height % HEIGHT));
    (range.end <= usize::from(tile.width)).then_some((tile, range))
}

/// The hash that stands for a full tile in the level above.
pub fn above(full: &[Sha256]) -> Option<Sha256> {
    if full.len() == usize::from(WIDTH) { merkle::complete(full) } else { None }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Entries => f.write_str("tile/entries/")?,
            Content::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        groups.reverse();
        f.write_str(&groups.join("/"))?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for Tile {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // One tile, one spelling: what is written again differently was not the path of it.
        let parsed = parse(text).filter(|tile| tile.to_string() == text);
        parsed.ok_or_else(|| Malformed::Path(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Tile> {
    let (level, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let content = match level {
        "entries" => Content::Entries,
        level => Content::Hashes(level.parse().ok().filter(|level| *level < 64)?),
    };
    let (groups, width) = match rest.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse().ok().filter(|w| (1..WIDTH).contains(w))?),
        None => (rest, WIDTH),
    };
    let mut index: u64 = 0;
    for group in groups.split('/') {
        let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(group)?;
    }
    Some(Tile { content, index, width })
}

/// Above these, no tree whose size fits 64 bits has a hash.
const LEVELS: u8 = 8;
