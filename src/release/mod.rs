//! A release: everything made from one lock, and what was said about it.
//!
//! ```text
//! RELEASE/
//!   image/firmware.fd  image/kernel  image/initrd  image/cmdline
//!   image/guest.igvm  igvm.json  all of it as one file, and its record, where the manifest asks for it
//!   image/volumes/NAME.img  NAME.json   its volumes and their records; of one made before, only that
//!   manifest.yaml  lock.yaml     what it was made from, written out
//!   launch.json                  the launch record: inputs to the digests, and the digests
//!   inventory.json               every path in the initrd and the input it came from
//!   sbom.cdx.json                the packages and inputs that are in it, and what it was compiled with
//!   THREAT-MODEL.md              what of this image is measured, and what is not
//!   rebuilds/NAME.json           what rebuilders found, put there by them
//!   statement.json  statement.sigstore.json  statement.tlog-proof       what its publisher says of it: the words,
//!                                the words signed, and that a log has them; once it is published
//!   provenance.sigstore.json  provenance.tlog-proof    how its publisher made it, signed
//!   rebuilds/NAME.sigstore.json  rebuilds/NAME.tlog-proof    what rebuilders found, signed
//!   statements/NAME.sigstore.json    what its publisher said later that is about it, put there by whoever
//!                                has it
//! ```

pub mod assemble;
pub mod audit;
pub mod check;
pub mod contents;
pub mod dependencies;
pub mod diff;
pub mod disks;
pub mod evidence;
pub mod inventory;
pub mod measure;
mod needs;
pub mod open;
pub mod origins;
pub mod plan;
pub mod publication;
pub mod reproduce;
pub mod sbom;
pub mod search;
pub mod subjects;
pub mod threat_model;
mod trust;
pub mod verdict;
pub mod volumes;
pub mod write;

/// Paths in a release directory.
pub mod layout {
    use std::fs;
    use std::path::Path;

    use walkdir::WalkDir;

    use crate::error::{Error, Kind, Result};
    use crate::names::{Name, VolumeName};

    /// The verdicts of rebuilders.
    pub const REBUILDS: &str = "rebuilds";

    /// What its publisher said later that is about it: revocations, and statements in the place of its own.
    pub const STATEMENTS: &str = "statements";

    /// The volumes and their records.
    pub const VOLUMES: &str = "image/volumes";

    /// A volume.
    pub fn volume(name: &VolumeName) -> String {
        format!("{VOLUMES}/{name}.img")
    }

    /// The record of a volume.
    pub fn volume_record(name: &VolumeName) -> String {
        format!("{VOLUMES}/{name}.json")
    }

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

    /// Refuses a release in which something else stands where a file of it should: a link leads out of it, and
    /// a pipe would be waited for.
    ///
    /// # Errors
    /// [`Kind::Malformed`] naming the first.
    pub fn check_regular(root: &Path) -> Result<()> {
        let volumes = WalkDir::new(root.join(VOLUMES)).min_depth(1).max_depth(1);
        let volumes = volumes.into_iter().flatten().map(|entry| entry.path().to_owned());
        let named = ALL.iter().chain(&IF_ASKED).chain(&PUBLISHED).map(|name| root.join(name));
        for path in named.chain(volumes) {
            if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
                let message = format!("`{}` is not a regular file", path.display());
                return Err(Error::new(Kind::Malformed, message).hint(
                    "a release holds files and no links; \
                     `run --volume NAME=FILE` takes a volume's data from elsewhere",
                ));
            }
        }
        Ok(())
    }

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

    /// What a rebuilder found, signed.
    pub fn rebuild_bundle(rebuilder: &Name) -> String {
        format!("{REBUILDS}/{rebuilder}.sigstore.json")
    }

    /// That a log has it.
    pub fn rebuild_proof(rebuilder: &Name) -> String {
        format!("{REBUILDS}/{rebuilder}.tlog-proof")
    }
}
