//! Locked inputs, opened: every byte that leaves here was checked against the lock.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Object;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::store::{self, Store};
use crate::manifest::lock::{Lock, LockedEntry, LockedInput};
use crate::manifest::types::{LocalPath, Manifest, Source};
use crate::names::{GuestPath, Name, Owner};
use crate::tree::archive::{Archive, ArchiveError, MAX_LINKS, Member};
use crate::tree::elf::Libraries;
use crate::tree::held::{FileRange, Held};
use crate::tree::{Content, Entry, Node};

/// Opens what a lock names: from beside the manifest where the file is still there, else from the
/// store.
#[derive(Debug)]
pub struct Opener<'a> {
    /// The lock.
    pub lock: &'a Lock,
    /// The store.
    pub store: &'a Store,
    /// The manifest, for the local paths in it.
    pub manifest: &'a Manifest,
    /// What local paths are relative to; `None` when only the store is to be used.
    pub directory: Option<&'a Path>,
}

/// One input, ready to be taken from.
#[derive(Debug)]
pub struct Opened {
    name: Name,
    holds: Holds,
}

#[derive(Debug)]
enum Holds {
    Packages(Vec<(String, Archive)>),
    Archive(Archive),
    File(Content),
    Directory(BTreeMap<GuestPath, Node>),
}

impl Opener<'_> {
    /// Opens the input `name`.
    ///
    /// # Errors
    /// [`Kind::CannotDecide`] when something is in neither place, [`Kind::Rejected`] when bytes are
    /// not those of the lock, [`Kind::Malformed`] when an archive is damaged.
    pub fn open(&self, name: &Name) -> Result<Opened> {
        let input = self.lock.inputs.get(name).ok_or_else(|| {
            Error::new(Kind::Rejected, format!("the lock has no input `{name}`"))
                .hint("run `counterfoil lock` again")
        })?;
        let what = format!("input `{name}`");
        let holds = match input {
            LockedInput::Deb(packages) => {
                let mut archives = Vec::new();
                for package in packages {
                    let what = format!("{what}, package `{}`", package.package);
                    let archive = self.archive(package.data, &what)?;
                    archives.push((package.package.clone(), archive));
                }
                Holds::Packages(archives)
            }
            LockedInput::Tar(tar) => Holds::Archive(self.archive(tar.data, &what)?),
            LockedInput::Sdist(sdist) => Holds::Archive(self.archive(sdist.data, &what)?),
            LockedInput::Build(build) => Holds::Archive(self.archive(build.result, &what)?),
            LockedInput::Source(source) => {
                let mut nodes = BTreeMap::new();
                for (path, part) in &source.parts {
                    let content = self.stored(part.object(), &format!("{what}, `{path}`"))?;
                    nodes.insert(path.clone(), file_node(Entry::File(content), 0o644, name));
                }
                nodes.insert(GuestPath::root(), file_node(Entry::Directory, 0o755, name));
                Holds::Directory(nodes)
            }
            LockedInput::Url(url) => {
                let object = url.object();
                Holds::File(self.stored(object, &what)?)
            }
            LockedInput::File(object) => Holds::File(self.local_file(name, *object, &what)?),
            LockedInput::Dir(entries) => {
                Holds::Directory(self.local_directory(name, entries, &what)?)
            }
            LockedInput::Builtin(program) => Holds::File(self.builtin(program)?),
        };
        Ok(Opened { name: name.clone(), holds })
    }

    /// A program of the guest that counterfoil itself carries, as it was when locked.
    ///
    /// # Errors
    /// As [`Opener::open`].
    pub fn builtin(&self, program: &Name) -> Result<Content> {
        let what = format!("builtin `{program}`");
        let object = self.lock.builtin.get(program).ok_or_else(|| {
            Error::new(Kind::Rejected, format!("the lock does not name the {what}"))
                .hint("run `counterfoil lock` again")
        })?;
        match self.store.get(*object, &what)? {
            Some(opened) => Ok(content(opened.held, *object)),
            None => {
                let message = format!(
                    "{what}: this counterfoil carries another one than the lock names (sha256 {})",
                    object.sha256
                );
                Err(Error::new(Kind::CannotDecide, message)
                    .hint("build with the counterfoil that made the lock, or import a bundle of it")
                    .hint("or take this one's: `counterfoil lock MANIFEST --update init`; the measurement will change"))
            }
        }
    }

    fn archive(&self, object: Object, what: &str) -> Result<Archive> {
        let opened = self.store.need(object, what)?;
        Archive::index(opened.held)
            .context(Kind::Malformed, || format!("{what}: a damaged archive"))
    }

    fn stored(&self, object: Object, what: &str) -> Result<Content> {
        Ok(content(self.store.need(object, what)?.held, object))
    }

    fn local_path(&self, name: &Name) -> Option<PathBuf> {
        let local: &LocalPath = match self.manifest.inputs.get(name)? {
            Source::File(path) | Source::Dir(path) => path,
            _ => return None,
        };
        Some(self.directory?.join(local.as_str()))
    }

    fn local_file(&self, name: &Name, object: Object, what: &str) -> Result<Content> {
        match self.local_path(name) {
            Some(path) if path.exists() => checked(&path, object, what),
            _ => self.stored(object, what),
        }
    }

    fn local_directory(
        &self,
        name: &Name,
        entries: &BTreeMap<GuestPath, LockedEntry>,
        what: &str,
    ) -> Result<BTreeMap<GuestPath, Node>> {
        let root = self.local_path(name).filter(|path| path.is_dir());
        if let Some(root) = &root {
            let now: Vec<_> = super::local::list(root, what)?.into_iter().map(|(p, _)| p).collect();
            let then: Vec<_> = entries.keys().cloned().collect();
            if let Some(path) = now
                .iter()
                .find(|path| !entries.contains_key(*path))
                .or_else(|| then.iter().find(|path| !now.contains(path)))
            {
                let message = format!("{what}: `{path}` was added or removed since it was locked");
                return Err(Error::new(Kind::Rejected, message).hint(relock(what)));
            }
        }
        let directory = Node {
            entry: Entry::Directory,
            mode: 0o755,
            owner: Owner::default(),
            origin: origin(name, None),
        };
        let mut nodes = BTreeMap::from([(GuestPath::root(), directory)]);
        for (path, entry) in entries {
            let (entry, mode) = match entry {
                LockedEntry::Directory => (Entry::Directory, 0o755),
                LockedEntry::Symlink(target) => (Entry::Symlink(target.clone()), 0o777),
                LockedEntry::File { sha256, size, executable } => {
                    let object = Object { sha256: *sha256, size: *size };
                    let what = format!("{what}, file `{path}`");
                    let content = match &root {
                        Some(root) => checked(&root.join(path.relative()), object, &what)?,
                        None => self.stored(object, &what)?,
                    };
                    (Entry::File(content), if *executable { 0o755 } else { 0o644 })
                }
            };
            let origin = origin(name, None);
            nodes.insert(path.clone(), Node { entry, mode, owner: Owner::default(), origin });
        }
        Ok(nodes)
    }
}

impl Opened {
    /// Everything that `source` means in this input, by its path below `at` in the guest: a single
    /// file, or a directory with all that it holds.
    ///
    /// # Errors
    /// [`Kind::CannotDecide`] when there is nothing of the kind, [`Kind::Malformed`] when it is
    /// something that no image takes.
    pub fn take(&self, source: &GuestPath, at: &GuestPath) -> Result<Vec<(GuestPath, Node)>> {
        match &self.holds {
            Holds::File(content) => {
                if source != at {
                    let message =
                        format!("input `{}` is a single file; it has no `{source}`", self.name);
                    return Err(Error::new(Kind::Malformed, message).hint("leave `source` out"));
                }
                let node = self.node(Entry::File(content.clone()), 0o644, None);
                Ok(vec![(at.clone(), node)])
            }
            Holds::Directory(nodes) => {
                let Some((found_at, found)) = follow(nodes, source) else {
                    let message = format!("input `{}` holds no `{source}`", self.name);
                    return Err(Error::new(Kind::CannotDecide, message));
                };
                let mut taken = vec![(at.clone(), found.clone())];
                if found.entry.is_directory() {
                    let below = subtree(nodes.iter(), &found_at, at);
                    taken.extend(below.into_iter().map(|(path, node)| (path, node.clone())));
                }
                Ok(taken)
            }
            Holds::Archive(archive) => self.take_from(archive, None, source, at),
            Holds::Packages(packages) => {
                let mut failure = None;
                let mut taken: Option<Vec<(GuestPath, Node)>> = None;
                for (package, archive) in packages {
                    match (archive.resolve(source), &mut taken) {
                        (Ok(_), None) => {
                            taken = Some(self.take_from(archive, Some(package), source, at)?);
                        }
                        // A directory may be spread over packages; a file may not.
                        (Ok((_, found)), Some(taken)) if found.member == Member::Directory => {
                            taken.extend(self.take_from(archive, Some(package), source, at)?);
                        }
                        (Ok(_), Some(_)) => {
                            let message = format!(
                                "input `{}`: `{source}` is in more than one of its packages",
                                self.name
                            );
                            return Err(Error::new(Kind::Malformed, message)
                                .hint("split the packages into two inputs"));
                        }
                        (Err(error), _) => failure = better(failure, error),
                    }
                }
                taken.ok_or_else(|| self.not_held(source, failure))
            }
        }
    }

    /// The single file that `source` means, or the file that the input is.
    ///
    /// # Errors
    /// As [`Opened::take`].
    pub fn file(&self, source: Option<&GuestPath>) -> Result<Content> {
        // Where it goes in the guest is not of interest here.
        let at = GuestPath::root();
        let source = match (source, &self.holds) {
            (Some(source), Holds::File(_)) => {
                let message =
                    format!("input `{}` is a single file; it has no `{source}`", self.name);
                return Err(Error::new(Kind::Malformed, message).hint("leave the path out"));
            }
            (Some(source), _) => source.clone(),
            (None, Holds::File(_)) => at.clone(),
            (None, _) => {
                let message = format!("input `{}` has many files; say the path of one", self.name);
                return Err(Error::new(Kind::Malformed, message));
            }
        };
        match self.take(&source, &at)?.into_iter().next() {
            Some((path, Node { entry: Entry::File(content), .. })) if path == at => Ok(content),
            _ => Err(Error::new(
                Kind::Malformed,
                format!("input `{}`: `{source}` is not a file", self.name),
            )),
        }
    }

    /// The input's name in the manifest.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Every path of the input, in bytewise order, packages in the lock's order.
    pub fn paths(&self) -> Vec<GuestPath> {
        match &self.holds {
            Holds::Packages(packages) => packages
                .iter()
                .flat_map(|(_, archive)| archive.iter().map(|(path, _)| path.clone()))
                .collect(),
            Holds::Archive(archive) => archive.iter().map(|(path, _)| path.clone()).collect(),
            Holds::File(_) => Vec::new(),
            Holds::Directory(nodes) => nodes.keys().cloned().collect(),
        }
    }

    /// Whether the input is one file and nothing else.
    pub fn is_file(&self) -> bool {
        matches!(self.holds, Holds::File(_))
    }

    fn take_from(
        &self,
        archive: &Archive,
        package: Option<&str>,
        source: &GuestPath,
        at: &GuestPath,
    ) -> Result<Vec<(GuestPath, Node)>> {
        let (found_at, found) =
            archive.resolve(source).map_err(|error| self.not_held(source, Some(error)))?;
        if found.member != Member::Directory {
            let node = self.archived(archive, package, source)?;
            return Ok(vec![(at.clone(), node)]);
        }
        let mut nodes = vec![(at.clone(), self.node(Entry::Directory, found.mode, package))];
        for (path, indexed) in subtree(archive.iter(), &found_at, at) {
            let node = match &indexed.member {
                Member::Directory => self.node(Entry::Directory, indexed.mode, package),
                Member::Symlink(target) => {
                    let target = target.parse().context(Kind::Malformed, || {
                        format!("input `{}`: the link at `{path}`", self.name)
                    })?;
                    self.node(Entry::Symlink(target), 0o777, package)
                }
                _ => {
                    let tail = path.as_str()[at.as_str().trim_end_matches('/').len()..].to_owned();
                    let inside = found_at
                        .join(&tail[1..])
                        .context(Kind::Malformed, || format!("input `{}`: `{path}`", self.name))?;
                    self.archived(archive, package, &inside)?
                }
            };
            nodes.push((path, node));
        }
        Ok(nodes)
    }

    fn archived(&self, archive: &Archive, package: Option<&str>, path: &GuestPath) -> Result<Node> {
        let (range, mode) = archive.file(path).map_err(|error| self.not_held(path, Some(error)))?;
        let mut reader = crate::tree::Blob::open(&range)
            .context(Kind::Environment, || format!("failed reading `{path}`"))?;
        let object = store::digest(&mut reader)
            .context(Kind::Environment, || format!("failed reading `{path}`"))?;
        drop(reader);
        let content = Content { sha256: object.sha256, size: object.size, blob: Arc::new(range) };
        Ok(self.node(Entry::File(content), mode, package))
    }

    fn node(&self, entry: Entry, mode: u16, package: Option<&str>) -> Node {
        // Set-uid and set-gid bits come into an image only when the manifest says so.
        let mode = mode & 0o1777;
        Node { entry, mode, owner: Owner::default(), origin: origin(&self.name, package) }
    }

    fn not_held(&self, source: &GuestPath, error: Option<ArchiveError>) -> Error {
        let kind = match &error {
            Some(ArchiveError::Kind { .. }) => Kind::Malformed,
            _ => Kind::CannotDecide,
        };
        let reason =
            error.map_or_else(|| format!("holds no `{source}`"), |error| error.to_string());
        let packages = match &self.holds {
            Holds::Packages(packages) => {
                let names: Vec<_> = packages.iter().map(|(name, _)| name.as_str()).collect();
                format!(" (packages {})", names.join(", "))
            }
            _ => String::new(),
        };
        Error::new(kind, format!("input `{}`{packages}: {reason}", self.name))
    }
}

impl Libraries for Opened {
    fn file(&self, path: &GuestPath) -> Option<Vec<u8>> {
        let archives: Vec<&Archive> = match &self.holds {
            Holds::Packages(packages) => packages.iter().map(|(_, archive)| archive).collect(),
            Holds::Archive(archive) => vec![archive],
            Holds::Directory(nodes) => {
                let Entry::File(content) = &follow(nodes, path)?.1.entry else { return None };
                return content.read().ok();
            }
            Holds::File(_) => return None,
        };
        archives.iter().find_map(|archive| archive.file(path).ok()?.0.read().ok())
    }
}

/// What `path` means in a directory: links at its end are followed within it.
fn follow<'a>(
    nodes: &'a BTreeMap<GuestPath, Node>,
    path: &GuestPath,
) -> Option<(GuestPath, &'a Node)> {
    let mut at = path.clone();
    for _ in 0..MAX_LINKS {
        let node = nodes.get(&at)?;
        let Entry::Symlink(target) = &node.entry else { return Some((at, node)) };
        at = at.parent()?.walk(target.as_str())?;
    }
    None
}

fn file_node(entry: Entry, mode: u16, name: &Name) -> Node {
    Node { entry, mode, owner: Owner::default(), origin: origin(name, None) }
}

/// What the inventory calls an input.
fn origin(name: &Name, package: Option<&str>) -> String {
    match package {
        Some(package) => format!("{name}/{package}"),
        None => name.to_string(),
    }
}

/// Paths strictly below `source`, moved below `at`.
fn subtree<'a, T>(
    paths: impl Iterator<Item = (&'a GuestPath, T)>,
    source: &GuestPath,
    at: &GuestPath,
) -> Vec<(GuestPath, T)> {
    let prefix = format!("{}/", source.as_str().trim_end_matches('/'));
    paths
        .filter_map(|(path, value)| {
            let tail = path.as_str().strip_prefix(&prefix)?;
            Some((at.join(tail).ok()?, value))
        })
        .collect()
}

/// The error that says more: a wrong kind of thing rather than an absence, a near name rather than
/// none.
fn better(first: Option<ArchiveError>, second: ArchiveError) -> Option<ArchiveError> {
    match (&first, &second) {
        (None, _) => Some(second),
        (Some(ArchiveError::Missing { near, .. }), ArchiveError::Missing { near: other, .. })
            if near.is_empty() && !other.is_empty() =>
        {
            Some(second)
        }
        _ => first,
    }
}

pub(super) fn checked(path: &Path, object: Object, what: &str) -> Result<Content> {
    let failed = || format!("{what}: failed reading `{}`", path.display());
    let held = File::open(path).and_then(Held::new).context(Kind::Environment, failed)?;
    let found = store::digest(held.reader()).context(Kind::Environment, failed)?;
    if found == object {
        return Ok(content(held, object));
    }
    let message = format!(
        "{what}: `{}` has changed since it was locked: expected sha256 {}, found {}",
        path.display(),
        object.sha256,
        found.sha256
    );
    Err(Error::new(Kind::Rejected, message).hint(relock(what)))
}

fn relock(what: &str) -> String {
    let name = what.split('`').nth(1).unwrap_or("INPUT");
    format!("run `counterfoil lock MANIFEST --update {name}` if the change is meant")
}

fn content(held: Held, object: Object) -> Content {
    let blob = Arc::new(FileRange::whole(held));
    Content { sha256: object.sha256, size: object.size, blob }
}
