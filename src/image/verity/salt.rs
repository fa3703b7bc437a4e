//! What is hashed before every block.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Sha256;

/// The most that veritysetup and the kernel take (cryptsetup `lib/verity/verity_hash.c`,
/// `VERITY_create`).
const MAX: usize = 256;

/// Bytes hashed before every block, 256 at most; written in hexadecimal, or `-` for none, as in a
/// device-mapper table.
///
/// One that is not known keeps a guess at the data from being checked against a root hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Salt(Vec<u8>);

/// A salt of 32 bytes that is drawn for one volume and stands in no record: without it, nobody can tell
/// from a root hash whether a guess at the data is right.
#[derive(Clone, Eq, PartialEq)]
pub struct SecretSalt([u8; Self::SIZE]);

/// Text that is no salt.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a salt: an even number of lower-case hex digits, at most {max}, or `-` for none",
    max = 2 * MAX
)]
pub struct ParseSaltError(String);

impl Salt {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl SecretSalt {
    /// Its size in bytes. One size for all, so that nobody can open a root hash in two ways, with a block
    /// cut elsewhere.
    pub const SIZE: usize = counterfoil_init::volume::SALT_ON_DISK;

    /// A salt of these bytes, which must be random.
    pub fn new(bytes: [u8; Self::SIZE]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// As the salt that is hashed.
    pub fn reveal(&self) -> Salt {
        Salt(self.0.to_vec())
    }
}

impl fmt::Debug for SecretSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSalt(_)")
    }
}

impl TryFrom<&Salt> for SecretSalt {
    type Error = usize;

    /// The error is the salt's size.
    fn try_from(salt: &Salt) -> Result<Self, usize> {
        salt.0.as_slice().try_into().map(Self).map_err(|_| salt.0.len())
    }
}

impl Default for Salt {
    /// The SHA-256 of `counterfoil verity/1`: a fixed one, so that the same volume has the same root
    /// hash for everybody.
    fn default() -> Self {
        Self(Sha256::of("counterfoil verity/1").0.to_vec())
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Salt {
    type Err = ParseSaltError;

    fn from_str(text: &str) -> Result<Self, ParseSaltError> {
        if text == "-" {
            return Ok(Self(Vec::new()));
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
        bytes
            .filter(|bytes| rest.is_empty() && (1..=MAX).contains(&bytes.len()))
            .map(Self)
            .ok_or_else(|| ParseSaltError(text.to_owned()))
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_has_one_spelling() {
        for text in ["-", "00", &"ab".repeat(256)] {
            assert_eq!(text.parse::<Salt>().unwrap().to_string(), text);
        }
        for text in ["", "0", "0G", "AB", "--", "é", &"ab".repeat(257)] {
            assert!(text.parse::<Salt>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_fixed_salt_is_pinned() {
        assert_eq!(Salt::default().to_string(), Sha256::of("counterfoil verity/1").to_string());
    }
}
