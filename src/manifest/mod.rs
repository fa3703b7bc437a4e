//! What a person writes (the manifest) and what was resolved from it (the lock).

pub mod load;
pub mod lock;
mod recipe;
pub mod types;
pub mod volume;

use std::path::Path;

pub use lock::Lock;
pub use types::Manifest;

/// The directory that the file at `path` stands in; a bare name stands in the working directory.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
