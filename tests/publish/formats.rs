//! One spelling for one thing, and nothing beside it.

use std::fs;
use std::path::Path;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::log::entry::{Entry, EntryError};
use counterfoil::log::{Checkpoint, Proof, merkle};
use counterfoil::statement::bundle::{Bundle, BundleError};
use counterfoil::statement::dsse::{DsseError, Envelope};
use counterfoil::statement::intoto::{Digests, Statement, StatementError, Subject, predicate_type};
use counterfoil::statement::launch::{Launch, MAX, Recipe};
use counterfoil::statement::provenance::{
    BUILD, BuildDefinition, Builder, FirstDifference, Metadata, Parameters, Provenance, REBUILD,
    RunDetails, Target, Tool, Verdict,
};
use counterfoil::statement::trusted_root;
use counterfoil::statement::vsa::{self, Input, Summary, VerificationResult, Verifier};

use super::{key, log_key, statement};

/// The bytes of a statement are what is signed and what its SHA-256 names it by: they must not move. If this fails,
/// the form has changed, and `v1` must not.
#[test]
fn the_bytes_of_a_statement_stay() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/publish/statement.json");
    let found = statement().to_json().unwrap();
    let expected = fs::read(&path).unwrap_or_default();
    assert_eq!(
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(&expected),
        "{}",
        path.display()
    );
    assert_eq!(Statement::<Launch>::from_json(&found).unwrap(), statement());
    assert_eq!(predicate_type(&found).unwrap(), "urn:counterfoil:snp-launch:v1");
}

#[test]
fn a_launch_digest_is_no_digest_of_a_file() {
    let statement = statement();
    let measured: Vec<Sha384> =
        statement.predicate.digests().map(|(_, row)| row.launch_digest).collect();
    assert!(!measured.is_empty());
    let subjects = serde_json::to_string(&statement.subjects).unwrap();
    assert!(measured.iter().all(|digest| !subjects.contains(&digest.to_string())));
}

/// What a strict reader must not take, each of them from a statement that it does.
#[test]
fn a_statement_has_one_spelling() {
    let good = String::from_utf8(statement().to_json().unwrap()).unwrap();
    let edits = [
        ("a space", "\"subject\":[", "\"subject\": ["),
        ("a newline at the end", "}}", "}}\n"),
        ("a field that is not ours", "{\"release\":", "{\"more\":1,\"release\":"),
        (
            "a name twice",
            "{\"release\":\"small\",",
            "{\"release\":\"other\",\"release\":\"small\",",
        ),
        ("another order", "\"sequence\":7,", ""),
        ("a fraction", "\"sequence\":7,", "\"sequence\":7.0,"),
        ("a number too large for others", "\"sequence\":7,", "\"sequence\":9007199254740992,"),
        ("a number below zero", "\"sequence\":7,", "\"sequence\":-7,"),
        ("a date by itself", "\"2026-11-22T12:00:00Z\"", "\"2026-11-22\""),
        ("another spelling of a letter", "small", "sm\\u0061ll"),
        ("digits in upper case", "\"0x30000\"", "\"0X30000\""),
        ("an end before the beginning", "2027-02-20", "2025-02-20"),
        ("another type", "in-toto.io/Statement/v1", "in-toto.io/Statement/v2"),
        ("another predicate", "snp-launch:v1", "snp-launch:v2"),
        ("a reason of nothing", "its kernel \\\"has\\\" a hole: ü", " "),
        ("two of one name", "image/volumes/model.img", "image/kernel"),
        ("null for nothing", "\"supersedes\":[", "\"supersedes\":null,\"x\":["),
    ];
    for (what, from, to) in edits {
        let edited = match what {
            "a newline at the end" => format!("{good}\n"),
            _ => good.replacen(from, to, 1),
        };
        assert_ne!(edited, good, "{what}");
        assert!(Statement::<Launch>::from_json(edited.as_bytes()).is_err(), "{what}");
    }
    assert!(Statement::<Launch>::from_json(b"").is_err());
    assert!(Statement::<Launch>::from_json(&b"[".repeat(100_000)).is_err());
}

#[test]
fn a_statement_is_refused_when_it_would_not_fit_a_log() {
    let mut large = statement();
    let row = large.predicate.measurements[0].launches[0].clone();
    let mut vcpus = 100;
    loop {
        vcpus += 1;
        let launches = &mut large.predicate.measurements[0].launches;
        launches.push(counterfoil::statement::launch::LaunchDigest { vcpus, ..row.clone() });
        match large.to_json() {
            Ok(json) => assert!(json.len() <= MAX),
            Err(StatementError::Size { size, max }) => {
                assert!(size > MAX && max == MAX);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    // An image of many launches fits.
    assert!(vcpus > 300, "{vcpus}");
    let mut twice = statement();
    let row = twice.predicate.measurements[0].launches[0].clone();
    twice.predicate.measurements[0].launches.push(row);
    assert!(matches!(twice.to_json(), Err(StatementError::Says(_))));
    let mut none = statement();
    none.predicate.measurements.clear();
    assert!(matches!(none.to_json(), Err(StatementError::Says(_))));
    none = Statement { subjects: Vec::new(), ..statement() };
    assert!(matches!(none.to_json(), Err(StatementError::NoSubject)));
}

/// Whatever bit of an envelope is flipped, it is another envelope, or none: never one that the key signed.
#[test]
fn no_bit_of_an_envelope_is_without_meaning() {
    let key = key(1);
    let payload = br#"{"_type":"https://in-toto.io/Statement/v1"}"#.to_vec();
    let envelope = Envelope::sign(payload.clone(), &key).unwrap();
    let json = envelope.to_json().unwrap();
    assert_eq!(Envelope::from_json(&json).unwrap(), envelope);
    assert_eq!(envelope.verify(&key.public()).unwrap(), payload);
    for at in 0..json.len() * 8 {
        let mut flipped = json.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let held = Envelope::from_json(&flipped).is_ok_and(|it| it.verify(&key.public()).is_ok());
        assert!(!held, "bit {at}: {}", String::from_utf8_lossy(&flipped));
    }
}

#[test]
fn an_envelope_has_one_form() {
    let key = key(1);
    let envelope = Envelope::sign(b"{}".to_vec(), &key).unwrap();
    let good = String::from_utf8(envelope.to_json().unwrap()).unwrap();
    // What others write and nobody signs.
    let with_name = good.replace("{\"sig\":", "{\"keyid\":\"whoever\",\"sig\":");
    assert_eq!(Envelope::from_json(with_name.as_bytes()).unwrap(), envelope);
    let refused = |from: &str, to: &str| {
        let edited = good.replacen(from, to, 1);
        assert_ne!(edited, good);
        Envelope::from_json(edited.as_bytes()).unwrap_err()
    };
    assert!(matches!(refused("vnd.in-toto+json", "json"), DsseError::PayloadType(_)));
    assert!(matches!(refused("e30=", "e30"), DsseError::Base64("payload")));
    assert!(matches!(refused("e30=", "e31="), DsseError::Base64("payload")));
    assert!(matches!(refused("[{", "[{\"sig\":\"\"},{"), DsseError::Signatures(2)));
    assert!(matches!(
        refused("{\"payload\":", "{\"payload\":\"\",\"payload\":"),
        DsseError::Json(_)
    ));
    assert!(matches!(refused("{\"payload\":", "{\"x\":1,\"payload\":"), DsseError::Json(_)));
    assert!(matches!(refused("\"sig\":\"M", "\"sig\":\"N"), DsseError::Signature(_)));
    let other = super::key(2).public();
    assert!(matches!(envelope.verify(&other), Err(DsseError::Unsigned(_))));
    let signature = envelope.signature;
    assert!(Envelope::signed(b"{}".to_vec(), signature, &key.public()).is_ok());
    assert!(Envelope::signed(b"{} ".to_vec(), signature, &key.public()).is_err());
}

#[test]
fn an_entry_is_canonical_and_signed() {
    let key = key(1);
    let envelope = Envelope::sign(statement().to_json().unwrap(), &key).unwrap();
    let entry = Entry::of(&envelope, key.public()).unwrap();
    let body = entry.to_body().unwrap();
    assert_eq!(Entry::from_body(&body).unwrap(), entry);
    assert!(entry.is_of(&envelope));
    // RFC 8785: names in order, no spaces. serde_json's own map, ordered, is another writer of that.
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, ordered(&value).as_bytes());
    assert!(Entry::of(&envelope, super::key(2).public()).is_err());
    for at in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(Entry::from_body(&flipped).is_err(), "bit {at}");
    }
    let text = String::from_utf8(body).unwrap();
    let refused = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text);
        Entry::from_body(edited.as_bytes()).unwrap_err()
    };
    assert!(matches!(refused("{\"api", " {\"api"), EntryError::NotCanonical));
    assert!(matches!(refused("0.0.2", "0.0.1"), EntryError::Kind { .. }));
    assert!(matches!(refused("hashedrekord\"", "dsse\""), EntryError::Kind { .. }));
    assert!(matches!(refused("P256_SHA_256", "P384_SHA_384"), EntryError::Kind { .. }));
}

/// JSON with names in order.
fn ordered(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields =
                fields.iter().map(|(name, value)| format!("\"{name}\":{}", ordered(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[test]
fn a_bundle_says_nothing_twice() {
    let (key, log) = (key(1), log_key());
    let envelope = Envelope::sign(statement().to_json().unwrap(), &key).unwrap();
    let bare = Bundle::new(envelope.clone(), &key.public());
    assert_eq!(Bundle::from_json(&bare.to_json().unwrap()).unwrap(), bare);
    let leaf = merkle::leaf(&Entry::of(&envelope, key.public()).unwrap().to_body().unwrap());
    let other = merkle::leaf(b"other");
    let root = merkle::node(&other, &leaf);
    let head =
        Checkpoint { origin: "log.example.org".to_owned(), size: 2, root, extensions: Vec::new() };
    let checkpoint = head.sign(&log).unwrap();
    let proof = Proof { extra: None, index: 1, hashes: vec![other], checkpoint };
    let bundle = bare.with_proof(key.public(), log.verifier(), proof.clone()).unwrap();
    let json = bundle.to_json().unwrap();
    assert_eq!(Bundle::from_json(&json).unwrap(), bundle);
    // The same proof in both forms.
    let again = bundle.logged.clone().unwrap().proof.to_string();
    assert_eq!(Proof::parse(&again).unwrap(), proof);
    let text = String::from_utf8(json).unwrap();
    let refused = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        Bundle::from_json(edited.as_bytes()).unwrap_err()
    };
    assert!(matches!(refused("v0.3+json", "v0.2+json"), BundleError::MediaType(_)));
    assert!(matches!(
        refused("\"logIndex\":\"1\"", "\"logIndex\":\"0\""),
        BundleError::Twofold("logIndex")
    ));
    assert!(matches!(refused("\"logIndex\":\"1\",", ""), BundleError::Twofold("logIndex")));
    assert!(matches!(
        refused("\"logIndex\":\"1\"", "\"logIndex\":\"01\""),
        BundleError::Number { .. }
    ));
    assert!(matches!(
        refused("\"treeSize\":\"2\"", "\"treeSize\":\"3\""),
        BundleError::Twofold("treeSize")
    ));
    assert!(matches!(
        refused("\"version\":\"0.0.2\"", "\"version\":\"0.0.1\""),
        BundleError::Kind { .. }
    ));
    assert!(matches!(refused("{\"mediaType\"", "{\"x\":1,\"mediaType\""), BundleError::Json(_)));
    assert!(matches!(
        refused("log.example.org\\n2\\n", "log.example.org\\n3\\n"),
        BundleError::Twofold(_)
    ));
    let stranger = Envelope::sign(b"{}".to_vec(), &key).unwrap();
    let mixed = Bundle { envelope: stranger, ..bundle };
    assert!(matches!(Bundle::from_json(&mixed.to_json().unwrap()), Err(BundleError::Other(_))));
}

#[test]
fn a_log_is_known_to_sigstore_by_its_host() {
    use counterfoil::log::{Algorithm, SignerKey};
    let named = |name, algorithm| {
        trusted_root::write(&[SignerKey::from_seed(name, algorithm, [9; 32])
            .unwrap()
            .verifier()
            .clone()])
    };
    assert!(named("log.example.org", Algorithm::Ed25519).is_ok());
    for name in ["log.example.org/2026", "log.example.org:80", "Log.example.org", ".x", "a_b"] {
        assert!(named(name, Algorithm::Ed25519).is_err(), "{name}");
    }
    assert!(named("log.example.org", Algorithm::Ed25519Cosignature).is_err());
}

fn tool() -> Tool {
    Tool { counterfoil: "0.1.0".to_owned(), tool_digest: "sha256:00".to_owned() }
}

fn provenance(verdict: Option<&Verdict>) -> Statement<Provenance> {
    let digest = |text: &str| Digests::sha256(Sha256::of(text));
    let is_rebuild = verdict.is_some();
    let target = Target { launch_record: digest("record"), statement: Some(digest("statement")) };
    Statement {
        subjects: vec![Subject::of("image/kernel", b"kernel")],
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: if is_rebuild { REBUILD } else { BUILD }.to_owned(),
                external_parameters: Parameters {
                    recipe: Recipe { manifest: digest("manifest"), lock: digest("lock") },
                    target: is_rebuild.then_some(target),
                },
                resolved_dependencies: Vec::new(),
            },
            run_details: RunDetails {
                builder: Builder { id: "https://builder.example/x".to_owned(), version: tool() },
                metadata: is_rebuild
                    .then(|| Metadata { finished_on: "2026-11-22".parse().unwrap() }),
                byproducts: verdict.iter().map(|verdict| verdict.resource().unwrap()).collect(),
            },
        },
    }
}

#[test]
fn a_rebuild_has_a_verdict_and_nothing_else_has() {
    let verdict = Verdict {
        matches: false,
        measured: false,
        measurements: statement().predicate.measurements,
        files: vec!["image/kernel".to_owned()],
        not_compared: Vec::new(),
        first_difference: Some(FirstDifference {
            cause: "content".to_owned(),
            place: "image/kernel".to_owned(),
            what: "1 → 2".to_owned(),
        }),
    };
    let rebuild = provenance(Some(&verdict));
    let json = rebuild.to_json().unwrap();
    let read = Statement::<Provenance>::from_json(&json).unwrap();
    assert_eq!(read, rebuild);
    assert_eq!(read.predicate.verdict().unwrap().unwrap(), verdict);
    let build = provenance(None);
    assert_eq!(Statement::<Provenance>::from_json(&build.to_json().unwrap()).unwrap(), build);
    let refuses = |change: fn(&mut Provenance)| {
        let mut changed = rebuild.clone();
        change(&mut changed.predicate);
        assert!(matches!(changed.to_json(), Err(StatementError::Says(_))));
    };
    refuses(|it| it.run_details.byproducts.clear());
    refuses(|it| it.run_details.metadata = None);
    refuses(|it| it.build_definition.build_type = BUILD.to_owned());
    refuses(|it| it.build_definition.build_type = "urn:other".to_owned());
    refuses(|it| it.build_definition.external_parameters.target = None);
    refuses(|it| it.run_details.builder.id = "somebody".to_owned());
    refuses(|it| it.run_details.byproducts[0].content = Some("e30=".to_owned()));
    refuses(|it| it.run_details.byproducts[0].content = None);
    refuses(|it| {
        let bytes = b"{}";
        it.run_details.byproducts[0].content = Some("e30=".to_owned());
        it.run_details.byproducts[0].digest = Digests::sha256(Sha256::of(bytes));
    });
}

#[test]
fn a_summary_reaches_its_level_by_two_builders() {
    let input = |text: &str| Input { uri: None, digest: Digests::sha256(Sha256::of(text)) };
    let summary = Summary {
        verifier: Verifier { id: "https://verifier.example".to_owned(), version: tool() },
        time_verified: "2026-11-22".parse().unwrap(),
        resource_uri: "urn:example:release".to_owned(),
        policy: Input { uri: Some("urn:example:policy".to_owned()), ..input("policy") },
        input_attestations: vec![input("a"), input("b")],
        verification_result: VerificationResult::Passed,
        verified_levels: vec![vsa::REPRODUCED.to_owned()],
    };
    let subjects = vec![Subject::of("image/kernel", b"kernel")];
    let statement = Statement { subjects, predicate: summary };
    let json = statement.to_json().unwrap();
    assert_eq!(Statement::<Summary>::from_json(&json).unwrap(), statement);
    let refuses = |change: fn(&mut Summary)| {
        let mut changed = statement.clone();
        change(&mut changed.predicate);
        assert!(matches!(changed.to_json(), Err(StatementError::Says(_))));
    };
    refuses(|it| it.input_attestations.truncate(1));
    refuses(|it| it.policy.uri = None);
    refuses(|it| it.verified_levels.clear());
    refuses(|it| it.verified_levels = vec!["SLSA_BUILD_LEVEL_3".to_owned()]);
    refuses(|it| it.verification_result = VerificationResult::Failed);
}
