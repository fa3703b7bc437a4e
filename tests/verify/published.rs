//! What was published of a release: a statement, its log with witnesses, and rebuilders, each wrong in one way.

mod cases;
mod scene;

use std::collections::BTreeSet;

use counterfoil::log::SignerKey;
use counterfoil::log::key::Algorithm;
use counterfoil::published::{self, Document, Publication, Question, Rebuilds, Trust};
use counterfoil::report::reason::Leg;
use counterfoil::report::verdict::Answer;
use counterfoil::report::{Evidence, Expected, Product, Reason};
use counterfoil::statement::bundle::Bundle;
use counterfoil::statement::dsse::Envelope;

use crate::asked::Asked;
use crate::support::amd::time;
use cases::CASES;
use scene::{
    Scene, Shows, Vote, builder, bundle, digest, key, log_key, publisher, revocation, signed,
    statement_of, trust, witness,
};

/// The reasons that are tried here.
pub(crate) fn reasons() -> BTreeSet<Reason> {
    CASES.iter().map(|case| case.0).chain([Reason::StatementConstraints]).collect()
}

#[test]
fn what_is_right_is_accepted() {
    let answer = Scene::good().answer();
    assert_eq!(answer.verdict.reasons, []);
    assert_eq!(answer.verdict.verdict, Answer::Accepted);
    let stated = answer.published.statement.unwrap();
    assert_eq!((stated.publisher.as_str(), stated.launch.sequence), ("us", 5));
    assert_eq!(stated.log.unwrap().witnesses, ["w0", "w2"]);
    let Rebuilds { agree, disagree, silent, stale, reached, counted } = answer.published.rebuilds;
    assert_eq!(
        (agree.as_slice(), silent.as_slice()),
        (&["b0".to_owned(), "b1".to_owned()][..], &["b2".to_owned()][..])
    );
    assert_eq!((disagree.len(), stale.len(), reached, counted.len()), (0, 0, Some(true), 2));
}

/// Each is rejected for its own reason, and for no other.
#[test]
fn what_is_wrong_in_one_way_has_one_reason() {
    for (reason, what, change) in CASES {
        let mut scene = Scene::good();
        change(&mut scene);
        assert_eq!(scene.reasons(), [*reason], "{reason}: {what}");
    }
}

/// The same scenes without what is looked for: what made the case wrong is what is named.
#[test]
fn every_reason_of_the_published_has_a_case() {
    let published = |reason: &&Reason| reason.leg() != Leg::Report;
    let all: BTreeSet<Reason> = Reason::ALL.iter().filter(published).copied().collect();
    let tried = reasons();
    assert!(all.is_subset(&tried), "without a case: {:?}", all.difference(&tried));
}

#[test]
fn what_a_policy_does_not_ask_for_is_not_missed() {
    let accepted = |change: fn(&mut Scene)| {
        let mut scene = Scene::good();
        change(&mut scene);
        assert_eq!(scene.reasons(), []);
    };
    // The rebuilders alone, without the publisher's key.
    accepted(|scene| {
        scene.no_publisher();
    });
    // The publisher alone.
    accepted(|scene| {
        scene.without(&["builder", "rebuild-quorum", "group reb"]);
        scene.votes.clear();
    });
    // Without a log.
    accepted(|scene| {
        scene.without(&["log", "witness", "group wit", "quorum"]);
        scene.trust("quorum none");
        scene.statement_logged = false;
        for vote in &mut scene.votes {
            vote.logged = false;
        }
    });
    // A disagreement that is only to be told.
    accepted(|scene| {
        scene.trust("on-disagree note");
        scene.votes.push(Vote::good(2));
        scene.votes[2].differs();
    });
    // What others say of other statements, and what strangers say of this one.
    accepted(|scene| {
        scene.others.push(signed(&revocation(digest("another")), &publisher()));
        scene.others.push(signed(&revocation(scene.own()), &key(77)));
        scene.shows = Shows::Itself;
    });
    // A rebuild by somebody who is not named.
    accepted(|scene| {
        scene.votes.push(Vote::good(2));
        let line = format!("builder b2 {} org=o2\n", builder(2).public());
        scene.trust = scene.trust.replace(&line, "").replace("b0 b1 b2", "b0 b1");
        scene.votes[2].differs();
    });
    // A file of somebody's that is no rebuild, and a cosignature of tomorrow.
    accepted(|scene| {
        scene.votes.push(Vote::good(2));
        scene.on_the_way = |it| it.rebuilds[2].bundle = b"[]".to_vec();
        scene.witnesses[0].1 = time("2026-11-23T00:00:00Z");
    });
    // A bundle with the proof of a log that nobody believes, beside the proof of one that is.
    accepted(|scene| {
        scene.on_the_way = |it| {
            bundle(statement_of(it), |bundle| {
                let proof = &mut bundle.logged.as_mut().unwrap().proof;
                proof.checkpoint.signatures.retain(|line| line.name != "log.example");
            });
        };
    });
    // The same words in the place of others.
    accepted(|scene| scene.others.push(signed(&scene.statement, &publisher())));
    // What a builder has signed about something else.
    accepted(|scene| {
        scene.on_the_way = |it| {
            let envelope = signed(&revocation(digest("another")), &builder(2));
            let bundle = Bundle::new(envelope, &builder(2).public()).to_json().unwrap();
            it.rebuilds.push(Document { name: "other".to_owned(), bundle, proof: None });
        };
    });
    // A builder who has changed his mind: the newest counts.
    accepted(|scene| {
        scene.votes.push(Vote::good(0));
        scene.votes[2].differs();
        scene.votes[2].finished = time("2026-11-01T00:00:00Z");
    });
}

/// A statement with a higher number takes nothing back that it does not name, and is told.
#[test]
fn a_newer_statement_is_told() {
    let mut scene = Scene::good();
    let mut newer = scene.statement.clone();
    newer.predicate.sequence = 9;
    scene.others.push(signed(&newer, &publisher()));
    scene.shows = Shows::Itself;
    let answer = scene.answer();
    assert_eq!(answer.verdict.reasons, []);
    let says = answer.verdict.checks.iter().map(|check| check.says.as_str());
    assert!(says.into_iter().any(|says| says.contains("of `llama` there is number 9 too")));
}

/// What the witnesses saw long ago is old, and not silence.
#[test]
fn an_old_proof_is_stale() {
    let mut scene = Scene::good();
    scene.no_publisher();
    for (_, seen) in &mut scene.witnesses {
        *seen = time("2026-01-01T00:00:00Z");
    }
    let answer = scene.answer();
    assert_eq!(answer.published.rebuilds.stale, ["b0", "b1"]);
    assert_eq!(scene.reasons(), [Reason::RebuildStale]);
}

/// A builder stands in one list.
#[test]
fn the_four_lists() {
    let mut scene = Scene::good();
    scene.votes.push(Vote::good(2));
    scene.votes[1].differs();
    scene.votes[2].finished = time("2026-01-01T00:00:00Z");
    scene.trust(&format!("builder b3 {} org=o3", builder(3).public()));
    let Rebuilds { agree, disagree, silent, stale, .. } = scene.answer().published.rebuilds;
    assert_eq!([agree, disagree, silent, stale].concat(), ["b0", "b1", "b3", "b2"]);
}

/// What the publisher says that a machine must be is held against its report, beside the verifier's own policy.
#[test]
fn a_machine_must_be_what_the_statement_says() {
    let mut asked = Asked::good(Product::Genoa);
    asked.policy("vmpl: [0, 1]");
    let ask = |asked: &Asked, vmpl: u32| {
        let bytes = asked.bytes();
        let evidence = Evidence::open(&bytes.evidence);
        let mut collateral = counterfoil::report::Collateral::default();
        for der in [&bytes.vek, &bytes.ask, &bytes.ark] {
            collateral.add_certificate(der).unwrap();
        }
        collateral.add_crl(&bytes.crl).unwrap();
        let policy = crate::asked::read(&asked.policy);
        let machine = counterfoil::report::Question {
            evidence: evidence.as_ref(),
            collateral: &collateral,
            roots: &asked.roots,
            policy: &policy,
            expected: Expected::Anything,
            nonce: None,
            at: asked.at,
        };
        let mut scene = Scene::good();
        scene.statement.predicate.report_constraints.vmpl = vec![vmpl];
        let payload = scene.statement.to_json().unwrap();
        let envelope = Envelope::sign(payload, &publisher()).unwrap();
        let bundle = Bundle::new(envelope, &publisher().public()).to_json().unwrap();
        let document = Document { name: "statement".to_owned(), bundle, proof: None };
        let publication = Publication { statement: Some(document), ..Publication::default() };
        let trust = format!("quorum none\npublisher us {}\n", publisher().public());
        let trust = Trust::parse("trust.policy", trust.as_bytes()).unwrap();
        let question = Question {
            trust: &trust,
            publication: &publication,
            release: &scene.release,
            log: None,
            at: asked.at,
        };
        let answer = published::verify(&question, Some(&machine));
        answer.verdict.reasons.iter().map(|found| found.code).collect::<Vec<_>>()
    };
    assert_eq!(ask(&asked, 0), []);
    assert_eq!(ask(&asked, 1), [Reason::StatementConstraints]);
}

/// What a policy cannot mean is told by its line.
#[test]
fn a_trust_policy_is_read_strictly() {
    let good = trust();
    let refused = |text: &str, says: &str| {
        let error = Trust::parse("trust.policy", text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    };
    let with = |line: &str| format!("{good}{line}\n");
    let b0 = builder(0).public();
    let w0 = witness(0);
    let w0 = w0.verifier();
    refused("", "no `quorum` line");
    refused("quorum none\n", "it believes nobody");
    refused(&with("quorum none"), "trust.policy:14: a second `quorum` line");
    refused(&with("quorom none"), "`quorom` is none of log, witness");
    refused(&with(&format!("builder b9 {b0} org=o9")), "another builder has this key");
    refused(&with(&format!("witness w9 {w0}")), "another witness has this key");
    refused(&with(&format!("log {w0}")), "type 1");
    refused(&with(&format!("witness w9 {}", log_key(41).verifier())), "type 4 or 6");
    refused(&with("group g2 1 b0"), "`b0` is in a group already");
    refused(&with("group g2 1 b9"), "`b9` is not defined above");
    refused(&with(&format!("builder b9 {} org=o9\ngroup g2 2 b9", key(90).public())), "1 to 1");
    refused(&with(&format!("builder b9 {} o9", key(90).public())), "`org=`");
    refused(&with("max-age 90"), "no age");
    refused(&with("max-age 0d"), "no age");
    refused(&with("distinct who"), "neither");
    refused(&with("on-disagree"), "expected `on-disagree fail|note`");
    refused("rebuild-quorum wit\nquorum none\n", "`wit` is not defined above");
    refused(&good.replace("quorum wit", "quorum reb"), "`reb` is not defined above");
    refused(&with("publisher us AAAA"), "trust.policy:14");
    refused(&with("\u{1b}[31m"), "control character");
    refused(&good.replace("rebuild-quorum reb\n", ""), "no `rebuild-quorum` line");
    refused(&good.lines().skip(1).collect::<Vec<_>>().join("\n"), "witnesses of no log");
    let own = SignerKey::from_seed("w9", Algorithm::Ed25519Cosignature, [40; 32]).unwrap();
    refused(&with(&format!("witness w9 {}", own.verifier())), "does not watch itself");
    refused(&with(&format!("builder b9 {} org=o9", publisher().public())), "a second opinion");
    let twice = good
        .replace("group reb 2 b0 b1 b2", "group r1 1 b0\ngroup r2 2 b1 b2\ngroup reb all r1 r2");
    refused(&format!("{}distinct org\n", twice.replace("org=o2", "org=o0")), "stand in two groups");
    refused(&format!("{twice}distinct tool\n"), "all builders in one group");
    Trust::parse("trust.policy", twice.as_bytes()).unwrap();
    Trust::parse("trust.policy", with("  # a comment\t").as_bytes()).unwrap();
}
