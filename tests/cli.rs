//! What the command line says of itself, and what it says to programs.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use support::place::{Place, Ran};

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    let help = place.succeeds(&["--help"]).stdout;
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands = commands.lines().filter_map(|line| line.split_whitespace().next());
    let mut count = 0;
    for command in commands
        .filter(|name| *name != "help" && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
    {
        let help = place.succeeds(&[command, "--help"]).stdout;
        assert!(help.contains("Example"), "{command}: {help}");
        let long = help.lines().find(|line| line.len() > 100);
        assert_eq!(long, None, "{command}: two lines that were joined?");
        assert!(help.contains(&format!("counterfoil {command} ")) || command == "man", "{command}");
        count += 1;
    }
    assert!(count >= 7, "{help}");
}

#[test]
fn shells_and_manuals_are_served() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.succeeds(&["completions", shell]).stdout;
        assert!(script.contains("counterfoil") && script.contains("inspect"), "{shell}");
    }
    let page = place.succeeds(&["man"]).stdout;
    for section in [".TH counterfoil 1", ".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
        assert!(page.contains(section), "{section}: {page}");
    }
}

#[test]
fn colour_is_only_where_it_is_wanted() {
    let place = Place::new();
    let escape = |arguments: &[&str]| place.run(arguments).stderr.contains('\x1b');
    assert!(!escape(&["measure", "nowhere"]), "not into a pipe");
    assert!(escape(&["measure", "nowhere", "--color", "always"]));
    assert!(!escape(&["measure", "nowhere", "--color", "never"]));
}

#[test]
fn version_is_an_answer() {
    let ran = Place::new().succeeds(&["--version"]);
    assert!(ran.stdout.starts_with("counterfoil "), "{}", ran.stdout);
}

/// JSON is text, and a path need not be.
#[test]
fn a_lock_at_a_path_that_is_not_text() {
    let place = Place::new();
    let directory = place.root().join(OsStr::from_bytes(b"bad\xff"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("image.yaml"), MANIFEST).unwrap();
    for name in ["f", "k", "c", "p"] {
        std::fs::write(directory.join(name), name).unwrap();
    }
    let mut command = place.command(&["lock", "--format", "json"]);
    let ran = Ran::of(&command.arg(directory.join("image.yaml")).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("bad\u{fffd}/image.lock.yaml"), "{}", ran.stdout);
}

const MANIFEST: &str = "version: 1\nname: image\ninputs: {f: {file: f}, k: {file: k}, c: {file: c}, p: {file: p}}\n\
     firmware: {from: f}\nkernel: {from: k, config: c}\ncmdline: quiet\n\
     files: [{path: /p, from: p, mode: \"0755\"}]\ninit: {exec: [/p]}\n\
     launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}\n";

/// A lock names its manifest by this digest. A field added to the manifest must not change it for
/// manifests that do not use the field, or every lock in the world is of another manifest: such a
/// field is left out of the canonical text where it has its default.
#[test]
fn a_manifest_keeps_its_digest() {
    let place = Place::new();
    place.write("image.yaml", MANIFEST);
    for name in ["f", "k", "c", "p"] {
        place.write(name, name);
    }
    place.succeeds(&["lock", "image.yaml"]);
    let lock = place.read("image.lock.yaml");
    let line = lock.lines().find(|line| line.starts_with("manifest: ")).unwrap();
    assert_eq!(
        line.replace('"', ""),
        "manifest: ba3691b69216b68ea634c5eda1808538f275158a37c2c1df32347fd7284dbb49"
    );
}
