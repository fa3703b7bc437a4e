//! `log monitor`: what it tells, and what it does not go on from.

use std::fs;

use counterfoil::digest::Sha384;
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
pub(crate) const STATEMENT: &[u8] = include_bytes!("../publish/statement.json");

pub(crate) fn publisher() -> PrivateKey {
    secret(5)
}

pub(crate) fn secret(number: u8) -> PrivateKey {
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

/// What a rebuilder says of the release in [`STATEMENT`]: something else, and that it is something else.
pub(crate) fn rebuild(builder: &PrivateKey, differs: bool) -> Submission {
    rebuild_that(builder, differs, differs)
}

/// Whether the digests are others than the release's, and whether they are said to be.
fn rebuild_that(builder: &PrivateKey, is_other: bool, differs: bool) -> Submission {
    let mut statement = Statement::<Launch>::from_json(STATEMENT).unwrap().predicate;
    if is_other {
        statement.measurements[0].launches[0].launch_digest = Sha384::of("another");
    }
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
    signed(said.to_json().unwrap(), builder)
}

pub(crate) fn signed(payload: Vec<u8>, key: &PrivateKey) -> Submission {
    let envelope = Envelope::sign(payload, key).unwrap();
    Submission { envelope, key: key.public(), about: Vec::new() }
}

/// [`STATEMENT`], with something changed.
pub(crate) fn stated(key: &PrivateKey, change: impl FnOnce(&mut Launch)) -> Submission {
    let mut statement = Statement::<Launch>::from_json(STATEMENT).unwrap();
    change(&mut statement.predicate);
    signed(statement.to_json().unwrap(), key)
}

pub(crate) fn log(keeper: &Keeper, submission: Submission) {
    submit(&keeper.log(), &key(), &[submission]).unwrap();
}

fn count(ran: &Ran, reason: &str) -> usize {
    ran.stdout.matches(&format!("{reason}: ")).count()
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

/// Whoever logs a statement of somebody else's release before him, silences nothing.
#[test]
fn nobody_speaks_for_another_publisher() {
    let keeper = Keeper::new();
    keeper.place.write("pub.pem", publisher().public().to_pem());
    keeper.place.write("mine/statement.json", STATEMENT);
    let never = |launch: &mut Launch| {
        launch.release = "front".to_owned();
        launch.validity.not_before = "9998-01-01".parse().unwrap();
        launch.validity.not_after = "9999-01-01".parse().unwrap();
    };
    log(&keeper, stated(&secret(6), never));
    log(&keeper, stated(&publisher(), |_| {}));
    let mine = ["--key", "pub.pem", "--mine", "mine", "--days", "0"];
    let ran = monitor(&keeper, "LOG", &mine);
    assert_eq!((ran.code, count(&ran, "log-not-rebuilt")), (10, 1), "{ran:?}");
    assert!(ran.stdout.contains("log-not-rebuilt: entry 1: "), "{ran:?}");
    // Whose it is to be believed in 7000 years waits from when it was seen.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let ran = monitor(&keeper, "LOG", &["--days", "0"]);
    assert_eq!(count(&ran, "log-not-rebuilt"), 2, "{ran:?}");
    // One's rebuild is no rebuild of what the other one says.
    log(&keeper, rebuild(&secret(7), false));
    assert_eq!(monitor(&keeper, "LOG", &mine).code, 0);
}

#[test]
fn what_is_not_there_is_not_forgotten() {
    let keeper = Keeper::new();
    let place = &keeper.place;
    let (first, second) = (stated(&publisher(), |_| {}), rebuild(&secret(7), true));
    let beside = |it: &Submission| place.path(&format!("LOG/statement/{}", it.envelope.digest()));
    let (first_file, second_file) = (beside(&first), beside(&second));
    log(&keeper, first);
    log(&keeper, second);
    log(&keeper, stated(&secret(6), |launch| launch.sequence = 99));
    let (first, second) = (fs::read(&first_file).unwrap(), fs::read(&second_file).unwrap());
    fs::remove_file(&first_file).unwrap();
    // One statement that is too large blinds nobody to the others.
    fs::write(&second_file, vec![b' '; (16 << 20) + 1]).unwrap();
    for _ in 0..2 {
        let ran = monitor(&keeper, "LOG", &["--days", "0"]);
        let told = ["log-missing", "log-damaged", "log-not-rebuilt"].map(|it| count(&ran, it));
        assert_eq!((ran.code, told), (10, [1, 1, 1]), "{ran:?}");
    }
    // Nor one that cannot be read at all.
    fs::remove_file(&second_file).unwrap();
    std::os::unix::fs::symlink(&second_file, &second_file).unwrap();
    let ran = monitor(&keeper, "LOG", &[]);
    assert_eq!((ran.code, count(&ran, "log-missing")), (20, 2), "{ran:?}");
    fs::remove_file(&second_file).unwrap();
    fs::write(&first_file, first).unwrap();
    fs::write(&second_file, second).unwrap();
    let ran = monitor(&keeper, "LOG", &[]);
    assert_eq!(count(&ran, "log-disagreement"), 1, "{ran:?}");
    assert!(
        ran.stdout.contains("(entry 0), ") && ran.stdout.contains("(entry 2); the first"),
        "both"
    );
    assert_eq!(monitor(&keeper, "LOG", &[]).code, 0, "told once");
}

/// What somebody came to counts, whatever he says of it; and a no is a no.
#[test]
fn digests_are_compared_beside_flags() {
    for (is_other, differs, expected) in
        [(true, false, 1), (true, true, 1), (false, true, 1), (false, false, 0)]
    {
        for release_first in [true, false] {
            let keeper = Keeper::new();
            let mut all =
                [stated(&publisher(), |_| {}), rebuild_that(&secret(7), is_other, differs)];
            if !release_first {
                all.reverse();
            }
            for submission in all {
                log(&keeper, submission);
            }
            let ran = monitor(&keeper, "LOG", &[]);
            assert_eq!(count(&ran, "log-disagreement"), expected, "{ran:?}");
        }
    }
    // Nobody has logged the release: two who came to different things cannot both be right.
    let keeper = Keeper::new();
    log(&keeper, rebuild_that(&secret(7), true, false));
    log(&keeper, rebuild_that(&secret(8), false, false));
    let ran = monitor(&keeper, "LOG", &[]);
    assert!(
        count(&ran, "log-disagreement") == 1 && ran.stdout.contains("than `https://builder"),
        "{ran:?}"
    );
    log(&keeper, rebuild_that(&secret(9), true, false));
    assert_eq!(count(&monitor(&keeper, "LOG", &[]), "log-disagreement"), 1);
    // The release comes later: with the one that differs there is another look between.
    let keeper = Keeper::new();
    log(&keeper, rebuild_that(&secret(7), true, false));
    assert_eq!(monitor(&keeper, "LOG", &[]).code, 0);
    log(&keeper, stated(&publisher(), |_| {}));
    assert_eq!(count(&monitor(&keeper, "LOG", &[]), "log-disagreement"), 1);
    assert_eq!(monitor(&keeper, "LOG", &[]).code, 0, "told once");
}

#[test]
fn who_counts_and_cannot_be_read_is_told() {
    let keeper = Keeper::new();
    let newer = |key: &PrivateKey| {
        let payload = rebuild(key, true).envelope.payload;
        let text = String::from_utf8(payload).unwrap();
        signed(text.replacen("\"predicate\":{", "\"predicate\":{\"new\":1,", 1).into_bytes(), key)
    };
    let policy = format!(
        "log {}\nquorum none\nbuilder B {}\nrebuild-quorum B\n",
        key().verifier(),
        secret(8).public()
    );
    keeper.place.write("trust.policy", policy);
    let trusted = || {
        let words = ["log", "monitor", "LOG", "--state", "trusted", "--trust", "trust.policy"];
        keeper.place.run(&words)
    };
    log(&keeper, newer(&secret(9)));
    assert_eq!(trusted().code, 0, "nobody whose word counts");
    log(&keeper, newer(&secret(8)));
    let ran = trusted();
    assert!(
        ran.code == 10 && ran.stdout.contains("log-unread: entry 1: the builder `B` has signed"),
        "{ran:?}"
    );
    log(&keeper, rebuild(&secret(8), true));
    let ran = trusted();
    assert!(ran.stdout.contains("`https://builder.example/` (the builder `B`)"), "{ran:?}");
    // Without a policy, everybody's word counts.
    assert_eq!(count(&monitor(&keeper, "LOG", &[]), "log-unread"), 2);
}

/// Its past counts still; what the log says is read again.
#[test]
fn a_state_of_the_version_before_is_read() {
    let keeper = Keeper::new();
    log(&keeper, stated(&publisher(), |_| {}));
    let checkpoint = serde_json::to_string(&keeper.place.read("LOG/checkpoint")).unwrap();
    let old =
        format!(r#"{{"version":1,"checkpoint":{checkpoint},"releases":{{}},"rebuilt":{{}}}}"#);
    keeper.place.write("state", &old);
    let ran = monitor(&keeper, "LOG", &["--days", "0"]);
    assert_eq!(count(&ran, "log-not-rebuilt"), 1, "{ran:?}");
    assert!(ran.stdout.contains("1 entries, 1 new"), "{ran:?}");
    let fork = Keeper::new();
    fork.append([entry(0)]);
    fork.place.write("state", &old);
    assert!(monitor(&fork, "LOG", &[]).stdout.contains("log-split-view"));
    // After a first look at what does not hold there is a state, too.
    fs::remove_file(fork.place.path("state")).unwrap();
    fork.place.write("LOG/tile/0/000.p/1", [0; 32]);
    assert_eq!(monitor(&fork, "LOG", &[]).code, 10);
    assert_eq!(monitor(&fork, "LOG", &[]).code, 10);
}
