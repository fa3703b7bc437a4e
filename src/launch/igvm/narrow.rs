//! What the `igvm` crate is given to read: the headers for SEV-SNP and no others, when every offset
//! in them has been found inside the file.
//!
//! The crate is made for files that one has built oneself. Given others, it panics: an offset that
//! lies before the file's data, register lists of another platform that disagree, a relocation region
//! that wraps. It also reports an unknown header on standard error.

use std::collections::BTreeMap;
use std::mem::offset_of;

use igvm_defs::{
    IGVM_FIXED_HEADER, IGVM_FIXED_HEADER_V2, IGVM_FORMAT_VERSION_1, IGVM_FORMAT_VERSION_2,
    IGVM_MAGIC_VALUE, IGVM_VHS_ERROR_RANGE, IGVM_VHS_GUEST_POLICY, IGVM_VHS_PAGE_DATA,
    IGVM_VHS_PAGE_TABLE_RELOCATION, IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_AREA,
    IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_RELOCATABLE_REGION, IGVM_VHS_REQUIRED_MEMORY,
    IGVM_VHS_SNP_ID_BLOCK, IGVM_VHS_SUPPORTED_PLATFORM, IGVM_VHS_VARIABLE_HEADER,
    IGVM_VHS_VP_CONTEXT, IGVM_VHT_RANGE_DIRECTIVE, IGVM_VHT_RANGE_INIT, IGVM_VHT_RANGE_PLATFORM,
    IgvmArchitecture, IgvmPageDataType, IgvmPlatformType, IgvmVariableHeaderType as Kind,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::IgvmError;
use super::error::Section;
use super::memory::Memory;
use crate::launch::page::PAGE_SIZE;

/// A file with nothing in it but what SEV-SNP launches.
pub(super) struct Narrowed {
    pub(super) file: Vec<u8>,
    /// The place of each directive among those of the whole file.
    pub(super) places: Vec<usize>,
}

const PAGE: u64 = PAGE_SIZE as u64;

/// The most pages of one launch: 4 GiB of them.
const MAX_PAGES: u64 = 1 << 20;

/// The size of a page with the flag for 2 MiB, in pages.
pub(super) const LARGE_PAGE: u64 = 512;

pub(super) fn narrow(mut file: Vec<u8>) -> Result<Narrowed, IgvmError> {
    let header = Header::read(&file)?;
    let mut walk = Walk { data: header.end, total: file.len(), ..Walk::default() };
    let mut kept = Vec::new();
    let mut at = header.start;
    while at < header.end {
        let record = Record::read(&file, at, header.end)?;
        if walk.keep(&record)? {
            kept.extend_from_slice(record.whole);
        }
        at += record.whole.len();
    }
    if walk.mask == 0 {
        return Err(IgvmError::NoPlatform);
    }
    walk.memory.check()?;
    header.replace(&mut file, &kept);
    Ok(Narrowed { file, places: walk.places })
}

/// The fixed header, and where the variable headers are: from `start` to `end`, where the data begins.
struct Header {
    size: usize,
    start: usize,
    end: usize,
}

impl Header {
    fn read(file: &[u8]) -> Result<Self, IgvmError> {
        let total = file.len();
        let wrong = |offset, field, found: u32, expected: String| IgvmError::Header {
            offset,
            field,
            found: found.into(),
            expected,
        };
        let short = || IgvmError::Header {
            offset: 0,
            field: "the size of the file",
            found: total as u64,
            expected: format!("at least {}", size_of::<IGVM_FIXED_HEADER>()),
        };
        let (fixed, _) = IGVM_FIXED_HEADER::read_from_prefix(file).map_err(|_| short())?;
        if fixed.magic != IGVM_MAGIC_VALUE {
            return Err(wrong(0, "the signature", fixed.magic, "`IGVM`".to_owned()));
        }
        let size = match fixed.format_version {
            IGVM_FORMAT_VERSION_1 => size_of::<IGVM_FIXED_HEADER>(),
            IGVM_FORMAT_VERSION_2 => {
                let (later, _) =
                    IGVM_FIXED_HEADER_V2::read_from_prefix(file).map_err(|_| short())?;
                if later.architecture != IgvmArchitecture::X64 {
                    let offset = offset_of!(IGVM_FIXED_HEADER_V2, architecture);
                    let found = later.architecture.0;
                    return Err(wrong(offset, "the architecture", found, "0 (x64)".to_owned()));
                }
                if later.page_size != PAGE_SIZE {
                    let offset = offset_of!(IGVM_FIXED_HEADER_V2, page_size);
                    return Err(wrong(offset, "the page size", later.page_size, "0x1000".into()));
                }
                size_of::<IGVM_FIXED_HEADER_V2>()
            }
            version => {
                let offset = offset_of!(IGVM_FIXED_HEADER, format_version);
                return Err(wrong(offset, "the format version", version, "1 or 2".to_owned()));
            }
        };
        if fixed.total_file_size as usize != total {
            let offset = offset_of!(IGVM_FIXED_HEADER, total_file_size);
            let expected = format!("{total:#x}, the size of the file");
            return Err(wrong(offset, "the file size", fixed.total_file_size, expected));
        }
        let start = fixed.variable_header_offset;
        if (start as usize) < size || start as usize >= total {
            let offset = offset_of!(IGVM_FIXED_HEADER, variable_header_offset);
            let expected = format!("at least {size:#x}, inside the file");
            return Err(wrong(offset, "the offset of the headers", start, expected));
        }
        let length = fixed.variable_header_size;
        let end = start.checked_add(length).filter(|end| (*end as usize) < total);
        let end = end.ok_or_else(|| {
            let offset = offset_of!(IGVM_FIXED_HEADER, variable_header_size);
            let expected = "headers that end before the file does".to_owned();
            wrong(offset, "the size of the headers", length, expected)
        })?;
        let header = Self { size, start: start as usize, end: end as usize };
        let checksum = header.checksum(file);
        if fixed.checksum != checksum {
            let offset = offset_of!(IGVM_FIXED_HEADER, checksum);
            let expected = format!("{checksum:#x}, the CRC-32 of the headers");
            return Err(wrong(offset, "the checksum", fixed.checksum, expected));
        }
        Ok(header)
    }

    /// Over both kinds of header, with zero in place of itself.
    fn checksum(&self, file: &[u8]) -> u32 {
        let at = offset_of!(IGVM_FIXED_HEADER, checksum);
        let part = |from, to| file.get(from..to).unwrap_or_default();
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(part(0, at));
        hasher.update(&[0; 4]);
        hasher.update(part(at + 4, self.size));
        hasher.update(part(self.start, self.end));
        hasher.finalize()
    }

    /// Puts `kept` in place of the headers, at most as many. The data stays where it is: offsets to it
    /// count from the start of the file.
    fn replace(&self, file: &mut [u8], kept: &[u8]) {
        let end = self.start + kept.len();
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = file.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(self.start, kept);
        let length = kept.len() as u32;
        put(offset_of!(IGVM_FIXED_HEADER, variable_header_size), &length.to_le_bytes());
        let checksum = Self { end, ..*self }.checksum(file);
        if let Some(place) = file.get_mut(offset_of!(IGVM_FIXED_HEADER, checksum)..)
            && let Some(place) = place.first_chunk_mut()
        {
            *place = checksum.to_le_bytes();
        }
    }
}

/// One variable header.
struct Record<'a> {
    offset: usize,
    kind: u32,
    length: u32,
    body: &'a [u8],
    /// With its own header and what it is padded with.
    whole: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(file: &'a [u8], offset: usize, end: usize) -> Result<Self, IgvmError> {
        let room = file.get(offset..end).unwrap_or_default();
        let wrong = |kind, length| {
            let expected = format!("at most {} bytes and its header of 8", room.len());
            IgvmError::Length { offset, kind, length, expected }
        };
        let (header, rest) =
            IGVM_VHS_VARIABLE_HEADER::read_from_prefix(room).map_err(|_| wrong(0, 0))?;
        let (kind, length) = (header.typ.0, header.length);
        let body = rest.get(..length as usize).ok_or_else(|| wrong(kind, length))?;
        // Headers are aligned to 8 bytes; their length does not say so.
        let padded = size_of::<IGVM_VHS_VARIABLE_HEADER>() + body.len().next_multiple_of(8);
        let whole = room.get(..padded).ok_or_else(|| wrong(kind, length))?;
        Ok(Self { offset, kind, length, body, whole })
    }

    fn as_<T: FromBytes + Immutable + KnownLayout>(&self) -> Result<T, IgvmError> {
        T::read_from_bytes(self.body).map_err(|_| IgvmError::Length {
            offset: self.offset,
            kind: self.kind,
            length: self.length,
            expected: size_of::<T>().to_string(),
        })
    }

    fn unknown(&self) -> IgvmError {
        IgvmError::Kind { offset: self.offset, kind: self.kind }
    }

    fn field(&self, field: &'static str, found: impl Into<u64>, expected: String) -> IgvmError {
        IgvmError::Field { offset: self.offset, field, found: found.into(), expected }
    }

    fn aligned(&self, field: &'static str, found: u64, unit: u64) -> Result<(), IgvmError> {
        match found.is_multiple_of(unit) {
            true => Ok(()),
            false => Err(self.field(field, found, format!("a multiple of {unit:#x}"))),
        }
    }

    fn reserved(&self, found: impl Into<u64>) -> Result<(), IgvmError> {
        match found.into() {
            0 => Ok(()),
            found => Err(self.field("the reserved field", found, "0".to_owned())),
        }
    }

    /// Refuses a second one of what there is one of.
    fn first(&self, first: bool, what: &'static str) -> Result<(), IgvmError> {
        match first {
            true => Ok(()),
            false => Err(IgvmError::Second { offset: self.offset, what }),
        }
    }
}

#[derive(Default)]
struct Walk {
    /// Where the file's data begins.
    data: usize,
    total: usize,
    /// The part of the file that has been reached.
    section: Section,
    /// The bits of every platform so far.
    masks: u32,
    /// The bit by which headers say that they are for SEV-SNP.
    mask: u32,
    policy: bool,
    id_block: bool,
    directives: usize,
    places: Vec<usize>,
    pages: u64,
    /// The sizes of the parameter areas that have not been inserted yet.
    areas: BTreeMap<u32, u64>,
    memory: Memory,
}

impl Walk {
    /// Whether a header goes on to the reader.
    fn keep(&mut self, record: &Record<'_>) -> Result<bool, IgvmError> {
        let kind = Kind(record.kind);
        match self.enter(record)? {
            Section::Platform => self.platform(kind, record),
            Section::Initialization => self.initialization(kind, record),
            Section::Directive => {
                let place = self.directives;
                self.directives += 1;
                let keep = self.directive(kind, record)?;
                self.places.extend(keep.then_some(place));
                Ok(keep)
            }
        }
    }

    /// Holds every header to the order, those for other platforms too: before its platform has been
    /// seen, nobody can say whether a header is ours.
    fn enter(&mut self, record: &Record<'_>) -> Result<Section, IgvmError> {
        let (offset, kind) = (record.offset, record.kind);
        let section = match kind {
            kind if IGVM_VHT_RANGE_PLATFORM.contains(&kind) => Section::Platform,
            kind if IGVM_VHT_RANGE_INIT.contains(&kind) => Section::Initialization,
            kind if IGVM_VHT_RANGE_DIRECTIVE.contains(&kind) => Section::Directive,
            _ => return Err(record.unknown()),
        };
        if section < self.section {
            return Err(IgvmError::Order { offset, kind, after: self.section });
        }
        self.section = section;
        Ok(section)
    }

    fn platform(&mut self, kind: Kind, record: &Record<'_>) -> Result<bool, IgvmError> {
        if kind != Kind::IGVM_VHT_SUPPORTED_PLATFORM {
            return Err(record.unknown());
        }
        let platform: IGVM_VHS_SUPPORTED_PLATFORM = record.as_()?;
        let mask = platform.compatibility_mask;
        if mask.count_ones() != 1 || mask & self.masks != 0 {
            let expected = "one bit, of no platform before".to_owned();
            return Err(record.field("the compatibility mask", mask, expected));
        }
        self.masks |= mask;
        let ours = platform.platform_type == IgvmPlatformType::SEV_SNP;
        if ours {
            record.first(self.mask == 0, "platform header")?;
            self.mask = mask;
        }
        Ok(ours)
    }

    fn initialization(&mut self, kind: Kind, record: &Record<'_>) -> Result<bool, IgvmError> {
        match kind {
            Kind::IGVM_VHT_GUEST_POLICY => {
                let policy: IGVM_VHS_GUEST_POLICY = record.as_()?;
                if !self.ours(policy.compatibility_mask) {
                    return Ok(false);
                }
                record.reserved(policy.reserved)?;
                record.first(!self.policy, "guest policy")?;
                self.policy = true;
                Ok(true)
            }
            Kind::IGVM_VHT_RELOCATABLE_REGION => {
                let region: IGVM_VHS_RELOCATABLE_REGION = record.as_()?;
                self.fixed(record, region.compatibility_mask)
            }
            Kind::IGVM_VHT_PAGE_TABLE_RELOCATION_REGION => {
                let region: IGVM_VHS_PAGE_TABLE_RELOCATION = record.as_()?;
                self.fixed(record, region.compatibility_mask)
            }
            // Of another architecture, or about the file: nothing of a launch.
            Kind::IGVM_VHT_CCA_POLICY | VERSION_STRING | CORIM_DOCUMENT | CORIM_SIGNATURE => {
                Ok(false)
            }
            _ => Err(record.unknown()),
        }
    }

    fn directive(&mut self, kind: Kind, record: &Record<'_>) -> Result<bool, IgvmError> {
        match kind {
            Kind::IGVM_VHT_PAGE_DATA => self.page(record),
            Kind::IGVM_VHT_PARAMETER_AREA => self.area(record),
            Kind::IGVM_VHT_PARAMETER_INSERT => self.insert(record),
            Kind::IGVM_VHT_VP_CONTEXT => self.context(record),
            Kind::IGVM_VHT_REQUIRED_MEMORY => {
                let memory: IGVM_VHS_REQUIRED_MEMORY = record.as_()?;
                let ours = self.ours(memory.compatibility_mask);
                if ours {
                    record.aligned("the guest address", memory.gpa, PAGE)?;
                    record.aligned("the size", memory.number_of_bytes.into(), PAGE)?;
                }
                Ok(ours)
            }
            Kind::IGVM_VHT_ERROR_RANGE => {
                let range: IGVM_VHS_ERROR_RANGE = record.as_()?;
                let ours = self.ours(range.compatibility_mask);
                if ours {
                    record.aligned("the guest address", range.gpa, PAGE)?;
                }
                Ok(ours)
            }
            Kind::IGVM_VHT_SNP_ID_BLOCK => {
                let ours = self.ours(record.as_::<IGVM_VHS_SNP_ID_BLOCK>()?.compatibility_mask);
                if ours {
                    record.first(!self.id_block, "ID block")?;
                    self.id_block = true;
                }
                Ok(ours)
            }
            Kind::IGVM_VHT_VP_COUNT_PARAMETER
            | Kind::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER
            | Kind::IGVM_VHT_SRAT
            | Kind::IGVM_VHT_MADT
            | Kind::IGVM_VHT_SLIT
            | Kind::IGVM_VHT_PPTT
            | Kind::IGVM_VHT_MMIO_RANGES
            | Kind::IGVM_VHT_MEMORY_MAP
            | Kind::IGVM_VHT_COMMAND_LINE
            | DEVICE_TREE => record.as_::<IGVM_VHS_PARAMETER>().map(|_| true),
            // Hyper-V's own.
            Kind::IGVM_VHT_VBS_MEASUREMENT => Ok(false),
            _ => Err(record.unknown()),
        }
    }

    fn page(&mut self, record: &Record<'_>) -> Result<bool, IgvmError> {
        let page: IGVM_VHS_PAGE_DATA = record.as_()?;
        if !self.ours(page.compatibility_mask) {
            return Ok(false);
        }
        let flags = page.flags;
        if flags.reserved() != 0 {
            let expected = "bits 0 to 2 alone: the others are reserved".to_owned();
            return Err(record.field("the flag field", u32::from(flags), expected));
        }
        record.reserved(page.reserved)?;
        if page.data_type.0 > IgvmPageDataType::CPUID_XF.0 {
            return Err(record.field("the data type", page.data_type.0, "0 to 3".to_owned()));
        }
        if flags.is_2mb_page() && page.file_offset != 0 {
            return Err(IgvmError::LargePage { offset: record.offset });
        }
        let pages = if flags.is_2mb_page() { LARGE_PAGE } else { 1 };
        record.aligned("the guest address", page.gpa, pages * PAGE)?;
        self.count(record, pages)?;
        self.memory.add(record.offset, page.gpa, pages * PAGE)?;
        self.data(record, page.file_offset, PAGE)?;
        Ok(true)
    }

    fn area(&mut self, record: &Record<'_>) -> Result<bool, IgvmError> {
        let area: IGVM_VHS_PARAMETER_AREA = record.as_()?;
        let (index, size) = (area.parameter_area_index, area.number_of_bytes);
        record.aligned("the size", size, PAGE)?;
        self.count(record, size / PAGE)?;
        self.data(record, area.file_offset, size)?;
        match self.areas.insert(index, size) {
            None => Ok(true),
            Some(_) => Err(record.field("the area", index, "one that is not there yet".to_owned())),
        }
    }

    fn insert(&mut self, record: &Record<'_>) -> Result<bool, IgvmError> {
        let insert: IGVM_VHS_PARAMETER_INSERT = record.as_()?;
        if !self.ours(insert.compatibility_mask) {
            return Ok(false);
        }
        record.aligned("the guest address", insert.gpa, PAGE)?;
        let index = insert.parameter_area_index;
        let size = self.areas.remove(&index).ok_or_else(|| {
            record.field("the area", index, "one of a header before, inserted once".to_owned())
        })?;
        self.memory.add(record.offset, insert.gpa, size)?;
        Ok(true)
    }

    fn context(&mut self, record: &Record<'_>) -> Result<bool, IgvmError> {
        let context: IGVM_VHS_VP_CONTEXT = record.as_()?;
        if !self.ours(context.compatibility_mask) {
            return Ok(false);
        }
        let gpa = context.gpa.get();
        record.reserved(context.reserved)?;
        record.aligned("the guest address", gpa, PAGE)?;
        self.memory.add_vmsa(record.offset, gpa)?;
        match context.file_offset {
            0 => Err(self.no_data(record, 0, PAGE)),
            offset => self.data(record, offset, PAGE).map(|()| true),
        }
    }

    fn ours(&self, mask: u32) -> bool {
        mask & self.mask != 0
    }

    /// A region that the VMM may move: not ours, or there is no digest.
    fn fixed(&self, record: &Record<'_>, mask: u32) -> Result<bool, IgvmError> {
        match self.ours(mask) {
            true => Err(IgvmError::Relocatable { offset: record.offset }),
            false => Ok(false),
        }
    }

    fn count(&mut self, record: &Record<'_>, pages: u64) -> Result<(), IgvmError> {
        self.pages = self.pages.saturating_add(pages);
        match self.pages <= MAX_PAGES {
            true => Ok(()),
            false => Err(IgvmError::Pages { offset: record.offset, limit: MAX_PAGES }),
        }
    }

    /// Checks that data is inside the file's. Zero is none.
    fn data(&self, record: &Record<'_>, offset: u32, size: u64) -> Result<(), IgvmError> {
        let end = u64::from(offset).checked_add(size);
        let inside =
            offset as usize >= self.data && end.is_some_and(|end| end <= self.total as u64);
        match offset == 0 || inside {
            true => Ok(()),
            false => Err(self.no_data(record, offset, size)),
        }
    }

    fn no_data(&self, record: &Record<'_>, offset: u32, size: u64) -> IgvmError {
        let (data, total) = (self.data, self.total);
        let expected = format!("{size:#x} bytes in {data:#x} to {total:#x}, the file's data");
        record.field("the offset of the data", offset, expected)
    }
}

/// `igvm_defs` has these only with features that change how the crate reads.
const CORIM_DOCUMENT: Kind = Kind(0x104);
const CORIM_SIGNATURE: Kind = Kind(0x105);
const VERSION_STRING: Kind = Kind(0x107);
const DEVICE_TREE: Kind = Kind(0x312);
