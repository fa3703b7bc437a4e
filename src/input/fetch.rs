//! Filling the store: the only step that reaches a network once a lock is there.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::digest::{Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::guest;
use crate::input::apt::archive::{self, Trust};
use crate::input::apt::sources::Sources;
use crate::input::http::{self, Client};
use crate::input::open;
use crate::input::progress::Progress;
use crate::input::store::Store;
use crate::manifest::Manifest;
use crate::manifest::lock::{Lock, LockedEntry, LockedInput};
use crate::manifest::types::{Source, Tar};
use crate::names::Name;
use crate::room::Room;
use crate::tree::archive::{Archive, ArchiveError, unpack_deb, unpack_tar};

/// The largest archive, unpacked, that is taken without a lock that says its size.
const MAX_UNPACKED: u64 = 64 << 30;

/// Brings bytes into the store, from wherever they may be had.
pub struct Fetcher<'a> {
    /// Where they go.
    pub store: &'a Store,
    /// Archives that hold packages, in the order they are tried.
    pub sources: &'a Sources,
    /// Whose signatures count.
    pub trust: &'a Trust,
    /// Fetches.
    pub client: &'a Client,
    /// Who is told how it goes.
    pub progress: &'a dyn Progress,
    /// The Python package index that the host is configured with, where source distributions are.
    pub python_index: Option<&'a str>,
    /// Whether the network is not to be reached.
    pub offline: bool,
    /// Where what is compiled from source is compiled.
    pub room: &'a Room,
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("sources", self.sources).finish_non_exhaustive()
    }
}

impl Fetcher<'_> {
    /// Brings everything that `lock` names into the store: the programs that counterfoil carries, what
    /// stands beside the manifest, and by the network what is missing then. Every archive is unpacked
    /// by this store itself once, so that a lock cannot pass other contents off under its name.
    ///
    /// # Errors
    /// [`Kind::CannotDecide`] when something is to be had nowhere any more, naming it and the two
    /// ways out; [`Kind::Rejected`] when an archive does not hold what the lock says.
    pub fn fill(&self, lock: &Lock, manifest: &Manifest, directory: &Path) -> Result<()> {
        for (name, object) in &lock.builtin {
            self.builtin(name, *object)?;
        }
        for (name, input) in &lock.inputs {
            self.fill_input(name, input, manifest, directory)?;
        }
        for (name, build) in manifest.builds() {
            if let Some(LockedInput::Build(locked)) = lock.inputs.get(name) {
                self.rebuild(name, build, *locked, lock, manifest, directory)?;
            }
        }
        Ok(())
    }

    /// Brings one input into the store, unless it is something to be compiled.
    pub(super) fn fill_input(
        &self,
        name: &Name,
        input: &LockedInput,
        manifest: &Manifest,
        directory: &Path,
    ) -> Result<()> {
        self.fill_local(name, input, manifest, directory)?;
        let what = format!("input `{name}`");
        match input {
            LockedInput::Deb(packages) => {
                for package in packages {
                    let what = format!("{what}, package `{}`", package.package);
                    let deb = package.deb();
                    if self.store.unpacked(deb) == Some(package.data) {
                        self.progress.detail(&format!("{what} {}: in the store", package.version));
                        continue;
                    }
                    let data = self.package(None, &package.path, deb, &what)?;
                    must_be(data, package.data, &what)?;
                }
            }
            LockedInput::Source(source) => {
                for (place, part) in &source.parts {
                    let what = format!("{what}, `{place}`");
                    self.pool_file(None, &part.path, part.object(), &what)?;
                }
            }
            LockedInput::Url(url) => {
                let object = url.object();
                if !self.store.contains(object) {
                    self.download(&[url.url.to_string()], object, &what)?;
                }
            }
            LockedInput::Tar(tar) => {
                let object = tar.packed();
                if self.store.unpacked(object) == Some(tar.data) {
                    return Ok(());
                }
                if let Some(url) = &tar.url
                    && !self.store.contains(object)
                {
                    self.download(&[url.to_string()], object, &what)?;
                }
                must_be(self.unpack_tar(object, &what)?, tar.data, &what)?;
            }
            LockedInput::Sdist(sdist) => {
                let object = sdist.packed();
                if self.store.unpacked(object) == Some(sdist.data) {
                    return Ok(());
                }
                self.locked_sdist(sdist, &what)?;
                must_be(self.unpack_tar(object, &what)?, sdist.data, &what)?;
            }
            LockedInput::File(_)
            | LockedInput::Dir(_)
            | LockedInput::Builtin(_)
            | LockedInput::Build(_) => {}
        }
        Ok(())
    }

    /// Brings every input as it was received into the store, for a bundle; what was unpacked before need not
    /// have stayed packed.
    ///
    /// # Errors
    /// As [`Fetcher::fill`].
    pub fn receive(&self, lock: &Lock, manifest: &Manifest, directory: &Path) -> Result<()> {
        for (name, object) in &lock.builtin {
            self.builtin(name, *object)?;
        }
        for (name, input) in &lock.inputs {
            self.fill_local(name, input, manifest, directory)?;
            let what = format!("input `{name}`");
            match input {
                LockedInput::Deb(packages) => packages.iter().try_for_each(|package| {
                    let what = format!("{what}, package `{}`", package.package);
                    self.pool_file(None, &package.path, package.deb(), &what)
                })?,
                LockedInput::Tar(tar) => {
                    if let Some(url) = &tar.url
                        && !self.store.contains(tar.packed())
                    {
                        self.download(&[url.to_string()], tar.packed(), &what)?;
                    }
                }
                LockedInput::Sdist(sdist) => self.locked_sdist(sdist, &what)?,
                LockedInput::Source(_) | LockedInput::Url(_) => {
                    self.fill_input(name, input, manifest, directory)?;
                }
                LockedInput::File(_)
                | LockedInput::Dir(_)
                | LockedInput::Builtin(_)
                | LockedInput::Build(_) => {}
            }
        }
        Ok(())
    }

    /// A program that counterfoil carries, if it still carries that one.
    fn builtin(&self, name: &Name, object: Object) -> Result<()> {
        if let Some(bytes) = guest::program_with(name.as_str(), object.sha256) {
            self.store.put_bytes(bytes, &format!("builtin `{name}`"))?;
        }
        Ok(())
    }

    /// Puts what stands beside the manifest into the store, where a later rebuild finds it. Whether it
    /// is what the lock says is checked when it is opened; a tar, which is not opened, here.
    fn fill_local(
        &self,
        name: &Name,
        input: &LockedInput,
        manifest: &Manifest,
        directory: &Path,
    ) -> Result<()> {
        let what = format!("input `{name}`");
        let put = |path: &Path, object: Object| -> Result<()> {
            if !self.store.contains(object) && path.is_file() {
                let file = File::open(path).context(Kind::Environment, || {
                    format!("{what}: failed opening `{}`", path.display())
                })?;
                self.store.put(file, &what)?;
            }
            Ok(())
        };
        match (manifest.inputs.get(name), input) {
            (Some(Source::File(path)), LockedInput::File(object)) => {
                put(&directory.join(path.as_str()), *object)
            }
            (Some(Source::Dir(path)), LockedInput::Dir(entries)) => {
                let root = directory.join(path.as_str());
                entries.iter().try_for_each(|(path, entry)| match entry {
                    LockedEntry::File { sha256, size, .. } => {
                        let object = Object { sha256: *sha256, size: *size };
                        put(&root.join(path.relative()), object)
                    }
                    _ => Ok(()),
                })
            }
            (Some(Source::Tar(Tar { file: Some(path), .. })), LockedInput::Tar(tar)) => {
                let path = directory.join(path.as_str());
                let object = tar.packed();
                if path.is_file() {
                    open::checked(&path, object, &what)?;
                }
                put(&path, object)
            }
            _ => Ok(()),
        }
    }

    /// The uncompressed data.tar of a package, both of which are then in the store. `uri` is the
    /// archive to ask first.
    ///
    /// # Errors
    /// As [`Fetcher::fill`]; [`Kind::Malformed`] when it is not a package.
    pub fn package(
        &self,
        uri: Option<&str>,
        path: &str,
        deb: Object,
        what: &str,
    ) -> Result<Object> {
        self.pool_file(uri, path, deb, what)?;
        let held = Arc::new(self.store.need(deb, what)?.held);
        let data = self.unpack(what, |limit, out| unpack_deb(&held, limit, out))?;
        self.store.note_unpacked(deb, data)?;
        Ok(data)
    }

    /// Sees to it that a file of an archive's pool is in the store. `uri` is the archive to ask first.
    ///
    /// # Errors
    /// As [`Fetcher::fill`].
    pub(super) fn pool_file(
        &self,
        uri: Option<&str>,
        path: &str,
        object: Object,
        what: &str,
    ) -> Result<()> {
        if !self.store.contains(object) {
            let configured = self.sources.sources.iter().map(|source| source.uri.as_str());
            let mut urls: Vec<String> = Vec::new();
            for uri in uri.into_iter().chain(configured) {
                let url = archive::url(uri, path);
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
            self.download(&urls, object, what)?;
        }
        Ok(())
    }

    /// The archive `tar`, which is in the store, uncompressed, which then is too.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when it cannot be unpacked.
    pub fn unpack_tar(&self, tar: Object, what: &str) -> Result<Object> {
        let held = self.store.need(tar, what)?.held;
        let data = self.unpack(what, |limit, out| unpack_tar(&held, limit, out))?;
        self.store.note_unpacked(tar, data)?;
        Ok(data)
    }

    /// What `url` leads to, which must have this digest.
    ///
    /// # Errors
    /// As [`Fetcher::fill`].
    pub fn url(&self, url: &str, sha256: Sha256, what: &str) -> Result<Object> {
        let size = self.client.size(url).map_err(|error| fetch_error(error, what))?;
        let object = Object { sha256, size };
        if !self.store.contains(object) {
            self.download(&[url.to_owned()], object, what)?;
        }
        Ok(object)
    }

    fn unpack(
        &self,
        what: &str,
        unpack: impl FnOnce(u64, &mut dyn std::io::Write) -> Result<(), ArchiveError>,
    ) -> Result<Object> {
        self.progress.begin(&format!("unpacking {what}"), None);
        let object = self.store.put_with(|out| {
            unpack(MAX_UNPACKED, out).map_err(|error| {
                let kind = match &error {
                    ArchiveError::Io(io) if io.raw_os_error().is_some() => Kind::Environment,
                    _ => Kind::Malformed,
                };
                Error::new(kind, format!("{what}: {error}"))
            })
        });
        self.progress.end();
        let object = object?;
        // What is no archive is told now, and not when somebody wants a file of it.
        let opened = self.store.need(object, what)?;
        Archive::index(opened.held)
            .context(Kind::Malformed, || format!("{what}: a damaged archive"))?;
        Ok(object)
    }

    /// # Errors
    /// [`Kind::CannotDecide`] when nothing is to be fetched.
    pub(super) fn must_be_online(&self, what: &str) -> Result<()> {
        if !self.offline {
            return Ok(());
        }
        let message = format!("{what}: not in the store, and nothing is to be fetched");
        Err(Error::new(Kind::CannotDecide, message)
            .hint("leave `--offline` out, or import a bundle of this lock"))
    }

    /// Brings `object` into the store from the first of `urls` that has it.
    pub(super) fn download(&self, urls: &[String], object: Object, what: &str) -> Result<()> {
        self.must_be_online(what)?;
        let partial = self.store.partial(object.sha256)?;
        if self.store.contains(object) {
            // Another process was quicker.
            return Ok(());
        }
        let (mut missing, mut unreachable) = (Vec::new(), None);
        self.progress.begin(&format!("fetching {what}"), Some(object.size));
        for url in urls {
            self.progress.detail(&format!("{what}: from {}", http::without_credentials(url)));
            let mut progress = |done| self.progress.advance(done);
            match self.client.download(url, &partial.path, object, &mut progress) {
                Ok(()) => {
                    self.progress.end();
                    return self.store.adopt_partial(partial, object);
                }
                Err(error @ http::Error::NotFound { .. }) => missing.push(error.to_string()),
                // Another place may still have it.
                Err(error) if !matches!(error, http::Error::Io { .. }) => {
                    unreachable = Some(error);
                }
                Err(error) => {
                    self.progress.end();
                    return Err(fetch_error(error, what));
                }
            }
        }
        self.progress.end();
        if let Some(error) = unreachable {
            return Err(fetch_error(error, what));
        }
        let message = match missing.is_empty() {
            true => format!("{what}: no archive is configured to fetch it from"),
            false => format!("{what} is to be had nowhere any more: {}", missing.join("; ")),
        };
        let size = object.size;
        Err(Error::new(Kind::CannotDecide, message)
            .hint(format!(
                "if somebody has a bundle of this lock, import it (sha256 {}, {size} bytes)",
                object.sha256
            ))
            .hint("or take what the archive has now: `counterfoil lock MANIFEST --update INPUT`; the measurement will change")
            .hint("or pass another mirror with `--mirror URL`"))
    }
}

/// A failed fetch as a person meets it.
pub(super) fn fetch_error(error: http::Error, what: &str) -> Error {
    let kind = match &error {
        http::Error::Mismatch { .. } => Kind::Rejected,
        http::Error::NotFound { .. } => Kind::CannotDecide,
        http::Error::BadUrl { .. } | http::Error::BadProxy { .. } => Kind::Usage,
        _ => Kind::Environment,
    };
    Error::caused(kind, format!("{what} cannot be fetched"), error)
}

/// An archive that cannot be opened, as a person meets it.
pub(super) fn archive_error(error: archive::Error) -> Error {
    use archive::Error::{
        Cache, Component, Fetch, Index, Keyring, NoSource, NoSuite, Release, Unreachable,
    };
    let kind = match &error {
        Release { .. } | Index(_) => Kind::Rejected,
        Fetch { source: http::Error::Mismatch { .. }, .. } => Kind::Rejected,
        Component { .. } | NoSource | NoSuite { .. } | Keyring { .. } => Kind::CannotDecide,
        Cache { .. } | Fetch { .. } | Unreachable { .. } => Kind::Environment,
    };
    Error::caused(kind, "the package archive cannot be used", error)
}

fn must_be(found: Object, locked: Object, what: &str) -> Result<()> {
    if found == locked {
        return Ok(());
    }
    let message =
        format!("{what}: unpacks to sha256 {}, the lock says {}", found.sha256, locked.sha256);
    Err(Error::new(Kind::Rejected, message).hint("the lock was altered, or written by hand"))
}
