//! The calculator that ours is held against.
#![allow(
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
/// once below the target directory. Where there is no Python or no package index the test is
/// skipped, and says so; under CI that is a failure.
pub fn sev_snp_measure() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("COUNTERFOIL_TEST_SEV_SNP_MEASURE") {
        return Some(named.into());
    }
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real/sev-snp-measure-0.0.13");
    let tool = root.join("bin/sev-snp-measure");
    if tool.exists() {
        return Some(tool);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map_err(|error| error.to_string()).and_then(|output| match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        })
    };
    let installed =
        run(Path::new("python3"), &["-m", "venv", root.to_str().unwrap()]).and_then(|()| {
            run(&root.join("bin/pip"), &["install", "--quiet", "sev-snp-measure==0.0.13"])
        });
    if let Err(error) = installed {
        let _ = fs::remove_dir_all(&root);
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "sev-snp-measure cannot be installed: {error}");
        eprintln!("skipped: sev-snp-measure cannot be installed: {error}");
        return None;
    }
    Some(tool)
}
