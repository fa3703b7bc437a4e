//! The example's model is what its generator makes, to the byte.

#[allow(dead_code, reason = "only the bytes are wanted, not the program")]
#[path = "../examples/tiny_gguf.rs"]
mod generator;

use counterfoil::digest::Sha256;

const COMMITTED: &[u8] = include_bytes!("../manifests/models/tiny.gguf");

#[test]
fn the_committed_model_is_what_its_generator_makes() {
    // Not `assert_eq!`, which would print both files.
    assert!(
        generator::tiny_gguf() == COMMITTED,
        "run `cargo run --example tiny_gguf -- manifests/models/tiny.gguf`, and expect every \
         digest and every answer of the example to change"
    );
}

#[test]
fn the_readme_states_the_models_digest() {
    let readme = include_str!("../manifests/models/README.md");
    assert!(readme.contains(&Sha256::of(COMMITTED).to_string()));
}
