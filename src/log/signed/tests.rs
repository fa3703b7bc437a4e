//! Who signed, and what must be told apart.

use super::*;
use crate::digest::Sha256;
use crate::log::cosignature::MAX_TIME;
use crate::log::{Checkpoint, CosignError, SignerKey, cosign};

/// signed-note, "Example".
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

const TIME: u64 = 1_700_000_000;

fn signer(name: &str, algorithm: Algorithm, seed: u8) -> SignerKey {
    SignerKey::from_seed(name, algorithm, [seed; 32]).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    let root = Sha256::of("a root");
    Checkpoint { origin: "example.com/log".to_owned(), size, root, extensions: Vec::new() }
}

/// A log and a witness of each kind, and a checkpoint that all have signed.
fn signed() -> ([SignerKey; 3], Note) {
    let log = signer("example.com/log", Algorithm::Ed25519, 1);
    let ed25519 = signer("example.org/e", Algorithm::Ed25519Cosignature, 2);
    let ml_dsa = signer("example.org/m", Algorithm::MlDsa44Cosignature, 3);
    let mut note = checkpoint(7).sign(&log).unwrap();
    for witness in [&ed25519, &ml_dsa] {
        note.add(cosign(&note, witness, TIME).unwrap());
    }
    ([log, ed25519, ml_dsa], note)
}

fn verdicts(keys: &[SignerKey; 3], note: &Note) -> [Signed; 3] {
    keys.each_ref().map(|key| key.verifier().verify(note))
}

const ALL_GOOD: [Signed; 3] = {
    let cosigned = Signed::Good { time: Some(TIME) };
    [Signed::Good { time: None }, cosigned, cosigned]
};

#[test]
fn the_example_of_the_specification_holds() {
    let (key, note): (VerifierKey, Note) = (KEY.parse().unwrap(), NOTE.parse().unwrap());
    assert_eq!(key.verify(&note), Signed::Good { time: None });
    assert_eq!((key.to_string(), note.to_string()), (KEY.to_owned(), NOTE.to_owned()));
}

#[test]
fn a_log_and_two_witnesses_sign_one_checkpoint() {
    let (keys, note) = signed();
    assert_eq!(verdicts(&keys, &note), ALL_GOOD);
}

/// A byte of the text makes every signature bad. One of a signature line makes that line bad, or another key's.
#[test]
fn every_changed_byte_is_seen() {
    let (keys, note) = signed();
    let bytes = note.to_string().into_bytes();
    let mut read = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        // Another letter, another case, another digit: all that base64 and names are made of.
        changed[at] ^= [0x01, 0x20, 0x02, 0x10][at % 4];
        let Ok(other) = Note::from_bytes(&changed) else { continue };
        read += 1;
        let found = verdicts(&keys, &other);
        if at < note.text.len() {
            assert_eq!(found, [Signed::Bad; 3], "byte {at}");
        } else {
            let differ = found.iter().zip(ALL_GOOD).filter(|(found, good)| *found != good);
            assert_eq!(differ.count(), 1, "byte {at}: {found:?}");
        }
    }
    assert!(read > bytes.len() / 2, "most changes make another note, not none: {read}");
}

#[test]
fn a_line_that_shares_name_or_id_is_somebody_elses() {
    let (keys, note) = signed();
    for (at, key) in keys.iter().enumerate() {
        let mut other = note.clone();
        other.signatures[at].name.push('x');
        assert_eq!(key.verifier().verify(&other), Signed::Absent);
        let mut other = note.clone();
        other.signatures[at].id[3] ^= 1;
        assert_eq!(key.verifier().verify(&other), Signed::Absent);
        let mut other = note.clone();
        other.signatures[at].bytes[20] ^= 1;
        assert_eq!(key.verifier().verify(&other), Signed::Bad);
    }
}

#[test]
fn of_several_lines_by_one_key_all_must_hold() {
    let ([_, ed25519, _], mut note) = signed();
    note.signatures.push(cosign(&note, &ed25519, TIME + 5).unwrap());
    assert_eq!(ed25519.verifier().verify(&note), Signed::Good { time: Some(TIME + 5) });
    note.signatures.rotate_right(1);
    assert_eq!(ed25519.verifier().verify(&note), Signed::Good { time: Some(TIME + 5) });
    note.signatures.push(Signature { bytes: vec![1], ..note.signatures[0].clone() });
    assert_eq!(ed25519.verifier().verify(&note), Signed::Bad);
}

#[test]
fn each_signature_says_its_own_time() {
    let (keys, note) = signed();
    for at in [1, 2] {
        let mut other = note.clone();
        other.signatures[at].bytes[7] ^= 1;
        assert_eq!(keys[at].verifier().verify(&other), Signed::Bad);
        other.signatures[at].bytes[0] |= 0x80;
        assert_eq!(keys[at].verifier().verify(&other), Signed::Bad);
    }
    for key in &keys[1..] {
        let latest = cosign(&note, key, MAX_TIME).unwrap();
        assert_eq!(latest.bytes[..8], [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        for time in [0, MAX_TIME + 1, u64::MAX] {
            assert_eq!(cosign(&note, key, time), Err(CosignError::Time(time)));
        }
    }
    assert!(matches!(cosign(&note, &keys[0], TIME), Err(CosignError::LogKey(_))));
}

/// tlog-cosignature: an ML-DSA-44 cosigner says nothing of extension lines, an Ed25519 cosigner signs them.
#[test]
fn extension_lines() {
    let (keys, mut note) = signed();
    note.text.push_str("an extension\n");
    let [_, _, ml_dsa] = ALL_GOOD;
    assert_eq!(verdicts(&keys, &note), [Signed::Bad, Signed::Bad, ml_dsa]);
    // What is no checkpoint is not cosigned, whatever stands in the line.
    note.text.push('\n');
    assert_eq!(verdicts(&keys, &note), [Signed::Bad; 3]);
}

#[test]
fn only_ml_dsa_commits_to_the_name() {
    let (_, note) = signed();
    for (algorithm, holds) in
        [(Algorithm::Ed25519Cosignature, true), (Algorithm::MlDsa44Cosignature, false)]
    {
        let [a, b] = ["a", "b"].map(|name| signer(name, algorithm, 9));
        let line = cosign(&note, &a, TIME).unwrap();
        let renamed = Signature { name: "b".to_owned(), id: b.verifier().id(), ..line };
        let note = Note { signatures: vec![renamed], ..note.clone() };
        assert_eq!(b.verifier().verify(&note).is_good(), holds, "{algorithm:?}");
    }
}

#[test]
fn names_have_a_byte_for_their_length() {
    let key = |length| signer(&"n".repeat(length), Algorithm::MlDsa44Cosignature, 1);
    let of = |length| {
        let checkpoint = Checkpoint { origin: "o".repeat(length), ..checkpoint(1) };
        Note { text: checkpoint.text(), signatures: Vec::new() }
    };
    assert!(cosign(&of(255), &key(255), TIME).is_ok());
    assert!(matches!(cosign(&of(256), &key(1), TIME), Err(CosignError::Long(_))));
    assert!(matches!(cosign(&of(1), &key(256), TIME), Err(CosignError::Long(_))));
}
