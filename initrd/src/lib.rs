//! What the guest's PID 1 and the tool on the host must agree upon, and what of PID 1 can be
//! tested away from a guest: the plan, what the command line says of volumes, the file system of a scratch
//! disk, the DHCP client's messages and states, and what evidence is about.
//!
//! Everything here is pure: bytes in, values out; no allocation, no system call, no clock.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
#[macro_use]
extern crate std;

pub mod dhcp;
pub mod evidence;
pub mod ext4;
pub mod plan;
pub mod volume;
