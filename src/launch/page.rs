//! The measurement itself: SNP_LAUNCH_UPDATE hashes one PAGE_INFO structure for each page, and each
//! structure holds the digest so far (SNP ABI, section 8.17).

use std::fmt;

use serde::Serialize;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::digest::Sha384;

/// The size of every page here, and the unit of every launch update.
pub const PAGE_SIZE: u32 = 0x1000;

/// PAGE_TYPE (SNP ABI, table "Encodings for the PAGE_TYPE Field").
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[repr(u8)]
#[serde(rename_all = "kebab-case")]
pub enum PageType {
    /// Hashed contents.
    Normal = 1,
    /// A vCPU's initial state, hashed.
    Vmsa = 2,
    /// Cleared by the AMD firmware; its place is measured.
    Zero = 3,
    /// Contents from the host; only the place is measured.
    Unmeasured = 4,
    /// Filled by the AMD firmware.
    Secrets = 5,
    /// Filled by the host, checked by the AMD firmware.
    Cpuid = 6,
}

/// One page given to SNP_LAUNCH_UPDATE.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Update {
    /// What the page is.
    pub kind: PageType,
    /// Where the guest sees it.
    pub gpa: u64,
    /// SHA-384 of the page if its type is hashed, else 48 zero bytes (not the hash of zeros).
    pub contents: Sha384,
}

/// The launch digest as it grows, page by page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chain(Sha384);

impl fmt::Display for PageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Normal => "normal",
            Self::Vmsa => "vmsa",
            Self::Zero => "zero",
            Self::Unmeasured => "unmeasured",
            Self::Secrets => "secrets",
            Self::Cpuid => "cpuid",
        })
    }
}

impl Update {
    /// A page whose contents are hashed.
    pub fn hashed(kind: PageType, gpa: u64, page: &[u8]) -> Self {
        Self { kind, gpa, contents: Sha384::of(page) }
    }

    /// A page of which only place and type are measured.
    pub fn placed(kind: PageType, gpa: u64) -> Self {
        Self { kind, gpa, contents: Sha384::ZERO }
    }
}

impl Chain {
    /// Before the first page: 48 zero bytes (SNP ABI, SNP_LAUNCH_START).
    pub const START: Self = Self(Sha384::ZERO);

    /// Goes on from a known digest, such as the one after the firmware's pages.
    pub fn from(digest: Sha384) -> Self {
        Self(digest)
    }

    /// The digest so far.
    pub fn digest(&self) -> Sha384 {
        self.0
    }

    /// Adds one page.
    pub fn add(&mut self, update: &Update) {
        let info = PageInfo {
            digest: self.0.0,
            contents: update.contents.0,
            length: U16::new(PAGE_INFO_SIZE as u16),
            kind: update.kind as u8,
            imi: 0,
            vmpl_permissions: [0; 3],
            reserved: 0,
            gpa: U64::new(update.gpa),
        };
        self.0 = Sha384::of(info.as_bytes());
    }
}

/// The updates of a firmware image that is mapped to end at 4 GiB: all of it, in normal pages.
pub fn image(image: &[u8]) -> impl Iterator<Item = Update> {
    let start = (1u64 << 32).wrapping_sub(image.len() as u64);
    let places = (0u64..).map(move |page| start.wrapping_add(page * u64::from(PAGE_SIZE)));
    let pages = image.chunks(PAGE_SIZE as usize);
    places.zip(pages).map(|(gpa, page)| Update::hashed(PageType::Normal, gpa, page))
}

/// The digest after all pages of a firmware image: what other tools call the OVMF hash. It stands
/// for the image in every later computation, but does not by itself say which image it was.
pub fn image_digest(bytes: &[u8]) -> Sha384 {
    let mut chain = Chain::START;
    image(bytes).for_each(|update| chain.add(&update));
    chain.digest()
}

/// [`image_digest`] of an image that comes in pieces, so that it need not be in memory.
#[derive(Clone, Debug)]
pub struct ImageChain {
    chain: Chain,
    gpa: u64,
}

impl ImageChain {
    /// Before the first page of an image of `size` bytes, which is mapped to end at 4 GiB.
    pub fn new(size: u32) -> Self {
        Self { chain: Chain::START, gpa: (1 << 32) - u64::from(size) }
    }

    /// Adds the pages that come next. Only the last piece may end inside a page.
    pub fn add(&mut self, pages: &[u8]) {
        for page in pages.chunks(PAGE_SIZE as usize) {
            self.chain.add(&Update::hashed(PageType::Normal, self.gpa, page));
            self.gpa += u64::from(PAGE_SIZE);
        }
    }

    /// The digest so far.
    pub fn digest(&self) -> Sha384 {
        self.chain.digest()
    }
}

const PAGE_INFO_SIZE: usize = 0x70;

/// SNP ABI, table "PAGE_INFO". QEMU leaves the VMPL permissions and IMI_PAGE zero.
#[derive(Immutable, IntoBytes)]
#[repr(C)]
struct PageInfo {
    digest: [u8; 48],
    contents: [u8; 48],
    length: U16,
    kind: u8,
    imi: u8,
    vmpl_permissions: [u8; 3],
    reserved: u8,
    gpa: U64,
}

const _: () = assert!(size_of::<PageInfo>() == PAGE_INFO_SIZE);
