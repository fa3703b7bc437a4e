//! `log`: trees against a naive one, directories that are killed, damaged and forked, and a reader in another
//! language.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

#[path = "../support/mod.rs"]
mod support;

mod command;
mod damage;
mod given;
mod golden;
mod kills;
mod monitor;
mod naive;
mod place;
mod python;
mod tiles;
mod tree;
