//! Reads EROFS images, ours and others'. Nothing in one is believed: sizes and places are checked
//! against the image before they are used, directories must be sorted and lead to each directory once.

mod error;
mod features;
mod inode;
mod walk;

use std::fmt;

use zerocopy::FromBytes as _;

pub use error::ReadError;
pub use features::Features;
pub use inode::{Data, Inode, Type};

use super::format::{self, COMPAT_CHECKSUM, MAGIC, SLOT, SUPER_OFFSET};
use super::{BLOCK_SIZE, Uuid};
use crate::tree::Blob;

/// An image that is being read.
pub struct Reader<'a> {
    blob: &'a dyn Blob,
    size: u64,
    superblock: SuperBlock,
}

/// What an image says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SuperBlock {
    /// Bytes in a block.
    pub block_size: u64,
    /// Number of blocks of the file system.
    pub blocks: u64,
    /// Number of inodes that are said to be there.
    pub inodes: u64,
    /// The inode of the root directory.
    pub root: u64,
    /// The UUID.
    pub uuid: Uuid,
    /// The volume's name, up to the first NUL.
    pub name: Vec<u8>,
    /// The time of inodes that have none of their own, in seconds since 1970.
    pub build_time: u64,
    /// Features that a reader may ignore.
    pub compatible: Features,
    /// Features that a reader must know.
    pub incompatible: Features,
    /// Whether the superblock's checksum is right; `None` if it has none, or if the rest of its block
    /// is not all here.
    pub checksum: Option<bool>,
    /// Where inode 0 would be, in blocks.
    meta: u64,
}

impl<'a> Reader<'a> {
    /// Reads the superblock of an image of `size` bytes.
    ///
    /// # Errors
    /// When there is none, or it contradicts itself.
    pub fn new(blob: &'a dyn Blob, size: u64) -> Result<Self, ReadError> {
        let superblock = SuperBlock::read(blob, size)?;
        Ok(Self { blob, size, superblock })
    }

    /// What the image says of itself.
    pub fn superblock(&self) -> &SuperBlock {
        &self.superblock
    }

    /// Reads `buffer` from byte `offset` of a file, link or directory.
    ///
    /// # Errors
    /// When that is more than it holds, or it is compressed.
    pub fn read_at(&self, inode: &Inode, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > inode.size) {
            return Err(ReadError::malformed(inode.nid, "it is read beyond its end"));
        }
        let (start, tail) = match inode.data {
            Data::Plain { start } => (start, None),
            Data::Inline { start, tail } => (start, Some(tail)),
            Data::Compressed => return Err(ReadError::unsupported("compressed contents")),
            Data::Chunks => return Err(ReadError::unsupported("contents in chunks")),
            Data::Device => return Err(ReadError::unsupported("the contents of devices")),
        };
        let block = self.superblock.block_size;
        // What is before this stands in blocks.
        let whole = if tail.is_some() { inode.size / block * block } else { inode.size };
        let split = usize::try_from(whole.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (blocks, inline) = buffer.split_at_mut(split.min(buffer.len()));
        if !blocks.is_empty() {
            self.raw(start * block + offset, blocks)?;
        }
        match tail {
            Some(tail) if !inline.is_empty() => {
                let into = (offset + blocks.len() as u64) - whole;
                self.raw(tail + into, inline)
            }
            _ => Ok(()),
        }
    }

    /// Where a file's bytes are that stand in blocks: their first, and how many there are.
    pub fn blocks_of(&self, inode: &Inode) -> Option<(u64, u64)> {
        let block = self.superblock.block_size;
        match inode.data {
            Data::Plain { start } => Some((start, inode.size.div_ceil(block))),
            Data::Inline { start, .. } => Some((start, inode.size / block)),
            _ => None,
        }
    }

    /// Where an inode is, in bytes from the image's first.
    fn offset(&self, nid: u64) -> Option<u64> {
        let base = self.superblock.meta.checked_mul(self.superblock.block_size)?;
        base.checked_add(nid.checked_mul(SLOT)?)
    }

    /// Bytes of the image.
    fn raw(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(ReadError::Short { size: self.size, end: end.unwrap_or(u64::MAX) });
        }
        self.blob.read_exact_at(buffer, offset).map_err(ReadError::Io)
    }
}

impl SuperBlock {
    fn read(blob: &dyn Blob, size: u64) -> Result<Self, ReadError> {
        let mut block = [0; BLOCK_SIZE];
        let have = usize::try_from(size).unwrap_or(usize::MAX).min(BLOCK_SIZE);
        blob.read_exact_at(&mut block[..have], 0).map_err(ReadError::Io)?;
        if have < SUPER_OFFSET + size_of::<format::SuperBlock>() {
            return Err(ReadError::NotErofs);
        }
        let (raw, _) = format::SuperBlock::read_from_prefix(&block[SUPER_OFFSET..])
            .map_err(|_| ReadError::NotErofs)?;
        if raw.magic.get() != MAGIC {
            return Err(ReadError::NotErofs);
        }
        // 512 bytes to 64 KiB (Linux `fs/erofs/super.c`, `erofs_read_superblock`).
        if !(9..=16).contains(&raw.blkszbits) {
            let what = format!("blocks of 2^{} bytes", raw.blkszbits);
            return Err(ReadError::unsupported(what));
        }
        let compatible = Features::compatible(raw.feature_compat.get());
        let incompatible = Features::incompatible(raw.feature_incompat.get());
        let block_size = 1 << raw.blkszbits;
        let has_checksum = compatible.bits() & COMPAT_CHECKSUM != 0;
        let here = has_checksum && block_size == BLOCK_SIZE as u64 && have == BLOCK_SIZE;
        let name = raw.volume_name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Self {
            block_size,
            blocks: raw.blocks.get().into(),
            inodes: raw.inos.get(),
            root: raw.root_nid.get().into(),
            uuid: Uuid(raw.uuid),
            name: name.to_vec(),
            build_time: raw.build_time.get(),
            compatible,
            incompatible,
            checksum: here.then(|| format::checksum(&block) == raw.checksum.get()),
            meta: raw.meta_blkaddr.get().into(),
        })
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("superblock", &self.superblock).finish_non_exhaustive()
    }
}
