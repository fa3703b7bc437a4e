//! The lock: every input by SHA-256 and size, with where it may be had and what vouched for it.
//!
//! It holds no host name, no local path and no time of locking. Where a pool path is fetched from
//! is the host's business.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::manifest::Manifest;
use crate::manifest::load::read_text;
use crate::names::{GuestPath, Line, Name, ProjectName, ProjectVersion, Suite};
use crate::whole;
use crate::yaml::{Document, emit};

/// The lock's format. One version so far; a reader refuses any other.
pub const VERSION: u32 = 1;

/// The largest lock that is read: one of a directory of half a million files.
const MAX_BYTES: u64 = 64 << 20;

/// Every input of one manifest, pinned.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// [`VERSION`].
    pub version: u32,
    /// [`Manifest::digest`] of the manifest that this lock belongs to.
    pub manifest: Sha256,
    /// The programs of the guest that counterfoil itself carries, first of all PID 1.
    pub builtin: BTreeMap<Name, Object>,
    /// The release files that vouched for packages, by suite.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub archives: BTreeMap<Suite, LockedArchive>,
    /// What each input was in the manifest, digested, so that an input that did not change stays
    /// as it is when others do.
    pub sources: BTreeMap<Name, Sha256>,
    /// What each input resolved to.
    pub inputs: BTreeMap<Name, LockedInput>,
}

/// A suite's release file as it was when locked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedArchive {
    /// `Origin`, such as `Debian`.
    pub origin: String,
    /// `Suite`, such as `unstable`.
    pub suite: String,
    /// `Codename`, such as `sid`.
    pub codename: String,
    /// `Date`: when the archive made it; RFC 3339, UTC.
    pub date: String,
    /// `Valid-Until`; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// Whether it was past `Valid-Until` when locked: an old, or a withheld, state of the archive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// SHA-256 of the signed release file as received.
    pub sha256: Sha256,
    /// Fingerprints of the OpenPGP keys whose signatures on it are good.
    pub signed_by: Vec<String>,
}

/// What one input resolved to.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockedInput {
    /// Packages, sorted by name.
    Deb(Vec<LockedPackage>),
    /// A source package.
    Source(LockedSource),
    /// A file that was beside the manifest.
    File(Object),
    /// A directory that was beside the manifest: every path in it.
    Dir(BTreeMap<GuestPath, LockedEntry>),
    /// A file fetched from a URL.
    Url(LockedUrl),
    /// A tar archive.
    Tar(LockedTar),
    /// A source distribution of a Python project.
    Sdist(LockedSdist),
    /// A program that counterfoil itself carries; its bytes are under [`Lock::builtin`].
    Builtin(Name),
    /// Something compiled from other inputs.
    Build(LockedBuild),
}

/// A source package.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedSource {
    /// `Package`.
    pub package: String,
    /// `Version`.
    pub version: String,
    /// The suite it was found in; a key of [`Lock::archives`].
    pub suite: Suite,
    /// Its parts, by what they are whatever the version: `orig.tar.xz`.
    pub parts: BTreeMap<GuestPath, LockedPart>,
}

/// A part of a source package.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPart {
    /// Its path in the archive's pool.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Their length.
    pub size: u64,
}

/// What compiling gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBuild {
    /// SHA-256 of everything that shapes the result: inputs, recipe, and the rules of the room.
    pub recipe: Sha256,
    /// The result, a tar archive.
    pub result: Object,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedPackage {
    /// `Package`.
    pub package: String,
    /// `Version`.
    pub version: String,
    /// `Architecture`.
    pub architecture: String,
    /// The suite it was found in; a key of [`Lock::archives`].
    pub suite: Suite,
    /// `Filename`: its path in the archive's pool.
    pub path: String,
    /// SHA-256 of the .deb.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// Its data.tar, uncompressed: what is kept in the store, so that nobody unpacks it twice.
    pub data: Object,
}

/// One path of a locked directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum LockedEntry {
    /// A directory.
    Directory,
    /// A file; of its mode only the owner's executable bit counts.
    File {
        /// SHA-256 of its bytes.
        sha256: Sha256,
        /// Their length.
        size: u64,
        /// Whether its owner may execute it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    /// A symbolic link.
    Symlink(Line),
}

/// A file fetched from a URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedUrl {
    /// Where it was fetched from, as the manifest says.
    pub url: Line,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Their length.
    pub size: u64,
}

/// A tar archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedTar {
    /// Where it was fetched from, if not beside the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Line>,
    /// SHA-256 of the archive as received.
    pub sha256: Sha256,
    /// Its length.
    pub size: u64,
    /// The same, uncompressed.
    pub data: Object,
}

/// A source distribution of a Python project. Any index that has it will do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSdist {
    /// The project, as the manifest says it.
    pub package: ProjectName,
    /// Its version.
    pub version: ProjectVersion,
    /// The file's name in an index.
    pub file: Line,
    /// SHA-256 of the archive as received.
    pub sha256: Sha256,
    /// Its length.
    pub size: u64,
    /// The same, uncompressed.
    pub data: Object,
}

impl LockedPackage {
    /// The .deb itself.
    pub fn deb(&self) -> Object {
        Object { sha256: self.sha256, size: self.size }
    }
}

impl LockedPart {
    /// Its bytes.
    pub fn object(&self) -> Object {
        Object { sha256: self.sha256, size: self.size }
    }
}

impl LockedUrl {
    /// Its bytes.
    pub fn object(&self) -> Object {
        Object { sha256: self.sha256, size: self.size }
    }
}

impl LockedTar {
    /// The archive as received.
    pub fn packed(&self) -> Object {
        Object { sha256: self.sha256, size: self.size }
    }
}

impl LockedSdist {
    /// The archive as received.
    pub fn packed(&self) -> Object {
        Object { sha256: self.sha256, size: self.size }
    }
}

impl Lock {
    /// Where the lock of the manifest at `manifest` stands: `NAME.lock.yaml` beside `NAME.yaml`, and
    /// in a release `lock.yaml` beside `manifest.yaml`.
    pub fn path_for(manifest: &Path) -> PathBuf {
        let released = manifest.with_file_name("lock.yaml");
        match manifest.file_name().is_some_and(|name| name == "manifest.yaml") && released.is_file()
        {
            true => released,
            false => manifest.with_extension("lock.yaml"),
        }
    }

    /// Reads the lock at `path`, or `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when it is not a lock, [`Kind::Environment`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error)
                    .context(Kind::Environment, || format!("failed reading `{}`", path.display()));
            }
        }
        Self::parse(&read_text(path, MAX_BYTES)?, &path.display().to_string()).map(Some)
    }

    /// The lock of a release or a bundle, as it is written.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when it is none, or has another spelling.
    pub fn released(text: &str, name: &str) -> Result<Self> {
        let lock = Self::parse(text, name)?;
        match lock.canonical() == text {
            true => Ok(lock),
            false => {
                let message =
                    format!("{name} is not in the form in which `counterfoil lock` writes it");
                Err(Error::new(Kind::Malformed, message))
            }
        }
    }

    fn parse(text: &str, name: &str) -> Result<Self> {
        let lock: Self = Document { name, text }.parse().map_err(|error| {
            error.hint("a lock is written by `counterfoil lock`, never by hand")
        })?;
        if lock.version != VERSION {
            let message =
                format!("`{name}`: lock version {} is not known; expected {VERSION}", lock.version);
            return Err(
                Error::new(Kind::CannotDecide, message).hint("a newer counterfoil may read it")
            );
        }
        Ok(lock)
    }

    /// Writes the lock to `path`, whole or not at all.
    ///
    /// # Errors
    /// [`Kind::Environment`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        whole::write(path, self.canonical().as_bytes())
    }

    /// The lock's text: one spelling for one lock.
    pub fn canonical(&self) -> String {
        let body = emit(self);
        format!(
            "# Written by `counterfoil lock`. Do not edit: a build checks it against the manifest.\n{body}"
        )
    }

    /// Checks that this lock was made from `manifest`.
    ///
    /// # Errors
    /// [`Kind::Rejected`] when it was made from another.
    pub fn check_manifest(&self, manifest: &Manifest) -> Result<()> {
        let digest = manifest.digest();
        let changed = manifest
            .inputs
            .keys()
            .filter(|name| !self.inputs.contains_key(*name))
            .chain(self.inputs.keys().filter(|name| !manifest.inputs.contains_key(*name)))
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>();
        if self.manifest == digest && changed.is_empty() {
            return Ok(());
        }
        let detail = match changed.is_empty() {
            true => String::new(),
            false => format!(" (inputs added or removed: {})", changed.join(", ")),
        };
        let message = format!(
            "the lock was made from another manifest{detail}: it names {}, the manifest is {digest}",
            self.manifest
        );
        Err(Error::new(Kind::Rejected, message).hint(
            "run `counterfoil lock MANIFEST` to lock what changed; other inputs stay as they are",
        ))
    }

    /// Every archive with what it unpacks to.
    pub fn archives_unpacked(&self) -> Vec<(Object, Object)> {
        let mut all = Vec::new();
        for input in self.inputs.values() {
            match input {
                LockedInput::Deb(packages) => {
                    all.extend(packages.iter().map(|package| (package.deb(), package.data)))
                }
                LockedInput::Tar(tar) => {
                    all.push((tar.packed(), tar.data));
                }
                LockedInput::Sdist(sdist) => all.push((sdist.packed(), sdist.data)),
                _ => {}
            }
        }
        all
    }

    /// Everything that must be in the store to build, with a name for messages.
    pub fn objects(&self) -> Vec<(String, Object)> {
        let mut all = Vec::new();
        for (name, object) in &self.builtin {
            all.push((format!("builtin `{name}`"), *object));
        }
        for (name, input) in &self.inputs {
            match input {
                LockedInput::Deb(packages) => all.extend(packages.iter().map(|package| {
                    (format!("input `{name}`, package `{}`", package.package), package.data)
                })),
                LockedInput::Source(source) => all.extend(
                    source
                        .parts
                        .iter()
                        .map(|(path, part)| (format!("input `{name}`, `{path}`"), part.object())),
                ),
                LockedInput::File(object) => all.push((format!("input `{name}`"), *object)),
                LockedInput::Dir(entries) => {
                    all.extend(entries.iter().filter_map(|(path, entry)| match entry {
                        LockedEntry::File { sha256, size, .. } => Some((
                            format!("input `{name}`, file `{path}`"),
                            Object { sha256: *sha256, size: *size },
                        )),
                        _ => None,
                    }));
                }
                LockedInput::Url(url) => all.push((format!("input `{name}`"), url.object())),
                LockedInput::Tar(tar) => all.push((format!("input `{name}`"), tar.data)),
                LockedInput::Sdist(sdist) => all.push((format!("input `{name}`"), sdist.data)),
                LockedInput::Build(build) => all.push((format!("input `{name}`"), build.result)),
                LockedInput::Builtin(_) => {}
            }
        }
        all
    }
}
