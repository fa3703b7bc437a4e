//! What the environment says: the one place that reads environment variables and the clock.
#![allow(clippy::disallowed_methods)]

use std::env;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::Global;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::store::Store;

/// Mirrors, separated by spaces: the environment's `--mirror`.
const MIRROR: &str = "COUNTERFOIL_MIRROR";

/// Settings that are not part of any artifact.
#[derive(Debug)]
pub(super) struct Settings {
    store: Option<PathBuf>,
}

impl Settings {
    pub(super) fn new(global: &Global) -> Self {
        Self { store: global.store.clone() }
    }

    /// The cache directory (XDG Base Directory Specification).
    pub(super) fn cache(&self) -> Result<PathBuf> {
        if let Some(store) = &self.store {
            // Programs are started from there in directories of their own.
            return std::path::absolute(store)
                .context(Kind::Usage, || format!("`--store {}`", store.display()));
        }
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".cache")))
            .map(|cache| cache.join("counterfoil"))
            .ok_or_else(|| {
                Error::new(
                    Kind::Environment,
                    "neither XDG_CACHE_HOME nor HOME says where to keep inputs",
                )
                .hint("say where with `--store DIR`")
            })
    }

    /// The store in the cache directory.
    pub(super) fn store(&self) -> Result<Store> {
        Store::open(&self.cache()?)
    }

    /// Mirrors from the command line, or else from the environment.
    pub(super) fn mirrors(&self, given: &[String]) -> Vec<String> {
        if !given.is_empty() {
            return given.to_vec();
        }
        let text = env::var(MIRROR).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Seconds since 1970, to tell whether a release file has expired; never part of an artifact.
    pub(super) fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// Whether colour is unwanted (no-color.org).
pub(super) fn no_color() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|term| term == "dumb")
}
