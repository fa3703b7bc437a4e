//! The blocks of an image, any of them on its own.

use std::io;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::format::{
    BLOCK_BITS, COMPAT_CHECKSUM, COMPAT_MTIME, Compact, DATALAYOUT_BIT, Extended, FLAT_INLINE,
    FLAT_PLAIN, FORMAT_EXTENDED, FT_DIRECTORY, FT_REGULAR, FT_SYMLINK, MAGIC, MODE_DIRECTORY,
    MODE_REGULAR, MODE_SYMLINK, SLOT, SUPER_OFFSET, SuperBlock, checksum,
};
use super::layout::{Inode, Layout};
use super::members::{Kind, Member};
use super::{BLOCK_SIZE, Uuid};
use crate::names::GuestPath;
use crate::tree::Blob;

/// A block of the image.
type Block = [u8; BLOCK_SIZE];

/// Contents that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// They are fewer than they were.
    #[error("`{path}` has no longer its {size} bytes; it changed while it was read")]
    Short {
        /// The file.
        path: GuestPath,
        /// Its size when it was listed.
        size: u64,
    },
    /// They could not be read.
    #[error("failed reading the contents of `{path}`")]
    Read {
        /// The file.
        path: GuestPath,
        /// Why.
        source: io::Error,
    },
}

/// Blocks of an image that hold nothing but bytes of one file.
#[derive(Clone, Copy, Debug)]
pub struct WholeBlocks<'a> {
    /// The first of them.
    pub at: u64,
    /// How many they are.
    pub count: u64,
    /// The file.
    pub blob: &'a dyn Blob,
    /// Where in the file the first begins.
    pub offset: u64,
}

impl Layout<'_> {
    /// Makes block 0.
    pub fn superblock(&self, uuid: Uuid) -> Box<Block> {
        let mut superblock = SuperBlock::new_zeroed();
        superblock.magic = U32::new(MAGIC);
        superblock.feature_compat = U32::new(COMPAT_CHECKSUM | COMPAT_MTIME);
        superblock.blkszbits = BLOCK_BITS;
        let root = self.inodes.first().map_or(0, |root| root.nid);
        superblock.root_nid = U16::new(u16::try_from(root).unwrap_or(0));
        superblock.inos = U64::new(self.inodes.len() as u64);
        superblock.blocks = U32::new(self.blocks());
        superblock.uuid = uuid.0;
        let mut block = Box::new([0; BLOCK_SIZE]);
        let at = SUPER_OFFSET..SUPER_OFFSET + size_of::<SuperBlock>();
        block[at.clone()].copy_from_slice(superblock.as_bytes());
        superblock.checksum = U32::new(checksum(&block));
        block[at].copy_from_slice(superblock.as_bytes());
        block
    }

    /// Makes the blocks from `first` on, as many as `blocks` has room for; all must be the image's.
    /// Block 0 gets a UUID of zeroes.
    ///
    /// # Errors
    /// When the contents of a file cannot be read or are not what they were.
    pub fn fill(&self, first: u64, blocks: &mut [Block]) -> Result<(), FillError> {
        let mut at = first;
        let mut rest = blocks;
        while !rest.is_empty() {
            let behind = match at {
                0 => 1,
                at if at < self.data => self.data,
                at => self.end_of_extent(at),
            };
            let count = usize::try_from(behind - at).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            match at {
                0 => now[0] = *self.superblock(Uuid::NIL),
                at if at < self.data => self.fill_inodes(at, now)?,
                at => self.fill_extent(at, now)?,
            }
            at += count as u64;
            rest = later;
        }
        Ok(())
    }

    /// The files that have whole blocks among the `count` from `first` on.
    pub fn whole_blocks(&self, first: u64, count: u64) -> impl Iterator<Item = WholeBlocks<'_>> {
        let end = first + count;
        let from = self.extent(first);
        let extents = self.extents.iter().skip(from).take_while(move |e| e.first < end);
        extents.filter_map(move |extent| {
            let member = &self.members.all()[extent.member as usize];
            let Kind::File { size, blob } = &member.kind else { return None };
            let at = extent.first.max(first);
            let behind = (extent.first + size / BLOCK_SIZE as u64).min(end);
            let count = behind.checked_sub(at).filter(|count| *count > 0)?;
            let offset = (at - extent.first) * BLOCK_SIZE as u64;
            Some(WholeBlocks { at, count, blob: &**blob, offset })
        })
    }

    fn fill_inodes(&self, first: u64, blocks: &mut [Block]) -> Result<(), FillError> {
        let bytes = blocks.as_flattened_mut();
        bytes.fill(0);
        let start = first * BLOCK_SIZE as u64;
        let end = start + bytes.len() as u64;
        let number = self.inodes.partition_point(|inode| inode.nid * SLOT < start);
        // No inode crosses into the next block.
        let here = self.inodes.iter().enumerate().skip(number);
        for (number, inode) in here.take_while(|(_, inode)| inode.nid * SLOT < end) {
            let at = usize::try_from(inode.nid * SLOT - start).unwrap_or(0);
            let member = &self.members.all()[number];
            let behind = at + inode.write(number, member, &mut bytes[at..]);
            let inline = &mut bytes[behind..behind + usize::from(inode.inline)];
            match &member.kind {
                _ if inode.inline == 0 => {}
                Kind::Directory => {
                    let last = self.directories.blocks(number) - 1;
                    self.write_directory(number, last, inline);
                }
                Kind::Symlink(target) => inline.copy_from_slice(target.as_str().as_bytes()),
                Kind::File { .. } => read(member, inline, 0)?,
            }
        }
        Ok(())
    }

    fn fill_extent(&self, first: u64, blocks: &mut [Block]) -> Result<(), FillError> {
        let extent = self.extents[self.extent(first)];
        let number = extent.member as usize;
        let (member, inode) = (&self.members.all()[number], self.inodes[number]);
        let index = first - extent.first;
        match &member.kind {
            Kind::Directory => {
                let index = usize::try_from(index).unwrap_or(0);
                for (index, block) in (index..).zip(blocks) {
                    block.fill(0);
                    self.write_directory(number, index, block);
                }
                Ok(())
            }
            Kind::Symlink(target) => {
                let (bytes, rest) = blocks.as_flattened_mut().split_at_mut(target.as_str().len());
                bytes.copy_from_slice(target.as_str().as_bytes());
                rest.fill(0);
                Ok(())
            }
            Kind::File { .. } => {
                let offset = index * BLOCK_SIZE as u64;
                let bytes = blocks.as_flattened_mut();
                let left = usize::try_from(inode.size - offset).unwrap_or(usize::MAX);
                let (bytes, rest) = bytes.split_at_mut(left.min(bytes.len()));
                rest.fill(0);
                read(member, bytes, offset)
            }
        }
    }

    fn write_directory(&self, number: usize, index: usize, out: &mut [u8]) {
        let nid = |number: usize| self.inodes[number].nid;
        let file_type = |number: usize| match self.members.all()[number].kind {
            Kind::Directory => FT_DIRECTORY,
            Kind::File { .. } => FT_REGULAR,
            Kind::Symlink(_) => FT_SYMLINK,
        };
        self.directories.write(self.members, (number, index), nid, file_type, out);
    }

    /// The number of the extent that holds a block behind the inodes.
    fn extent(&self, block: u64) -> usize {
        self.extents.partition_point(|extent| extent.first <= block).saturating_sub(1)
    }

    /// The block behind the extent that holds `block`.
    fn end_of_extent(&self, block: u64) -> u64 {
        let next = self.extents.get(self.extent(block) + 1);
        next.map_or(self.blocks().into(), |extent| extent.first).max(block + 1)
    }
}

fn read(member: &Member, bytes: &mut [u8], offset: u64) -> Result<(), FillError> {
    let Kind::File { size, blob } = &member.kind else { return Ok(()) };
    blob.read_exact_at(bytes, offset).map_err(|source| {
        let path = member.path.clone();
        match source.kind() {
            io::ErrorKind::UnexpectedEof => FillError::Short { path, size: *size },
            _ => FillError::Read { path, source },
        }
    })
}

impl Inode {
    /// Writes the inode to the head of `out` and returns its size.
    fn write(self, number: usize, member: &Member, out: &mut [u8]) -> usize {
        let layout = if self.inline > 0 { FLAT_INLINE } else { FLAT_PLAIN } << DATALAYOUT_BIT;
        let kind = match member.kind {
            Kind::Directory => MODE_DIRECTORY,
            Kind::File { .. } => MODE_REGULAR,
            Kind::Symlink(_) => MODE_SYMLINK,
        };
        let mode = U16::new(kind | member.mode & 0o7777);
        let ino = U32::new(u32::try_from(number + 1).unwrap_or(u32::MAX));
        let small = |value: u32| U16::new(u16::try_from(value).unwrap_or(u16::MAX));
        if self.extended {
            let mut inode = Extended::new_zeroed();
            inode.format = U16::new(layout | FORMAT_EXTENDED);
            inode.mode = mode;
            inode.size = U64::new(self.size);
            inode.union = U32::new(self.start);
            inode.ino = ino;
            inode.uid = U32::new(member.owner.uid);
            inode.gid = U32::new(member.owner.gid);
            inode.nlink = U32::new(self.links);
            out[..size_of::<Extended>()].copy_from_slice(inode.as_bytes());
            return size_of::<Extended>();
        }
        let mut inode = Compact::new_zeroed();
        inode.format = U16::new(layout);
        inode.mode = mode;
        inode.nlink = small(self.links);
        inode.size = U32::new(u32::try_from(self.size).unwrap_or(u32::MAX));
        inode.union = U32::new(self.start);
        inode.ino = ino;
        inode.uid = small(member.owner.uid);
        inode.gid = small(member.owner.gid);
        out[..size_of::<Compact>()].copy_from_slice(inode.as_bytes());
        size_of::<Compact>()
    }
}
