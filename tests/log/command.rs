//! The commands, one after another, as a person would.

use std::fs;

use crate::place::{Keeper, ORIGIN, entry, key};
use crate::support::place::{Place, Ran};
use counterfoil::digest::Sha384;
use counterfoil::log::append::Entry;
use counterfoil::log::cosign;
use counterfoil::log::directory::{self, Directory};
use counterfoil::log::reader::Reader;
use counterfoil::log::{Algorithm, SignerKey};

#[test]
fn from_nothing_to_a_proof() {
    let place = Place::new();
    place.write("key", key().to_text());
    let init = place.succeeds(&["log", "init", "LOG", "--key", "key"]);
    assert_eq!(init.stdout.trim_end(), key().verifier().to_string());
    let vkey = init.stdout.trim_end().to_owned();
    place.succeeds(&["log", "verify", "LOG", "--log", &vkey]);
    place.write("lines", (0..300).map(|n| format!("entry {n}\n")).collect::<String>());
    let ran = place.succeeds(&[
        "log",
        "append",
        "LOG",
        "--key",
        "key",
        "--entries",
        "lines",
        "--batch",
        "200",
    ]);
    assert_eq!(ran.stdout, "entries 0 to 199\nentries 200 to 299\n");
    place.write("entry", entry(123));
    place.write("other", entry(124));
    place.succeeds(&["log", "prove", "LOG", "--index", "123", "--output", "a.tlog-proof"]);
    place.succeeds(&["log", "prove", "LOG", "--entry", "entry", "--output", "b.tlog-proof"]);
    assert_eq!(place.read("a.tlog-proof"), place.read("b.tlog-proof"));
    assert!(place.read("a.tlog-proof").starts_with("c2sp.org/tlog-proof@v1\nindex 123\n"));
    let verify = |proof: &str, entry: &str| {
        place.run(&["log", "verify", proof, "--entry", entry, "--log", &vkey])
    };
    assert_eq!(verify("a.tlog-proof", "entry").code, 0);
    let ran = verify("a.tlog-proof", "other");
    assert_eq!(ran.code, 10);
    assert!(ran.stdout.contains("log-inclusion"), "{}", ran.stdout);
    let forged = place.read("a.tlog-proof").replace("index 123", "index 124");
    place.write("forged", forged);
    assert_eq!(verify("forged", "entry").code, 10);
    assert_eq!(verify("forged", "other").code, 10);
    place.refuses(&["log", "prove", "LOG", "--index", "300"], 2, &["no entry 300", "300"]);
    place.refuses(&["log", "prove", "LOG", "--entry", "key"], 20, &["`key` is no entry"]);
    place.write("empty", "");
    place.refuses(
        &["log", "append", "LOG", "--key", "key", "--entries", "empty"],
        2,
        &["no entry"],
    );
    place.write("gap", "one\n\ntwo\n");
    place.refuses(
        &["log", "append", "LOG", "--key", "key", "--entries", "gap"],
        30,
        &["line 2 of `gap`"],
    );
    place.write("long", "x".repeat(65_536));
    place.refuses(&["log", "append", "LOG", "--key", "key", "--entries", "long"], 30, &["65535"]);
    place.write("long", "x".repeat(65_535));
    place.succeeds(&["log", "append", "LOG", "--key", "key", "--entries", "long"]);
    place.succeeds(&["log", "prove", "LOG", "--entry", "long", "-o", "long.tlog-proof"]);
    assert_eq!(verify("long.tlog-proof", "long").code, 0);
}

/// Cosignatures are of one checkpoint: they stay with it, and go with it.
#[test]
fn cosignatures_go_with_their_checkpoint() {
    let keeper = Keeper::new();
    keeper.append([entry(0)]);
    let seed = [3; 32];
    let witness =
        SignerKey::from_seed("w.example.org", Algorithm::Ed25519Cosignature, seed).unwrap();
    let note = Reader::directory(&keeper.log()).checkpoint().unwrap();
    let line = cosign(&note, &witness, 1_700_000_000).unwrap();
    assert!(
        directory::add_signatures(&keeper.log(), &note.text, std::slice::from_ref(&line)).unwrap()
    );
    let vkey = witness.verifier().to_string();
    let verify =
        || keeper.place.run(&["log", "verify", "LOG", "--log", "vkey", "--witness", &vkey]);
    assert_eq!(verify().code, 0);
    // By a policy, of which a quorum is enough.
    let policy = |threshold: &str| {
        let other = SignerKey::from_seed("w2.example.org", Algorithm::MlDsa44Cosignature, [4; 32]);
        let text = format!(
            "log {}\nwitness W1 {vkey}\nwitness W2 {}\ngroup both {threshold} W1 W2\nquorum both\n",
            key().verifier(),
            other.unwrap().verifier(),
        );
        keeper.place.write("trust.policy", text);
        keeper.place.run(&["log", "verify", "LOG", "--trust", "trust.policy"])
    };
    assert_eq!(policy("any").code, 0);
    let ran = policy("all");
    assert!(ran.code == 10 && ran.stdout.contains("wanted: 2 of (W1, W2)"), "{ran:?}");
    keeper.append([entry(1)]);
    assert_eq!(verify().code, 10);
    let before = fs::read(keeper.log().join("checkpoint")).unwrap();
    assert!(
        !directory::add_signatures(&keeper.log(), &note.text, &[line]).unwrap(),
        "of the old one"
    );
    assert_eq!(fs::read(keeper.log().join("checkpoint")).unwrap(), before);
}

#[test]
fn lookup_by_measurement() {
    let keeper = Keeper::new();
    let (first, second) = (Sha384::of("first"), Sha384::of("second"));
    let entry = |n: usize, measurements: &[Sha384]| Entry {
        bytes: entry(n),
        measurements: measurements.to_vec(),
        ..Entry::default()
    };
    let mut log = Directory::open(&keeper.log(), key()).unwrap();
    log.append([entry(0, &[first]), entry(1, &[first, second]), entry(2, &[])]).unwrap();
    log.append([entry(3, &[second])]).unwrap();
    let lookup = |of: Sha384| keeper.place.run(&["log", "lookup", "LOG", &of.to_string()]);
    assert_eq!(indices(&lookup(first)), ["0", "1"]);
    assert_eq!(indices(&lookup(second)), ["1", "3"]);
    lookup(Sha384::of("third")).is_refusal(20, &["no entry"]);
    // Lines of an append that never came to its end are no entries yet, and are not kept.
    drop(log);
    let index = keeper.log().join(format!("by-measurement/{first}"));
    // And a line that is none takes no other with it.
    fs::write(&index, b"0\n1\n\xff\xfe\n4\n900\n").unwrap();
    assert_eq!(indices(&lookup(first)), ["0", "1"]);
    let mut log = Directory::open(&keeper.log(), key()).unwrap();
    log.append([entry(4, &[]), entry(5, &[first])]).unwrap();
    assert_eq!(fs::read_to_string(index).unwrap(), "0\n1\n5\n");
}

/// The entries that a lookup shows.
fn indices(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter_map(|line| line.split(' ').next()).collect()
}

/// Any web server serves it, here one for files; whoever has only the URL can do all that needs no key.
#[test]
fn over_http() {
    let keeper = Keeper::new();
    keeper.append((0..700).map(entry));
    let server = crate::support::server::Server::start(&keeper.log());
    let url = server.url("");
    let place = &keeper.place;
    let ran = place.succeeds(&["log", "verify", &url, "--log", "vkey"]);
    assert!(ran.stdout.contains("700 entries"), "{}", ran.stdout);
    place.succeeds(&["log", "prove", &url, "--index", "5", "-o", "5.tlog-proof"]);
    place.write("entry", entry(5));
    place.succeeds(&["log", "verify", "5.tlog-proof", "--entry", "entry", "--log", "vkey"]);
    let missing = server.url("nowhere");
    place.refuses(&["log", "verify", &missing, "--log", "vkey"], 1, &["there is no log"]);
}

#[test]
fn a_policy_with_windows_line_ends_is_told_to_be_one() {
    let keeper = Keeper::new();
    let verify = ["log", "verify", "LOG", "--trust", "trust.policy"];
    let line = format!("log {}", key().verifier());
    keeper.place.write("trust.policy", format!("{line}\r\nquorum none\r\n"));
    keeper.place.refuses(
        &verify,
        30,
        &["trust.policy:1:", r"'\r'", "hint: the file has Windows line ends"],
    );
    keeper.place.write("trust.policy", format!("# \r here\n{line}\nquorum none\n"));
    let ran = keeper.place.refuses(&verify, 30, &[r"'\r'"]);
    assert!(!ran.stderr.contains("Windows"), "{}", ran.stderr);
}

/// Statements need the key that signed them, and whoever does not give it is told how to.
#[test]
fn statements_are_appended_with_their_key() {
    let keeper = Keeper::new();
    let words = ["log", "append", "LOG", "--key", "key", "release/statement.sigstore.json"];
    keeper.place.refuses(
        &words,
        2,
        &[
            "`release/statement.sigstore.json`",
            "hint: give it by `--public-key FILE`",
            "openssl ec",
        ],
    );
    let help = keeper.place.succeeds(&["log", "append", "--help"]).stdout;
    let example = "--public-key builder.pem rebuilds/me.sigstore.json";
    assert!(help.contains(example), "{help}");
}

/// A tree that holds together may be anybody's: by `--log`, nothing of it is shown before it is known to be the log's.
#[test]
fn a_lookup_asks_who_signed() {
    let keeper = Keeper::new();
    let measurement = Sha384::of("measurement");
    let entry = Entry { bytes: entry(0), measurements: vec![measurement], ..Entry::default() };
    Directory::open(&keeper.log(), key()).unwrap().append([entry]).unwrap();
    let measurement = measurement.to_string();
    let lookup =
        |more: &[&str]| keeper.place.run(&[&["log", "lookup", "LOG", &measurement], more].concat());
    let ran = lookup(&["--log", "vkey"]);
    let unclear = "0 - unclear: no entry of a signed statement\n";
    assert_eq!((ran.code, &*ran.stdout), (20, unclear));
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let ran = lookup(&[]);
    assert_eq!((ran.code, &*ran.stdout), (20, unclear));
    assert!(ran.stderr.contains("warning: nobody's signature was asked for"), "{}", ran.stderr);
    let vkey = |name: &str, seed| {
        SignerKey::from_seed(name, Algorithm::Ed25519, [seed; 32]).unwrap().verifier().to_string()
    };
    lookup(&["--log", &vkey(ORIGIN, 8)]).is_refusal(10, &["LOG/checkpoint", "no signature by"]);
    lookup(&["--log", &vkey("other.example", 7)])
        .is_refusal(10, &["LOG/checkpoint", "other.example"]);
}

/// The index is no part of what was signed, and whoever serves it can write what they like.
#[test]
fn a_hostile_index_is_read_once() {
    let keeper = Keeper::new();
    let measurement = Sha384::of("measurement");
    let entries = (0..10_001).map(|n| Entry { bytes: entry(n), ..Entry::default() });
    Directory::open(&keeper.log(), key()).unwrap().append(entries).unwrap();
    let lookup = || {
        let words = ["log", "lookup", "LOG", &measurement.to_string(), "--log", "vkey"];
        keeper.place.run(&words)
    };
    let name = format!("LOG/by-measurement/{measurement}");
    keeper.place.write(&name, format!("12\n{}7\n", "9\n".repeat(5_000_000)));
    assert_eq!(indices(&lookup()), ["7", "9", "12"]);
    let lines = |count: u32| (0..count).rev().map(|n| format!("{n}\n")).collect::<String>();
    keeper.place.write(&name, lines(10_000));
    assert_eq!(lookup().stdout.lines().count(), 10_000);
    keeper.place.write(&name, lines(10_001));
    lookup().is_refusal(30, &[&name, "more than 10000 entries"]);
}

/// What others named forges no line, and does not turn one round.
#[test]
fn hostile_names_stay_in_their_lines() {
    let place = Place::new();
    let signer = SignerKey::from_seed("log\u{202e}gol", Algorithm::Ed25519, [7; 32]).unwrap();
    place.write("key", signer.to_text());
    place.write("vkey", signer.verifier().to_string());
    place.succeeds(&["log", "init", "LOG", "--key", "key"]);
    let measurement = Sha384::of("measurement");
    let bytes = b"entry\n1 accepted\t\xe2\x81\xa6".to_vec();
    let entry = Entry { bytes, measurements: vec![measurement], ..Entry::default() };
    Directory::open(&place.path("LOG"), signer).unwrap().append([entry]).unwrap();
    let ran = place.run(&["log", "lookup", "LOG", &measurement.to_string()]);
    assert_eq!(ran.stdout, "0 - unclear: no entry of a signed statement\n");
    let ran = place.succeeds(&["log", "verify", "LOG", "--log", "vkey"]);
    assert!(ran.stdout.starts_with("log\u{fffd}gol: 1 entries"), "{}", ran.stdout);
    let monitor = ["log", "monitor", "LOG", "--log", "vkey", "--state", "seen.json"];
    assert!(place.succeeds(&monitor).stdout.starts_with("log\u{fffd}gol: 1 entries"));
    place.write("other", key().verifier().to_string());
    let ran = place.run(&["log", "verify", "LOG", "--log", "other"]);
    assert!(ran.stdout.contains("of the log `log\u{fffd}gol`"), "{}", ran.stdout);
}
