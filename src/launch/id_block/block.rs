//! The 96 bytes that are signed.

use std::fmt;
use std::mem::offset_of;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::layout::{self, FormatError, RawBlock, VERSION};
use crate::digest::{ParseDigestError, Sha384, parse_hex};
use crate::launch::features::Policy;

/// What a launch must be for the firmware to let it start, and what reports then say of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdBlock {
    /// The launch digest. Another one does not start.
    pub launch_digest: Sha384,
    /// FAMILY_ID, for the owner to use.
    pub family_id: Id,
    /// IMAGE_ID, for the owner to use.
    pub image_id: Id,
    /// GUEST_SVN, the owner's security version.
    pub guest_svn: u32,
    /// The guest policy. A launch with another one does not start.
    pub policy: Policy,
}

/// An identity of 16 bytes, which the firmware does not interpret; 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Id(pub [u8; 16]);

impl IdBlock {
    /// The bytes that the firmware reads and that are signed.
    pub fn bytes(&self) -> [u8; size_of::<RawBlock>()] {
        let raw = RawBlock {
            launch_digest: self.launch_digest.0,
            family_id: self.family_id.0,
            image_id: self.image_id.0,
            version: VERSION.into(),
            guest_svn: self.guest_svn.into(),
            policy: self.policy.0.into(),
        };
        zerocopy::transmute!(raw)
    }

    /// Reads an ID block.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let raw: RawBlock = layout::read("ID block", bytes)?;
        let offset = offset_of!(RawBlock, version);
        layout::is("VERSION", offset, raw.version, VERSION, "0x1, the only version")?;
        Ok(Self {
            launch_digest: Sha384(raw.launch_digest),
            family_id: Id(raw.family_id),
            image_id: Id(raw.image_id),
            guest_svn: raw.guest_svn.get(),
            policy: Policy(raw.policy.get()),
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Id {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
