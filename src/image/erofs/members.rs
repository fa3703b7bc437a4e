//! What goes into an image: a tree's paths, with what they are and where their bytes come from.

use std::sync::Arc;

use crate::names::{GuestPath, Line, Owner};
use crate::tree::{Blob, Entry, Node, Tree};

/// A path of an image.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is.
    pub path: GuestPath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `0o7777` at most.
    pub mode: u16,
    /// User and group.
    pub owner: Owner,
}

/// What a path is. Unlike a tree's entry, a file need not have been hashed: a model is read once.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its size in bytes.
        size: u64,
        /// Its bytes.
        blob: Arc<dyn Blob>,
    },
    /// A symbolic link and its target.
    Symlink(Line),
}

/// The paths of an image: the root first, in bytewise order, every parent a directory.
#[derive(Clone, Debug)]
pub struct Members {
    members: Vec<Member>,
    /// For each member the number of its parent; the root is its own.
    parents: Vec<u32>,
}

/// Paths that are no tree.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The root is missing or no directory.
    #[error("the first path is not the root directory")]
    Root,
    /// Not sorted, or twice the same.
    #[error("`{0}` is not in bytewise order, or there twice")]
    Order(GuestPath),
    /// No directory is above it.
    #[error("`{0}` is in no directory")]
    Orphan(GuestPath),
    /// More than inode numbers count.
    #[error("{0} paths are more than an EROFS image has inode numbers for, which is 4294967295")]
    TooMany(usize),
}

impl Members {
    /// Checks the paths.
    ///
    /// # Errors
    /// When they are no tree.
    pub fn new(members: Vec<Member>) -> Result<Self, MembersError> {
        if u32::try_from(members.len()).is_err() {
            return Err(MembersError::TooMany(members.len()));
        }
        let is_root =
            |member: &Member| member.path.as_str() == "/" && matches!(member.kind, Kind::Directory);
        if !members.first().is_some_and(is_root) {
            return Err(MembersError::Root);
        }
        let mut parents = Vec::with_capacity(members.len());
        for (number, member) in members.iter().enumerate() {
            if number > 0 && members[number - 1].path >= member.path {
                return Err(MembersError::Order(member.path.clone()));
            }
            let parent = member.path.parent().unwrap_or_else(GuestPath::root);
            // Most paths have the parent of the path before them.
            let guess = parents.last().map_or(0, |last: &u32| *last as usize);
            let found = match members[guess].path == parent {
                true => Ok(guess),
                false => members[..=number].binary_search_by(|other| other.path.cmp(&parent)),
            };
            let found = found.ok().filter(|at| matches!(members[*at].kind, Kind::Directory));
            let orphan = || MembersError::Orphan(member.path.clone());
            let found = found.ok_or_else(orphan)?;
            parents.push(u32::try_from(found).map_err(|_| orphan())?);
        }
        Ok(Self { members, parents })
    }

    /// The paths of a tree.
    ///
    /// # Errors
    /// When they are too many.
    pub fn of_tree(tree: &Tree) -> Result<Self, MembersError> {
        let member = |(path, node): (&GuestPath, &Node)| Member {
            path: path.clone(),
            kind: match &node.entry {
                Entry::Directory => Kind::Directory,
                Entry::File(content) => {
                    Kind::File { size: content.size, blob: Arc::clone(&content.blob) }
                }
                Entry::Symlink(target) => Kind::Symlink(target.clone()),
            },
            mode: node.mode,
            owner: node.owner,
        };
        Self::new(tree.iter().map(member).collect())
    }

    /// The members, by their number.
    pub fn all(&self) -> &[Member] {
        &self.members
    }

    /// The number of the directory that holds member `number`.
    pub(super) fn parent(&self, number: usize) -> usize {
        self.parents[number] as usize
    }
}

impl Member {
    /// Its name in the directory above; empty for the root.
    pub fn name(&self) -> &str {
        self.path.as_str().rsplit('/').next().unwrap_or_default()
    }
}
