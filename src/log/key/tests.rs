//! Keys of the specification and of Go, and what is no key.

use proptest::prelude::*;

use super::*;

/// signed-note, "Example"; the key of Go's checksum database; and the pair in the documentation of Go's
/// `golang.org/x/mod/sumdb/note`.
const SPECIFICATION: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SUMDB: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PRIVATE: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

#[test]
fn keys_of_others() {
    for (text, name, id) in [
        (SPECIFICATION, "example.com/foo", [0x53, 0x0d, 0x90, 0x3a]),
        (SUMDB, "sum.golang.org", [0x03, 0x3d, 0xe0, 0xae]),
        (PUBLIC, "PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3]),
    ] {
        let key: VerifierKey = text.parse().unwrap();
        assert_eq!((key.name(), key.id(), key.algorithm()), (name, id, Algorithm::Ed25519));
        assert_eq!(key.to_string(), text);
    }
    let signer: SignerKey = PRIVATE.parse().unwrap();
    assert_eq!(
        (signer.verifier().to_string(), signer.to_text()),
        (PUBLIC.to_owned(), PRIVATE.to_owned())
    );
}

#[test]
fn the_id_is_the_hash() {
    let wrong = SPECIFICATION.replace("530d903a", "530d903b").parse::<VerifierKey>().unwrap_err();
    assert!(
        matches!(&wrong, KeyError::WrongId { expected, .. } if expected == "530d903a"),
        "{wrong}"
    );
    let wrong = SPECIFICATION.replace("/foo", "/fop").parse::<VerifierKey>();
    assert!(matches!(wrong, Err(KeyError::WrongId { .. })), "{wrong:?}");
    let wrong = PRIVATE.replace("c74f20a3", "c74f20a4").parse::<SignerKey>();
    assert!(matches!(wrong, Err(KeyError::WrongId { .. })), "{wrong:?}");
}

#[test]
fn what_is_no_key() {
    let material = |bytes: &[u8]| format!("a+00000000+{}", Base64::encode_string(bytes));
    let order_one = [&[1, 1], [0; 31].as_slice()].concat();
    let ecdsa = [2; 34];
    for (text, expected) in [
        ("a+00000000".to_owned(), KeyError::Shape),
        (String::new(), KeyError::Shape),
        (
            SPECIFICATION.replace("example", "exa mple"),
            KeyError::Name("exa mple.com/foo".to_owned()),
        ),
        (SPECIFICATION.replace("530d903a", "530D903A"), KeyError::Id("example.com/foo".to_owned())),
        (format!("{SPECIFICATION}="), KeyError::Material("example.com/foo".to_owned())),
        (
            SPECIFICATION.replace("AekyeRrm56h", "AekyeRrm56"),
            KeyError::Material("example.com/foo".to_owned()),
        ),
        (material(&[]), KeyError::Material("a".to_owned())),
        (material(&[1; 32]), KeyError::Material("a".to_owned())),
        (material(&[6; 1312]), KeyError::Material("a".to_owned())),
        (material(&order_one), KeyError::Material("a".to_owned())),
        (material(&ecdsa), KeyError::Algorithm { name: "a".to_owned(), kind: 2 }),
    ] {
        assert_eq!(text.parse::<VerifierKey>(), Err(expected), "{text}");
    }
    // Whoever mixes the two up must not find his private key in a log file.
    let error = PRIVATE.parse::<VerifierKey>().unwrap_err().to_string();
    assert!(!error.contains("AYEKFALV"), "{error}");
    let signer: SignerKey = PRIVATE.parse().unwrap();
    assert!(!format!("{signer:?}").contains("AYEKFALV"));
}

#[test]
fn one_key_under_two_names() {
    let key = |name, algorithm, seed| {
        SignerKey::from_seed(name, algorithm, [seed; 32]).unwrap().verifier().clone()
    };
    let log = key("a", Algorithm::Ed25519, 1);
    assert!(log.same_key(&key("b", Algorithm::Ed25519Cosignature, 1)));
    assert!(!log.same_key(&key("a", Algorithm::Ed25519, 2)));
    assert!(!log.same_key(&key("a", Algorithm::MlDsa44Cosignature, 1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        name in "[a-z/.\u{e4}]{1,20}", seed: [u8; 32], at in 0..Algorithm::ALL.len(),
    ) {
        let signer = SignerKey::from_seed(&name, Algorithm::ALL[at], seed).unwrap();
        let vkey = signer.verifier().to_string();
        prop_assert_eq!(&vkey.parse::<VerifierKey>().unwrap(), signer.verifier());
        let read: SignerKey = signer.to_text().parse().unwrap();
        prop_assert_eq!(read.to_text(), signer.to_text());
        prop_assert_eq!(read.verifier(), signer.verifier());
    }

    #[test]
    fn what_is_read_is_written(text in "[a-z]{0,3}[+]?[0-9a-f]{7,9}[+]?[A-Za-z0-9+/=]{0,50}") {
        if let Ok(key) = text.parse::<VerifierKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}
