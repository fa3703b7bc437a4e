//! What the command line says of itself, and what it says to programs.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use support::place::Place;

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    let help = place.succeeds(&["--help"]).stdout;
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands = commands.lines().filter_map(|line| line.split_whitespace().next());
    let mut count = 0;
    for command in
        commands.filter(|name| *name != "help" && name.chars().all(|c| c.is_ascii_lowercase()))
    {
        let help = place.succeeds(&[command, "--help"]).stdout;
        assert!(help.contains("Example"), "{command}: {help}");
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
