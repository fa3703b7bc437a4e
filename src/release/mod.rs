//! A release: everything made from one lock, and what was said about it.
//!
//! ```text
//! RELEASE/
//!   image/firmware.fd  image/kernel  image/initrd  image/cmdline
//!   manifest.yaml  lock.yaml     what it was made from, written out
//!   launch.json                  the launch record: inputs to the digests, and the digests
//!   inventory.json               every path in the initrd and the input it came from
//!   THREAT-MODEL.md              what of this image is measured, and what is not
//! ```

pub mod assemble;
pub mod check;
pub mod inventory;
pub mod measure;
pub mod open;
pub mod plan;
pub mod threat_model;
pub mod write;

/// Paths in a release directory.
pub mod layout {
    /// The firmware image.
    pub const FIRMWARE: &str = "image/firmware.fd";
    /// The kernel image.
    pub const KERNEL: &str = "image/kernel";
    /// The initrd.
    pub const INITRD: &str = "image/initrd";
    /// The command line, without NUL and without newline.
    pub const CMDLINE: &str = "image/cmdline";
    /// The manifest in its canonical form.
    pub const MANIFEST: &str = "manifest.yaml";
    /// The lock.
    pub const LOCK: &str = "lock.yaml";
    /// The launch record.
    pub const RECORD: &str = "launch.json";
    /// The inventory.
    pub const INVENTORY: &str = "inventory.json";
    /// The threat model.
    pub const THREAT_MODEL: &str = "THREAT-MODEL.md";

    /// All of them, in the order in which they are compared: what is measured first.
    pub const ALL: [&str; 9] =
        [FIRMWARE, KERNEL, INITRD, CMDLINE, RECORD, INVENTORY, THREAT_MODEL, MANIFEST, LOCK];
}
