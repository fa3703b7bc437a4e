//! What an OVMF image asks of the VMM: which pages to add and in what order, where the hash table
//! for direct boot goes, and where the other vCPUs start.
//!
//! All of it is read from the image's own footer, never from a template: edk2 has added sections
//! and moved them (commits 5a67a2ef and 5c63e22a9f), and both change the digest.

mod error;
mod footer;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use error::{FirmwareError, ImageError};

use super::hash_table::TABLE_SIZE;
use super::hex;
use super::measured_image::DESCRIPTION_SIZE;
use super::page::PAGE_SIZE;

/// The launch-relevant part of a firmware image. A value of this type has passed every check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Firmware {
    size: u32,
    reset_eip: Option<u32>,
    hash_table: Option<HashTableArea>,
    image_area: Option<ImageArea>,
    sections: Vec<Section>,
}

/// One entry of the SEV metadata: pages that the VMM must add to the launch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// What the pages are for.
    pub kind: SectionKind,
    /// The first page.
    #[serde(with = "hex")]
    pub gpa: u32,
    /// Bytes, a multiple of the page size.
    #[serde(with = "hex")]
    pub size: u32,
}

/// The types of edk2's OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm. Any other one is refused: what
/// the VMM does with it is part of the digest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SectionKind {
    /// Memory that the firmware uses before it can accept any itself.
    SecMem = 1,
    /// The page for the guest's message keys.
    Secrets = 2,
    /// The page for the CPUID table.
    Cpuid = 3,
    /// The calling area of an SVSM.
    SvsmCaa = 4,
    /// The page that holds the SEV hash table.
    KernelHashes = 0x10,
}

/// Where the firmware expects the SEV hash table.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HashTableArea {
    /// Its first byte, not always on a page boundary.
    #[serde(with = "hex")]
    pub gpa: u32,
    /// The room there.
    #[serde(with = "hex")]
    pub size: u32,
}

/// Where the firmware looks for the description of a [measured image](super::MeasuredImage).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImageArea {
    /// Its first byte.
    pub gpa: u32,
    /// The room there.
    pub size: u32,
}

impl Firmware {
    /// Reads the footer of an image. The rest of the image is not looked at; see
    /// [`super::page::image_digest`] for its pages and [`super::DirectBoot`] for its modules.
    pub fn parse(image: &[u8]) -> Result<Self, ImageError> {
        Self::parse_tail(image, image.len() as u64)
    }

    /// Reads the footer from the last bytes of an image of `size` bytes. The table is in the last
    /// 64 KiB and 32 bytes; the SEV metadata may be anywhere, and if it begins before the tail
    /// does, the error is [`FirmwareError::MetadataOffset`] with a distance of at most `size`.
    pub fn parse_tail(tail: &[u8], size: u64) -> Result<Self, ImageError> {
        let mut places = footer::Places::default();
        let parsed = image_size(size).and_then(|size| {
            let before = (size as usize).saturating_sub(tail.len());
            let footer = footer::read(tail, before, &mut places)?;
            let firmware = Self::new(size, footer.reset_eip, footer.hash_table, footer.sections)?;
            let image_area = footer.image_area.filter(|area| area.gpa != 0);
            if let Some(area) = image_area {
                check_image_area(area, &firmware)?;
            }
            Ok(Self { image_area, ..firmware })
        });
        parsed.map_err(|what| ImageError { offset: places.of(&what), what })
    }

    /// Checks the parts, which may come from an image or from a record.
    pub fn new(
        size: u32,
        reset_eip: Option<u32>,
        hash_table: Option<HashTableArea>,
        sections: Vec<Section>,
    ) -> Result<Self, FirmwareError> {
        let size = image_size(size.into())?;
        // Zero is how the assembler leaves a value that the platform does not set.
        let reset_eip = reset_eip.filter(|eip| *eip != 0);
        let hash_table = hash_table.filter(|area| area.gpa != 0);
        check_sections(size, &sections)?;
        if let Some(area) = hash_table {
            check_hash_table(area, &sections)?;
        }
        Ok(Self { size, reset_eip, hash_table, image_area: None, sections })
    }

    /// The size of the image in bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Where the image starts: it ends at 4 GiB.
    pub fn gpa(&self) -> u32 {
        0u32.wrapping_sub(self.size)
    }

    /// Where vCPUs other than the first start (SEV_ES_RESET_BLOCK).
    pub fn reset_eip(&self) -> Option<u32> {
        self.reset_eip
    }

    /// Where the SEV hash table goes.
    pub fn hash_table(&self) -> Option<HashTableArea> {
        self.hash_table
    }

    /// Where a measured image is described, if the firmware looks for one. A record does not say
    /// so: where the host hands over what is booted, there is none.
    pub fn image_area(&self) -> Option<ImageArea> {
        self.image_area
    }

    /// The SEV metadata, in the order of the image, which is the order of the launch.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The page for the hash table, if the image has one.
    pub fn hash_page(&self) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == SectionKind::KernelHashes)
    }
}

impl SectionKind {
    fn of(value: u32) -> Option<Self> {
        Some(match value {
            1 => Self::SecMem,
            2 => Self::Secrets,
            3 => Self::Cpuid,
            4 => Self::SvsmCaa,
            0x10 => Self::KernelHashes,
            _ => return None,
        })
    }

    /// These pages have one meaning each, so there can be one of them and it is one page long.
    fn is_single_page(self) -> bool {
        matches!(self, Self::Secrets | Self::Cpuid | Self::KernelHashes)
    }
}

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecMem => "sec-mem",
            Self::Secrets => "secrets",
            Self::Cpuid => "cpuid",
            Self::SvsmCaa => "svsm-caa",
            Self::KernelHashes => "kernel-hashes",
        })
    }
}

/// The whole image is measured in pages and is mapped below 4 GiB.
fn image_size(size: u64) -> Result<u32, FirmwareError> {
    match u32::try_from(size) {
        Ok(size) if size != 0 && size % PAGE_SIZE == 0 => Ok(size),
        _ => Err(FirmwareError::Size { size }),
    }
}

fn check_sections(image: u32, sections: &[Section]) -> Result<(), FirmwareError> {
    let start = u64::from(0u32.wrapping_sub(image));
    for (index, &Section { kind, gpa, size }) in sections.iter().enumerate() {
        if size == 0 {
            return Err(FirmwareError::SectionEmpty { index, kind });
        }
        if gpa % PAGE_SIZE != 0 || size % PAGE_SIZE != 0 {
            return Err(FirmwareError::SectionUnaligned { index, gpa, size });
        }
        if u64::from(gpa) + u64::from(size) > start {
            return Err(FirmwareError::SectionRange { index, gpa, size });
        }
        if kind.is_single_page() {
            if size != PAGE_SIZE {
                return Err(FirmwareError::SectionSize { index, kind, size });
            }
            if sections.iter().take(index).any(|earlier| earlier.kind == kind) {
                return Err(FirmwareError::SectionRepeated { index, kind });
            }
        }
    }
    let mut by_gpa: Vec<&Section> = sections.iter().collect();
    by_gpa.sort_by_key(|section| section.gpa);
    for pair in by_gpa.windows(2) {
        if let [low, high] = pair
            && high.gpa - low.gpa < low.size
        {
            return Err(FirmwareError::SectionOverlap { first: low.gpa, second: high.gpa });
        }
    }
    Ok(())
}

fn check_hash_table(area: HashTableArea, sections: &[Section]) -> Result<(), FirmwareError> {
    let HashTableArea { gpa, size } = area;
    if (size as usize) < TABLE_SIZE {
        return Err(FirmwareError::HashTableSize { size, expected: TABLE_SIZE });
    }
    let offset = gpa % PAGE_SIZE;
    if offset as usize + TABLE_SIZE > PAGE_SIZE as usize {
        return Err(FirmwareError::HashTableCrosses { gpa });
    }
    // QEMU fills the page of the section with a table at the offset of this address, and trusts
    // that the two agree (`sev_add_kernel_loader_hashes`).
    let page = sections.iter().find(|section| section.kind == SectionKind::KernelHashes);
    match page {
        Some(page) if page.gpa != gpa - offset => {
            Err(FirmwareError::HashTableElsewhere { gpa, page: page.gpa })
        }
        _ => Ok(()),
    }
}

/// In the measured page, and not over the table in it.
fn check_image_area(area: ImageArea, firmware: &Firmware) -> Result<(), FirmwareError> {
    let ImageArea { gpa, size } = area;
    let wrong = FirmwareError::ImageArea { gpa, size, expected: DESCRIPTION_SIZE };
    let (Some(page), Some(table)) = (firmware.hash_page(), firmware.hash_table()) else {
        return Err(wrong);
    };
    let span = |gpa: u32, size: usize| u64::from(gpa)..u64::from(gpa) + size as u64;
    let (own, table) = (span(gpa, DESCRIPTION_SIZE), span(table.gpa, TABLE_SIZE));
    let page = span(page.gpa, PAGE_SIZE as usize);
    let inside = own.start >= page.start && own.end <= page.end;
    let beside = own.end <= table.start || table.end <= own.start;
    match size as usize >= DESCRIPTION_SIZE && inside && beside {
        true => Ok(()),
        false => Err(wrong),
    }
}
