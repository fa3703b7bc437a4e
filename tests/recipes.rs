//! Recipes of inputs: written out where a manifest names them, and each way of naming one wrongly.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use counterfoil::manifest::load::Loaded;
use support::place::Place;

const REST: &str = "\
firmware: {from: blob}
kernel: {from: blob, config: blob}
cmdline: console=ttyS0
files:
  - {path: /program, from: program, source: /program}
init: {exec: [/program]}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
";

const RECIPE: &str = "\
version: 1
inputs:
  tools: {deb: {suite: trixie, packages: [busybox-static]}}
  script: {file: program/build.sh}
  program:
    build:
      room: [tools]
      files: {/build/build.sh: {from: script}}
      run: [/bin/busybox, sh, build.sh]
";

/// A manifest below `manifests/` with these inputs, and the recipe below `programs/`.
fn place(inputs: &str, recipe: &str) -> Place {
    let place = Place::new();
    let manifest =
        format!("version: 1\nname: image\ninputs:\n  blob: {{file: blob}}\n{inputs}{REST}");
    place.write("manifests/image.yaml", manifest);
    place.write("programs/program.yaml", recipe);
    place
}

#[track_caller]
fn refuses(inputs: &str, recipe: &str, code: i32, words: &[&str]) {
    place(inputs, recipe).refuses(&["lock", "manifests/image.yaml"], code, words);
}

const NAMED: &str = "  program: {recipe: ../programs/program.yaml}\n";

#[test]
fn a_recipe_is_as_if_it_were_written_out() {
    let by_recipe = place(NAMED, RECIPE);
    let inputs = RECIPE.split_once("inputs:\n").unwrap().1;
    let written = inputs.replace("program/build.sh", "../programs/program/build.sh");
    let written = place(&written, RECIPE);
    let read = |place: &Place| Loaded::read(&place.path("manifests/image.yaml")).unwrap().manifest;
    let (one, two) = (read(&by_recipe), read(&written));
    assert_eq!(one, two);
    assert_eq!(one.digest(), two.digest());
    // What a release holds is the manifest written out, which is read again.
    let canonical = one.canonical();
    assert!(!canonical.contains("recipe"), "{canonical}");
    written.write("manifests/image.yaml", &canonical);
    assert_eq!(read(&written).digest(), one.digest());
}

#[test]
fn one_recipe_for_two_inputs() {
    let both = format!("{NAMED}  script: {{recipe: ../programs/program.yaml}}\n");
    let place = place(&both, RECIPE);
    assert_eq!(Loaded::read(&place.path("manifests/image.yaml")).unwrap().manifest.inputs.len(), 4);
}

#[test]
fn a_recipe_that_is_not_there() {
    let named = NAMED.replace("program.yaml", "none.yaml");
    refuses(&named, RECIPE, 1, &["programs/none.yaml"]);
}

#[test]
fn an_input_that_the_recipe_does_not_have() {
    let recipe = RECIPE.replace("  program:", "  other:");
    refuses(
        NAMED,
        &recipe,
        30,
        &["manifests/image.yaml:5:12", "no input `program`", "there: other, script, tools"],
    );
}

#[test]
fn the_recipe_of_a_kernel() {
    let recipe = format!("{RECIPE}kernel: {{from: program}}\n");
    refuses(
        NAMED,
        &recipe,
        30,
        &["recipe of the input `program`", "programs/program.yaml", "kernel.recipe"],
    );
}

#[test]
fn the_recipe_of_a_program_for_a_kernel() {
    let place = place(NAMED, RECIPE);
    let manifest = place.read("manifests/image.yaml");
    for what in ["kernel", "firmware"] {
        let recipe = format!("{what}: {{recipe: ../programs/program.yaml}}\n");
        let lines = manifest.lines().filter(|line| !line.starts_with("  program:"));
        let changed: String = lines
            .map(|line| match line.starts_with(&format!("{what}:")) {
                true => recipe.clone(),
                false => format!("{line}\n"),
            })
            .collect();
        place.write("manifests/image.yaml", changed);
        place.refuses(&["lock", "manifests/image.yaml"], 30, &[&format!("no recipe of a {what}")]);
    }
}

#[test]
fn a_recipe_that_names_another() {
    let recipe = format!("{RECIPE}  more: {{recipe: program.yaml}}\n");
    refuses(NAMED, &recipe, 30, &["programs/program.yaml:10:", "a recipe names no other"]);
}

#[test]
fn names_that_meet() {
    let inputs = format!("{NAMED}  tools: {{file: blob}}\n");
    refuses(
        &inputs,
        RECIPE,
        30,
        &["programs/program.yaml:3:", "an input `tools` already", "rename"],
    );
}

#[test]
fn mistakes_in_the_recipe_are_shown_there() {
    let later = RECIPE.replace("version: 1", "version: 2");
    refuses(NAMED, &later, 30, &["programs/program.yaml:1:10", "version 2"]);
    let unknown = RECIPE.replace("      run:", "      runs:");
    refuses(NAMED, &unknown, 30, &["programs/program.yaml:9:7", "unknown field `runs`"]);
}
