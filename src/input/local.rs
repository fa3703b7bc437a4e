//! Files and directories beside the manifest.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use walkdir::WalkDir;

use crate::error::{Context as _, Error, Kind, Result};
use crate::names::{GuestPath, Line};

/// What a path in a local directory is. Owner, times and most of the mode do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// A directory.
    Directory,
    /// A file, and whether its owner may execute it.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Symlink(Line),
}

/// Every path below `root`, in bytewise order, root left out. Links are not followed.
///
/// # Errors
/// When something cannot be read, or is neither file, directory nor link.
pub fn list(root: &Path, what: &str) -> Result<Vec<(GuestPath, Local)>> {
    let mut found = Vec::new();
    for entry in WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.context(Kind::Environment, || {
            format!("{what}: failed reading `{}`", root.display())
        })?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let path: GuestPath = relative
            .to_str()
            .and_then(|text| format!("/{text}").parse().ok())
            .ok_or_else(|| {
                let message = format!("{what}: `{}` is not a plain UTF-8 path", relative.display());
                Error::new(Kind::Malformed, message)
            })?;
        let kind = entry.file_type();
        let local = if kind.is_dir() {
            Local::Directory
        } else if kind.is_symlink() {
            let failed = || format!("{what}: failed reading the link `{path}`");
            let target = std::fs::read_link(entry.path()).context(Kind::Environment, failed)?;
            let target =
                target.to_str().unwrap_or("\0").parse().context(Kind::Malformed, failed)?;
            Local::Symlink(target)
        } else if kind.is_file() {
            let metadata = entry
                .metadata()
                .context(Kind::Environment, || format!("{what}: failed reading `{path}`"))?;
            Local::File { executable: executable(&metadata) }
        } else {
            let message = format!("{what}: `{path}` is a device, socket or FIFO");
            return Err(Error::new(Kind::Malformed, message)
                .hint("an image takes files, directories and symbolic links; remove it"));
        };
        found.push((path, local));
    }
    found.sort_by(|one, two| one.0.cmp(&two.0));
    Ok(found)
}

fn executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}
