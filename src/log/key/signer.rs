//! Private keys, in the text form of Go's `golang.org/x/mod/sumdb/note`: `PRIVATE+KEY+NAME+ID+BASE64`, where the
//! base64 is the type and a seed of 32 bytes, and the id is that of the public key.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::Signer as _;
use ml_dsa::MlDsa44;

use super::{Algorithm, KeyError, VerifierKey, parts, write_key};

/// What stands before a private key.
const PREFIX: &str = "PRIVATE+KEY+";

/// A key to sign with. It is not shown, and is overwritten when it is dropped.
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    half: Half,
}

#[derive(Clone)]
enum Half {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl SignerKey {
    /// The key that a seed makes (RFC 8032, section 5.1.5; FIPS 204, algorithm 6).
    ///
    /// # Errors
    /// When the name cannot stand in a note.
    pub fn from_seed(name: &str, algorithm: Algorithm, seed: [u8; 32]) -> Result<Self, KeyError> {
        let half = match algorithm {
            Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => {
                Half::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed)))
            }
            Algorithm::MlDsa44Cosignature => {
                Half::MlDsa44(Box::new(ml_dsa::SigningKey::from_seed(&seed.into())))
            }
        };
        let verifier = match &half {
            Half::Ed25519(key) => VerifierKey::new(name, algorithm, key.verifying_key().as_bytes()),
            Half::MlDsa44(key) => {
                let public = key.expanded_key().verifying_key().encode();
                VerifierKey::new(name, algorithm, &public)
            }
        }?;
        Ok(Self { verifier, half })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The private key as text, without a newline.
    pub fn to_text(&self) -> String {
        let seed: &[u8] = match &self.half {
            Half::Ed25519(key) => key.as_bytes(),
            Half::MlDsa44(key) => key.as_seed(),
        };
        let mut text = PREFIX.to_owned();
        let VerifierKey { name, id, algorithm, .. } = &self.verifier;
        // A string can always be written to.
        let _ = write_key(&mut text, name, *id, *algorithm, seed);
        text
    }

    /// A signature of `message`, without any framing. Both algorithms take no random number: the same text has
    /// the same signature. `None` is ML-DSA giving up, which has no message that is known.
    pub(in crate::log) fn raw(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.half {
            Half::Ed25519(key) => Some(key.sign(message).to_bytes().to_vec()),
            Half::MlDsa44(key) => {
                let signature = key.expanded_key().sign_deterministic(message, &[]);
                signature.ok().map(|signature| signature.encode().to_vec())
            }
        }
    }
}

impl FromStr for SignerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(PREFIX).ok_or(KeyError::PrivateShape)?;
        let (key, found) = parts(rest).ok_or(KeyError::PrivateShape)??;
        let seed = key.bytes.as_slice().try_into();
        let seed = seed.map_err(|_| KeyError::Material(key.name.to_owned()))?;
        let key = Self::from_seed(key.name, key.algorithm, seed)?;
        key.verifier.clone().expect_id(found)?;
        Ok(key)
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({})", self.verifier)
    }
}
