//! A suite's release file: what the archive's key vouches for
//! (DebianRepository/Format, "Release" files).

mod date;

use std::collections::{BTreeMap, BTreeSet};

use super::cleartext::{self, Cleartext};
use super::deb822::{self, Field};
use super::keyring::{self, Keyring};
use crate::digest::Sha256;

/// A release file whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Who publishes it, such as `Debian`.
    pub origin: Option<String>,
    /// What it is called, such as `Debian` or `Debian-Security`.
    pub label: Option<String>,
    /// The suite, such as `stable`: a name that moves from release to release.
    pub suite: Option<String>,
    /// The codename, such as `trixie`: a name that stays.
    pub codename: Option<String>,
    /// When it was made, in Unix seconds.
    pub date: u64,
    /// Until when it should be used, in Unix seconds. Stable suites do not say.
    pub valid_until: Option<u64>,
    /// Whether indexes can be had under their digest's name.
    pub acquire_by_hash: bool,
    /// Whether the index of an architecture has the packages for all architectures too.
    pub merged_all: bool,
    /// Such as `main`.
    pub components: Vec<String>,
    /// Such as `amd64`.
    pub architectures: Vec<String>,
    /// The files below the suite's directory.
    pub files: BTreeMap<String, Listed>,
    /// The digest of the file as it was received: `InRelease`, or `Release`.
    pub sha256: Sha256,
    /// The fingerprints of the primary keys whose signatures are valid.
    pub signed_by: BTreeSet<String>,
}

/// A file that a release lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// Whether a release is in date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Current,
    /// Its time ran out this many seconds ago: a mirror that stands still, or one that holds
    /// security updates back.
    Expired {
        /// Seconds since `Valid-Until`.
        seconds: u64,
    },
    /// It is dated this many seconds from now: some clock is wrong.
    Future {
        /// Seconds until `Date`.
        seconds: u64,
    },
}

/// Why a release file cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a cleartext-signed text.
    #[error("the release file is not properly signed")]
    Cleartext(#[from] cleartext::Error),
    /// A field that is missing, doubled or unreadable.
    #[error("the release file is malformed: {0}")]
    Malformed(String),
    /// No valid signature.
    #[error("the release file's signature cannot be trusted")]
    Signature(#[from] keyring::Error),
    /// Another suite than the one asked for.
    #[error(
        "the release file is of suite `{}`, codename `{}`; asked for was `{asked}`: \
         the mirror answers with another suite than it should",
        suite.as_deref().unwrap_or("-"), codename.as_deref().unwrap_or("-")
    )]
    Suite {
        /// The suite asked for.
        asked: String,
        /// The suite it says it is.
        suite: Option<String>,
        /// The codename it says it has.
        codename: Option<String>,
    },
}

impl Release {
    /// Checks and reads an `InRelease` file. `now` is in Unix seconds.
    pub fn from_inrelease(bytes: &[u8], keyring: &Keyring, now: u64) -> Result<Self, Error> {
        let Cleartext { text, signed, signatures } = cleartext::parse(bytes)?;
        let signed_by = keyring.verify(&signed, &signatures, now)?;
        Ok(Self { sha256: Sha256::of(bytes), signed_by, ..Self::parse_unverified(&text)? })
    }

    /// Checks and reads a `Release` file and its `Release.gpg`.
    pub fn from_detached(
        bytes: &[u8],
        signature: &[u8],
        keyring: &Keyring,
        now: u64,
    ) -> Result<Self, Error> {
        let signed_by = keyring.verify(bytes, &cleartext::detached(signature)?, now)?;
        let text = std::str::from_utf8(bytes).map_err(|_| cleartext::Error::Encoding)?;
        // A signature over text leaves the kind of line ending open; only one kind is read here.
        if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
            return Err(malformed("it has a control character".into()));
        }
        Ok(Self { sha256: Sha256::of(bytes), signed_by, ..Self::parse_unverified(text)? })
    }

    /// Reads a release file's text, of which nothing vouches: nobody has signed it.
    pub fn parse_unverified(text: &str) -> Result<Self, Error> {
        let stanzas = deb822::stanzas(text)
            .map_err(|stray| malformed(format!("line {} has no `Field: value`", stray.line)))?;
        let [stanza] = stanzas.as_slice() else {
            return Err(malformed(format!("expected one stanza, got {}", stanzas.len())));
        };
        let mut fields = BTreeMap::new();
        for field in stanza {
            if fields.insert(field.name.to_ascii_lowercase(), field).is_some() {
                return Err(malformed(format!("field `{}` is there twice", field.name)));
            }
        }
        let value = |name: &str| {
            fields.get(name).and_then(|field| field.lines.first()).map(|value| (*value).to_owned())
        };
        let words = |name: &str| -> Vec<String> {
            let words = fields.get(name).map(|field| field.words().map(str::to_owned).collect());
            words.unwrap_or_default()
        };
        let time = |name: &str| match value(name) {
            None => Ok(None),
            Some(text) => date::parse(&text).map(Some).ok_or_else(|| {
                malformed(format!(
                    "`{name}` is `{text}`, expected a date such as `Sat, 12 Sep 2026 07:55:41 UTC`"
                ))
            }),
        };
        let files =
            fields.get("sha256").ok_or_else(|| malformed("it has no `SHA256` field".into()))?;
        Ok(Self {
            origin: value("origin"),
            label: value("label"),
            suite: value("suite"),
            codename: value("codename"),
            date: time("date")?.ok_or_else(|| malformed("it has no `Date`".into()))?,
            valid_until: time("valid-until")?,
            acquire_by_hash: value("acquire-by-hash")
                .is_some_and(|v| v.eq_ignore_ascii_case("yes")),
            merged_all: words("no-support-for-architecture-all").iter().any(|w| w == "Packages"),
            components: words("components"),
            architectures: words("architectures"),
            files: parse_files(files)?,
            sha256: Sha256::of(text),
            signed_by: BTreeSet::new(),
        })
    }

    /// Makes sure that this is the suite asked for, by either of its names.
    pub fn check_suite(&self, asked: &str) -> Result<(), Error> {
        let is = |name: &Option<String>| name.as_deref() == Some(asked);
        // Some archives give `X-updates` the codename X: that is not X.
        let pocket = |suite: &String| suite.strip_prefix(asked).is_some_and(|r| r.starts_with('-'));
        if is(&self.suite) || is(&self.codename) && !self.suite.as_ref().is_some_and(pocket) {
            return Ok(());
        }
        Err(Error::Suite {
            asked: asked.to_owned(),
            suite: self.suite.clone(),
            codename: self.codename.clone(),
        })
    }

    /// Whether it is in date at `now`, in Unix seconds.
    pub fn freshness(&self, now: u64) -> Freshness {
        match self.valid_until {
            Some(until) if now > until => Freshness::Expired { seconds: now - until },
            _ if self.date > now => Freshness::Future { seconds: self.date - now },
            _ => Freshness::Current,
        }
    }
}

fn parse_files(field: &Field<'_>) -> Result<BTreeMap<String, Listed>, Error> {
    let mut files = BTreeMap::new();
    for line in field.lines.iter().filter(|line| !line.is_empty()) {
        let wrong = || malformed(format!("`{line}` is not `sha256 size path`"));
        let mut words = line.split_ascii_whitespace();
        let (Some(sha256), Some(size), Some(path), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let sha256 = sha256.parse().map_err(|_| wrong())?;
        let listed = Listed { sha256, size: size.parse().map_err(|_| wrong())? };
        if !is_below(path) {
            return Err(malformed(format!("`{path}` is not a path below the suite's directory")));
        }
        if files.insert(path.to_owned(), listed).is_some_and(|before| before != listed) {
            return Err(malformed(format!("`{path}` is there twice, differently")));
        }
    }
    Ok(files)
}

/// Whether `path` stays below the directory that it is relative to.
pub(super) fn is_below(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    path.bytes().all(plain) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn malformed(problem: String) -> Error {
    Error::Malformed(problem)
}
