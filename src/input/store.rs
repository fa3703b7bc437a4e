//! The store: bytes by their SHA-256, under the user's cache directory.
//!
//! An object appears whole or not at all (a rename within the store), and is hashed again whenever
//! it is opened: what a build reads is what the lock names, whoever has written to the cache since.
//! Several processes may use one store at once; a process killed at any moment leaves at most a
//! temporary file, which a later one removes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::{NamedTempFile, TempDir};

use crate::digest::{Hashing, Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::tree::held::Held;

/// How much is read at a time.
const CHUNK: usize = 1 << 18;

/// Package indexes, each by its digest; made anew from the archive at will.
const INDEXES: &str = "indexes";

/// What this store itself unpacked: for the digest of an archive, that of its contents.
const UNPACKED: &str = "unpacked";

/// What this store itself compiled: for the digest of a recipe, that of the result.
const BUILT: &str = "built";

/// What builds had to say, by recipe.
const LOGS: &str = "logs";

/// A temporary file that has not been written to for this long belongs to nobody.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// A content-addressed directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// An open object whose bytes were checked when it was opened.
#[derive(Debug)]
pub struct Opened {
    /// The file, as it was when its bytes were checked.
    pub held: Held,
    /// Where it is.
    pub path: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making it if need be.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        for directory in ["objects", "partial", "tmp", INDEXES, UNPACKED, BUILT, LOGS] {
            let path = root.join(directory);
            fs::create_dir_all(&path).context(Kind::Environment, || {
                format!("failed making the store's directory `{}`", path.display())
            })?;
        }
        store.remove_abandoned();
        Ok(store)
    }

    /// Whether an object of this name is there; its bytes are not looked at.
    pub fn contains(&self, object: Object) -> bool {
        fs::metadata(self.object_path(object.sha256)).is_ok_and(|meta| meta.len() == object.size)
    }

    /// Opens an object after hashing all of it. `None` if it is not there.
    ///
    /// # Errors
    /// [`Kind::Rejected`] when the bytes are not those of its name; the object is then removed, so
    /// that the next fetch brings it anew.
    pub fn get(&self, object: Object, what: &str) -> Result<Option<Opened>> {
        let path = self.object_path(object.sha256);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error)
                    .context(Kind::Environment, || format!("failed opening `{}`", path.display()));
            }
        };
        let failed = || format!("failed reading `{}`", path.display());
        let held = Held::new(file).context(Kind::Environment, failed)?;
        let found = digest(held.reader()).context(Kind::Environment, failed)?;
        if found == object {
            return Ok(Some(Opened { held, path }));
        }
        let _ = fs::remove_file(&path);
        let message = format!(
            "{what}: the store's copy was altered: expected sha256 {} ({} bytes), found {} ({} bytes)",
            object.sha256, object.size, found.sha256, found.size
        );
        Err(Error::new(Kind::Rejected, message).hint(
            "the altered copy was removed from the store; run the command again to fetch it anew",
        ))
    }

    /// Opens an object that must be there.
    ///
    /// # Errors
    /// As [`Store::get`], and [`Kind::CannotDecide`] when it is missing.
    pub fn need(&self, object: Object, what: &str) -> Result<Opened> {
        self.get(object, what)?.ok_or_else(|| {
            let message = format!("{what}: not in the store (sha256 {})", object.sha256);
            Error::new(Kind::CannotDecide, message).hint(
                "packages and URLs are fetched by a build with a network; a local file must stand \
                 beside the manifest; or import a bundle of this lock",
            )
        })
    }

    /// Puts into the store what `write` writes, and says what that was.
    ///
    /// # Errors
    /// What `write` says; [`Kind::Environment`] when the store cannot be written, for example when
    /// the disk is full.
    pub fn put_with(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Object> {
        let mut new = self.temporary()?;
        let mut out = Hashing::new(new.as_file_mut());
        write(&mut out)?;
        let object = out.finish();
        self.adopt(new, object).map_err(with_room_hint)?;
        Ok(object)
    }

    /// Puts the bytes of `reader` into the store and says what they are.
    ///
    /// # Errors
    /// As [`Store::put_with`].
    pub fn put(&self, mut reader: impl Read, what: &str) -> Result<Object> {
        self.put_with(|out| {
            io::copy(&mut reader, out)
                .map(drop)
                .context(Kind::Environment, || format!("{what}: failed writing to the store"))
                .map_err(with_room_hint)
        })
    }

    /// Puts the bytes of `reader` into the store if they are `object`.
    ///
    /// # Errors
    /// As [`Store::put_with`], and [`Kind::Rejected`] when they are others; then nothing is kept.
    pub fn put_checked(&self, object: Object, reader: impl Read, what: &str) -> Result<()> {
        let mut new = self.temporary()?;
        let mut out = Hashing::new(new.as_file_mut());
        // One byte more than there may be shows that there are more.
        io::copy(&mut reader.take(object.size.saturating_add(1)), &mut out)
            .context(Kind::Environment, || format!("{what}: failed copying to the store"))
            .map_err(with_room_hint)?;
        let found = out.finish();
        if found == object {
            return self.adopt(new, object).map_err(with_room_hint);
        }
        let message = format!(
            "{what}: expected sha256 {} ({} bytes), found {} ({} bytes)",
            object.sha256, object.size, found.sha256, found.size
        );
        Err(Error::new(Kind::Rejected, message).hint("what was offered is not what the lock names"))
    }

    /// Puts bytes into the store.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_bytes(&self, bytes: &[u8], what: &str) -> Result<Object> {
        let object = Object { sha256: Sha256::of(bytes), size: bytes.len() as u64 };
        if self.contains(object) { Ok(object) } else { self.put(bytes, what) }
    }

    /// Downloads are written here and renamed into place; the guard keeps other processes waiting.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the file cannot be made or locked.
    pub fn partial(&self, sha256: Sha256) -> Result<Partial> {
        let path = self.root.join("partial").join(sha256.to_string());
        let guard_path = path.with_extension("guard");
        let failed = || format!("failed locking `{}`", guard_path.display());
        let guard = File::create(&guard_path).context(Kind::Environment, failed)?;
        flock(&guard, FlockOperation::LockExclusive).context(Kind::Environment, failed)?;
        Ok(Partial { path, guard_path, _guard: guard })
    }

    /// Moves a finished download into place. Its bytes must have been checked against `object`.
    ///
    /// # Errors
    /// [`Kind::Environment`] when it cannot be moved.
    pub fn adopt_partial(&self, partial: Partial, object: Object) -> Result<()> {
        let path = self.object_path(object.sha256);
        self.prepare(&path)?;
        fs::rename(&partial.path, &path)
            .context(Kind::Environment, || format!("failed moving into `{}`", path.display()))?;
        let _ = fs::remove_file(&partial.guard_path);
        Ok(())
    }

    /// What the archive `packed` unpacks to, if this store has unpacked it and still holds that. A lock
    /// may say what it likes of the two; only an unpacking ties them together.
    pub fn unpacked(&self, packed: Object) -> Option<Object> {
        self.noted(&self.unpacked_path(packed))
    }

    /// Notes that `packed` was unpacked to `data`.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the store cannot be written.
    pub fn note_unpacked(&self, packed: Object, data: Object) -> Result<()> {
        self.note(&self.unpacked_path(packed), data)
    }

    /// What the recipe of this digest gave, if this store has seen it built and still holds that.
    pub fn built(&self, recipe: Sha256) -> Option<Object> {
        self.noted(&self.root.join(BUILT).join(recipe.to_string()))
    }

    /// Notes that `recipe` gave `result`.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the store cannot be written.
    pub fn note_built(&self, recipe: Sha256, result: Object) -> Result<()> {
        self.note(&self.root.join(BUILT).join(recipe.to_string()), result)
    }

    /// Where what a build says is kept, the last one of each recipe.
    pub fn log_path(&self, recipe: Sha256) -> PathBuf {
        self.root.join(LOGS).join(format!("{recipe}.log"))
    }

    /// A directory that is gone with the value.
    ///
    /// # Errors
    /// [`Kind::Environment`] when it cannot be made.
    pub fn temporary_directory(&self) -> Result<TempDir> {
        let directory = self.root.join("tmp");
        TempDir::new_in(&directory)
            .context(Kind::Environment, || {
                format!("failed making a directory in `{}`", directory.display())
            })
            .map_err(with_room_hint)
    }

    fn noted(&self, path: &Path) -> Option<Object> {
        let text = fs::read_to_string(path).ok()?;
        let (sha256, size) = text.trim_end().split_once(' ')?;
        let object = Object { sha256: sha256.parse().ok()?, size: size.parse().ok()? };
        self.contains(object).then_some(object)
    }

    fn note(&self, path: &Path, object: Object) -> Result<()> {
        let failed = || format!("failed writing `{}`", path.display());
        let mut new = self.temporary()?;
        writeln!(new, "{} {}", object.sha256, object.size).context(Kind::Environment, failed)?;
        new.persist(path).map_err(|error| error.error).context(Kind::Environment, failed)?;
        Ok(())
    }

    fn unpacked_path(&self, packed: Object) -> PathBuf {
        self.root.join(UNPACKED).join(packed.sha256.to_string())
    }

    /// Where package indexes are kept between two runs of `lock`.
    pub fn index_directory(&self) -> PathBuf {
        self.root.join(INDEXES)
    }

    fn adopt(&self, new: NamedTempFile, object: Object) -> Result<()> {
        if self.contains(object) {
            return Ok(());
        }
        let path = self.object_path(object.sha256);
        self.prepare(&path)?;
        new.persist(&path)
            .map_err(|error| error.error)
            .context(Kind::Environment, || format!("failed moving into `{}`", path.display()))?;
        Ok(())
    }

    fn prepare(&self, path: &Path) -> Result<()> {
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)
            .context(Kind::Environment, || format!("failed making `{}`", parent.display()))
    }

    fn temporary(&self) -> Result<NamedTempFile> {
        let directory = self.root.join("tmp");
        NamedTempFile::new_in(&directory)
            .context(Kind::Environment, || {
                format!("failed making a file in `{}`", directory.display())
            })
            .map_err(with_room_hint)
    }

    fn object_path(&self, sha256: Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.root.join("objects").join(&name[..2]).join(name)
    }

    /// Removes what killed processes left. "Now" is the time of a file made now: no clock is read.
    fn remove_abandoned(&self) {
        let Ok(now) = self.temporary().and_then(|file| modified(file.path())) else { return };
        let directory = walkdir::WalkDir::new(self.root.join("tmp"));
        for entry in directory.min_depth(1).max_depth(1).into_iter().flatten() {
            let old = modified(entry.path())
                .is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age > ABANDONED));
            if old {
                let _ = match entry.file_type().is_dir() {
                    true => fs::remove_dir_all(entry.path()),
                    false => fs::remove_file(entry.path()),
                };
            }
        }
    }
}

/// A download in progress, this process's alone while the value lives.
#[derive(Debug)]
pub struct Partial {
    /// Where the bytes so far are, if any.
    pub path: PathBuf,
    guard_path: PathBuf,
    _guard: File,
}

/// What the bytes of `reader` are.
pub fn digest(mut reader: impl Read) -> io::Result<Object> {
    let mut out = Hashing::new(io::sink());
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(out.finish()),
            Ok(count) => out.write_all(&chunk[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn modified(path: &Path) -> Result<std::time::SystemTime> {
    fs::metadata(path)
        .and_then(|meta| meta.modified())
        .context(Kind::Environment, || format!("failed reading `{}`", path.display()))
}

fn with_room_hint(error: Error) -> Error {
    error.hint("is there room, and may you write there? `XDG_CACHE_HOME` or `--store` puts the store elsewhere")
}
