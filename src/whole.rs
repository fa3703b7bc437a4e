//! Files that are there whole or not at all.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::error::{Context as _, Kind, Result};

/// Writes `bytes` to `path`, in the place of what is there, also of a link: the link is not followed. The
/// mode is what the umask leaves of 0666, since a temporary file's own would keep others from reading.
///
/// # Errors
/// [`Kind::Environment`] when it cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("failed writing `{}`", path.display());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .prefix(".counterfoil-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .context(Kind::Environment, failed)?;
    new.write_all(bytes).context(Kind::Environment, failed)?;
    new.persist(path).map(drop).map_err(|error| error.error).context(Kind::Environment, failed)
}
