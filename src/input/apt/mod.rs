//! Debian package archives: from the host's configuration to packages pinned by SHA-256.
//!
//! The chain of trust, link by link: a keyring on this machine → the OpenPGP signature over a
//! suite's release file ([`release`]) → the SHA-256 of each package index in it ([`index`]) → the
//! SHA-256 of each package in the index ([`resolve`]). [`archive`] walks it; [`sources`] says where.
//! Nothing here reads the clock or the environment: the time and all paths are passed in.

pub mod archive;
pub mod cleartext;
mod deb822;
pub mod index;
pub mod keyring;
pub mod proxy;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod source_package;
pub mod sources;
pub mod version;
