//! `verify`: reports of a signer that is not AMD, each wrong in one way, and reports that AMD's processors
//! have signed.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod cases;
mod collateral;
mod command;
mod flips;
mod published;
mod real;
mod seeds;
mod wrappers;
