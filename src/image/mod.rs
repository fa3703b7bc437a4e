//! The image writers. Each is a pure function from a tree to bytes, and has an epoch.

pub mod cpio;
