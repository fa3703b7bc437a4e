//! `verify --trust`, of a release that was really built, published, logged, witnessed and rebuilt.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use counterfoil::digest::Sha256;
use counterfoil::log::directory::add_signatures;
use counterfoil::log::{Algorithm, Note, SignerKey, cosign};
use counterfoil::statement::bundle::Bundle;
use counterfoil::statement::dsse::Envelope;
use counterfoil::statement::intoto::Statement;
use counterfoil::statement::vsa::{REPRODUCED, Summary};
use serde_json::Value;

use super::command::{LOG, place, publish};
use super::support::place::{Place, Ran};
use super::support::real;
use super::{key, log_key, pem};

/// What is published is good for as long as this test will be run.
const VALID: [&str; 4] = ["--valid-from", "2026-01-01", "--valid-until", "2126-01-01"];

fn witness(number: u8) -> SignerKey {
    let algorithm = match number {
        1 => Algorithm::Ed25519Cosignature,
        _ => Algorithm::MlDsa44Cosignature,
    };
    SignerKey::from_seed(&format!("w{number}.example"), algorithm, [number; 32]).unwrap()
}

fn trust() -> String {
    let [w1, w2] = [1, 2].map(witness);
    format!(
        "log {}\nwitness W1 {}\nwitness W2 {}\ngroup both all W1 W2\nquorum both\npublisher us {}\n\
         builder B1 {} org=one\nbuilder B2 {} org=two\ngroup reb all B1 B2\nrebuild-quorum reb\n\
         distinct org\n",
        log_key().verifier(),
        w1.verifier(),
        w2.verifier(),
        key(1).public(),
        key(11).public(),
        key(12).public(),
    )
}

/// A release of which everything holds.
fn published() -> Place {
    let place = place();
    place.write("trust.policy", trust());
    publish(&place, &[&VALID[..], &["--sequence", "1"], &LOG].concat());
    for number in [11, 12] {
        place.write("builder.key", pem(number));
        let name = format!("b{number}");
        let words = ["reproduce", "release", "--offline", "--as", &name, "--sign", "builder.key"];
        // The inputs are in the tests' own store.
        let ran = real::run(place.root(), &[&words[..], &LOG].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    witnessed(&place);
    place
}

/// Has both witnesses sign the log, and everything logged know it.
fn witnessed(place: &Place) {
    seen(place);
    let vkey = log_key().verifier().to_string();
    let bundles = ["statement", "provenance", "rebuilds/b11", "rebuilds/b12"]
        .map(|it| format!("release/{it}.sigstore.json"));
    let bundles: Vec<&str> = bundles.iter().map(String::as_str).collect();
    place.succeeds(&[&["log", "staple", "LOG", "--log", &vkey], bundles.as_slice()].concat());
}

/// Has both witnesses sign the log.
fn seen(place: &Place) {
    let note = Note::parse(&place.read("LOG/checkpoint")).unwrap();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let lines = [1, 2].map(|number| cosign(&note, &witness(number), time).unwrap());
    assert!(add_signatures(&place.path("LOG"), &note.text, &lines).unwrap());
}

fn verify(place: &Place, more: &[&str]) -> Ran {
    // Rebuilds are made at this machine's time.
    let words = ["verify", "--release", "release", "--trust", "trust.policy"];
    place.run(&[&words, more].concat())
}

#[track_caller]
fn rejected(ran: &Ran, code: i32, reasons: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.contains(&format!(": {reasons}\n")), "{ran:?}");
}

#[test]
fn what_was_published_is_verified_from_one_directory() {
    let place = published();
    let ran = verify(&place, &["--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&answer["verdict"], &answer["reasons"]),
        (&"accepted".into(), &Value::Array(vec![]))
    );
    let published = &answer["published"];
    assert_eq!(published["statement"]["publisher"], "us");
    assert_eq!(published["statement"]["log"]["witnesses"], serde_json::json!(["W1", "W2"]));
    assert_eq!(published["rebuilds"]["agree"], serde_json::json!(["B1", "B2"]));
    assert_eq!(verify(&place, &["--log", "LOG", "--artifacts"]).code, 0);

    // A name that turns its line round is shown as what it is, in the lists and in what the checks say.
    place.write("trust.policy", trust().replace(" B2", " B\u{202e}2"));
    let ran = verify(&place, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("B1, B\u{fffd}2\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{202e}'), "{}", ran.stdout);
    place.write("trust.policy", trust());

    // A summary of it, which lists what it rests on.
    place.write("mine.key", pem(20));
    let summary = ["--summary", "summary.json", "--summary-key", "mine.key"];
    assert_eq!(verify(&place, &summary).code, 0);
    let bundle = Bundle::from_json(&fs::read(place.path("summary.json")).unwrap()).unwrap();
    let payload = bundle.envelope.verify(&key(20).public()).unwrap();
    let summary = Statement::<Summary>::from_json(payload).unwrap();
    assert_eq!(summary.predicate.verified_levels, [REPRODUCED]);
    assert_eq!(summary.predicate.policy.digest.sha256, Sha256::of(trust()));
    let digest = |name: &str| {
        Sha256::of(fs::read(place.path(&format!("release/{name}.sigstore.json"))).unwrap())
    };
    let inputs = summary.predicate.input_attestations.iter().map(|input| input.digest.sha256);
    let all = ["statement", "rebuilds/b11", "rebuilds/b12"].map(digest);
    assert_eq!(inputs.collect::<Vec<_>>(), all);
    assert!(summary.predicate.policy.uri.unwrap().starts_with("urn:counterfoil:trust-policy:"));
    // Two builders of one organisation are no two who have nothing to do with one another.
    place
        .write("trust.policy", trust().replace("org=two", "org=one").replace("distinct org\n", ""));
    fs::remove_file(place.path("summary.json")).unwrap();
    let ran = verify(&place, &["--summary", "summary.json", "--summary-key", "mine.key"]);
    assert!(ran.code == 0 && ran.stderr.contains("no summary is written"), "{ran:?}");
    assert!(!place.path("summary.json").exists());
    place.write("trust.policy", trust());

    // On the rebuilders alone: the publisher's statement may as well not be there.
    let alone: String = trust()
        .lines()
        .filter(|line| !line.starts_with("publisher"))
        .map(|line| format!("{line}\n"))
        .collect();
    place.write("alone.policy", alone);
    fs::remove_file(place.path("release/statement.sigstore.json")).unwrap();
    let ran = place.run(&["verify", "--release", "release", "--trust", "alone.policy"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    rejected(&verify(&place, &[]), 20, "statement-missing");
}

#[test]
fn what_was_said_since_counts() {
    let place = published();
    let words = ["publish", "--revoke", "release/statement.json", "--reason", "a hole", "--key"];
    let more = ["publisher.key", "--output", "revocation.sigstore.json"];
    place.succeeds(&[&words[..], &more, &LOG].concat());
    // A directory does not know of it; the log does, once its witnesses have seen it.
    assert_eq!(verify(&place, &[]).code, 0);
    rejected(&verify(&place, &["--log", "LOG"]), 10, "witness-quorum");
    witnessed(&place);
    let ran = verify(&place, &["--log", "LOG"]);
    rejected(&ran, 10, "statement-revoked");
    assert!(ran.stdout.contains("a hole"), "{}", ran.stdout);
    // Nor may it hide what was said.
    let bundle = fs::read(place.path("revocation.sigstore.json")).unwrap();
    let digest = Bundle::from_json(&bundle).unwrap().envelope.digest();
    let beside = place.path(&format!("LOG/statement/{digest}"));
    let payload = fs::read(&beside).unwrap();
    fs::remove_file(&beside).unwrap();
    let ran = verify(&place, &["--log", "LOG"]);
    assert_eq!(ran.code, 20, "{ran:?}");
    fs::write(&beside, [&payload[..], b" "].concat()).unwrap();
    assert_ne!(verify(&place, &["--log", "LOG"]).code, 0);
    // Whoever has it puts it into the release.
    fs::create_dir(place.path("release/statements")).unwrap();
    fs::write(place.path("release/statements/1.sigstore.json"), bundle).unwrap();
    rejected(&verify(&place, &[]), 10, "statement-revoked");
}

#[test]
fn what_is_missing_or_changed_is_named() {
    let place = published();
    // A byte of a file that is not measured.
    let lock = place.read("release/lock.yaml");
    place.write("release/lock.yaml", format!("{lock}\n"));
    let ran = verify(&place, &[]);
    assert!(ran.code == 10 && ran.stderr.contains("lock.yaml"), "{ran:?}");
    place.write("release/lock.yaml", lock);
    let model = place.read("release/THREAT-MODEL.md");
    place.write("release/THREAT-MODEL.md", format!("{model}\n"));
    rejected(&verify(&place, &[]), 10, "statement-release, rebuild-disagrees, rebuild-quorum");
    place.write("release/THREAT-MODEL.md", model);
    // And of one that is: all of them are read.
    let cmdline = place.read("release/image/cmdline");
    place.write("release/image/cmdline", format!("{cmdline} x"));
    let ran = verify(&place, &[]);
    assert!(ran.code == 10 && ran.stderr.contains("image/cmdline"), "{ran:?}");
    place.write("release/image/cmdline", cmdline);
    // The words beside what was signed.
    let words = place.read("release/statement.json");
    place.write("release/statement.json", words.replace("\"sequence\":1", "\"sequence\":9"));
    let ran = verify(&place, &[]);
    rejected(&ran, 10, "statement-release");
    assert!(ran.stdout.contains("not what was signed"), "{ran:?}");
    place.write("release/statement.json", words);
    // A rebuilder who is not heard.
    let rebuild = fs::read(place.path("release/rebuilds/b12.sigstore.json")).unwrap();
    let rebuild = Bundle::from_json(&rebuild).unwrap();
    fs::remove_file(place.path("release/rebuilds/b12.sigstore.json")).unwrap();
    let ran = verify(&place, &[]);
    rejected(&ran, 10, "rebuild-quorum");
    assert!(ran.stdout.contains("silent    B2"), "{}", ran.stdout);
    // The log has not forgotten him, also when it has grown since, and when somebody has put the same words there.
    assert_eq!(verify(&place, &["--log", "LOG"]).code, 0);
    place.write("entries", "an entry of somebody's\n");
    place.succeeds(&["log", "append", "LOG", "--key", "log.key", "--entries", "entries"]);
    seen(&place);
    let ran = verify(&place, &["--log", "LOG"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("agree     B1, B2"), "{}", ran.stdout);
    let planted = Envelope::sign(rebuild.envelope.payload.clone(), &key(66)).unwrap();
    let planted = Bundle::new(planted, &key(66).public()).to_json().unwrap();
    place.write("release/rebuilds/b12.sigstore.json", planted);
    assert_eq!(verify(&place, &["--log", "LOG"]).code, 0);
    // His signature that does not hold, with the entry of the one that does.
    let mut forged = rebuild;
    forged.envelope.payload.push(b' ');
    place.write("release/rebuilds/b12.sigstore.json", forged.to_json().unwrap());
    rejected(&verify(&place, &[]), 10, "rebuild-signature, rebuild-quorum");
    fs::remove_file(place.path("release/rebuilds/b12.sigstore.json")).unwrap();
    // A pipe is not waited for.
    let pipe = place.path("release/rebuilds/b12.sigstore.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(verify(&place, &[]).code, 30);
    fs::remove_file(pipe).unwrap();
    // More than anybody reads, although it takes no room on the disk.
    let sparse = fs::File::create(place.path("release/rebuilds/big.sigstore.json")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let ran = verify(&place, &[]);
    assert!(ran.code == 30 && ran.stderr.contains("256 MiB"), "{ran:?}");
    fs::remove_file(place.path("release/rebuilds/big.sigstore.json")).unwrap();
    // Wrong use.
    place.write("bad.policy", "quorum none\nwitnes W1 x\n");
    let ran = place.run(&["verify", "--release", "release", "--trust", "bad.policy"]);
    assert!(ran.code == 30 && ran.stderr.contains("bad.policy:2: `witnes` is none of"), "{ran:?}");
    assert_eq!(place.run(&["verify", "--trust", "trust.policy"]).code, 2);
    assert_eq!(verify(&place, &["--log", "nowhere"]).code, 1);
}

#[test]
#[ignore = "writes files for fuzzing"]
fn seeds() {
    let place = published();
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/published");
    fs::create_dir_all(&seeds).unwrap();
    let copy =
        |from: &str, to: &str| fs::copy(place.path(from), seeds.join(to)).map(|_| ()).unwrap();
    copy("trust.policy", "trust.policy");
    for (name, to) in [("statement", "statement"), ("rebuilds/b11", "b1"), ("rebuilds/b12", "b2")] {
        copy(&format!("release/{name}.sigstore.json"), &format!("{to}.sigstore.json"));
        copy(&format!("release/{name}.tlog-proof"), &format!("{to}.tlog-proof"));
    }
}
