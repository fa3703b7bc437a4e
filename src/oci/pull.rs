//! A release out of a registry: every byte of it held against its digest, and no name followed out of the
//! directory.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress;
use crate::manifest::directory_of;
use crate::oci::attached::{Attached, place};
use crate::oci::client::Repository;
use crate::oci::descriptor::Descriptor;
use crate::oci::manifest::{File, LARGEST, Manifest, is_ours};
use crate::statement::bundle;

/// How many manifests that refer to a release are looked at.
const MOST_REFERRERS: usize = 1000;

/// What was pulled.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The digest of the release's manifest.
    pub digest: Sha256,
    /// Its files.
    pub files: Vec<File>,
    /// The files of what refers to it.
    pub said: Vec<File>,
    /// Whether an index under a tag said what refers to it.
    pub by_tag: bool,
}

/// Pulls a release, and what is said about it, into the new directory `output`.
///
/// What is attached to a release may come from anybody who may write there. It is pulled if it is of a kind
/// and name that things said about a release have, and believed by nobody before it is verified; of what is
/// not, `progress` is warned. Of several with one name all are pulled, under names of [`attached`].
///
/// [`attached`]: crate::oci::attached
///
/// # Errors
/// [`Kind::Usage`] when `output` is there; [`Kind::CannotDecide`] when the release is not;
/// [`Kind::Rejected`] when the registry has other bytes than the digests say, or names that lead out of the
/// directory.
pub fn pull(there: &Repository, output: &Path, progress: &dyn Progress) -> Result<Pulled> {
    // Also a link that leads nowhere.
    if fs::symlink_metadata(output).is_ok() {
        let message = format!("`{}` is there already", output.display());
        return Err(Error::new(Kind::Usage, message).hint("say another directory with `--output`"));
    }
    let (digest, manifest) = find(there)?;
    let named = || format!("`{}` is no release that can be pulled", there.reference());
    let files = manifest.files().map_err(|error| refuse(error, named()))?;
    let parent = directory_of(output);
    let failed = || format!("failed making a directory in `{}`", parent.display());
    fs::create_dir_all(parent).context(Kind::Environment, failed)?;
    check_room(parent, &files)?;
    let staging = tempfile::Builder::new()
        .prefix(".counterfoil-")
        .tempdir_in(parent)
        .context(Kind::Environment, failed)?;
    let new = staging.path().join("release");
    fs::create_dir(&new).context(Kind::Environment, failed)?;
    for file in &files {
        fetch(there, &new, file, progress)?;
    }
    let referrers = there.referrers(digest)?;
    if referrers.manifests.len() > MOST_REFERRERS {
        progress.warn(&format!(
            "{} manifests refer to the release: only the last {MOST_REFERRERS} are looked at",
            referrers.manifests.len()
        ));
    }
    // An index under a tag is written at its end; a registry's own list is in whatever order.
    let mut all: Vec<Attached> = Vec::new();
    for descriptor in referrers.manifests.iter().rev().take(MOST_REFERRERS) {
        all.extend(attached(there, digest, descriptor, &files, progress)?);
    }
    let mut said: Vec<File> = Vec::new();
    for placed in place(all) {
        let from = placed.from;
        let Some(file) = placed.file else {
            progress.warn(&format!("there are several of `{from}`: another is left out"));
            continue;
        };
        if file.path != from {
            let to = &file.path;
            progress.note(&format!("there are several of `{from}`: another is `{to}`"));
        }
        fetch(there, &new, &file, progress)?;
        said.push(file);
    }
    said.sort_by(|a, b| a.path.cmp(&b.path));
    renameat_with(CWD, &new, CWD, output, RenameFlags::NOREPLACE)
        .map_err(std::io::Error::from)
        .context(Kind::Environment, || {
            format!("failed moving the release to `{}`", output.display())
        })?;
    Ok(Pulled { digest, files, said, by_tag: referrers.by_tag })
}

/// The manifest, by digest if there is one.
fn find(there: &Repository) -> Result<(Sha256, Manifest)> {
    let reference = there.reference();
    let name = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => format!("sha256:{digest}"),
        (None, Some(tag)) => tag.clone(),
        (None, None) => {
            let message = format!("`{reference}` does not say which release");
            return Err(Error::new(Kind::Usage, message).hint("add `:TAG` or `@sha256:DIGEST`"));
        }
    };
    let bytes = there
        .manifest(&name)?
        .ok_or_else(|| Error::new(Kind::CannotDecide, format!("there is no `{reference}`")))?;
    let manifest = Manifest::parse(&bytes)
        .context(Kind::Malformed, || format!("`{reference}` is no release"))?;
    Ok((Sha256::of(&bytes), manifest))
}

/// What something attaches to the release `subject`, which has the files `parts`; `None` for what is not for us.
fn attached(
    there: &Repository,
    subject: Sha256,
    descriptor: &Descriptor,
    parts: &[File],
    progress: &dyn Progress,
) -> Result<Option<Attached>> {
    if !descriptor.artifact_type.as_deref().is_some_and(is_ours) {
        return Ok(None);
    }
    let name = descriptor.digest.to_string();
    let left_out = |why: &str| {
        progress.warn(&format!("what `{name}` attaches to the release is left out: {why}"));
        Ok(None)
    };
    if descriptor.digest.sha256().is_none() {
        return left_out("only a SHA-256 can be checked here");
    }
    if descriptor.size > LARGEST {
        return left_out("its manifest is too large");
    }
    let Some(bytes) = there.manifest(&name)? else { return left_out("it is not there") };
    let attached = Manifest::parse(&bytes).and_then(|manifest| {
        let (created, beside) = (manifest.created(), manifest.beside());
        Ok(Attached { file: manifest.said_about(subject)?, created, beside })
    });
    match attached {
        Ok(it) if it.file.object.size > bundle::MAX_BYTES => left_out("it is too large"),
        Ok(it) if parts.iter().any(|part| clash(&part.path, &it.file.path)) => {
            left_out(&format!("a part of the release stands in the way of `{}`", it.file.path))
        }
        Ok(it) => Ok(Some(it)),
        Err(error) => left_out(&crate::error::in_one_line(&error)),
    }
}

fn fetch(there: &Repository, root: &Path, file: &File, progress: &dyn Progress) -> Result<()> {
    let at = root.join(&file.path);
    let parent = at.parent().unwrap_or(root);
    let failed = || format!("failed writing `{}`", file.path);
    fs::create_dir_all(parent).context(Kind::Environment, failed)?;
    progress.begin(&format!("pulling {}", file.path), Some(file.object.size));
    let got = there.get(file.object, &at, &mut |done| progress.advance(done));
    progress.end();
    got.map_err(|error| error.context(format!("failed pulling `{}`", file.path)))
}

/// Whether two files cannot both be there.
fn clash(one: &str, other: &str) -> bool {
    let below =
        |path: &str, root: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    one == other || below(one, other) || below(other, one)
}

/// Refuses what would fill the disk, before it does.
fn check_room(parent: &Path, files: &[File]) -> Result<()> {
    let needed = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.object.size));
    let failed = || format!("failed looking at `{}`", parent.display());
    let system =
        statvfs(parent).map_err(std::io::Error::from).context(Kind::Environment, failed)?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    match needed > free {
        false => Ok(()),
        true => {
            let message = format!(
                "the release has {needed} bytes, and `{}` has room for {free}",
                parent.display()
            );
            Err(Error::new(Kind::Environment, message))
        }
    }
}

/// A name that leads elsewhere is an attack or a mistake of whoever pushed it; the rest is no release of ours.
fn refuse(error: crate::oci::manifest::Error, message: String) -> Error {
    let kind = match error {
        crate::oci::manifest::Error::Path { .. } => Kind::Rejected,
        _ => Kind::Malformed,
    };
    Error::caused(kind, message, error)
}
