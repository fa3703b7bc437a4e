//! Files of a log that come into their places together, after the disk has all of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use crate::error::{Error, Kind, Result};

/// Where files stand, below the log's directory, before they are in their places.
const NEW: &str = ".new";

/// Among them, the one that the caller puts in its place.
const ASIDE: &str = "aside";

/// How many files are waited for at the same time.
const AT_ONCE: usize = 16;

/// Files in the making. What a killed process left is gone when the next one begins.
#[derive(Debug)]
pub(super) struct Staging {
    log: PathBuf,
    /// Where each is to stand, below the log's directory. Its place in the list is its name in the making.
    targets: Vec<String>,
    /// A file that the caller puts in its place, after the others.
    aside: Option<PathBuf>,
}

impl Staging {
    /// An empty one. The caller holds the log's lock.
    pub(super) fn begin(log: &Path) -> Result<Self> {
        let new = log.join(NEW);
        let staging = Self { log: log.to_owned(), targets: Vec::new(), aside: None };
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&new, error)),
            _ => fs::create_dir(&new).map(|()| staging).map_err(|error| failed(&new, error)),
        }
    }

    /// Writes a file that is to stand at `target`.
    pub(super) fn write(&mut self, target: String, bytes: &[u8]) -> Result<()> {
        let path = self.path(self.targets.len());
        let write = || File::create(&path)?.write_all(bytes);
        write().map_err(|error| failed(&self.log.join(&target), error))?;
        self.targets.push(target);
        Ok(())
    }

    /// Writes a file that the disk has when it has the others, and that is put in no place. Says where it is.
    pub(super) fn aside(&mut self, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.log.join(NEW).join(ASIDE);
        let write = || File::create(&path)?.write_all(bytes);
        write().map_err(|error| failed(&path, error))?;
        self.aside = Some(path.clone());
        Ok(path)
    }

    /// Puts all files in their places, and returns when the disk has them and their names.
    pub(super) fn settle(self) -> Result<()> {
        let places = self.targets.iter().map(|target| self.log.join(target));
        let mut files: Vec<_> =
            places.enumerate().map(|(number, place)| (self.path(number), place)).collect();
        files.extend(self.aside.iter().map(|path| (path.clone(), path.clone())));
        sync_all(&files)?;
        let mut directories = BTreeSet::new();
        for (number, target) in self.targets.iter().enumerate() {
            let target = self.log.join(target);
            let mut place = || {
                self.make_parents(&target, &mut directories)?;
                fs::rename(self.path(number), &target)
            };
            place().map_err(|error| failed(&target, error))?;
        }
        let directories = directories.into_iter().map(|path| (path.clone(), path));
        sync_all(&directories.collect::<Vec<_>>())
    }

    /// Makes the directories that `target` stands in, and notes which have a new name in them.
    fn make_parents(&self, target: &Path, directories: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let mut missing = Vec::new();
        for parent in target.ancestors().skip(1) {
            let known = !directories.insert(parent.to_owned());
            if known || parent == self.log || parent.is_dir() {
                break;
            }
            missing.push(parent);
        }
        missing.into_iter().rev().try_for_each(fs::create_dir)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.log.join(NEW).join(number.to_string())
    }
}

/// Waits until the disk has all of these files or directories; beside each is what to call it. Several at once
/// wait for one commit of the file system's journal, and not each for its own.
fn sync_all(files: &[(PathBuf, PathBuf)]) -> Result<()> {
    let sync = |(path, name): &(PathBuf, PathBuf)| {
        let sync = || File::open(path)?.sync_all();
        sync().map_err(|error| failed(name, error))
    };
    let some = |first| files.iter().skip(first).step_by(AT_ONCE).try_for_each(sync);
    thread::scope(|scope| {
        let others: Vec<_> =
            (1..files.len().min(AT_ONCE)).map(|first| scope.spawn(move || some(first))).collect();
        let mut result = some(0);
        for other in others {
            let panicked = |_| Err(Error::new(Kind::Environment, "a thread ended early"));
            result = result.and(other.join().unwrap_or_else(panicked));
        }
        result
    })
}

/// Waits until the disk has the names in a directory.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| failed(path, error))
}

/// An error of writing, with what helps.
pub(super) fn failed(path: &Path, error: io::Error) -> Error {
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    let message = format!("failed writing `{}`", path.display());
    let failure = Error::caused(Kind::Environment, message, error);
    if full {
        return failure.hint(
            "make room and append again: the log is as it was, and nothing half-written counts",
        );
    }
    failure
}
