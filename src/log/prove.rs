//! Proofs from a log's tiles.

use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::log::merkle;
use crate::log::note::Note;
use crate::log::proof::Proof;
use crate::log::tile::{Content, Tile, WIDTH};
use crate::log::tree::Tree;

/// That entry `index` is in the tree of this checkpoint, which `tree` was opened by.
///
/// # Errors
/// [`Kind::Usage`] when there is no such entry; others when the log cannot be read or is not what was signed.
pub fn inclusion(tree: &mut Tree<'_>, note: &Note, index: u64) -> Result<Proof> {
    tree.leaf(index)?;
    let size = tree.size();
    let hashes = merkle::inclusion(tree, index, size)?;
    Ok(Proof { extra: None, index, hashes, checkpoint: note.clone() })
}

/// That the tree of `old` entries is how this one began.
///
/// # Errors
/// [`Kind::Usage`] when the tree is smaller; others when the log cannot be read or is not what was signed.
pub fn consistency(tree: &mut Tree<'_>, old: u64) -> Result<Vec<Sha256>> {
    let size = tree.size();
    if old > size {
        let message = format!("a tree of {old} entries is no beginning of one of {size}");
        return Err(Error::new(Kind::Usage, message));
    }
    merkle::consistency(tree, old, size)
}

/// An entry by its index.
///
/// # Errors
/// As [`inclusion`].
pub fn entry(tree: &mut Tree<'_>, index: u64) -> Result<Vec<u8>> {
    tree.leaf(index)?;
    let mut entries = tree.entries(index / u64::from(WIDTH))?;
    let at = usize::try_from(index % u64::from(WIDTH)).unwrap_or(usize::MAX);
    match at < entries.len() {
        true => Ok(entries.swap_remove(at)),
        false => Err(Error::new(Kind::CannotDecide, format!("entry {index} is not there"))),
    }
}

/// Where the last entry with this hash is.
///
/// # Errors
/// When the log cannot be read or is not what was signed.
pub fn find(tree: &mut Tree<'_>, leaf: Sha256) -> Result<Option<u64>> {
    let size = tree.size();
    for index in (0..size.div_ceil(u64::from(WIDTH))).rev() {
        let Some(tile) = Tile::of(Content::Hashes(0), index, size) else { continue };
        let at = tree.tile(tile)?.iter().rposition(|hash| *hash == leaf);
        if let Some(at) = at {
            return Ok(Some(index * u64::from(WIDTH) + at as u64));
        }
    }
    Ok(None)
}
