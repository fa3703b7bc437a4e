//! Why a firmware image is not measured.

use std::fmt;

use super::SectionKind;
use crate::launch::guid::Guid;

/// A firmware image that is refused, and where in it the reason is.
#[derive(Debug, Eq, PartialEq)]
pub struct ImageError {
    /// The reason.
    pub what: FirmwareError,
    /// The offset in the image of the field that it is about, where the reason does not say so.
    pub offset: Option<usize>,
}

impl std::error::Error for ImageError {}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "offset {offset:#x}: {}", self.what),
            None => self.what.fmt(f),
        }
    }
}

/// A firmware image that is malformed, or that asks for something not understood. Either way there
/// is no digest for it.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum FirmwareError {
    /// Bytes that cannot be a flash image.
    #[error(
        "firmware image of {size} bytes: expected a multiple of 4096, not zero and below 4 GiB"
    )]
    Size {
        /// The size found.
        size: u64,
    },
    /// No footer.
    #[error(
        "no OVMF table at offset {offset:#x} (GUID `96b582de-1fb2-45f7-baea-a366c55a082d`): \
         expected an image that ends in OVMF's reset vector, such as `OVMF.amdsev.fd`"
    )]
    NoTable {
        /// Where its GUID would be.
        offset: usize,
    },
    /// The table says it is longer than the image, or shorter than its own header.
    #[error("OVMF table of {length} bytes: expected 18 to {room}")]
    TableLength {
        /// The length found.
        length: u16,
        /// What there is.
        room: usize,
    },
    /// An entry that does not fit the rest of the table.
    #[error(
        "OVMF table entry that ends at offset {end:#x} is {length} bytes long: expected 18 to {room}"
    )]
    EntryLength {
        /// Where the entry ends.
        end: usize,
        /// The length found.
        length: usize,
        /// What there is.
        room: usize,
    },
    /// Which of the two counts depends on the reader.
    #[error("OVMF table entry `{guid}` occurs twice: expected each GUID once")]
    DuplicateEntry {
        /// The GUID.
        guid: Guid,
    },
    /// An entry of a known GUID with data of another shape.
    #[error("OVMF table entry `{guid}` holds {length} bytes: expected {expected}")]
    EntryData {
        /// The GUID.
        guid: Guid,
        /// The length found.
        length: usize,
        /// What the entry is defined to hold.
        expected: usize,
    },
    /// The entry points before the image or too close to its end.
    #[error("SEV metadata {from_end} bytes before the end: expected at least 16, inside the image")]
    MetadataOffset {
        /// The distance found.
        from_end: u32,
    },
    /// Not the metadata that the entry promises.
    #[error("SEV metadata at offset {offset:#x} starts with {found:02x?}: expected `ASEV`")]
    MetadataSignature {
        /// Where it is.
        offset: usize,
        /// The four bytes found.
        found: [u8; 4],
    },
    /// A later layout.
    #[error(
        "SEV metadata version {version}: expected 1; a later version needs a later counterfoil"
    )]
    MetadataVersion {
        /// The version found.
        version: u32,
    },
    /// Header and contents disagree.
    #[error(
        "SEV metadata of {length} bytes for {count} sections: expected 16 and 12 for each section, \
         inside the image"
    )]
    MetadataLength {
        /// The length found.
        length: u32,
        /// The sections announced.
        count: u32,
    },
    /// How to launch it is not known here.
    #[error(
        "SEV metadata section {index} has unknown type {kind:#x}: expected 1, 2, 3, 4 or 0x10; \
         its place in the digest is not known to this version"
    )]
    SectionKind {
        /// Which section, from 0.
        index: usize,
        /// The type found.
        kind: u32,
    },
    /// QEMU and the calculators differ on what an empty range is.
    #[error("SEV metadata section {index} ({kind}) is empty: expected at least one page")]
    SectionEmpty {
        /// Which section, from 0.
        index: usize,
        /// Its type.
        kind: SectionKind,
    },
    /// Launch updates work on whole pages.
    #[error(
        "SEV metadata section {index} at {gpa:#x} with {size:#x} bytes: expected multiples of 0x1000"
    )]
    SectionUnaligned {
        /// Which section, from 0.
        index: usize,
        /// Its address.
        gpa: u32,
        /// Its size.
        size: u32,
    },
    /// Past the memory that is free for it.
    #[error(
        "SEV metadata section {index} at {gpa:#x} with {size:#x} bytes reaches into the firmware \
         image or past 4 GiB: expected memory below the image"
    )]
    SectionRange {
        /// Which section, from 0.
        index: usize,
        /// Its address.
        gpa: u32,
        /// Its size.
        size: u32,
    },
    /// A page of which there is one, with another size.
    #[error("SEV metadata section {index} ({kind}) has {size:#x} bytes: expected one page")]
    SectionSize {
        /// Which section, from 0.
        index: usize,
        /// Its type.
        kind: SectionKind,
        /// Its size.
        size: u32,
    },
    /// A page of which there is one, twice.
    #[error("SEV metadata section {index} is a second `{kind}`: expected at most one")]
    SectionRepeated {
        /// Which section, from 0.
        index: usize,
        /// Its type.
        kind: SectionKind,
    },
    /// A page would be added twice.
    #[error("SEV metadata sections at {first:#x} and {second:#x} overlap: expected separate pages")]
    SectionOverlap {
        /// The lower section.
        first: u32,
        /// The higher section.
        second: u32,
    },
    /// The firmware leaves too little room.
    #[error("SEV hash table area of {size} bytes: expected at least {expected}")]
    HashTableSize {
        /// The size found.
        size: u32,
        /// The size of a table.
        expected: usize,
    },
    /// Only one page is measured for it.
    #[error("SEV hash table at {gpa:#x} crosses the end of its page: expected it inside one page")]
    HashTableCrosses {
        /// Its address.
        gpa: u32,
    },
    /// The firmware would read another page than the measured one.
    #[error("SEV hash table at {gpa:#x} is outside the page measured for it at {page:#x}")]
    HashTableElsewhere {
        /// Its address.
        gpa: u32,
        /// The kernel-hashes section.
        page: u32,
    },
    /// The firmware would look for a measured image where it is not described.
    #[error(
        "place for the description of a measured image, {size:#x} bytes at {gpa:#x}: expected at \
         least {expected:#x}, in the page of the SEV hash table and beside the table"
    )]
    ImageArea {
        /// Its address.
        gpa: u32,
        /// Its size.
        size: u32,
        /// The size of a description.
        expected: usize,
    },
}
