//! The programs of the guest, built with this library and carried inside it.
//!
//! They are freestanding x86-64 ELF executables; `initrd/programs.sha256` has their digests.

use crate::digest::Sha256;

/// PID 1: does what the plan says ([`counterfoil_init::plan`]), and nothing else.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// The smallest workload: an HTTP server that answers `GET /`, on port 8080 or that of its first
/// argument.
pub const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// The evidence agent, which PID 1 starts beside the workload where the plan says so: it asks the kernel
/// for attestation reports, for the workload and for whoever verifies it.
pub const EVIDENCE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/evidence"));

/// Every program, by its name.
pub const PROGRAMS: [(&str, &[u8]); 3] = [("evidence", EVIDENCE), ("hello", HELLO), ("init", INIT)];

/// The program of this name.
pub fn program(name: &str) -> Option<&'static [u8]> {
    PROGRAMS.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The program of this name, if it is the one with this digest: a lock may name another, or another version's.
pub fn program_with(name: &str, sha256: Sha256) -> Option<&'static [u8]> {
    program(name).filter(|bytes| Sha256::of(bytes) == sha256)
}
