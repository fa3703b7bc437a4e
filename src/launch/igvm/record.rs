//! The record of an IGVM file that was written as a second form of an image, `igvm.json`: which file,
//! what is in it, and the digest that its launch attests.
//!
//! The file by itself is all that the digest is computed from; this says what the file must be. From
//! the record alone the vCPUs' part of the digest can be computed again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::profile::{IgvmProfile, QEMU};
use crate::digest::{Sha256, Sha384};
use crate::launch::cpu::Signature;
use crate::launch::features::{Policy, SevFeatures};
use crate::launch::firmware::Firmware;
use crate::launch::page::{Chain, PAGE_SIZE, PageType, Update};
use crate::launch::profile::Profile;
use crate::launch::record::{Address, Blob, Boot};
use crate::launch::vmsa::VMSA_GPA;

/// The version of the record's form.
///
/// # Changelog
/// 1: firmware, kernel, initrd and command line as measured pages.
pub const VERSION: u32 = 1;

/// What an IGVM file is and attests. The order of the fields is the order in the file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IgvmRecord {
    /// [`VERSION`].
    pub version: u32,
    /// The program that wrote the record, and its version.
    pub tool: String,
    /// The rules by which the file and what is in it were written.
    pub writers: BTreeMap<String, String>,
    /// How the VMM launches from the file ([`IgvmProfile::id`]).
    pub profile: String,
    /// The policy in the file. Not in the digest; in the report.
    pub policy: Policy,
    /// The IGVM file.
    pub file: Blob,
    /// The firmware image in it.
    pub firmware: Sha256,
    /// Kernel, initrd and command line in it.
    pub boot: Boot,
    /// Where vCPUs other than the first start.
    pub reset_eip: Option<Address>,
    /// The number of vCPUs, which is the file's: another number is another file.
    pub vcpus: u32,
    /// SEV_FEATURES of each.
    pub sev_features: SevFeatures,
    /// The digest before the first vCPU.
    pub digest_before_vcpus: Sha384,
    /// The launch digest, on whatever CPU model.
    pub digest: Sha384,
}

/// A record of an IGVM file that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum IgvmRecordError {
    /// Not a record.
    #[error("record of the IGVM file is not readable")]
    Json(#[from] serde_json::Error),
    /// Another version's record, or other rules.
    #[error("record of the IGVM file has version {version} and profile `{profile}`: expected {VERSION} and `{}`", QEMU.id)]
    Version {
        /// The version found.
        version: u32,
        /// The profile found.
        profile: String,
    },
    /// The right values in another spelling, or a key twice.
    #[error(
        "record of the IGVM file differs from its canonical form: expected the bytes that `build` wrote"
    )]
    NotCanonical,
    /// There is no such vCPU.
    #[error(
        "{0} vCPUs cannot be in an IGVM file: expected 1 to 65536, and one where the firmware does not say where the others start"
    )]
    Vcpus(u32),
    /// The digest is wrong.
    #[error("digest is recorded as `{recorded}`, but the record's vCPUs give `{found}`")]
    Digest {
        /// What the record says.
        recorded: Sha384,
        /// What it gives.
        found: Sha384,
    },
}

/// The profile by whose rules such a record's digest is computed.
pub const PROFILE: &IgvmProfile = &QEMU;

/// The vCPUs of an IGVM file of ours: as a VMM without one starts them ([`Profile`] `qemu`), but with
/// nothing of the CPU's model in them, which OVMF does not ask for.
///
/// # Errors
/// When there are none, too many, or it is not known where those after the first start.
pub fn vcpus(
    firmware: &Firmware,
    count: u32,
    features: SevFeatures,
) -> Result<Vec<[u8; PAGE_SIZE as usize]>, IgvmRecordError> {
    pages(firmware.reset_eip(), count, features)
}

fn pages(
    reset_eip: Option<u32>,
    count: u32,
    features: SevFeatures,
) -> Result<Vec<[u8; PAGE_SIZE as usize]>, IgvmRecordError> {
    let wrong = || IgvmRecordError::Vcpus(count);
    let profile = Profile::by_id("qemu").map_err(|_| wrong())?;
    let pages = (1..=1 << 16)
        .contains(&count)
        .then(|| profile.vcpu.pages(count, reset_eip, Signature(0), features))
        .flatten();
    Ok(pages.ok_or_else(wrong)?.collect())
}

impl IgvmRecord {
    /// The canonical bytes: JSON with two spaces of indentation and a newline at the end.
    ///
    /// # Errors
    /// None in practice: every value can be written.
    pub fn to_json(&self) -> Result<Vec<u8>, IgvmRecordError> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads a record and computes its digest anew from the one before the vCPUs.
    ///
    /// # Errors
    /// When it is none, or does not hold together.
    pub fn from_json(json: &[u8]) -> Result<Self, IgvmRecordError> {
        let record: Self = serde_json::from_slice(json)?;
        if record.version != VERSION || record.profile != PROFILE.id {
            let Self { version, profile, .. } = record;
            return Err(IgvmRecordError::Version { version, profile });
        }
        if record.to_json()? != json {
            return Err(IgvmRecordError::NotCanonical);
        }
        let mut chain = Chain::from(record.digest_before_vcpus);
        let reset_eip = record.reset_eip.map(|Address(eip)| eip);
        for page in pages(reset_eip, record.vcpus, record.sev_features)? {
            chain.add(&Update::hashed(PageType::Vmsa, VMSA_GPA, &page));
        }
        match chain.digest() == record.digest {
            true => Ok(record),
            false => {
                Err(IgvmRecordError::Digest { recorded: record.digest, found: chain.digest() })
            }
        }
    }
}
