//! The guest's kernel: reading its image, judging its configuration, closing over its modules.

pub mod bzimage;
pub mod config;
pub mod exposure;
pub mod modules;

use crate::names::GuestPath;

/// Whether Debian's kernel packages have the kernel image at `path`, in either of their layouts.
pub fn is_image(path: &GuestPath) -> bool {
    let text = path.as_str();
    text.starts_with("/boot/vmlinuz-")
        || (text.contains("/lib/modules/") && text.ends_with("/vmlinuz"))
}

/// Whether they have its configuration there.
pub fn is_config(path: &GuestPath) -> bool {
    let text = path.as_str();
    text.starts_with("/boot/config-")
        || (text.contains("/lib/modules/") && text.ends_with("/config"))
}
