//! A release made again from its own manifest and lock, and held against what it is.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::{Context as _, Error, Kind, Result};
use crate::guest;
use crate::image::{cpio, erofs, igvm, verity};
use crate::input::bounded;
use crate::input::bundle::{External, externals};
use crate::input::fetch::Fetcher;
use crate::input::open::Opener;
use crate::input::store::Store;
use crate::launch;
use crate::layout;
use crate::manifest::load::{self, Loaded};
use crate::manifest::{Lock, Manifest};
use crate::names::{Name, VolumeName};
use crate::release::assemble::{Order, assemble};
use crate::release::diff::{self, Compared};
use crate::release::verdict::Identity;
use crate::release::write;

/// The largest manifest or lock that is read.
const MAX_TEXT: u64 = 64 << 20;

/// What came of making a release again.
#[derive(Debug)]
pub struct Rebuilt {
    /// Which release it was.
    pub identity: Identity,
    /// How far it came.
    pub outcome: Outcome,
    /// Volumes that were made before, so that only their records could be compared, and volumes that nothing
    /// binds, of which nothing was.
    pub not_rebuilt: Vec<VolumeName>,
    /// Programs of the guest that the lock names and this program does not carry: others, or another
    /// version's. What they do is nothing that a rebuild tells.
    pub other_programs: Vec<Name>,
}

/// How far a rebuild came.
#[derive(Debug)]
pub enum Outcome {
    /// To the end.
    Compared(Compared),
    /// Not: something is missing. The first is the error, and all inputs that could not be had are listed.
    Missing(Error, Vec<String>),
}

/// Makes the release at `root` again in the directory `again`, which must not be there, and compares.
/// Inputs are taken from the store, or fetched; what lies in the release is not believed, but for its
/// manifest and lock, which are what is being tried.
///
/// # Errors
/// When the release is none, or says what is not so; what is merely missing is an [`Outcome`].
pub fn reproduce(root: &Path, fetcher: &Fetcher<'_>, again: &Path) -> Result<Rebuilt> {
    if !root.join(layout::RECORD).is_file() {
        let message = format!("`{}` is not a release: it has no `launch.json`", root.display());
        return Err(Error::new(Kind::CannotDecide, message)
            .hint("make one with `counterfoil build MANIFEST`"));
    }
    super::open::check_regular(root)?;
    let text = |name: &str| load::read_text(&root.join(name), MAX_TEXT);
    let named = |name: &str| format!("`{}`", root.join(name).display());
    let manifest = Loaded::released(&text(layout::MANIFEST)?, &named(layout::MANIFEST))?;
    let lock = Lock::released(&text(layout::LOCK)?, &named(layout::LOCK))?;
    lock.check_manifest(&manifest).map_err(|error| {
        error.context(format!("{} does not fit the manifest beside it", named(layout::LOCK)))
    })?;
    let identity = Identity::of(root)?;
    let not_rebuilt = manifest
        .volumes
        .iter()
        .filter(|(_, volume)| volume.files.is_empty())
        .map(|(name, _)| name.clone())
        .collect();
    let other_programs = lock
        .builtin
        .iter()
        .filter(|(name, object)| guest::program_with(name.as_str(), object.sha256).is_none())
        .map(|(name, _)| name.clone())
        .collect();
    if let Some((error, missing)) = check_writers(root)? {
        let outcome = Outcome::Missing(error, vec![missing]);
        return Ok(Rebuilt { identity, outcome, not_rebuilt, other_programs });
    }
    let outcome = match rebuild(&manifest, &lock, fetcher, again) {
        Ok(()) => Outcome::Compared(diff::compare_rebuilt(root, again)?),
        Err(error) if error.kind() == Kind::CannotDecide => {
            let missing = missing(&lock, fetcher.store);
            Outcome::Missing(error, missing)
        }
        Err(error) => return Err(error),
    };
    Ok(Rebuilt { identity, outcome, not_rebuilt, other_programs })
}

fn rebuild(manifest: &Manifest, lock: &Lock, fetcher: &Fetcher<'_>, again: &Path) -> Result<()> {
    // Nothing stands beside the manifest: the publisher's files are inputs like others, by their digests.
    let nowhere = tempfile::tempdir()
        .context(Kind::Environment, || "failed making a temporary directory".to_owned())?;
    fetcher.fill(lock, manifest, nowhere.path())?;
    let opener = Opener { lock, store: fetcher.store, manifest, directory: None };
    let assembled = assemble(manifest, &opener, Order::Canonical)?;
    write::write(again, manifest, lock, &assembled, fetcher.progress)?;
    Ok(())
}

/// The inputs that the store holds neither as received nor unpacked.
fn missing(lock: &Lock, store: &Store) -> Vec<String> {
    let unpacked = lock.archives_unpacked();
    let is_missing = |external: &External<'_>| {
        let data = unpacked.iter().find(|(packed, _)| *packed == external.object);
        !store.contains(external.object)
            && data.is_none_or(|(packed, data)| store.unpacked(*packed) != Some(*data))
    };
    externals(lock).into_iter().filter(is_missing).map(|external| external.what).collect()
}

/// A writer of an epoch that this program does not have would write other bytes: the failure, and what is
/// missing.
fn check_writers(root: &Path) -> Result<Option<(Error, String)>> {
    let path = root.join(layout::RECORD);
    let record: Value = serde_json::from_slice(&bounded::whole(&path)?)
        .context(Kind::Malformed, || format!("`{}`", path.display()))?;
    let ours = [cpio::EPOCH, erofs::EPOCH, verity::EPOCH, igvm::EPOCH, launch::EPOCH];
    let ours: BTreeMap<&str, &str> =
        ours.into_iter().filter_map(|epoch| Some((epoch.split_once('/')?.0, epoch))).collect();
    let writers = record["writers"].as_object().cloned().unwrap_or_default();
    let unknown = |(kind, epoch): &(&String, &Value)| {
        epoch.as_str().is_none_or(|epoch| ours.get(kind.as_str()) != Some(&epoch))
    };
    Ok(writers.iter().find(unknown).map(|(kind, epoch)| {
        let has =
            ours.get(kind.as_str()).map_or("no such writer".to_owned(), |it| format!("\"{it}\""));
        let message = format!("the release was written by {epoch}, and this program has {has}");
        let error = Error::new(Kind::CannotDecide, message).hint(format!(
            "rebuild with a version that has it; the release names {}",
            record["tool"]
        ));
        (error, format!("a writer of the epoch {epoch}"))
    }))
}
