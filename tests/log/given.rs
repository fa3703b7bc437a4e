//! Statements in a log: found by what they say, verified in their bundles, shown, and stapled; and what is given by
//! mistake.

use std::fs;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::log::directory::add_signatures;
use counterfoil::log::{Algorithm, Checkpoint, Note, SignerKey, cosign};
use counterfoil::statement::intoto::Statement;
use counterfoil::statement::launch::{Launch, Revoked};
use counterfoil::statement::revocation::Revocation;
use serde_json::Value;

use crate::monitor::{STATEMENT, log, publisher, rebuild, secret, signed, stated};
use crate::place::{Keeper, key};
use crate::support::place::Ran;

/// The launch digest that most is about here.
fn digest() -> Sha384 {
    let statement = Statement::<Launch>::from_json(STATEMENT).unwrap().predicate;
    statement.measurements[0].launches[0].launch_digest
}

fn witness(name: &str) -> SignerKey {
    SignerKey::from_seed(name, Algorithm::Ed25519Cosignature, [5; 32]).unwrap()
}

/// The statement in the log, and its bundle in `statement.sigstore.json`.
fn with_bundle() -> Keeper {
    let keeper = Keeper::new();
    keeper.place.write("pub.pem", publisher().public().to_pem());
    let envelope = stated(&publisher(), |_| {}).envelope;
    keeper.place.write("statement.json", envelope.to_json().unwrap());
    let words = ["log", "append", "LOG", "--key", "key", "--public-key", "pub.pem"];
    keeper.place.succeeds(&[&words[..], &["statement.json"]].concat());
    keeper
}

#[test]
fn a_lookup_reads_what_the_statements_say() {
    let keeper = Keeper::new();
    let revokes = || {
        let statement = Sha256::of(STATEMENT);
        vec![Revoked { statement, reason: "a hole".to_owned() }]
    };
    let revocation = Revocation { issued: "2026-11-22".parse().unwrap(), revokes: revokes() };
    log(&keeper, stated(&publisher(), |_| {}));
    log(&keeper, rebuild(&secret(7), false));
    let mut other = rebuild(&secret(8), true);
    other.about = vec![digest()];
    log(&keeper, other);
    let mut revocation = signed(revocation.statement().to_json().unwrap(), &publisher());
    revocation.about = vec![digest()];
    log(&keeper, revocation);
    // Another release, which somebody would like to be found.
    log(
        &keeper,
        stated(&secret(9), |launch| {
            launch.measurements[0].launches[0].launch_digest = Sha384::of("another");
        }),
    );
    let index = format!("LOG/by-measurement/{}", digest());
    keeper.place.write(&index, "0\n1\n2\n3\n4\n");
    let lookup = |of: &str, more: &[&str]| {
        keeper.place.run(&[&["log", "lookup", "LOG", of, "--log", "vkey"], more].concat())
    };
    let of = digest().to_string();
    let ran = lookup(&of, &[]);
    let name = Statement::<Launch>::from_json(STATEMENT).unwrap().predicate;
    let (first, id) = (publisher().public().id(), |number| secret(number).public().id());
    let lines = [
        format!("0 {first} statement number {} of `{}`\n", name.sequence, name.release),
        format!("1 {} rebuild, agrees: `https://builder.example/`\n", id(7)),
        format!("2 {} rebuild, differs: `https://builder.example/`\n", id(8)),
        format!("3 {first} revocation: a hole\n"),
    ];
    assert_eq!((ran.code, ran.stdout), (0, lines.concat()));
    assert!(ran.stderr.contains("1 entries that the index names are of something else"));
    let json: Value = serde_json::from_str(&lookup(&of, &["--format", "json"]).stdout).unwrap();
    assert_eq!(json["entries"][2]["says"]["agrees"], false);
    assert_eq!(
        (&json["entries"][0]["says"]["kind"], &json["others"]),
        (&"statement".into(), &1.into())
    );
    // A digest that nobody logged.
    let never = Sha384::of("never").to_string();
    keeper.place.write(&format!("LOG/by-measurement/{never}"), "0\n");
    lookup(&never, &[]).is_refusal(20, &["no entry", "of something else"]);
    // A rebuild of a release that the index leaves out is not hidden by that.
    keeper.place.write(&index, "2\n");
    let ran = lookup(&of, &[]);
    assert!(
        ran.code == 20 && ran.stdout.contains("unclear: rebuild by https://builder"),
        "{ran:?}"
    );
    keeper.place.write(&index, "0\n");
    let file = keeper.log().join("statement");
    let file = file.join(stated(&publisher(), |_| {}).envelope.digest().to_string());
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let ran = lookup(&of, &[]);
    assert!(ran.code == 20 && ran.stdout.contains("its statement cannot be read"), "{ran:?}");
    fs::remove_dir_all(keeper.log().join("statement")).unwrap();
    let ran = lookup(&of, &[]);
    assert!(ran.code == 20 && ran.stdout.contains("its statement is not there"), "{ran:?}");
}

#[test]
fn a_bundle_is_verified_with_its_own_entry() {
    let keeper = with_bundle();
    let place = &keeper.place;
    let (bundle, proof) = ("statement.sigstore.json", "statement.tlog-proof");
    let verify = |what: &str, more: &[&str]| {
        place.run(&[&["log", "verify", what, "--log", "vkey"], more].concat())
    };
    for ran in [verify(bundle, &[]), verify(proof, &["--entry", bundle])] {
        assert!(ran.code == 0 && ran.stdout.contains("accepted"), "{ran:?}");
    }
    let ran = place.succeeds(&["log", "prove", "LOG", "--entry", bundle]);
    assert_eq!(ran.stdout, place.read(proof));
    let text = place.read(bundle).replace("\"logIndex\":\"0\"", "\"logIndex\":\"1\"");
    place.write("other.sigstore.json", text);
    let ran = verify("other.sigstore.json", &[]);
    assert!(ran.code == 10 && ran.stdout.contains("log-inclusion"), "{ran:?}");
    verify(bundle, &["--entry", bundle]).is_refusal(2, &["holds its entry itself"]);
    // What is none of this is called by its name.
    verify("LOG/checkpoint", &[]).is_refusal(2, &["is a checkpoint, and proves no entry"]);
    verify("vkey", &[]).is_refusal(2, &["is a verifier key, and proves no entry"]);
    verify("statement.json", &[]).is_refusal(2, &["is a DSSE envelope"]);
    let ran = verify(proof, &["--entry", "statement.json"]);
    assert!(
        ran.code == 10 && ran.stderr.contains("`statement.json` is a DSSE envelope"),
        "{ran:?}"
    );
    let ran = place.run(&["log", "prove", "LOG", "--entry", "LOG/checkpoint"]);
    ran.is_refusal(20, &["hint: it is a checkpoint"]);
    place.write("empty", "{}");
    verify("empty", &[]).is_refusal(30, &["neither a tlog-proof nor a Sigstore bundle"]);
}

#[test]
fn what_is_published_is_shown() {
    let keeper = with_bundle();
    let place = &keeper.place;
    let inspect = |name: &str, words: &[&str]| {
        let ran = place.succeeds(&["inspect", name]);
        for word in words {
            assert!(ran.stdout.contains(word), "`{word}` is not in: {}", ran.stdout);
        }
        assert!(ran.stderr.contains("note: nothing of it was verified"), "{}", ran.stderr);
    };
    let said = Statement::<Launch>::from_json(STATEMENT).unwrap().predicate;
    let count = format!("launch digests    {}\n", said.digests().count());
    let release = format!("release           {}\n", said.release);
    let statement = [release.as_str(), &count, "  valid until  ", "  guest policy  "];
    place.write("bare.json", STATEMENT);
    for name in ["statement.sigstore.json", "statement.json", "bare.json"] {
        inspect(name, &statement);
    }
    inspect("statement.sigstore.json", &["proof of logging\n", "checkpoint\n", "entry 0 of a log"]);
    inspect("statement.tlog-proof", &["index             0\n", "size              1 entries\n"]);
    let id = format!("{:08x}", u32::from_be_bytes(key().verifier().id()));
    inspect("LOG/checkpoint", &["origin            log.example.org/test\n", &id]);
    place.write("rebuild.json", rebuild(&secret(7), true).envelope.payload);
    inspect(
        "rebuild.json",
        &["verdict           differs", "[other-file] initrd:/init: other bytes"],
    );
    let ran = place.succeeds(&["inspect", "statement.sigstore.json", "--format", "json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&json["verified"], &json["parts"][0]["kind"]),
        (&false.into(), &"sigstore-bundle".into())
    );
    // What is damaged, or of a kind that is not known, is said to be.
    let text = place.read("statement.sigstore.json");
    place.write("cut.json", text.replace("publicKey", "publicKay"));
    place.run(&["inspect", "cut.json"]).is_refusal(30, &["a Sigstore bundle that is damaged"]);
    let text = String::from_utf8(STATEMENT.to_vec()).unwrap();
    place.write("new.json", text.replace("snp-launch:v1", "snp-launch:v9"));
    let ran = place.run(&["inspect", "new.json"]);
    assert!(ran.code == 20 && ran.stderr.contains("unknown kind"), "{ran:?}");
}

#[test]
fn a_staple_takes_no_spoiled_cosignature() {
    let keeper = with_bundle();
    let place = &keeper.place;
    let cosigned = |name: &str, time: u64| {
        let note = Note::parse(&place.read("LOG/checkpoint")).unwrap();
        let line = cosign(&note, &witness(name), time).unwrap();
        assert!(add_signatures(&keeper.log(), &note.text, &[line]).unwrap());
    };
    let staple = |more: &[&str]| {
        let words = ["log", "staple", "LOG", "--log", "vkey", "statement.sigstore.json"];
        place.run(&[&words[..], more].concat())
    };
    let policy = format!(
        "log {}\nwitness W {}\nquorum W\n",
        key().verifier(),
        witness("w.example").verifier()
    );
    place.write("trust.policy", policy);
    cosigned("w.example", 1_700_000_000);
    assert_eq!(staple(&[]).code, 0);
    let good = place.read("LOG/checkpoint");
    let before = place.read("statement.sigstore.json");
    let mut note = Note::parse(&good).unwrap();
    *note.signatures.last_mut().unwrap().bytes.last_mut().unwrap() ^= 1;
    place.write("LOG/checkpoint", note.to_string());
    for more in [&[][..], &["--trust", "trust.policy"]] {
        staple(more).is_refusal(20, &["would lose cosignatures", "`w.example`"]);
        assert_eq!(place.read("statement.sigstore.json"), before);
    }
    // One that was made anew is known by its key alone.
    place.write("LOG/checkpoint", good);
    cosigned("w.example", 1_800_000_000);
    staple(&[]).is_refusal(20, &["`w.example`", "--trust FILE"]);
    assert_eq!(staple(&["--trust", "trust.policy"]).code, 0);
    assert_ne!(place.read("statement.sigstore.json"), before);
}

/// The key of a witness is no log's, nor the other way round, and a URL is no directory.
#[test]
fn what_is_given_by_mistake() {
    let keeper = with_bundle();
    let place = &keeper.place;
    place.write("witness.vkey", format!("{}\n", witness("w.example").verifier()));
    let of = digest().to_string();
    let refuses = |words: &str, told: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        place.run(&words).is_refusal(2, &[told]);
    };
    for words in [
        "log verify LOG",
        "log monitor LOG --state seen",
        "log staple LOG statement.sigstore.json",
        &format!("log lookup LOG {of}"),
    ] {
        let told = "`w.example` is the key of a witness: expected one of a log";
        refuses(&format!("{words} --log witness.vkey"), told);
    }
    for words in ["log verify LOG", "log monitor LOG --state seen"] {
        let told = "`log.example.org/test` is the key of a log: expected one of a witness";
        refuses(&format!("{words} --log vkey --witness vkey"), told);
    }
    let url = "a log is written in its directory";
    refuses("log append http://log.example/ --key key --entries x", url);
    refuses("log witness http://log.example/ --witness W", url);
    refuses("log init http://log.example/ --key key", url);
    place.write("release/launch.json", "{}");
    refuses("log init release --key key", "is a release, which is no place for a log");
    assert_eq!(fs::read_dir(place.path("release")).unwrap().count(), 1);
    let name = "log key --name https://log.example/ --type log --output new.key";
    refuses(name, "an address without a scheme");
    assert!(!place.path("new.key").exists());
}

/// A server can show any size, for nothing.
#[test]
fn absurd_sizes_are_refused_and_not_counted() {
    let keeper = Keeper::new();
    let place = &keeper.place;
    let shown = |size: u64, root: Sha256| -> Ran {
        let origin = key().verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size, root, extensions: Vec::new() };
        place.write("LOG/checkpoint", checkpoint.sign(&key()).unwrap().to_string());
        place.run(&["log", "verify", "LOG", "--log", "vkey"])
    };
    place.write("LOG/tile/7/000.p/1", [7; 32]);
    place.write("LOG/tile/6/000", [6; 256 * 32]);
    let ran = shown(1 << 56, Sha256::of("no root"));
    assert!(ran.code == 10 && ran.stdout.contains("log-damaged: `LOG/tile/7/000.p/1`"), "{ran:?}");
    place.write("LOG/tile/5/000.p/1", [5; 32]);
    shown(1 << 40, Sha256([5; 32])).is_refusal(20, &["no more than 4294967296 are read"]);
}
