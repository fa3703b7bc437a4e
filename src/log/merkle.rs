//! The tree over a log's entries: RFC 6962, section 2.1 (again in RFC 9162, section 2.1), with SHA-256.
//!
//! Proofs are made from any source of the hashes of complete subtrees, which is what tiles hold, and are
//! checked without one.

use sha2::Digest as _;

use crate::digest::Sha256;

/// Where the hashes of complete subtrees come from.
pub trait Hashes {
    /// Why one could not be had.
    type Error;

    /// The hash over the leaves from `index << height` on, of which there are `1 << height`. It is asked only for
    /// subtrees that the tree has whole.
    ///
    /// # Errors
    /// Whatever the source makes of it.
    fn subtree(&mut self, height: u32, index: u64) -> Result<Sha256, Self::Error>;
}

/// The root of a tree without leaves: the digest of nothing.
pub fn empty() -> Sha256 {
    Sha256::of([])
}

/// The hash of an entry.
pub fn leaf(entry: &[u8]) -> Sha256 {
    let hasher = sha2::Sha256::new_with_prefix(LEAF).chain_update(entry);
    Sha256(hasher.finalize().into())
}

/// The hash of two subtrees.
pub fn node(left: &Sha256, right: &Sha256) -> Sha256 {
    let mut bytes = [NODE; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// The hash of a subtree from those of its equal parts, of which there is a power of two; `None` for any other
/// number of them.
pub fn complete(parts: &[Sha256]) -> Option<Sha256> {
    if !parts.len().is_power_of_two() {
        return None;
    }
    let mut row = parts.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect();
    }
    row.first().copied()
}

/// The root of a tree of `size` leaves.
///
/// # Errors
/// Those of the source.
pub fn root<H: Hashes>(hashes: &mut H, size: u64) -> Result<Sha256, H::Error> {
    range(hashes, 0, size)
}

/// What proves that leaf `index` is in the tree of `size` leaves (RFC 6962, 2.1.1): from the leaf's sibling up.
/// Empty when there is no such leaf.
///
/// # Errors
/// Those of the source.
pub fn inclusion<H: Hashes>(
    hashes: &mut H,
    index: u64,
    size: u64,
) -> Result<Vec<Sha256>, H::Error> {
    let (mut from, mut to) = (0, size);
    let mut siblings = Vec::new();
    while index < size && to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            siblings.push((middle, to));
            to = middle;
        } else {
            siblings.push((from, middle));
            from = middle;
        }
    }
    siblings.into_iter().rev().map(|(from, to)| range(hashes, from, to)).collect()
}

/// What proves that the tree of `old` leaves is how the one of `new` leaves began (RFC 6962, 2.1.2). Empty when
/// there is nothing to prove: `old` is zero, or not smaller.
///
/// # Errors
/// Those of the source.
pub fn consistency<H: Hashes>(hashes: &mut H, old: u64, new: u64) -> Result<Vec<Sha256>, H::Error> {
    if old == 0 || old >= new {
        return Ok(Vec::new());
    }
    let (mut from, mut to) = (0, new);
    let mut siblings = Vec::new();
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            siblings.push((middle, to));
            to = middle;
        } else {
            siblings.push((from, middle));
            from = middle;
        }
    }
    // The old root itself is known to whoever asks.
    if from != 0 {
        siblings.push((from, to));
    }
    siblings.into_iter().rev().map(|(from, to)| range(hashes, from, to)).collect()
}

/// The root that a proof of inclusion leads to (RFC 9162, 2.1.3.2); `None` when it is not of the length that
/// index and size ask for.
pub fn inclusion_root(index: u64, size: u64, leaf: Sha256, proof: &[Sha256]) -> Option<Sha256> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            // A rightmost subtree without a sibling goes up as it is.
            let up = if at & 1 == 1 { 1 } else { at.trailing_zeros() + 1 };
            at = at.checked_shr(up).unwrap_or(0);
            last = last.checked_shr(up).unwrap_or(0);
        } else {
            hash = node(&hash, sibling);
            at >>= 1;
            last >>= 1;
        }
    }
    (last == 0).then_some(hash)
}

/// Whether a proof shows that one tree begins with another (RFC 9162, 2.1.4.2). Of a tree without leaves, and of
/// one and the same tree, the only proof is the empty one.
pub fn consistent(
    old_size: u64,
    old_root: &Sha256,
    new_size: u64,
    new_root: &Sha256,
    proof: &[Sha256],
) -> bool {
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == empty();
    }
    if old_size > new_size {
        return false;
    }
    // A complete old tree is a subtree of the new one, and begins the proof itself.
    let (first, rest) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
        None => return false,
    };
    let up = (old_size - 1).trailing_ones();
    let mut at = (old_size - 1).checked_shr(up).unwrap_or(0);
    let mut last = (new_size - 1).checked_shr(up).unwrap_or(0);
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old = node(sibling, &old);
            new = node(sibling, &new);
            let up = if at & 1 == 1 { 1 } else { at.trailing_zeros() + 1 };
            at = at.checked_shr(up).unwrap_or(0);
            last = last.checked_shr(up).unwrap_or(0);
        } else {
            new = node(&new, sibling);
            at >>= 1;
            last >>= 1;
        }
    }
    last == 0 && old == *old_root && new == *new_root
}

/// The hash over the leaves `from..to`, where `from` is a multiple of every complete subtree in it.
fn range<H: Hashes>(hashes: &mut H, from: u64, to: u64) -> Result<Sha256, H::Error> {
    let mut parts = Vec::new();
    let mut at = from;
    while at < to {
        let height = (to - at).ilog2();
        parts.push(hashes.subtree(height, at >> height)?);
        at += 1 << height;
    }
    let folded = parts.into_iter().rev().reduce(|right, left| node(&left, &right));
    Ok(folded.unwrap_or_else(empty))
}

/// The largest power of two that is smaller than `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

// What keeps an entry from passing for a node (RFC 6962, 2.1).
const LEAF: [u8; 1] = [0x00];
const NODE: u8 = 0x01;
