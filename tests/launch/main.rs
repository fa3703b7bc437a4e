//! The launch measurement, held against published vectors, another implementation, and images made
//! to be wrong.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod command;
mod drop_in;
mod findings;
mod firmware;
mod golden;
mod igvm;
mod igvm_image;
mod image;
mod oracle;
#[path = "../support/peer.rs"]
mod peer;
mod random;
mod real;
mod record;
mod schema;
mod set;
mod vectors;
mod volumes;
