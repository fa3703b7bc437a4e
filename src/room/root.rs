//! A tree on disk, for programs to run in. The only place where a tree becomes files.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::SystemTime;

use crate::tree::{Entry, Tree};

/// Writes `tree` to the directory `at`. Owners are whoever writes; times are zero, so that nothing
/// looks newer than what is made of it. A tree has no path beneath a link, so nothing is written
/// through one.
pub(super) fn write(tree: &Tree, at: &Path) -> io::Result<()> {
    for (path, node) in tree.iter() {
        let place = at.join(path.relative());
        let mode = u32::from(node.mode);
        match &node.entry {
            Entry::Directory if place == at.join("") => {}
            // Whatever the package says, the room is cleared away afterwards.
            Entry::Directory => DirBuilder::new().mode(mode & 0o777 | 0o700).create(&place)?,
            Entry::Symlink(target) => symlink(target.as_str(), &place)?,
            Entry::File(content) => {
                let mut file = create(&place)?;
                let copied = io::copy(&mut content.blob.open()?, &mut file)?;
                if copied != content.size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                file.set_modified(SystemTime::UNIX_EPOCH)?;
                // Not by the mode of creation, which the umask would have a say in.
                fs::set_permissions(&place, Permissions::from_mode(mode & 0o777 | 0o600))?;
            }
        }
    }
    Ok(())
}

fn create(place: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)
}
