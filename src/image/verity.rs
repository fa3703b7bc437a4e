//! dm-verity: a tree of hashes over a device's blocks, whose root hash stands for all of them.
//!
//! Format: Linux `Documentation/admin-guide/device-mapper/verity.rst`, hash type 1; the order of the
//! levels is cryptsetup's (`lib/verity/verity_hash.c`, `hash_levels`): the root's block first, the
//! hashes of the data last. No superblock is written. Nothing authenticates one, so a guest must not
//! believe it: block counts, salt and root hash come from the measured command line.

mod assembly;
mod geometry;
mod salt;

use std::io::{self, Read};

use sha2::Digest as _;

pub use assembly::{Assembly, Placed, Unfinished};
pub use geometry::{Geometry, Level};
pub use salt::{ParseSaltError, Salt, SecretSalt};

use crate::digest::Sha256;

/// The writer's epoch: it changes when the bytes made from the same data change, and old ones are
/// kept.
///
/// # Changelog
/// ## verity/1
/// Hash type 1 (the salt first), SHA-256, data and hash blocks of 4096 bytes, no superblock, the tree
/// right behind the data, root first. The salt, unless said: [`Salt::default`].
pub const EPOCH: &str = "verity/1";

/// `<version>` of the device-mapper table: the salt is prepended, digests are padded to a power of two
/// (verity.rst, "Construction Parameters").
pub const HASH_TYPE: u32 = 1;

/// `<data_block_size>` and `<hash_block_size>`: the page size of x86-64, the largest that a kernel
/// there takes.
pub const BLOCK_SIZE: usize = 4096;

/// Size of a SHA-256.
pub const DIGEST_SIZE: usize = 32;

/// How many digests stand in a block of the tree.
pub const PER_BLOCK: u64 = (BLOCK_SIZE / DIGEST_SIZE) as u64;

/// A block of data or of the tree.
pub type Block = [u8; BLOCK_SIZE];

/// Hashes blocks: SHA-256 over salt and block.
#[derive(Clone, Debug)]
pub struct Hasher {
    salted: sha2::Sha256,
    zero: Sha256,
}

impl Hasher {
    /// Hashes with this salt.
    pub fn new(salt: &Salt) -> Self {
        let salted = sha2::Sha256::new_with_prefix(salt.bytes());
        let zero = Sha256(salted.clone().chain_update(ZERO).finalize().into());
        Self { salted, zero }
    }

    /// The digest of a block.
    pub fn digest(&self, block: &Block) -> Sha256 {
        Sha256(self.salted.clone().chain_update(block).finalize().into())
    }
}

const ZERO: Block = [0; BLOCK_SIZE];

/// The digests of up to [`PER_BLOCK`] blocks, as they stand in a block of the tree, and a bit for each
/// block that holds zeroes only, lowest first.
pub fn digests(hasher: &Hasher, blocks: &[Block]) -> (Box<Block>, u128) {
    let mut digests = Box::new(ZERO);
    let mut zeroes = 0;
    for (at, (place, block)) in digests.chunks_exact_mut(DIGEST_SIZE).zip(blocks).enumerate() {
        // Comparing is twenty times as fast as hashing, and a model padded with zeroes is common.
        let digest = match block == &ZERO {
            true => {
                zeroes |= 1 << at;
                hasher.zero
            }
            false => hasher.digest(block),
        };
        place.copy_from_slice(&digest.0);
    }
    (digests, zeroes)
}

/// Hashes the data that `data` reads, block by block, and hands each block of the tree to `emit` with
/// its place in the file; returns the root hash. The plain way, on one core.
///
/// # Errors
/// When reading fails, or there is less data than the geometry says.
pub fn hash(
    mut data: impl Read,
    geometry: Geometry,
    salt: &Salt,
    mut emit: impl FnMut(Placed),
) -> io::Result<Sha256> {
    let hasher = Hasher::new(salt);
    let mut assembly = Assembly::new(geometry, hasher.clone());
    let mut first = None;
    let mut left = geometry.data_blocks();
    for index in 0..geometry.units() {
        let count = usize::try_from(left.min(PER_BLOCK)).map_err(io::Error::other)?;
        let mut blocks = vec![ZERO; count];
        data.read_exact(blocks.as_flattened_mut())?;
        left -= count as u64;
        if geometry.levels() == 0 {
            return Ok(hasher.digest(&blocks[0]));
        }
        let (block, _) = digests(&hasher, &blocks);
        if index == 0 {
            first = Some(block);
            continue;
        }
        assembly.add(index, hasher.digest(&block)).into_iter().for_each(&mut emit);
        emit(Placed { at: geometry.level(0).first + index, block });
    }
    let first = first.ok_or(io::ErrorKind::UnexpectedEof)?;
    let (root, rest) = assembly.finish(first).map_err(io::Error::other)?;
    rest.into_iter().for_each(emit);
    Ok(root)
}
