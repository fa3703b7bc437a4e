//! The commands, end to end with a real release.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use counterfoil::digest::Sha256;
use counterfoil::log::directory::add_signatures;
use counterfoil::log::entry::Entry;
use counterfoil::log::{Algorithm, Note, Proof, Signed, SignerKey, cosign, merkle};
use counterfoil::statement::bundle::Bundle;
use counterfoil::statement::dsse::Envelope;
use counterfoil::statement::intoto::Statement;
use counterfoil::statement::key::PublicKey;
use counterfoil::statement::launch::Launch;
use counterfoil::statement::provenance::Provenance;
use counterfoil::statement::revocation::Revocation;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::Value;

use super::support::place::{Place, copy};
use super::support::real;
use super::{key, log_key, pem};

/// Without anything that it needs not: two launch digests.
const MANIFEST: &str = r#"
version: 1
name: published
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  hello: {builtin: hello}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml}
cmdline: console=ttyS0 panic=-1
files:
  - {path: /usr/bin/hello, from: hello, mode: "0755"}
init: {exec: [/usr/bin/hello, "8080"], output: console}
launch: {profile: qemu, vcpus: [1, 2], cpus: [EPYC-v4]}
"#;

fn release() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("published", MANIFEST)).clone()
}

fn built(name: &str, manifest: &str) -> PathBuf {
    let manifests = real::manifests().join("manifests");
    fs::write(manifests.join(format!("{name}.yaml")), manifest).unwrap();
    real::release(name)
}

/// The release in a place of its own, with keys and an empty log.
pub(crate) fn place() -> Place {
    let place = Place::new();
    copy(&release(), &place.path("release"));
    place.write("publisher.key", pem(1));
    place.write("publisher.pem", key(1).public().to_pem());
    place.write("rebuilder.key", pem(2));
    place.write("log.key", log_key().to_text().as_str());
    place.succeeds(&["log", "init", "LOG", "--key", "log.key"]);
    place
}

pub(crate) const LOG: [&str; 4] = ["--log", "LOG", "--log-key", "log.key"];

pub(crate) fn publish(place: &Place, more: &[&str]) -> Value {
    let words = ["publish", "release", "--key", "publisher.key", "--format", "json"];
    let ran = place.succeeds(&[&words, more].concat());
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The bundle there, of which every leg is held against the next.
#[track_caller]
fn logged(place: &Place, name: &str, key: PublicKey) -> Bundle {
    let bundle = Bundle::from_json(&fs::read(place.path(name)).unwrap()).unwrap();
    bundle.envelope.verify(&key).unwrap();
    let logged = bundle.logged.clone().unwrap();
    assert_eq!(logged.entry.key, key);
    let proof = place.read(&name.replace(".sigstore.json", ".tlog-proof"));
    assert_eq!(Proof::parse(&proof).unwrap(), logged.proof);
    let head = logged.proof.tree_head().unwrap();
    let leaf = merkle::leaf(&logged.entry.to_body().unwrap());
    let root = merkle::inclusion_root(logged.proof.index, head.size, leaf, &logged.proof.hashes);
    assert_eq!(root, Some(head.root));
    assert!(matches!(log_key().verifier().verify(&logged.proof.checkpoint), Signed::Good { .. }));
    let beside = place.path(&format!("LOG/statement/{}", logged.entry.digest));
    assert_eq!(fs::read(beside).unwrap(), bundle.envelope.payload);
    bundle
}

#[test]
fn a_release_is_published_and_found() {
    let place = place();
    let valid = ["--valid-from", "2026-11-22T12:00:00Z", "--valid-for", "30d"];
    let said = publish(&place, &[&["--sequence", "1"][..], &valid, &LOG].concat());
    let payload = fs::read(place.path("release/statement.json")).unwrap();
    assert_eq!(said["statement"], Sha256::of(&payload).to_string());
    assert_eq!((&said["index"], &said["measurements"]), (&0.into(), &2.into()));
    let bundle = logged(&place, "release/statement.sigstore.json", key(1).public());
    assert_eq!(bundle.envelope.payload, payload);
    let statement = Statement::<Launch>::from_json(&payload).unwrap();
    assert_eq!(statement.predicate.validity.not_after.to_string(), "2026-12-22T12:00:00Z");
    for subject in &statement.subjects {
        let bytes = fs::read(place.path("release").join(&subject.name)).unwrap();
        assert_eq!(subject.digest.sha256, Sha256::of(&bytes), "{}", subject.name);
    }
    // Every file of the release but those about it.
    let files = walkdir::WalkDir::new(place.path("release")).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file()).count();
    assert_eq!(files, statement.subjects.len() + 5);
    let provenance = logged(&place, "release/provenance.sigstore.json", key(1).public());
    let provenance = Statement::<Provenance>::from_json(&provenance.envelope.payload).unwrap();
    assert_eq!(provenance.subjects, statement.subjects);
    let text = serde_json::to_string(&provenance.predicate).unwrap();
    assert!(text.contains("pkg:deb/debian/ovmf-amdsev@"), "{text}");
    // By each of its measurements.
    for (_, row) in statement.predicate.digests() {
        let found = place.succeeds(&["log", "lookup", "LOG", &row.launch_digest.to_string()]);
        assert!(found.stdout.contains('0'), "{}", found.stdout);
    }
    // The same words are the same bytes.
    let again = place_with(&place, &[&["--sequence", "1"][..], &valid].concat());
    assert_eq!(again, payload);
}

/// What the same release is published as elsewhere.
fn place_with(one: &Place, words: &[&str]) -> Vec<u8> {
    let other = place();
    publish(&other, words);
    let [this, that] = [one, &other].map(|it| fs::read(it.path("release/statement.json")).unwrap());
    assert_eq!(this, that);
    // Nothing of a log, where there is none.
    assert!(!other.path("release/statement.tlog-proof").exists());
    that
}

#[test]
fn a_published_release_is_still_the_release() {
    let place = place();
    publish(&place, &[&["--sequence", "1"][..], &LOG].concat());
    copy(&release(), &place.path("bare"));
    place.succeeds(&["diff", "release", "bare"]);
    place.succeeds(&["measure", "release"]);
    let ours = place.run(&["audit", "release"]);
    assert_eq!(ours.stdout, place.run(&["audit", "bare"]).stdout);
    // With the real inputs: what is about a release is nothing that it should not have.
    let ran = real::run(place.root(), &["reproduce", "release", "--offline", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&verdict["verdict"], &verdict["extra"]),
        (&"reproduced".into(), &Value::Array(vec![]))
    );
    // A build would take the statement away.
    let refused = real::run(
        &real::manifests(),
        &["build", "manifests/published.yaml", "-o", place.path("release").to_str().unwrap()],
    );
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains(".json"), "{}", refused.stderr);
}

fn rebuild(place: &Place, name: &str) -> (i32, String) {
    let words = ["reproduce", "release", "--offline", "--as", name, "--sign", "rebuilder.key"];
    let ran = real::run(
        place.root(),
        &[&words[..], &["--builder-id", "https://builder.example/x"], &LOG].concat(),
    );
    (ran.code, ran.stderr)
}

#[test]
fn a_rebuilder_agrees_or_disagrees_in_the_same_words() {
    let place = place();
    let said = publish(&place, &[&["--sequence", "1"][..], &LOG].concat());
    assert_eq!(rebuild(&place, "agrees").0, 0);
    let read = |name: &str| {
        let name = format!("release/rebuilds/{name}.sigstore.json");
        let bundle = logged(&place, &name, key(2).public());
        Statement::<Provenance>::from_json(&bundle.envelope.payload).unwrap()
    };
    let agrees = read("agrees");
    let verdict = agrees.predicate.verdict().unwrap().unwrap();
    assert!(verdict.matches && verdict.measured && verdict.first_difference.is_none());
    let payload = fs::read(place.path("release/statement.json")).unwrap();
    let statement = Statement::<Launch>::from_json(&payload).unwrap();
    assert_eq!(agrees.subjects, statement.subjects);
    assert_eq!(verdict.measurements, statement.predicate.measurements);
    let target = agrees.predicate.build_definition.external_parameters.target.unwrap();
    assert_eq!(target.statement.unwrap().sha256.to_string(), said["statement"].as_str().unwrap());
    // A copy that was damaged says nothing of the release, and nothing is signed.
    let (cmdline, model) =
        (place.read("release/image/cmdline"), place.read("release/THREAT-MODEL.md"));
    for (name, text) in [("image/cmdline", &cmdline), ("THREAT-MODEL.md", &model)] {
        place.write(&format!("release/{name}"), format!("{text} x"));
        let (code, said) = rebuild(&place, "damaged");
        assert!(code == 10 && said.contains("is damaged") && said.contains(name), "{said}");
        assert!(!place.path("release/rebuilds/damaged.sigstore.json").exists());
        // But for who wants just that.
        let words = ["reproduce", "release", "--offline", "--as", "anyway", "--anyway"];
        let ran = real::run(place.root(), &[&words[..], &["--sign", "rebuilder.key"]].concat());
        assert_eq!(ran.code, 10, "{ran:?}");
        let bundle = fs::read(place.path("release/rebuilds/anyway.sigstore.json")).unwrap();
        let payload = Bundle::from_json(&bundle).unwrap().envelope.payload;
        let said = Statement::<Provenance>::from_json(&payload).unwrap().predicate;
        assert_eq!(said.verdict().unwrap().unwrap().files, [name]);
        place.write(&format!("release/{name}"), text);
    }
    // Its publisher has put in another command line than its manifest says.
    let evil = MANIFEST.replace("panic=-1", "panic=0");
    let evil = built("evil", &evil);
    for name in ["image/cmdline", "launch.json"] {
        fs::copy(evil.join(name), place.path(&format!("release/{name}"))).unwrap();
    }
    fs::remove_file(place.path("release/statement.json")).unwrap();
    let (code, said) = rebuild(&place, "disagrees");
    assert_eq!(code, 10, "{said}");
    let disagrees = read("disagrees");
    let verdict = disagrees.predicate.verdict().unwrap().unwrap();
    assert!(!verdict.matches && !verdict.measured);
    assert_eq!(verdict.files, ["image/cmdline", "launch.json"]);
    let first = verdict.first_difference.unwrap();
    assert_eq!((first.cause.as_str(), first.place.as_str()), ("cmdline", "image/cmdline"));
    // What it built is what is meant, which is not what lies there.
    assert_eq!(disagrees.subjects, statement.subjects);
    // Whoever looks for the publisher's digest finds both.
    let digest = statement.predicate.digests().next().unwrap().1.launch_digest.to_string();
    let lines = place.read(&format!("LOG/by-measurement/{digest}"));
    assert_eq!(lines, "0\n1\n2\n3\n");
    // Nothing could be built: there is nothing to sign, and that is said.
    fs::remove_file(place.path("release/rebuilds/agrees.sigstore.json")).unwrap();
    let nameless = ["reproduce", "release", "--offline", "--sign", "rebuilder.key"];
    place.refuses(&nameless, 2, &["--as <NAME>"]);
    let alone = place.run(&[&nameless[..], &["--as", "alone"]].concat());
    assert_eq!(alone.code, 20, "{}", alone.stderr);
    assert!(alone.stderr.contains("nothing to sign"), "{}", alone.stderr);
    assert!(!place.path("release/rebuilds/alone.sigstore.json").exists());
}

/// What is in a log stays there: what cannot be kept is not logged, and no number comes twice.
#[test]
fn nothing_is_logged_that_cannot_stand() {
    let place = place();
    let size = || place.read("LOG/checkpoint").lines().nth(1).unwrap().to_owned();
    fs::create_dir(place.path("release/statement.sigstore.json")).unwrap();
    let publish_ = |more: &[&str]| {
        let words = ["publish", "release", "--key", "publisher.key"];
        place.run(&[&words[..], &LOG, more].concat())
    };
    assert_ne!(publish_(&["--sequence", "1"]).code, 0);
    assert_eq!(size(), "0");
    fs::remove_dir(place.path("release/statement.sigstore.json")).unwrap();
    let _ = fs::remove_file(place.path("release/statement.json"));
    assert_eq!(publish_(&["--sequence", "3"]).code, 0);
    assert_eq!(size(), "2");
    // Another copy of the release does not know it, and the log does.
    fs::remove_dir_all(place.path("release")).unwrap();
    copy(&release(), &place.path("release"));
    publish_(&["--sequence", "3"]).is_refusal(2, &["entry 0 of the log is number 3", "--sequence"]);
    assert_eq!(size(), "2");
    // A URL is nothing to write to, and a device no place for a file.
    let words = ["publish", "release", "--key", "publisher.key", "--sequence", "4"];
    let url = ["--log", "https://log.example/", "--log-key", "log.key"];
    place.refuses(&[&words[..], &url].concat(), 2, &["in its directory"]);
    publish_(&["--sequence", "4"]);
    let revoke = ["publish", "--revoke", "release/statement.json", "--reason", "a hole"];
    let more = ["--key", "publisher.key", "--output", "/dev/full"];
    place.refuses(&[&revoke[..], &more].concat(), 2, &["`/dev/full` is no place for a file"]);
    assert!(!fs::metadata("/dev/full").unwrap().is_file());
}

#[test]
fn a_statement_is_logged_later_and_its_proof_renewed() {
    let place = place();
    publish(&place, &["--sequence", "1"]);
    let bundle = "release/statement.sigstore.json";
    assert!(Bundle::from_json(&fs::read(place.path(bundle)).unwrap()).unwrap().logged.is_none());
    let append = ["log", "append", "LOG", "--key", "log.key", "--public-key"];
    place.refuses(&[&append[..], &["rebuilder.pem", bundle]].concat(), 1, &["rebuilder.pem"]);
    place.write("rebuilder.pem", key(2).public().to_string());
    place.refuses(&[&append[..], &["rebuilder.pem", bundle]].concat(), 10, &["not signed by"]);
    place.succeeds(&[&append[..], &["publisher.pem", bundle]].concat());
    assert_eq!(logged(&place, bundle, key(1).public()).logged.unwrap().proof.index, 0);
    // An envelope by itself gets a bundle.
    let envelope = Envelope::sign(b"{}".to_vec(), &key(2)).unwrap();
    place.write("other.json", envelope.to_json().unwrap());
    place.succeeds(&[&append[..], &["rebuilder.pem", "other.json"]].concat());
    assert_eq!(logged(&place, "other.sigstore.json", key(2).public()).envelope, envelope);
    let vkey = log_key().verifier().to_string();
    place.succeeds(&["log", "staple", "LOG", "--log", &vkey, bundle]);
    let proof = logged(&place, bundle, key(1).public()).logged.unwrap().proof;
    assert_eq!((proof.index, proof.tree_head().unwrap().size), (0, 2));
    let entry = Entry::of(&envelope, key(2).public()).unwrap();
    assert!(entry.is_of(&envelope));
}

#[test]
fn statements_are_superseded_and_revoked() {
    let place = place();
    let first = publish(&place, &["--sequence", "4"]);
    for (sequence, word) in [("4", "number 4"), ("3", "number 4")] {
        let words = ["publish", "release", "--key", "publisher.key", "--sequence", sequence];
        place.refuses(&words, 2, &[word]);
    }
    let old = "release/statement.json";
    let words = ["--sequence", "5", "--supersedes", old, "--revokes", "release/statement.json=a=b"];
    publish(&place, &words);
    let second = Statement::<Launch>::from_json(place.read(old).as_bytes()).unwrap().predicate;
    assert_eq!(second.supersedes[0].to_string(), first["statement"].as_str().unwrap());
    assert_eq!(
        (second.revokes[0].statement, &*second.revokes[0].reason),
        (second.supersedes[0], "a=b")
    );
    // By itself, by the bundle.
    let by_itself =
        ["publish", "--key", "publisher.key", "--revoke", "release/statement.sigstore.json"];
    place.refuses(&by_itself, 2, &["--reason"]);
    place.succeeds(
        &[&by_itself[..], &["--reason", "a hole", "-o", "no.sigstore.json"], &LOG].concat(),
    );
    let bundle = logged(&place, "no.sigstore.json", key(1).public());
    let revocation = Statement::<Revocation>::from_json(&bundle.envelope.payload).unwrap();
    assert_eq!(revocation.predicate.revokes[0].statement, Sha256::of(place.read(old)));
}

#[test]
fn a_release_that_does_not_hold_is_not_published() {
    let place = place();
    let publish = ["publish", "release", "--key", "publisher.key", "--sequence", "1"];
    place.write("release/image/cmdline", "console=ttyS1");
    place.refuses(&[&publish[..], &LOG].concat(), 10, &["image/cmdline"]);
    let untouched = |place: &Place| {
        assert!(!place.path("release/statement.json").exists());
        assert!(place.read("LOG/checkpoint").starts_with("log.example.org\n0\n"));
    };
    untouched(&place);
    copy(&release(), &place.path("release"));
    let other = p384::SecretKey::from_slice(&[1; 48]).unwrap();
    place.write("p384.key", other.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes());
    let with = |key| [&["publish", "release", "--sequence", "1", "--key", key], &LOG[..]].concat();
    place.refuses(&with("p384.key"), 10, &["expected ECDSA on P-256", "openssl ecparam"]);
    place.refuses(&with("log.key"), 30, &["no PEM block"]);
    place.refuses(&with("nothing.key"), 1, &["nothing.key"]);
    place.refuses(&[&publish[..], &["--builder-id", "me"]].concat(), 2, &["`me`", "URI"]);
    place.refuses(&[&publish[..], &["--valid-for", "0d"]].concat(), 2, &["0d"]);
    place.refuses(&[&publish[..], &["--valid-until", "2020-01-01"]].concat(), 2, &["ends at"]);
    place.refuses(&[&publish[..], &["--supersedes", "log.key"]].concat(), 30, &["no statement"]);
    untouched(&place);
}

#[test]
fn a_command_signs_in_the_place_of_a_key() {
    let place = place();
    let with = |command, sequence| {
        let words = ["publish", "release", "--sequence", sequence, "--public-key", "publisher.pem"];
        [&words[..], &["--signer", command]].concat()
    };
    for (command, code, words) in [
        ("exit 3", 1, &["exit status: 3", "said nothing"][..]),
        ("echo the PIN is wrong >&2; false", 1, &["exit status: 1", "the PIN is wrong"]),
        ("printf rubbish", 10, &["7 bytes that are no signature"]),
        ("kill -9 $$", 1, &["signal: 9"]),
        ("openssl dgst -sha256 -sign rebuilder.key", 10, &["with another key"]),
        ("openssl dgst -sha256 -sign publisher.key /dev/null", 10, &["something else"]),
        ("openssl dgst -sha512 -sign publisher.key", 10, &["something else"]),
        ("no-such-program", 1, &["exit status: 127", "not found"]),
    ] {
        place.refuses(&with(command, "1"), code, words);
        assert!(!place.path("release/statement.json").exists(), "{command}");
    }
    place.refuses(
        &["publish", "release", "--sequence", "1", "--signer", "true"],
        2,
        &["--public-key"],
    );
    place.succeeds(&with("openssl dgst -sha256 -sign publisher.key", "1"));
    let path = place.path("release/statement.sigstore.json");
    let bundle = Bundle::from_json(&fs::read(&path).unwrap()).unwrap();
    bundle.envelope.verify(&key(1).public()).unwrap();
}

/// An append makes a checkpoint that nobody has cosigned yet. A proof by it is worth less to whoever asks for
/// witnesses than the one that is there.
#[test]
fn a_staple_loses_no_cosignature_unsaid() {
    let place = Place::new();
    place.write("log.key", log_key().to_text().as_str());
    place.write("signer.pem", key(2).public().to_pem());
    place.succeeds(&["log", "init", "LOG", "--key", "log.key"]);
    let append = |name: &str| {
        let envelope = Envelope::sign(format!("\"{name}\"").into_bytes(), &key(2)).unwrap();
        place.write(&format!("{name}.json"), envelope.to_json().unwrap());
        let words = ["log", "append", "LOG", "--key", "log.key", "--public-key", "signer.pem"];
        place.succeeds(&[&words[..], &[&format!("{name}.json")]].concat());
    };
    let names = ["w1.example", "w2.example", "w3.example"];
    let cosigned_by = |names: &[&str]| {
        let note = Note::parse(&place.read("LOG/checkpoint")).unwrap();
        let line = |name: &&str| {
            let witness = SignerKey::from_seed(name, Algorithm::Ed25519Cosignature, [5; 32]);
            cosign(&note, &witness.unwrap(), 1_700_000_000).unwrap()
        };
        let lines: Vec<_> = names.iter().map(line).collect();
        assert!(add_signatures(&place.path("LOG"), &note.text, &lines).unwrap());
    };
    let vkey = log_key().verifier().to_string();
    let staple = ["log", "staple", "LOG", "--log", &vkey];
    let bundles = ["two.sigstore.json", "one.sigstore.json"];
    let staple_both = [&staple[..], &bundles].concat();
    append("one");
    cosigned_by(&names);
    place.succeeds(&[&staple[..], &["one.sigstore.json"]].concat());

    // The second has no cosignatures to lose, and stands first: it, too, stays as it is.
    append("two");
    append("three");
    cosigned_by(&names[..1]);
    let files = || {
        let all = ["one.sigstore.json", "one.tlog-proof", "two.sigstore.json", "two.tlog-proof"];
        all.map(|name| place.read(name))
    };
    let before = files();
    let ran = place.refuses(
        &staple_both,
        20,
        &[
            "`one.sigstore.json`",
            "`w2.example`, `w3.example`",
            "counterfoil log witness",
            "--anyway",
        ],
    );
    assert!(!ran.stderr.contains("w1.example") && !ran.stderr.contains("`two"), "{}", ran.stderr);
    assert_eq!(files(), before);

    // Another witness is no loss.
    cosigned_by(&["w2.example", "w3.example", "w4.example"]);
    place.succeeds(&staple_both);
    let signatures = || {
        let proof = logged(&place, "one.sigstore.json", key(2).public()).logged.unwrap().proof;
        (proof.tree_head().unwrap().size, proof.checkpoint.signatures.len())
    };
    assert_eq!(signatures(), (3, 5));
    append("four");
    place.refuses(&staple_both, 20, &["`two.sigstore.json`", "`w4.example`"]);
    place.succeeds(&[&staple_both[..], &["--anyway"]].concat());
    assert_eq!(signatures(), (4, 1));
}
