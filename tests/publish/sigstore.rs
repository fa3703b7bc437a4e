//! Held against Sigstore's own verifiers, without a network: our bundles are taken, and what was tampered with is
//! not.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};

use super::command::{LOG, place, publish};
use super::log_key;
use super::support::debian;
use super::support::place::Place;

const STATEMENT: &str = "release/statement.sigstore.json";
const PROVENANCE: &str = "release/provenance.sigstore.json";

/// A published release, with what Sigstore's verifiers need to know.
fn published() -> Place {
    let place = place();
    publish(&place, &[&["--sequence", "1"][..], &LOG].concat());
    let vkey = log_key().verifier().to_string();
    let root = place.succeeds(&["log", "trusted-root", "--log", &vkey]);
    place.write("trusted_root.json", root.stdout);
    place
}

fn cosign(cosign: &Command, place: &Place, kind: &str, bundle: &str, artifact: &str) -> Output {
    let words = ["verify-blob-attestation", "--key", "publisher.pem"];
    let words = [&words[..], &["--trusted-root", "trusted_root.json", "--type", kind]].concat();
    debian::offline(cosign)
        .args(words)
        .args(["--bundle", bundle, artifact])
        .current_dir(place.root())
        .env("HOME", place.root())
        .output()
        .unwrap()
}

#[track_caller]
fn accepts(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(name)).unwrap()).unwrap()
}

/// The bundle, changed in every part that something signs.
fn tampered(bundle: &Value) -> Vec<(&'static str, Value)> {
    let entry = "/verificationMaterial/tlogEntries/0";
    let at = |rest: &str| format!("{entry}{rest}");
    let flipped = |pointer: &str, byte: usize| {
        let mut changed = bundle.clone();
        let value = changed.pointer_mut(pointer).unwrap();
        let mut bytes = Base64::decode_vec(value.as_str().unwrap()).unwrap();
        bytes[byte] ^= 1;
        *value = Base64::encode_string(&bytes).into();
        changed
    };
    let edited = |pointers: &[&str], change: fn(&str) -> String| {
        let mut changed = bundle.clone();
        for pointer in pointers {
            let value = changed.pointer_mut(pointer).unwrap();
            let new = change(value.as_str().unwrap());
            assert_ne!(value.as_str().unwrap(), new);
            *value = new.into();
        }
        changed
    };
    let (index, again) = (at("/logIndex"), at("/inclusionProof/logIndex"));
    let checkpoint = at("/inclusionProof/checkpoint/envelope");
    let mut unlogged = bundle.clone();
    unlogged["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries");
    vec![
        ("payload", flipped("/dsseEnvelope/payload", 200)),
        ("signature", flipped("/dsseEnvelope/signatures/0/sig", 12)),
        ("hash", flipped(&at("/inclusionProof/hashes/0"), 0)),
        ("log", flipped(&at("/logId/keyId"), 0)),
        ("index", edited(&[&index, &again], |_| "1".to_owned())),
        ("size", edited(&[&checkpoint], |text| text.replacen("\n2\n", "\n3\n", 1))),
        ("origin", edited(&[&checkpoint], |text| text.replace("log.example", "log2.example"))),
        (
            "checkpoint",
            edited(&[&checkpoint], |text| {
                // Another letter of its signature.
                let at = text.len() - 20;
                let other = if &text[at..=at] == "A" { "B" } else { "A" };
                format!("{}{other}{}", &text[..at], &text[at + 1..])
            }),
        ),
        ("no entry", unlogged),
    ]
}

#[test]
fn cosign_takes_our_bundles_and_nothing_else() {
    let Some(program) = debian::program("cosign") else { return };
    let place = published();
    let launch = "urn:counterfoil:snp-launch:v1";
    let kernel = "release/image/kernel";
    for artifact in [kernel, "release/image/initrd", "release/lock.yaml"] {
        accepts(&cosign(&program, &place, launch, STATEMENT, artifact));
    }
    let slsa = "https://slsa.dev/provenance/v1";
    accepts(&cosign(&program, &place, slsa, PROVENANCE, kernel));
    // Another file, another kind of statement, another key.
    assert!(!cosign(&program, &place, launch, STATEMENT, "log.key").status.success());
    assert!(!cosign(&program, &place, slsa, STATEMENT, kernel).status.success());
    for (what, bundle) in tampered(&read(&place, STATEMENT)) {
        place.write("tampered.json", bundle.to_string());
        let output = cosign(&program, &place, launch, "tampered.json", kernel);
        assert!(!output.status.success(), "{what}");
    }
    place.write("publisher.pem", super::key(2).public().to_pem());
    assert!(!cosign(&program, &place, launch, STATEMENT, kernel).status.success());
}

/// Its program asks for the time of a signature, of a key's too, so openssl says one.
#[test]
fn sigstore_go_takes_our_bundle_and_nothing_else() {
    let Some(program) = debian::program("sigstore-go-verification") else { return };
    let place = published();
    let authority = authority(place.root());
    let mut root = read(&place, "trusted_root.json");
    root["timestampAuthorities"] = json!([authority]);
    place.write("timed_root.json", root.to_string());
    let verify = |bundle: &Value, artifact: &str| {
        let signature = bundle.pointer("/dsseEnvelope/signatures/0/sig").unwrap();
        let signature = Base64::decode_vec(signature.as_str().unwrap()).unwrap();
        let mut timed = bundle.clone();
        timed["verificationMaterial"]["timestampVerificationData"] =
            json!({"rfc3161Timestamps": [{"signedTimestamp": time(&place, &signature)}]});
        place.write("timed.json", timed.to_string());
        let words = ["-publicKey", "publisher.pem", "-trustedrootJSONpath", "timed_root.json"];
        debian::offline(&program)
            .args(words)
            .args(["-requireCTlog=false", "-artifact", artifact, "timed.json"])
            .current_dir(place.root())
            .output()
            .unwrap()
    };
    let bundle = read(&place, STATEMENT);
    accepts(&verify(&bundle, "release/image/kernel"));
    accepts(&verify(&read(&place, PROVENANCE), "release/image/kernel"));
    assert!(!verify(&bundle, "log.key").status.success());
    for (what, bundle) in tampered(&bundle) {
        assert!(!verify(&bundle, "release/image/kernel").status.success(), "{what}");
    }
}

fn openssl(directory: &Path, words: &str) {
    let words: Vec<_> = words.split(' ').collect();
    let output = Command::new("openssl").args(&words).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority that says the time of signatures (RFC 3161), as a trusted root has it.
fn authority(directory: &Path) -> Value {
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
    write("serial", "01\n");
    write(
        "extensions",
        "extendedKeyUsage=critical,timeStamping\nbasicConstraints=critical,CA:false\n",
    );
    write(
        "tsa.cnf",
        "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\n\
         digests=sha256\ness_cert_id_alg=sha256\n",
    );
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(directory, &format!("{new} -x509 -keyout ca.key -out ca.pem -subj /CN=ca -days 3650"));
    openssl(directory, &format!("{new} -keyout tsa.key -out tsa.csr -subj /CN=tsa"));
    openssl(
        directory,
        "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 3000 -extfile extensions -out tsa.pem",
    );
    let certificate = |name: &str| {
        openssl(directory, &format!("x509 -in {name}.pem -outform DER -out {name}.der"));
        let der = fs::read(directory.join(format!("{name}.der"))).unwrap();
        json!({"rawBytes": Base64::encode_string(&der)})
    };
    json!({
        "subject": {"organization": "a test", "commonName": "tsa"},
        "uri": "https://tsa.example.org",
        "certChain": {"certificates": [certificate("tsa"), certificate("ca")]},
        "validFor": {"start": "1970-01-01T00:00:00Z"},
    })
}

/// What that authority says of these bytes.
fn time(place: &Place, bytes: &[u8]) -> String {
    place.write("signature", bytes);
    openssl(place.root(), "ts -query -data signature -sha256 -cert -out query");
    openssl(
        place.root(),
        "ts -reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey tsa.key -chain ca.pem -out reply",
    );
    Base64::encode_string(&fs::read(place.path("reply")).unwrap())
}
