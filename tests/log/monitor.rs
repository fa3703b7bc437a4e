//! `log monitor`: what it tells, and what it does not go on from.

use std::fs;

use counterfoil::log::submit::{Submission, submit};
use counterfoil::log::{Algorithm, SignerKey};
use counterfoil::statement::dsse::Envelope;
use counterfoil::statement::intoto::{Statement, Subject};
use counterfoil::statement::key::PrivateKey;
use counterfoil::statement::launch::Launch;
use counterfoil::statement::provenance::{
    BuildDefinition, Builder, FirstDifference, Metadata, Parameters, Provenance, REBUILD,
    RunDetails, Target, Tool, Verdict,
};
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

use crate::place::{Keeper, entry, key};
use crate::support::place::{Ran, copy};

/// The statement of a release, as it was published.
const STATEMENT: &[u8] = include_bytes!("../publish/statement.json");

fn publisher() -> PrivateKey {
    secret(5)
}

fn secret(number: u8) -> PrivateKey {
    let pem = SecretKey::from_slice(&[number; 32]).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
    PrivateKey::from_pem(pem.as_bytes().to_vec()).unwrap()
}

fn monitor(keeper: &Keeper, log: &str, more: &[&str]) -> Ran {
    let arguments = ["log", "monitor", log, "--log", "vkey", "--state", "state"];
    keeper.place.run(&[&arguments[..], more].concat())
}

#[test]
fn another_past_is_told_and_not_gone_on_from() {
    let keeper = Keeper::new();
    keeper.append((0..300).map(entry));
    copy(&keeper.log(), &keeper.place.path("fork"));
    copy(&keeper.log(), &keeper.place.path("before"));
    keeper.append((300..310).map(entry));
    let ran = monitor(&keeper, "LOG", &[]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "log.example.org/test: 310 entries, 310 new\n")
    );
    assert!(monitor(&keeper, "LOG", &[]).stdout.ends_with("310 entries, 0 new\n"));
    let state = keeper.place.read("state");
    keeper.place.write("lines", "another\n".repeat(10));
    keeper.place.succeeds(&["log", "append", "fork", "--key", "key", "--entries", "lines"]);
    for (log, reason) in [("fork", "log-split-view"), ("before", "log-rollback")] {
        let ran = monitor(&keeper, log, &[]);
        assert_eq!(ran.code, 10, "{}", ran.stderr);
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
        assert_eq!(keeper.place.read("state"), state);
    }
    keeper.append((310..320).map(entry));
    assert!(monitor(&keeper, "LOG", &[]).stdout.ends_with("320 entries, 10 new\n"));
}

/// What a rebuilder says of the release in [`STATEMENT`].
fn rebuild(builder: &PrivateKey, differs: bool) -> Submission {
    let statement = Statement::<Launch>::from_json(STATEMENT).unwrap().predicate;
    let verdict = Verdict {
        matches: !differs,
        measured: !differs,
        measurements: statement.measurements,
        files: Vec::new(),
        not_compared: Vec::new(),
        first_difference: differs.then(|| FirstDifference {
            cause: "other-file".to_owned(),
            place: "initrd:/init".to_owned(),
            what: "other bytes".to_owned(),
        }),
    };
    let (recipe, launch_record) = (statement.recipe, statement.launch_record);
    let said = Statement {
        subjects: vec![Subject::of("image/kernel", b"kernel")],
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: REBUILD.to_owned(),
                external_parameters: Parameters {
                    recipe,
                    target: Some(Target { launch_record, statement: None }),
                },
                resolved_dependencies: Vec::new(),
            },
            run_details: RunDetails {
                builder: Builder {
                    id: "https://builder.example/".to_owned(),
                    version: Tool {
                        counterfoil: "0.1.0".to_owned(),
                        tool_digest: "sha256:0".to_owned(),
                    },
                },
                metadata: Some(Metadata { finished_on: "2026-11-22".parse().unwrap() }),
                byproducts: vec![verdict.resource().unwrap()],
            },
        },
    };
    let envelope = Envelope::sign(said.to_json().unwrap(), builder).unwrap();
    Submission { envelope, key: builder.public(), about: Vec::new() }
}

#[test]
fn who_rebuilt_it_and_who_got_something_else() {
    let keeper = Keeper::new();
    let place = &keeper.place;
    let log = |submission| drop(submit(&keeper.log(), &key(), &[submission]).unwrap());
    let stated = Envelope::sign(STATEMENT.to_vec(), &publisher()).unwrap();
    let stated = Submission { envelope: stated, key: publisher().public(), about: Vec::new() };
    // A word that comes before what it is about is not lost.
    log(rebuild(&secret(7), false));
    log(stated);
    assert_eq!(monitor(&keeper, "LOG", &["--days", "0"]).code, 0);
    // But it may be nobody's whose word counts.
    let builder = |key: &PrivateKey| format!("builder B {}\nrebuild-quorum B\n", key.public());
    let log_line = format!("log {}\nquorum none\n", self::key().verifier());
    place.write("trust.policy", log_line.clone() + &builder(&secret(8)));
    let trusted = || {
        let words = ["log", "monitor", "LOG", "--state", "state", "--days", "0"];
        place.run(&[&words[..], &["--trust", "trust.policy"]].concat())
    };
    let ran = trusted();
    assert!(ran.code == 10 && ran.stdout.contains("log-not-rebuilt: entry 1"), "{ran:?}");
    let good = log_line.clone() + &builder(&secret(7));
    place.write("trust.policy", &good);
    assert_eq!(trusted().code, 0);
    // The policy's witnesses must have seen the log.
    let witness =
        SignerKey::from_seed("w.example", Algorithm::Ed25519Cosignature, [5; 32]).unwrap();
    let witnessed = format!("witness W {}\nquorum W\n", witness.verifier());
    place.write("trust.policy", good.replace("quorum none\n", &witnessed));
    let ran = trusted();
    assert!(ran.code == 10 && ran.stdout.contains("witness-quorum"), "{ran:?}");
    log(rebuild(&secret(9), true));
    let ran = monitor(&keeper, "LOG", &[]);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(
        ran.stdout.contains("log-disagreement: entry 2: `https://builder.example/`"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("`initrd:/init`: other bytes"), "{ran:?}");
    assert_eq!(monitor(&keeper, "LOG", &[]).code, 0, "told once");
}

#[test]
fn what_i_did_not_sign_and_what_nobody_rebuilt() {
    let keeper = Keeper::new();
    let place = &keeper.place;
    place.write("pub.pem", publisher().public().to_pem());
    place.write("mine/notes.txt", "nothing that was signed");
    let envelope = Envelope::sign(STATEMENT.to_vec(), &publisher()).unwrap();
    let digest = envelope.digest();
    let submission = Submission { envelope, key: publisher().public(), about: Vec::new() };
    submit(&keeper.log(), &key(), &[submission]).unwrap();
    let mine = ["--key", "pub.pem", "--mine", "mine"];
    let ran = monitor(&keeper, "LOG", &mine);
    assert_eq!(ran.code, 10);
    assert!(ran.stdout.contains("log-not-mine: entry 0 "), "{}", ran.stdout);
    assert_eq!(monitor(&keeper, "LOG", &mine).code, 0, "told once");
    fs::remove_file(place.path("state")).unwrap();
    place.write("mine/statement.json", STATEMENT);
    assert_eq!(monitor(&keeper, "LOG", &mine).code, 0);
    for _ in 0..2 {
        let ran = monitor(&keeper, "LOG", &["--days", "0"]);
        assert_eq!(ran.code, 10, "{}", ran.stdout);
        assert!(ran.stdout.contains("log-not-rebuilt: entry 0: "), "{}", ran.stdout);
    }
    fs::remove_file(place.path("state")).unwrap();
    place.write(&format!("LOG/statement/{digest}"), "another");
    let ran = monitor(&keeper, "LOG", &[]);
    assert!(ran.stdout.contains("log-damaged"), "{}", ran.stdout);
}
