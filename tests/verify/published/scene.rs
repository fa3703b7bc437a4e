//! A release and all that was published of it, accepted as it is; tests change one thing about it.

use std::collections::BTreeMap;
use std::path::Path;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::{Policy, SevFeatures};
use counterfoil::log::directory;
use counterfoil::log::key::Algorithm;
use counterfoil::log::submit::{Submission, submit};
use counterfoil::log::{Note, Proof, SignerKey, cosign};
use counterfoil::published::{self, Document, Known, Publication, Question, Trust, View};
use counterfoil::report::{Reason, Time, policy};
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

use crate::support::amd::{NOW, time};

pub(super) const FILES: [&str; 3] = ["launch.json", "lock.yaml", "manifest.yaml"];

pub(super) fn key(seed: u8) -> PrivateKey {
    let key = p256::SecretKey::from_slice(&[seed; 32]).unwrap();
    PrivateKey::from_pem(key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes().to_vec()).unwrap()
}

pub(super) fn publisher() -> PrivateKey {
    key(1)
}

pub(super) fn builder(index: u8) -> PrivateKey {
    key(10 + index)
}

pub(super) fn log_key(seed: u8) -> SignerKey {
    SignerKey::from_seed("log.example", Algorithm::Ed25519, [seed; 32]).unwrap()
}

/// The witnesses: two by Ed25519, one by ML-DSA-44.
pub(super) fn witness(index: u8) -> SignerKey {
    let algorithm = match index {
        2 => Algorithm::MlDsa44Cosignature,
        _ => Algorithm::Ed25519Cosignature,
    };
    SignerKey::from_seed(&format!("w{index}.example"), algorithm, [50 + index; 32]).unwrap()
}

pub(super) fn digest(name: &str) -> Sha256 {
    Sha256::of(format!("the bytes of {name}"))
}

pub(super) fn measured(seed: u8) -> Vec<Measurements> {
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

pub(super) fn recipe() -> Recipe {
    let of = |name| Digests::sha256(digest(name));
    Recipe { manifest: of("manifest.yaml"), lock: of("lock.yaml") }
}

pub(super) fn subjects() -> Vec<Subject> {
    let subject =
        |name: &str| Subject { name: name.to_owned(), digest: Digests::sha256(digest(name)) };
    FILES.map(subject).to_vec()
}

/// One rebuilder's word.
#[derive(Clone)]
pub(super) struct Vote {
    pub(super) builder: u8,
    pub(super) finished: Time,
    pub(super) tool: u8,
    pub(super) recipe: Recipe,
    pub(super) target: Sha256,
    pub(super) verdict: Verdict,
    pub(super) subjects: Vec<Subject>,
    pub(super) logged: bool,
}

impl Vote {
    pub(super) fn good(builder: u8) -> Self {
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

    pub(super) fn differs(&mut self) {
        self.verdict.matches = false;
        self.verdict.measured = false;
        self.verdict.measurements = measured(8);
        self.verdict.first_difference = Some(FirstDifference {
            cause: "other-file".to_owned(),
            place: "initrd:/init".to_owned(),
            what: "other bytes".to_owned(),
        });
    }

    pub(super) fn statement(&self) -> Statement<Provenance> {
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
pub(super) struct Scene {
    pub(super) trust: String,
    pub(super) at: Time,
    pub(super) statement: Statement<Launch>,
    pub(super) statement_key: PrivateKey,
    pub(super) statement_logged: bool,
    pub(super) votes: Vec<Vote>,
    /// Who cosigns, and when.
    pub(super) witnesses: Vec<(u8, Time)>,
    /// The key of the log.
    pub(super) log: SignerKey,
    /// Who cosigns what the log shows today.
    pub(super) shown_to: Vec<(u8, Time)>,
    /// Entries of others before.
    pub(super) before: usize,
    pub(super) others: Vec<Envelope>,
    pub(super) release: Known,
    /// What happens on the way.
    pub(super) on_the_way: fn(&mut Publication),
    /// What the log shows today: none, itself, or another.
    pub(super) shows: Shows,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shows {
    Nothing,
    Itself,
    Another,
    Less,
    Other,
}

pub(super) fn trust() -> String {
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
    pub(super) fn good() -> Self {
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

    pub(super) fn trust(&mut self, line: &str) {
        self.trust += line;
        self.trust += "\n";
    }

    pub(super) fn without(&mut self, words: &[&str]) {
        let keep = |line: &&str| !words.iter().any(|word| line.starts_with(word));
        self.trust = self.trust.lines().filter(keep).map(|line| format!("{line}\n")).collect();
    }

    pub(super) fn no_publisher(&mut self) {
        self.without(&["publisher"]);
        self.on_the_way = |it| it.statement = None;
    }

    pub(super) fn no_rebuilders(&mut self) {
        self.without(&["rebuild-quorum"]);
        self.trust("rebuild-quorum none");
    }

    pub(super) fn own(&self) -> Sha256 {
        Sha256::of(self.statement.to_json().unwrap())
    }

    pub(super) fn answer(&self) -> published::Answer {
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

    pub(super) fn reasons(&self) -> Vec<Reason> {
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

pub(super) fn revocation(statement: Sha256) -> Statement<Revocation> {
    let reason = "its kernel has a hole".to_owned();
    Revocation {
        issued: time("2026-11-10T00:00:00Z"),
        revokes: vec![Revoked { statement, reason }],
    }
    .statement()
}

pub(super) fn signed<P: Predicate>(statement: &Statement<P>, key: &PrivateKey) -> Envelope {
    Envelope::sign(statement.to_json().unwrap(), key).unwrap()
}

/// Changes the bundle of a document.
pub(super) fn bundle(document: &mut Document, change: impl FnOnce(&mut Bundle)) {
    let mut bundle = Bundle::from_json(&document.bundle).unwrap();
    change(&mut bundle);
    document.bundle = bundle.to_json().unwrap();
}

/// Changes the proof of a document, in the bundle and beside it.
pub(super) fn proof(document: &mut Document, change: fn(&mut Proof)) {
    let mut beside = Proof::from_bytes(document.proof.as_ref().unwrap()).unwrap();
    change(&mut beside);
    document.proof = Some(beside.to_string().into_bytes());
    bundle(document, |bundle| change(&mut bundle.logged.as_mut().unwrap().proof));
}

/// Flips a bit of the signature that this key made.
pub(super) fn damage(proof: &mut Proof, name: &str) {
    let line = proof.checkpoint.signatures.iter_mut().find(|line| line.name == name).unwrap();
    *line.bytes.last_mut().unwrap() ^= 1;
}

pub(super) fn statement_of(publication: &mut Publication) -> &mut Document {
    publication.statement.as_mut().unwrap()
}
