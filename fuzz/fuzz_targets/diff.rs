//! Two artifacts of any kind: the same to themselves, and differences or an error between each other.
#![no_main]

use std::io::Write as _;

use counterfoil::diff::{Artifact, Diff};
use counterfoil::tree::held::{FileRange, Held};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|parts: (&[u8], &[u8])| {
    let (one, two) = (artifact(parts.0), artifact(parts.1));
    let mut same = Diff::default();
    if one.compare(&one, &mut same).is_ok() {
        assert!(same.is_same(), "{:?}", same.differences);
    }
    let mut diff = Diff::default();
    if one.compare(&two, &mut diff).is_ok() {
        assert!(!diff.is_same() || parts.0 == parts.1);
    }
});

fn artifact(bytes: &[u8]) -> Artifact {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Artifact::of(FileRange::whole(Held::new(file).unwrap())).unwrap()
}
