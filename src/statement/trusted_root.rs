//! The `trusted_root.json` by which Sigstore's verifiers know a log of ours (protobuf-specs,
//! `sigstore_trustroot.proto`, as JSON of protobuf): the log's key, and nothing else.
//!
//! They take the log's origin to be the host of its URL (sigstore-go, `pkg/verify/tlog.go`), so a log whose origin
//! has a path or a port cannot be said to them.

use base64ct::{Base64, Encoding as _};
use serde_json::json;

use crate::log::{Algorithm, VerifierKey};
use crate::report::time::Time;

/// `mediaType`.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";

/// What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4 and
/// example 10.1).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// A log that cannot be said to Sigstore's verifiers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrustedRootError {
    /// Not a log's key.
    #[error("key `{0}` is a witness's: expected the log's own, of the type Ed25519")]
    Algorithm(String),
    /// Not a host.
    #[error(
        "origin `{0}` is not a host name in lower case: Sigstore's verifiers know no other origins"
    )]
    Origin(String),
}

/// The file, for these logs.
///
/// # Errors
/// When one of them cannot be said.
pub fn write(logs: &[VerifierKey]) -> Result<Vec<u8>, TrustedRootError> {
    let tlogs = logs.iter().map(instance).collect::<Result<Vec<_>, _>>()?;
    let root = json!({
        "mediaType": MEDIA_TYPE,
        "tlogs": tlogs,
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [],
    });
    Ok(format!("{root:#}\n").into_bytes())
}

fn instance(log: &VerifierKey) -> Result<serde_json::Value, TrustedRootError> {
    let origin = log.name();
    if log.algorithm() != Algorithm::Ed25519 {
        return Err(TrustedRootError::Algorithm(origin.to_owned()));
    }
    let is_host = !origin.starts_with(['.', '-'])
        && origin.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c));
    if !is_host {
        return Err(TrustedRootError::Origin(origin.to_owned()));
    }
    let id = Base64::encode_string(&log.hash().0);
    Ok(json!({
        "baseUrl": format!("https://{origin}"),
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": Base64::encode_string(&[&SPKI, log.key()].concat()),
            "keyDetails": "PKIX_ED25519",
            // Required, and of no consequence: a checkpoint says no time.
            "validFor": { "start": Time::from_unix(0).to_string() },
        },
        "logId": { "keyId": id },
    }))
}
