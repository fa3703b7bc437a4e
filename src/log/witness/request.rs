//! What is sent to a witness (tlog-witness, "add-checkpoint"): the size that it knows, a consistency proof, and a
//! signed checkpoint.

use std::borrow::Borrow;
use std::fmt;

use crate::digest::Sha256;
use crate::log::checkpoint::{decimal, hash, to_line};
use crate::log::note::{Note, NoteError};

/// The most lines of a proof.
pub const MAX_PROOF: usize = 63;

/// A request, of a note or of a reference to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<N = Note> {
    /// The size that the witness knows.
    pub old: u64,
    /// What proves that the tree of that size is how the new one began (RFC 6962, section 2.1.2).
    pub proof: Vec<Sha256>,
    /// The new tree head.
    pub checkpoint: N,
}

/// Text that is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The first line.
    #[error("the first line is not `old N`, N being a decimal number without leading zeros")]
    Old,
    /// A line of the proof.
    #[error("line {0} is not the base64 of 32 bytes")]
    Hash(usize),
    /// A long proof.
    #[error("a consistency proof has at most {MAX_PROOF} lines")]
    Long,
    /// There is no checkpoint.
    #[error("there is no empty line before the checkpoint")]
    NoCheckpoint,
    /// The checkpoint.
    #[error("below the empty line is no signed note")]
    Note(#[from] NoteError),
}

impl Request {
    /// Reads a request's body.
    ///
    /// # Errors
    /// When it is not one by the letter of the specification.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let (above, below) = text.split_once("\n\n").ok_or(RequestError::NoCheckpoint)?;
        let mut lines = above.split('\n').enumerate();
        let old = lines.next().and_then(|(_, line)| decimal(line.strip_prefix("old ")?));
        let old = old.ok_or(RequestError::Old)?;
        let hashes = lines.map(|(at, line)| hash(line).ok_or(RequestError::Hash(at + 1)));
        let proof: Vec<_> = hashes.take(MAX_PROOF + 1).collect::<Result<_, _>>()?;
        if proof.len() > MAX_PROOF {
            return Err(RequestError::Long);
        }
        Ok(Self { old, proof, checkpoint: Note::parse(below)? })
    }
}

/// The body.
impl<N: Borrow<Note>> fmt::Display for Request<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", to_line(hash)))?;
        write!(f, "\n{}", self.checkpoint.borrow())
    }
}
