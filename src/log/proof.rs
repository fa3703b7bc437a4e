//! Proofs that something is in a log, for whoever has no network (C2SP tlog-proof).
//!
//! Here is only the text. Whether the hashes lead to the checkpoint's root, and who signed that, is for whoever
//! knows the leaf and the keys.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding as _};

use super::checkpoint::{Checkpoint, CheckpointError, decimal, hash, to_line};
use super::note::{MAX_BYTES, Note, NoteError};
use crate::digest::Sha256;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most hashes from a leaf to a root: sizes have 64 bits.
pub const MAX_HASHES: usize = 64;

/// The largest proof: one note, and as much again.
const MAX: usize = 2 * MAX_BYTES;

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What the application adds. Nothing signs it.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// From the leaf's sibling up to the child of the root (RFC 6962, section 2.1.1).
    pub hashes: Vec<Sha256>,
    /// The tree head, as the log and its witnesses signed it.
    pub checkpoint: Note,
}

/// Text that is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// It is large.
    #[error("a proof has at most {MAX} bytes, this one has {0}")]
    Size(usize),
    /// It is not text.
    #[error("the proof is not UTF-8")]
    Encoding,
    /// Another format, or another version.
    #[error("the first line of the proof is not `{HEADER}`")]
    Header,
    /// The extra data.
    #[error("the proof's `extra` line is not the base64 of at least one byte")]
    Extra,
    /// The index.
    #[error("the proof has no line `index N`, N being a decimal number without leading zeros")]
    Index,
    /// A hash.
    #[error("line {0} of the proof is not the base64 of 32 bytes")]
    Hash(usize),
    /// There are many hashes.
    #[error("a proof has at most {MAX_HASHES} hashes")]
    Hashes,
    /// There is no checkpoint.
    #[error("the proof has no empty line before its checkpoint")]
    NoCheckpoint,
    /// The note below.
    #[error("the proof's checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// The text of the note.
    #[error("the proof's checkpoint is none")]
    Checkpoint(#[from] CheckpointError),
}

impl Proof {
    /// Reads a proof. Its checkpoint is well-formed then, and nobody has believed it yet.
    ///
    /// # Errors
    /// When it is not one by the letter of the specification.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX {
            return Err(ProofError::Size(text.len()));
        }
        let (above, below) = text.split_once("\n\n").ok_or(ProofError::NoCheckpoint)?;
        let mut lines = above.split('\n').enumerate().peekable();
        if lines.next().is_none_or(|(_, line)| line != HEADER) {
            return Err(ProofError::Header);
        }
        let extra = lines.peek().and_then(|(_, line)| line.strip_prefix("extra "));
        let extra = extra.map(extra_data).transpose()?;
        if extra.is_some() {
            lines.next();
        }
        let index = lines.next().and_then(|(_, line)| line.strip_prefix("index "));
        let index = index.and_then(decimal).ok_or(ProofError::Index)?;
        let hashes: Vec<_> = lines
            .map(|(at, line)| hash(line).ok_or(ProofError::Hash(at + 1)))
            .collect::<Result<_, _>>()?;
        if hashes.len() > MAX_HASHES {
            return Err(ProofError::Hashes);
        }
        let checkpoint = Note::parse(below)?;
        Checkpoint::parse(&checkpoint.text)?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Reads a proof from bytes that may not be text.
    ///
    /// # Errors
    /// As [`Proof::parse`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        Self::parse(str::from_utf8(bytes).map_err(|_| ProofError::Encoding)?)
    }

    /// The tree head that the proof leads to.
    ///
    /// # Errors
    /// Not of a proof that was read.
    pub fn tree_head(&self) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::parse(&self.checkpoint.text)
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        Self::parse(text)
    }
}

/// The proof as it was read. Without a byte of extra data there is no line for it.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            writeln!(f, "extra {}", Base64::encode_string(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", to_line(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

fn extra_data(line: &str) -> Result<Vec<u8>, ProofError> {
    let data = Base64::decode_vec(line).ok().filter(|data| !data.is_empty());
    data.ok_or(ProofError::Extra)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests;
