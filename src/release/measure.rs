//! From artifacts to the launch record.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use crate::digest::Object;
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::igvm::{IgvmWriteError, Image};
use crate::image::{self, cpio};
use crate::launch::direct_boot::NamedBlobs as Found;
use crate::launch::findings::{self, Rule};
use crate::launch::igvm::IgvmRecord;
use crate::launch::igvm::record::{PROFILE, VERSION, vcpus};
use crate::launch::record::{Blob, Boot, Disclosure, FirmwareRecord, Inputs, RecordError};
use crate::launch::{Cpu, Firmware, Policy, Profile, Record, Set, SevFeatures};
use crate::layout;
use crate::manifest::types::{Launch, Manifest, NamedBlobs};
use crate::release::assemble::Assembled;
use crate::release::volumes::{self, Records};
use crate::volume;

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

/// The launch record of what was assembled, whose initrd is `initrd` and whose volumes have these records.
///
/// # Errors
/// [`Kind::Rejected`] when the firmware would run what is not measured and the manifest does not
/// allow it, or verifies nothing at all.
pub fn record(
    manifest: &Manifest,
    assembled: &Assembled,
    initrd: Object,
    volumes: &Records,
) -> Result<Record> {
    let (profile, set) = set(&manifest.launch, Path::new(layout::MANIFEST))?;
    let what = format!("firmware, input `{}`", manifest.firmware.from.value);
    let (firmware, findings) =
        FirmwareRecord::examine(&assembled.firmware).map_err(|error| refused(&what, error))?;
    if manifest.firmware.named_blobs == NamedBlobs::Deny && runs_named_blobs(&firmware) {
        let message = format!("{what}: {RUNS_NAMED_BLOBS}");
        return Err(Error::new(Kind::Rejected, message).hint(
            "the manifest says `named-blobs: deny`; take a firmware that refuses what the table does not name",
        ));
    }
    let boot = Boot {
        kernel: Blob::of(&assembled.kernel),
        initrd: Some(Blob { sha256: initrd.sha256, size: initrd.size }),
        cmdline: volumes::cmdline(manifest, volumes)?.to_string(),
    };
    let mut writers = BTreeMap::from([epoch(cpio::EPOCH)]);
    // A record that was read has these and no others.
    if !volumes.is_empty() {
        writers.extend(volume::writers());
    }
    let inputs = Inputs {
        profile,
        policy: Policy(manifest.launch.policy.0),
        firmware,
        boot: Some(boot),
        volumes: volumes::listed(manifest, volumes),
        set,
        writers,
    };
    let record = Record::new(inputs).map_err(|error| refused(&what, error))?;
    Ok(record.with_findings(&findings))
}

/// What goes into an IGVM file, but for the initrd.
pub struct IgvmParts<'a> {
    /// The firmware image.
    pub firmware: &'a [u8],
    /// The kernel image.
    pub kernel: &'a [u8],
    /// The launch record of the same image.
    pub record: &'a Record,
    /// The number of vCPUs.
    pub vcpus: u32,
    /// SEV_FEATURES of each.
    pub features: SevFeatures,
}

/// Writes the image as one IGVM file to `out`, with the initrd read from `initrd` and of that size.
///
/// # Errors
/// [`Kind::Rejected`] when the firmware would boot what the host hands over, or the image does not
/// fit.
pub fn igvm(
    parts: &IgvmParts<'_>,
    initrd: (&mut dyn Read, u64),
    out: impl Write,
) -> Result<IgvmRecord> {
    let IgvmParts { firmware, kernel, record, vcpus: count, features } = *parts;
    let (initrd, initrd_size) = initrd;
    let failed = || "the image cannot be an IGVM file".to_owned();
    let layout = Firmware::parse(firmware).context(Kind::Malformed, failed)?;
    let boot = record.boot.clone().ok_or_else(|| {
        Error::new(Kind::Rejected, "a launch without a kernel cannot be an IGVM file")
    })?;
    let hashes = boot.hashes().context(Kind::Malformed, failed)?;
    let vmsas = vcpus(&layout, count, features).context(Kind::Rejected, failed)?;
    let image = Image {
        firmware,
        kernel,
        initrd: initrd_size,
        cmdline: &boot.cmdline,
        hashes,
        policy: record.policy,
        vmsas: &vmsas,
    };
    let written = image::igvm::write(image, &layout, initrd, out).map_err(|error| {
        let (kind, from_source) = match &error {
            IgvmWriteError::Firmware => (Kind::Rejected, true),
            IgvmWriteError::Read(_) | IgvmWriteError::Write(_) => (Kind::Environment, false),
            _ => (Kind::Rejected, false),
        };
        let error = Error::caused(kind, failed(), error);
        match from_source {
            true => {
                error.hint("take the firmware of firmware/amdsev.yaml, or leave out `launch.igvm`")
            }
            false => error,
        }
    })?;
    let mut writers = record.writers.clone();
    writers.extend([epoch(image::igvm::EPOCH)]);
    Ok(IgvmRecord {
        version: VERSION,
        tool: record.tool.clone(),
        writers,
        profile: PROFILE.id.to_owned(),
        policy: record.policy,
        file: Blob { sha256: written.object.sha256, size: written.object.size },
        firmware: record.firmware.sha256,
        boot,
        reset_eip: record.firmware.reset_eip,
        vcpus: count,
        sev_features: features,
        digest_before_vcpus: written.digest_before_vcpus,
        digest: written.digest,
    })
}

/// What is wrong with firmware that runs named blobs, in one sentence.
pub const RUNS_NAMED_BLOBS: &str = "it reads fw_cfg files below `etc/boot/`, verifies only kernel, \
     initrd and command line, and runs one named `shim` in place of the kernel: a host can run its \
     own code under the right launch digest";

/// The findings of the firmware in a record, beside named blobs.
pub fn findings(record: &Record) -> Vec<&'static Rule> {
    record.unmeasured.iter().filter_map(|item| findings::rule(&item.what)).collect()
}

/// What nobody may overlook who takes the digests of this record.
pub fn warnings(record: &Record) -> Vec<String> {
    if record.boot.is_none() {
        return Vec::new();
    }
    let named = runs_named_blobs(&record.firmware).then(named_blobs);
    let more = further(findings(record).into_iter());
    named.into_iter().chain(more).chain(unverified_volumes(record)).collect()
}

/// The volumes that nothing binds.
pub fn unverified(record: &Record) -> Vec<&str> {
    let unbound = record.volumes.iter().filter(|volume| volume.disclosure == Disclosure::None);
    unbound.map(|volume| volume.name.as_str()).collect()
}

/// The warning of volumes that nothing binds, if there are any.
pub fn unverified_volumes(record: &Record) -> Option<String> {
    let names = unverified(record);
    (!names.is_empty()).then(|| {
        format!(
            "NOTHING CHECKS these volumes: {}; the host chooses what is on them, under the right digest",
            names.join(", ")
        )
    })
}

/// The warning of firmware that runs named blobs.
pub fn named_blobs() -> String {
    format!("the firmware has a hole: {RUNS_NAMED_BLOBS}")
}

/// The warning of firmware with these findings, if there is one.
pub fn further(open: impl Iterator<Item = &'static Rule>) -> Option<String> {
    let codes: Vec<_> = open.map(|rule| rule.code).collect();
    (!codes.is_empty()).then(|| {
        format!(
            "the firmware has ways around the measured kernel: {}; `counterfoil inspect FIRMWARE` \
             says what each is",
            codes.join(", ")
        )
    })
}

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
