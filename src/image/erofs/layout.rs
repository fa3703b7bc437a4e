//! Where everything in an image goes.

use super::BLOCK_SIZE;
use super::directory::Directories;
use super::format::SLOT;
use super::members::{Kind, Member, Members};
use crate::names::GuestPath;

/// Up to so many bytes stand behind an inode. Half a block, so that a file that has blocks of its own
/// fills at least half of them, and a block of inodes is at least half full.
const INLINE_MAX: u64 = BLOCK_SIZE as u64 / 2;

/// The places of everything in an image.
#[derive(Debug)]
pub struct Layout<'a> {
    pub(super) members: &'a Members,
    pub(super) directories: Directories,
    /// By number of the member; ascending.
    pub(super) inodes: Vec<Inode>,
    /// The block behind the last inode.
    pub(super) data: u64,
    /// What stands in blocks of its own, by its first block; ascending.
    pub(super) extents: Vec<Extent>,
    blocks: u32,
}

/// An inode and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    /// Its place, in slots from the image's first byte.
    pub(super) nid: u64,
    /// `i_size`.
    pub(super) size: u64,
    /// `i_nlink`.
    pub(super) links: u32,
    /// The first of its blocks, 0 if it has none.
    pub(super) start: u32,
    /// How many bytes stand behind it.
    pub(super) inline: u16,
    /// Whether it is of the 64-byte form.
    pub(super) extended: bool,
}

/// A member's blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) first: u64,
    pub(super) member: u32,
}

/// Paths that make no image.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Block addresses have 32 bits.
    #[error("`{0}` does not fit: an image holds at most 16 TiB")]
    TooLarge(GuestPath),
    /// The kernel reads no such link.
    #[error("the link `{0}` has no target or one of more than 4095 bytes")]
    Target(GuestPath),
}

/// The kernel's PATH_MAX, less the NUL.
const TARGET_MAX: usize = 4095;

impl<'a> Layout<'a> {
    /// Finds a place for every path.
    ///
    /// # Errors
    /// When there is no room for one.
    pub fn of(members: &'a Members) -> Result<Self, LayoutError> {
        let directories = Directories::of(members);
        let mut layout = Self {
            members,
            directories,
            inodes: Vec::with_capacity(members.all().len()),
            data: 0,
            extents: Vec::new(),
            blocks: 0,
        };
        // Block 0 is the superblock's.
        let mut at = BLOCK_SIZE as u64;
        for (number, member) in members.all().iter().enumerate() {
            let mut inode = layout.inode(number, member)?;
            let size = inode.bytes() + u64::from(inode.inline);
            at = at.next_multiple_of(SLOT);
            if at % BLOCK_SIZE as u64 + size > BLOCK_SIZE as u64 {
                at = at.next_multiple_of(BLOCK_SIZE as u64);
            }
            inode.nid = at / SLOT;
            at += size;
            layout.inodes.push(inode);
        }
        layout.data = at.div_ceil(BLOCK_SIZE as u64);
        let mut next = layout.data;
        for directories in [true, false] {
            for (number, member) in members.all().iter().enumerate() {
                if matches!(member.kind, Kind::Directory) == directories {
                    next = layout.place(number, member, next)?;
                }
            }
        }
        let too_large = || LayoutError::TooLarge(GuestPath::root());
        layout.blocks = u32::try_from(next).map_err(|_| too_large())?;
        Ok(layout)
    }

    /// The number of blocks of the image.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// An inode that has no place yet.
    fn inode(&self, number: usize, member: &Member) -> Result<Inode, LayoutError> {
        let (size, links, tail) = match &member.kind {
            Kind::Directory => {
                let tail = self.directories.last(number) as u64;
                (self.directories.size(number), self.directories.links(number), tail)
            }
            Kind::File { size, .. } => (*size, 1, *size),
            Kind::Symlink(target) => {
                let size = target.as_str().len();
                if !(1..=TARGET_MAX).contains(&size) {
                    return Err(LayoutError::Target(member.path.clone()));
                }
                (size as u64, 1, size as u64)
            }
        };
        let fits = size <= u32::MAX.into()
            && links <= u16::MAX.into()
            && member.owner.uid <= u16::MAX.into()
            && member.owner.gid <= u16::MAX.into();
        let inline = Some(tail).filter(|tail| *tail <= INLINE_MAX);
        let inline = inline.and_then(|tail| u16::try_from(tail).ok()).unwrap_or(0);
        Ok(Inode { nid: 0, size, links, start: 0, inline, extended: !fits })
    }

    /// Gives a member its blocks, if it needs any, and returns the next free one.
    fn place(&mut self, number: usize, member: &Member, next: u64) -> Result<u64, LayoutError> {
        let inode = &mut self.inodes[number];
        let bytes = inode.size - u64::from(inode.inline);
        if bytes == 0 {
            return Ok(next);
        }
        let too_large = || LayoutError::TooLarge(member.path.clone());
        inode.start = u32::try_from(next).map_err(|_| too_large())?;
        let member = u32::try_from(number).map_err(|_| too_large())?;
        self.extents.push(Extent { first: next, member });
        Some(next + bytes.div_ceil(BLOCK_SIZE as u64))
            .filter(|next| *next <= u32::MAX.into())
            .ok_or_else(too_large)
    }
}

impl Inode {
    /// Size of the inode itself.
    pub(super) fn bytes(self) -> u64 {
        if self.extended { 64 } else { 32 }
    }
}
