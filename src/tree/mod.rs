//! The tree: a normalised set of paths in memory, the one thing that every image writer reads.
//!
//! A tree is never a directory on the host. Its order is the bytewise order of its paths; modes and
//! owners are values in it; there are no times. Readers make trees, writers turn them into bytes.

pub mod archive;
pub mod elf;
pub mod held;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::Arc;

use crate::digest::Sha256;
use crate::manifest::names::{GuestPath, Line, Owner};

/// Bytes that can be read again and again, without being held in memory.
pub trait Blob: Debug + Send + Sync {
    /// The bytes, from the first.
    ///
    /// # Errors
    /// When they cannot be opened.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

impl Blob for Vec<u8> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.as_slice()))
    }
}

/// A file's contents: what they are, and where they are read from.
#[derive(Clone, Debug)]
pub struct Content {
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
    /// Their number.
    pub size: u64,
    /// The bytes.
    pub blob: Arc<dyn Blob>,
}

impl Content {
    /// Contents held in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { sha256: Sha256::of(&bytes), size: bytes.len() as u64, blob: Arc::new(bytes) }
    }

    /// All of the bytes.
    ///
    /// # Errors
    /// When they cannot be read, or are not `size` many.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        self.blob.open()?.take(self.size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == self.size {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target, never followed by the tree.
    Symlink(Line),
}

/// An entry with what an image says about it.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub entry: Entry,
    /// Permission bits, `0o7777` at most.
    pub mode: u16,
    /// User and group.
    pub owner: Owner,
    /// The input it came from, as the inventory names it.
    pub origin: String,
}

/// A path that cannot be put into a tree.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Something else stands there.
    #[error("`{path}` is there already, from {first}; it cannot also come from {second}")]
    Taken {
        /// The path.
        path: GuestPath,
        /// Origin of what stands there.
        first: String,
        /// Origin of what was to be put there.
        second: String,
    },
    /// A parent is not a directory: a link would lead the file elsewhere.
    #[error("`{path}` (from {origin}) cannot be placed: `{parent}` is a {kind}, not a directory")]
    Beneath {
        /// The path.
        path: GuestPath,
        /// Its origin.
        origin: String,
        /// The parent.
        parent: GuestPath,
        /// What the parent is.
        kind: &'static str,
    },
}

/// A normalised set of paths. The root directory is always there.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<GuestPath, Node>,
}

/// Directories that nobody asked for by name but that a path needs.
const IMPLIED_MODE: u16 = 0o755;

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: BTreeMap::from([(GuestPath::root(), implied())]) }
    }
}

impl Tree {
    /// Puts `node` at `path`, with the directories above it.
    ///
    /// A directory may be named again: the later mode and owner hold. A file or link that is the
    /// same to the byte may be too.
    ///
    /// # Errors
    /// When something else stands there, or a parent is not a directory.
    pub fn place(&mut self, path: GuestPath, node: Node) -> Result<(), PlaceError> {
        let mut missing = Vec::new();
        let mut above = path.parent();
        while let Some(parent) = above {
            match self.nodes.get(&parent).map(|node| &node.entry) {
                Some(Entry::Directory) => {}
                Some(other) => {
                    let kind = other.kind();
                    return Err(PlaceError::Beneath { path, origin: node.origin, parent, kind });
                }
                None => missing.push(parent.clone()),
            }
            above = parent.parent();
        }
        if let Some(there) = self.nodes.get(&path)
            && !there.agrees_with(&node)
        {
            return Err(PlaceError::Taken {
                path,
                first: there.origin.clone(),
                second: node.origin,
            });
        }
        for parent in missing {
            self.nodes.insert(parent, implied());
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// What stands at `path`.
    pub fn get(&self, path: &GuestPath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Every path with its node, in the bytewise order of paths; the root first.
    pub fn iter(&self) -> impl Iterator<Item = (&GuestPath, &Node)> {
        self.nodes.iter()
    }

    /// The number of paths, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: the root is always there.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl Node {
    fn agrees_with(&self, other: &Self) -> bool {
        match (&self.entry, &other.entry) {
            (Entry::Directory, Entry::Directory) => true,
            (Entry::File(one), Entry::File(two)) => {
                one.sha256 == two.sha256 && self.mode == other.mode && self.owner == other.owner
            }
            (Entry::Symlink(one), Entry::Symlink(two)) => one == two,
            _ => false,
        }
    }
}

impl Entry {
    /// A word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File(_) => "file",
            Self::Symlink(_) => "symbolic link",
        }
    }
}

fn implied() -> Node {
    Node {
        entry: Entry::Directory,
        mode: IMPLIED_MODE,
        owner: Owner::default(),
        origin: "counterfoil".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GuestPath {
        text.parse().unwrap()
    }

    fn file(text: &str) -> Node {
        let entry = Entry::File(Content::from_bytes(text.into()));
        Node { entry, mode: 0o644, owner: Owner::default(), origin: format!("input `{text}`") }
    }

    fn link(target: &str) -> Node {
        let entry = Entry::Symlink(target.parse().unwrap());
        Node { entry, mode: 0o777, owner: Owner::default(), origin: "input `links`".to_owned() }
    }

    #[test]
    fn parents_appear_and_order_is_bytewise() {
        let mut tree = Tree::default();
        tree.place(path("/b/c"), file("1")).unwrap();
        tree.place(path("/b-d"), file("2")).unwrap();
        let order: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(order, ["/", "/b", "/b-d", "/b/c"]);
    }

    #[test]
    fn nothing_is_placed_through_a_link_or_over_another_file() {
        let mut tree = Tree::default();
        tree.place(path("/etc"), link("/tmp")).unwrap();
        let error = tree.place(path("/etc/passwd"), file("x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/etc/passwd` (from input `x`) cannot be placed: `/etc` is a symbolic link, not a directory"
        );
        tree.place(path("/a"), file("1")).unwrap();
        tree.place(path("/a"), file("1")).unwrap();
        assert!(matches!(tree.place(path("/a"), file("2")), Err(PlaceError::Taken { .. })));
        assert_eq!(tree.len(), 3, "a refused path leaves nothing behind");
    }
}
