//! The cleartext signature framework (RFC 9580, 7): text, and signatures over it, in one file.
//!
//! Read strictly. What comes out is exactly the text that the signatures are checked over, rebuilt
//! from the same lines, so that nothing unsigned can be taken for signed: nothing may stand before
//! or after, and no header, escape or control character is let through whose meaning could differ
//! from one reader to the next.

use pgp::composed::{Deserializable, DetachedSignature};
use pgp::packet::Signature;

/// A signed text. Nothing in it is to be believed before its signatures are checked.
#[derive(Clone, Debug)]
pub struct Cleartext {
    /// The lines, each ended by a line feed, without dash escapes and trailing blanks.
    pub text: String,
    /// The octets that are signed: the same lines with CR LF between them.
    pub signed: Vec<u8>,
    /// The signatures, at least one.
    pub signatures: Vec<Signature>,
}

/// What about a signed text breaks the framework.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something before the first line or after the last.
    #[error("it has unsigned text {place} the signed text")]
    Unsigned {
        /// `before` or `after`.
        place: &'static str,
    },
    /// A line that is missing or out of place.
    #[error("line {line}: {problem}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        problem: &'static str,
    },
    /// Not UTF-8.
    #[error("it is not utf-8 text")]
    Encoding,
    /// A signature block without a readable signature.
    #[error("its signature block cannot be read")]
    Signature(#[source] Box<pgp::errors::Error>),
    /// A signature block with no signature, or with absurdly many.
    #[error("it has {count} signatures, expected 1 to {MAX_SIGNATURES}")]
    Count {
        /// How many there are.
        count: usize,
    },
}

/// Reads a text and its signatures. Checks none of them: that is for
/// [`Keyring::verify`](super::keyring::Keyring::verify).
pub fn parse(bytes: &[u8]) -> Result<Cleartext, Error> {
    let input = std::str::from_utf8(bytes).map_err(|_| Error::Encoding)?;
    let mut lines = (1..).zip(input.split_inclusive('\n')).map(|(number, line)| {
        let line = line.strip_suffix('\n').unwrap_or(line);
        (number, line.strip_suffix('\r').unwrap_or(line))
    });
    let ended = |problem| Error::Line { line: input.lines().count(), problem };

    if lines.next().is_none_or(|(_, line)| line != BEGIN) {
        return Err(if input.contains(BEGIN) {
            Error::Unsigned { place: "before" }
        } else {
            Error::Line { line: 1, problem: "expected `-----BEGIN PGP SIGNED MESSAGE-----`" }
        });
    }
    loop {
        match lines.next() {
            Some((_, "")) => break,
            // The only header that there is; others, such as NotDashEscaped, change what is signed.
            Some((_, line)) if line.starts_with("Hash: ") => {}
            Some((line, _)) => {
                return Err(Error::Line {
                    line,
                    problem: "expected a `Hash` header or an empty line",
                });
            }
            None => return Err(ended("the file ends before the signed text")),
        }
    }

    let mut text = String::with_capacity(input.len());
    let mut signed = Vec::with_capacity(input.len());
    loop {
        let (number, line) =
            lines.next().ok_or_else(|| ended("the file ends before the signature"))?;
        if line == BEGIN_SIGNATURE {
            break;
        }
        let line = match line.strip_prefix('-') {
            Some(escaped) => escaped.strip_prefix(' ').ok_or(Error::Line {
                line: number,
                problem: "a line of signed text that begins with a dash is not escaped",
            })?,
            None => line,
        };
        let line = line.trim_end_matches([' ', '\t']);
        if line.contains(|c: char| c.is_control() && c != '\t') {
            let problem = "a control character in the signed text";
            return Err(Error::Line { line: number, problem });
        }
        if !text.is_empty() {
            signed.extend_from_slice(b"\r\n");
        }
        signed.extend_from_slice(line.as_bytes());
        text.push_str(line);
        text.push('\n');
    }

    let mut armour = format!("{BEGIN_SIGNATURE}\n");
    loop {
        let (number, line) = lines.next().ok_or_else(|| ended("the signature block has no end"))?;
        armour.push_str(line);
        armour.push('\n');
        if line == END_SIGNATURE {
            break;
        }
        if line.starts_with('-') {
            let problem = "expected base64 or `-----END PGP SIGNATURE-----`";
            return Err(Error::Line { line: number, problem });
        }
    }
    if lines.any(|(_, line)| !line.trim().is_empty()) {
        return Err(Error::Unsigned { place: "after" });
    }
    Ok(Cleartext { text, signed, signatures: armoured_signatures(&armour)? })
}

/// The signatures of a detached signature file such as `Release.gpg`, armoured or binary.
pub fn detached(bytes: &[u8]) -> Result<Vec<Signature>, Error> {
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        let found = DetachedSignature::from_bytes_many(bytes);
        return signatures(found.map_err(|error| Error::Signature(Box::new(error)))?);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Encoding)?;
    let mut all = Vec::new();
    // Older archives put one block after another.
    for block in text.split_inclusive(END_SIGNATURE).filter(|block| !block.trim().is_empty()) {
        all.extend(armoured_signatures(block.trim_start())?);
    }
    counted(all)
}

fn armoured_signatures(armour: &str) -> Result<Vec<Signature>, Error> {
    let (found, _) = DetachedSignature::from_armor_many(armour.as_bytes())
        .map_err(|error| Error::Signature(Box::new(error)))?;
    signatures(found)
}

fn signatures(
    found: impl Iterator<Item = pgp::errors::Result<DetachedSignature>>,
) -> Result<Vec<Signature>, Error> {
    let found: Result<Vec<_>, _> =
        found.take(MAX_SIGNATURES + 1).map(|item| item.map(|item| item.signature)).collect();
    counted(found.map_err(|error| Error::Signature(Box::new(error)))?)
}

fn counted(found: Vec<Signature>) -> Result<Vec<Signature>, Error> {
    match found.len() {
        1..=MAX_SIGNATURES => Ok(found),
        count => Err(Error::Count { count }),
    }
}

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";

/// Each costs a public-key operation. Debian's release files have up to three.
const MAX_SIGNATURES: usize = 32;
