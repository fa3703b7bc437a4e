//! Why a record is not written, not read, or not believed.

use crate::digest::Sha384;
use crate::launch::direct_boot::NoVerifier;
use crate::launch::firmware::{FirmwareError, ImageError};
use crate::launch::hash_table::CmdlineError;
use crate::launch::measure::{LaunchError, SetError};
use crate::launch::profile::UnknownProfile;
use crate::launch::volume::VolumeError;

/// A launch record that cannot be made, or that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not a record.
    #[error("launch record is not readable")]
    Json(#[source] serde_json::Error),
    /// Another version's record.
    #[error(
        "launch record has version {found}: expected {expected}; a later one needs a later \
         counterfoil"
    )]
    Version {
        /// The version found.
        found: u64,
        /// The version read here.
        expected: u32,
    },
    /// The right values in another spelling, in another order, or a key twice.
    #[error(
        "launch record differs from its canonical form at line {line}: expected the bytes that \
         `build` wrote, since the record itself is hashed; get the record again, and do not \
         reformat it"
    )]
    NotCanonical {
        /// The first line that differs, from 1.
        line: usize,
    },
    /// Rules that this version does not have.
    #[error("launch record was made by `{found}`: expected `{expected}`")]
    Epoch {
        /// The rules named in the record.
        found: String,
        /// The rules of this module.
        expected: &'static str,
    },
    /// The firmware's layout is malformed.
    #[error("firmware cannot be launched")]
    Firmware(#[from] FirmwareError),
    /// The firmware image is not measured.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The firmware's modules cannot be read.
    #[error("firmware modules cannot be examined")]
    Volume(#[from] VolumeError),
    /// The profile is unknown.
    #[error(transparent)]
    Profile(#[from] UnknownProfile),
    /// The command line cannot be passed on.
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
    /// The parameters are empty, repeated or out of range.
    #[error(transparent)]
    Set(#[from] SetError),
    /// There is no digest for the inputs.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The firmware would boot anything.
    #[error(transparent)]
    NoVerifier(#[from] NoVerifier),
    /// The firmware might boot anything.
    #[error(
        "firmware was not examined for a verifier of kernel, initrd and command line: expected the \
         whole image, with its firmware volumes"
    )]
    NotExamined,
    /// The record claims a volume that its digests do not cover.
    #[error(
        "volume `{name}` is not bound: expected its root hash, as a word by itself, on the command \
         line, which is measured"
    )]
    Unbound {
        /// The volume.
        name: String,
    },
    /// The record is silent about something that it does not cover.
    #[error("`unmeasured` does not list `{what}`: expected everything that the host still chooses")]
    Unlisted {
        /// The stable name of what is missing.
        what: String,
    },
    /// A recorded digest is wrong.
    #[error("digest {what} is recorded as `{recorded}`, but the record's inputs give `{found}`")]
    Digest {
        /// Which digest.
        what: String,
        /// What the record says.
        recorded: Sha384,
        /// What its inputs give.
        found: Sha384,
    },
    /// Digests are missing or surplus.
    #[error("launch record has {recorded} digests: expected {expected}, one for each combination")]
    DigestCount {
        /// How many there are.
        recorded: usize,
        /// How many combinations there are.
        expected: usize,
    },
    /// Digests stand in the wrong place.
    #[error("digest {index} is {recorded}: expected {expected}")]
    DigestOrder {
        /// Which digest, from 0.
        index: usize,
        /// What it is for.
        recorded: String,
        /// What it should be for.
        expected: String,
    },
}
