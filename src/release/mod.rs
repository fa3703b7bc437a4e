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
