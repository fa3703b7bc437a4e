//! Writing a release directory: whole, or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::digest::Object;
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::cpio::{self, CpioError};
use crate::input::report::Report;
use crate::launch::Record;
use crate::manifest::{Lock, Manifest};
use crate::release::assemble::Assembled;
use crate::release::inventory::Inventory;
use crate::release::{layout, measure, threat_model};

/// Writes the release of what was assembled to the directory `target`, replacing a release that is
/// there. Nothing of it is seen before all of it is there.
///
/// # Errors
/// When `target` is something else than a release, or the disk does not take it.
pub fn write(
    target: &Path,
    manifest: &Manifest,
    lock: &Lock,
    assembled: &Assembled,
    report: &dyn Report,
) -> Result<Record> {
    check_target(target)?;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = || format!("failed making a directory in `{}`", parent.display());
    fs::create_dir_all(parent).context(Kind::Environment, failed)?;
    let staging = tempfile::Builder::new()
        .prefix(".counterfoil-")
        .tempdir_in(parent)
        .context(Kind::Environment, failed)?;
    let new = Staged { root: staging.path().join("release") };
    fs::create_dir_all(new.root.join("image")).context(Kind::Environment, failed)?;

    report.begin("writing the initrd", None);
    let initrd = new.initrd(assembled);
    report.end();
    let record = measure::record(manifest, assembled, initrd?)?;
    new.file(layout::FIRMWARE, &assembled.firmware)?;
    new.file(layout::KERNEL, &assembled.kernel)?;
    new.file(layout::CMDLINE, manifest.cmdline.as_str().as_bytes())?;
    let json = record.to_json().context(Kind::Environment, || "the launch record".to_owned())?;
    new.file(layout::RECORD, &json)?;
    let mut inventory = serde_json::to_vec_pretty(&Inventory::of(&assembled.tree))
        .context(Kind::Environment, || "the inventory".to_owned())?;
    inventory.push(b'\n');
    new.file(layout::INVENTORY, &inventory)?;
    new.file(layout::THREAT_MODEL, threat_model::write(manifest, &record).as_bytes())?;
    new.file(layout::MANIFEST, manifest.canonical().as_bytes())?;
    new.file(layout::LOCK, lock.canonical().as_bytes())?;
    replace(&staging, &new.root, target)?;
    Ok(record)
}

/// Refuses to write over anything that is not a release, before any work is done.
///
/// # Errors
/// [`Kind::Usage`] when `target` is there and is not a release.
pub fn check_target(target: &Path) -> Result<()> {
    let empty = || {
        target.is_dir() && walkdir::WalkDir::new(target).min_depth(1).into_iter().next().is_none()
    };
    if !target.exists() || target.join(layout::RECORD).is_file() || empty() {
        return Ok(());
    }
    let message = format!("`{}` is there and is not a release", target.display());
    Err(Error::new(Kind::Usage, message)
        .hint("remove it, or say another directory with `--output`"))
}

struct Staged {
    root: PathBuf,
}

impl Staged {
    fn file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.root.join(name), bytes)
            .context(Kind::Environment, || format!("failed writing `{name}` of the release"))
    }

    fn initrd(&self, assembled: &Assembled) -> Result<Object> {
        let failed = || "failed writing the initrd".to_owned();
        let file =
            File::create(self.root.join(layout::INITRD)).context(Kind::Environment, failed)?;
        let mut out = BufWriter::new(file);
        let object = cpio::write(&assembled.tree, &mut out).map_err(|error| {
            let kind = match &error {
                CpioError::TooLarge { .. } => Kind::Malformed,
                _ => Kind::Environment,
            };
            Error::caused(kind, "the initrd cannot be written", error)
        })?;
        out.flush().context(Kind::Environment, failed)?;
        Ok(object)
    }
}

/// Puts the new directory in the place of the old one by renaming, never by copying.
fn replace(staging: &TempDir, new: &Path, target: &Path) -> Result<()> {
    let failed = || format!("failed moving the release to `{}`", target.display());
    let old = staging.path().join("old");
    if target.exists() {
        fs::rename(target, &old).context(Kind::Environment, failed)?;
    }
    fs::rename(new, target).or_else(|error| {
        // Put back what was there.
        if old.exists() {
            let _ = fs::rename(&old, target);
        }
        Err(error).context(Kind::Environment, failed)
    })
}
