//! The verifier as WebAssembly: the same bytes from the same toolchain, whoever compiles it and wherever.
//!
//! As with the programs of the guest (`build.rs` at the root), everything that shapes it is said here.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Every setting of a profile, since one that is not said here could come from a configuration file.
const PROFILE: [&str; 12] = [
    "inherits='release'",
    "codegen-units=1",
    "debug=false",
    "debug-assertions=false",
    "incremental=false",
    "lto='fat'",
    "opt-level='z'",
    "overflow-checks=true",
    "panic='abort'",
    "rpath=false",
    "split-debuginfo='off'",
    "strip='symbols'",
];

/// What cargo and rustc need of the environment to find each other.
const ENVIRONMENT: [&str; 8] = [
    "CARGO_HOME",
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "RUSTC",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "TMPDIR",
];

/// A panic says the file that it happened in, and that is where somebody keeps their crates. Cargo tells
/// rustc which crate it is at, and does not take these arguments into what it names things by.
const WRAPPER: &str = "#!/bin/sh\n\
    exec \"$@\" ${CARGO_MANIFEST_DIR:+\
    --remap-path-prefix=\"$CARGO_MANIFEST_DIR=$CARGO_PKG_NAME-$CARGO_PKG_VERSION\"} \
    ${OUT_DIR:+--remap-path-prefix=\"$OUT_DIR=$CARGO_PKG_NAME-out\"}\n";

/// Another compiler than cargo's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tools {
    /// In place of rustc.
    pub(crate) rustc: Option<PathBuf>,
    /// In place of the toolchain's `rust-lld`.
    pub(crate) linker: Option<PathBuf>,
}

/// Compiles it from the workspace at `root`, with `target` for what arises on the way.
pub(crate) fn wasm(
    root: &Path,
    target: &Path,
    mut cargo: Command,
    tools: &Tools,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<u8>, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| format!("cannot {what}: {error}")
    };
    fs::create_dir_all(target).map_err(failed("make the target directory"))?;
    let target = target.canonicalize().map_err(failed("find the target directory"))?;
    let wrapper = wrapper(&target).map_err(failed("write a wrapper for rustc"))?;

    cargo.current_dir(root).env_clear();
    cargo.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, variable(name)?))));
    cargo.env("RUSTC_WRAPPER", wrapper).env("RUSTC_WORKSPACE_WRAPPER", "");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "");
    if let Some(rustc) = &tools.rustc {
        cargo.env("RUSTC", rustc);
    }
    if let Some(linker) = &tools.linker {
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    cargo.args(["build", "--package=counterfoil-web", "--lib", "--profile=web", "--locked"]);
    cargo.args(["--quiet", "--target", TARGET, "--target-dir"]).arg(&target);
    for setting in PROFILE {
        cargo.arg("--config").arg(format!("profile.web.{setting}"));
    }
    let build_dir = target.to_str().ok_or("the path of the target directory is not UTF-8")?;
    cargo.arg("--config").arg(format!("build.build-dir={build_dir:?}"));

    let output = cargo.output().map_err(failed("run cargo"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let hint =
            "hint: it needs the target of browsers, `rustup target add wasm32-unknown-unknown`";
        return Err(format!("cannot compile the verifier: {}\n{said}{hint}", output.status));
    }
    let built = target.join(TARGET).join("web/counterfoil_web.wasm");
    fs::read(built).map_err(failed("read what was compiled"))
}

fn wrapper(target: &Path) -> std::io::Result<PathBuf> {
    let path = target.join("rustc-without-paths");
    if fs::read(&path).is_ok_and(|found| found == WRAPPER.as_bytes()) {
        return Ok(path);
    }
    fs::write(&path, WRAPPER)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}
