//! Sigstore's bundle, version 0.3 (protobuf-specs, `sigstore_bundle.proto`, as JSON of protobuf): an envelope, the
//! hint which key signed it, and the proof that a log has it. Only what a statement signed by a key needs is
//! written and read: no certificates, no timestamps, one entry of one log.
//!
//! What it proves is for the reader to find out: root and size stand here beside the checkpoint, and only the
//! checkpoint is signed, so they are refused where they differ and never used.

use base64ct::{Base64, Encoding as _};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::dsse::{self, DsseError, Envelope, MAX_PAYLOAD};
use super::json;
use super::key::PublicKey;
use crate::digest::Sha256;
use crate::log::entry::{self, Entry, EntryError};
use crate::log::proof::MAX_HASHES;
use crate::log::{Checkpoint, CheckpointError, Note, NoteError, Proof, VerifierKey, note};

/// `mediaType`, which is also the type under which registries keep bundles.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The most that a bundle has, wherever one is read: Base64 of the largest payload, and what is around it. Of that,
/// the log's checkpoint is the largest: JSON makes it up to twice as long.
pub const MAX_BYTES: u64 = (MAX_PAYLOAD.div_ceil(3) * 4 + 3 * note::MAX_BYTES) as u64;

/// A signed statement and what a log says of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// The statement, signed.
    pub envelope: Envelope,
    /// Which key signed it, as whoever wrote the bundle named it; see [`hint`]. Nothing authenticates it.
    pub hint: String,
    /// That a log has it.
    pub logged: Option<Logged>,
}

/// That a log has an envelope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logged {
    /// The name of the log's key; see [`log_id`]. Nothing authenticates it.
    pub log_id: Sha256,
    /// The entry; its body is the leaf.
    pub entry: Entry,
    /// Where in the log it is, and the log's checkpoint.
    pub proof: Proof,
}

/// Bytes that are no such bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not JSON of this form.
    #[error("not a Sigstore bundle of a signed statement")]
    Json(#[from] serde_json::Error),
    /// Another version.
    #[error("bundle is a `{0}`: expected `{MEDIA_TYPE}`")]
    MediaType(String),
    /// The envelope is none.
    #[error("envelope in the bundle")]
    Envelope(#[from] DsseError),
    /// More than one.
    #[error("bundle has {0} entries of logs: expected one, or none")]
    Entries(usize),
    /// Not a kind of entry that holds the signature of an envelope.
    #[error(
        "entry in the bundle is of the kind {kind:?}, version {version:?}: expected {}/{}",
        entry::KIND,
        entry::VERSION
    )]
    Kind {
        /// Its kind.
        kind: String,
        /// Its version.
        version: String,
    },
    /// The body is none.
    #[error("entry in the bundle")]
    Entry(#[from] EntryError),
    /// The log has something else. Whose signature there is under the envelope can still be asked.
    #[error("entry in the bundle is not of the envelope in the bundle")]
    Other(Box<Bundle>),
    /// Not Base64, or not of so many bytes.
    #[error("`{0}` of the bundle is not the Base64 of what it should be")]
    Base64(&'static str),
    /// Not a number.
    #[error("`{field}` of the bundle is {found:?}: expected a decimal number in a string")]
    Number {
        /// Which.
        field: &'static str,
        /// What it is.
        found: String,
    },
    /// Two places that should say the same do not.
    #[error("`{0}` of the bundle is not what another place in it says")]
    Twofold(&'static str),
    /// Too many.
    #[error("proof in the bundle has more than {MAX_HASHES} hashes")]
    Hashes,
    /// The checkpoint is no signed note.
    #[error("checkpoint in the bundle")]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("checkpoint in the bundle")]
    Checkpoint(#[from] CheckpointError),
}

/// How a bundle of ours says which key signed it: the Base64 of the SHA-256 of its SubjectPublicKeyInfo, as
/// cosign does.
pub fn hint(key: &PublicKey) -> String {
    Base64::encode_string(&key.id().0)
}

impl Bundle {
    /// A bundle of an envelope that is not in a log yet.
    pub fn new(envelope: Envelope, key: &PublicKey) -> Self {
        Self { envelope, hint: hint(key), logged: None }
    }

    /// The same bundle, with the proof that `log` has it.
    ///
    /// # Errors
    /// When `key` did not sign it.
    pub fn with_proof(
        self,
        key: PublicKey,
        log: &VerifierKey,
        proof: Proof,
    ) -> Result<Self, BundleError> {
        let entry = Entry::of(&self.envelope, key)?;
        let logged = Logged { log_id: log.hash(), entry, proof: Proof { extra: None, ..proof } };
        Ok(Self { logged: Some(logged), ..self })
    }

    /// Reads a bundle. That its entry is of its envelope is checked; what the log proves is not.
    ///
    /// # Errors
    /// When it is none, or says two things at once.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BundleError> {
        let text: Text = json::parse(bytes)?;
        if text.media_type != MEDIA_TYPE {
            return Err(BundleError::MediaType(text.media_type));
        }
        let envelope = Envelope::try_from(text.dsse_envelope)?;
        let material = text.verification_material;
        let logged = match material.tlog_entries.as_slice() {
            [] => None,
            [entry] => Some(Logged::of(entry)?),
            more => return Err(BundleError::Entries(more.len())),
        };
        let bundle = Self { envelope, hint: material.public_key.hint, logged };
        match &bundle.logged {
            Some(logged) if !logged.entry.is_of(&bundle.envelope) => {
                Err(BundleError::Other(Box::new(bundle)))
            }
            _ => Ok(bundle),
        }
    }

    /// The bundle as JSON, in one line.
    ///
    /// # Errors
    /// None that a bundle can cause.
    pub fn to_json(&self) -> Result<Vec<u8>, BundleError> {
        let entries = self.logged.iter().map(Logged::text);
        let mut json = json::write(&Text {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material {
                public_key: KeyHint { hint: self.hint.clone() },
                tlog_entries: entries.collect::<Result<_, BundleError>>()?,
                timestamp_verification_data: None,
            },
            dsse_envelope: dsse::Text::from(&self.envelope),
        })?;
        json.push(b'\n');
        Ok(json)
    }
}

impl Logged {
    fn of(text: &TlogEntry) -> Result<Self, BundleError> {
        let KindVersion { kind, version } = &text.kind_version;
        if (kind.as_str(), version.as_str()) != (entry::KIND, entry::VERSION) {
            let (kind, version) = (kind.clone(), version.clone());
            return Err(BundleError::Kind { kind, version });
        }
        let proof = &text.inclusion_proof;
        let index = number("logIndex", text.log_index.as_deref())?;
        if index != number("logIndex", proof.log_index.as_deref())? {
            return Err(BundleError::Twofold("logIndex"));
        }
        let checkpoint = Note::parse(&proof.checkpoint.envelope)?;
        let head = Checkpoint::parse(&checkpoint.text)?;
        // Only the checkpoint is signed. What stands beside it must not tempt a reader to use it.
        if head.size != number("treeSize", proof.tree_size.as_deref())? {
            return Err(BundleError::Twofold("treeSize"));
        }
        if head.root != digest("rootHash", &proof.root_hash)? {
            return Err(BundleError::Twofold("rootHash"));
        }
        if proof.hashes.len() > MAX_HASHES {
            return Err(BundleError::Hashes);
        }
        let hashes = proof.hashes.iter().map(|hash| digest("hashes", hash));
        let hashes = hashes.collect::<Result<_, _>>()?;
        let body = Base64::decode_vec(&text.canonicalized_body);
        let body = body.map_err(|_| BundleError::Base64("canonicalizedBody"))?;
        Ok(Self {
            log_id: digest("keyId", &text.log_id.key_id)?,
            entry: Entry::from_body(&body)?,
            proof: Proof { extra: None, index, hashes, checkpoint },
        })
    }

    fn text(&self) -> Result<TlogEntry, BundleError> {
        let base64 = |digest: &Sha256| Base64::encode_string(&digest.0);
        let head = self.proof.tree_head()?;
        // JSON of protobuf leaves zero out, and takes it.
        let index = Some(self.proof.index.to_string());
        Ok(TlogEntry {
            log_index: index.clone(),
            log_id: LogId { key_id: base64(&self.log_id) },
            kind_version: KindVersion {
                kind: entry::KIND.to_owned(),
                version: entry::VERSION.to_owned(),
            },
            integrated_time: None,
            inclusion_proof: InclusionProof {
                log_index: index,
                root_hash: base64(&head.root),
                tree_size: Some(head.size.to_string()),
                hashes: self.proof.hashes.iter().map(base64).collect(),
                checkpoint: NoteText { envelope: self.proof.checkpoint.to_string() },
            },
            canonicalized_body: Base64::encode_string(&self.entry.to_body()?),
        })
    }
}

fn digest(field: &'static str, text: &str) -> Result<Sha256, BundleError> {
    let bytes = Base64::decode_vec(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Sha256).ok_or(BundleError::Base64(field))
}

/// A 64-bit number, which JSON of protobuf writes as a string; none is zero.
fn number(field: &'static str, text: Option<&str>) -> Result<u64, BundleError> {
    let text = text.unwrap_or("0");
    let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    // What protobuf has there is signed.
    let number = number.filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| BundleError::Number { field, found: text.to_owned() })
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Text {
    media_type: String,
    verification_material: Material,
    dsse_envelope: dsse::Text,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Material {
    public_key: KeyHint,
    #[serde(default)]
    tlog_entries: Vec<TlogEntry>,
    /// Others write it, also empty. A key needs no time to have been valid at.
    #[serde(default, skip_serializing)]
    #[allow(dead_code, reason = "not used")]
    timestamp_verification_data: Option<IgnoredAny>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TlogEntry {
    log_index: Option<String>,
    log_id: LogId,
    kind_version: KindVersion,
    /// Of a tiled log there is none that anyone signed.
    #[serde(default, skip_serializing)]
    #[allow(dead_code, reason = "not used")]
    integrated_time: Option<IgnoredAny>,
    inclusion_proof: InclusionProof,
    canonicalized_body: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LogId {
    key_id: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KindVersion {
    kind: String,
    version: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct InclusionProof {
    log_index: Option<String>,
    root_hash: String,
    tree_size: Option<String>,
    #[serde(default)]
    hashes: Vec<String>,
    checkpoint: NoteText,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NoteText {
    envelope: String,
}
