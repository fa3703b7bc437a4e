//! What a firmware does beside the measured kernel, as far as its modules show it: ways by which
//! code that nobody measured comes to run under a right digest. (The nearest one, named blobs, is
//! in [`direct_boot`](super::direct_boot) and in every record by its own fields.)
//!
//! Each finding has a stable code. Like `direct_boot` this tells honest builds apart and is no
//! defence against firmware made to deceive: a mark is a claim of whoever built the firmware, and
//! that the build has the patch is for a rebuild from source to show. What cannot be told from the
//! bytes is called so, not guessed.

use serde::Serialize;

use super::direct_boot::{self, DirectBoot, Evidence, NamedBlobs, find, utf16};
use super::guid::Guid;
use super::record::Unmeasured;
use super::volume::{self, FileKind, Module, VolumeError};

/// The mark of a boot manager that starts nothing after the kernel from QEMU.
pub const NOTHING_ELSE_BOOTS: Guid =
    Guid::new(0x707e_8c65, 0x401f, 0x4422, [0x86, 0x3f, 0xdb, 0xff, 0x49, 0xd3, 0xf5, 0xdb]);

/// The mark of a PCI bus driver that never looks at option ROMs.
pub const NO_OPTION_ROMS: Guid =
    Guid::new(0x8bd9_7e07, 0xc631, 0x44b5, [0xa4, 0x83, 0xb1, 0xfa, 0x0d, 0x13, 0x6d, 0x37]);

/// The mark of a security core that boots, whatever the host says about resuming.
pub const NEVER_RESUMES: Guid =
    Guid::new(0x5121_938d, 0x78c2, 0x46a3, [0xbe, 0xdf, 0x34, 0xca, 0x2d, 0xf9, 0x8a, 0xf7]);

/// One thing to know about a firmware.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Rule {
    /// Its stable name, in records too.
    pub code: &'static str,
    /// What it lets a hostile host do.
    pub means: &'static str,
    /// What takes it away.
    pub cure: &'static str,
}

/// Boot loaders of the host's, when the kernel fails.
pub const BOOT_FALLBACK: Rule = Rule {
    code: "boot-fallback",
    means: "when the measured kernel cannot be loaded or comes back, the firmware looks for a boot \
            loader on disks or in the network, which are the host's: a host that makes the kernel \
            fail can have a program of its own run under this digest",
    cure: "a boot manager that stops there, and a firmware without drivers for file systems",
};

/// Programs in devices.
pub const OPTION_ROMS: Rule = Rule {
    code: "option-roms",
    means: "the firmware's PCI bus driver runs programs that devices carry, which nobody measured; \
            it leaves those of a confidential guest alone only on machines of some layouts, and the \
            host chooses the layout",
    cure: "a PCI bus driver that never looks at option ROMs",
};

/// Waking in place of booting.
pub const S3_RESUME: Rule = Rule {
    code: "s3-resume",
    means: "the firmware takes the host's word that the machine wakes from sleep, and then goes on \
            from memory instead of from its measured image",
    cure: "a firmware that always boots",
};

/// Verifiers of before 2024 (edk2 pull request 5769).
pub const VERIFIER_STOPS: Rule = Rule {
    code: "verifier-stops",
    means: "verifiers of before 2024 let the machine go on with a blob that is not the measured one",
    cure: "a firmware from edk2-stable202411 on, by its builder's word or a rebuild from source",
};

/// CVE-2024-36331.
pub const PAGE_VALIDATION: Rule = Rule {
    code: "page-validation",
    means: "on some processors a host can overwrite memory of a guest whose firmware validates \
            pages without evicting their cache lines (CVE-2024-36331)",
    cure: "a firmware with the eviction, by its builder's word or a rebuild from source",
};

/// Every rule, in the order of findings.
pub const RULES: [&Rule; 5] =
    [&BOOT_FALLBACK, &OPTION_ROMS, &S3_RESUME, &VERIFIER_STOPS, &PAGE_VALIDATION];

/// How a firmware does on one rule.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    #[serde(flatten)]
    pub rule: &'static Rule,
    /// What was found.
    #[serde(flatten)]
    pub state: State,
}

/// What was found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// The host can do it.
    Open {
        /// The modules that take part.
        found: Vec<Evidence>,
    },
    /// The host cannot, says a mark in the module that would let it.
    Marked {
        /// The module, and where the mark is in it.
        by: Evidence,
    },
    /// The host cannot: nothing in the firmware would.
    Absent,
    /// The bytes do not tell.
    NotVisible,
}

impl Finding {
    /// Whether a host can use it, as far as the file shows.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// As it stands in a record.
    pub fn unmeasured(&self) -> Unmeasured {
        Unmeasured { what: self.rule.code.to_owned(), means: self.rule.means.to_owned() }
    }
}

/// The rule of this code, if it is the code of one.
pub fn rule(code: &str) -> Option<&'static Rule> {
    RULES.into_iter().find(|rule| rule.code == code)
}

/// Looks through all modules of an image, once for both questions.
pub fn examine(image: &[u8]) -> Result<(DirectBoot, Vec<Finding>), VolumeError> {
    let (mut direct, mut search) = (direct_boot::Search::default(), Search::default());
    volume::modules(image, &mut |module| {
        direct.see(module);
        search.see(module);
    })?;
    let direct = direct.found();
    let findings = search.found(&direct);
    Ok((direct, findings))
}

/// Modules of one kind, with a mark and without.
#[derive(Default)]
struct Marked {
    with: Vec<Evidence>,
    without: Vec<Evidence>,
}

impl Marked {
    fn see(&mut self, module: &Module<'_>, mark: &Guid, offset: usize) {
        match find(module.body, mark.bytes()) {
            Some(at) => self.with.push(Evidence::new(module, at)),
            None => self.without.push(Evidence::new(module, offset)),
        }
    }

    /// One without the mark is enough to leave a hole open.
    fn state(self) -> State {
        match self.with.into_iter().next() {
            _ if !self.without.is_empty() => State::Open { found: self.without },
            Some(by) => State::Marked { by },
            None => State::Absent,
        }
    }
}

#[derive(Default)]
struct Search {
    /// Boot managers that know a boot loader's name, and drivers that would bring one.
    starters: Marked,
    readers: Vec<Evidence>,
    buses: Marked,
    /// Security cores that are marked, and those that were seen to ask for S3; and all of them.
    cores: Marked,
    seen_cores: usize,
}

impl Search {
    fn see(&mut self, module: &Module<'_>) {
        let body = module.body;
        match module.kind {
            FileKind::SecurityCore => self.core(module),
            FileKind::Driver => {
                if let Some(at) = find(body, &utf16(BOOT_LOADER)) {
                    self.starters.see(module, &NOTHING_ELSE_BOOTS, at);
                }
                if let Some(at) = reader_at(body) {
                    self.readers.push(Evidence::new(module, at));
                }
                if find(body, PCI_ROOT_BRIDGE_IO.bytes()).is_some()
                    && let Some(at) = find(body, BUS_SPECIFIC_OVERRIDE.bytes())
                {
                    self.buses.see(module, &NO_OPTION_ROMS, at);
                }
            }
            FileKind::Other => {}
        }
    }

    fn core(&mut self, module: &Module<'_>) {
        self.seen_cores += 1;
        if find(module.body, NEVER_RESUMES.bytes()).is_some() {
            self.cores.see(module, &NEVER_RESUMES, 0);
        } else if let Some(at) = resume_at(module.body) {
            self.cores.see(module, &NEVER_RESUMES, at);
        }
    }

    fn found(self, direct_boot: &DirectBoot) -> Vec<Finding> {
        let fallback = match self.starters.state() {
            marked @ State::Marked { .. } => marked,
            _ if self.readers.is_empty() => State::Absent,
            State::Open { mut found } => {
                found.extend(self.readers);
                State::Open { found }
            }
            _ => State::Open { found: self.readers },
        };
        // A core that was neither marked nor seen to ask may ask in another way.
        let told = self.cores.with.len() + self.cores.without.len();
        let resume = match self.cores.without.is_empty() && told != self.seen_cores.max(1) {
            true => State::NotVisible,
            false => self.cores.state(),
        };
        // A loader that reads names is younger than the change (see `direct_boot`).
        let stops = match (&direct_boot.verifier, &direct_boot.named_blobs) {
            (None, _) | (_, NamedBlobs::NotRead) => State::NotVisible,
            _ => State::Absent,
        };
        let states = [fallback, self.buses.state(), resume, stops, State::NotVisible];
        RULES.into_iter().zip(states).map(|(rule, state)| Finding { rule, state }).collect()
    }
}

/// A driver of devices that reads file systems of disks, or fetches boot loaders.
fn reader_at(body: &[u8]) -> Option<usize> {
    let has = |guid: &Guid| find(body, guid.bytes());
    has(&DRIVER_BINDING)?;
    has(&DISK_IO)
        .and(has(&SIMPLE_FILE_SYSTEM))
        .or_else(|| has(&PXE_BASE_CODE).or_else(|| has(&HTTP_BINDING)).and(has(&LOAD_FILE)))
}

/// Where the security core compares CMOS byte 0xf, read through port 0x71, with 0xfe: the host's
/// word that the machine resumes (edk2, OvmfPkg/Sec/SecMain.c, `IsS3Resume`). Both as compilers
/// write them: the port as a 32-bit operand, and soon after it `cmp al, 0xfe`.
fn resume_at(body: &[u8]) -> Option<usize> {
    const PORT: &[u8] = &0x71u32.to_le_bytes();
    const COMPARE: &[u8] = &[0x3c, 0xfe];
    const NEAR: usize = 24;
    let ports = body.windows(PORT.len()).enumerate().filter(|(_, window)| *window == PORT);
    let mut after = ports.map(|(at, _)| at + PORT.len());
    after.find_map(|start| {
        let rest = body.get(start..)?;
        let near = rest.get(..NEAR).unwrap_or(rest);
        find(near, COMPARE).map(|at| start + at)
    })
}

/// UEFI 2.10, section 3.5.1.1, "Removable Media Boot Behavior".
const BOOT_LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";

// The GUIDs of the protocols of these names, which UEFI 2.10 gives with each. A bus driver makes the
// "bus specific driver override" for the drivers that it found in an option ROM.
const DRIVER_BINDING: Guid =
    Guid::new(0x18a0_31ab, 0xb443, 0x4d1a, [0xa5, 0xc0, 0x0c, 0x09, 0x26, 0x1e, 0x9f, 0x71]);
const BUS_SPECIFIC_OVERRIDE: Guid =
    Guid::new(0x3bc1_b285, 0x8a15, 0x4a82, [0xaa, 0xbf, 0x4d, 0x7d, 0x13, 0xfb, 0x32, 0x65]);
const LOAD_FILE: Guid =
    Guid::new(0x56ec_3091, 0x954c, 0x11d2, [0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b]);
const SIMPLE_FILE_SYSTEM: Guid =
    Guid::new(0x964e_5b22, 0x6459, 0x11d2, [0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b]);
const DISK_IO: Guid =
    Guid::new(0xce34_5171, 0xba0b, 0x11d2, [0x8e, 0x4f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b]);
const PCI_ROOT_BRIDGE_IO: Guid =
    Guid::new(0x2f70_7ebb, 0x4a1a, 0x11d4, [0x9a, 0x38, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d]);
const PXE_BASE_CODE: Guid =
    Guid::new(0x03c4_e603, 0xac28, 0x11d3, [0x9a, 0x2d, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d]);
const HTTP_BINDING: Guid =
    Guid::new(0xbdc8_e6af, 0xd9bc, 0x4379, [0xa7, 0x2a, 0xe0, 0xc4, 0xe7, 0x5d, 0xae, 0x1c]);
