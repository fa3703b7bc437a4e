//! From a manifest to a lock: the only step that resolves anything.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use crate::digest::Object;
use crate::error::{Context as _, Error, Kind, Result};
use crate::guest;
use crate::input::apt::archive::{self, Archive, Progress, Search};
use crate::input::apt::release::Freshness;
use crate::input::apt::resolve::{self as packages, Request};
use crate::input::apt::source_package::SourcePart;
use crate::input::compile;
use crate::input::fetch::{self, Fetcher};
use crate::input::local::{self, Local};
use crate::manifest::lock::{
    Lock, LockedArchive, LockedBuild, LockedEntry, LockedInput, LockedPackage, LockedPart,
    LockedSource, LockedTar, LockedUrl, VERSION,
};
use crate::manifest::types::{Deb, Manifest, Source, SourceOf};
use crate::names::{Name, PackageName, Suite};

/// Which inputs to resolve anew though the lock has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// None: only what is new or changed in the manifest.
    Nothing,
    /// These, and the builtin programs if `init` is among them.
    Only(BTreeSet<Name>),
    /// All.
    Everything,
}

/// One input that a new lock pins otherwise than the old one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The input, and the package if it has several.
    pub input: String,
    /// What it was; empty if it was not there.
    pub old: String,
    /// What it is; empty if it is gone.
    pub new: String,
    /// The measured parts that change with it.
    pub rolls: Vec<&'static str>,
}

/// Makes locks.
#[derive(Debug)]
pub struct Resolver<'a> {
    /// What fetches.
    pub fetcher: &'a Fetcher<'a>,
    /// The time in Unix seconds, to tell whether a release file has expired.
    pub now: u64,
}

impl Resolver<'_> {
    /// The lock of `manifest`, whose local paths are relative to `directory`. What `old` has and
    /// `update` does not name stays as it is.
    ///
    /// # Errors
    /// When an input cannot be found, fetched or trusted.
    pub fn lock(
        &self,
        manifest: &Manifest,
        directory: &Path,
        old: Option<&Lock>,
        update: &Update,
    ) -> Result<Lock> {
        if let Update::Only(names) = update
            && let Some(name) = names
                .iter()
                .find(|name| !manifest.inputs.contains_key(*name) && **name != Name::init())
        {
            let known: Vec<_> = manifest.inputs.keys().map(Name::as_str).collect();
            return Err(Error::new(Kind::Usage, format!("no input is named `{name}`"))
                .hint(format!("the inputs are: {}, and init", known.join(", "))));
        }
        let mut lock = Lock {
            version: VERSION,
            manifest: manifest.digest(),
            builtin: self.builtin(manifest, old, update)?,
            archives: BTreeMap::new(),
            sources: BTreeMap::new(),
            inputs: BTreeMap::new(),
        };
        let mut archives = BTreeMap::new();
        for (name, source) in &manifest.inputs {
            let digest = source.digest();
            let wanted = match update {
                Update::Nothing => false,
                Update::Only(names) => names.contains(name),
                Update::Everything => true,
            };
            let kept = old
                .filter(|old| !wanted && old.sources.get(name) == Some(&digest))
                .and_then(|old| Some((old, old.inputs.get(name)?)));
            // What is compiled depends on all that is not: it comes last.
            if matches!(source, Source::Build(_)) {
                continue;
            }
            let input = match kept {
                Some((old, input)) => {
                    keep_archives(&mut lock, old, input);
                    input.clone()
                }
                None => self.input(name, source, directory, &mut archives, &mut lock)?,
            };
            lock.sources.insert(name.clone(), digest);
            lock.inputs.insert(name.clone(), input);
        }
        for (name, build) in manifest.builds() {
            let recipe = compile::recipe(build, &lock)?;
            let known = old.and_then(|old| match old.inputs.get(name)? {
                LockedInput::Build(build) if build.recipe == recipe => Some(build.result),
                _ => None,
            });
            // A result that is known stays pinned; a build from the lock holds its own against it.
            let result = match known {
                Some(result) => result,
                None => self.fetcher.compile(name, build, recipe, &lock, manifest, directory)?,
            };
            let source = manifest.inputs.get(name).map(Source::digest);
            lock.sources.extend(source.map(|digest| (name.clone(), digest)));
            lock.inputs.insert(name.clone(), LockedInput::Build(LockedBuild { recipe, result }));
        }
        Ok(lock)
    }

    fn builtin(
        &self,
        manifest: &Manifest,
        old: Option<&Lock>,
        update: &Update,
    ) -> Result<BTreeMap<Name, Object>> {
        let (init, agent) = (Name::init(), Name::evidence());
        // A PID 1 from before there was an agent would know nothing of one.
        let joins =
            manifest.evidence.is_some() && old.is_some_and(|old| !old.builtin.contains_key(&agent));
        let renew = |program: &Name| match update {
            _ if joins && *program == init => true,
            Update::Nothing => false,
            Update::Only(names) => names.iter().any(|name| {
                // An input by its name, PID 1 by its own, and the agent with PID 1, which starts it.
                name == program
                    || *name == init && *program == agent
                    || manifest.inputs.get(name) == Some(&Source::Builtin(program.clone()))
            }),
            Update::Everything => true,
        };
        let mut programs = BTreeMap::new();
        for name in manifest.builtins() {
            let bytes = guest::program(name.as_str()).ok_or_else(|| {
                let message = format!("counterfoil carries no program `{name}`");
                let carried = guest::PROGRAMS.map(|(name, _)| name).join(", ");
                Error::new(Kind::Malformed, message).hint(format!("it carries: {carried}"))
            })?;
            let carried = self.fetcher.store.put_bytes(bytes, &format!("builtin `{name}`"))?;
            let pinned = old.filter(|_| !renew(&name)).and_then(|old| old.builtin.get(&name));
            programs.insert(name, pinned.copied().unwrap_or(carried));
        }
        Ok(programs)
    }

    fn input(
        &self,
        name: &Name,
        source: &Source,
        directory: &Path,
        archives: &mut BTreeMap<(Suite, Suite), Archive>,
        lock: &mut Lock,
    ) -> Result<LockedInput> {
        let what = format!("input `{name}`");
        let put = |path: &Path, what: &str| -> Result<Object> {
            let file = File::open(path).context(Kind::CannotDecide, || {
                format!("{what}: failed opening `{}`", path.display())
            })?;
            if path.is_dir() {
                let message = format!("{what}: `{}` is a directory", path.display());
                return Err(
                    Error::new(Kind::Malformed, message).hint("say `dir:` in place of `file:`")
                );
            }
            self.fetcher.store.put(file, what)
        };
        match source {
            Source::Deb(deb) => self.deb(name, deb, archives, lock),
            Source::Source(source) => self.source(name, source, archives, lock),
            Source::File(path) => {
                Ok(LockedInput::File(put(&directory.join(path.as_str()), &what)?))
            }
            Source::Dir(path) => {
                let root = directory.join(path.as_str());
                if !root.is_dir() {
                    let message = format!("{what}: `{}` is not a directory", root.display());
                    return Err(Error::new(Kind::CannotDecide, message));
                }
                let mut entries = BTreeMap::new();
                for (path, local) in local::list(&root, &what)? {
                    let entry = match local {
                        Local::Directory => LockedEntry::Directory,
                        Local::Symlink(target) => LockedEntry::Symlink(target),
                        Local::File { executable } => {
                            let what = format!("{what}, file `{path}`");
                            let Object { sha256, size } = put(&root.join(path.relative()), &what)?;
                            LockedEntry::File { sha256, size, executable }
                        }
                    };
                    entries.insert(path, entry);
                }
                Ok(LockedInput::Dir(entries))
            }
            Source::Url(url) => {
                let object = self.fetcher.url(url.url.as_str(), url.sha256, &what)?;
                let (url, sha256, size) = (url.url.clone(), object.sha256, object.size);
                Ok(LockedInput::Url(LockedUrl { url, sha256, size }))
            }
            Source::Tar(tar) => {
                let object = match (&tar.url, tar.sha256, &tar.file) {
                    (Some(url), Some(sha256), _) => {
                        self.fetcher.url(url.as_str(), sha256, &what)?
                    }
                    (_, _, Some(path)) => put(&directory.join(path.as_str()), &what)?,
                    _ => return Err(Error::new(Kind::Malformed, what)),
                };
                if let Some(promised) = tar.sha256.filter(|promised| *promised != object.sha256) {
                    let found = object.sha256;
                    let message = format!("{what}: expected sha256 {promised}, found {found}");
                    return Err(Error::new(Kind::Rejected, message));
                }
                let data = self.fetcher.unpack_tar(object, &what)?;
                let Object { sha256, size } = object;
                Ok(LockedInput::Tar(LockedTar { url: tar.url.clone(), sha256, size, data }))
            }
            Source::Sdist(sdist) => Ok(LockedInput::Sdist(self.fetcher.sdist(sdist, &what)?)),
            Source::Builtin(program) => Ok(LockedInput::Builtin(program.clone())),
            // `lock` does not ask for these here.
            Source::Build(_) => Err(Error::new(Kind::Malformed, what)),
            Source::Recipe(none) => match *none {},
        }
    }

    fn deb(
        &self,
        name: &Name,
        deb: &Deb,
        archives: &mut BTreeMap<(Suite, Suite), Archive>,
        lock: &mut Lock,
    ) -> Result<LockedInput> {
        let archive = self.archive(name, (&deb.suite, &deb.component), archives, lock)?;
        Ok(LockedInput::Deb(self.packages_from(archive, deb, &format!("input `{name}`, "))?))
    }

    fn source(
        &self,
        name: &Name,
        source: &SourceOf,
        archives: &mut BTreeMap<(Suite, Suite), Archive>,
        lock: &mut Lock,
    ) -> Result<LockedInput> {
        let SourceOf { suite, component, package } = source;
        let archive = self.archive(name, (suite, component), archives, lock)?;
        let what = format!("input `{name}`, source package `{package}`");
        let cache = self.fetcher.store.index_directory();
        let found = self.with_progress(&format!("source index of {suite}"), |progress| {
            let search = self.search(&cache);
            let text = package.to_string();
            archive.source_package(&search, component.as_str(), &text, progress)
        })?;
        let found = found.ok_or_else(|| {
            let message = format!("{what}: `{suite}` has no such source package in `{component}`");
            Error::new(Kind::CannotDecide, message)
        })?;
        let mut parts = BTreeMap::new();
        for (part, SourcePart { path, object }) in found.parts {
            let what = format!("{what}, `{part}`");
            let place = format!("/{part}").parse().context(Kind::Malformed, || what.clone())?;
            self.fetcher.pool_file(Some(&archive.uri), &path, object, &what)?;
            let Object { sha256, size } = object;
            parts.insert(place, LockedPart { path, sha256, size });
        }
        let (package, version) = (package.to_string(), found.version);
        Ok(LockedInput::Source(LockedSource { package, version, suite: suite.clone(), parts }))
    }

    /// The archive for a suite and a component, opened once.
    fn archive<'a>(
        &self,
        name: &Name,
        (suite, component): (&Suite, &Suite),
        archives: &'a mut BTreeMap<(Suite, Suite), Archive>,
        lock: &mut Lock,
    ) -> Result<&'a Archive> {
        let archive = match archives.entry((suite.clone(), component.clone())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let opened = self.open_archive(suite, component);
                let what = || format!("input `{name}`: suite `{suite}` cannot be used");
                entry.insert(opened.map_err(|error| error.context(what()))?)
            }
        };
        lock.archives.insert(suite.clone(), self.locked_archive(archive));
        Ok(archive)
    }

    /// The packages of `deb`, each of them then in the store.
    ///
    /// # Errors
    /// As [`Resolver::lock`].
    pub fn packages(&self, deb: &Deb) -> Result<Vec<LockedPackage>> {
        let archive = self.open_archive(&deb.suite, &deb.component)?;
        self.packages_from(&archive, deb, "")
    }

    fn packages_from(
        &self,
        archive: &Archive,
        deb: &Deb,
        what: &str,
    ) -> Result<Vec<LockedPackage>> {
        let text =
            |names: &[PackageName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (wanted, depends) = (text(&deb.packages), text(&deb.depends));
        let request = Request { packages: &wanted, depends: &depends };
        let found = packages::resolve(&archive.packages, request)
            .map_err(|error| Error::new(Kind::CannotDecide, format!("{what}{error}")))?;
        let mut locked = Vec::new();
        for package in found {
            let object = Object { sha256: package.sha256, size: package.size };
            let what = format!("{what}package `{}`", package.package);
            let data = self.fetcher.package(Some(&archive.uri), &package.path, object, &what)?;
            locked.push(LockedPackage {
                package: package.package,
                version: package.version,
                architecture: package.architecture,
                suite: deb.suite.clone(),
                path: package.path,
                sha256: package.sha256,
                size: package.size,
                data,
            });
        }
        Ok(locked)
    }

    fn open_archive(&self, suite: &Suite, component: &Suite) -> Result<Archive> {
        let progress = self.fetcher.progress;
        let cache = self.fetcher.store.index_directory();
        let archive = self.with_progress(&format!("package index of {suite}"), |progress| {
            Archive::open(&self.search(&cache), suite.as_str(), &[component.as_str()], progress)
        })?;
        match archive.release.freshness(self.now) {
            Freshness::Current => {}
            Freshness::Expired { seconds } => progress.warn(&format!(
                "the release file of `{suite}` expired {} days ago ({}): the mirror may be stale, \
                 or may be holding newer packages back; the lock will say so",
                seconds / 86_400,
                archive.release.valid_until.map(date).unwrap_or_default(),
            )),
            Freshness::Future { .. } => progress.warn(&format!(
                "the release file of `{suite}` is dated {}, which is still to come: is this \
                 machine's clock right?",
                date(archive.release.date)
            )),
        }
        Ok(archive)
    }

    fn search<'a>(&'a self, cache: &'a Path) -> Search<'a> {
        let Fetcher { sources, trust, client, .. } = self.fetcher;
        Search { sources, trust, client, cache, now: self.now }
    }

    /// Something that may download an index, with a bar for it.
    fn with_progress<T>(
        &self,
        what: &str,
        work: impl FnOnce(&mut dyn FnMut(Progress<'_>)) -> Result<T, archive::Error>,
    ) -> Result<T> {
        let progress = self.fetcher.progress;
        let mut begun = false;
        let result = work(&mut |at| {
            if !begun {
                progress.begin(what, Some(at.total));
                begun = true;
            }
            progress.advance(at.done);
        });
        progress.end();
        result.map_err(fetch::archive_error)
    }

    fn locked_archive(&self, archive: &Archive) -> LockedArchive {
        let release = &archive.release;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        LockedArchive {
            origin: text(&release.origin),
            suite: text(&release.suite),
            codename: text(&release.codename),
            date: date(release.date),
            valid_until: release.valid_until.map(date),
            expired: matches!(release.freshness(self.now), Freshness::Expired { .. }),
            sha256: release.sha256,
            signed_by: release.signed_by.iter().cloned().collect(),
        }
    }
}

/// What differs between two locks, by input; nothing for a first lock.
pub fn changes(manifest: &Manifest, old: &Lock, new: &Lock) -> Vec<Change> {
    let mut changes = Vec::new();
    let (before, after) = (described(old), described(new));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let text = |from: &BTreeMap<String, (Name, String)>| {
            from.get(key).map(|(_, text)| text.clone()).unwrap_or_default()
        };
        let (old, new) = (text(&before), text(&after));
        if old != new
            && let Some((input, _)) = after.get(key).or_else(|| before.get(key))
        {
            let mut rolls = manifest.measured_by(input);
            if *key == "init" || *key == "evidence" {
                rolls.push("initrd");
            }
            changes.push(Change { input: key.clone(), old, new, rolls });
        }
    }
    changes
}

/// A line for each thing that a lock pins: version where there is one, else the digest's head.
fn described(lock: &Lock) -> BTreeMap<String, (Name, String)> {
    let head = |object: &Object| format!("sha256 {}", &object.sha256.to_string()[..16]);
    let mut lines = BTreeMap::new();
    for (name, object) in &lock.builtin {
        lines.insert(name.to_string(), (name.clone(), head(object)));
    }
    for (name, input) in &lock.inputs {
        match input {
            LockedInput::Deb(packages) => {
                for package in packages {
                    let line =
                        format!("{} ({})", package.version, &package.sha256.to_string()[..8]);
                    lines.insert(format!("{name}/{}", package.package), (name.clone(), line));
                }
            }
            LockedInput::Source(source) => {
                for (path, part) in &source.parts {
                    let line = format!("{} ({})", source.version, &part.sha256.to_string()[..8]);
                    lines.insert(format!("{name}{path}"), (name.clone(), line));
                }
            }
            LockedInput::File(object) => {
                lines.insert(name.to_string(), (name.clone(), head(object)));
            }
            LockedInput::Url(LockedUrl { sha256, size, .. })
            | LockedInput::Tar(LockedTar { sha256, size, .. }) => {
                let object = Object { sha256: *sha256, size: *size };
                lines.insert(name.to_string(), (name.clone(), head(&object)));
            }
            LockedInput::Sdist(sdist) => {
                let line = format!("{} ({})", sdist.version, &sdist.sha256.to_string()[..8]);
                lines.insert(name.to_string(), (name.clone(), line));
            }
            LockedInput::Dir(entries) => {
                let text = crate::yaml::emit(entries);
                let digest = crate::digest::Sha256::of(text).to_string();
                let line = format!("{} paths, sha256 {}", entries.len(), &digest[..16]);
                lines.insert(name.to_string(), (name.clone(), line));
            }
            LockedInput::Build(build) => {
                lines.insert(name.to_string(), (name.clone(), head(&build.result)));
            }
            LockedInput::Builtin(_) => {}
        }
    }
    lines
}

/// A kept input keeps what vouched for it.
fn keep_archives(lock: &mut Lock, old: &Lock, input: &LockedInput) {
    let suites: Vec<&Suite> = match input {
        LockedInput::Deb(packages) => packages.iter().map(|package| &package.suite).collect(),
        LockedInput::Source(source) => vec![&source.suite],
        _ => Vec::new(),
    };
    for suite in suites {
        if let Some(archive) = old.archives.get(suite)
            && !lock.archives.contains_key(suite)
        {
            lock.archives.insert(suite.clone(), archive.clone());
        }
    }
}

/// RFC 3339, UTC, of a time in Unix seconds (days to civil date as in Howard Hinnant's
/// `chrono`-compatible algorithms, public domain).
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_civil() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_793_347_681), "2026-10-30T08:08:01Z");
    }
}
