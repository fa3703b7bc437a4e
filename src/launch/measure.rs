//! From inputs to digests. A [`Launch`] is everything up to the vCPUs, computed once; the digests
//! of a [`Set`] then cost two page hashes for each CPU and feature set and one short hash for each
//! vCPU of the largest count.

use super::cpu::{Cpu, Signature};
use super::features::SevFeatures;
use super::firmware::{Firmware, Section, SectionKind};
use super::hash_table::HashTable;
use super::page::{Chain, PAGE_SIZE, PageType, Update};
use super::profile::Profile;
use super::vmsa::{BSP_EIP, VMSA_GPA};
use crate::digest::Sha384;

/// The most vCPUs that a digest is computed for. KVM's own limit is 4096.
pub const MAX_VCPUS: u32 = 4096;

/// A launch as far as it does not depend on the vCPUs.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    profile: &'static Profile,
    reset_eip: Option<u32>,
    chain: Chain,
}

/// Parameters to compute digests for: all combinations, none of them twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Set {
    vcpus: Vec<u32>,
    cpus: Vec<Cpu>,
    features: Vec<SevFeatures>,
}

/// One digest of a set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Digest {
    /// The number of vCPUs.
    pub vcpus: u32,
    /// The CPU.
    pub cpu: Cpu,
    /// SEV_FEATURES.
    pub features: SevFeatures,
    /// The launch digest.
    pub digest: Sha384,
}

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The firmware is not for SNP.
    #[error(
        "firmware has no SEV metadata: expected an OVMF built for SEV-SNP, such as `OVMF.amdsev.fd`"
    )]
    NoMetadata,
    /// The kernel would not be in the digest.
    #[error(
        "firmware has no kernel-hashes section (type 0x10 of the SEV metadata): kernel, initrd and command line would not be \
         measured; use an AmdSev build of OVMF, such as Debian's `ovmf-amdsev`"
    )]
    NoHashSection,
    /// The kernel would not be in the digest.
    #[error(
        "firmware has a kernel-hashes section but gives no address for the SEV hash table (table \
         entry 7255371f-3a3b-4b04-927b-1da6efa8d454): expected both; use an AmdSev build of OVMF, such as Debian's `ovmf-amdsev`"
    )]
    NoHashTable,
    /// Where the other vCPUs start is unknown.
    #[error(
        "{vcpus} vCPUs, but the firmware has no SEV-ES reset block (table entry \
         00f771de-1a7e-4fcb-890e-68c77e2fb44e) or gives the address 0 in it: only one vCPU can be \
         measured"
    )]
    NoResetAddress {
        /// The vCPUs asked for.
        vcpus: u32,
    },
}

/// A set of parameters that is empty, repeated or out of range.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A vCPU count out of range.
    #[error("{0} vCPUs: expected 1 to {MAX_VCPUS}")]
    Vcpus(u32),
    /// Nothing to compute.
    #[error("no {0} given: expected at least one")]
    Empty(&'static str),
    /// A value twice.
    #[error("{what} `{value}` is given twice")]
    Repeated {
        /// Which list.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A CPU whose name and signature disagree.
    #[error(transparent)]
    Cpu(#[from] super::cpu::CpuError),
}

impl Launch {
    /// Adds everything before the vCPUs. `image` is the digest after the firmware's pages, from
    /// [`super::page::image_digest`] or from a record. `hashes` is `None` with `kernel-hashes=off`:
    /// the hash page is then a zero page, and what the host boots is not in the digest.
    pub fn new(
        profile: &'static Profile,
        firmware: &Firmware,
        image: Sha384,
        hashes: Option<&HashTable>,
    ) -> Result<Self, LaunchError> {
        let mut chain = Chain::from(image);
        for update in updates(profile, firmware, hashes)? {
            chain.add(&update);
        }
        Ok(Self { profile, reset_eip: firmware.reset_eip(), chain })
    }

    /// The digest before the first vCPU.
    pub fn digest_before_vcpus(&self) -> Sha384 {
        self.chain.digest()
    }

    /// How the VMM launches.
    pub fn profile(&self) -> &'static Profile {
        self.profile
    }

    /// The VMSAs, first to last.
    pub fn vmsas(
        &self,
        vcpus: u32,
        signature: Signature,
        features: SevFeatures,
    ) -> Result<impl Iterator<Item = [u8; PAGE_SIZE as usize]>, LaunchError> {
        let pages = self.profile.vcpu.pages(vcpus, self.reset_eip, signature, features);
        pages.ok_or(LaunchError::NoResetAddress { vcpus })
    }

    /// The digests of a set, in its order: by vCPU count, then CPU, then features.
    pub fn digests(&self, set: &Set) -> Result<Vec<Digest>, LaunchError> {
        let mut columns = Vec::new();
        for cpu in &set.cpus {
            for &features in &set.features {
                let digests = self.counts(&set.vcpus, cpu.signature, features)?;
                columns.push((cpu, features, digests.into_iter()));
            }
        }
        let mut rows = Vec::new();
        for &vcpus in &set.vcpus {
            for (cpu, features, digests) in &mut columns {
                rows.extend(digests.next().map(|digest| Digest {
                    vcpus,
                    cpu: (*cpu).clone(),
                    features: *features,
                    digest,
                }));
            }
        }
        Ok(rows)
    }

    fn vmsa(&self, eip: u32, signature: Signature, features: SevFeatures) -> Update {
        let page = self.profile.vcpu.page(eip, signature, features);
        Update::hashed(PageType::Vmsa, VMSA_GPA, &page)
    }

    /// The digests for ascending vCPU counts: each count goes on where the one before it ended.
    fn counts(
        &self,
        counts: &[u32],
        signature: Signature,
        features: SevFeatures,
    ) -> Result<Vec<Sha384>, LaunchError> {
        let vmsa = |eip| self.vmsa(eip, signature, features);
        let bsp = vmsa(BSP_EIP);
        let ap = self.reset_eip.map(vmsa);
        let (mut chain, mut added) = (self.chain, 0);
        let mut digests = Vec::new();
        for &vcpus in counts {
            while added < vcpus {
                let update = match added {
                    0 => &bsp,
                    _ => ap.as_ref().ok_or(LaunchError::NoResetAddress { vcpus })?,
                };
                chain.add(update);
                added += 1;
            }
            digests.push(chain.digest());
        }
        Ok(digests)
    }
}

impl Set {
    /// Checks the lists; vCPU counts and features are sorted, CPUs keep their order.
    pub fn new(
        mut vcpus: Vec<u32>,
        cpus: Vec<Cpu>,
        mut features: Vec<SevFeatures>,
    ) -> Result<Self, SetError> {
        vcpus.sort_unstable();
        features.sort_unstable();
        if let Some(&count) = vcpus.iter().find(|count| !(1..=MAX_VCPUS).contains(*count)) {
            return Err(SetError::Vcpus(count));
        }
        for cpu in &cpus {
            cpu.check()?;
        }
        check_list("vCPU count", vcpus.iter().map(u32::to_string).collect())?;
        let mut labels: Vec<String> = cpus.iter().map(Cpu::label).collect();
        labels.sort_unstable();
        check_list("CPU", labels)?;
        check_list("feature set", features.iter().map(SevFeatures::to_string).collect())?;
        Ok(Self { vcpus, cpus, features })
    }

    /// The vCPU counts, ascending.
    pub fn vcpus(&self) -> &[u32] {
        &self.vcpus
    }

    /// The CPUs.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// The feature sets, ascending.
    pub fn features(&self) -> &[SevFeatures] {
        &self.features
    }
}

/// `values` has equal ones side by side.
fn check_list(what: &'static str, values: Vec<String>) -> Result<(), SetError> {
    if values.is_empty() {
        return Err(SetError::Empty(what));
    }
    let repeated = values.windows(2).find(|pair| pair.first() == pair.last());
    match repeated.and_then(<[String]>::first) {
        Some(value) => Err(SetError::Repeated { what, value: value.clone() }),
        None => Ok(()),
    }
}

/// The updates for the metadata sections, in the profile's order.
pub fn updates(
    profile: &Profile,
    firmware: &Firmware,
    hashes: Option<&HashTable>,
) -> Result<impl Iterator<Item = Update>, LaunchError> {
    if firmware.sections().is_empty() {
        return Err(LaunchError::NoMetadata);
    }
    let hash_page = hashes.map(|hashes| hash_page(firmware, hashes)).transpose()?;
    let sec_mem = profile.sec_mem;
    let late = |section: &&Section| profile.cpuid_last && section.kind == SectionKind::Cpuid;
    let (last, first): (Vec<&Section>, Vec<&Section>) = firmware.sections().iter().partition(late);
    Ok(first.into_iter().chain(last).flat_map(move |section| {
        let kind = match section.kind {
            SectionKind::SecMem => sec_mem,
            SectionKind::Secrets => PageType::Secrets,
            SectionKind::Cpuid => PageType::Cpuid,
            // QEMU sends a hash page without a table as ZERO, not as a normal page of zeros.
            SectionKind::SvsmCaa | SectionKind::KernelHashes => PageType::Zero,
        };
        let hashed = hash_page.filter(|_| section.kind == SectionKind::KernelHashes);
        (0..section.size / PAGE_SIZE).map(move |page| {
            let gpa = u64::from(section.gpa) + u64::from(page * PAGE_SIZE);
            hashed.unwrap_or_else(|| Update::placed(kind, gpa))
        })
    }))
}

fn hash_page(firmware: &Firmware, hashes: &HashTable) -> Result<Update, LaunchError> {
    let section = firmware.hash_page().ok_or(LaunchError::NoHashSection)?;
    let area = firmware.hash_table().ok_or(LaunchError::NoHashTable)?;
    let page = hashes.page(area.gpa).ok_or(LaunchError::NoHashTable)?;
    Ok(Update::hashed(PageType::Normal, section.gpa.into(), &page))
}
