//! The structures on disk, little-endian (Linux `fs/erofs/erofs_fs.h`; the names are its).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::BLOCK_SIZE;

/// `EROFS_SUPER_OFFSET`.
pub(super) const SUPER_OFFSET: usize = 1024;

/// `EROFS_SUPER_MAGIC_V1` (`include/uapi/linux/magic.h`).
pub(super) const MAGIC: u32 = 0xe0f5_e1e2;

/// `blkszbits` of blocks of 4096 bytes.
pub(super) const BLOCK_BITS: u8 = 12;

/// `EROFS_FEATURE_COMPAT_SB_CHKSUM`: the superblock has a checksum.
pub(super) const COMPAT_CHECKSUM: u32 = 0x1;

/// `EROFS_FEATURE_COMPAT_MTIME`: times are those of modification.
pub(super) const COMPAT_MTIME: u32 = 0x2;

/// Inodes stand at multiples of this; a nid counts in it (erofs.rst, "Inode metadata space").
pub(super) const SLOT: u64 = 32;

/// `EROFS_NAME_LEN`.
pub(super) const NAME_MAX: usize = 255;

/// `struct erofs_super_block`. The fields of newer kernels that change where things are
/// (`EROFS_FEATURE_INCOMPAT_48BIT`, `_METABOX`) lie in `reserved`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SuperBlock {
    pub(super) magic: U32,
    pub(super) checksum: U32,
    pub(super) feature_compat: U32,
    pub(super) blkszbits: u8,
    pub(super) sb_extslots: u8,
    pub(super) root_nid: U16,
    pub(super) inos: U64,
    pub(super) build_time: U64,
    pub(super) build_time_nsec: U32,
    pub(super) blocks: U32,
    pub(super) meta_blkaddr: U32,
    pub(super) xattr_blkaddr: U32,
    pub(super) uuid: [u8; 16],
    pub(super) volume_name: [u8; 16],
    pub(super) feature_incompat: U32,
    pub(super) available_compr_algs: U16,
    pub(super) extra_devices: U16,
    pub(super) devt_slotoff: U16,
    pub(super) dirblkbits: u8,
    pub(super) xattr_prefix_count: u8,
    pub(super) xattr_prefix_start: U32,
    pub(super) packed_nid: U64,
    pub(super) reserved: [u8; 24],
}

const _: () = assert!(size_of::<SuperBlock>() == 128);

/// `struct erofs_inode_compact`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Compact {
    pub(super) format: U16,
    pub(super) xattr_icount: U16,
    pub(super) mode: U16,
    pub(super) nlink: U16,
    pub(super) size: U32,
    pub(super) reserved: U32,
    pub(super) union: U32,
    pub(super) ino: U32,
    pub(super) uid: U16,
    pub(super) gid: U16,
    pub(super) reserved2: U32,
}

const _: () = assert!(size_of::<Compact>() == 32);

/// `struct erofs_inode_extended`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Extended {
    pub(super) format: U16,
    pub(super) xattr_icount: U16,
    pub(super) mode: U16,
    pub(super) reserved: U16,
    pub(super) size: U64,
    pub(super) union: U32,
    pub(super) ino: U32,
    pub(super) uid: U32,
    pub(super) gid: U32,
    pub(super) mtime: U64,
    pub(super) mtime_nsec: U32,
    pub(super) nlink: U32,
    pub(super) reserved2: [u8; 16],
}

const _: () = assert!(size_of::<Extended>() == 64);

/// `struct erofs_dirent`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Dirent {
    pub(super) nid: U64,
    pub(super) nameoff: U16,
    pub(super) file_type: u8,
    pub(super) reserved: u8,
}

const _: () = assert!(size_of::<Dirent>() == DIRENT_SIZE);

/// Size of a [`Dirent`].
pub(super) const DIRENT_SIZE: usize = 12;

/// `i_format`, bit 0: `EROFS_INODE_LAYOUT_EXTENDED`.
pub(super) const FORMAT_EXTENDED: u16 = 1;

/// `i_format`, bits 1 to 3: how the data is laid out.
pub(super) const DATALAYOUT_BIT: u16 = 1;
/// `EROFS_INODE_FLAT_PLAIN`: blocks, one after another.
pub(super) const FLAT_PLAIN: u16 = 0;
/// `EROFS_INODE_COMPRESSED_FULL`.
pub(super) const COMPRESSED_FULL: u16 = 1;
/// `EROFS_INODE_FLAT_INLINE`: the same, and what is after the last whole block stands behind the inode.
pub(super) const FLAT_INLINE: u16 = 2;
/// `EROFS_INODE_COMPRESSED_COMPACT`.
pub(super) const COMPRESSED_COMPACT: u16 = 3;
/// `EROFS_INODE_CHUNK_BASED`.
pub(super) const CHUNK_BASED: u16 = 4;

/// File types in `i_mode` (inode(7)).
pub(super) const MODE_TYPE: u16 = 0o170_000;
pub(super) const MODE_DIRECTORY: u16 = 0o040_000;
pub(super) const MODE_REGULAR: u16 = 0o100_000;
pub(super) const MODE_SYMLINK: u16 = 0o120_000;

/// File types in directory entries (Linux `include/linux/fs_types.h`, `FT_*`).
pub(super) const FT_REGULAR: u8 = 1;
pub(super) const FT_DIRECTORY: u8 = 2;
pub(super) const FT_SYMLINK: u8 = 7;

/// The checksum of a superblock: CRC-32C over the rest of its block with the field zero, from all ones
/// and not inverted at the end (Linux `fs/erofs/super.c`, `erofs_superblock_csum_verify`).
pub(super) fn checksum(block: &[u8; BLOCK_SIZE]) -> u32 {
    let field = SUPER_OFFSET + 4..SUPER_OFFSET + 8;
    let bytes = block.iter().enumerate().skip(SUPER_OFFSET);
    bytes.fold(u32::MAX, |crc, (at, byte)| {
        let byte = if field.contains(&at) { 0 } else { *byte };
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            // The Castagnoli polynomial, reflected (RFC 3720, 12.1).
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, B.4: 32 bytes of zeroes have CRC 8a9136aa when inverted at the end.
    #[test]
    fn the_checksum_is_crc32c() {
        // The bytes before the superblock do not count; a block has 3072 after them.
        let mut block = [0; BLOCK_SIZE];
        block[..SUPER_OFFSET].fill(0xff);
        let plain = |bytes: &[u8]| {
            bytes.iter().fold(u32::MAX, |crc, byte| {
                (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                    if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
                })
            })
        };
        assert_eq!(!plain(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&block), plain(&[0; 3072]));
        block[SUPER_OFFSET + 5] = 7;
        assert_eq!(checksum(&block), plain(&[0; 3072]), "the field itself does not count");
        block[4095] = 1;
        assert_ne!(checksum(&block), plain(&[0; 3072]));
    }
}
