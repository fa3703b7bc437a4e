//! A DHCP client for IPv4 (RFC 2131), as little of it as a guest needs.
//!
//! The server is the host's: whatever comes from it is hostile. Of a reply only the address, the
//! mask, the first router and the lease time are taken, and each is checked. No name server, no
//! search domain, no host name, no time server, no boot file.

mod client;
mod message;

pub use client::{Client, Event};
pub use message::{Kind, Lease, MAX_REQUEST, Reply, Request};

/// An Ethernet address.
pub type Mac = [u8; 6];
