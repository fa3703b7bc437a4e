//! Why a machine attests another digest than the record has: a search for the launch that gives it.
//!
//! A digest does not say what it is of, so the only way back is to launch everything that could
//! have been meant and compare. What people get wrong is known (vCPUs, `-cpu host`, a host kernel
//! that sets DEBUG_SWAP, a newline after the command line), so one change to the recorded launch
//! is tried first, then two. The result is a diagnosis: it never makes an unknown digest a right one.
//!
//! The order of launch updates makes the search cheap. The vCPUs come last and are all alike but
//! for the first, so everything before them is computed once for each variant, and a digest for N
//! vCPUs is on the way to the one for N + 1: every count up to [`MAX_VCPUS`] costs one short hash.

mod chain;
mod change;
mod search;
mod variants;

pub use change::{Change, Cmdline, Order, Stop};

use super::cpu::{Cpu, Signature};
use super::features::SevFeatures;
use super::record::{FirmwareRecord, Record, RecordError};
use crate::digest::{Sha256, Sha384};

/// Every count of vCPUs up to this one is tried.
pub const MAX_VCPUS: u32 = 512;

/// How many launch updates a search may compute, or hashes of pages that take as long. A record with
/// very many digests has more neighbours than anyone waits for; [`Explanation::complete`] says when
/// some were not visited.
pub const MAX_UPDATES: u64 = 4 << 20;

/// What may have been launched in place of what the record names, as far as somebody suspects it.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Firmware images, by a name to show.
    pub firmware: Vec<(String, FirmwareRecord)>,
    /// Kernels.
    pub kernels: Vec<(String, Sha256)>,
    /// Initrds.
    pub initrds: Vec<(String, Sha256)>,
    /// Command lines.
    pub cmdlines: Vec<String>,
    /// The CPU that the report is from, which `-cpu host` hands to the guest.
    pub signature: Option<Signature>,
}

/// What the search found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The digest of the record that it is, counted from 0. Then nothing needs to be explained.
    pub recorded: Option<usize>,
    /// The launches that give the digest. All take the same number of changes, and nothing simpler
    /// gives it.
    pub causes: Vec<Cause>,
    /// How many launches were compared.
    pub searched: u64,
    /// Whether all were visited.
    pub complete: bool,
}

/// A launch that gives the digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// How it differs from what the record has.
    pub changes: Vec<Change>,
    /// The VMM profile.
    pub profile: &'static str,
    /// The vCPUs, if the launch came so far.
    pub vcpus: Option<Vcpus>,
}

/// The vCPUs of a launch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vcpus {
    /// How many.
    pub count: u32,
    /// The CPU; it does not matter where the profile does not put its signature into RDX.
    pub cpu: Cpu,
    /// SEV_FEATURES.
    pub features: SevFeatures,
}

/// Looks for the launch that gives `attested`, near the launches of `record`.
///
/// # Errors
/// When the record itself cannot be launched.
pub fn explain(
    record: &Record,
    attested: Sha384,
    candidates: &Candidates,
) -> Result<Explanation, RecordError> {
    let position = |digests: &[Sha384]| digests.iter().position(|digest| *digest == attested);
    let digests: Vec<Sha384> = record.recompute()?.iter().map(|digest| digest.digest).collect();
    if let Some(recorded) = position(&digests) {
        let searched = digests.len() as u64;
        return Ok(Explanation {
            recorded: Some(recorded),
            causes: Vec::new(),
            searched,
            complete: true,
        });
    }
    search::search(record, attested, candidates)
}
