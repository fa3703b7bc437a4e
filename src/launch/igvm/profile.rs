//! How VMMs turn an IGVM file into a launch. The file says what to add and in which order; what is
//! left to the VMM, and differs, is here as data.

use crate::launch::page::PageType;
use crate::launch::profile::{Evidence, UnknownProfile};

/// One way to launch from an IGVM file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IgvmProfile {
    /// The name, in every result.
    pub id: &'static str,
    /// Which hypervisors, and since when.
    pub covers: &'static str,
    /// How far it is known to be true.
    pub evidence: Evidence,
    /// Where its rules are from.
    pub sources: &'static [&'static str],
    /// What a page without data is: a normal page of zeros, or a page that the AMD firmware clears.
    pub zero: PageType,
    /// Whether a page that the file calls shared with the host is added, too.
    pub shared: bool,
    /// The order in which the directives take effect.
    pub order: Order,
}

/// When a directive takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Where the file has it.
    File,
    /// As QEMU and KVM do it. A run of adjacent pages is held back until the next run begins or the
    /// file ends, so parameters that follow a run are added before it; the VMSAs come last, in the
    /// order of the vCPUs; and they must be such that KVM can have them.
    Kvm,
}

impl IgvmProfile {
    /// The profile of this name.
    pub fn by_id(id: &str) -> Result<&'static Self, UnknownProfile> {
        let known = PROFILES.iter().find(|profile| profile.id == id);
        known.ok_or_else(|| UnknownProfile::new(id, PROFILES.iter().map(|profile| profile.id)))
    }
}

/// Every profile.
pub const PROFILES: &[IgvmProfile] = &[IGVM, NATIVE_ZERO, QEMU];

const IGVM: IgvmProfile = IgvmProfile {
    id: "igvm",
    covers: "a VMM that does what the format says: every directive in its place, zeros as pages",
    evidence: Evidence::Source,
    sources: &[
        "microsoft/igvm 0.5, igvm_defs, IGVM_VHS_PAGE_DATA, and measurement/snp.rs",
        "coconut-svsm f4bc4bc, tools/igvmmeasure",
    ],
    zero: PageType::Normal,
    shared: false,
    order: Order::File,
};

const NATIVE_ZERO: IgvmProfile = IgvmProfile {
    id: "igvm-native-zero",
    covers: "Google's Vanadium: a page without data is cleared by the AMD firmware",
    evidence: Evidence::Source,
    sources: &["coconut-svsm f4bc4bc, tools/igvmmeasure, --native-zero"],
    zero: PageType::Zero,
    shared: true,
    order: Order::File,
};

pub(super) const QEMU: IgvmProfile = IgvmProfile {
    id: "igvm-qemu",
    covers: "QEMU 10.1 and later on KVM",
    evidence: Evidence::Source,
    sources: &[
        "qemu 10.1, backends/igvm.c, qigvm_process_mem_page",
        "qemu 10.1, target/i386/sev.c, cgs_set_guest_state and check_vmsa_supported",
        "coconut-svsm f4bc4bc, tools/igvmmeasure, --check-kvm",
        "linux, arch/x86/kvm: svm_set_cr4, svm_set_efer, __set_regs, sev_es_sync_vmsa",
    ],
    zero: PageType::Normal,
    shared: true,
    order: Order::Kvm,
};
