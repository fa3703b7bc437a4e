//! A reader in another language, without a line of ours: `reproducibility/read_log.py`.

use std::fs;
use std::path::Path;
use std::process::Command;

use counterfoil::log::directory;
use counterfoil::log::reader::Reader;
use counterfoil::log::{Algorithm, SignerKey, cosign};

use crate::place::{Keeper, entry, key};
use crate::support::place::Ran;

fn read(keeper: &Keeper, arguments: &[&str]) -> Ran {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("reproducibility/read_log.py");
    let output = Command::new("python3")
        .arg(program)
        .args(arguments)
        .current_dir(keeper.place.root())
        .output()
        .unwrap();
    Ran::of(&output)
}

#[test]
fn it_says_what_we_say() {
    let keeper = Keeper::new();
    keeper.append((0..70_000).map(entry));
    keeper.append((70_000..70_003).map(entry));
    let vkey = key().verifier().to_string();
    let witness =
        SignerKey::from_seed("w.example.org", Algorithm::Ed25519Cosignature, [3; 32]).unwrap();
    let note = Reader::directory(&keeper.log()).checkpoint().unwrap();
    let line = cosign(&note, &witness, 1_700_000_000).unwrap();
    directory::add_signatures(&keeper.log(), &note.text, &[line]).unwrap();
    let witness = witness.verifier().to_string();
    let ran = read(&keeper, &["LOG", "--log", &vkey, "--witness", &witness]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("70003 entries"), "{}", ran.stdout);

    keeper.place.succeeds(&["log", "prove", "LOG", "--index", "69999", "-o", "proof"]);
    keeper.place.write("entry", entry(69_999));
    keeper.place.write("other", entry(69_998));
    let proof = |entry: &str, keys: &[&str]| {
        read(&keeper, &[&["--proof", "proof", "--entry", entry][..], keys].concat())
    };
    assert_eq!(proof("entry", &["--log", &vkey, "--witness", &witness]).code, 0);
    assert_eq!(proof("other", &["--log", &vkey]).code, 10);
    let other =
        SignerKey::from_seed("w.example.org", Algorithm::Ed25519Cosignature, [4; 32]).unwrap();
    let other = other.verifier().to_string();
    assert_eq!(proof("entry", &["--log", &vkey, "--witness", &other]).code, 10);

    // What is wrong for us is wrong for it.
    for name in [
        "checkpoint",
        "tile/0/005",
        "tile/0/273.p/115",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/entries/100",
    ] {
        let path = keeper.log().join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = if name == "checkpoint" { 30 } else { good.len() - 1 };
        bad[at] = if bad[at] == b'1' { b'2' } else { b'1' };
        fs::write(&path, bad).unwrap();
        let theirs = read(&keeper, &["LOG", "--log", &vkey]).code;
        let ours = keeper.place.run(&["log", "verify", "LOG", "--log", &vkey]).code;
        assert!(theirs == 10 || theirs == 30, "{name}: {theirs}");
        assert!(ours == 10 || ours == 20 || ours == 30, "{name}: {ours}");
        fs::write(&path, good).unwrap();
    }
}
