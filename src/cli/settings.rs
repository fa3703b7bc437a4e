//! What the environment says: the one place that reads environment variables and the clock.
#![allow(clippy::disallowed_methods)]

use std::env;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::Global;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::python::config;
use crate::input::store::Store;

/// Mirrors, separated by spaces: the environment's `--mirror`.
const MIRROR: &str = "COUNTERFOIL_MIRROR";

/// The environment's `--python-index`, ours and pip's.
const PYTHON_INDEX: [&str; 2] = ["COUNTERFOIL_PYTHON_INDEX", "PIP_INDEX_URL"];

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

    /// The Python package index from the command line, the environment, or pip's configuration.
    pub(super) fn python_index(&self, given: Option<&str>) -> Option<String> {
        let said = |name: &str| env::var(name).ok().filter(|text| !text.trim().is_empty());
        given
            .map(str::to_owned)
            .or_else(|| PYTHON_INDEX.into_iter().find_map(said))
            .map(|index| index.trim().to_owned())
            .or_else(|| config::index_url(&pip_files()))
    }

    /// Where Docker keeps passwords for registries.
    pub(super) fn docker_config(&self) -> Option<PathBuf> {
        let directory = |name| env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        let directory =
            directory("DOCKER_CONFIG").or_else(|| Some(directory("HOME")?.join(".docker")));
        directory.map(|directory| directory.join("config.json"))
    }

    /// Seconds since 1970, to tell whether a release file has expired; never part of an artifact.
    pub(super) fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// pip's configuration files on this machine, the last one counting most (pip's documentation,
/// "Configuration", "Location"); without those of a virtual environment, in which we are not.
fn pip_files() -> Vec<PathBuf> {
    let said = env::var_os("PIP_CONFIG_FILE").map(PathBuf::from);
    if said.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let directories = |name, or: &str| {
        let text = env::var_os(name).filter(|text| !text.is_empty()).unwrap_or_else(|| or.into());
        env::split_paths(&text).collect::<Vec<_>>()
    };
    let mut files: Vec<PathBuf> = directories("XDG_CONFIG_DIRS", "/etc/xdg")
        .iter()
        .map(|directory| directory.join("pip/pip.conf"))
        .collect();
    files.push("/etc/pip.conf".into());
    // The one that is said stands in the place of the user's.
    if let Some(said) = said.filter(|path| path.exists()) {
        files.push(said);
        return files;
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    files.extend(home.iter().map(|home| home.join(".pip/pip.conf")));
    let config = env::var_os("XDG_CONFIG_HOME").filter(|text| !text.is_empty()).map(PathBuf::from);
    files.extend(
        config.or_else(|| Some(home?.join(".config"))).map(|config| config.join("pip/pip.conf")),
    );
    files
}

/// Whether colour is unwanted (no-color.org).
pub(super) fn no_color() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|term| term == "dumb")
}
