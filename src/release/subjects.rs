//! What a statement about a release is about: its files, each by what its bytes are.

use std::io::Read as _;
use std::path::Path;

use sha2::Digest as _;

use crate::digest::{Sha256, Sha384};
use crate::error::{Error, Kind, Result};
use crate::input::bounded;
use crate::launch::record::Disclosure;
use crate::layout;
use crate::names::VolumeName;
use crate::release::open::Release;
use crate::statement::intoto::{Digests, Subject};

/// How much of a file is read at once.
const CHUNK: usize = 1 << 20;

/// Every file of the release, in the order in which they are compared; but for volumes that are not for everyone,
/// of which only the records are said: whoever knew the digest of one could try which contents it is of.
///
/// # Errors
/// When one cannot be read.
pub fn subjects(release: &Release) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let mut add = |name: String, with_sha384| -> Result<bool> {
        let path = release.path(&name);
        if !path.is_file() {
            return Ok(false);
        }
        let digest = digests(&path, with_sha384)?;
        subjects.push(Subject { name, digest });
        Ok(true)
    };
    for name in layout::ALL {
        if !add(name.to_owned(), true)? {
            let message = format!("`{}` has no `{name}`", release.root.display());
            return Err(Error::new(Kind::Malformed, message).hint("build it again"));
        }
    }
    for name in layout::IF_ASKED {
        add(name.to_owned(), true)?;
    }
    for volume in &release.record.volumes {
        let Ok(name) = volume.name.parse::<VolumeName>() else { continue };
        // A volume can be large, and its root hash binds it already: one digest will do.
        if volume.disclosure == Disclosure::Public {
            add(layout::volume(&name), false)?;
        }
        add(layout::volume_record(&name), true)?;
    }
    Ok(subjects)
}

/// The digest of a file of any size.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> Result<Sha256> {
    digests(path, false).map(|digests| digests.sha256)
}

/// The digests of a file, which is read once.
fn digests(path: &Path, with_sha384: bool) -> Result<Digests> {
    let mut file = bounded::open(path)?;
    let (mut short, mut long) = (sha2::Sha256::new(), with_sha384.then(sha2::Sha384::new));
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer).map_err(|error| bounded::failed(path, error))?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
        short.update(read);
        if let Some(long) = &mut long {
            long.update(read);
        }
    }
    Ok(Digests {
        sha256: Sha256(short.finalize().into()),
        sha384: long.map(|long| Sha384(long.finalize().into())),
    })
}
