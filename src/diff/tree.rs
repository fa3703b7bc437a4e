//! Two trees of paths, of whatever archive or file system.

use std::collections::BTreeMap;
use std::io;

use super::cause::of_modes;
use super::{Cause, Diff};

/// What a path is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    Special,
}

/// What is said of a path beside its contents.
#[derive(Clone, Debug)]
pub(super) struct Node<C> {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: u64,
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    /// Where a link leads.
    pub(super) target: Option<Vec<u8>>,
    pub(super) links: u32,
    /// Where its contents are.
    pub(super) contents: C,
}

/// Paths as they stand in an archive, with what they are.
pub(super) type Nodes<C> = BTreeMap<Vec<u8>, Node<C>>;

/// Compares two trees; `contents` compares those of two files.
pub(super) fn compare<C>(
    diff: &mut Diff,
    one: &Nodes<C>,
    two: &Nodes<C>,
    mut contents: impl FnMut(&mut Diff, &C, &C) -> io::Result<()>,
) -> io::Result<()> {
    for (path, first) in one {
        let name = shown(path);
        match two.get(path) {
            None => diff.within(name, |diff| diff.differs(Cause::Removed, "is not in the second")),
            Some(second) => diff.within(name, |diff| {
                if first.kind != second.kind {
                    let what = format!("{} → {}", first.kind.name(), second.kind.name());
                    diff.differs(Cause::Kind, what);
                    return Ok(());
                }
                node(diff, first, second);
                match first.kind {
                    Kind::File => contents(diff, &first.contents, &second.contents),
                    _ => Ok(()),
                }
            })?,
        }
    }
    for path in two.keys().filter(|path| !one.contains_key(*path)) {
        diff.within(shown(path), |diff| diff.differs(Cause::Added, "is not in the first"));
    }
    Ok(())
}

fn node<C>(diff: &mut Diff, one: &Node<C>, two: &Node<C>) {
    if one.mode != two.mode {
        let what = format!("mode {:04o} → {:04o}", one.mode, two.mode);
        diff.differs(of_modes(one.mode, two.mode), what);
    }
    if one.owner != two.owner {
        let ((uid, gid), (other, another)) = (one.owner, two.owner);
        diff.differs(Cause::Owner, format!("owner {uid}:{gid} → {other}:{another}"));
    }
    diff.value(Cause::Mtime, "time", one.mtime, two.mtime);
    if one.device != two.device {
        let ((major, minor), (other, another)) = (one.device, two.device);
        diff.differs(Cause::Device, format!("device {major}:{minor} → {other}:{another}"));
    }
    if one.target != two.target {
        let target = |target: &Option<Vec<u8>>| {
            target.as_deref().map_or("something unread".to_owned(), shown)
        };
        let what = format!("leads to `{}` → `{}`", target(&one.target), target(&two.target));
        diff.differs(Cause::Link, what);
    }
    if one.kind == Kind::File {
        diff.value(Cause::HardLinks, "names", one.links, two.links);
    }
}

/// A path as people write it.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink => "symlink",
            Self::Special => "device, FIFO or socket",
        }
    }
}
