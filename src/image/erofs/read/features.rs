//! The feature bits of a superblock (Linux `fs/erofs/erofs_fs.h`, `EROFS_FEATURE_*`), by the names of
//! mkfs.erofs where it has one.

/// A set of features.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Features {
    bits: u32,
    names: &'static [(u32, &'static str)],
}

const COMPATIBLE: &[(u32, &str)] = &[
    (0x1, "sb_csum"),
    (0x2, "mtime"),
    (0x4, "xattr_filter"),
    (0x8, "shared_ea_in_metabox"),
    (0x10, "plain_xattr_pfx"),
    (0x20, "ishare_xattrs"),
];

/// Some bits have two meanings, told apart by others.
const INCOMPATIBLE: &[(u32, &str)] = &[
    (0x1, "0padding"),
    (0x2, "compr_cfgs/big_pcluster"),
    (0x4, "chunked_file"),
    (0x8, "device_table/compr_head2"),
    (0x10, "ztailpacking"),
    (0x20, "fragments/dedupe"),
    (0x40, "xattr_prefixes"),
    (0x80, "48bit"),
    (0x100, "metabox"),
];

/// Those that leave inodes and directories where they are.
const UNDERSTOOD: u32 = 0x7f;

impl Features {
    pub(super) fn compatible(bits: u32) -> Self {
        Self { bits, names: COMPATIBLE }
    }

    pub(super) fn incompatible(bits: u32) -> Self {
        Self { bits, names: INCOMPATIBLE }
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// Their names; bits without one as a number.
    pub fn names(self) -> Vec<String> {
        let known = self.names.iter().filter(|(bit, _)| self.bits & bit != 0);
        let mut names: Vec<_> = known.map(|(_, name)| (*name).to_owned()).collect();
        let unknown = self.bits & !self.names.iter().fold(0, |bits, (bit, _)| bits | bit);
        if unknown != 0 {
            names.push(format!("{unknown:#x}"));
        }
        names
    }

    /// The names of incompatible features that put inodes or directories elsewhere.
    pub(super) fn in_the_way(self) -> Vec<String> {
        Self { bits: self.bits & !UNDERSTOOD, ..self }.names()
    }
}
