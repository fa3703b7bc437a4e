//! The image writers. Each is a pure function to bytes, and has an epoch.

pub mod cpio;
pub mod erofs;
pub mod igvm;
pub mod verity;
