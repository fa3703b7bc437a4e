//! A compiler for browsers.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::compile::Tools;

/// What compiles for WebAssembly here. A machine without it skips the test by name, unless it is the one
/// that decides.
pub(crate) fn tools() -> Option<Tools> {
    if has_target() {
        return Some(Tools::default());
    }
    let missing = "the toolchain has no target `wasm32-unknown-unknown`";
    assert!(env::var_os("CI").is_none(), "{missing}");
    eprintln!("skipped: {missing}");
    None
}

/// Whether the toolchain that runs these tests has it.
fn has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
    Command::new(rustc).args(asked).output().is_ok_and(|output| {
        let directory = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(directory.trim()).is_dir()
    })
}
