//! Every file of a log, cut short, changed, or gone: told by its name.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::place::{Keeper, entry};
use crate::support::place::{Place, Ran, copy};

fn files(log: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(log.join("tile")).sort_by_file_name();
    let files = all.into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files.map(|entry| entry.path().to_owned()).collect()
}

#[test]
fn every_file_by_its_name() {
    let keeper = Keeper::new();
    keeper.append((0..600).map(entry));
    let log = keeper.log();
    let files = files(&log);
    assert_eq!(files.len(), 3 + 3 + 1, "{files:?}");
    for file in files {
        let good = fs::read(&file).unwrap();
        let named = format!("LOG/{}", file.strip_prefix(&log).unwrap().display());
        let verify = || keeper.place.run(&["log", "verify", "LOG", "--log", "vkey"]);
        for at in [0, 1, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, bad).unwrap();
            is_told(&verify(), 10, "log-damaged", &named);
        }
        for bad in [&good[..good.len() - 1], &good[..1], &[], &[&good[..], &[0]].concat()] {
            fs::write(&file, bad).unwrap();
            is_told(&verify(), 10, "log-damaged", &named);
        }
        fs::remove_file(&file).unwrap();
        is_told(&verify(), 20, "log-missing", &named);
        fs::write(&file, good).unwrap();
    }
    keeper.place.succeeds(&["log", "verify", "LOG", "--log", "vkey"]);
}

#[track_caller]
fn is_told(ran: &Ran, code: i32, reason: &str, name: &str) {
    assert_eq!(ran.code, code, "{name}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(reason), "{name}: {}", ran.stdout);
    assert!(ran.stdout.contains(name), "{name}: {}", ran.stdout);
}

/// Nothing is added where the tree is not the signed one.
#[test]
fn a_damaged_edge_is_not_added_to() {
    let keeper = Keeper::new();
    keeper.append((0..600).map(entry));
    let before = fs::read(keeper.log().join("checkpoint")).unwrap();
    keeper.place.write("more", "more\n");
    for name in ["tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/002.p/88"] {
        let path = keeper.log().join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() - 1] ^= 0x80;
        fs::write(&path, bad).unwrap();
        let arguments = ["log", "append", "LOG", "--key", "key", "--entries", "more"];
        keeper.place.refuses(&arguments, 10, &[name, "log-damaged"]);
        fs::write(&path, good).unwrap();
    }
    assert_eq!(fs::read(keeper.log().join("checkpoint")).unwrap(), before);
}

/// Older tiles under a newer checkpoint, and the other way round.
#[test]
fn a_log_put_together_from_two() {
    let keeper = Keeper::new();
    keeper.append((0..300).map(entry));
    let old = keeper.place.path("old");
    copy(&keeper.log(), &old);
    keeper.append((300..320).map(entry));
    fs::copy(keeper.log().join("checkpoint"), old.join("checkpoint")).unwrap();
    let ran = keeper.place.run(&["log", "verify", "old", "--log", "vkey"]);
    is_told(&ran, 20, "log-missing", "old/tile/0/001.p/64");
}

/// Two trees, each signed: whoever kept one checkpoint finds out.
#[test]
fn split_views_and_rollbacks() {
    let keeper = Keeper::new();
    let place = &keeper.place;
    keeper.append((0..300).map(entry));
    copy(&keeper.log(), &place.path("fork"));
    copy(&keeper.log(), &place.path("before"));
    keeper.append((300..310).map(entry));
    place.write("lines", "another\n".repeat(10));
    place.succeeds(&["log", "append", "fork", "--key", "key", "--entries", "lines"]);
    place.write("more", "another\n".repeat(1000));
    copy(&place.path("fork"), &place.path("longer"));
    place.succeeds(&["log", "append", "longer", "--key", "key", "--entries", "more"]);
    let verify = |log: &str, old: &str| {
        place.run(&["log", "verify", log, "--log", "vkey", "--old", old, "--format", "json"])
    };
    assert_eq!(verify("LOG", "before/checkpoint").code, 0);
    assert_eq!(verify("fork", "before/checkpoint").code, 0);
    assert_eq!(verify("longer", "fork/checkpoint").code, 0);
    for (log, old, reason) in [
        ("fork", "LOG/checkpoint", "log-split-view"),
        ("longer", "LOG/checkpoint", "log-split-view"),
        ("before", "LOG/checkpoint", "log-rollback"),
    ] {
        let ran = verify(log, old);
        assert_eq!(ran.code, 10, "{log}: {}", ran.stderr);
        let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(answer["accepted"], false);
        assert_eq!(answer["reasons"][0]["reason"], reason, "{log}: {}", ran.stdout);
        assert_eq!(answer["reasons"].as_array().unwrap().len(), 1, "{}", ran.stdout);
    }
}

/// A disk without room: the log is as it was, and works again when there is some.
#[test]
fn no_room() {
    let keeper = Keeper::new();
    keeper.append((0..3).map(entry));
    keeper.place.write("long", format!("{}\n", "x".repeat(60_000)));
    // A limit on how large a file may become is met as a full disk is, and needs no disk to fill.
    let program = env!("CARGO_BIN_EXE_counterfoil");
    let script = format!(
        "trap '' XFSZ; ulimit -f 16; exec '{program}' log append LOG --key key --entries long"
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(keeper.place.root())
        .output()
        .unwrap();
    Ran::of(&output).is_refusal(1, &["failed writing `LOG/tile/entries/000.p/4`", "make room"]);
    keeper.place.succeeds(&["log", "verify", "LOG", "--log", "vkey"]);
    let ran = keeper.place.succeeds(&["log", "append", "LOG", "--key", "key", "--entries", "long"]);
    assert_eq!(ran.stdout, "entry 3\n");
}

#[test]
fn what_is_no_log() {
    let keeper = Keeper::new();
    let place = &keeper.place;
    place.write("entries", "one\n");
    place.refuses(
        &["log", "verify", "nowhere", "--log", "vkey"],
        1,
        &["there is no log", "nowhere/checkpoint"],
    );
    place.refuses(
        &["log", "append", "nowhere", "--key", "key", "--entries", "entries"],
        1,
        &["there is no log"],
    );
    assert!(!place.path("nowhere").exists());
    place.refuses(&["log", "init", "LOG", "--key", "key"], 2, &["there is a log in `LOG`"]);
    foreign_keys(place);
    place.write("LOG/checkpoint", "nonsense");
    place.refuses(
        &["log", "append", "LOG", "--key", "key", "--entries", "entries"],
        30,
        &["LOG/checkpoint"],
    );
    place.refuses(&["log", "verify", "LOG", "--log", "vkey"], 30, &["LOG/checkpoint"]);
}

fn foreign_keys(place: &Place) {
    use counterfoil::log::{Algorithm, SignerKey};
    let write = |name: &str, origin: &str, algorithm, seed| {
        let key = SignerKey::from_seed(origin, algorithm, [seed; 32]).unwrap();
        place.write(name, key.to_text());
        place.write(&format!("{name}.pub"), key.verifier().to_string());
    };
    write("name", "other.example.org", Algorithm::Ed25519, 7);
    write("same", crate::place::ORIGIN, Algorithm::Ed25519, 8);
    write("witness", "witness.example.org", Algorithm::Ed25519Cosignature, 9);
    let append = |key| ["log", "append", "LOG", "--key", key, "--entries", "entries"];
    place.refuses(&append("name"), 2, &[crate::place::ORIGIN, "other.example.org"]);
    place.refuses(&append("same"), 2, &["not signed by this key"]);
    place.refuses(&append("witness"), 2, &["witness"]);
    place.refuses(&append("entries"), 30, &["`entries` is no private key"]);
    for (arguments, reason) in [
        (&["--log", "name.pub"][..], "log-origin"),
        (&["--log", "same.pub"], "log-unknown"),
        (&["--log", "vkey", "--witness", "witness.pub"], "witness-quorum"),
    ] {
        let ran = place.run(&[&["log", "verify", "LOG"], arguments].concat());
        assert_eq!(ran.code, 10, "{}", ran.stderr);
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
    }
}

/// Whoever opens a pipe waits for a writer, who need never come.
#[test]
fn what_is_no_file_is_not_opened() {
    let keeper = Keeper::new();
    keeper.append((0..3).map(entry));
    let place = &keeper.place;
    let pipe = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let ends = |arguments: &[&str]| {
        let mut child =
            place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ran::of(&child.wait_with_output().unwrap())
    };
    let verify = ["log", "verify", "LOG", "--log", "vkey"];
    let tile = keeper.log().join("tile/0/000.p/3");
    let good = fs::read(&tile).unwrap();
    fs::remove_file(&tile).unwrap();
    pipe(&tile);
    is_told(&ends(&verify), 10, "log-damaged", "LOG/tile/0/000.p/3");
    // A link to a file is one.
    fs::rename(&tile, place.path("pipe")).unwrap();
    place.write("good", good);
    symlink(place.path("good"), &tile).unwrap();
    place.succeeds(&verify);

    let checkpoint = keeper.log().join("checkpoint");
    let refused = || ends(&verify).is_refusal(30, &["`LOG/checkpoint` is no regular file"]);
    fs::remove_file(&checkpoint).unwrap();
    pipe(&checkpoint);
    refused();
    fs::remove_file(&checkpoint).unwrap();
    symlink(place.path("pipe"), &checkpoint).unwrap();
    refused();
    fs::remove_file(&checkpoint).unwrap();
    fs::create_dir(&checkpoint).unwrap();
    refused();
}
