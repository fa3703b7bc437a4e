//! What several integration tests share: a package archive made in a temporary directory, and a
//! loopback HTTP server that misbehaves on demand.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used
)]

pub mod agent;
pub mod amd;
pub mod compiled;
pub mod configfs;
pub mod deb;
pub mod debian;
pub mod elsewhere;
pub mod guest;
pub mod key;
pub mod launch;
pub mod many_files;
pub mod peer;
pub mod place;
pub mod real;
pub mod repository;
pub mod server;
pub mod ssh_agent;
pub mod tools;
pub mod webdriver;
