//! The launch, update by update: what was added, where, and the digest after it. Two traces side by
//! side show the first page in which two launches differ, which two digests never do.

use serde::Serialize;

use super::cpu::Signature;
use super::features::SevFeatures;
use super::firmware::Firmware;
use super::hash_table::HashTable;
use super::hex;
use super::measure::{Launch, LaunchError, updates};
use super::page::{Chain, PageType, Update};
use super::profile::Profile;
use super::vmsa::VMSA_GPA;
use crate::digest::Sha384;

/// One launch update.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// The page's type.
    #[serde(rename = "type")]
    pub kind: PageType,
    /// Where the guest sees it.
    #[serde(with = "hex")]
    pub gpa: u64,
    /// SHA-384 of the page if its type is hashed, else 48 zero bytes.
    pub contents: Sha384,
    /// The launch digest after it.
    pub digest: Sha384,
}

/// What a trace is of.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    /// How the VMM launches.
    pub profile: &'static Profile,
    /// What the firmware asks for.
    pub firmware: &'a Firmware,
    /// The digest after the firmware's pages.
    pub image: Sha384,
    /// What the firmware boots.
    pub hashes: Option<&'a HashTable>,
    /// How many vCPUs.
    pub vcpus: u32,
    /// The CPU.
    pub signature: Signature,
    /// SEV_FEATURES.
    pub features: SevFeatures,
}

impl Traced<'_> {
    /// Every update after the firmware's pages; for those see [`steps`] and [`super::page::image`].
    pub fn steps(&self) -> Result<Vec<Step>, LaunchError> {
        let launch = Launch::new(self.profile, self.firmware, self.image, self.hashes)?;
        let vmsas = launch.vmsas(self.vcpus, self.signature, self.features)?;
        let vmsas = vmsas.map(|page| Update::hashed(PageType::Vmsa, VMSA_GPA, &page));
        let sections = updates(self.profile, self.firmware, self.hashes)?;
        Ok(steps(self.image, sections.chain(vmsas)))
    }
}

/// The steps of `updates`, going on from the digest `from`.
pub fn steps(from: Sha384, updates: impl Iterator<Item = Update>) -> Vec<Step> {
    let mut chain = Chain::from(from);
    let step = |Update { kind, gpa, contents }| {
        chain.add(&Update { kind, gpa, contents });
        Step { kind, gpa, contents, digest: chain.digest() }
    };
    updates.map(step).collect()
}
