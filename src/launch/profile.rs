//! VMM profiles: how one hypervisor, over one span of time, launches a guest. They are data, and
//! each says where it is from, because hypervisors change without notice and the digest with them.

use super::page::PageType;
use super::vmsa::{Rdx, VcpuState};

/// One way to launch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Profile {
    /// The name, in every record and result.
    pub id: &'static str,
    /// Which hypervisors, and since when.
    pub covers: &'static str,
    /// Since when hypervisors launch so, as far as is known: a year, or year and month.
    pub since: Option<&'static str>,
    /// Until when they did.
    pub until: Option<&'static str>,
    /// When the sources were last looked at.
    pub as_of: &'static str,
    /// How far it is known to be true.
    pub evidence: Evidence,
    /// Where its values are from.
    pub sources: &'static [&'static str],
    /// How memory for the firmware is added.
    pub sec_mem: PageType,
    /// Whether the CPUID page comes after all other sections, rather than in its place.
    pub cpuid_last: bool,
    /// The vCPUs.
    pub vcpu: VcpuState,
}

/// How far a profile is known to be true.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// A signed attestation report carried a digest that the profile gives.
    Report,
    /// Read from source, or from another calculator; no report seen.
    Source,
    /// Only another calculator's rules: the VMM's own source, where it was read, launches in another
    /// way. For comparing with that calculator, not with a machine.
    Calculator,
}

impl Profile {
    /// The profile of this name.
    pub fn by_id(id: &str) -> Result<&'static Self, UnknownProfile> {
        let known = PROFILES.iter().find(|profile| profile.id == id);
        known.ok_or_else(|| UnknownProfile::new(id, PROFILES.iter().map(|profile| profile.id)))
    }
}

/// A name that no profile has.
#[derive(Debug, thiserror::Error)]
#[error("unknown VMM profile `{name}`: expected {known}")]
pub struct UnknownProfile {
    name: String,
    known: String,
}

impl UnknownProfile {
    /// Says which names there are.
    pub(super) fn new<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<String> = known.map(|id| format!("`{id}`")).collect();
        Self { name: name.to_owned(), known: known.join(", ") }
    }
}

/// Every profile.
pub const PROFILES: &[Profile] = &[QEMU, QEMU_LEGACY, EC2, EC2_2023, GCE, KRUN];

const QEMU: Profile = Profile {
    id: "qemu",
    covers: "QEMU on KVM of Linux 6.10 and later",
    since: Some("2024-07"),
    until: None,
    as_of: "2026-11",
    evidence: Evidence::Report,
    sources: &[
        "virtee/sev-snp-measure 0.0.13, sevsnpmeasure/vmsa.py, pull request 48",
        "qemu 10.2, target/i386/sev.c, snp_populate_metadata_pages",
    ],
    sec_mem: PageType::Zero,
    cpuid_last: false,
    vcpu: VcpuState {
        cs_bsp: 0x9b,
        cs_ap: 0x9b,
        ss: 0x93,
        tr: 0x8b,
        rdx: Rdx::Signature,
        g_pat: RESET_PAT,
        // QEMU's own VMSA leaves both zero on the other vCPUs, and KVM overwrites them at
        // LAUNCH_FINISH: reports of guests with several vCPUs agree with these values.
        mxcsr: 0x1f80,
        fcw: 0x37f,
    },
};

const QEMU_LEGACY: Profile = Profile {
    id: "qemu-legacy",
    covers: "QEMU on KVM before Linux 6.10, and AMD's SNP trees of that time",
    since: None,
    until: Some("2024-07"),
    evidence: Evidence::Source,
    sources: &["virtee/sev-snp-measure, pull request 48, the state before it"],
    vcpu: VcpuState { mxcsr: 0, fcw: 0, ..QEMU.vcpu },
    ..QEMU
};

const EC2: Profile = Profile {
    id: "ec2",
    covers: "AWS EC2 since 2026",
    since: Some("2026"),
    until: None,
    as_of: "2026-11",
    evidence: Evidence::Source,
    sources: &["virtee/sev-snp-measure 0.0.13, commit 4a02bf0, pull request 60", "aws/uefi#19"],
    sec_mem: PageType::Zero,
    cpuid_last: true,
    vcpu: VcpuState {
        cs_bsp: 0x9a,
        cs_ap: 0x9b,
        ss: 0x92,
        tr: 0x83,
        rdx: Rdx::Fixed(INTEL_RESET_RDX),
        g_pat: RESET_PAT,
        mxcsr: 0,
        fcw: 0,
    },
};

const EC2_2023: Profile = Profile {
    id: "ec2-2023",
    covers: "AWS EC2 from 2023 to 2025",
    since: Some("2023"),
    until: Some("2025"),
    evidence: Evidence::Report,
    sources: &[
        "virtee/sev-snp-measure before commit 4a02bf0",
        "virtee/sev 8.0, tests/measurement.rs",
    ],
    vcpu: VcpuState { rdx: Rdx::Fixed(0), ..EC2.vcpu },
    ..EC2
};

const GCE: Profile = Profile {
    id: "gce",
    covers: "Google Compute Engine",
    since: None,
    until: None,
    as_of: "2026-11",
    evidence: Evidence::Source,
    sources: &[
        "virtee/sev-snp-measure 0.0.13, sevsnpmeasure/vmsa.py and guest.py",
        "google/gce-tcb-verifier, sev/measurement.go",
    ],
    sec_mem: PageType::Unmeasured,
    cpuid_last: false,
    vcpu: VcpuState {
        rdx: Rdx::Fixed(INTEL_RESET_RDX),
        // The hypervisor writes its own PAT over the one at reset.
        g_pat: 0x0007_0106,
        mxcsr: 0,
        fcw: 0,
        ..QEMU.vcpu
    },
};

const KRUN: Profile = Profile {
    id: "krun",
    covers: "libkrun with an OVMF image, by the rules of the `sev` crate",
    since: None,
    until: None,
    evidence: Evidence::Calculator,
    sources: &[
        "virtee/sev 8.0, src/measurement/vmsa.rs, build_save_area",
        // It starts qboot, a kernel and an initrd of its own from fixed pages.
        "libkrun 6ed74fa, src/vmm/src/linux/tee/amdsnp/mod.rs, vm_measure: reads no OVMF metadata",
    ],
    cpuid_last: false,
    vcpu: VcpuState { cs_ap: 0x9a, ..EC2_2023.vcpu },
    ..EC2_2023
};

/// The PAT at reset (APM, section 7.8.2).
const RESET_PAT: u64 = 0x0007_0406_0007_0406;

/// What RDX holds at reset on an Intel CPU of family 6, and in some VMMs on every CPU.
const INTEL_RESET_RDX: u64 = 0x600;
