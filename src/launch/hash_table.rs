//! The SEV hash table: how a measured page binds kernel, initrd and command line, which the host
//! hands over later (QEMU, target/i386/sev.c, `SevHashTable`; edk2,
//! OvmfPkg/AmdSev/BlobVerifierLibSevHashes).

use zerocopy::little_endian::U16;
use zerocopy::{Immutable, IntoBytes};

use super::guid::Guid;
use super::page::PAGE_SIZE;
use crate::digest::Sha256;

/// The table in memory: 168 bytes, and padding to a multiple of 16.
pub const TABLE_SIZE: usize = 176;

/// The three hashes. An entry for each is always present: the firmware runs unverified what the
/// table does not name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashTable {
    /// The command line with the NUL that ends it.
    pub cmdline: Sha256,
    /// The initrd, or the hash of nothing.
    pub initrd: Sha256,
    /// The bzImage as it is on disk: for a confidential guest QEMU leaves the setup header alone
    /// so that this holds (QEMU 10.2, hw/i386/x86-common.c, `x86_load_linux`).
    pub kernel: Sha256,
}

/// A command line that cannot be passed on as a C string.
#[derive(Debug, thiserror::Error)]
#[error("command line holds a NUL byte at offset {0}: expected text, as the kernel would read it")]
pub struct CmdlineError(pub usize);

impl HashTable {
    /// Names the three blobs by their digests; no initrd is the same as an empty one.
    pub fn new(
        kernel: Sha256,
        initrd: Option<Sha256>,
        cmdline: &str,
    ) -> Result<Self, CmdlineError> {
        if let Some(at) = cmdline.find('\0') {
            return Err(CmdlineError(at));
        }
        let cmdline = Sha256::of([cmdline.as_bytes(), b"\0"].concat());
        Ok(Self { cmdline, initrd: initrd.unwrap_or_else(|| Sha256::of([])), kernel })
    }

    /// The table as the firmware reads it.
    pub fn bytes(&self) -> [u8; TABLE_SIZE] {
        let entry = |guid, hash: &Sha256| Entry { guid, length: U16::new(50), hash: hash.0 };
        let table = Table {
            guid: HEADER,
            length: U16::new(168),
            entries: [
                entry(CMDLINE, &self.cmdline),
                entry(INITRD, &self.initrd),
                entry(KERNEL, &self.kernel),
            ],
            padding: [0; 8],
        };
        zerocopy::transmute!(table)
    }

    /// The measured page: zeros, and the table where the firmware looks for it. `None` if it does
    /// not fit there, which [`super::Firmware`] has ruled out for its own address.
    pub fn page(&self, table_gpa: u32) -> Option<[u8; PAGE_SIZE as usize]> {
        let mut page = [0; PAGE_SIZE as usize];
        let start = (table_gpa % PAGE_SIZE) as usize;
        page.get_mut(start..start + TABLE_SIZE)?.copy_from_slice(&self.bytes());
        Some(page)
    }
}

#[derive(Immutable, IntoBytes)]
#[repr(C)]
struct Table {
    guid: Guid,
    length: U16,
    entries: [Entry; 3],
    padding: [u8; 8],
}

#[derive(Immutable, IntoBytes)]
#[repr(C)]
struct Entry {
    guid: Guid,
    length: U16,
    hash: [u8; 32],
}

const _: () = assert!(size_of::<Entry>() == 50);
const _: () = assert!(size_of::<Table>() == TABLE_SIZE);

const HEADER: Guid =
    Guid::new(0x9438_d606, 0x4f22, 0x4cc9, [0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21]);

/// The GUIDs of the entries. The verifier holds them too, which is how it can be told from its
/// absence; see [`super::direct_boot`].
pub(super) const CMDLINE: Guid =
    Guid::new(0x97d0_2dd8, 0xbd20, 0x4c94, [0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a]);
pub(super) const INITRD: Guid =
    Guid::new(0x44ba_f731, 0x3a2f, 0x4bd7, [0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d]);
pub(super) const KERNEL: Guid =
    Guid::new(0x4de7_9437, 0xabd2, 0x427f, [0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b]);
