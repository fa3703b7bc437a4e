//! What a person writes (the manifest) and what was resolved from it (the lock).

pub mod load;
pub mod lock;
pub mod types;
pub mod yaml;

pub use lock::Lock;
pub use types::Manifest;
