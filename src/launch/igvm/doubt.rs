//! What is wrong with a launch that has a digest all the same: the format allows it, other
//! calculators print it, and no machine will attest it.

use std::fmt;

/// Why no SEV-SNP guest comes of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// There is nothing for a vCPU to start with.
    NoVmsa,
    /// A vCPU that the processor would not run as one of an SNP guest.
    NotSnp {
        /// Which one.
        vcpu: u16,
        /// Its SEV_FEATURES.
        features: u64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVmsa => f.write_str(
                "no VMSA for SEV-SNP: no vCPU starts from this file alone, and those that the VMM \
                 adds are measured too, so no machine attests these digests",
            ),
            Self::NotSnp { vcpu, features } => write!(
                f,
                "the VMSA of vCPU {vcpu} has sev_features {features:#x}, without bit 0 (SNP active): \
                 no SEV-SNP guest starts so, and no machine attests these digests"
            ),
        }
    }
}
