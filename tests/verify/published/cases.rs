//! What is wrong with what was published, in one way each, and the reason that it is rejected for.

use counterfoil::digest::Sha256;
use counterfoil::log::SignerKey;
use counterfoil::log::key::Algorithm;
use counterfoil::published::Document;
use counterfoil::report::Reason;
use counterfoil::statement::bundle::Bundle;
use counterfoil::statement::dsse::Envelope;
use counterfoil::statement::intoto::Digests;

use super::scene::{
    Scene, Shows, Vote, builder, bundle, damage, digest, key, measured, proof, publisher,
    revocation, signed, statement_of,
};
use crate::support::amd::time;

/// The reason, what is wrong, and how it comes about.
pub(super) type Case = (Reason, &'static str, fn(&mut Scene));

pub(super) const CASES: &[Case] = &[
    (Reason::StatementMissing, "no statement", |scene| {
        scene.on_the_way = |it| it.statement = None;
    }),
    (Reason::StatementForm, "not a bundle", |scene| {
        scene.on_the_way = |it| statement_of(it).bundle = b"{}".to_vec();
    }),
    (Reason::StatementForm, "the provenance in its place", |scene| {
        scene.on_the_way = |it| {
            let payload = Vote::good(0).statement().to_json().unwrap();
            let envelope = Envelope::sign(payload, &publisher()).unwrap();
            statement_of(it).bundle =
                Bundle::new(envelope, &publisher().public()).to_json().unwrap();
        };
    }),
    (Reason::StatementSigner, "signed by somebody else", |scene| scene.statement_key = key(77)),
    (Reason::StatementSignature, "a known key with a bad signature", |scene| {
        scene.on_the_way = |it| {
            bundle(statement_of(it), |bundle| {
                bundle.logged = None;
                bundle.envelope.payload.push(b' ');
            });
        };
    }),
    (Reason::StatementRelease, "another lock", |scene| {
        scene.release.files.insert("lock.yaml".to_owned(), digest("another"));
        // The rebuilders are on the other one, too.
        scene.no_rebuilders();
    }),
    (Reason::StatementRelease, "a file that it does not speak of", |scene| {
        scene.release.files.insert("inventory.json".to_owned(), digest("paths"));
    }),
    (Reason::StatementMeasurements, "a digest that does not follow", |scene| {
        scene.statement.predicate.measurements = measured(9);
    }),
    (Reason::StatementEarly, "before its time", |scene| {
        scene.statement.predicate.validity.not_before = time("2026-11-22T12:00:01Z");
    }),
    (Reason::StatementExpired, "an expired statement", |scene| {
        scene.statement.predicate.validity.not_after = time("2026-11-22T11:59:59Z");
    }),
    (Reason::StatementSequence, "a replayed old release", |scene| scene.trust("min-sequence 6")),
    (Reason::StatementSuperseded, "a replayed old release, beside the new one", |scene| {
        let mut newer = scene.statement.clone();
        newer.predicate.sequence = 6;
        newer.predicate.supersedes = vec![scene.own()];
        scene.others.push(signed(&newer, &publisher()));
    }),
    (Reason::StatementRevoked, "a revoked release", |scene| {
        scene.others.push(signed(&revocation(scene.own()), &publisher()));
    }),
    (Reason::StatementRevoked, "revoked by a later statement", |scene| {
        let mut newer = scene.statement.clone();
        newer.predicate.sequence = 6;
        newer.predicate.revokes = revocation(scene.own()).predicate.revokes;
        scene.others.push(signed(&newer, &publisher()));
    }),
    (Reason::StatementUnread, "what its publisher said is of a kind that nobody knows", |scene| {
        let payload = signed(&revocation(scene.own()), &publisher()).payload;
        let payload = String::from_utf8(payload).unwrap().replace("revocation:v1", "revocation:v2");
        scene.others.push(Envelope::sign(payload.into_bytes(), &publisher()).unwrap());
    }),
    (Reason::LogProofMissing, "never logged", |scene| scene.statement_logged = false),
    (Reason::LogProofForm, "not a proof", |scene| {
        scene.on_the_way = |it| statement_of(it).proof = Some(b"c2sp.org/tlog-proof@v2\n".to_vec());
    }),
    (Reason::LogUnknown, "in another log", |scene| {
        scene.log = SignerKey::from_seed("other.example", Algorithm::Ed25519, [40; 32]).unwrap();
        scene.no_rebuilders();
    }),
    (Reason::LogUnknown, "signed by nobody", |scene| {
        scene.on_the_way = |it| {
            proof(statement_of(it), |proof| {
                proof.checkpoint.signatures.retain(|line| line.name != "log.example");
            });
        };
    }),
    (Reason::LogSignature, "a checkpoint that the log did not sign", |scene| {
        scene.on_the_way = |it| proof(statement_of(it), |proof| damage(proof, "log.example"));
    }),
    (Reason::LogEntry, "the entry of another key", |scene| {
        scene.on_the_way = |it| {
            let other = Bundle::from_json(&it.rebuilds[0].bundle).unwrap().logged;
            let document = statement_of(it);
            document.proof = None;
            bundle(document, |bundle| {
                bundle.logged.as_mut().unwrap().entry = other.unwrap().entry;
            });
        };
    }),
    (Reason::LogInclusion, "a forged path", |scene| {
        scene.on_the_way = |it| {
            proof(statement_of(it), |proof| proof.hashes[1] = Sha256([0; 32]));
        };
    }),
    (Reason::LogInclusion, "another place in the tree", |scene| {
        scene.on_the_way = |it| proof(statement_of(it), |proof| proof.index -= 1);
    }),
    (Reason::LogInclusion, "a path that is too long", |scene| {
        scene.on_the_way = |it| proof(statement_of(it), |proof| proof.hashes.push(Sha256([0; 32])));
    }),
    (Reason::LogInclusion, "one of two proofs is forged", |scene| {
        scene.on_the_way = |it| {
            bundle(statement_of(it), |bundle| {
                bundle.logged.as_mut().unwrap().proof.hashes[0] = Sha256([1; 32]);
            });
        };
    }),
    (Reason::LogSplitView, "another tree under the same name", |scene| {
        scene.shows = Shows::Another;
    }),
    (Reason::LogRollback, "fewer entries than were signed", |scene| scene.shows = Shows::Less),
    (Reason::LogStale, "witnessed long ago", |scene| {
        scene.witnesses =
            vec![(0, time("2026-01-01T00:00:00Z")), (1, time("2026-11-21T00:00:00Z"))];
        scene.no_rebuilders();
    }),
    (Reason::LogStale, "what the log shows is old", |scene| {
        scene.shows = Shows::Itself;
        scene.shown_to[0].1 = time("2026-01-01T00:00:00Z");
    }),
    (Reason::WitnessQuorum, "what the log shows was seen by one witness", |scene| {
        scene.shows = Shows::Itself;
        scene.shown_to.pop();
    }),
    (Reason::LogUnknown, "what is shown is another log that is believed", |scene| {
        let other = SignerKey::from_seed("other.example", Algorithm::Ed25519, [41; 32]).unwrap();
        scene.trust(&format!("log {}", other.verifier()));
        scene.shows = Shows::Other;
    }),
    (Reason::WitnessSignature, "a cosignature that does not hold", |scene| {
        scene.on_the_way = |it| proof(statement_of(it), |proof| damage(proof, "w0.example"));
    }),
    (Reason::WitnessSignature, "one by ML-DSA-44", |scene| {
        scene.on_the_way = |it| proof(statement_of(it), |proof| damage(proof, "w2.example"));
    }),
    (Reason::WitnessQuorum, "one witness of two", |scene| {
        scene.witnesses.truncate(1);
        scene.no_rebuilders();
    }),
    (Reason::RebuildForm, "the statement in its place", |scene| {
        scene.on_the_way = |it| {
            let mut statement = it.statement.clone().unwrap();
            bundle(&mut statement, |bundle| {
                let payload = bundle.envelope.payload.clone();
                *bundle = Bundle::new(
                    Envelope::sign(payload, &builder(2)).unwrap(),
                    &builder(2).public(),
                );
            });
            it.rebuilds.push(statement);
        };
    }),
    (Reason::StatementSignature, "a bad signature, with the entry of the good one", |scene| {
        scene.on_the_way = |it| {
            let payload = |bundle: &mut Bundle| bundle.envelope.payload.push(b' ');
            bundle(statement_of(it), payload);
        };
    }),
    (Reason::RebuildSignature, "a builder's, with the entry of the good one", |scene| {
        scene.votes.push(Vote::good(2));
        scene.on_the_way = |it| bundle(&mut it.rebuilds[2], |it| it.envelope.payload.push(b' '));
    }),
    (Reason::RebuildForm, "a rebuild in a form that is not known", |scene| {
        scene.on_the_way = |it| {
            let payload = Vote::good(2).statement().to_json().unwrap();
            let text = String::from_utf8(payload).unwrap();
            let payload =
                text.replace("\"runDetails\"", "\"newField\":1,\"runDetails\"").into_bytes();
            let envelope = Envelope::sign(payload, &builder(2)).unwrap();
            let bundle = Bundle::new(envelope, &builder(2).public()).to_json().unwrap();
            it.rebuilds.push(Document { name: "new".to_owned(), bundle, proof: None });
        };
    }),
    (Reason::StatementRelease, "the words beside it are others", |scene| {
        scene.on_the_way = |it| it.words = Some(b"{}".to_vec());
    }),
    (Reason::RebuildSignature, "a known builder with a bad signature", |scene| {
        scene.votes.push(Vote::good(2));
        scene.on_the_way = |it| {
            bundle(&mut it.rebuilds[2], |bundle| {
                bundle.logged = None;
                bundle.envelope.payload.push(b' ');
            });
        };
    }),
    (Reason::RebuildDisagrees, "one of three got something else", |scene| {
        scene.votes.push(Vote::good(2));
        scene.votes[2].differs();
    }),
    (Reason::RebuildDisagrees, "and it was never logged", |scene| {
        scene.votes.push(Vote::good(2));
        scene.votes[2].differs();
        scene.votes[2].logged = false;
    }),
    (Reason::RebuildDisagrees, "it says that all is the same, with other digests", |scene| {
        scene.votes.push(Vote::good(2));
        scene.votes[2].verdict.measurements = measured(8);
    }),
    (Reason::RebuildDisagrees, "it says that all is the same, with other files", |scene| {
        scene.votes.push(Vote::good(2));
        scene.votes[2].subjects[0].digest = Digests::sha256(digest("another"));
    }),
    (Reason::RebuildDisagrees, "it was of a damaged copy, and was signed all the same", |scene| {
        scene.votes.push(Vote::good(2));
        scene.votes[2].verdict.matches = false;
        scene.votes[2].verdict.files = vec!["lock.yaml".to_owned()];
    }),
    (Reason::RebuildDisagrees, "long ago, and never the same since", |scene| {
        scene.votes.push(Vote::good(2));
        scene.votes[2].differs();
        scene.votes[2].finished = time("2026-01-01T00:00:00Z");
    }),
    (Reason::RebuildDisagrees, "by a clock that is ahead", |scene| {
        scene.votes.push(Vote::good(2));
        scene.votes[2].differs();
        scene.votes[2].finished = time("2027-01-01T00:00:00Z");
    }),
    (
        Reason::RebuildDisagrees,
        "it says that all is the same, and names files that are not",
        |scene| {
            scene.votes.push(Vote::good(2));
            scene.votes[2].verdict.files = vec!["image/kernel".to_owned()];
        },
    ),
    (Reason::RebuildCountedTwice, "one builder says it twice", |scene| {
        scene.votes[1] = Vote::good(0);
        scene.votes[1].finished = time("2026-11-21T00:00:00Z");
    }),
    (Reason::RebuildQuorum, "one builder says it twice, and twice would not be enough", |scene| {
        scene.trust = scene.trust.replace("group reb 2", "group reb 3");
        scene.votes[1] = Vote::good(0);
    }),
    (Reason::RebuildCountedTwice, "two builders of one organisation", |scene| {
        scene.trust("distinct org");
        scene.trust = scene.trust.replace("org=o1", "org=o0");
    }),
    (Reason::RebuildCountedTwice, "two builders with one tool", |scene| {
        scene.trust("distinct org,tool");
        scene.votes[1].tool = 0;
    }),
    (Reason::RebuildStale, "one of them long ago", |scene| {
        scene.votes[0].finished = time("2026-08-01T00:00:00Z");
    }),
    (Reason::RebuildQuorum, "one of two", |scene| {
        scene.votes.pop();
    }),
    (Reason::RebuildQuorum, "of another recipe", |scene| {
        scene.votes[0].recipe.lock = Digests::sha256(digest("another"));
    }),
    (Reason::RebuildQuorum, "of another release by the same recipe", |scene| {
        scene.votes[0].target = digest("another");
    }),
    (Reason::RebuildQuorum, "one has left out what is measured", |scene| {
        scene.votes[0].verdict.not_compared = vec!["launch.json".to_owned()];
    }),
    (Reason::RebuildQuorum, "one does not say what it got", |scene| {
        scene.votes[0].subjects.retain(|subject| subject.name != "launch.json");
    }),
    (Reason::RebuildQuorum, "one was not logged", |scene| scene.votes[0].logged = false),
    (Reason::RebuildQuorum, "one is from tomorrow", |scene| {
        scene.votes[0].finished = time("2026-11-24T00:00:00Z");
    }),
];
