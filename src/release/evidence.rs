//! What evidence asks of the rest of the guest: modules of the kernel. That the kernel has the drivers that
//! make reports at all is asked of every one ([`crate::kernel::config::RULES`]).

use crate::error::{Error, Kind, Result};
use crate::kernel::config::Config;
use crate::manifest::Manifest;
use crate::manifest::types::Evidence;
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
    of(evidence, config).map_err(|option| {
        let message = format!(
            "input `{}`: the guest could not give the manifest's evidence: its kernel lacks CONFIG_{option}",
            manifest.kernel.from.value
        );
        Error::new(Kind::Malformed, message)
            .hint("take another kernel, such as that of kernels/debian-cloud.yaml")
    })
}

/// The modules, or the option that the kernel lacks.
fn of(evidence: &Evidence, config: &Config) -> Result<Vec<ModuleRequest>, &'static str> {
    let vsock = VSOCK.iter().filter(|_| evidence.vsock.is_some());
    needed(REPORTS.iter().chain(vsock), config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{At, Position};

    fn names(vsock: bool, config: &str) -> Result<String, &'static str> {
        let vsock = vsock.then(|| At { value: 8001, position: Position::default() });
        let modules = of(&Evidence { http: None, vsock }, &Config::parse(config).unwrap())?;
        Ok(modules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    /// As Debian's cloud kernel has it.
    const MODULES: &str = "CONFIG_UNIX=y\nCONFIG_CONFIGFS_FS=m\nCONFIG_TSM_REPORTS=m\nCONFIG_SEV_GUEST=m\n\
                           CONFIG_VSOCKETS=m\nCONFIG_VIRTIO_VSOCKETS=m\n";

    #[test]
    fn what_is_a_module_is_loaded() {
        let reports = "configfs, tsm_report | tsm, sev_guest";
        assert_eq!(names(false, MODULES).unwrap(), reports);
        let all = format!("{reports}, vsock, vmw_vsock_virtio_transport");
        assert_eq!(names(true, MODULES).unwrap(), all);
    }

    #[test]
    fn the_kernels_from_source_have_all_of_it() {
        for config in [
            include_str!("../../kernels/minimal/resolved.config"),
            include_str!("../../kernels/gpu/resolved.config"),
        ] {
            assert_eq!(names(true, config), Ok(String::new()));
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let less = MODULES.replace("CONFIG_VIRTIO_VSOCKETS=m\n", "");
        assert!(names(false, &less).is_ok());
        assert_eq!(names(true, &less), Err("VIRTIO_VSOCKETS"));
        assert_eq!(names(false, &MODULES.replace("CONFIG_UNIX=y\n", "")), Err("UNIX"));
    }
}
