//! The examples of the specifications, and what must be told apart.

use super::*;
use crate::digest::Sha256;
use crate::log::{Checkpoint, SignerKey, cosign};

/// signed-note, "Example".
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn signer(name: &str, algorithm: Algorithm, seed: u8) -> SignerKey {
    SignerKey::from_seed(name, algorithm, [seed; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    let root = Sha256::of("a root");
    Checkpoint { origin: "example.com/log".to_owned(), size: 7, root, extensions: Vec::new() }
}

#[test]
fn the_example_of_the_specification_holds() {
    let (key, note): (VerifierKey, Note) = (KEY.parse().unwrap(), NOTE.parse().unwrap());
    assert_eq!(key.verify(&note), Signed::Good { time: None });
    assert_eq!((key.to_string(), note.to_string()), (KEY.to_owned(), NOTE.to_owned()));
}

#[test]
fn a_log_and_two_witnesses_sign_one_checkpoint() {
    let log = signer("example.com/log", Algorithm::Ed25519, 1);
    let mut note = checkpoint().sign(&log).unwrap();
    for (seed, algorithm) in
        [(2, Algorithm::Ed25519Cosignature), (3, Algorithm::MlDsa44Cosignature)]
    {
        let witness = signer("example.org/witness", algorithm, seed);
        note.add(cosign(&note, &witness, 1_700_000_000).unwrap());
        assert_eq!(
            witness.verifier().verify(&note),
            Signed::Good { time: Some(1_700_000_000) },
            "{algorithm:?}"
        );
    }
    assert_eq!(log.verifier().verify(&note), Signed::Good { time: None });
}
