//! What the host still chooses under a right digest. The list goes into every record, so that a
//! reader sees the limits of the promise beside the promise.

use super::direct_boot::{DirectBoot, NamedBlobs};
use super::record::{Disclosure, Unmeasured, Volume};

/// The name under which the list says what becomes of named blobs.
pub(super) const BLOBS: &str = "fw-cfg-blobs";

/// The name under which the list says that nothing binds a volume.
const VOLUMES: &str = "unverified-volumes";

/// The list for a launch; `direct_boot` is what is known of the firmware.
pub(super) fn list(
    kernel: bool,
    volumes: &[Volume],
    direct_boot: Option<&DirectBoot>,
) -> Vec<Unmeasured> {
    let mut list: Vec<(&str, &str)> = Vec::new();
    if !kernel {
        list.push((
            "boot",
            "no kernel is bound by the digest: the firmware boots what the host gives it",
        ));
    }
    list.extend(direct_boot.map(|found| (BLOBS, blobs(&found.named_blobs))));
    if direct_boot.is_none() {
        list.push((
            BLOBS,
            "the firmware's modules were not examined: whether it runs blobs that the hash table \
             does not name is not known",
        ));
    }
    list.extend(ALWAYS);
    if volumes.iter().any(|volume| volume.disclosure == Disclosure::None) {
        list.push((
            VOLUMES,
            "THE HOST CHOOSES WHAT IS ON SOME VOLUMES: the command line says `unverified` of them; \
             what is read from them can be anything, can change at any time, and is parsed by the \
             guest's kernel",
        ));
    }
    list.push(match volumes.is_empty() {
        true => ("disks", "the host attaches any disks, with any contents, and can change them"),
        false => (
            "disks",
            "the host attaches any disks; only volumes whose root hash is on the measured command \
             line are bound, and only where the guest opens them through dm-verity",
        ),
    });
    let owned = |(what, means): (&str, &str)| Unmeasured { what: what.into(), means: means.into() };
    list.into_iter().map(owned).collect()
}

fn blobs(state: &NamedBlobs) -> &'static str {
    match state {
        NamedBlobs::NotRead => "the firmware reads no blobs but kernel, initrd and command line",
        NamedBlobs::Refused { .. } => {
            "the firmware's loader is marked as refusing every blob that the hash table does not \
             name; only a rebuild of the firmware from source shows that it does"
        }
        NamedBlobs::Run { .. } => {
            "THE HOST CAN RUN ITS OWN CODE UNDER THIS DIGEST: the firmware reads any fw_cfg file \
             below etc/boot/ and starts one named shim in place of the measured kernel; use \
             firmware that refuses blobs which the hash table does not name"
        }
        NamedBlobs::Unused { .. } => {
            "the firmware reads any fw_cfg file below etc/boot/ unverified; no module was found \
             that starts one"
        }
    }
}

/// What the host chooses at every launch, whatever it is of.
pub(crate) const ALWAYS: &[(&str, &str)] = &[
    (
        "acpi-tables",
        "the host writes the ACPI tables; their bytecode runs in the guest's kernel with its rights",
    ),
    (
        "cpuid",
        "the host fills in the CPUID page; the AMD firmware refuses features that the CPU lacks, \
         and the host may hide others",
    ),
    ("devices", "the host chooses the devices, their order and their behaviour"),
    ("memory-size", "the host chooses how much memory there is, and its layout above 4 GiB"),
    ("network", "the host carries, drops, delays or forges every packet"),
    (
        "policy",
        "the guest policy is not part of the digest; it is in the report and must be checked there",
    ),
    ("smbios", "the host writes the SMBIOS tables and all other fw_cfg items"),
    ("time", "the host sets the clock that the guest starts with; only Secure TSC binds its rate"),
    (
        "vcpu-scheduling",
        "the host decides when and whether a vCPU runs; the number that the digest covers is the \
         number at launch, and more can be offered later",
    ),
];
