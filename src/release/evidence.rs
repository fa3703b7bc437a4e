//! What evidence asks of the rest of the guest: modules of the kernel. That the kernel has the drivers that
//! make reports at all is asked of every one ([`crate::kernel::config::RULES`]).

use crate::error::{Error, Kind, Result};
use crate::kernel::config::Config;
use crate::manifest::Manifest;
use crate::names::ModuleRequest;
use crate::release::needs::{Need, needed};

/// For the kernel's requests for reports, and for the workload's socket. The second one was renamed between
/// 6.12 and 7.2.
const REPORTS: [Need; 4] = [
    ("UNIX", &["unix"]),
    ("CONFIGFS_FS", &["configfs"]),
    ("TSM_REPORTS", &["tsm_report", "tsm"]),
    // On a processor without SEV-SNP this one finds no device and rests.
    ("SEV_GUEST", &["sev_guest"]),
];

/// For a vsock port: the family of sockets, and virtio's way to the host.
const VSOCK: [Need; 2] =
    [("VSOCKETS", &["vsock"]), ("VIRTIO_VSOCKETS", &["vmw_vsock_virtio_transport"])];

/// The modules that PID 1 loads for the manifest's evidence.
///
/// # Errors
/// [`Kind::Malformed`] when the kernel cannot give it: the guest would find out at boot.
pub fn modules(manifest: &Manifest, config: &Config) -> Result<Vec<ModuleRequest>> {
    let Some(evidence) = &manifest.evidence else { return Ok(Vec::new()) };
    let vsock = VSOCK.iter().filter(|_| evidence.vsock.is_some());
    needed(REPORTS.iter().chain(vsock), config).map_err(|option| {
        let message = format!(
            "input `{}`: the guest could not give the manifest's evidence: its kernel lacks CONFIG_{option}",
            manifest.kernel.from.value
        );
        Error::new(Kind::Malformed, message)
            .hint("take another kernel, such as that of kernels/debian-cloud.yaml")
    })
}
