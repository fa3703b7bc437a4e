//! Starting a guest in QEMU, and telling how it went. Nothing here shapes a byte of an image.

pub mod machine;
pub mod private;
pub mod qemu;
pub mod qmp;
pub mod watch;

pub use machine::{Machine, Mode};
pub use qemu::Qemu;
pub use watch::{Outcome, Watch};
