//! GUIDs as firmware stores them: the first three fields little-endian, the last eight bytes as
//! they are written (UEFI 2.10, appendix A).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID, kept as its 16 bytes in memory.
#[derive(
    Clone,
    Copy,
    Eq,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Ord,
    PartialEq,
    PartialOrd,
    Unaligned,
)]
#[repr(transparent)]
pub struct Guid([u8; 16]);

/// Text that is not a GUID in its one accepted spelling.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a GUID: expected 8-4-4-4-12 lower-case hex digits")]
pub struct ParseGuidError(String);

impl Guid {
    /// The GUID of the four fields that specifications print.
    pub const fn new(first: u32, second: u16, third: u16, rest: [u8; 8]) -> Self {
        let [a, b, c, d] = first.to_le_bytes();
        let [e, f] = second.to_le_bytes();
        let [g, h] = third.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = rest;
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The 16 bytes, as they lie in an image.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, rest @ ..] = self.0;
        let first = u32::from_le_bytes([a, b, c, d]);
        let [second, third] = [u16::from_le_bytes([e, g]), u16::from_le_bytes([h, i])];
        write!(f, "{first:08x}-{second:04x}-{third:04x}-")?;
        for (at, byte) in rest.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 2 { "-" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseGuidError(text.to_owned());
        let digits: String = text.split('-').collect();
        let value = u128::from_str_radix(&digits, 16).map_err(|_| wrong())?;
        let [a, b, c, d, e, f, g, h, rest @ ..] = value.to_be_bytes();
        let first = u32::from_be_bytes([a, b, c, d]);
        let guid = Self::new(first, u16::from_be_bytes([e, f]), u16::from_be_bytes([g, h]), rest);
        // The reading above forgives misplaced hyphens and upper case; one value has one spelling.
        if guid.to_string() == text { Ok(guid) } else { Err(wrong()) }
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
