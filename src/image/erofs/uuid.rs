//! The UUID of an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Sha256, parse_hex};

/// A UUID (RFC 9562).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zeroes (RFC 9562, 5.9).
    pub const NIL: Self = Self([0; 16]);

    /// The UUID of an image: version 8 (RFC 9562, 5.8), made of the SHA-256 of `counterfoil erofs/1`
    /// and the root hash that the volume has with a UUID of zeroes. So it names the contents, costs no
    /// second hash over them, and says no more of them than the root hash does.
    pub fn of_contents(root_with_nil: Sha256) -> Self {
        let digest = Sha256::of([b"counterfoil erofs/1".as_slice(), &root_with_nil.0].concat());
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&digest.0[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x80; // version 8
        uuid[8] = uuid[8] & 0x3f | 0x80; // the variant of RFC 9562
        Self(uuid)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Text that is no UUID.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a UUID such as `00000000-0000-8000-8000-000000000000`, in lower case")]
pub struct ParseUuidError(String);

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let uuid = parse_hex(&text.replace('-', "")).ok().map(Self);
        // One value, one spelling.
        uuid.filter(|uuid| uuid.to_string() == text).ok_or_else(|| ParseUuidError(text.to_owned()))
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
