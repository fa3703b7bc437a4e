//! Writing a release directory: whole, or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::digest::{Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::cpio::{self, CpioError};
use crate::input::progress::Progress;
use crate::launch::igvm::IgvmRecord;
use crate::launch::{Record, SevFeatures};
use crate::layout;
use crate::manifest::load::Loaded;
use crate::manifest::{Lock, Manifest, directory_of, types};
use crate::release::assemble::Assembled;
use crate::release::inventory::Inventory;
use crate::release::{measure, sbom, threat_model, volumes};

/// A release in the making stands beside the release under this name.
const STAGING: &str = ".counterfoil-";

/// One that is older than this belongs to nobody.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

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
    progress: &dyn Progress,
) -> Result<Record> {
    check_target(target)?;
    // A link to a release stays one; what it leads to is replaced.
    let target = &target.canonicalize().unwrap_or_else(|_| target.to_owned());
    let parent = directory_of(target);
    let failed = || format!("failed making a directory in `{}`", parent.display());
    fs::create_dir_all(parent).context(Kind::Environment, failed)?;
    let staging = tempfile::Builder::new()
        .prefix(STAGING)
        .tempdir_in(parent)
        .context(Kind::Environment, failed)?;
    remove_abandoned(parent, staging.path());
    let new = Staged { root: staging.path().join("release") };
    fs::create_dir_all(new.root.join("image")).context(Kind::Environment, failed)?;

    progress.begin("writing the initrd", None);
    let initrd = new.initrd(assembled);
    progress.end();
    let initrd = initrd?;
    let volumes = volumes::write(&new.root, &assembled.volumes, progress)?;
    let record = measure::record(manifest, assembled, initrd, &volumes)?;
    let cmdline = record.boot.as_ref().map(|boot| boot.cmdline.as_str()).unwrap_or_default();
    let mut igvm = None;
    if let Some(asked) = &manifest.launch.igvm {
        progress.begin("writing the IGVM file", None);
        let written = new.igvm(asked, manifest, assembled, &record);
        progress.end();
        let failed = || "the record of the IGVM file".to_owned();
        let written = igvm.insert(written?);
        new.file(layout::IGVM_RECORD, &written.to_json().context(Kind::Environment, failed)?)?;
    }
    let threats = threat_model::write(manifest, lock, &record, &assembled.exposures);
    new.file(layout::FIRMWARE, &assembled.firmware)?;
    new.file(layout::KERNEL, &assembled.kernel)?;
    new.file(layout::CMDLINE, cmdline.as_bytes())?;
    let json = record.to_json().context(Kind::Environment, || "the launch record".to_owned())?;
    new.file(layout::RECORD, &json)?;
    let inventory = Inventory::of(&assembled.tree, &assembled.volumes);
    let listed = inventory.to_json().context(Kind::Environment, || "the inventory".to_owned())?;
    new.file(layout::INVENTORY, &listed)?;
    let parts = sbom::Parts {
        manifest,
        lock,
        inventory: &inventory,
        inventory_sha256: Sha256::of(&listed),
        record: &record,
        record_sha256: Sha256::of(&json),
        igvm: igvm.as_ref(),
    };
    let bill =
        sbom::write(&parts).context(Kind::Environment, || "the bill of materials".to_owned())?;
    new.file(layout::SBOM, &bill)?;
    new.file(layout::THREAT_MODEL, threats.as_bytes())?;
    new.file(layout::MANIFEST, manifest.canonical().as_bytes())?;
    new.file(layout::LOCK, lock.canonical().as_bytes())?;
    replace(&new.root, target)?;
    Ok(record)
}

/// Refuses to write over anything that is not a release, and over a release to which somebody has
/// added, before any work is done.
///
/// # Errors
/// [`Kind::Usage`] when `target` is there and holds what a build would not put back.
pub fn check_target(target: &Path) -> Result<()> {
    if fs::symlink_metadata(target).is_err() {
        return Ok(());
    }
    let remedy = "move it away, or say another directory with `--output`";
    if !target.is_dir() {
        let message = format!("`{}` is there and is not a directory", target.display());
        return Err(Error::new(Kind::Usage, message).hint(remedy));
    }
    let volumes = volumes_of(target);
    let mut empty = true;
    for entry in
        walkdir::WalkDir::new(target).follow_root_links(true).min_depth(1).sort_by_file_name()
    {
        let entry = entry
            .context(Kind::Environment, || format!("failed reading `{}`", target.display()))?;
        empty = false;
        let path = entry.path().strip_prefix(target).unwrap_or(entry.path());
        let ours =
            |name: &&'static str| Path::new(name) == path || Path::new(name).starts_with(path);
        if !layout::ALL.iter().chain(&layout::IF_ASKED).any(ours) && !volumes.contains(path) {
            let what = match target.join(layout::RECORD).is_file() {
                true => "holds",
                false => "is there and is not a release: it holds",
            };
            let message = format!("`{}` {what} `{}`", target.display(), path.display());
            return Err(Error::new(Kind::Usage, message).hint(remedy));
        }
    }
    if empty || target.join(layout::RECORD).is_file() {
        return Ok(());
    }
    let message = format!("`{}` is there and is not a release", target.display());
    Err(Error::new(Kind::Usage, message).hint(remedy))
}

/// What a build of the release at `target` puts below `image/volumes`, and no more: data that somebody
/// has put beside a record are theirs.
fn volumes_of(target: &Path) -> BTreeSet<PathBuf> {
    let Ok(loaded) = Loaded::read(&target.join(layout::MANIFEST)) else { return BTreeSet::new() };
    let mut paths = BTreeSet::new();
    for (name, volume) in &loaded.manifest.volumes {
        paths.insert(layout::VOLUMES.into());
        paths.insert(layout::volume_record(name).into());
        if volume.record.is_none() {
            paths.insert(layout::volume(name).into());
        }
    }
    paths
}

/// Removes what killed builds left beside the release. "Now" is the time of a directory made now.
fn remove_abandoned(parent: &Path, own: &Path) {
    let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let Some(now) = modified(own) else { return };
    for entry in walkdir::WalkDir::new(parent).min_depth(1).max_depth(1).into_iter().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(STAGING);
        let age = modified(entry.path()).and_then(|then| now.duration_since(then).ok());
        if ours && entry.file_type().is_dir() && age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
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
                CpioError::TooLarge { .. } | CpioError::Dropped { .. } => Kind::Malformed,
                _ => Kind::Environment,
            };
            Error::caused(kind, "the initrd cannot be written", error)
        })?;
        out.flush().context(Kind::Environment, failed)?;
        Ok(object)
    }

    /// Writes the IGVM file.
    fn igvm(
        &self,
        asked: &types::Igvm,
        manifest: &Manifest,
        assembled: &Assembled,
        record: &Record,
    ) -> Result<IgvmRecord> {
        let failed = || "failed writing the IGVM file".to_owned();
        let initrd =
            File::open(self.root.join(layout::INITRD)).context(Kind::Environment, failed)?;
        let size = initrd.metadata().context(Kind::Environment, failed)?.len();
        let file = File::create(self.root.join(layout::IGVM)).context(Kind::Environment, failed)?;
        let parts = measure::IgvmParts {
            firmware: &assembled.firmware,
            kernel: &assembled.kernel,
            record,
            vcpus: asked.vcpus.value,
            features: SevFeatures(asked.features.0),
        };
        let initrd = (&mut BufReader::new(initrd) as &mut dyn Read, size);
        measure::igvm(&parts, initrd, BufWriter::new(file)).map_err(|error| {
            error.context(format!("firmware, input `{}`", manifest.firmware.from.value))
        })
    }
}

/// Puts the new directory in the place of the old one by one renaming: there is always a release.
fn replace(new: &Path, target: &Path) -> Result<()> {
    let exchange = |flags| renameat_with(CWD, new, CWD, target, flags);
    exchange(RenameFlags::NOREPLACE)
        .or_else(|_| exchange(RenameFlags::EXCHANGE))
        // A file system that cannot exchange, or an empty directory in a build's way.
        .map_err(std::io::Error::from)
        .or_else(|_| fs::rename(new, target))
        .context(Kind::Environment, || {
            format!("failed moving the release to `{}`", target.display())
        })
}
