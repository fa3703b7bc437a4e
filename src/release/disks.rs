//! What the disks of a manifest ask of the rest of the guest: modules of the kernel, and directories that
//! are theirs alone.

use crate::error::{Error, Kind, Result};
use crate::kernel::config::Config;
use crate::manifest::Manifest;
use crate::names::{GuestPath, ModuleRequest, VolumeName};
use crate::release::needs::{self, Need};
use crate::tree::Tree;

/// For any disk.
const DISKS: [Need; 2] = [("BLK_DEV_DM", &["dm_mod"]), ("VIRTIO_BLK", &["virtio_blk"])];

/// For volumes.
const VOLUMES: [Need; 3] = [
    ("DM_VERITY", &["dm_verity"]),
    // dm-verity asks for it by name when a volume is opened.
    ("CRYPTO_SHA256", &["sha256_generic"]),
    ("EROFS_FS", &["erofs"]),
];

/// For scratch disks. AES-XTS by the processor's own instructions, which every processor with SEV-SNP has.
const SCRATCH: [Need; 3] = [
    ("DM_CRYPT", &["dm_crypt"]),
    ("CRYPTO_AES_NI_INTEL", &["aesni_intel"]),
    ("EXT4_FS", &["ext4"]),
];

/// The modules that PID 1 loads to open the manifest's disks.
///
/// # Errors
/// [`Kind::Malformed`] when the kernel cannot open them: the guest would find out at boot.
pub fn modules(manifest: &Manifest, config: &Config) -> Result<Vec<ModuleRequest>> {
    needed(!manifest.volumes.is_empty(), !manifest.scratch.is_empty(), config).map_err(|option| {
        let message = format!(
            "input `{}`: the guest could not open the manifest's disks: its kernel lacks CONFIG_{option}",
            manifest.kernel.from.value
        );
        Error::new(Kind::Malformed, message)
            .hint("take another kernel, such as that of kernels/debian-cloud.yaml")
    })
}

/// The modules for these kinds of disks, or the option that the kernel lacks.
fn needed(
    volumes: bool,
    scratch: bool,
    config: &Config,
) -> Result<Vec<ModuleRequest>, &'static str> {
    let disks = DISKS.iter().filter(|_| volumes || scratch);
    let volumes = VOLUMES.iter().filter(|_| volumes);
    let scratch = SCRATCH.iter().filter(|_| scratch);
    needs::needed(disks.chain(volumes).chain(scratch), config)
}

/// Where disks are mounted, by their names.
pub fn mounts(manifest: &Manifest) -> impl Iterator<Item = (&VolumeName, &GuestPath)> {
    let volumes = manifest.volumes.iter().map(|(name, volume)| (name, &volume.mount.value));
    volumes.chain(manifest.scratch.iter().map(|(name, scratch)| (name, &scratch.mount.value)))
}

/// What is below a mount would not be seen.
///
/// # Errors
/// [`Kind::Malformed`] when there is something.
pub fn check_mounts(manifest: &Manifest, tree: &Tree) -> Result<()> {
    for (name, mount) in mounts(manifest) {
        let below = |path: &GuestPath| {
            path.as_str().strip_prefix(mount.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some((path, _)) = tree.iter().find(|(path, _)| below(path)) {
            let message = format!("disk `{name}` is mounted on `{mount}`, and would hide `{path}`");
            return Err(Error::new(Kind::Malformed, message)
                .hint("mount it on a directory of its own, such as `/models`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "CONFIG_BLK_DEV_DM=y\nCONFIG_VIRTIO_BLK=m\nCONFIG_DM_VERITY=m\nCONFIG_EROFS_FS=y\nCONFIG_CRYPTO_SHA256=y\n\
                       CONFIG_DM_CRYPT=m\nCONFIG_CRYPTO_AES_NI_INTEL=m\nCONFIG_EXT4_FS=m\n";

    fn needed(volumes: bool, scratch: bool, config: &str) -> Result<Vec<String>, &'static str> {
        let requests = super::needed(volumes, scratch, &Config::parse(config).unwrap())?;
        Ok(requests.into_iter().flat_map(|request| request.names).collect())
    }

    #[test]
    fn what_is_a_module_is_loaded() {
        let names = |volumes, scratch| needed(volumes, scratch, ALL).unwrap().join(" ");
        assert_eq!(names(false, false), "");
        assert_eq!(names(true, false), "virtio_blk dm_verity");
        assert_eq!(names(false, true), "virtio_blk dm_crypt aesni_intel ext4");
        assert_eq!(names(true, true), "virtio_blk dm_verity dm_crypt aesni_intel ext4");
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        for (option, volumes) in [("BLK_DEV_DM", true), ("EROFS_FS", true), ("DM_CRYPT", false)] {
            let less: String = ALL
                .lines()
                .filter(|line| !line.contains(option))
                .map(|line| line.to_owned() + "\n")
                .collect();
            assert_eq!(needed(volumes, !volumes, &less), Err(option));
        }
    }
}
