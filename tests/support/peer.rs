//! Others' programs that ours is held against: a calculator of digests, a validator of bills of materials.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Two tests that install into one directory break each other's installation.
static INSTALLING: Mutex<()> = Mutex::new(());

/// sev-snp-measure 0.0.13: the one that `COUNTERFOIL_TEST_SEV_SNP_MEASURE` names, or one installed
/// once below the target directory.
pub fn sev_snp_measure() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("COUNTERFOIL_TEST_SEV_SNP_MEASURE") {
        return Some(named.into());
    }
    Some(installed("sev-snp-measure-0.0.13", "sev-snp-measure==0.0.13")?.join("sev-snp-measure"))
}

/// A Python with the validator of the CycloneDX project.
pub fn cyclonedx() -> Option<PathBuf> {
    let package = "cyclonedx-python-lib[json-validation]==11.12.0";
    Some(installed("cyclonedx-11.12.0", package)?.join("python3"))
}

/// A Python with another implementation of ML-DSA, which was written from FIPS 204.
pub fn ml_dsa() -> Option<PathBuf> {
    Some(installed("dilithium-py-1.5.1", "dilithium-py==1.5.1")?.join("python3"))
}

/// The programs of a Python environment with this package in it, made once below the target directory.
/// Where there is no Python or no package index the test is skipped, and says so; under CI that is a
/// failure.
fn installed(name: &str, package: &str) -> Option<PathBuf> {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real").join(name);
    let (programs, complete) = (root.join("bin"), root.join("complete"));
    if complete.exists() {
        return Some(programs);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map_err(|error| error.to_string()).and_then(|output| match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        })
    };
    let installed = run(Path::new("python3"), &["-m", "venv", root.to_str().unwrap()])
        .and_then(|()| run(&programs.join("pip"), &["install", "--quiet", package]));
    if let Err(error) = installed {
        let _ = fs::remove_dir_all(&root);
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "{package} cannot be installed: {error}");
        eprintln!("skipped: {package} cannot be installed: {error}");
        return None;
    }
    fs::write(complete, "").unwrap();
    Some(programs)
}
