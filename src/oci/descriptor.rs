//! Descriptors and digests (OCI Image Format Specification 1.1, `descriptor.md`): how manifests and indexes name
//! content.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::digest::Sha256;

/// "OCI Content Descriptors".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The contents, where they are short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Of a manifest: what it is the manifest of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// More of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What others say of it (`platform`, `urls`, ...): whoever writes an index again must not lose that.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// "Digests": `algorithm:encoded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// The one algorithm that is read here.
    Sha256(Sha256),
    /// Of another, as it is written. It names what we cannot check, so that this is not fetched; but it is no
    /// reason to refuse a list in which it stands ("Implementations SHOULD allow digests with unrecognized
    /// algorithms to pass validation").
    Other(String),
}

/// Text that is no digest.
#[derive(Debug, thiserror::Error)]
#[error("expected a digest `ALGORITHM:ENCODED`; after `sha256:`, 64 lower-case hex digits")]
pub struct ParseDigestError;

impl Digest {
    /// The SHA-256, if it is one.
    pub fn sha256(&self) -> Option<Sha256> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            Self::Other(_) => None,
        }
    }
}

impl From<Sha256> for Digest {
    fn from(digest: Sha256) -> Self {
        Self::Sha256(digest)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, encoded) = text.split_once(':').ok_or(ParseDigestError)?;
        let component = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let of_encoded = |c: char| c.is_ascii_alphanumeric() || "=_-".contains(c);
        let fits = algorithm.split(['+', '.', '_', '-']).all(component)
            && !encoded.is_empty()
            && encoded.chars().all(of_encoded);
        match algorithm {
            "sha256" => encoded.parse().map(Self::Sha256).map_err(|_| ParseDigestError),
            _ if fits => Ok(Self::Other(text.to_owned())),
            _ => Err(ParseDigestError),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification, and others.
    #[test]
    fn digests() {
        let ours = format!("sha256:{}", Sha256::of("x"));
        assert_eq!(ours.parse::<Digest>().unwrap().sha256(), Some(Sha256::of("x")));
        for text in [
            &format!("sha512:{}", "0a".repeat(64)),
            "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
            "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
            "a.b_c-d:=",
        ] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!((digest.sha256(), digest.to_string()), (None, text.to_owned()));
        }
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha512:",
            ":00",
            "sha256:00",
            &ours.to_uppercase(),
            &format!("sha256:{}", "A0".repeat(32)),
            "SHA512:00",
            "a++b:00",
            "-a:00",
            "sha512:0:0",
            "sha512:0/0",
            "sha512:0\n",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
