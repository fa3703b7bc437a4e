//! The launch digests of SEV and SEV-ES, for guests that are not SNP yet: one SHA-256 over all that
//! was added, in order, with no places and no types (SEV API, AMD publication 55766, section 6.5,
//! where it is `GCTX.LD`; the `LAUNCH_MEASURE` that a guest owner gets is a MAC over it).

use sha2::Digest as _;

use super::cpu::Signature;
use super::features::SevFeatures;
use super::firmware::Firmware;
use super::hash_table::HashTable;
use super::page::PAGE_SIZE;
use super::profile::Profile;
use crate::digest::Sha256;

/// A launch without SNP, as far as it has come. QEMU adds the firmware image, then the SEV hash
/// table (`sev_add_kernel_loader_hashes`), then, for SEV-ES, the vCPUs (`sev_launch_update_vmsa`).
#[derive(Clone, Debug, Default)]
pub struct SevLaunch(sha2::Sha256);

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum SevError {
    /// The kernel would not be in the digest.
    #[error(
        "firmware gives no address for the SEV hash table: kernel, initrd and command line would \
         not be measured; use an AmdSev build of OVMF, such as Debian's `ovmf-amdsev`"
    )]
    NoHashTable,
    /// Where the other vCPUs start is unknown.
    #[error(
        "{vcpus} vCPUs, but the firmware has no SEV-ES reset block or gives the address 0 in it: \
         only one vCPU can be measured"
    )]
    NoResetAddress {
        /// The vCPUs asked for.
        vcpus: u32,
    },
}

impl SevLaunch {
    /// Adds the next bytes of the firmware image.
    pub fn add_image(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds the hash table alone: without SNP it need not fill a page.
    pub fn add_hashes(&mut self, firmware: &Firmware, hashes: &HashTable) -> Result<(), SevError> {
        firmware.hash_table().ok_or(SevError::NoHashTable)?;
        self.0.update(hashes.bytes());
        Ok(())
    }

    /// Adds a vCPU's VMSA.
    pub fn add_vcpu(&mut self, page: &[u8]) {
        self.0.update(page);
    }

    /// The digest so far.
    pub fn digest(&self) -> Sha256 {
        Sha256(self.0.clone().finalize().into())
    }
}

/// The VMSAs of an SEV-ES guest, first to last. `SEV_FEATURES` is zero: its bits are for SNP.
pub fn vmsas(
    profile: &Profile,
    firmware: &Firmware,
    vcpus: u32,
    signature: Signature,
) -> Result<impl Iterator<Item = [u8; PAGE_SIZE as usize]>, SevError> {
    let pages = profile.vcpu.pages(vcpus, firmware.reset_eip(), signature, SevFeatures(0));
    pages.ok_or(SevError::NoResetAddress { vcpus })
}
