//! What is not the same in two artifacts, and of what class the cause is.
//!
//! Each kind of artifact is walked from the outside in, so that what is reported is the smallest thing that
//! differs: not that two initrds have other digests, but that one file in them has another mode. Nothing is
//! held in memory that grows with the contents; contents are compared where they stand.

pub mod artifact;
mod bytes;
mod cause;
mod cmdline;
mod elf;
mod erofs;
mod firmware;
pub(crate) mod initrd;
mod packing;
pub(crate) mod pe;
mod record;
mod text;
mod tree;

use serde::Serialize;

pub use artifact::Artifact;
pub use cause::Cause;
pub use record::Part;

use crate::error::{Error, Kind};

/// More differences than this are counted and not listed.
const MOST: usize = 10_000;

/// One thing that is not the same.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// Where, from the outside in.
    pub at: Vec<String>,
    /// Of what class the cause is.
    pub cause: Cause,
    /// What it is in the one and in the other.
    pub what: String,
    /// The input that it came from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Everything that was found, in the order in which it was looked for.
#[derive(Debug, Default, Serialize)]
pub struct Diff {
    /// What is not the same.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub more: u64,
    /// What could not be looked into, in words; where it is not empty, there may be more.
    pub not_understood: Vec<String>,
    #[serde(skip)]
    at: Vec<String>,
}

/// Why two artifacts cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// One of them cannot be read.
    #[error("`{0}` cannot be read")]
    Read(String, #[source] std::io::Error),
    /// One of them is damaged.
    #[error("`{0}`: {1}")]
    Malformed(String, String),
}

impl DiffError {
    /// As a person meets it, under a sentence that says what was tried.
    pub fn under(self, message: impl Into<String>) -> Error {
        let kind = match &self {
            Self::Read(..) => Kind::Environment,
            Self::Malformed(..) => Kind::Malformed,
        };
        Error::caused(kind, message, self)
    }
}

impl Diff {
    /// Whether nothing differs, as far as it was understood.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    /// Looks for differences within something.
    pub fn within<T>(&mut self, name: impl Into<String>, look: impl FnOnce(&mut Self) -> T) -> T {
        self.at.push(name.into());
        let found = look(self);
        self.at.pop();
        found
    }

    /// Notes a difference here.
    pub fn differs(&mut self, cause: Cause, what: impl Into<String>) {
        if self.differences.len() >= MOST {
            self.more += 1;
            return;
        }
        let (at, what) = (self.at.clone(), what.into());
        self.differences.push(Difference { at, cause, what, from: None });
    }

    /// Notes a difference, if there is one, between two values that are written alike.
    pub fn value<T: PartialEq + std::fmt::Display>(
        &mut self,
        cause: Cause,
        what: &str,
        one: T,
        two: T,
    ) {
        if one != two {
            self.differs(cause, format!("{what} {one} → {two}"));
        }
    }

    /// Puts last what changes whenever something is made again: where anything else differs, that is the cause.
    pub fn causes_first(&mut self) {
        let follows = |found: &Difference| {
            matches!(
                found.cause,
                Cause::Mtime | Cause::InodeNumbers | Cause::BuildTime | Cause::Uuid | Cause::Tool
            )
        };
        self.differences.sort_by_key(follows);
    }

    /// Notes that something here was not looked into.
    pub fn not_understood(&mut self, what: &str) {
        self.not_understood.push(format!("{}: {what}", self.at.join(": ")));
    }
}

impl Difference {
    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.at.join(": ")
    }
}
