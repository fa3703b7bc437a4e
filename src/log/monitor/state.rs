//! What a monitor keeps of a log from one look to the next.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};

/// The version of [`State`] that is written.
pub const VERSION: u32 = 2;

/// By the digest of a launch record, by who speaks of it (a key, on one line), and by the digest of the launch digests
/// that are said. Nobody takes the place of somebody else by speaking first.
pub type ByRecord<T> = BTreeMap<Sha256, BTreeMap<String, BTreeMap<Sha256, T>>>;

/// What was seen of a log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The version of this file.
    pub version: u32,
    /// The last checkpoint that held.
    pub checkpoint: Option<String>,
    /// How many of its entries were read.
    pub read: u64,
    /// Those of them whose statements could not be had. They are looked for each time.
    pub pending: BTreeSet<u64>,
    /// The releases that the log has.
    pub releases: ByRecord<Release>,
    /// Who came to which measurements, also of a release that is not in the log yet.
    pub rebuilds: ByRecord<Rebuild>,
}

/// A release that the log has.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The entry of its statement.
    pub index: u64,
    /// Its name.
    pub name: String,
    /// Since when it waits to be rebuilt, in seconds since 1970.
    pub since: u64,
}

/// What somebody came to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuild {
    /// The entry of the statement.
    pub index: u64,
    /// Who, as they name themselves.
    pub builder: String,
    /// What differed first, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            checkpoint: None,
            read: 0,
            pending: BTreeSet::new(),
            releases: ByRecord::new(),
            rebuilds: ByRecord::new(),
        }
    }
}

impl State {
    /// Reads what an earlier look has kept.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when it is none, [`Kind::CannotDecide`] when it is of a version that is not known.
    pub fn from_json(bytes: &[u8], name: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Any {
            version: u32,
            checkpoint: Option<String>,
        }
        let none = || format!("`{name}` is no state of a monitor");
        let any: Any = serde_json::from_slice(bytes).context(Kind::Malformed, none)?;
        match any.version {
            VERSION => serde_json::from_slice(bytes).context(Kind::Malformed, none),
            // It had one statement of each release, the first, whoever made that. The past that it has seen is
            // kept, and what the log says is read again.
            1 => Ok(Self { checkpoint: any.checkpoint, ..Self::default() }),
            other => {
                let message =
                    format!("`{name}` is of version {other}: this program knows 1 and {VERSION}");
                Err(Error::new(Kind::CannotDecide, message))
            }
        }
    }
}
