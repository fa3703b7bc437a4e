//! The tree: a normalised set of paths in memory, the one thing that every image writer reads.
//!
//! A tree is never a directory on the host. Its order is the bytewise order of its paths; modes and
//! owners are values in it; there are no times. Readers make trees, writers turn them into bytes.

pub mod archive;
pub mod elf;
pub mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use crate::digest::Sha256;
use crate::names::{GuestPath, Line, Owner};

/// Bytes that can be read again and again, without being held in memory.
pub trait Blob: Debug + Send + Sync {
    /// The bytes, from the first.
    ///
    /// # Errors
    /// When they cannot be opened.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;

    /// Fills `buffer` from byte `offset` on. Unless a blob knows better, this reads all that comes
    /// before, too.
    ///
    /// # Errors
    /// When the bytes cannot be read, are fewer, or are no longer what they were.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut reader = self.open()?;
        let skipped = io::copy(&mut reader.by_ref().take(offset), &mut io::sink())?;
        if skipped < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.read_exact(buffer)
    }

    /// The file that the bytes stand in, and the place of the first, if they stand in one. A file
    /// system may then share them; whoever does that reads them afterwards, which tells whether they
    /// were still the same.
    ///
    /// # Errors
    /// When it cannot be opened, or is no longer what it was.
    fn file(&self) -> io::Result<Option<(File, u64)>> {
        Ok(None)
    }
}

impl Blob for Vec<u8> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.as_slice()))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        (&self[start..]).read_exact(buffer)
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
    #[error("`{path}` comes from two places that differ in {difference}: {first} and {second}")]
    Taken {
        /// The path.
        path: GuestPath,
        /// In what the two differ.
        difference: &'static str,
        /// Origin of the one that comes first by name.
        first: String,
        /// Origin of the other.
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
    /// Directories that are there only because something below them is.
    implied: BTreeSet<GuestPath>,
}

/// Directories that nobody asked for by name but that a path needs.
const IMPLIED_MODE: u16 = 0o755;

impl Default for Tree {
    fn default() -> Self {
        let root = GuestPath::root();
        Self { nodes: BTreeMap::from([(root.clone(), implied())]), implied: BTreeSet::from([root]) }
    }
}

impl Tree {
    /// Puts `node` at `path`, with the directories above it.
    ///
    /// A path may be placed again if what is placed is the same: kind, contents, mode and owner. So
    /// the order of placing never shows in a tree.
    ///
    /// # Errors
    /// When something else stands there, or a parent is not a directory.
    pub fn place(&mut self, path: GuestPath, mut node: Node) -> Result<(), PlaceError> {
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
        let gives_way = self.implied.contains(&path) && node.entry.is_directory();
        if let Some(there) = self.nodes.get(&path).filter(|_| !gives_way) {
            let (first, second) = match there.origin <= node.origin {
                true => (there.origin.clone(), node.origin.clone()),
                false => (node.origin.clone(), there.origin.clone()),
            };
            if let Some(difference) = there.difference(&node) {
                return Err(PlaceError::Taken { path, difference, first, second });
            }
            node.origin = first;
        }
        for parent in missing {
            self.nodes.insert(parent.clone(), implied());
            self.implied.insert(parent);
        }
        self.implied.remove(&path);
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
    /// In what the two differ, beside their origin.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        match (&self.entry, &other.entry) {
            (Entry::Directory, Entry::Directory) => {}
            (Entry::File(one), Entry::File(two)) if one.sha256 == two.sha256 => {}
            (Entry::File(_), Entry::File(_)) => return Some("contents"),
            (Entry::Symlink(one), Entry::Symlink(two)) if one == two => {}
            (Entry::Symlink(_), Entry::Symlink(_)) => return Some("target"),
            _ => return Some("kind"),
        }
        if self.mode != other.mode {
            return Some("mode");
        }
        (self.owner != other.owner).then_some("owner")
    }
}

impl Entry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory)
    }

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

    #[test]
    fn a_directory_said_twice_must_be_the_same_and_one_implied_gives_way() {
        let directory = |mode, origin: &str| Node {
            entry: Entry::Directory,
            mode,
            owner: Owner::default(),
            origin: origin.to_owned(),
        };
        for reversed in [false, true] {
            let mut tree = Tree::default();
            let mut nodes = vec![
                ("/a/b", file("x")),
                ("/a", directory(0o700, "z")),
                ("/a", directory(0o700, "y")),
            ];
            if reversed {
                nodes.reverse();
            }
            for (at, node) in nodes {
                tree.place(path(at), node).unwrap();
            }
            let node = tree.get(&path("/a")).unwrap();
            assert_eq!((node.mode, node.origin.as_str()), (0o700, "y"));
            let error = tree.place(path("/a"), directory(0o755, "w")).unwrap_err();
            assert_eq!(
                error.to_string(),
                "`/a` comes from two places that differ in mode: w and y"
            );
        }
    }
}
