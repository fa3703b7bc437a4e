//! Files of a log that come into their places together, after the disk has all of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Where files stand, below the log's directory, before they are in their places.
const NEW: &str = ".new";

/// Files in the making. What a killed process left is gone when the next one begins.
#[derive(Debug)]
pub(super) struct Staging {
    log: PathBuf,
    /// Where each is to stand, below the log's directory. Its place in the list is its name in the making.
    targets: Vec<String>,
}

impl Staging {
    /// An empty one. The caller holds the log's lock.
    pub(super) fn begin(log: &Path) -> Result<Self> {
        let new = log.join(NEW);
        let staging = Self { log: log.to_owned(), targets: Vec::new() };
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

    /// Puts all files in their places, and returns when the disk has them and their names.
    pub(super) fn settle(self) -> Result<()> {
        for (number, target) in self.targets.iter().enumerate() {
            let sync = || File::open(self.path(number))?.sync_all();
            sync().map_err(|error| failed(&self.log.join(target), error))?;
        }
        let mut directories = BTreeSet::new();
        for (number, target) in self.targets.iter().enumerate() {
            let target = self.log.join(target);
            let mut place = || {
                self.make_parents(&target, &mut directories)?;
                fs::rename(self.path(number), &target)
            };
            place().map_err(|error| failed(&target, error))?;
        }
        directories.iter().try_for_each(|directory| sync_directory(directory))
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
