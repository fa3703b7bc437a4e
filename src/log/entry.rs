//! What a log holds of one statement: the canonical body of Rekor's `hashedrekord` of version 0.0.2 (rekor-tiles,
//! `api/proto/rekor/v2/entry.proto`, `hashedrekord.proto`, `verifier.proto`). It is the SHA-256 of what was signed,
//! the signature and the key, and not the statement, so that the verifiers of Sigstore take our logs; the
//! statement is served beside the log, by that SHA-256.

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::statement::dsse::Envelope;
use crate::statement::json;
use crate::statement::key::{ParseKeyError, PublicKey, Signature, SignatureError};

/// `kind` of an entry (`entry.proto`, `Entry`), as bundles have it beside the body, too.
pub const KIND: &str = "hashedrekord";

/// `apiVersion` of an entry.
pub const VERSION: &str = "0.0.2";

/// The hash of the data (protobuf-specs, `sigstore_common.proto`, `HashAlgorithm`).
const HASH: &str = "SHA2_256";

/// How key and signature are made (protobuf-specs, `sigstore_common.proto`, `PublicKeyDetails`).
const KEY_DETAILS: &str = "PKIX_ECDSA_P256_SHA_256";

/// One entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The SHA-256 of what was signed: of a DSSE envelope, of its PAE.
    pub digest: Sha256,
    /// The signature.
    pub signature: Signature,
    /// Whose it is.
    pub key: PublicKey,
}

/// Bytes that are no entry, or one that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not JSON of this form.
    #[error("not an entry of the kind {KIND}/{VERSION}")]
    Json(#[from] serde_json::Error),
    /// Another kind of entry, or other algorithms.
    #[error("entry has `{field}` {found}: expected {expected}")]
    Kind {
        /// Which field says so.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// Not Base64, or not of so many bytes.
    #[error("`{0}` of the entry is not the Base64 of what it should be")]
    Base64(&'static str),
    /// Not a key of the one algorithm.
    #[error("key of the entry is not one of ECDSA on P-256")]
    Key(#[from] ParseKeyError),
    /// Not a signature of the one algorithm.
    #[error("signature of the entry is not one of ECDSA on P-256")]
    Signature(#[from] SignatureError),
    /// The right values in another spelling.
    #[error("entry differs from its canonical form (RFC 8785)")]
    NotCanonical,
    /// The key did not sign that.
    #[error("entry has a signature that its own key did not make")]
    Unsigned,
}

impl Entry {
    /// The entry of an envelope that `key` signed.
    ///
    /// # Errors
    /// When it did not.
    pub fn of(envelope: &Envelope, key: PublicKey) -> Result<Self, EntryError> {
        let entry = Self { digest: envelope.digest(), signature: envelope.signature, key };
        entry.check()?;
        Ok(entry)
    }

    /// Reads a body as a log has it, and verifies the signature.
    ///
    /// # Errors
    /// When it is none, in another spelling, or not signed by its own key.
    pub fn from_body(body: &[u8]) -> Result<Self, EntryError> {
        let text: Text = json::parse(body)?;
        let record = text.spec.hashed_rekord_v002;
        let verifier = &record.signature.verifier;
        expect("kind", &text.kind, KIND)?;
        expect("apiVersion", &text.api_version, VERSION)?;
        expect("algorithm", &record.data.algorithm, HASH)?;
        expect("keyDetails", &verifier.key_details, KEY_DETAILS)?;
        let digest = Base64::decode_vec(&record.data.digest).ok();
        let digest = digest.and_then(|digest| digest.try_into().ok());
        let content = Base64::decode_vec(&record.signature.content);
        let entry = Self {
            digest: Sha256(digest.ok_or(EntryError::Base64("digest"))?),
            signature: Signature::from_der(&content.map_err(|_| EntryError::Base64("content"))?)?,
            key: verifier.public_key.raw_bytes.parse()?,
        };
        if entry.to_body()? != body {
            return Err(EntryError::NotCanonical);
        }
        entry.check()?;
        Ok(entry)
    }

    /// The body as a log has it: JSON as RFC 8785 makes it canonical, which for these names, all ASCII, and these
    /// values is their order and no spaces.
    ///
    /// # Errors
    /// None that an entry can cause.
    pub fn to_body(&self) -> Result<Vec<u8>, EntryError> {
        Ok(json::write(&Text {
            api_version: VERSION.to_owned(),
            kind: KIND.to_owned(),
            spec: Spec {
                hashed_rekord_v002: Record {
                    data: Data {
                        algorithm: HASH.to_owned(),
                        digest: Base64::encode_string(&self.digest.0),
                    },
                    signature: SignatureText {
                        content: Base64::encode_string(&self.signature.to_der()),
                        verifier: Verifier {
                            key_details: KEY_DETAILS.to_owned(),
                            public_key: RawKey { raw_bytes: self.key.to_string() },
                        },
                    },
                },
            },
        })?)
    }

    /// Whether it is of this envelope.
    pub fn is_of(&self, envelope: &Envelope) -> bool {
        self.digest == envelope.digest() && self.signature == envelope.signature
    }

    fn check(&self) -> Result<(), EntryError> {
        match self.key.verifies_digest(self.digest, &self.signature) {
            true => Ok(()),
            false => Err(EntryError::Unsigned),
        }
    }
}

fn expect(field: &'static str, found: &str, expected: &'static str) -> Result<(), EntryError> {
    if found == expected {
        return Ok(());
    }
    Err(EntryError::Kind { field, found: format!("{found:?}"), expected })
}

// The order of the fields is that of their names, which RFC 8785, section 3.2.3, asks for.

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Text {
    api_version: String,
    kind: String,
    spec: Spec,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(rename = "hashedRekordV002")]
    hashed_rekord_v002: Record,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    data: Data,
    signature: SignatureText,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Data {
    algorithm: String,
    digest: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SignatureText {
    content: String,
    verifier: Verifier,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Verifier {
    key_details: String,
    public_key: RawKey,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawKey {
    raw_bytes: String,
}
