//! Checkpoints (C2SP tlog-checkpoint): what a log says that its tree is, as the text of a note.

use base64ct::{Base64, Encoding as _};

use super::cosignature::{CosignError, signature};
use super::key::SignerKey;
use super::note::Note;
use crate::digest::Sha256;

/// A tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log it is of.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree (RFC 6962, section 2.1).
    pub root: Sha256,
    /// Lines that the log adds. Few cosigners sign them and no monitor checks them: ours has none.
    pub extensions: Vec<String>,
}

/// Text that is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The last line does not end.
    #[error("the checkpoint does not end with a newline")]
    Unended,
    /// Fewer than three lines.
    #[error("a checkpoint has three lines: origin, tree size, root hash")]
    Short,
    /// The origin.
    #[error("the first line of the checkpoint is empty: expected the log's origin")]
    Origin,
    /// The size.
    #[error(
        "the tree size in the checkpoint is not a decimal number of 64 bits without leading zeros"
    )]
    Size,
    /// The root.
    #[error("the root hash in the checkpoint is not the base64 of 32 bytes")]
    Root,
    /// An empty extension line.
    #[error("line {0} of the checkpoint is empty")]
    Empty(usize),
    /// Something that a note cannot hold.
    #[error("line {0} of the checkpoint has a control character")]
    Control(usize),
}

impl Checkpoint {
    /// Reads a note's text.
    ///
    /// # Errors
    /// When it is not a checkpoint by the letter of the specification.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Unended)?;
        if let Some(line) = body.split('\n').position(has_control) {
            return Err(CheckpointError::Control(line + 1));
        }
        let mut lines = body.split('\n');
        let mut next = || lines.next().ok_or(CheckpointError::Short);
        let (origin, size, root) = (next()?, next()?, next()?);
        if origin.is_empty() {
            return Err(CheckpointError::Origin);
        }
        let size = decimal(size).ok_or(CheckpointError::Size)?;
        let root = hash(root).ok_or(CheckpointError::Root)?;
        let extensions: Vec<_> = lines.map(str::to_owned).collect();
        match extensions.iter().position(String::is_empty) {
            Some(line) => Err(CheckpointError::Empty(line + 4)),
            None => Ok(Self { origin: origin.to_owned(), size, root, extensions }),
        }
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, to_line(&self.root));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The checkpoint, signed by its log. An ML-DSA-44 key signs without a time, as it may where nothing is said
    /// about which tree is the largest.
    ///
    /// # Errors
    /// When the fields make no checkpoint, or the key is that of an Ed25519 cosigner, which always says a time.
    pub fn sign(&self, key: &SignerKey) -> Result<Note, CosignError> {
        let text = self.text();
        // An origin with a newline in it would be another checkpoint.
        match Self::parse(&text)? == *self {
            true => Ok(Note { signatures: vec![signature(&text, key, 0)?], text }),
            false => Err(CheckpointError::Short.into()),
        }
    }
}

/// A decimal number with one spelling.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let one_spelling = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| digits && one_spelling)
}

/// A hash as a line has it.
pub(super) fn hash(line: &str) -> Option<Sha256> {
    Base64::decode_vec(line).ok()?.try_into().ok().map(Sha256)
}

/// The line of a hash.
pub(super) fn to_line(hash: &Sha256) -> String {
    Base64::encode_string(&hash.0)
}

fn has_control(line: &str) -> bool {
    line.chars().any(|char| char < ' ')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests;
