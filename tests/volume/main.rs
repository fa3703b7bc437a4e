//! Volumes, held in five ways: pinned digests, random trees read back, damaged images, the programs of
//! erofs-utils and cryptsetup, and what the command says when things go wrong.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod command;
mod damage;
mod erofs;
mod interrupted;
mod peers;
mod sample;
#[path = "../support/mod.rs"]
mod support;
mod verity;
