//! Builds the programs of the guest, which the library carries inside it.
//!
//! Their bytes are measured, so they must be the same for everybody who has the pinned toolchain:
//! whatever the directory, the user, the profile and the settings of the build that this one is
//! part of. Everything that shapes them is in this file, in `initrd/` and in `Cargo.lock`.
#![allow(clippy::disallowed_methods, reason = "cargo speaks to build scripts by the environment")]

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

const PROGRAMS: [&str; 3] = ["evidence", "hello", "init"];

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// For the programs alone: cargo keeps these from build scripts when it is given a target.
///
/// The toolchain's own linker is named, so that the C compiler and its linker have no part in it.
/// Fixed addresses rather than static-pie: `initrd/src/bin/start.rs` says why.
/// Hashes are computed in one way, whatever instructions the host lets the processor say it has.
const RUSTFLAGS: [&str; 9] = [
    "--cfg=counterfoil_guest",
    "--cfg=sha2_backend=\"soft\"",
    "-Clinker=rust-lld",
    "-Clinker-flavor=ld.lld",
    "-Clink-self-contained=no",
    "-Crelocation-model=static",
    "-Cforce-unwind-tables=no",
    "-Ctarget-cpu=x86-64",
    "-Clink-args=-nostdlib -static --build-id=none -z noexecstack",
];

/// Every setting of a profile, since one that is not said here could come from a configuration
/// file, which outranks the manifest but not the command line.
const PROFILE: [&str; 12] = [
    "inherits='release'",
    "codegen-units=1",
    "debug=false",
    "debug-assertions=false",
    "incremental=false",
    "lto='fat'",
    "opt-level='s'",
    "overflow-checks=true",
    "panic='abort'",
    "rpath=false",
    "split-debuginfo='off'",
    "strip='symbols'",
];

/// What cargo and rustc need of the environment to find each other. All else stays outside:
/// `RUSTFLAGS`, wrappers, `CARGO_PROFILE_*`, `CARGO_BUILD_*`, `RUSTC_BOOTSTRAP`, the locale.
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

fn main() -> ExitCode {
    for path in ["initrd", "Cargo.lock", "Cargo.toml", "build.rs", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={path}");
    }
    // The pure part of the library alone carries no programs.
    if env::var_os("CARGO_FEATURE_HOST").is_none() {
        return ExitCode::SUCCESS;
    }
    let variable = |name| env::var_os(name).ok_or(format!("cargo has not set `{name}`"));
    let built = || {
        let root = variable("CARGO_MANIFEST_DIR")?;
        let cargo = Command::new(variable("CARGO")?);
        build(Path::new(&root), Path::new(&variable("OUT_DIR")?), cargo, |name| env::var_os(name))
    };
    match built() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // A message of cargo's is of several lines, and a directive is one.
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Builds the programs from the workspace at `root` into the directory `out`.
///
/// A test does the same elsewhere, as somebody else.
pub(crate) fn build(
    root: &Path,
    out: &Path,
    mut cargo: Command,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(), String> {
    // A directory of its own, or this cargo and the outer one would wait for each other.
    let target = out.join("guest");

    cargo.current_dir(root).env_clear();
    cargo.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, variable(name)?))));
    cargo.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
    cargo.args(["build", "--package=counterfoil-init", "--bins", "--profile=guest", "--target"]);
    // The outer cargo has fetched all that is needed here: these are its dependencies too.
    cargo.args([TARGET, "--frozen", "--quiet", "--target-dir"]).arg(&target);
    for setting in PROFILE {
        cargo.arg("--config").arg(format!("profile.guest.{setting}"));
    }
    let build_dir = target.to_str().ok_or("the path of the target directory is not UTF-8")?;
    cargo.arg("--config").arg(format!("build.build-dir={build_dir:?}"));

    let output = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot build the programs of the guest: {}\n{said}", output.status));
    }
    for program in PROGRAMS {
        let built = target.join(TARGET).join("guest").join(program);
        fs::copy(&built, out.join(program))
            .map_err(|error| format!("cannot copy `{}`: {error}", built.display()))?;
    }
    Ok(())
}
