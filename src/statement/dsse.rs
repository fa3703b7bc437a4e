//! DSSE, the envelope of a signed statement (secure-systems-lab/dsse, `protocol.md` and `envelope.md`, v1.0.2):
//! the payload as it is, and a signature over its type and its bytes, so that nothing is made canonical to be
//! verified.

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use super::json;
use super::key::{PrivateKey, PublicKey, Signature, SignatureError};
use crate::digest::Sha256;

/// What is in the envelopes that are read here (in-toto Attestation Framework, "Envelope").
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The largest payload: provenance of an image that is compiled from source names thousands of inputs. What a
/// kind of statement may be at most, it says itself.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// A statement and its one signature. Who signed is not in it: the verifier says which key must have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// The statement, as it was signed.
    pub payload: Vec<u8>,
    /// The signature of its [`pae`].
    pub signature: Signature,
}

/// Bytes that are no envelope, or one that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum DsseError {
    /// Not JSON of the form of an envelope.
    #[error("not a DSSE envelope with `payload`, `payloadType` and `signatures`")]
    Json(#[from] serde_json::Error),
    /// Something else than an in-toto statement.
    #[error("envelope has a payload of the type `{0}`: expected `{PAYLOAD_TYPE}`")]
    PayloadType(String),
    /// None, or more than one.
    #[error(
        "envelope has {0} signatures: expected one (for another signer, write another envelope)"
    )]
    Signatures(usize),
    /// Not standard Base64 with its padding.
    #[error("`{0}` of the envelope is not Base64 (RFC 4648, section 4, with padding)")]
    Base64(&'static str),
    /// Not a signature of the one algorithm.
    #[error("signature of the envelope is not one of ECDSA on P-256")]
    Signature(#[from] SignatureError),
    /// Too much.
    #[error("payload has {0} bytes: expected at most {MAX_PAYLOAD}")]
    Size(usize),
    /// The key did not sign this.
    #[error("envelope is not signed by the key {0}")]
    Unsigned(PublicKey),
    /// One message in 2^255.
    #[error("there is no signature of this payload by this key")]
    Unsignable,
}

/// The bytes that are signed: PAE(type, payload) (`protocol.md`, "Signature Definition").
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Signs `payload`.
    ///
    /// # Errors
    /// When it is too large.
    pub fn sign(payload: Vec<u8>, key: &PrivateKey) -> Result<Self, DsseError> {
        check_size(&payload)?;
        let signature = key.sign(&pae(PAYLOAD_TYPE, &payload)).ok_or(DsseError::Unsignable)?;
        Ok(Self { payload, signature })
    }

    /// An envelope with a signature that was made elsewhere, over [`pae`] of [`PAYLOAD_TYPE`] and `payload`.
    ///
    /// # Errors
    /// When it is too large, or not signed by `key`.
    pub fn signed(
        payload: Vec<u8>,
        signature: Signature,
        key: &PublicKey,
    ) -> Result<Self, DsseError> {
        check_size(&payload)?;
        let envelope = Self { payload, signature };
        envelope.verify(key)?;
        Ok(envelope)
    }

    /// The payload, if `key` signed it.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(&self, key: &PublicKey) -> Result<&[u8], DsseError> {
        match key.verifies_digest(self.digest(), &self.signature) {
            true => Ok(&self.payload),
            false => Err(DsseError::Unsigned(*key)),
        }
    }

    /// The SHA-256 of what is signed: what a log's entry has, and by which a statement is served beside the log.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(pae(PAYLOAD_TYPE, &self.payload))
    }

    /// Reads an envelope. Its `keyid`, which nothing authenticates, is not kept.
    ///
    /// # Errors
    /// When it is none, or not of one statement with one signature.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DsseError> {
        json::parse::<Text>(bytes)?.try_into()
    }

    /// The envelope as JSON, in one line.
    ///
    /// # Errors
    /// None that an envelope can cause.
    pub fn to_json(&self) -> Result<Vec<u8>, DsseError> {
        Ok(json::write(&Text::from(self))?)
    }
}

/// An envelope as it is written, here and in a bundle.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Text {
    payload: String,
    payload_type: String,
    signatures: Vec<SignatureText>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SignatureText {
    sig: String,
    #[serde(default, skip_serializing)]
    #[allow(dead_code, reason = "others write it, and it says nothing that could be checked")]
    keyid: Option<String>,
}

impl From<&Envelope> for Text {
    fn from(envelope: &Envelope) -> Self {
        let sig = Base64::encode_string(&envelope.signature.to_der());
        Self {
            payload: Base64::encode_string(&envelope.payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![SignatureText { sig, keyid: None }],
        }
    }
}

impl TryFrom<Text> for Envelope {
    type Error = DsseError;

    fn try_from(text: Text) -> Result<Self, DsseError> {
        if text.payload_type != PAYLOAD_TYPE {
            return Err(DsseError::PayloadType(text.payload_type));
        }
        let [signature] = text.signatures.as_slice() else {
            return Err(DsseError::Signatures(text.signatures.len()));
        };
        let decode = |name, text| Base64::decode_vec(text).map_err(|_| DsseError::Base64(name));
        let payload = decode("payload", &text.payload)?;
        check_size(&payload)?;
        let signature = Signature::from_der(&decode("sig", &signature.sig)?)?;
        Ok(Self { payload, signature })
    }
}

fn check_size(payload: &[u8]) -> Result<(), DsseError> {
    if payload.len() > MAX_PAYLOAD { Err(DsseError::Size(payload.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of `protocol.md`, "Test Vectors".
    #[test]
    fn what_is_signed_is_what_the_specification_says() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
