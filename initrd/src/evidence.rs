//! What the evidence agent, PID 1 and whoever checks evidence must agree upon.
//!
//! A report of the security processor is over 64 bytes, REPORT_DATA, that the guest chooses. A remote
//! caller never does: it brings a nonce, and what is reported over is [`report_data`], which also holds what
//! the workload has bound. Otherwise a caller could have a guest report over a key that is the caller's own,
//! and pass for that guest.

use sha2::{Digest as _, Sha512};

/// Where the agent stands in a guest that has one.
pub const PROGRAM: &str = "/etc/counterfoil/evidence";

/// The agent's socket, which the workload's user alone may connect to.
pub const SOCKET: &str = "/run/counterfoil/evidence.sock";

/// The agent's entry among the kernel's requests for reports (Linux,
/// Documentation/ABI/testing/configfs-tsm-report).
pub const ENTRY: &str = "/sys/kernel/config/tsm/report/counterfoil";

/// Who the agent is, as user and group; no workload may be.
pub const USER: u32 = 65533;

/// What every hash for a remote caller begins with, so that it is of this kind and no other.
pub const LABEL: [u8; 32] = *b"counterfoil report data v1\0\0\0\0\0\0";

/// REPORT_DATA of evidence: SHA-512 over [`LABEL`], the caller's nonce and what the workload has bound, which
/// is zeros where it has bound nothing. Each has 32 bytes, so that no two ways lead to the same input.
pub fn report_data(nonce: &[u8; 32], binding: &[u8; 32]) -> [u8; 64] {
    let mut hash = Sha512::new();
    hash.update(LABEL);
    hash.update(nonce);
    hash.update(binding);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    /// By Python's hashlib, over the same 96 bytes.
    #[test]
    fn report_data_is_what_others_compute() {
        let hex = |bytes: [u8; 64]| -> String {
            bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
        };
        let nonce: [u8; 32] = core::array::from_fn(|at| at as u8);
        assert_eq!(hex(report_data(&nonce, &[0; 32])), UNBOUND);
        assert_eq!(hex(report_data(&nonce, &[0xa5; 32])), BOUND);
    }

    const UNBOUND: &str = "2c5e73e5b3243f3c2c822847573bb4c5f8d2a3c6826a992a0d99b7f628b28c80\
         cbfb5c5ec36b1d70c1b7ef19103830196ba6985c4ff29ad50d56ca2f4852739f";
    const BOUND: &str = "143499f25038a8c91b5e1ddb4132aa7757548624131213cf15a53a31dc4abae1\
         d35031d8ddcf49df7076423a90f0c17f6a7d7ad1d501580be433fcf8b0e9d9fa";

    #[test]
    fn the_label_is_text_and_zeros() {
        let text = b"counterfoil report data v1";
        assert!(LABEL.starts_with(text) && LABEL[text.len()..].iter().all(|byte| *byte == 0));
    }
}
