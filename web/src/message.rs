//! What the page hands over: one message, so that one pointer does.
//!
//! ```text
//! u32, little-endian: length of the header
//! header, JSON: {"at": "2026-11-22T12:00:00Z",           the time to decide for, in UTC
//!                "challenge": "…hex digits"|null,        a nonce of 32 bytes or all 64 of REPORT_DATA, if
//!                                                        the machine was sent one
//!                "files": [{"name": "launch.json", "size": 5120, "as": "launch-record"|null}, …]}
//! the bytes of the files, in the order of the header, with nothing between or after them
//! ```
//!
//! A file whose `as` is null is taken for what it looks like ([`crate::role`]).

use counterfoil::error::{Context as _, Error, Kind, Result};
use serde::Deserialize;

use crate::role::Role;

/// Everything that there is to decide upon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// The time to decide for, as text.
    pub at: String,
    /// What the machine was sent, as a person typed it.
    pub challenge: Option<String>,
    /// The files, in the order in which they were given.
    pub files: Vec<File<'a>>,
}

/// A file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File<'a> {
    /// Its name, without a directory.
    pub name: String,
    /// What it is taken for.
    pub role: Role,
    /// What is in it.
    pub bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes a message apart.
    ///
    /// # Errors
    /// When it is not of the form above.
    pub fn parse(message: &'a [u8]) -> Result<Self> {
        let cut = || Error::new(Kind::Malformed, "the message of the page is cut off");
        let (length, rest) = message.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
        let (header, mut rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header: Header = serde_json::from_slice(header).context(Kind::Malformed, || {
            "the header of the page's message is malformed".to_owned()
        })?;
        let mut files = Vec::new();
        for Listed { name, size, role } in header.files {
            let (bytes, behind) = rest.split_at_checked(size).ok_or_else(cut)?;
            rest = behind;
            files.push(File { role: role.unwrap_or_else(|| Role::of(&name, bytes)), name, bytes });
        }
        match rest.is_empty() {
            true => Ok(Self { at: header.at, challenge: header.challenge, files }),
            false => Err(Error::new(Kind::Malformed, "the message of the page is too long")),
        }
    }

    /// The files that are taken for this.
    pub fn all(&self, role: Role) -> impl Iterator<Item = &File<'a>> {
        self.files.iter().filter(move |file| file.role == role)
    }

    /// The one file that is taken for this, if there is one.
    ///
    /// # Errors
    /// When there are several.
    pub fn one(&self, role: Role) -> Result<Option<&File<'a>>> {
        let mut found = self.all(role);
        match (found.next(), found.next()) {
            (one, None) => Ok(one),
            (Some(one), Some(other)) => Err(Error::new(
                Kind::Usage,
                format!("both `{}` and `{}` are taken for {}", one.name, other.name, role.words()),
            )
            .hint("remove one of them, or say what it is")),
            (None, Some(_)) => Ok(None),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    at: String,
    challenge: Option<String>,
    files: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    size: usize,
    #[serde(rename = "as")]
    role: Option<Role>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(header: &str, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(header.len()).unwrap();
        [&length.to_le_bytes()[..], header.as_bytes(), bytes].concat()
    }

    const HEADER: &str = r#"{"at": "2026-11-22T12:00:00Z", "challenge": null, "files": [
        {"name": "a", "size": 2, "as": null}, {"name": "b", "size": 3, "as": "policy"}]}"#;

    #[test]
    fn files_come_apart_where_the_header_says() {
        let message = message(HEADER, b"aabbb");
        let message = Message::parse(&message).unwrap();
        let file = |name: &str, role, bytes| File { name: name.to_owned(), role, bytes };
        assert_eq!(
            message.files,
            [file("a", Role::Report, b"aa".as_slice()), file("b", Role::Policy, b"bbb")]
        );
    }

    #[test]
    fn a_byte_more_or_less_is_an_error() {
        for bytes in [b"aabb".as_slice(), b"aabbbb", b""] {
            assert!(Message::parse(&message(HEADER, bytes)).is_err(), "{bytes:?}");
        }
        let message = message(HEADER, b"aabbb");
        for length in 0..message.len() {
            assert!(Message::parse(&message[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn two_policies_are_none() {
        let header = HEADER.replace("null}", "\"policy\"}");
        let message = message(&header, b"aabbb");
        let error = Message::parse(&message).unwrap().one(Role::Policy).unwrap_err();
        assert_eq!(error.to_string(), "both `a` and `b` are taken for a policy");
    }
}
