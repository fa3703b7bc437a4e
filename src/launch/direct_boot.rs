//! What the firmware does with a kernel from the host. A measured hash table binds nothing unless
//! the firmware in the guest checks against it, and that cannot be seen from the metadata: Debian's
//! generic OVMF has the section for the table and no code that reads it. So the modules are
//! looked into, by content rather than by name.
//!
//! Two questions are asked.
//!
//! **Is the verifier there?** It holds the GUIDs of the three table entries, and the names of the
//! three blobs as UTF-16, since it maps the ones to the others (edk2,
//! OvmfPkg/AmdSev/BlobVerifierLibSevHashes, linked into QemuKernelLoaderFsDxe).
//!
//! **Can the host have another blob run?** Since early 2025 (edk2 pull request 10628) the loader
//! also reads every fw_cfg file below `etc/boot/`. `QemuKernelVerifyBlob` passes any name but the
//! three, and `GenericQemuLoadImageLib` starts a blob named `shim` in place of the kernel. The
//! digest is right, and the code that runs is the host's.
//!
//! A closed firmware is recognised by what it lacks or by a mark, in this order:
//! - no module has the bare prefix `etc/boot/`: the names are not read (older firmware), or are
//!   compared whole (`etc/boot/kernel`), so that no other name gets in;
//! - the module that has the prefix also holds [`REFUSES_UNNAMED`], the mark of a patch that
//!   refuses every blob without an entry in the table. The mark is a claim of whoever built the
//!   firmware; that the build has the patch is for a rebuild from source to show;
//! - no module looks for `shim`: blobs are read and lie there unverified, but nothing starts them.
//!   (A reader that itself mentions `shim`, as edk2's does since 2026, counts as a starter.)
//!
//! What this cannot see: whether the verifier stops the machine on a wrong blob, as it does since
//! 2024 (edk2 pull request 5769). A loader with the prefix is younger than that. Nor is it a
//! defence against firmware made to deceive: it tells honest builds apart.

use serde::{Deserialize, Serialize};

use super::guid::Guid;
use super::hash_table;
use super::volume::{self, Module, VolumeError};
use crate::digest::Sha256;

/// The mark of a loader that refuses every blob the hash table does not name: the 16 bytes of this
/// GUID, anywhere in the module that reads `etc/boot/`.
pub const REFUSES_UNNAMED: Guid =
    Guid::new(0x8e49_23f4, 0xb6e8, 0x447b, [0x96, 0xc5, 0xa7, 0xd9, 0x44, 0xcb, 0xef, 0x84]);

/// What was found in the modules of a firmware image.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DirectBoot {
    /// The module that checks kernel, initrd and command line against the hash table.
    pub verifier: Option<Evidence>,
    /// What becomes of fw_cfg files below `etc/boot/`.
    pub named_blobs: NamedBlobs,
}

/// What becomes of fw_cfg files below `etc/boot/` with names other than the three.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "state")]
pub enum NamedBlobs {
    /// They are not read.
    NotRead,
    /// They are refused, says the mark in the module that reads them.
    Refused {
        /// The module, and where the mark is in it.
        by: Evidence,
    },
    /// They run unverified: the host can put its own code in the kernel's place.
    Run {
        /// The module that reads them.
        read_by: Evidence,
        /// The module that starts one named `shim`.
        started_by: Evidence,
    },
    /// They are read unverified, and nothing starts them.
    Unused {
        /// The module that reads them.
        read_by: Evidence,
    },
}

/// A place in a module.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The module's FILE_GUID.
    pub module: Guid,
    /// The module's name, from its user interface section.
    pub name: Option<String>,
    /// The digest of its executable.
    pub sha256: Sha256,
    /// Where in the executable.
    pub offset: u64,
}

/// The firmware would boot any kernel under a right digest.
#[derive(Debug, thiserror::Error)]
#[error(
    "firmware has no verifier for kernel, initrd and command line: it would boot whatever the host \
     gives it, whatever the digest says; use an AmdSev build of OVMF, such as Debian's `ovmf-amdsev`"
)]
pub struct NoVerifier;

impl DirectBoot {
    /// Looks through all modules of an image.
    pub fn examine(image: &[u8]) -> Result<Self, VolumeError> {
        let mut search = Search::default();
        volume::modules(image, &mut |module| search.see(module))?;
        Ok(search.found())
    }

    /// Refuses firmware that does not check what the host gives it.
    pub fn require_verifier(&self) -> Result<&Evidence, NoVerifier> {
        self.verifier.as_ref().ok_or(NoVerifier)
    }
}

/// What was seen so far.
#[derive(Default)]
pub(super) struct Search {
    verifier: Option<Evidence>,
    refused: Option<Evidence>,
    reader: Option<Evidence>,
    starter: Option<Evidence>,
    both: Option<Evidence>,
}

impl Search {
    pub(super) fn see(&mut self, module: &Module<'_>) {
        let body = module.body;
        let at = |offset| Evidence::new(module, offset);
        if self.verifier.is_none() {
            self.verifier = verifier_at(body).map(at);
        }
        let starts = || find(body, LOADER_FS.bytes()).and(find(body, &utf16("shim")));
        if let Some(offset) = prefix_at(body) {
            match find(body, REFUSES_UNNAMED.bytes()) {
                Some(mark) if self.refused.is_none() => self.refused = Some(at(mark)),
                Some(_) => {}
                // One reader without the mark is enough to leave the hole open.
                None if self.reader.is_none() => {
                    self.reader = Some(at(offset));
                    self.both = starts().map(at);
                }
                None => {}
            }
        } else if self.starter.is_none() {
            self.starter = starts().map(at);
        }
    }

    pub(super) fn found(self) -> DirectBoot {
        let Self { verifier, refused, reader, starter, both } = self;
        let named_blobs = match (reader, refused, starter.or(both)) {
            (Some(read_by), _, Some(started_by)) => NamedBlobs::Run { read_by, started_by },
            (Some(read_by), _, None) => NamedBlobs::Unused { read_by },
            (None, Some(by), _) => NamedBlobs::Refused { by },
            (None, None, _) => NamedBlobs::NotRead,
        };
        DirectBoot { verifier, named_blobs }
    }
}

impl NamedBlobs {
    /// Whether the host can put its own code in the kernel's place.
    pub fn is_hole(&self) -> bool {
        matches!(self, Self::Run { .. })
    }
}

impl Evidence {
    /// The module by its name, or else its GUID.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.module.to_string())
    }

    pub(super) fn new(module: &Module<'_>, offset: usize) -> Self {
        Self {
            module: module.guid,
            name: module.name.clone(),
            sha256: Sha256::of(module.body),
            offset: offset as u64,
        }
    }
}

/// Where the GUID of the kernel's entry is, in a module that has all three and the blobs' names.
fn verifier_at(body: &[u8]) -> Option<usize> {
    find(body, hash_table::CMDLINE.bytes())?;
    find(body, hash_table::INITRD.bytes())?;
    let kernel = find(body, hash_table::KERNEL.bytes())?;
    for name in ["kernel", "initrd", "cmdline"] {
        find(body, &utf16(name))?;
    }
    Some(kernel)
}

/// Where a prefix of fw_cfg names is, other than as part of one of the three whole names.
fn prefix_at(body: &[u8]) -> Option<usize> {
    let starts = body.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let mut starts = starts.map(|(at, _)| at);
    starts.find(|at| {
        let name = body.get(at + PREFIX.len()..).unwrap_or_default();
        !WHOLE_NAMES.iter().any(|whole| name.starts_with(whole))
    })
}

pub(super) fn find(body: &[u8], wanted: &[u8]) -> Option<usize> {
    body.windows(wanted.len()).position(|window| window == wanted)
}

/// A C string of UEFI, its NUL included.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

const PREFIX: &[u8] = b"etc/boot/";
const WHOLE_NAMES: &[&[u8]] = &[b"kernel\0", b"initrd\0", b"cmdline\0"];

/// edk2, OvmfPkg, `gQemuKernelLoaderFsMediaGuid`: the volume of the blobs. Who starts a blob names
/// it in a device path; `shim` alone is also in modules that boot from disks.
const LOADER_FS: Guid =
    Guid::new(0x1428_f772, 0xb64a, 0x441e, [0xb8, 0xc3, 0x9e, 0xbd, 0xd7, 0xf8, 0x93, 0xc7]);
