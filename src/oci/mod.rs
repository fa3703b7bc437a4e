//! Releases in container registries: an OCI image manifest that lists the files of a release, and manifests
//! that refer to it for what was said about it later.
//!
//! Two people who push the same release get the same digest: nothing of the manifest depends on who pushed
//! it, or when. What is said about a release, such as a signature, a proof or a rebuilder's verdict, comes
//! after it, and from others: each such file is an artifact of its own whose `subject` is the release.
//!
//! [`reference`], [`descriptor`], [`manifest`] and [`attached`] are pure; [`client`] speaks to a registry, [`push`] and [`pull`] move
//! whole directories.

pub mod attached;
#[cfg(feature = "host")]
pub mod challenge;
#[cfg(feature = "host")]
pub mod client;
pub mod descriptor;
pub mod manifest;
#[cfg(feature = "host")]
pub mod pull;
#[cfg(feature = "host")]
pub mod push;
pub mod reference;
