//! What a publisher says that a report must say beside the digest: the part of a policy of `verify` that is of the
//! release and not of the verifier. Whoever verifies may ask for more.

use serde::{Deserialize, Serialize};

use crate::digest::Sha384;
use crate::launch::Signature;
use crate::report::Product;
use crate::report::describe::hex;
use crate::report::fields::Signer;
use crate::report::policy::{self, Policy, ReportData};

/// What a report must say. The order of the fields is the order in the statement; what is missing may be anything.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Constraints {
    /// The lines of processors.
    pub products: Vec<Product>,
    /// Which keys may sign.
    pub signers: Vec<Signer>,
    /// The oldest TCB; the first that fits a processor decides.
    pub minimum_tcb: Vec<MinimumTcb>,
    /// Bits of the guest policy.
    pub guest_policy: Bits,
    /// Bits of the platform.
    pub platform: Bits,
    /// The privilege levels.
    pub vmpl: Vec<u32>,
    /// GUEST_SVN.
    pub minimum_guest_svn: u32,
    /// FAMILY_ID, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_id: Option<String>,
    /// IMAGE_ID, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// ID_KEY_DIGEST, one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_keys: Option<Vec<Sha384>>,
    /// AUTHOR_KEY_DIGEST, one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_keys: Option<Vec<Sha384>>,
    /// HOST_DATA, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_data: Option<String>,
    /// How REPORT_DATA is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_data_scheme: Option<Scheme>,
}

/// Bits by their names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bits {
    /// Which must not be set.
    pub deny: Vec<String>,
    /// Which must be set.
    pub require: Vec<String>,
}

/// The oldest TCB of some processors.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MinimumTcb {
    /// A line of processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    /// One processor, by CPUID Fn0000_0001.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Signature>,
    /// FMC.
    pub fmc: u8,
    /// The security processor's boot loader.
    pub bootloader: u8,
    /// Its operating system.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

/// How REPORT_DATA is made, as [`crate::report::binding`] explains.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Scheme {
    /// 64 bytes that the workload chooses.
    #[serde(rename = "urn:counterfoil:report-data:raw:v1")]
    Raw,
    /// The SHA-256 of a public key, then zeros.
    #[serde(rename = "urn:counterfoil:report-data:sha256-spki:v1")]
    Sha256Spki,
    /// What counterfoil's own agent makes of a nonce and of what the guest has bound.
    #[serde(rename = "urn:counterfoil:report-data:labelled:v1")]
    Labelled,
}

impl Scheme {
    /// The scheme by which a policy checks; none where it does not.
    pub fn of(data: ReportData) -> Option<Self> {
        match data {
            ReportData::Unchecked => None,
            ReportData::Raw(_) => Some(Self::Raw),
            ReportData::Sha256Spki(_) => Some(Self::Sha256Spki),
            ReportData::Labelled(_) => Some(Self::Labelled),
        }
    }

    /// Its name, as policies have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Sha256Spki => "sha256-spki",
            Self::Labelled => "labelled",
        }
    }
}

impl Constraints {
    /// The part of `policy` that is of the release.
    pub fn of(policy: &Policy) -> Self {
        let names = |bits: &[policy::Bit]| bits.iter().map(|bit| bit.name.to_owned()).collect();
        Self {
            products: policy.products.clone(),
            signers: policy.signers.clone(),
            minimum_tcb: policy.minimum_tcb.iter().map(MinimumTcb::from).collect(),
            guest_policy: Bits {
                deny: names(&policy.guest_policy.deny),
                require: names(&policy.guest_policy.require),
            },
            platform: Bits {
                deny: names(&policy.platform.deny),
                require: names(&policy.platform.require),
            },
            vmpl: policy.vmpl.clone(),
            minimum_guest_svn: policy.minimum_guest_svn,
            family_id: policy.family_id.map(|id| hex(&id)),
            image_id: policy.image_id.map(|id| hex(&id)),
            id_keys: policy.id_keys.clone(),
            author_keys: policy.author_keys.clone(),
            host_data: policy.host_data.map(|data| hex(&data)),
            report_data_scheme: Scheme::of(policy.report_data),
        }
    }
}

impl From<&policy::MinimumTcb> for MinimumTcb {
    fn from(tcb: &policy::MinimumTcb) -> Self {
        let policy::MinimumTcb { product, cpu, fmc, bootloader, tee, snp, microcode } = *tcb;
        Self { product, cpu, fmc, bootloader, tee, snp, microcode }
    }
}
