//! A release into a registry.

use std::collections::BTreeMap;
use std::fs::File as Opened;
use std::io;
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use crate::digest::{Hashing, Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::input::progress::Progress;
use crate::layout;
use crate::oci::client::{Held, Repository, referrers_tag};
use crate::oci::manifest::{
    BESIDE, CREATED, EMPTY_CONTENT, File, INDEX, LARGEST, MANIFEST, Manifest, PROOF, SIGNED,
    check_path, empty_config, is_said,
};
use crate::report::Time;
use crate::statement::bundle;
use crate::statement::intoto::Statement;
use crate::statement::launch::{self, Launch};

/// Where statements say when they were made: a publisher's, how something was built or rebuilt, and a revocation.
const TIMES: [&str; 3] = [
    "/predicate/validity/notBefore",
    "/predicate/runDetails/metadata/finishedOn",
    "/predicate/issued",
];

/// What is in the registry now.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The digest of the release's manifest: what to tell others.
    pub digest: Sha256,
    /// Its files.
    pub files: Vec<File>,
    /// How many of its bytes the registry did not have.
    pub sent: u64,
    /// What refers to it, and the digest of the manifest of each.
    pub said: Vec<(String, Sha256)>,
    /// Whether the registry cannot list what refers to a manifest, so that an index under a tag says it.
    pub by_tag: bool,
}

/// That a published release is what its own statement says: a copy that was damaged would be everybody's.
fn check_stated(release: &Path, files: &[File]) -> Result<()> {
    let path = release.join(layout::STATEMENT);
    let Ok(words) = bounded::at_most(&path, launch::MAX as u64) else { return Ok(()) };
    let Ok(statement) = Statement::<Launch>::from_json(&words) else { return Ok(()) };
    let other = files.iter().find(|file| {
        let subject = statement.subject(&file.path);
        subject.is_some_and(|subject| subject.digest.sha256 != file.object.sha256)
    });
    let Some(other) = other else { return Ok(()) };
    let message =
        format!("`{}` is not what the statement is of", release.join(&other.path).display());
    Err(Error::new(Kind::Rejected, message)
        .hint("the copy is damaged: fetch or build the release again"))
}

/// Pushes the release in `release`, called `tag` if it is to have a name besides its digest, and what was
/// said about it.
///
/// # Errors
/// When it is no release, or there is more in its directory than belongs to one; and as
/// [`Repository::put`].
pub fn push(
    there: &Repository,
    release: &Path,
    tag: Option<&str>,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let (parts, said) = list(release)?;
    let hash = |paths: &[String]| -> Result<Vec<File>> {
        paths.iter().map(|path| hashed(release, path, progress)).collect()
    };
    let (files, said) = (hash(&parts)?, hash(&said)?);
    check_stated(release, &files)?;
    let mut sent = 0;
    for file in &files {
        sent += send(there, release, file, progress)?;
    }
    let manifest = Manifest::of_release(&files);
    let subject = manifest.descriptor();
    if subject.size > LARGEST {
        let message = format!(
            "the release has {} files, more than a registry's manifest can list",
            files.len()
        );
        return Err(Error::new(Kind::CannotDecide, message));
    }
    if there.has(empty_config())? != Held::Yes {
        there.put(empty_config(), || Ok(EMPTY_CONTENT), &mut |_| {})?;
    }
    let digest = manifest.object().sha256;
    let by_digest = format!("sha256:{digest}");
    there.put_manifest(tag.unwrap_or(&by_digest), MANIFEST, &manifest.bytes())?;
    let mut pushed = Pushed { digest, files, sent, said: Vec::new(), by_tag: false };
    let mut unlisted = Vec::new();
    for file in &said {
        pushed.sent += send(there, release, file, progress)?;
        let about = annotations(release, file, &said)?;
        let manifest = Manifest::referring(subject.clone(), file, about);
        let own = manifest.object().sha256;
        if !there.put_manifest(&format!("sha256:{own}"), MANIFEST, &manifest.bytes())? {
            unlisted.push(manifest.in_index());
        }
        pushed.said.push((file.path.clone(), own));
    }
    if !unlisted.is_empty() {
        // "Pushing Manifests with Subject": read, changed and written again, which is why two who do so at
        // the same time lose what one of them wrote.
        let mut index = there.index_by_tag(digest)?;
        let changes = unlisted.into_iter().filter(|new| index.put(new.clone())).count();
        if changes > 0 {
            let bytes = index.bytes();
            if bytes.len() as u64 > LARGEST {
                let message = "more is attached to the release than an index can list".to_owned();
                return Err(Error::new(Kind::CannotDecide, message));
            }
            there.put_manifest(&referrers_tag(digest), INDEX, &bytes)?;
        }
        pushed.by_tag = true;
    }
    Ok(pushed)
}

/// The paths of what is in a release and of what is said about it, sorted.
fn list(release: &Path) -> Result<(Vec<String>, Vec<String>)> {
    for name in [layout::RECORD, layout::LOCK, layout::MANIFEST] {
        if !release.join(name).is_file() {
            let message = format!("`{}` is not a release: it has no `{name}`", release.display());
            return Err(Error::new(Kind::CannotDecide, message));
        }
    }
    let (mut parts, mut said) = (Vec::new(), Vec::new());
    for entry in WalkDir::new(release).min_depth(1).sort_by_file_name() {
        let failed = || format!("failed reading `{}`", release.display());
        let entry = entry.context(Kind::Environment, failed)?;
        if entry.file_type().is_dir() {
            continue;
        }
        let at = entry.path().display();
        if !entry.file_type().is_file() {
            return Err(Error::new(Kind::Malformed, format!("`{at}` is not a regular file")));
        }
        let path = entry.path().strip_prefix(release).ok().and_then(Path::to_str);
        let path = path.filter(|path| check_path(path).is_ok());
        let path = path.ok_or_else(|| {
            Error::new(Kind::Malformed, format!("`{at}` has no name that a release's file has"))
        })?;
        let volume = path.strip_prefix(layout::VOLUMES).is_some_and(|rest| rest.starts_with('/'));
        if is_said(path) {
            said.push(path.to_owned());
        } else if volume || layout::ALL.contains(&path) || layout::IF_ASKED.contains(&path) {
            parts.push(path.to_owned());
        } else {
            // Whoever pushes a release means no private key that lies about.
            let message = format!("`{at}` is no file of a release");
            return Err(Error::new(Kind::Rejected, message)
                .hint("move it out of the directory; nothing was pushed"));
        }
    }
    parts.sort();
    said.sort();
    Ok((parts, said))
}

fn open(release: &Path, path: &str) -> Result<Opened> {
    let at = release.join(path);
    Opened::open(&at).context(Kind::Environment, || format!("failed reading `{}`", at.display()))
}

fn hashed(release: &Path, path: &str, progress: &dyn Progress) -> Result<File> {
    let mut file = open(release, path)?;
    let failed = || format!("failed reading `{}`", release.join(path).display());
    let size = file.metadata().context(Kind::Environment, failed)?.len();
    if is_said(path) && size > bundle::MAX_BYTES {
        let message = format!(
            "`{}` has {size} bytes, more than the {} of the largest bundle",
            release.join(path).display(),
            bundle::MAX_BYTES
        );
        return Err(Error::new(Kind::Malformed, message));
    }
    progress.begin(&format!("hashing {path}"), Some(size));
    let mut hashing = Hashing::new(io::sink());
    let copied = io::copy(&mut file, &mut hashing);
    progress.end();
    copied.context(Kind::Environment, failed)?;
    Ok(File { path: path.to_owned(), object: hashing.finish() })
}

/// Sends a file if the registry lacks it, and says how many bytes that were.
fn send(there: &Repository, release: &Path, file: &File, progress: &dyn Progress) -> Result<u64> {
    let Object { size, .. } = file.object;
    let held = there.has(file.object)?;
    if held == Held::Yes {
        progress.detail(&format!("`{}` is there already", file.path));
        return Ok(0);
    }
    progress.begin(&format!("pushing {}", file.path), Some(size));
    let sent =
        there.put(file.object, || open(release, &file.path), &mut |done| progress.advance(done));
    progress.end();
    sent.map_err(|error| error.context(format!("failed pushing `{}`", file.path)))?;
    // A registry that finds something under the digest may keep that (Distribution's `blobWriter.moveBlob` does),
    // and nobody could pull what was pushed.
    if held == Held::Damaged && there.has(file.object)? == Held::Damaged {
        let message = format!(
            "the registry has `{}` damaged, as `sha256:{}`, and does not take it again",
            file.path, file.object.sha256
        );
        return Err(Error::new(Kind::Rejected, message)
            .hint("whoever keeps the registry has to remove that blob; then push again"));
    }
    Ok(size)
}

/// What Sigstore's tools look for at a bundle before they get it (cosign's specification of bundles in
/// registries); of what stands beside one of `said`, beside which.
fn annotations(release: &Path, file: &File, said: &[File]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    if !file.path.ends_with(SIGNED) {
        let stem = file.path.strip_suffix(PROOF).or_else(|| file.path.strip_suffix(".json"));
        let bundle = stem.map(|stem| format!("{stem}{SIGNED}"));
        let bundle = said.iter().find(|other| Some(&other.path) == bundle.as_ref());
        all.extend(bundle.map(|it| (BESIDE.to_owned(), format!("sha256:{}", it.object.sha256))));
        return Ok(all);
    }
    let bytes = bounded::at_most(&release.join(&file.path), bundle::MAX_BYTES)?;
    let bundle: Option<Value> = serde_json::from_slice(&bytes).ok();
    let payload =
        bundle.as_ref().and_then(|bundle| bundle.get("dsseEnvelope")?.get("payload")?.as_str());
    let Some(payload) = payload else { return Ok(all) };
    all.insert("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned());
    let statement = <base64ct::Base64 as base64ct::Encoding>::decode_vec(payload).ok();
    let statement: Option<Value> = statement.and_then(|it| serde_json::from_slice(&it).ok());
    if let Some(kind) = statement.as_ref().and_then(|it| it.get("predicateType")?.as_str()) {
        all.insert("dev.sigstore.bundle.predicateType".to_owned(), kind.to_owned());
    }
    let time = |at| statement.as_ref()?.pointer(at)?.as_str()?.parse::<Time>().ok();
    if let Some(time) = TIMES.into_iter().find_map(time) {
        all.insert(CREATED.to_owned(), time.to_string());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;

    /// A release is the same to a registry before and after it is published and rebuilt.
    #[test]
    fn what_is_published_is_said_about_a_release() {
        let name: Name = "me".parse().unwrap();
        let rebuilt = [layout::rebuild_bundle(&name), layout::rebuild_proof(&name)];
        let all = layout::PUBLISHED.into_iter().chain(rebuilt.iter().map(String::as_str));
        for path in all.chain(["rebuilds/me.json"]) {
            assert!(is_said(path), "{path}");
        }
        assert!(!layout::ALL.into_iter().chain(layout::IF_ASKED).any(is_said));
    }
}
