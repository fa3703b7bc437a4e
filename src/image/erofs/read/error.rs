//! What is wrong with an image.

use std::io;

/// An image that cannot be read, or not by us.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The magic number is not there.
    #[error("no EROFS file system: no superblock at byte 1024")]
    NotErofs,
    /// It uses what this reader does not know.
    #[error("{0} are not understood")]
    Unsupported(String),
    /// It ends too early.
    #[error("the image has {size} bytes; something in it reaches up to byte {end}")]
    Short {
        /// Its size.
        size: u64,
        /// Where it should at least reach.
        end: u64,
    },
    /// An inode is wrong.
    #[error("inode {nid}: {what}")]
    Malformed {
        /// Its number.
        nid: u64,
        /// What is wrong.
        what: String,
    },
    /// The image could not be read.
    #[error("failed reading the image")]
    Io(#[source] io::Error),
}

impl ReadError {
    pub(super) fn malformed(nid: u64, what: impl Into<String>) -> Self {
        Self::Malformed { nid, what: what.into() }
    }

    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }
}
