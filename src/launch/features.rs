//! The two 64-bit words that say what kind of SNP guest this is: `SEV_FEATURES` of the VMSA, which
//! is in the digest, and the guest policy, which is not (a report carries it beside the digest).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hex;

/// `SEV_FEATURES` (VMSA offset 0x3b0; APM, table B-4). Any value is accepted: bits are defined over
/// time, and the digest covers them whether or not they have a name here.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SevFeatures(#[serde(with = "hex")] pub u64);

/// The guest policy of SNP_LAUNCH_START (SNP ABI, section 4.3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Policy(#[serde(with = "hex")] pub u64);

/// A policy that no guest starts with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// The bit that must be one.
    #[error("policy {policy} lacks bit 17, without which no guest starts: expected it to be one")]
    Missing {
        /// The policy.
        policy: Policy,
    },
    /// Bits that must be zero.
    #[error("policy {policy} has reserved bits: {bits}: expected 26 to 63 to be zero")]
    Reserved {
        /// The policy.
        policy: Policy,
        /// Which of them are set.
        bits: String,
    },
}

impl SevFeatures {
    /// What QEMU on current KVM sets: SNP, and nothing else.
    pub const SNP: Self = Self(1);

    /// The bits that are set, by name, lowest first; `bit N` for one without a name.
    pub fn names(self) -> Vec<String> {
        names(self.0, FEATURES)
    }
}

impl Policy {
    /// QEMU's default: SMT allowed, and the bit that must be one.
    pub const QEMU_DEFAULT: Self = Self(0x3_0000);

    /// The host may read and write the guest's memory through the debug commands.
    pub fn debug(self) -> bool {
        self.0 & 1 << 19 != 0
    }

    /// The host may let a migration agent take the guest's memory elsewhere.
    pub fn migrate_ma(self) -> bool {
        self.0 & 1 << 18 != 0
    }

    /// Checks the bits that have only one value, without which no guest starts (SNP ABI, table
    /// "Guest Policy Structure"): 17 is one, 26 to 63 are zero.
    pub fn check(self) -> Result<(), PolicyError> {
        let reserved = Self(self.0 & RESERVED);
        if self.0 & 1 << 17 == 0 {
            return Err(PolicyError::Missing { policy: self });
        }
        match reserved.0 {
            0 => Ok(()),
            _ => Err(PolicyError::Reserved { policy: self, bits: reserved.names().join(", ") }),
        }
    }

    /// The bits above the ABI version that are set, by name, lowest first.
    pub fn names(self) -> Vec<String> {
        names(self.0 & !0xffff, POLICY)
    }
}

impl fmt::Display for SevFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Bits 26 to 63 of a policy.
const RESERVED: u64 = !0 << 26;

fn names(value: u64, table: &[(u32, &str)]) -> Vec<String> {
    let name = |bit: u32| match table.iter().find(|(known, _)| *known == bit) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("bit {bit}"),
    };
    (0..u64::BITS).filter(|bit| value >> bit & 1 == 1).map(name).collect()
}

/// APM, table B-4 and section 15.36; 16 and 21 from the kernel's `asm/svm.h` of 2026.
const FEATURES: &[(u32, &str)] = &[
    (0, "SNP_ACTIVE"),
    (1, "VTOM"),
    (2, "REFLECT_VC"),
    (3, "RESTRICTED_INJECTION"),
    (4, "ALTERNATE_INJECTION"),
    (5, "DEBUG_SWAP"),
    (6, "PREVENT_HOST_IBS"),
    (7, "BTB_ISOLATION"),
    (8, "VMPL_SSS"),
    (9, "SECURE_TSC"),
    (10, "VMGEXIT_PARAMETER"),
    (12, "IBS_VIRTUALIZATION"),
    (14, "VMSA_REG_PROT"),
    (15, "SMT_PROTECTION"),
    (16, "SECURE_AVIC"),
    (21, "IBPB_ON_ENTRY"),
];

/// SNP ABI, table "Guest Policy Structure".
const POLICY: &[(u32, &str)] = &[
    (16, "SMT"),
    (17, "RESERVED_ONE"),
    (18, "MIGRATE_MA"),
    (19, "DEBUG"),
    (20, "SINGLE_SOCKET"),
    (21, "CXL_ALLOW"),
    (22, "MEM_AES_256_XTS"),
    (23, "RAPL_DIS"),
    (24, "CIPHERTEXT_HIDING"),
    (25, "PAGE_SWAP_DISABLE"),
];
