//! The end of an OVMF image: a table of GUIDed entries, read backwards from 32 bytes before the end
//! (edk2, OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm), and the SEV metadata that one of the
//! entries points to (OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{FirmwareError, HashTableArea, ImageArea, Section, SectionKind};
use crate::launch::guid::Guid;
use crate::launch::measured_image::MEASURED_IMAGE;

#[derive(Default)]
pub(super) struct Footer {
    pub(super) reset_eip: Option<u32>,
    pub(super) hash_table: Option<HashTableArea>,
    pub(super) image_area: Option<ImageArea>,
    pub(super) sections: Vec<Section>,
}

/// Offsets in the image of what an error may be about.
#[derive(Default)]
pub(super) struct Places {
    /// The header that closes the table.
    table: usize,
    /// The data of the entry that is being read; its header comes after it.
    entry: usize,
    metadata: usize,
    /// The data of the entry that places the hash table.
    hash_table: usize,
    /// The data of the entry that places the description of a measured image.
    image_area: usize,
}

impl Places {
    /// Where the field is that `error` is about, unless the error says so itself.
    pub(super) fn of(&self, error: &FirmwareError) -> Option<usize> {
        use FirmwareError as E;
        match error {
            E::Size { .. } | E::NoTable { .. } | E::EntryLength { .. } => None,
            E::MetadataSignature { .. } => None,
            E::TableLength { .. } => Some(self.table),
            E::DuplicateEntry { .. } | E::EntryData { .. } | E::MetadataOffset { .. } => {
                Some(self.entry)
            }
            E::MetadataLength { .. } => Some(self.metadata + 4),
            E::MetadataVersion { .. } => Some(self.metadata + 8),
            E::SectionOverlap { .. } => Some(self.metadata),
            E::SectionKind { index, .. }
            | E::SectionEmpty { index, .. }
            | E::SectionUnaligned { index, .. }
            | E::SectionRange { index, .. }
            | E::SectionSize { index, .. }
            | E::SectionRepeated { index, .. } => {
                let sections = self.metadata + size_of::<MetadataHeader>();
                Some(sections + index * size_of::<SectionEntry>())
            }
            E::HashTableSize { .. } | E::HashTableCrosses { .. } | E::HashTableElsewhere { .. } => {
                Some(self.hash_table)
            }
            E::ImageArea { .. } => Some(self.image_area),
        }
    }
}

/// Reads the footer from the end of an image; `before` bytes of the image come before `tail`.
/// `places` learns where things are as they are read.
pub(super) fn read(
    tail: &[u8],
    before: usize,
    places: &mut Places,
) -> Result<Footer, FirmwareError> {
    let mut footer = Footer::default();
    let mut seen: Vec<Guid> = Vec::new();
    places.table =
        (before + tail.len()).saturating_sub(RESET_VECTOR_SIZE + size_of::<EntryHeader>());
    let (mut table, mut end) = table(tail, before)?;
    while !table.is_empty() {
        let entry = entry(table, end)?;
        places.entry = entry.start;
        if seen.contains(&entry.guid) {
            return Err(FirmwareError::DuplicateEntry { guid: entry.guid });
        }
        seen.push(entry.guid);
        match entry.guid {
            SEV_ES_RESET_BLOCK => footer.reset_eip = Some(entry.data::<U32>()?.get()),
            SEV_HASH_TABLE_RV => {
                let [gpa, size] = entry.data::<[U32; 2]>()?;
                places.hash_table = entry.start;
                footer.hash_table = Some(HashTableArea { gpa: gpa.get(), size: size.get() });
            }
            MEASURED_IMAGE => {
                let [gpa, size] = entry.data::<[U32; 2]>()?;
                places.image_area = entry.start;
                footer.image_area = Some(ImageArea { gpa: gpa.get(), size: size.get() });
            }
            SEV_METADATA => {
                let from_end = entry.data::<U32>()?.get();
                places.metadata = (before + tail.len()).saturating_sub(from_end as usize);
                footer.sections = metadata(tail, before, from_end)?;
            }
            // Others describe SEV secrets, TDX and what comes next; they place no SNP page.
            _ => {}
        }
        (table, end) = (entry.rest, entry.start);
    }
    Ok(footer)
}

/// The entries, without the header that closes the table, and the offset at which they end.
fn table(tail: &[u8], before: usize) -> Result<(&[u8], usize), FirmwareError> {
    let end = tail.len().saturating_sub(RESET_VECTOR_SIZE);
    let offset = before + end;
    let missing = || FirmwareError::NoTable { offset: offset.saturating_sub(size_of::<Guid>()) };
    let (table, _) = tail.split_at_checked(end).ok_or_else(missing)?;
    let (table, header) = EntryHeader::read_from_suffix(table).map_err(|_| missing())?;
    if header.guid != TABLE_FOOTER {
        return Err(missing());
    }
    let wrong = || FirmwareError::TableLength { length: header.length.get(), room: offset };
    let length = usize::from(header.length.get());
    let entries = length.checked_sub(size_of::<EntryHeader>()).ok_or_else(wrong)?;
    let start = table.len().checked_sub(entries).ok_or_else(wrong)?;
    let (_, entries) = table.split_at_checked(start).ok_or_else(wrong)?;
    Ok((entries, before + table.len()))
}

/// The last entry of what is left of the table.
fn entry(table: &[u8], end: usize) -> Result<Entry<'_>, FirmwareError> {
    let wrong = |length| FirmwareError::EntryLength { end, length, room: table.len() };
    let (before, header) = EntryHeader::read_from_suffix(table).map_err(|_| wrong(table.len()))?;
    let length = usize::from(header.length.get());
    let data = length.checked_sub(size_of::<EntryHeader>()).ok_or_else(|| wrong(length))?;
    let rest = before.len().checked_sub(data).ok_or_else(|| wrong(length))?;
    let (rest, data) = before.split_at_checked(rest).ok_or_else(|| wrong(length))?;
    Ok(Entry { guid: header.guid, data, rest, start: end.saturating_sub(length) })
}

fn metadata(tail: &[u8], before: usize, from_end: u32) -> Result<Vec<Section>, FirmwareError> {
    let outside = || FirmwareError::MetadataOffset { from_end };
    let offset = tail.len().checked_sub(from_end as usize).ok_or_else(outside)?;
    let (_, metadata) = tail.split_at_checked(offset).ok_or_else(outside)?;
    let offset = before + offset;
    let (header, rest) = MetadataHeader::read_from_prefix(metadata).map_err(|_| outside())?;
    if header.signature != *b"ASEV" {
        return Err(FirmwareError::MetadataSignature { offset, found: header.signature });
    }
    if header.version.get() != 1 {
        return Err(FirmwareError::MetadataVersion { version: header.version.get() });
    }
    let (length, count) = (header.length.get(), header.count.get());
    let wrong = || FirmwareError::MetadataLength { length, count };
    let expected = u64::from(count) * size_of::<SectionEntry>() as u64;
    if u64::from(length) != size_of::<MetadataHeader>() as u64 + expected {
        return Err(wrong());
    }
    let (entries, _) =
        <[SectionEntry]>::ref_from_prefix_with_elems(rest, count as usize).map_err(|_| wrong())?;
    entries.iter().enumerate().map(|(index, entry)| entry.section(index)).collect()
}

struct Entry<'a> {
    guid: Guid,
    data: &'a [u8],
    rest: &'a [u8],
    start: usize,
}

impl Entry<'_> {
    fn data<T: FromBytes>(&self) -> Result<T, FirmwareError> {
        T::read_from_bytes(self.data).map_err(|_| FirmwareError::EntryData {
            guid: self.guid,
            length: self.data.len(),
            expected: size_of::<T>(),
        })
    }
}

impl SectionEntry {
    fn section(&self, index: usize) -> Result<Section, FirmwareError> {
        let kind = self.kind.get();
        let kind = SectionKind::of(kind).ok_or(FirmwareError::SectionKind { index, kind })?;
        Ok(Section { kind, gpa: self.gpa.get(), size: self.size.get() })
    }
}

/// An entry's header comes after its data; `length` covers both.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHeader {
    length: U16,
    guid: Guid,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MetadataHeader {
    signature: [u8; 4],
    length: U32,
    version: U32,
    count: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SectionEntry {
    gpa: U32,
    size: U32,
    kind: U32,
}

const _: () = assert!(size_of::<EntryHeader>() == 18);
const _: () = assert!(size_of::<MetadataHeader>() == 16);
const _: () = assert!(size_of::<SectionEntry>() == 12);

/// The code at the reset vector, which the table comes before.
const RESET_VECTOR_SIZE: usize = 32;

const TABLE_FOOTER: Guid =
    Guid::new(0x96b5_82de, 0x1fb2, 0x45f7, [0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d]);
const SEV_ES_RESET_BLOCK: Guid =
    Guid::new(0x00f7_71de, 0x1a7e, 0x4fcb, [0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e]);
const SEV_HASH_TABLE_RV: Guid =
    Guid::new(0x7255_371f, 0x3a3b, 0x4b04, [0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54]);
const SEV_METADATA: Guid =
    Guid::new(0xdc88_6566, 0x984a, 0x4798, [0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc]);
