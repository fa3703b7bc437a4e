//! An empty ext4 file system, block by block: what stands on a scratch disk before it is mounted.
//!
//! It has no journal, since nothing of it outlives the machine, and no feature that a kernel must not
//! have: 4096-byte blocks, extents, types in directory entries. Structures and names are those of
//! Linux, `fs/ext4/ext4.h`; the layout is described in `Documentation/filesystems/ext4/`.
//!
//! Only what is written here is ever read back: whatever the disk held before does not matter.

/// The size of a block.
pub const BLOCK: usize = 4096;

/// Blocks of a group: as many as one block of bitmap has bits.
const PER_GROUP: u32 = 8 * BLOCK as u32;

/// Inodes of a group: one for 256 KiB. What is kept on a scratch disk is large.
const INODES: u32 = 512;

/// The size of an inode, which leaves room for times after 2038.
const INODE: usize = 256;

/// Blocks of a group's inodes.
const TABLE: u32 = INODES * INODE as u32 / BLOCK as u32;

/// The size of a group's descriptor, without `INCOMPAT_64BIT`.
const DESCRIPTOR: u32 = 32;

/// `EXT4_ROOT_INO`.
const ROOT: u32 = 2;

/// `EXT4_GOOD_OLD_FIRST_INO`: those before it are reserved.
const FIRST: u32 = 11;

/// The fewest blocks that a disk may have: those of the first group's tables, and some for data.
pub const LEAST: u64 = 4 + TABLE as u64 + DATA as u64;

/// The fewest blocks of data that a group is made for.
const DATA: u32 = 64;

/// Whom the root directory belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The layout of a file system: it follows from the number of blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    blocks: u32,
    groups: u32,
}

/// The parts of a group, by the number of their first block.
#[derive(Clone, Copy)]
struct Group {
    index: u32,
    start: u32,
    blocks: u32,
    block_bitmap: u32,
    inode_bitmap: u32,
    table: u32,
    data: u32,
}

impl Layout {
    /// The file system for a disk of so many blocks, of which it takes nearly all, and 16 TiB at most;
    /// `None` for a disk that is too small.
    pub fn new(blocks: u64) -> Option<Self> {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let layout = Self { blocks, groups: blocks.div_ceil(PER_GROUP) };
        // A last group that has no room for its own tables, and some data, is left away.
        let least = |group: Group| group.data - group.start + DATA;
        if layout.groups == 0 {
            return None;
        }
        let last = layout.group(layout.groups - 1);
        if last.blocks >= least(last) {
            return Some(layout);
        }
        let layout = Self { blocks: last.start, groups: layout.groups - 1 };
        (layout.groups > 0).then_some(layout)
    }

    /// The blocks that are to be written, ascending; each is made by [`Layout::fill`].
    pub fn written(self) -> impl Iterator<Item = u32> {
        (0..self.groups).flat_map(move |index| {
            let group = self.group(index);
            // The root directory is the first data of all.
            group.start..group.data + u32::from(index == 0)
        })
    }

    /// Fills `out` with the block `at`, of a file system with this UUID, whose root directory belongs
    /// to `owner` and nobody else may enter.
    pub fn fill(self, at: u32, uuid: &[u8; 16], owner: Owner, out: &mut [u8; BLOCK]) {
        out.fill(0);
        let group = self.group(at / PER_GROUP);
        match at {
            0 => self.superblock(group.index, uuid, &mut out[1024..]),
            _ if at < group.block_bitmap && at == group.start => {
                self.superblock(group.index, uuid, out);
            }
            _ if at < group.block_bitmap => self.descriptors(at - group.start - 1, out),
            _ if at == group.block_bitmap => self.block_bitmap(group, out),
            _ if at == group.inode_bitmap => {
                set_bits(out, 0, used_inodes(group));
                set_bits(out, INODES, PER_GROUP);
            }
            _ if at == group.table && group.index == 0 => {
                root_inode(group.data, owner, &mut out[(ROOT as usize - 1) * INODE..]);
            }
            _ if at == group.data && group.index == 0 => root_directory(out),
            _ => {}
        }
    }

    fn group(self, index: u32) -> Group {
        let start = index * PER_GROUP;
        let block_bitmap = match has_superblock(index) {
            true => start + 1 + self.descriptor_blocks(),
            false => start,
        };
        Group {
            index,
            start,
            blocks: (self.blocks - start).min(PER_GROUP),
            block_bitmap,
            inode_bitmap: block_bitmap + 1,
            table: block_bitmap + 2,
            data: block_bitmap + 2 + TABLE,
        }
    }

    fn descriptor_blocks(self) -> u32 {
        self.groups.div_ceil(BLOCK as u32 / DESCRIPTOR)
    }

    /// `struct ext4_super_block`.
    fn superblock(self, group: u32, uuid: &[u8; 16], out: &mut [u8]) {
        let free = (0..self.groups).map(|index| free_blocks(self.group(index))).sum();
        let words = [
            (0x00, INODES * self.groups),
            (0x04, self.blocks),
            (0x0c, free),
            (0x10, INODES * self.groups - (FIRST - 1)),
            // 2^(10 + 2) bytes, for blocks and for clusters.
            (0x18, 2),
            (0x1c, 2),
            (0x20, PER_GROUP),
            (0x24, PER_GROUP),
            (0x28, INODES),
            // `EXT4_DYNAMIC_REV`.
            (0x4c, 1),
            (0x54, FIRST),
            // INCOMPAT_FILETYPE, INCOMPAT_EXTENTS; RO_COMPAT_SPARSE_SUPER, RO_COMPAT_LARGE_FILE.
            (0x60, 0x2 | 0x40),
            (0x64, 0x1 | 0x2),
        ];
        words.into_iter().for_each(|(at, value)| put32(out, at, value));
        // `s_max_mnt_count`: never to be checked for its age; the magic; clean; read-only on errors.
        let halves = [
            (0x36, 0xffff),
            (0x38, 0xef53),
            (0x3a, 1),
            (0x3c, 2),
            (0x58, INODE as u16),
            // The group that this copy is in.
            (0x5a, group as u16),
        ];
        halves.into_iter().for_each(|(at, value)| put16(out, at, value));
        out[0x68..0x78].copy_from_slice(uuid);
    }

    /// `struct ext4_group_desc`, as many as a block holds.
    fn descriptors(self, block: u32, out: &mut [u8; BLOCK]) {
        let first = block * (BLOCK as u32 / DESCRIPTOR);
        for (index, out) in (first..self.groups).zip(out.chunks_exact_mut(DESCRIPTOR as usize)) {
            let group = self.group(index);
            put32(out, 0x00, group.block_bitmap);
            put32(out, 0x04, group.inode_bitmap);
            put32(out, 0x08, group.table);
            put16(out, 0x0c, free_blocks(group) as u16);
            put16(out, 0x0e, (INODES - used_inodes(group)) as u16);
            // `bg_used_dirs_count_lo`.
            put16(out, 0x10, u16::from(index == 0));
        }
    }

    fn block_bitmap(self, group: Group, out: &mut [u8; BLOCK]) {
        set_bits(out, 0, group.blocks - free_blocks(group));
        // What is behind the end counts as taken.
        set_bits(out, group.blocks, PER_GROUP);
    }
}

/// Whether a group has a copy of superblock and descriptors (RO_COMPAT_SPARSE_SUPER): 0, 1, and the
/// powers of 3, 5 and 7.
fn has_superblock(index: u32) -> bool {
    let power_of = |base: u32| {
        let mut power = 1_u64;
        while power < u64::from(index) {
            power *= u64::from(base);
        }
        power == u64::from(index)
    };
    index == 0 || [3, 5, 7].into_iter().any(power_of)
}

/// The root directory takes a block of the first group.
fn free_blocks(group: Group) -> u32 {
    group.blocks - (group.data - group.start) - u32::from(group.index == 0)
}

fn used_inodes(group: Group) -> u32 {
    if group.index == 0 { FIRST - 1 } else { 0 }
}

/// `struct ext4_inode` of a directory with one block.
fn root_inode(block: u32, owner: Owner, out: &mut [u8]) {
    // S_IFDIR, and all for its owner.
    put16(out, 0x00, 0o040_700);
    put16(out, 0x02, owner.uid as u16);
    put32(out, 0x04, BLOCK as u32);
    put16(out, 0x18, owner.gid as u16);
    // Itself and its `..`.
    put16(out, 0x1a, 2);
    // In units of 512 bytes.
    put32(out, 0x1c, BLOCK as u32 / 512);
    // `EXT4_EXTENTS_FL`.
    put32(out, 0x20, 0x8_0000);
    // `struct ext4_extent_header`: the magic, one of four entries, no level below.
    put16(out, 0x28, 0xf30a);
    put16(out, 0x2a, 1);
    put16(out, 0x2c, 4);
    // `struct ext4_extent`: block 0, one block, and where it is.
    put16(out, 0x38, 1);
    put32(out, 0x3c, block);
    // The upper halves of user and group.
    put16(out, 0x78, (owner.uid >> 16) as u16);
    put16(out, 0x7a, (owner.gid >> 16) as u16);
    // `i_extra_isize`: all that a kernel knows of, up to `i_projid`.
    put16(out, 0x80, 32);
}

/// `struct ext4_dir_entry_2`: `.` and `..`, which takes the rest of the block.
fn root_directory(out: &mut [u8; BLOCK]) {
    for (at, length, name) in [(0, 12, "."), (12, BLOCK - 12, "..")] {
        put32(out, at, ROOT);
        put16(out, at + 4, length as u16);
        out[at + 6] = name.len() as u8;
        // `EXT4_FT_DIR`.
        out[at + 7] = 2;
        out[at + 8..at + 8 + name.len()].copy_from_slice(name.as_bytes());
    }
}

/// Sets the bits from `first` to before `end`.
fn set_bits(bitmap: &mut [u8; BLOCK], first: u32, end: u32) {
    for bit in first..end {
        bitmap[bit as usize / 8] |= 1 << (bit % 8);
    }
}

fn put16(out: &mut [u8], at: usize, value: u16) {
    out[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_layout_is_within_its_disk() {
        assert_eq!(Layout::new(0), None);
        assert_eq!(Layout::new(LEAST - 1), None);
        assert_eq!(Layout::new(LEAST), Some(Layout { blocks: 100, groups: 1 }));
        let whole = u64::from(PER_GROUP);
        // Group 1 has a copy of the superblock, group 2 has none.
        for (blocks, taken) in [
            (whole, whole),
            (whole + 99, whole),
            (whole + 100, whole + 100),
            (2 * whole + 97, 2 * whole),
            (2 * whole + 98, 2 * whole + 98),
            (u64::MAX, u64::from(u32::MAX)),
        ] {
            let layout = Layout::new(blocks).unwrap();
            assert_eq!(u64::from(layout.blocks), taken, "{blocks}");
            assert!(layout.written().last().unwrap() < layout.blocks);
        }
    }

    #[test]
    fn the_same_bits_are_counted_and_set() {
        let layout = Layout::new(3 * u64::from(PER_GROUP) + 5000).unwrap();
        let mut block = [0; BLOCK];
        let mut fill = |at| {
            layout.fill(at, &[7; 16], Owner { uid: 1, gid: 2 }, &mut block);
            block
        };
        let zeroes = |block: [u8; BLOCK]| block.iter().map(|byte| byte.count_zeros()).sum::<u32>();
        for index in 0..layout.groups {
            let group = layout.group(index);
            assert_eq!(zeroes(fill(group.block_bitmap)), free_blocks(group));
            assert_eq!(zeroes(fill(group.inode_bitmap)), INODES - used_inodes(group));
        }
        let all: Vec<u32> = layout.written().collect();
        assert!(all.is_sorted());
        assert_eq!(all.iter().filter(|at| **at < PER_GROUP).count(), 37);
    }
}
