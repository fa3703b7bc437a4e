//! The launch of an SEV-SNP guest: what the AMD firmware measures, in which order, and the digest
//! that an attestation report must then carry.
//!
//! The module is pure: bytes in, values out. A firmware image becomes a [`Firmware`] (what it asks
//! of the VMM), a [`Profile`] says how one VMM does it, [`Launch`] puts the two together, and a
//! [`Record`] keeps everything from which the digests can be computed again.
//!
//! References: the SNP ABI is AMD publication 56860, "SEV Secure Nested Paging Firmware ABI
//! Specification"; the APM is AMD publication 24593, "AMD64 Architecture Programmer's Manual,
//! Volume 2"; PI is the UEFI Forum's "Platform Initialization Specification".

pub mod cpu;
pub mod direct_boot;
pub mod explain;
pub mod export;
pub mod features;
pub mod findings;
pub mod firmware;
pub mod guid;
pub mod hash_table;
mod hex;
pub mod id_block;
pub mod igvm;
pub mod measure;
pub mod measured_image;
pub mod page;
pub mod profile;
pub mod record;
pub mod sev;
pub mod trace;
pub(crate) mod unmeasured;
pub mod vmsa;
pub mod volume;

pub use cpu::{Cpu, Signature};
pub use direct_boot::DirectBoot;
pub use features::{Policy, SevFeatures};
pub use firmware::Firmware;
pub use hash_table::HashTable;
pub use id_block::{IdAuth, IdBlock};
pub use igvm::Igvm;
pub use measure::{Launch, Set};
pub use measured_image::MeasuredImage;
pub use profile::Profile;
pub use record::Record;

/// The name of the rules by which this module turns inputs into digests. It is in every record.
///
/// # Changelog
/// `launch/1`: direct boot with the SEV hash table, metadata sections in file order.
pub const EPOCH: &str = "launch/1";
