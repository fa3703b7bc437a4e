//! Files that are there whole or not at all.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::error::{Context as _, Error, Kind, Result};

/// Writes `bytes` to `path`, in the place of what is there, also of a link: the link is not followed. The
/// mode is what the umask leaves of 0666, since a temporary file's own would keep others from reading.
///
/// # Errors
/// [`Kind::Usage`] when a device, a pipe or a directory stands there, [`Kind::Environment`] when it cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    // Whoever may do anything would otherwise have a file in the place of a device.
    let is_special = |path: &Path| path.metadata().is_ok_and(|found| !found.is_file());
    if is_special(path) || path.starts_with("/dev") || path.starts_with("/proc") {
        let message = format!("`{}` is no place for a file", path.display());
        return Err(Error::new(Kind::Usage, message)
            .hint("say a file: what is written there is there whole or not at all"));
    }
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
