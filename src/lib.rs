//! counterfoil builds deterministic AMD SEV-SNP guest images, computes the launch digest that they
//! must attest, and lets anyone rebuild and compare.
//!
//! The data goes one way: manifest → lock → store → tree → artifacts → launch record → release.
//!
//! Without the feature `host` there is only what needs no machine: digests, launch records and all that recomputes
//! and explains them, reports and all that verifies them; statements, the proofs and checkpoints of logs, and all that
//! verifies what was published; the manifests by which registries know releases. That much compiles for a browser, too.
#![forbid(unsafe_code)]

#[cfg(feature = "host")]
pub mod cli;
#[cfg(feature = "host")]
pub mod diff;
pub mod digest;
pub mod error;
#[cfg(feature = "host")]
pub mod guest;
#[cfg(feature = "host")]
pub mod image;
#[cfg(feature = "host")]
pub mod input;
#[cfg(feature = "host")]
pub mod kernel;
pub mod launch;
pub mod layout;
#[cfg(feature = "host")]
mod lifetime;
pub mod log;
#[cfg(feature = "host")]
pub mod manifest;
pub mod names;
pub mod oci;
mod pem;
pub mod published;
#[cfg(feature = "host")]
pub mod release;
pub mod report;
#[cfg(feature = "host")]
pub mod room;
pub mod statement;
#[cfg(feature = "host")]
pub mod tree;
#[cfg(feature = "host")]
pub mod vm;
#[cfg(feature = "host")]
pub mod volume;
#[cfg(feature = "host")]
mod whole;
pub mod yaml;
