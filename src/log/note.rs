//! Signed notes (C2SP signed-note): a text, an empty line, and lines with signatures of it.
//!
//! Reading is strict where two readers could differ, so that what is written again is what was read, byte for
//! byte. Whether a signature holds is for [`Signed`](super::Signed): a note is believed by nobody yet.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding as _};

use super::key::is_name;

/// The largest note. The specification asks for a bound that leaves room for 16 signatures.
pub const MAX_BYTES: usize = 1 << 20;

/// The most signatures.
pub const MAX_SIGNATURES: usize = 64;

/// What a signature line begins with: an em dash, and a space.
const DASH: &str = "\u{2014} ";

/// A text and who claims to have signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text, with its last newline.
    pub text: String,
    /// The signatures, in the order in which they stand there.
    pub signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: [u8; 4],
    /// What follows the id.
    pub bytes: Vec<u8>,
}

/// Bytes that are no note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It is large.
    #[error("a note has at most {MAX_BYTES} bytes, this one has {0}")]
    Size(usize),
    /// It is not text.
    #[error("the note is not UTF-8")]
    Encoding,
    /// Control characters other than newlines.
    #[error("line {0} has a control character")]
    Control(usize),
    /// There is nothing between text and signatures.
    #[error("the note has no empty line between its text and its signatures")]
    NoSignatures,
    /// The last line does not end.
    #[error("the note does not end with a newline")]
    Unended,
    /// There are many signatures.
    #[error("a note has at most {MAX_SIGNATURES} signatures, this one has {0}")]
    Signatures(usize),
    /// A line below the empty one that is no signature.
    #[error(
        "`{0}` is no signature line: expected `\u{2014} NAME BASE64`, the base64 of an id of four bytes and a \
         signature"
    )]
    Line(String),
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// When it is not one by the letter of the specification.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        if text.len() > MAX_BYTES {
            return Err(NoteError::Size(text.len()));
        }
        let control = |line: &str| line.chars().any(|char| char < ' ');
        if let Some(line) = text.split('\n').position(control) {
            return Err(NoteError::Control(line + 1));
        }
        let body = text.strip_suffix('\n').ok_or(NoteError::Unended)?;
        // A text has empty lines too: only the last one parts it from the signatures.
        let (above, below) = body.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        Ok(Self { text: format!("{above}\n"), signatures: lines(below)? })
    }

    /// Reads a note from bytes that may not be text.
    ///
    /// # Errors
    /// As [`Note::parse`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_BYTES {
            return Err(NoteError::Size(bytes.len()));
        }
        Self::parse(str::from_utf8(bytes).map_err(|_| NoteError::Encoding)?)
    }

    /// Adds a signature behind the others, in the place of one by the same key.
    pub fn add(&mut self, signature: Signature) {
        self.signatures.retain(|old| (&old.name, old.id) != (&signature.name, signature.id));
        self.signatures.push(signature);
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        Self::parse(text)
    }
}

/// The note as it was read.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl Signature {
    /// Reads signature lines, each of which ends with a newline: what a witness answers.
    ///
    /// # Errors
    /// When there is none, or something else.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, NoteError> {
        lines(text.strip_suffix('\n').ok_or(NoteError::Unended)?)
    }
}

impl FromStr for Signature {
    type Err = NoteError;

    /// Reads one line, without its newline.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let parse = || {
            let (name, base64) = line.strip_prefix(DASH)?.split_once(' ')?;
            let bytes = Base64::decode_vec(base64).ok()?;
            let (id, bytes) = bytes.split_first_chunk()?;
            let good = is_name(name) && !bytes.is_empty();
            good.then(|| Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
        };
        parse().ok_or_else(|| NoteError::Line(line.chars().take(SHOWN).collect()))
    }
}

/// The line, without its newline.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_slice(), &self.bytes].concat();
        write!(f, "{DASH}{} {}", self.name, Base64::encode_string(&bytes))
    }
}

fn lines(text: &str) -> Result<Vec<Signature>, NoteError> {
    let count = text.split('\n').count();
    if count > MAX_SIGNATURES {
        return Err(NoteError::Signatures(count));
    }
    text.split('\n').map(str::parse).collect()
}

/// How much of a wrong line is repeated.
const SHOWN: usize = 80;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests;
