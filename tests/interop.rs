//! Held against programs that others wrote: Sigstore's, Sigsum's, a witness, a registry.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod support;

use support::debian;

#[test]
fn all_are_had() {
    for name in [
        "cosign",
        "docker-registry",
        "oras",
        "sigstore-go-verification",
        "sigsum-submit",
        "sigsum-log-primary",
    ] {
        let Some(mut program) = debian::program(name) else { continue };
        let output = program.arg("--help").output().unwrap();
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{name}");
    }
    let Some(mut program) = debian::litewitness() else { return };
    let output = program.arg("--help").output().unwrap();
    assert!(!output.stdout.is_empty() || !output.stderr.is_empty());
}
