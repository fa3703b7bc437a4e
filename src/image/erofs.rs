//! EROFS, the read-only file system of volumes: a writer of plain images, and a reader of images that
//! come from others.
//!
//! Format: Linux `Documentation/filesystems/erofs.rst`, "On-disk details", and `fs/erofs/erofs_fs.h`.
//! Nothing is compressed: weights do not shrink, and an encoder's bytes are no contract.
//!
//! An image is block 0 with the superblock, then the inodes in the order of their paths, then the
//! directories that are too large to stand beside their inode, then the files, each of them in one
//! piece. Where everything goes is computed from names, sizes, modes and owners alone ([`Layout`]);
//! then any block of the image can be made on its own, on any core, in any order.

mod directory;
mod fill;
mod format;
mod layout;
mod members;
pub mod read;
mod uuid;

pub use fill::{FillError, WholeBlocks};
pub use layout::{Layout, LayoutError};
pub use members::{Kind, Member, Members, MembersError};
pub use uuid::{ParseUuidError, Uuid};

/// The writer's epoch: it changes when the bytes made from a tree change, and old ones are kept.
///
/// # Changelog
/// ## erofs/1
/// Blocks of 4096 bytes. Block 0: zeroes, the superblock at 1024 with its CRC-32C, zeroes. From block
/// 1 on the inodes in the bytewise order of their paths, the root first, numbered from 1 in that order;
/// each at the next multiple of 32 bytes, or at the next block when it and what stands inline would
/// cross into it. An inode is compact unless its size, its owner or its links need the extended form.
/// Inline stand files, link targets and the last parts of directories of up to 2048 bytes; nothing else.
/// Then the other blocks of directories, then those of links and files, each in the order of paths and
/// beginning with a block of its own. A directory has `.` and `..` among its entries, sorted
/// bytewise, as many in a block as fit. Hard links are files of their own; there are no extended
/// attributes and no times; the UUID comes from the contents ([`Uuid::of_contents`]).
pub const EPOCH: &str = "erofs/1";

/// The block size: the page size of x86-64.
pub const BLOCK_SIZE: usize = 4096;
