//! Checkpoints by the letter.

use proptest::prelude::*;

use super::*;
use crate::log::{Algorithm, Signed, VerifierKey};

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

/// A checkpoint of Go's checksum database, whose origin is not its key's name.
#[test]
fn a_checkpoint_of_a_public_log() {
    let note: Note = "go.sum database tree\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n\
        \u{2014} sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=\n"
        .parse()
        .unwrap();
    let key: VerifierKey =
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".parse().unwrap();
    assert_eq!(key.verify(&note), Signed::Good { time: None });
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("go.sum database tree", 35_225_469));
    assert_eq!(checkpoint.text(), note.text);
}

#[test]
fn what_is_no_checkpoint() {
    let short_root = &ROOT[4..];
    let loose_root = ROOT.replace("q2I=", "q2J=");
    for (text, expected) in [
        (String::new(), CheckpointError::Unended),
        (format!("a\n1\n{ROOT}"), CheckpointError::Unended),
        ("a\n1\n".to_owned(), CheckpointError::Short),
        (format!("\n1\n{ROOT}\n"), CheckpointError::Origin),
        (format!("a\n\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n01\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n00\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n+1\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n-1\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n1 \n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n\u{661}\n{ROOT}\n"), CheckpointError::Size),
        (format!("a\n18446744073709551616\n{ROOT}\n"), CheckpointError::Size),
        ("a\n1\n\n".to_owned(), CheckpointError::Root),
        (format!("a\n1\n{short_root}\n"), CheckpointError::Root),
        (format!("a\n1\n{loose_root}\n"), CheckpointError::Root),
        (format!("a\n1\n{}\n", ROOT.trim_end_matches('=')), CheckpointError::Root),
        (format!("a\n1\n{ROOT}\n\n"), CheckpointError::Empty(4)),
        (format!("a\n1\n{ROOT}\nx\n\ny\n"), CheckpointError::Empty(5)),
        (format!("a\n1\r\n{ROOT}\n"), CheckpointError::Control(2)),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
    assert_eq!(Checkpoint::parse(&format!("a\n0\n{ROOT}\n")).unwrap().size, 0);
    assert_eq!(Checkpoint::parse(&format!("a\n{}\n{ROOT}\n", u64::MAX)).unwrap().size, u64::MAX);
}

#[test]
fn what_cannot_be_said_is_not_signed() {
    let key = |algorithm| SignerKey::from_seed("a", algorithm, [1; 32]).unwrap();
    let good = Checkpoint::parse(&format!("a\n1\n{ROOT}\n")).unwrap();
    let log = key(Algorithm::Ed25519);
    assert!(good.sign(&log).is_ok());
    for origin in ["", "a\n2", "a\tb"] {
        let wrong = Checkpoint { origin: origin.to_owned(), ..good.clone() };
        assert!(matches!(wrong.sign(&log), Err(CosignError::Checkpoint(_))), "{origin:?}");
    }
    for line in ["", "a\n", "a\nb"] {
        let wrong = Checkpoint { extensions: vec![line.to_owned()], ..good.clone() };
        assert!(matches!(wrong.sign(&log), Err(CosignError::Checkpoint(_))), "{line:?}");
    }
    // A log may sign with ML-DSA-44, and says no time then; an Ed25519 cosigner always says one.
    let ml_dsa = key(Algorithm::MlDsa44Cosignature);
    let note = good.sign(&ml_dsa).unwrap();
    assert_eq!(ml_dsa.verifier().verify(&note), Signed::Good { time: None });
    assert_eq!(good.sign(&key(Algorithm::Ed25519Cosignature)), Err(CosignError::Time(0)));
}

proptest! {
    #[test]
    fn what_is_read_is_written(
        text in "[a ]{0,3}\n[01]{0,3}\n[AE]{42,43}={1,2}\n([a\n]{0,3}\n)?",
    ) {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.text(), text);
        }
    }

    #[test]
    fn what_is_written_is_read(
        origin in "[ -~\u{e4}]{1,20}",
        size: u64,
        root: [u8; 32],
        extensions in proptest::collection::vec("[ -~]{1,9}", 0..4),
    ) {
        let checkpoint = Checkpoint { origin, size, root: Sha256(root), extensions };
        prop_assert_eq!(Checkpoint::parse(&checkpoint.text()).unwrap(), checkpoint);
    }
}
