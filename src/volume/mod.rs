//! Volumes: an EROFS file system and, right behind it in the same file, its dm-verity tree.
//!
//! Where the salt is not to be known, it stands in one more block behind the tree, and the record says so.
//!
//! A model is read once, hashed on all cores while it is copied, and never held in memory: a file of
//! any size takes the same few megabytes. What a guest needs to open the volume is its root hash, the
//! number of its blocks and the salt; they stand in the volume's record, beside it.

mod build;
mod locate;
mod output;
mod record;
pub mod source;
mod unit;
mod verify;
mod write;

pub use build::{Order, Salting, build, check_salt, check_target};
pub use locate::{Lies, locate};
pub use record::{Counts, Record, RecordedSalt, VERSION, Verity, record_path, writers};
pub use verify::{Difference, verify};
pub use write::Written;

/// More threads than this do not help a disk, and each takes half a megabyte.
const MAX_JOBS: usize = 32;

/// As many threads as there are cores for this process.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_JOBS)
}
