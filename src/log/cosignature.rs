//! What is signed: the text of a note, or what C2SP tlog-cosignature makes of a checkpoint and a time.

use super::checkpoint::{Checkpoint, CheckpointError};
use super::key::{Algorithm, SignerKey};
use super::note::{Note, Signature};

/// The latest time, in seconds since 1970 (tlog-cosignature, "Format").
pub const MAX_TIME: u64 = i64::MAX as u64;

/// The bytes of a time before a signature (tlog-cosignature, `timestamped_signature`).
pub(super) const TIME_SIZE: usize = 8;

/// The first line of what an Ed25519 cosigner signs.
const ED25519_HEADER: &str = "cosignature/v1";

/// The label of what an ML-DSA-44 cosigner signs.
const SUBTREE_LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// Why something is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CosignError {
    /// Not a checkpoint.
    #[error("what is to be signed is no checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// A log's key does not cosign.
    #[error("`{0}` is the key of a log: expected the key of a witness")]
    LogKey(String),
    /// A time that cannot be said.
    #[error("{0} is no time of a cosignature: expected seconds since 1970, from 1 to 2^63 - 1")]
    Time(u64),
    /// A name that does not fit its field.
    #[error("`{0}` has more than 255 bytes: an ML-DSA-44 cosignature has no room for it")]
    Long(String),
    /// ML-DSA gave up.
    #[error("the key `{0}` gave no signature")]
    Failed(String),
}

/// A cosigner's signature of a checkpoint: that at `time`, in seconds since 1970, this was the largest tree of the
/// log that it had seen, and that all before it are part of it.
///
/// # Errors
/// When the note is no checkpoint, the key is a log's, or time or name do not fit.
pub fn cosign(note: &Note, key: &SignerKey, time: u64) -> Result<Signature, CosignError> {
    let verifier = key.verifier();
    if !verifier.algorithm().is_cosignature() {
        return Err(CosignError::LogKey(verifier.name().to_owned()));
    }
    match time {
        0 => Err(CosignError::Time(time)),
        _ => signature(&note.text, key, time),
    }
}

/// The signature line of `text` by `key`.
pub(super) fn signature(text: &str, key: &SignerKey, time: u64) -> Result<Signature, CosignError> {
    let verifier = key.verifier();
    let algorithm = verifier.algorithm();
    if algorithm == Algorithm::Ed25519Cosignature && time == 0 {
        return Err(CosignError::Time(time));
    }
    let message = message(algorithm, verifier.name(), text, time)?;
    let raw = key.raw(&message).ok_or_else(|| CosignError::Failed(verifier.name().to_owned()))?;
    let time = time.to_be_bytes();
    let time = if algorithm.is_cosignature() { time.as_slice() } else { &[] };
    let bytes = [time, &raw].concat();
    Ok(Signature { name: verifier.name().to_owned(), id: verifier.id(), bytes })
}

/// The bytes that a key with this name signs.
pub(super) fn message(
    algorithm: Algorithm,
    name: &str,
    text: &str,
    time: u64,
) -> Result<Vec<u8>, CosignError> {
    if algorithm == Algorithm::Ed25519 {
        return Ok(text.as_bytes().to_vec());
    }
    let checkpoint = Checkpoint::parse(text)?;
    if time > MAX_TIME {
        return Err(CosignError::Time(time));
    }
    if algorithm == Algorithm::Ed25519Cosignature {
        return Ok(format!("{ED25519_HEADER}\ntime {time}\n{text}").into_bytes());
    }
    // `cosigned_message`. The subtree is the whole tree: from the first leaf to the size.
    let mut message = SUBTREE_LABEL.to_vec();
    opaque(&mut message, name)?;
    message.extend(time.to_be_bytes());
    opaque(&mut message, &checkpoint.origin)?;
    message.extend(0_u64.to_be_bytes());
    message.extend(checkpoint.size.to_be_bytes());
    message.extend(checkpoint.root.0);
    Ok(message)
}

/// `opaque<1..2^8-1>` of RFC 8446, section 3.4: one byte of length, and the text.
fn opaque(message: &mut Vec<u8>, text: &str) -> Result<(), CosignError> {
    let length = u8::try_from(text.len()).map_err(|_| CosignError::Long(text.to_owned()))?;
    message.push(length);
    message.extend(text.as_bytes());
    Ok(())
}
