//! From artifacts to the launch record.

use std::collections::BTreeMap;
use std::path::Path;

use crate::digest::Object;
use crate::error::{Error, Kind, Result};
use crate::image::cpio;
use crate::launch::direct_boot::NamedBlobs as Found;
use crate::launch::record::{Blob, Boot, FirmwareRecord, Inputs, RecordError};
use crate::launch::{Cpu, Policy, Profile, Record, Set, SevFeatures};
use crate::manifest::types::{Launch, Manifest, NamedBlobs};
use crate::release::assemble::Assembled;
use crate::release::layout;

/// The set of launches that the manifest at `path` asks for.
///
/// # Errors
/// [`Kind::Malformed`] for an unknown profile or CPU model, or a value given twice.
pub fn set(launch: &Launch, path: &Path) -> Result<(&'static Profile, Set)> {
    let wrong = |what: &str, error: &dyn std::error::Error| {
        Error::new(Kind::Malformed, format!("{}: `launch.{what}`: {error}", path.display()))
    };
    let profile = Profile::by_id(&launch.profile.value).map_err(|e| wrong("profile", &e))?;
    let cpus = launch.cpus.value.iter().map(|name| Cpu::named(name)).collect::<Result<_, _>>();
    let cpus = cpus.map_err(|error| {
        let names: Vec<_> = Cpu::names().collect();
        wrong("cpus", &error).hint(format!("QEMU's names are: {}", names.join(", ")))
    })?;
    let features = launch.features.iter().map(|features| SevFeatures(features.0)).collect();
    let set =
        Set::new(launch.vcpus.value.clone(), cpus, features).map_err(|e| wrong("vcpus", &e))?;
    Ok((profile, set))
}

/// The launch record of what was assembled, whose initrd is `initrd`.
///
/// # Errors
/// [`Kind::Rejected`] when the firmware would run what is not measured and the manifest does not
/// allow it, or verifies nothing at all.
pub fn record(manifest: &Manifest, assembled: &Assembled, initrd: Object) -> Result<Record> {
    let (profile, set) = set(&manifest.launch, Path::new(layout::MANIFEST))?;
    let what = format!("firmware, input `{}`", manifest.firmware.from.value);
    let firmware =
        FirmwareRecord::of(&assembled.firmware).map_err(|error| refused(&what, error))?;
    if manifest.firmware.named_blobs == NamedBlobs::Deny && runs_named_blobs(&firmware) {
        let message = format!("{what}: {RUNS_NAMED_BLOBS}");
        return Err(Error::new(Kind::Rejected, message).hint(
            "the manifest says `named-blobs: deny`; take a firmware that refuses what the table does not name",
        ));
    }
    let boot = Boot {
        kernel: Blob::of(&assembled.kernel),
        initrd: Some(Blob { sha256: initrd.sha256, size: initrd.size }),
        cmdline: manifest.cmdline.to_string(),
    };
    let inputs = Inputs {
        profile,
        policy: Policy(manifest.launch.policy.0),
        firmware,
        boot: Some(boot),
        volumes: Vec::new(),
        set,
        writers: BTreeMap::from([epoch(cpio::EPOCH)]),
    };
    Record::new(inputs).map_err(|error| refused(&what, error))
}

/// What is wrong with firmware that runs named blobs, in one sentence.
pub const RUNS_NAMED_BLOBS: &str = "it reads fw_cfg files below `etc/boot/`, verifies only kernel, \
     initrd and command line, and runs one named `shim` in place of the kernel: a host can run its \
     own code under the right launch digest";

/// Whether the host can have the firmware run code that the digest does not cover.
pub fn runs_named_blobs(firmware: &FirmwareRecord) -> bool {
    let found = firmware.direct_boot.as_ref().map(|direct_boot| &direct_boot.named_blobs);
    matches!(found, Some(Found::Run { .. }))
}

/// `cpio/1` as a key and a value of the record.
fn epoch(epoch: &str) -> (String, String) {
    let writer = epoch.split('/').next().unwrap_or(epoch);
    (writer.to_owned(), epoch.to_owned())
}

fn refused(what: &str, error: RecordError) -> Error {
    let kind = match &error {
        RecordError::Firmware(_) | RecordError::Image(_) | RecordError::Volume(_) => {
            Kind::Malformed
        }
        _ => Kind::Rejected,
    };
    Error::caused(kind, format!("{what} cannot be measured"), error)
}
