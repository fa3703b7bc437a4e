//! `reproducibility/vary.sh`: a release comes out the same in another environment, and the script would
//! see it if it did not.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use counterfoil::layout;
use support::place::Ran;
use support::real;

fn vary(release: &Path) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reproducibility/vary.sh");
    let output = Command::new("sh")
        .args([script.as_path(), release, Path::new(env!("CARGO_BIN_EXE_counterfoil"))])
        .arg("--store")
        .arg(real::root().join("store"))
        .output()
        .unwrap();
    Ran::of(&output)
}

#[test]
fn a_release_is_the_same_in_another_environment() {
    let release = real::release("hello");
    let ran = vary(&release);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let all = format!("the same: all {} files\n", layout::ALL.len());
    assert!(ran.stdout.ends_with(&all), "{}", ran.stdout);
    // What it says that it varied was another, in the build's own words.
    let told = |word: &str| {
        let line = ran.stdout.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, second) = (told("first"), told("second"));
    let varied = ran.stdout.lines().find(|line| line.starts_with("varied: ")).unwrap();
    for (at, what) in
        ["user", "host name", "CPUs", "umask", "time zone", "network"].iter().enumerate()
    {
        let claimed = varied.contains(what);
        assert!(!claimed || first[at..] != second[at..], "{what}: {}", ran.stdout);
        assert!(claimed || ran.stdout.contains(&format!("not varied: {what}")), "{}", ran.stdout);
        assert!(!claimed || *what == "network" || first[at] != second[at], "{}", ran.stdout);
    }

    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other");
    assert!(Command::new("cp").arg("-r").args([&release, &other]).status().unwrap().success());
    fs::write(other.join("image/more"), "").unwrap();
    let mut kernel = fs::read(other.join(layout::KERNEL)).unwrap();
    *kernel.last_mut().unwrap() ^= 1;
    fs::write(other.join(layout::KERNEL), kernel).unwrap();
    let ran = vary(&other);
    assert_eq!(ran.code, 10, "{}", ran.stderr);
    let words = "these files differ: ./image/kernel ./image/more";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}
