//! The image as one IGVM file: firmware, kernel, initrd and command line, every page of them measured,
//! and the vCPUs. Nothing of it is fetched from the host.
//!
//! Format: the `igvm_defs` crate, version 0.5. The firmware has to look for a measured image; see
//! [`crate::launch::measured_image`]. Written in one pass and measured on the way, as QEMU and KVM would
//! launch it ([`crate::launch::igvm`], profile `igvm-qemu`).

use std::io::{self, Read, Write};

use igvm_defs::{
    IGVM_FIXED_HEADER, IGVM_FORMAT_VERSION_1, IGVM_MAGIC_VALUE, IGVM_NATIVE_PLATFORM_VERSION,
    IGVM_SEV_SNP_PLATFORM_VERSION, IGVM_VHS_GUEST_POLICY, IGVM_VHS_PAGE_DATA,
    IGVM_VHS_SUPPORTED_PLATFORM, IGVM_VHS_VARIABLE_HEADER, IGVM_VHS_VP_CONTEXT, IgvmPageDataFlags,
    IgvmPageDataType, IgvmPlatformType, IgvmVariableHeaderType as Kind,
};
use zerocopy::{Immutable, IntoBytes};

use crate::digest::{Hashing, Object, Sha384};
use crate::launch::firmware::{Section, SectionKind};
use crate::launch::measured_image::{MeasuredImage, TooLarge};
use crate::launch::page::{Chain, PAGE_SIZE, PageType, Update};
use crate::launch::vmsa::VMSA_GPA;
use crate::launch::{Firmware, HashTable, Policy};

/// The writer's epoch: it changes when the bytes made from an image change, and old ones are kept.
///
/// # Changelog
/// ## igvm/1
/// Format version 1. Platforms: SEV-SNP as mask 1, native as mask 2. The guest policy. The firmware's
/// pages; the sections of its metadata in their order, secrets and CPUID for SEV-SNP alone, zeros
/// without data; in the page of the hash table that table and the description of the image; the pages
/// of kernel, initrd and command line from 32 MiB on, zeros to the end of each; a VMSA for each vCPU.
pub const EPOCH: &str = "igvm/1";

/// Bits of the compatibility masks.
const SNP: u32 = 1;
const NATIVE: u32 = 2;

const PAGE: usize = PAGE_SIZE as usize;

/// What goes into a file.
pub struct Image<'a> {
    /// The firmware image.
    pub firmware: &'a [u8],
    /// The kernel image.
    pub kernel: &'a [u8],
    /// The size of the initrd in bytes.
    pub initrd: u64,
    /// The command line, without NUL.
    pub cmdline: &'a str,
    /// The hashes of kernel, initrd and command line.
    pub hashes: HashTable,
    /// The guest policy.
    pub policy: Policy,
    /// The initial state of each vCPU.
    pub vmsas: &'a [[u8; PAGE]],
}

/// A file that was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Written {
    /// The file.
    pub object: Object,
    /// The launch digest before the vCPUs.
    pub digest_before_vcpus: Sha384,
    /// The launch digest.
    pub digest: Sha384,
}

/// An image that cannot be written as an IGVM file.
#[derive(Debug, thiserror::Error)]
pub enum IgvmWriteError {
    /// The firmware would fetch the kernel from the host.
    #[error(
        "firmware does not look for a measured image (table entry \
         e028cf17-1c78-4955-a77e-53206f8dca5d): it would boot what the host hands over"
    )]
    Firmware,
    /// A section of the firmware's metadata lies where the image goes.
    #[error("firmware has a {kind} section at {gpa:#x}, where kernel and initrd would go")]
    Section {
        /// Its kind.
        kind: SectionKind,
        /// Its address.
        gpa: u32,
    },
    /// Kernel and initrd are too large.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Offsets in the file have 32 bits.
    #[error("IGVM file would have {size} bytes: expected less than 4 GiB")]
    Size {
        /// The size.
        size: u64,
    },
    /// More vCPUs than numbers for them.
    #[error("{0} vCPUs: an IGVM file has at most 65536")]
    Vcpus(usize),
    /// The initrd could not be read.
    #[error("failed reading the initrd")]
    Read(#[source] io::Error),
    /// The file could not be written.
    #[error("failed writing the IGVM file")]
    Write(#[source] io::Error),
}

/// Writes the file to `out`. The initrd is read from `initrd`.
///
/// # Errors
/// When the firmware cannot boot from measured memory, the image does not fit, or reading or writing
/// fails.
pub fn write(
    image: Image<'_>,
    layout: &Firmware,
    initrd: &mut dyn Read,
    out: impl Write,
) -> Result<Written, IgvmWriteError> {
    let Image { firmware, kernel, initrd: initrd_size, cmdline, hashes, policy, vmsas } = image;
    let cmdline = [cmdline.as_bytes(), b"\0"].concat();
    let measured = MeasuredImage::place(kernel.len() as u64, initrd_size, cmdline.len() as u64)?;
    let hash_page = hash_page(layout, &hashes, &measured).ok_or(IgvmWriteError::Firmware)?;

    let mut pages = Pages::default();
    pages.span(layout.gpa().into(), firmware.len() as u64);
    for section in layout.sections() {
        if u64::from(section.gpa) + u64::from(section.size) > measured.pages().start {
            return Err(IgvmWriteError::Section { kind: section.kind, gpa: section.gpa });
        }
        pages.section(section);
    }
    for blob in [&measured.kernel, &measured.initrd, &measured.cmdline] {
        pages.span(blob.start, blob.end - blob.start);
    }

    let headers = headers(&pages, policy, vmsas)?;
    let mut out = Writer { out: Hashing::new(out), chain: Chain::START };
    out.bytes(&headers)?;
    out.pages(&mut &firmware[..], layout.gpa().into(), firmware.len() as u64)?;
    for section in layout.sections() {
        out.section(section, &hash_page)?;
    }
    out.blob(&mut &kernel[..], &measured.kernel)?;
    out.blob(initrd, &measured.initrd)?;
    out.blob(&mut &cmdline[..], &measured.cmdline)?;
    let digest_before_vcpus = out.chain.digest();
    for vmsa in vmsas {
        out.bytes(vmsa)?;
        out.chain.add(&Update::hashed(PageType::Vmsa, VMSA_GPA, vmsa));
    }
    let digest = out.chain.digest();
    out.out.flush().map_err(IgvmWriteError::Write)?;
    Ok(Written { object: out.out.finish(), digest_before_vcpus, digest })
}

/// The page with the hash table, and with the description where the firmware looks for one.
fn hash_page(
    firmware: &Firmware,
    hashes: &HashTable,
    measured: &MeasuredImage,
) -> Option<[u8; PAGE]> {
    let mut page = hashes.page(firmware.hash_table()?.gpa)?;
    let start = (firmware.image_area()?.gpa % PAGE_SIZE) as usize;
    let description = measured.description();
    page.get_mut(start..start + description.len())?.copy_from_slice(&description);
    Some(page)
}

/// One page directive.
struct Page {
    gpa: u64,
    mask: u32,
    kind: IgvmPageDataType,
    /// Whether the file has its contents.
    data: bool,
}

/// The page directives, in their order.
#[derive(Default)]
struct Pages(Vec<Page>);

impl Pages {
    fn span(&mut self, gpa: u64, size: u64) {
        let page =
            |gpa| Page { gpa, mask: SNP | NATIVE, kind: IgvmPageDataType::NORMAL, data: true };
        self.0.extend(places(gpa, size).map(page));
    }

    fn section(&mut self, section: &Section) {
        let (kind, mask) = match section.kind {
            SectionKind::Secrets => (IgvmPageDataType::SECRETS, SNP),
            SectionKind::Cpuid => (IgvmPageDataType::CPUID_DATA, SNP),
            _ => (IgvmPageDataType::NORMAL, SNP | NATIVE),
        };
        let data = section.kind == SectionKind::KernelHashes;
        let page = |gpa| Page { gpa, mask, kind, data };
        self.0.extend(places(section.gpa.into(), section.size.into()).map(page));
    }
}

fn places(gpa: u64, size: u64) -> impl Iterator<Item = u64> {
    (gpa..gpa + size).step_by(PAGE)
}

/// The fixed header and all variable ones. The data that they point to follows in their order.
fn headers(pages: &Pages, policy: Policy, vmsas: &[[u8; PAGE]]) -> Result<Vec<u8>, IgvmWriteError> {
    let fixed = size_of::<IGVM_FIXED_HEADER>();
    let variable = 2 * length::<IGVM_VHS_SUPPORTED_PLATFORM>()
        + length::<IGVM_VHS_GUEST_POLICY>()
        + pages.0.len() * length::<IGVM_VHS_PAGE_DATA>()
        + vmsas.len() * length::<IGVM_VHS_VP_CONTEXT>();
    let contents = pages.0.iter().filter(|page| page.data).count() + vmsas.len();
    let total = fixed as u64 + variable as u64 + contents as u64 * PAGE as u64;
    let total = u32::try_from(total).map_err(|_| IgvmWriteError::Size { size: total })?;

    let mut next = (fixed + variable) as u32;
    let mut data = || {
        let at = next;
        next += PAGE_SIZE;
        at
    };
    let mut body = Vec::with_capacity(variable);
    for (mask, kind, version) in [
        (SNP, IgvmPlatformType::SEV_SNP, IGVM_SEV_SNP_PLATFORM_VERSION),
        (NATIVE, IgvmPlatformType::NATIVE, IGVM_NATIVE_PLATFORM_VERSION),
    ] {
        let platform = IGVM_VHS_SUPPORTED_PLATFORM {
            compatibility_mask: mask,
            highest_vtl: 0,
            platform_type: kind,
            platform_version: version,
            shared_gpa_boundary: 0,
        };
        add(&mut body, Kind::IGVM_VHT_SUPPORTED_PLATFORM, &platform);
    }
    let policy = IGVM_VHS_GUEST_POLICY { policy: policy.0, compatibility_mask: SNP, reserved: 0 };
    add(&mut body, Kind::IGVM_VHT_GUEST_POLICY, &policy);
    for page in &pages.0 {
        let directive = IGVM_VHS_PAGE_DATA {
            gpa: page.gpa,
            compatibility_mask: page.mask,
            file_offset: if page.data { data() } else { 0 },
            flags: IgvmPageDataFlags::new(),
            data_type: page.kind,
            reserved: 0,
        };
        add(&mut body, Kind::IGVM_VHT_PAGE_DATA, &directive);
    }
    for vcpu in 0..vmsas.len() {
        let directive = IGVM_VHS_VP_CONTEXT {
            gpa: VMSA_GPA.into(),
            compatibility_mask: SNP,
            file_offset: data(),
            vp_index: u16::try_from(vcpu).map_err(|_| IgvmWriteError::Vcpus(vmsas.len()))?,
            reserved: 0,
        };
        add(&mut body, Kind::IGVM_VHT_VP_CONTEXT, &directive);
    }

    let mut header = IGVM_FIXED_HEADER {
        magic: IGVM_MAGIC_VALUE,
        format_version: IGVM_FORMAT_VERSION_1,
        variable_header_offset: fixed as u32,
        variable_header_size: variable as u32,
        total_file_size: total,
        checksum: 0,
    };
    // Over all headers, with zero in its own place.
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(header.as_bytes());
    checksum.update(&body);
    header.checksum = checksum.finalize();
    Ok([header.as_bytes(), &body].concat())
}

/// What a variable header takes, with its own header and its padding.
fn length<T>() -> usize {
    size_of::<IGVM_VHS_VARIABLE_HEADER>() + size_of::<T>().next_multiple_of(8)
}

fn add<T: IntoBytes + Immutable>(headers: &mut Vec<u8>, kind: Kind, body: &T) {
    let header = IGVM_VHS_VARIABLE_HEADER { typ: kind, length: size_of::<T>() as u32 };
    headers.extend_from_slice(header.as_bytes());
    headers.extend_from_slice(body.as_bytes());
    headers.resize(headers.len().next_multiple_of(8), 0);
}

/// Writes, and measures what it writes.
struct Writer<W> {
    out: Hashing<W>,
    chain: Chain,
}

impl<W: Write> Writer<W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), IgvmWriteError> {
        self.out.write_all(bytes).map_err(IgvmWriteError::Write)
    }

    fn section(&mut self, section: &Section, hash_page: &[u8; PAGE]) -> Result<(), IgvmWriteError> {
        for gpa in places(section.gpa.into(), section.size.into()) {
            let update = match section.kind {
                SectionKind::Secrets => Update::placed(PageType::Secrets, gpa),
                SectionKind::Cpuid => Update::placed(PageType::Cpuid, gpa),
                SectionKind::KernelHashes => {
                    self.bytes(hash_page)?;
                    Update::hashed(PageType::Normal, gpa, hash_page)
                }
                _ => Update::hashed(PageType::Normal, gpa, &[0; PAGE]),
            };
            self.chain.add(&update);
        }
        Ok(())
    }

    fn blob(
        &mut self,
        from: &mut dyn Read,
        place: &std::ops::Range<u64>,
    ) -> Result<(), IgvmWriteError> {
        self.pages(from, place.start, place.end - place.start)
    }

    /// So many bytes, and zeros to the end of the last page.
    fn pages(&mut self, from: &mut dyn Read, gpa: u64, size: u64) -> Result<(), IgvmWriteError> {
        let mut left = size;
        for gpa in places(gpa, size) {
            let mut page = [0; PAGE];
            let part = left.min(PAGE as u64) as usize;
            let (filled, _) = page.split_at_mut(part);
            from.read_exact(filled).map_err(IgvmWriteError::Read)?;
            self.bytes(&page)?;
            self.chain.add(&Update::hashed(PageType::Normal, gpa, &page));
            left -= part as u64;
        }
        Ok(())
    }
}
