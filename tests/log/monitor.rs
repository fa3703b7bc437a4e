//! `log monitor`: what it tells, and what it does not go on from.

use std::fs;

use counterfoil::log::submit::{Submission, submit};
use counterfoil::statement::dsse::Envelope;
use counterfoil::statement::key::PrivateKey;
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

use crate::place::{Keeper, entry, key};
use crate::support::place::{Ran, copy};

/// The statement of a release, as it was published.
const STATEMENT: &[u8] = include_bytes!("../publish/statement.json");

fn publisher() -> PrivateKey {
    let pem = SecretKey::from_slice(&[5; 32]).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
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
