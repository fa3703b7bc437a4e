//! What was published of a release, from whoever had it in hands: the input is put in the place of one of its files.
//! Whatever comes, there is a verdict, and what is accepted is what was signed.
//!
//! The first byte says which file: the trust policy, or the statement, its proof, or a rebuild or its proof.
#![no_main]

use counterfoil::published::{Document, Known, Publication, Question, Trust, verify};
use counterfoil::report::Time;
use counterfoil::report::verdict::Answer;
use counterfoil::statement::bundle::Bundle;
use counterfoil::statement::intoto::Statement;
use counterfoil::statement::launch::Launch;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TRUST: &[u8] = include_bytes!("../seeds/published/trust.policy");

/// Bundles and proofs, in turn.
static FILES: [&[u8]; 6] = [
    include_bytes!("../seeds/published/statement.sigstore.json"),
    include_bytes!("../seeds/published/statement.tlog-proof"),
    include_bytes!("../seeds/published/b1.sigstore.json"),
    include_bytes!("../seeds/published/b1.tlog-proof"),
    include_bytes!("../seeds/published/b2.sigstore.json"),
    include_bytes!("../seeds/published/b2.tlog-proof"),
];

static PAYLOADS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let bundles = FILES.iter().step_by(2);
    bundles.map(|bytes| Bundle::from_json(bytes).expect("a seed").envelope.payload).collect()
});

static RELEASE: LazyLock<Known> = LazyLock::new(|| {
    let statement = Statement::<Launch>::from_json(&PAYLOADS[0]).expect("a seed");
    let files = statement.subjects.into_iter().map(|it| (it.name, it.digest.sha256)).collect();
    Known { files, measurements: statement.predicate.measurements, is_read: true }
});

fuzz_target!(|bytes: &[u8]| {
    // Without this, nothing could ever be accepted and the rest would hold for nothing.
    static SOUND: LazyLock<bool> =
        LazyLock::new(|| judge(TRUST, &FILES.map(<[u8]>::to_vec)) == Some(Answer::Accepted));
    assert!(*SOUND, "the seeds are accepted");
    let Some((which, bytes)) = bytes.split_first() else { return };
    let which = usize::from(*which) % 7;
    let mut files = FILES.map(<[u8]>::to_vec);
    if which == 6 {
        let _ = judge(bytes, &files);
        return;
    }
    files[which] = bytes.to_vec();
    if judge(TRUST, &files) == Some(Answer::Accepted) {
        for (bundle, payload) in files.iter().step_by(2).zip(PAYLOADS.iter()) {
            let bundle = Bundle::from_json(bundle).expect("it was accepted");
            assert_eq!(bundle.envelope.payload, *payload);
        }
    }
});

/// The answer; none where the policy is none.
fn judge(trust: &[u8], files: &[Vec<u8>; 6]) -> Option<Answer> {
    let trust = Trust::parse("trust.policy", trust).ok()?;
    let mut documents = files.chunks(2).enumerate().map(|(index, files)| Document {
        name: index.to_string(),
        bundle: files[0].clone(),
        proof: Some(files[1].clone()),
    });
    let publication = Publication {
        statement: documents.next(),
        rebuilds: documents.collect(),
        ..Publication::default()
    };
    let question = Question {
        trust: &trust,
        publication: &publication,
        release: &RELEASE,
        log: None,
        // After the seeds were made, and within the statement's time: 2026-11-30.
        at: Time::from_unix(1_795_996_800),
    };
    Some(verify(&question, None).verdict.verdict)
}
