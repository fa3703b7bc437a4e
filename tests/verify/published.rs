//! What was published of a release: a statement, its log with witnesses, and rebuilders, each wrong in one way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::{Policy, SevFeatures};
use counterfoil::log::directory;
use counterfoil::log::key::Algorithm;
use counterfoil::log::submit::{Submission, submit};
use counterfoil::log::{Note, Proof, SignerKey, cosign};
use counterfoil::published::{self, Document, Known, Publication, Question, Rebuilds, Trust, View};
use counterfoil::report::policy;
use counterfoil::report::reason::Leg;
use counterfoil::report::verdict::Answer;
use counterfoil::report::{Evidence, Expected, Product, Reason, Time};
use counterfoil::statement::bundle::Bundle;
use counterfoil::statement::constraints::Constraints;
use counterfoil::statement::dsse::Envelope;
use counterfoil::statement::intoto::{Digests, Predicate, Statement, Subject};
use counterfoil::statement::key::PrivateKey;
use counterfoil::statement::launch::{
    Form, Launch, LaunchDigest, Measurements, Recipe, Revoked, Validity,
};
use counterfoil::statement::provenance::{
    BuildDefinition, Builder, FirstDifference, Metadata, Parameters, Provenance, REBUILD,
    RunDetails, Target, Tool, Verdict,
};
use counterfoil::statement::revocation::Revocation;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

use crate::asked::Asked;
use crate::support::amd::{NOW, time};

/// The reasons that are tried here.
pub(crate) fn reasons() -> BTreeSet<Reason> {
    CASES.iter().map(|case| case.0).chain([Reason::StatementConstraints]).collect()
}

const FILES: [&str; 3] = ["launch.json", "lock.yaml", "manifest.yaml"];

fn key(seed: u8) -> PrivateKey {
    let key = p256::SecretKey::from_slice(&[seed; 32]).unwrap();
    PrivateKey::from_pem(key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes().to_vec()).unwrap()
}

fn publisher() -> PrivateKey {
    key(1)
}

fn builder(index: u8) -> PrivateKey {
    key(10 + index)
}

fn log_key(seed: u8) -> SignerKey {
    SignerKey::from_seed("log.example", Algorithm::Ed25519, [seed; 32]).unwrap()
}

/// The witnesses: two by Ed25519, one by ML-DSA-44.
fn witness(index: u8) -> SignerKey {
    let algorithm = match index {
        2 => Algorithm::MlDsa44Cosignature,
        _ => Algorithm::Ed25519Cosignature,
    };
    SignerKey::from_seed(&format!("w{index}.example"), algorithm, [50 + index; 32]).unwrap()
}

fn digest(name: &str) -> Sha256 {
    Sha256::of(format!("the bytes of {name}"))
}

fn measured(seed: u8) -> Vec<Measurements> {
    vec![Measurements {
        form: Form::DirectBoot,
        profile: "qemu/1".to_owned(),
        epoch: "launch/1".to_owned(),
        guest_policy: Policy(0x30000),
        launches: vec![LaunchDigest {
            vcpus: 1,
            cpu: Some("EPYC-v4".to_owned()),
            sev_features: SevFeatures::SNP,
            launch_digest: Sha384([seed; 48]),
        }],
    }]
}

fn recipe() -> Recipe {
    let of = |name| Digests::sha256(digest(name));
    Recipe { manifest: of("manifest.yaml"), lock: of("lock.yaml") }
}

fn subjects() -> Vec<Subject> {
    let subject =
        |name: &str| Subject { name: name.to_owned(), digest: Digests::sha256(digest(name)) };
    FILES.map(subject).to_vec()
}

/// One rebuilder's word.
#[derive(Clone)]
struct Vote {
    builder: u8,
    finished: Time,
    tool: u8,
    recipe: Recipe,
    target: Sha256,
    verdict: Verdict,
    subjects: Vec<Subject>,
    logged: bool,
}

impl Vote {
    fn good(builder: u8) -> Self {
        let verdict = Verdict {
            matches: true,
            measured: true,
            measurements: measured(7),
            files: Vec::new(),
            not_compared: Vec::new(),
            first_difference: None,
        };
        let (tool, subjects) = (builder, subjects());
        let finished = time("2026-11-20T00:00:00Z");
        let target = digest("launch.json");
        Self { builder, finished, tool, recipe: recipe(), target, verdict, subjects, logged: true }
    }

    fn differs(&mut self) {
        self.verdict.matches = false;
        self.verdict.measured = false;
        self.verdict.measurements = measured(8);
        self.verdict.first_difference = Some(FirstDifference {
            cause: "other-file".to_owned(),
            place: "initrd:/init".to_owned(),
            what: "other bytes".to_owned(),
        });
    }

    fn statement(&self) -> Statement<Provenance> {
        let target = Target { launch_record: Digests::sha256(self.target), statement: None };
        Statement {
            subjects: self.subjects.clone(),
            predicate: Provenance {
                build_definition: BuildDefinition {
                    build_type: REBUILD.to_owned(),
                    external_parameters: Parameters { recipe: self.recipe, target: Some(target) },
                    resolved_dependencies: Vec::new(),
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: format!("https://b{}.example/", self.builder),
                        version: Tool {
                            counterfoil: "0.1.0".to_owned(),
                            tool_digest: format!(
                                "sha256:{}",
                                digest(&format!("tool {}", self.tool))
                            ),
                        },
                    },
                    metadata: Some(Metadata { finished_on: self.finished }),
                    byproducts: vec![self.verdict.resource().unwrap()],
                },
            },
        }
    }
}

/// Something to be published and verified, accepted as it is.
struct Scene {
    trust: String,
    at: Time,
    statement: Statement<Launch>,
    statement_key: PrivateKey,
    statement_logged: bool,
    votes: Vec<Vote>,
    /// Who cosigns, and when.
    witnesses: Vec<(u8, Time)>,
    /// The key of the log.
    log: SignerKey,
    /// Who cosigns what the log shows today.
    shown_to: Vec<(u8, Time)>,
    /// Entries of others before.
    before: usize,
    others: Vec<Envelope>,
    release: Known,
    /// What happens on the way.
    on_the_way: fn(&mut Publication),
    /// What the log shows today: none, itself, or another.
    shows: Shows,
}

#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Nothing,
    Itself,
    Another,
    Less,
    Other,
}

fn trust() -> String {
    let mut text = format!("log {}\n", log_key(40).verifier());
    for index in 0..3 {
        text += &format!("witness w{index} {}\n", witness(index).verifier());
    }
    text += "group wit 2 w0 w1 w2\nquorum wit\n";
    text += &format!("publisher us {}\n", publisher().public());
    for index in 0..3 {
        text += &format!("builder b{index} {} org=o{index}\n", builder(index).public());
    }
    text + "group reb 2 b0 b1 b2\nrebuild-quorum reb\nmax-age 90d\n"
}

impl Scene {
    fn good() -> Self {
        let seen = time("2026-11-21T00:00:00Z");
        Self {
            trust: trust(),
            at: time(NOW),
            statement: Statement {
                subjects: subjects(),
                predicate: Launch {
                    release: "llama".to_owned(),
                    recipe: recipe(),
                    launch_record: Digests::sha256(digest("launch.json")),
                    measurements: measured(7),
                    report_constraints: Constraints::of(&policy::Policy::conservative()),
                    validity: Validity {
                        not_before: time("2026-11-01T00:00:00Z"),
                        not_after: time("2027-01-31T00:00:00Z"),
                    },
                    sequence: 5,
                    supersedes: Vec::new(),
                    revokes: Vec::new(),
                },
            },
            statement_key: publisher(),
            statement_logged: true,
            votes: vec![Vote::good(0), Vote::good(1)],
            witnesses: vec![(0, seen), (2, seen)],
            shown_to: vec![(0, seen), (1, seen)],
            log: log_key(40),
            before: 3,
            others: Vec::new(),
            release: Known {
                files: FILES.map(|name| (name.to_owned(), digest(name))).into(),
                measurements: measured(7),
                is_read: true,
            },
            on_the_way: |_| {},
            shows: Shows::Nothing,
        }
    }

    fn trust(&mut self, line: &str) {
        self.trust += line;
        self.trust += "\n";
    }

    fn without(&mut self, words: &[&str]) {
        let keep = |line: &&str| !words.iter().any(|word| line.starts_with(word));
        self.trust = self.trust.lines().filter(keep).map(|line| format!("{line}\n")).collect();
    }

    fn no_rebuilders(&mut self) {
        self.without(&["rebuild-quorum"]);
        self.trust("rebuild-quorum none");
    }

    fn own(&self) -> Sha256 {
        Sha256::of(self.statement.to_json().unwrap())
    }

    fn answer(&self) -> published::Answer {
        let scratch = tempfile::tempdir().unwrap();
        let log = scratch.path().join("log");
        directory::init(&log, &self.log).unwrap();
        let sign = |payload: Vec<u8>, key: &PrivateKey| Submission {
            envelope: Envelope::sign(payload, key).unwrap(),
            key: key.public(),
            about: Vec::new(),
        };
        let stranger = key(99);
        let said = |index: usize| {
            sign(revocation(Sha256::of(index.to_be_bytes())).to_json().unwrap(), &stranger)
        };
        let mut submissions: Vec<Submission> = (0..self.before).map(said).collect();
        submissions.push(sign(self.statement.to_json().unwrap(), &self.statement_key));
        for vote in &self.votes {
            submissions.push(sign(vote.statement().to_json().unwrap(), &builder(vote.builder)));
        }
        let mut proofs = submit(&log, &self.log, &submissions).unwrap();
        for proof in &mut proofs {
            for (index, when) in &self.witnesses {
                let line = cosign(&proof.checkpoint, &witness(*index), when.as_unix()).unwrap();
                proof.checkpoint.add(line);
            }
        }
        let mut documents = submissions.iter().zip(&proofs).map(|(submission, proof)| {
            let bundle = Bundle::new(submission.envelope.clone(), &submission.key);
            let logged =
                bundle.clone().with_proof(submission.key, self.log.verifier(), proof.clone());
            (bundle, logged.unwrap(), proof)
        });
        let mut documents = documents.by_ref().skip(self.before);
        let mut document = |name: String, logged: bool| {
            let (bare, full, proof) = documents.next().unwrap();
            let bundle = if logged { full } else { bare };
            let proof = logged.then(|| proof.to_string().into_bytes());
            Document { name, bundle: bundle.to_json().unwrap(), proof }
        };
        let mut publication = Publication {
            statement: Some(document("statement.sigstore.json".to_owned(), self.statement_logged)),
            others: self.others.clone(),
            ..Publication::default()
        };
        for (index, vote) in self.votes.iter().enumerate() {
            publication.rebuilds.push(document(format!("rebuilds/{index}"), vote.logged));
        }
        (self.on_the_way)(&mut publication);
        let view = self.view(&log, scratch.path());
        let trust = Trust::parse("trust.policy", self.trust.as_bytes()).unwrap();
        let question = Question {
            trust: &trust,
            publication: &publication,
            release: &self.release,
            log: view.as_ref().map(|view| view as &dyn View),
            at: self.at,
        };
        published::verify(&question, None)
    }

    fn view(&self, log: &Path, scratch: &Path) -> Option<Shown> {
        let of = |keeper: &SignerKey, count: usize| {
            let path = scratch.join(format!("other-{count}"));
            directory::init(&path, keeper).unwrap();
            let stranger = key(98);
            let said = (0..count).map(|index| Submission {
                envelope: Envelope::sign(
                    revocation(Sha256::of(index.to_le_bytes())).to_json().unwrap(),
                    &stranger,
                )
                .unwrap(),
                key: stranger.public(),
                about: Vec::new(),
            });
            submit(&path, keeper, &said.collect::<Vec<_>>()).unwrap();
            path
        };
        let other = |count| of(&self.log, count);
        let path = match self.shows {
            Shows::Nothing => return None,
            Shows::Itself => log.to_owned(),
            Shows::Another => other(20),
            Shows::Less => other(1),
            Shows::Other => {
                of(&SignerKey::from_seed("other.example", Algorithm::Ed25519, [41; 32]).unwrap(), 9)
            }
        };
        let mut shown = Shown::read(&path);
        for (index, when) in &self.shown_to {
            let line = cosign(&shown.note, &witness(*index), when.as_unix()).unwrap();
            shown.note.add(line);
        }
        Some(shown)
    }

    fn reasons(&self) -> Vec<Reason> {
        self.answer().verdict.reasons.iter().map(|found| found.code).collect()
    }
}

/// A log as it is shown, read by the same code as the program's.
struct Shown {
    note: Note,
    roots: BTreeMap<u64, Sha256>,
}

impl Shown {
    fn read(path: &Path) -> Self {
        use counterfoil::log::reader::Reader;
        use counterfoil::log::tree::Tree;
        use counterfoil::log::{Checkpoint, merkle};
        let reader = Reader::directory(path);
        let note = reader.checkpoint().unwrap();
        let head = Checkpoint::parse(&note.text).unwrap();
        let mut tree = Tree::open(&reader, &head).unwrap();
        let root = |size| (size, merkle::root(&mut tree, size).unwrap());
        Self { roots: (0..=head.size).map(root).collect(), note }
    }
}

impl View for Shown {
    fn checkpoint(&self) -> &Note {
        &self.note
    }

    fn root(&self, size: u64) -> Option<Sha256> {
        self.roots.get(&size).copied()
    }
}

fn revocation(statement: Sha256) -> Statement<Revocation> {
    let reason = "its kernel has a hole".to_owned();
    Revocation {
        issued: time("2026-11-10T00:00:00Z"),
        revokes: vec![Revoked { statement, reason }],
    }
    .statement()
}

fn signed<P: Predicate>(statement: &Statement<P>, key: &PrivateKey) -> Envelope {
    Envelope::sign(statement.to_json().unwrap(), key).unwrap()
}

/// Changes the bundle of a document.
fn bundle(document: &mut Document, change: impl FnOnce(&mut Bundle)) {
    let mut bundle = Bundle::from_json(&document.bundle).unwrap();
    change(&mut bundle);
    document.bundle = bundle.to_json().unwrap();
}

/// Changes the proof of a document, in the bundle and beside it.
fn proof(document: &mut Document, change: fn(&mut Proof)) {
    let mut beside = Proof::from_bytes(document.proof.as_ref().unwrap()).unwrap();
    change(&mut beside);
    document.proof = Some(beside.to_string().into_bytes());
    bundle(document, |bundle| change(&mut bundle.logged.as_mut().unwrap().proof));
}

/// Flips a bit of the signature that this key made.
fn damage(proof: &mut Proof, name: &str) {
    let line = proof.checkpoint.signatures.iter_mut().find(|line| line.name == name).unwrap();
    *line.bytes.last_mut().unwrap() ^= 1;
}

fn statement_of(publication: &mut Publication) -> &mut Document {
    publication.statement.as_mut().unwrap()
}

type Case = (Reason, &'static str, fn(&mut Scene));

const CASES: &[Case] = &[
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
        scene.without(&["publisher"]);
        scene.on_the_way = |it| it.statement = None;
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
    // A builder who has changed his mind: the newest counts.
    accepted(|scene| {
        scene.votes.push(Vote::good(0));
        scene.votes[2].differs();
        scene.votes[2].finished = time("2026-11-01T00:00:00Z");
    });
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
    Trust::parse("trust.policy", twice.as_bytes()).unwrap();
    Trust::parse("trust.policy", with("  # a comment\t").as_bytes()).unwrap();
}
