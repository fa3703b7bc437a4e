//! The files of an ID block: each appears whole, and none is replaced by another.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::launch::id_block::{IdAuth, IdBlock};

/// What is signed.
pub(super) const ID_BLOCK: &str = "id-block.bin";

/// The ID key as the firmware reads it, for an author key elsewhere to sign.
const ID_KEY: &str = "id-key.bin";

/// Keys and signatures.
pub(super) const ID_AUTH: &str = "id-auth.bin";

/// Writes the files to `directory` and says where they are. One that is there already stays if it
/// is the same; if it is not, nothing is written: whatever reads it may rely on it.
pub(super) fn write(
    directory: &Path,
    block: &IdBlock,
    auth: Option<&IdAuth>,
) -> Result<Vec<PathBuf>> {
    let mut files = vec![(directory.join(ID_BLOCK), block.bytes().to_vec())];
    if let Some(auth) = auth {
        files.push((directory.join(ID_KEY), auth.id_key().bytes().to_vec()));
        files.push((directory.join(ID_AUTH), auth.bytes().to_vec()));
    }
    fs::create_dir_all(directory)
        .context(Kind::Environment, || format!("failed making `{}`", directory.display()))?;
    let mut staged = Vec::new();
    for (path, bytes) in &files {
        match fs::read(path) {
            Ok(found) if found == *bytes => {}
            Ok(_) => return Err(taken(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link that leads nowhere has nothing to read, and is in the way.
                if fs::symlink_metadata(path).is_ok() {
                    return Err(taken(path));
                }
                staged.push((path.as_path(), stage(directory, path, bytes)?));
            }
            Err(error) => return Err(error).context(Kind::Environment, || reading(path)),
        }
    }
    place(staged)?;
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Reads a small file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    bounded::whole(path)
}

/// Puts all files where they belong, or none.
fn place(staged: Vec<(&Path, NamedTempFile)>) -> Result<()> {
    let mut placed = Vec::new();
    for (path, file) in staged {
        match file.persist_noclobber(path) {
            Ok(_) => placed.push(path),
            Err(failure) => {
                // They are ours, and the first error is the one to tell.
                placed.iter().for_each(|path| drop(fs::remove_file(path)));
                return Err(match failure.error.kind() {
                    io::ErrorKind::AlreadyExists => taken(path),
                    _ => Error::caused(Kind::Environment, writing(path), failure.error),
                });
            }
        }
    }
    Ok(())
}

fn stage(directory: &Path, path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let new = || {
        let mut file = tempfile::Builder::new().prefix(".counterfoil-").tempfile_in(directory)?;
        file.write_all(bytes)?;
        // Nothing in it is secret, and the VMM may run as somebody else.
        fs::set_permissions(file.path(), Permissions::from_mode(0o644))?;
        Ok::<_, io::Error>(file)
    };
    new().context(Kind::Environment, || writing(path))
}

fn taken(path: &Path) -> Error {
    let message = format!("`{}` is there and is another one", path.display());
    Error::new(Kind::Usage, message).hint("move it away, or say another directory with `--output`")
}

fn reading(path: &Path) -> String {
    format!("failed reading `{}`", path.display())
}

fn writing(path: &Path) -> String {
    format!("failed writing `{}`", path.display())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    /// Somebody else may put a file there between the look and the write.
    #[test]
    fn a_late_failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
        let staged = [&first, &second]
            .map(|path| (path.as_path(), stage(directory.path(), path, b"ours").unwrap()));
        fs::write(&second, "theirs").unwrap();
        let error = place(staged.into()).unwrap_err();
        assert!(error.to_string().contains("is there and is another one"), "{error}");
        assert_eq!(fs::read(&second).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
