//! A file that appears under its name when it is whole.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, OFlags, copy_file_range, flock, fstatfs};
use tempfile::NamedTempFile;

use crate::error::{Context as _, Error, Kind, Result};
use crate::image::erofs::WholeBlocks;
use crate::image::verity::{BLOCK_SIZE, Block};
use crate::manifest::directory_of;

/// A file in the making stands beside its place under this name, locked by the process that writes.
const STAGING: &str = ".counterfoil-volume-";

/// A file in the making. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Output {
    new: NamedTempFile,
    /// The same file, past the page cache.
    direct: Option<File>,
    /// Whether the file system can let two files share blocks.
    shares: AtomicBool,
}

/// File systems on which `copy_file_range` shares blocks where it can (`f_type`, statfs(2)): Btrfs,
/// XFS, bcachefs. Elsewhere it copies, which is no better than what we do.
const SHARING: [u64; 3] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e];

impl Output {
    /// A file of `size` bytes, all of them holes, that is to stand at `target`.
    pub(super) fn new(target: &Path, size: u64) -> Result<Self> {
        let parent = directory_of(target);
        let failed = || format!("failed making a file in `{}`", parent.display());
        fs::create_dir_all(parent).context(Kind::Environment, failed)?;
        remove_abandoned(parent);
        let new = staged(parent).context(Kind::Environment, failed)?;
        new.as_file().set_len(size).context(Kind::Environment, failed).map_err(|error| {
            error
                .hint(format!("the volume has {size} bytes; can the file system hold such a file?"))
        })?;
        let flags = i32::try_from(OFlags::DIRECT.bits()).ok();
        let direct = flags.and_then(|flags| {
            File::options().write(true).custom_flags(flags).open(new.path()).ok()
        });
        let kind = fstatfs(new.as_file()).ok().and_then(|found| u64::try_from(found.f_type).ok());
        let shares = AtomicBool::new(kind.is_some_and(|kind| SHARING.contains(&kind)));
        Ok(Self { new, direct, shares })
    }

    /// Lets blocks be those of another file, without a copy. Says whether they are; if not, they are
    /// to be written. The bytes must be read after this, not before.
    pub(super) fn share(&self, blocks: &WholeBlocks<'_>) -> bool {
        if !self.shares.load(Ordering::Relaxed) {
            return false;
        }
        let Ok(Some((file, start))) = blocks.blob.file() else { return false };
        let mut from = start + blocks.offset;
        let mut to = blocks.at * BLOCK_SIZE as u64;
        let end = to + blocks.count * BLOCK_SIZE as u64;
        while to < end {
            let left = usize::try_from(end - to).unwrap_or(usize::MAX);
            let into = self.new.as_file();
            match copy_file_range(&file, Some(&mut from), into, Some(&mut to), left) {
                Ok(1..) => {}
                // Another file system, or bytes that stand askew: what it cannot do once, it cannot.
                Ok(0) | Err(_) => {
                    self.shares.store(false, Ordering::Relaxed);
                    return false;
                }
            }
        }
        true
    }

    /// Writes blocks at their place, where they are aligned in memory past the page cache: a model
    /// that was just written is not read next.
    pub(super) fn write(&self, at: u64, blocks: &[Block]) -> io::Result<()> {
        let offset = at * BLOCK_SIZE as u64;
        let bytes = blocks.as_flattened();
        match &self.direct {
            Some(direct) if bytes.as_ptr().align_offset(BLOCK_SIZE) == 0 => {
                match direct.write_all_at(bytes, offset) {
                    // A file system that says yes and then no.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                    result => return result,
                }
            }
            _ => {}
        }
        self.new.as_file().write_all_at(bytes, offset)
    }

    /// A small file that is to stand at `target`, with all of its text.
    pub(super) fn text(target: &Path, text: &[u8]) -> Result<Self> {
        let new = Self::new(target, 0)?;
        let failed = |error| failed(target, text.len() as u64, error);
        new.new.as_file().write_all_at(text, 0).map_err(failed)?;
        Ok(new)
    }

    /// Waits until the disk has all of it.
    pub(super) fn sync(&self, target: &Path) -> Result<()> {
        let size = self.new.as_file().metadata().map_or(0, |metadata| metadata.len());
        self.new.as_file().sync_all().map_err(|error| failed(target, size, error))
    }

    /// Puts the file in its place.
    pub(super) fn persist(self, target: &Path) -> Result<()> {
        let persisted = self.new.persist(target).map_err(|error| error.error);
        persisted
            .context(Kind::Environment, || format!("failed writing `{}`", target.display()))?;
        // The name, too. Not every file system takes this, and nothing is lost without.
        let _ = File::open(directory_of(target)).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

fn staged(parent: &Path) -> io::Result<NamedTempFile> {
    loop {
        let new = tempfile::Builder::new()
            .prefix(STAGING)
            // Less what the umask takes away, as for any file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(parent)?;
        flock(new.as_file(), FlockOperation::LockExclusive)?;
        // Another process may have cleaned up between the making and the locking.
        if new.as_file().metadata()?.nlink() > 0 {
            return Ok(new);
        }
    }
}

/// Removes what killed processes left: the lock went with the process.
fn remove_abandoned(parent: &Path) {
    for entry in walkdir::WalkDir::new(parent).min_depth(1).max_depth(1).into_iter().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(STAGING);
        if ours
            && entry.file_type().is_file()
            && let Ok(file) = File::open(entry.path())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// An error of writing, with what helps.
pub(super) fn failed(target: &Path, size: u64, error: io::Error) -> Error {
    let full = error.kind() == io::ErrorKind::StorageFull
        || error.kind() == io::ErrorKind::QuotaExceeded
        || error.kind() == io::ErrorKind::FileTooLarge;
    let message = format!("failed writing `{}`", target.display());
    let failure = Error::caused(Kind::Environment, message, error);
    if full {
        return failure.hint(format!(
            "the volume takes up to {size} bytes; make room, or say another place with `--output`"
        ));
    }
    failure
}
