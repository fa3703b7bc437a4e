//! The names of a release's files.

use crate::names::{Name, VolumeName};

/// The verdicts of rebuilders.
pub const REBUILDS: &str = "rebuilds";

/// What its publisher said later that is about it: revocations, and statements in the place of its own.
pub const STATEMENTS: &str = "statements";

/// The volumes and their records.
pub const VOLUMES: &str = "image/volumes";

/// The firmware image.
pub const FIRMWARE: &str = "image/firmware.fd";

/// The kernel image.
pub const KERNEL: &str = "image/kernel";

/// The initrd.
pub const INITRD: &str = "image/initrd";

/// The command line, without NUL and without newline.
pub const CMDLINE: &str = "image/cmdline";

/// The image as one IGVM file.
pub const IGVM: &str = "image/guest.igvm";

/// The record of that file.
pub const IGVM_RECORD: &str = "igvm.json";

/// The manifest in its canonical form.
pub const MANIFEST: &str = "manifest.yaml";

/// The lock.
pub const LOCK: &str = "lock.yaml";

/// The launch record.
pub const RECORD: &str = "launch.json";

/// The inventory.
pub const INVENTORY: &str = "inventory.json";

/// The bill of materials.
pub const SBOM: &str = "sbom.cdx.json";

/// The threat model.
pub const THREAT_MODEL: &str = "THREAT-MODEL.md";

/// Those of every release, in the order in which they are compared: what is measured first.
pub const ALL: [&str; 10] =
    [FIRMWARE, KERNEL, INITRD, CMDLINE, RECORD, INVENTORY, SBOM, THREAT_MODEL, MANIFEST, LOCK];

/// Those of a release whose manifest asks for them.
pub const IF_ASKED: [&str; 2] = [IGVM, IGVM_RECORD];

/// What its publisher says of it, as it was signed.
pub const STATEMENT: &str = "statement.json";

/// The same, signed, as a Sigstore bundle.
pub const STATEMENT_BUNDLE: &str = "statement.sigstore.json";

/// That a log has it.
pub const STATEMENT_PROOF: &str = "statement.tlog-proof";

/// How its publisher made it, signed.
pub const PROVENANCE_BUNDLE: &str = "provenance.sigstore.json";

/// That a log has it.
pub const PROVENANCE_PROOF: &str = "provenance.tlog-proof";

/// Those of a release that is published. They are about its other files, so that none of these depends on
/// them, and no build makes them.
pub const PUBLISHED: [&str; 5] =
    [STATEMENT, STATEMENT_BUNDLE, STATEMENT_PROOF, PROVENANCE_BUNDLE, PROVENANCE_PROOF];

/// A volume.
pub fn volume(name: &VolumeName) -> String {
    format!("{VOLUMES}/{name}.img")
}

/// The record of a volume.
pub fn volume_record(name: &VolumeName) -> String {
    format!("{VOLUMES}/{name}.json")
}

/// What a rebuilder found, signed.
pub fn rebuild_bundle(rebuilder: &Name) -> String {
    format!("{REBUILDS}/{rebuilder}.sigstore.json")
}

/// That a log has it.
pub fn rebuild_proof(rebuilder: &Name) -> String {
    format!("{REBUILDS}/{rebuilder}.tlog-proof")
}
