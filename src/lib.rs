//! counterfoil builds deterministic AMD SEV-SNP guest images, computes the launch digest that they
//! must attest, and lets anyone rebuild and compare.
//!
//! The data goes one way: manifest → lock → store → tree → artifacts → launch record → release.
#![forbid(unsafe_code)]

pub mod digest;
