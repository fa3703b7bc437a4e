//! The files of an ID block: each appears whole, and none is replaced by another.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Context as _, Error, Kind, Result};
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
                staged.push((path, stage(directory, path, bytes)?));
            }
            Err(error) => return Err(error).context(Kind::Environment, || reading(path)),
        }
    }
    for (path, file) in staged {
        file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => taken(path),
            _ => Error::caused(Kind::Environment, writing(path), error.error),
        })?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Reads a small file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context(Kind::Environment, || reading(path))
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
