//! counterfoil builds deterministic AMD SEV-SNP guest images, computes the launch digest that they
//! must attest, and lets anyone rebuild and compare.
//!
//! The data goes one way: manifest → lock → store → tree → artifacts → launch record → release.
#![forbid(unsafe_code)]

pub mod cli;
pub mod diff;
pub mod digest;
pub mod error;
pub mod guest;
pub mod image;
pub mod input;
pub mod kernel;
pub mod launch;
mod lifetime;
pub mod manifest;
pub mod names;
pub mod release;
pub mod room;
pub mod tree;
pub mod vm;
pub mod volume;
