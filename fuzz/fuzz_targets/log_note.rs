//! What comes from a log or goes to a witness: notes, checkpoints, keys, proofs, requests. What is read is written
//! as the same bytes, and nobody has signed it.
#![no_main]

use std::sync::LazyLock;

use counterfoil::log::note::MAX_SIGNATURES;
use counterfoil::log::witness::request::Request;
use counterfoil::log::{
    Algorithm, Checkpoint, Note, Proof, Signature, Signed, SignerKey, VerifierKey, cosign,
};
use libfuzzer_sys::fuzz_target;

/// A key of each kind, by the names that the seeds have.
static KEYS: LazyLock<Vec<SignerKey>> = LazyLock::new(|| {
    let key = |algorithm| SignerKey::from_seed("a", algorithm, [7; 32]).unwrap();
    Algorithm::ALL.into_iter().map(key).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(Note::from_bytes(bytes).is_err() && Proof::from_bytes(bytes).is_err());
        return;
    };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = text.parse::<SignerKey>() {
        assert_eq!(key.to_text(), text);
    }
    if let Ok(line) = text.parse::<Signature>() {
        assert_eq!(line.to_string(), text);
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.text(), text);
    }
    if let Ok(proof) = Proof::parse(text) {
        assert_eq!(proof.to_string(), text);
    }
    if let Ok(request) = Request::parse(text) {
        assert_eq!(request.to_string(), text);
        look_at(&request.checkpoint);
    }
    if let Ok(note) = Note::parse(text) {
        assert_eq!(note.to_string(), text);
        look_at(&note);
    }
});

/// No signature that was made up holds, and one that is made does unless a line before it claims to be the same.
fn look_at(note: &Note) {
    for key in KEYS.iter() {
        let claimed = note.signatures.iter().any(|line| key.verifier().is_named_by(line));
        let expected = if claimed { Signed::Bad } else { Signed::Absent };
        assert_eq!(key.verifier().verify(note), expected);
    }
    // ML-DSA-44 would take most of the time.
    let Ok(line) = cosign(note, &KEYS[1], 1) else { return };
    let mut signed = note.clone();
    signed.signatures.truncate(MAX_SIGNATURES - 1);
    signed.add(line);
    assert_eq!(KEYS[1].verifier().verify(&signed), Signed::Good { time: Some(1) });
    assert_eq!(Note::parse(&signed.to_string()).as_ref(), Ok(&signed));
}
