//! Keys as notes name them: the verifier keys ("vkeys") of C2SP signed-note, and the private halves.
//!
//! A key is known by its name and four bytes of a hash over name, algorithm and key. These four bytes are no
//! proof of anything, so a vkey always has the whole key.

mod signer;

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::VerifyingKey;
use ml_dsa::{EncodedVerifyingKey, MlDsa44};

use crate::digest::{Sha256, parse_hex};

pub use signer::SignerKey;

/// What a signature line is made with (signed-note, "Signature types"). The discriminant is the byte that
/// stands before the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// Ed25519 over the note's text.
    Ed25519 = 0x01,
    /// Ed25519 over the text and a time (tlog-cosignature, "Ed25519 signed message").
    Ed25519Cosignature = 0x04,
    /// ML-DSA-44 over origin, size, root, time and the signer's name (tlog-cosignature, "ML-DSA-44 signed
    /// message").
    MlDsa44Cosignature = 0x06,
}

/// A public key that signature lines are checked with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    algorithm: Algorithm,
    key: Vec<u8>,
}

/// Text that is no key. What was in it is not repeated: it may be private.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A part is missing.
    #[error("a verifier key is `NAME+ID+KEY`: a name, eight hex digits, and base64")]
    Shape,
    /// A part is missing, of a private key.
    #[error("a private key is `PRIVATE+KEY+NAME+ID+KEY`")]
    PrivateShape,
    /// A name that no note can hold.
    #[error("`{0}` is no name of a key: expected no spaces, no `+`, no control characters")]
    Name(String),
    /// The id's spelling.
    #[error("the id of the key `{0}` is not eight lower-case hex digits")]
    Id(String),
    /// An algorithm of others.
    #[error(
        "the key `{name}` is of type {kind:#04x}: expected 0x01 (Ed25519), 0x04 (Ed25519 cosignature) or 0x06 \
         (ML-DSA-44 cosignature)"
    )]
    Algorithm {
        /// The key's name.
        name: String,
        /// Its type.
        kind: u8,
    },
    /// Not base64, not of the algorithm's length, or no point of the curve.
    #[error("the key `{0}` has no good key material: expected base64 of a type and a key")]
    Material(String),
    /// The id is that of another key, name or type.
    #[error("the id of the key `{name}` is {found}, but name, type and key make {expected}")]
    WrongId {
        /// The key's name.
        name: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::Ed25519Cosignature, Self::MlDsa44Cosignature];

    /// The bytes of a public key (RFC 8032, section 5.1.5; FIPS 204, table 2).
    pub fn key_size(self) -> usize {
        match self {
            Self::Ed25519 | Self::Ed25519Cosignature => 32,
            Self::MlDsa44Cosignature => 1312,
        }
    }

    /// Whether a signature has a time, so that it is one of a witness.
    pub fn is_cosignature(self) -> bool {
        self != Self::Ed25519
    }

    fn of(kind: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| *algorithm as u8 == kind)
    }
}

impl VerifierKey {
    /// The key with this name and this public half.
    ///
    /// # Errors
    /// When the name cannot stand in a note, or the bytes are no key.
    pub fn new(name: &str, algorithm: Algorithm, key: &[u8]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let good = match algorithm {
            // A key of small order has signatures that hold for any text.
            Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => {
                ed25519(key).is_some_and(|key| !key.is_weak())
            }
            Algorithm::MlDsa44Cosignature => key.len() == algorithm.key_size(),
        };
        if !good {
            return Err(KeyError::Material(name.to_owned()));
        }
        let id = id(name, algorithm, key);
        Ok(Self { name: name.to_owned(), id, algorithm, key: key.to_vec() })
    }

    /// Its name; of a log's key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash whose first four bytes are its ID; all of it is how Sigstore's bundles say which log it is (rekor-tiles,
    /// `pkg/note/note.go`, `KeyHash`).
    pub fn hash(&self) -> Sha256 {
        hash(&self.name, self.algorithm, &self.key)
    }

    /// The four bytes that stand before each of its signatures.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key itself.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether both are one public key, whatever their names and types: what tlog-policy calls duplicates.
    pub fn same_key(&self, other: &Self) -> bool {
        // The lengths of Ed25519 and ML-DSA differ, so that bytes of one are none of the other.
        self.key == other.key
    }

    /// Whether `signature` is one of `message`, without any framing.
    pub(super) fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let pair = ed25519(&self.key).zip(signature.ok());
                pair.is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
            }
            Algorithm::MlDsa44Cosignature => {
                let key = EncodedVerifyingKey::<MlDsa44>::try_from(self.key.as_slice());
                let signature = ml_dsa::Signature::<MlDsa44>::try_from(signature);
                key.ok().zip(signature.ok()).is_some_and(|(key, signature)| {
                    // The specification gives no context: it is empty (FIPS 204, section 5.2).
                    ml_dsa::VerifyingKey::decode(&key).verify_with_context(message, &[], &signature)
                })
            }
        }
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (key, found) = parts(text).ok_or(KeyError::Shape)??;
        Self::new(key.name, key.algorithm, &key.bytes)?.expect_id(found)
    }
}

impl VerifierKey {
    /// The same key, if the id that was said is its own.
    fn expect_id(self, found: [u8; 4]) -> Result<Self, KeyError> {
        if self.id == found {
            return Ok(self);
        }
        let hex = |id| format!("{:08x}", u32::from_be_bytes(id));
        Err(KeyError::WrongId { found: hex(found), expected: hex(self.id), name: self.name })
    }
}

/// The vkey.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, self.id, self.algorithm, &self.key)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether `name` can be that of a key (signed-note, "Format").
pub(super) fn is_name(name: &str) -> bool {
    let good = |char: char| char >= ' ' && char != '+' && !char.is_whitespace();
    !name.is_empty() && name.chars().all(good)
}

/// The ID of a key: the first four bytes of its hash.
fn id(name: &str, algorithm: Algorithm, key: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = hash(name, algorithm, key).0;
    [a, b, c, d]
}

/// SHA-256 over name, newline, type and public key (signed-note, "Signature types").
fn hash(name: &str, algorithm: Algorithm, key: &[u8]) -> Sha256 {
    Sha256::of([name.as_bytes(), b"\n", &[algorithm as u8], key].concat())
}

/// What stands in `NAME+ID+BASE64`.
struct Parts<'a> {
    name: &'a str,
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

/// Takes `NAME+ID+BASE64` apart, where the base64 may have plus signs of its own.
fn parts(text: &str) -> Option<Result<(Parts<'_>, [u8; 4]), KeyError>> {
    let mut parts = text.splitn(3, '+');
    let (name, id, material) = (parts.next()?, parts.next()?, parts.next()?);
    let parse = || {
        if !is_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let id = parse_hex(id).map_err(|_| KeyError::Id(name.to_owned()))?;
        let material = Base64::decode_vec(material).ok();
        let wrong = || KeyError::Material(name.to_owned());
        let (kind, bytes) = material.as_deref().and_then(<[u8]>::split_first).ok_or_else(wrong)?;
        let algorithm = Algorithm::of(*kind)
            .ok_or_else(|| KeyError::Algorithm { name: name.to_owned(), kind: *kind })?;
        Ok((Parts { name, algorithm, bytes: bytes.to_vec() }, id))
    };
    Some(parse())
}

fn write_key(
    f: &mut impl fmt::Write,
    name: &str,
    id: [u8; 4],
    algorithm: Algorithm,
    key: &[u8],
) -> fmt::Result {
    let material = Base64::encode_string(&[&[algorithm as u8], key].concat());
    write!(f, "{name}+{:08x}+{material}", u32::from_be_bytes(id))
}

fn ed25519(key: &[u8]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(key.try_into().ok()?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests;
