//! Inodes of both forms.

use zerocopy::FromBytes as _;

use super::super::format::{
    CHUNK_BASED, COMPRESSED_COMPACT, COMPRESSED_FULL, Compact, DATALAYOUT_BIT, Extended,
    FLAT_INLINE, FLAT_PLAIN, FORMAT_EXTENDED, MODE_TYPE,
};
use super::{ReadError, Reader};
use crate::names::Owner;

/// A file, directory, link or device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inode {
    /// Its number, and its place.
    pub nid: u64,
    /// What it is.
    pub kind: Type,
    /// Permission bits.
    pub mode: u16,
    /// User and group.
    pub owner: Owner,
    /// How many names it has.
    pub links: u32,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in seconds since 1970: its own time, or in the short form the image's.
    pub mtime: u64,
    /// Whether it is of the 64-byte form.
    pub extended: bool,
    /// Whether it has extended attributes, which are not looked at.
    pub attributes: bool,
    /// Where its contents are.
    pub data: Data,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Type {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character or block device, a FIFO or a socket.
    Special,
}

/// Where contents are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Data {
    /// In blocks, one after another.
    Plain {
        /// The first.
        start: u64,
    },
    /// In blocks, and what is after the last whole one elsewhere.
    Inline {
        /// The first block.
        start: u64,
        /// Where the rest is, in bytes from the image's first.
        tail: u64,
    },
    /// Compressed: not understood.
    Compressed,
    /// In chunks that may be anywhere: not understood.
    Chunks,
    /// Nowhere.
    Device,
}

impl Reader<'_> {
    /// The inode `nid`.
    ///
    /// # Errors
    /// When there is none, or it reaches beyond the image.
    pub fn inode(&self, nid: u64) -> Result<Inode, ReadError> {
        let malformed = |what: &str| ReadError::malformed(nid, what);
        let at = self.offset(nid).ok_or_else(|| malformed("it lies beyond every address"))?;
        let mut bytes = [0; size_of::<Extended>()];
        let compact = size_of::<Compact>();
        self.raw(at, &mut bytes[..compact])?;
        let (short, _) = Compact::read_from_prefix(&bytes).map_err(|_| malformed("too short"))?;
        let format = short.format.get();
        if format >> 4 != 0 {
            return Err(ReadError::unsupported(format!("inodes of the format {format:#x}")));
        }
        let extended = format & FORMAT_EXTENDED != 0;
        let mode = short.mode.get();
        let raw = if extended {
            self.raw(at + compact as u64, &mut bytes[compact..])?;
            let (long, _) =
                Extended::read_from_prefix(&bytes).map_err(|_| malformed("too short"))?;
            let owner = Owner { uid: long.uid.get(), gid: long.gid.get() };
            Raw {
                owner,
                links: long.nlink.get(),
                size: long.size.get(),
                union: long.union.get(),
                mtime: long.mtime.get(),
            }
        } else {
            let owner = Owner { uid: short.uid.get().into(), gid: short.gid.get().into() };
            Raw {
                owner,
                links: short.nlink.get().into(),
                size: short.size.get().into(),
                union: short.union.get(),
                mtime: self.superblock.build_time,
            }
        };
        let kind = match mode & MODE_TYPE {
            0o100_000 => Type::File,
            0o040_000 => Type::Directory,
            0o120_000 => Type::Symlink,
            0o010_000 | 0o020_000 | 0o060_000 | 0o140_000 => Type::Special,
            _ => return Err(malformed(&format!("mode {mode:o} is of no type"))),
        };
        let attributes = short.xattr_icount.get();
        let size = if extended { size_of::<Extended>() } else { compact } as u64;
        let behind = at + size + attributes_size(attributes);
        Ok(Inode {
            nid,
            kind,
            mode: mode & !MODE_TYPE,
            owner: raw.owner,
            links: raw.links,
            size: raw.size,
            mtime: raw.mtime,
            extended,
            attributes: attributes > 0,
            data: match kind {
                Type::Special => Data::Device,
                _ => self.data(nid, format >> DATALAYOUT_BIT, &raw, behind)?,
            },
        })
    }

    /// Where the contents are, checked against the image. `behind` is the byte behind the inode.
    fn data(&self, nid: u64, layout: u16, raw: &Raw, behind: u64) -> Result<Data, ReadError> {
        let start = u64::from(raw.union);
        let block = self.superblock.block_size;
        let whole = |blocks: u64| {
            // Without contents the address says nothing.
            let end = if blocks == 0 { 0 } else { start.saturating_add(blocks) };
            if end <= self.superblock.blocks {
                return Ok(());
            }
            let what =
                format!("its blocks end at {end}, the file system at {}", self.superblock.blocks);
            Err(ReadError::malformed(nid, what))
        };
        match layout {
            FLAT_PLAIN => {
                whole(raw.size.div_ceil(block))?;
                Ok(Data::Plain { start })
            }
            FLAT_INLINE => {
                whole(raw.size / block)?;
                if behind % block + raw.size % block > block {
                    return Err(ReadError::malformed(nid, "what stands behind it crosses a block"));
                }
                Ok(Data::Inline { start, tail: behind })
            }
            COMPRESSED_FULL | COMPRESSED_COMPACT => Ok(Data::Compressed),
            CHUNK_BASED => Ok(Data::Chunks),
            other => Err(ReadError::unsupported(format!("contents of layout {other}"))),
        }
    }
}

/// The fields that both forms have.
struct Raw {
    owner: Owner,
    links: u32,
    size: u64,
    union: u32,
    mtime: u64,
}

/// Size of the extended attributes behind an inode (`erofs_xattr_ibody_size`).
fn attributes_size(count: u16) -> u64 {
    if count == 0 { 0 } else { 12 + 4 * (u64::from(count) - 1) }
}
