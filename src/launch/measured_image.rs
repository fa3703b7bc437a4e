//! Kernel, initrd and command line as pages of the launch, and how the firmware finds them.
//!
//! A launch that fills guest memory by itself (from an [IGVM](super::igvm) file) need not leave them
//! to the host. Firmware that can have it so says in its footer where it looks for their
//! description: in the page of the SEV hash table, which is measured, and zero where nobody has
//! described anything. The convention is this project's own (firmware/amdsev/patches/0006, which has
//! the structure as `MEASURED_IMAGE`).

use std::ops::Range;

use zerocopy::little_endian::U64;
use zerocopy::{Immutable, IntoBytes};

use super::guid::Guid;
use super::page::PAGE_SIZE;

/// The entry in the firmware's footer that says where the description goes, and its first bytes there.
pub const MEASURED_IMAGE: Guid =
    Guid::new(0xe028_cf17, 0x1c78, 0x4955, [0xa7, 0x7e, 0x53, 0x20, 0x6f, 0x8d, 0xca, 0x5d]);

/// The size of a description.
pub const DESCRIPTION_SIZE: usize = 80;

/// Where the three go: from 32 MiB on, above all memory that the firmware uses before it knows of
/// them (edk2, OvmfPkg/AmdSev/AmdSevX64.fdf: its own ends at 22 MiB).
pub const START: u64 = 32 << 20;

/// Where they have to end: QEMU's q35 has 2 GiB of memory below 4 GiB, however much there is (qemu 10.2,
/// hw/i386/pc_q35.c, `pc_q35_init`), of which the firmware takes the upper end before it knows of them.
pub const END: u64 = 3 << 29;

/// Where the three are: one behind the other, each from the start of a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MeasuredImage {
    /// The bzImage.
    pub kernel: Range<u64>,
    /// The initrd.
    pub initrd: Range<u64>,
    /// The command line with the NUL that ends it.
    pub cmdline: Range<u64>,
}

/// More than fits.
#[derive(Debug, thiserror::Error)]
#[error(
    "kernel, initrd and command line take {size} bytes of guest memory: at most {} fit between \
     {START:#x} and {END:#x}; put large files on a volume",
    END - START
)]
pub struct TooLarge {
    size: u64,
}

impl MeasuredImage {
    /// Places them by their sizes in bytes; the command line's counts its NUL.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn place(kernel: u64, initrd: u64, cmdline: u64) -> Result<Self, TooLarge> {
        let mut next = START;
        let mut place = |size: u64| {
            let range = next..next.saturating_add(size);
            next = range.end.checked_next_multiple_of(PAGE_SIZE.into()).unwrap_or(u64::MAX);
            range
        };
        let image = Self { kernel: place(kernel), initrd: place(initrd), cmdline: place(cmdline) };
        match next > END {
            true => Err(TooLarge { size: next - START }),
            false => Ok(image),
        }
    }

    /// All pages of it.
    pub fn pages(&self) -> Range<u64> {
        START..self.cmdline.end.next_multiple_of(PAGE_SIZE.into())
    }

    /// The description as the firmware reads it.
    pub fn description(&self) -> [u8; DESCRIPTION_SIZE] {
        let pages = self.pages();
        zerocopy::transmute!(Description {
            guid: MEASURED_IMAGE,
            start: pages.start.into(),
            end: pages.end.into(),
            blobs: [&self.kernel, &self.initrd, &self.cmdline].map(|range| Blob {
                base: range.start.into(),
                size: (range.end - range.start).into(),
            }),
        })
    }
}

#[derive(Immutable, IntoBytes)]
#[repr(C)]
struct Description {
    guid: Guid,
    start: U64,
    end: U64,
    blobs: [Blob; 3],
}

#[derive(Immutable, IntoBytes)]
#[repr(C)]
struct Blob {
    base: U64,
    size: U64,
}

const _: () = assert!(size_of::<Description>() == DESCRIPTION_SIZE);
