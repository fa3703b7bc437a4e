//! ID blocks: bytes that others agree with, signatures that hold, and everything else refused.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod command;
#[path = "../support/mod.rs"]
mod support;

use counterfoil::digest::Sha384;
use counterfoil::launch::features::Policy;
use counterfoil::launch::id_block::{
    AuthError, FormatError, Id, IdAuth, IdBlock, KeyError, PrivateKey, PublicKey, Signature,
    SignatureError, Signer,
};
use p384::SecretKey;
use p384::pkcs8::der::{Encode as _, asn1::AnyRef, pem};
use p384::pkcs8::spki::AlgorithmIdentifierRef;
use p384::pkcs8::{
    EncodePrivateKey as _, EncodePublicKey as _, LineEnding, ObjectIdentifier, PrivateKeyInfo,
};
use proptest::prelude::*;
use sec1::{EcParameters, EcPrivateKey};

/// The key of RFC 6979, section A.2.6, and the number after it.
const ID_KEY: &str = "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5";
const AUTHOR_KEY: &str = "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf6";

/// The order of P-384 (SP 800-186, section 3.2.1.4).
const ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";

const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const EC: &str = "1.2.840.10045.2.1";

fn secret(digits: &str) -> SecretKey {
    SecretKey::from_slice(&unhex::<48>(digits)).unwrap()
}

fn private(digits: &str) -> PrivateKey {
    let pem = secret(digits).to_pkcs8_pem(LineEnding::LF).unwrap();
    PrivateKey::from_pem(pem.as_bytes().to_vec()).unwrap()
}

fn unhex<const N: usize>(digits: &str) -> [u8; N] {
    assert_eq!(digits.len(), 2 * N);
    std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
}

/// An ID block with a value of its own in every field.
fn block() -> IdBlock {
    let first = |byte| Id(std::array::from_fn(|at| if at == 0 { byte } else { 0 }));
    IdBlock {
        launch_digest: Sha384(std::array::from_fn(|at| at as u8 + 1)),
        family_id: first(1),
        image_id: first(2),
        guest_svn: 2,
        policy: Policy::QEMU_DEFAULT,
    }
}

fn signed() -> IdAuth {
    let author = Signer::Key(private(AUTHOR_KEY));
    IdAuth::new(&block(), &Signer::Key(private(ID_KEY)), Some(&author)).unwrap()
}

fn keyless() -> IdAuth {
    IdAuth::new(&block(), &Signer::Keyless, None).unwrap()
}

/// RFC 6979, section A.2.6, with SHA-384.
#[test]
fn signatures_are_those_of_rfc_6979() {
    let key = private(ID_KEY);
    let vectors = [
        (
            "sample",
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46",
            "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
        ),
        (
            "test",
            "8203b63d3c853e8d77227fb377bcf7b7b772e97892a80f36ab775d509d7a5feb0542a7f0812998da8f1dd3ca3cf023db",
            "ddd0760448d42d8a43af45af836fce4de8be06b485e9b61b827c2f13173923e06a739f040649a667bf3b828246baa5a5",
        ),
    ];
    for (message, r, s) in vectors {
        let expected = Signature::new(unhex(r), unhex(s)).unwrap();
        assert_eq!(key.sign(message.as_bytes()), Some(expected));
        assert!(key.public().verifies(message.as_bytes(), &expected));
        assert!(!key.public().verifies(b"another", &expected));
    }
    let x = "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13";
    let mut bytes = unhex::<48>(x);
    bytes.reverse();
    assert_eq!(key.public().bytes()[4..52], bytes);
}

/// Digests of the bytes that a program in Python of a hundred lines makes, with integers and HMAC
/// alone. The keyless ID block is one of Contrast's shape. Do not update them.
#[test]
fn bytes_are_pinned() {
    let pinned = |bytes: &[u8], expected: &str| assert_eq!(Sha384::of(bytes).to_string(), expected);
    pinned(
        &block().bytes(),
        "46ca0e3fdc027ad9e8aeb04b49daf6151b9b9ffd8862aa386b6e01a1b0d33f7b3d04402ed80f7a21cee34ea036714da0",
    );
    pinned(
        &keyless().bytes(),
        "1162c1902c7d48933bf51b61edd39e6ad3beebc63e63878745786b6fddf243817c777226cda43f43f66191954d279628",
    );
    pinned(
        &keyless().id_key().bytes(),
        "509a5e09cffe0f5dd47d401e719f2d1b72a5e5bd8f3a92ffd9b3a436c3f461102b2e8ed95579e467e112f98a5adea4d3",
    );
    pinned(
        &IdAuth::new(&block(), &Signer::Key(private(ID_KEY)), None).unwrap().bytes(),
        "1ff6b183fe259ac5a2ba2e960ee567bb594cfd1fb624888575b4b3d99f9178e0e8ac906fc017976012582e826bd4eda9",
    );
    pinned(
        &signed().bytes(),
        "53bce09ddf28a6854c8eecd480cf108d8a293c6bc26ef6844dce4c8a7661abdb1931a6276fdb6544703e7c893c8aa3c0",
    );
    assert_eq!(signed().bytes(), signed().bytes());
    assert_eq!(
        signed().id_key().digest().to_string(),
        "c82b87995cee050c98271728955809072da07aa8d48252f4a9b85e208d9487a659defd62868a10a46c0252fa230a3452"
    );
    assert!(keyless().is_keyless(&block()) && !signed().is_keyless(&block()));
}

/// The files that the `sev` crate 8.0.0 tests its own ID blocks with, in tests/measurement, put
/// together from their numbers: ID block, ID authentication information and both key digests.
#[test]
fn agrees_with_sev() {
    let digest = "a14d638341e5674628fe1e02fbedebe5e5ab4faf1dd72d8966068e615bb99efd13d214b35c231715b38e263dc6059745";
    let block = IdBlock {
        launch_digest: digest.parse().unwrap(),
        family_id: Id::default(),
        image_id: Id::default(),
        guest_svn: 0,
        policy: Policy::QEMU_DEFAULT,
    };
    let tail = "000000000000000000000000000000000000000000000000000000000000000001000000000000000000030000000000";
    assert_eq!(block.bytes(), unhex(&format!("{digest}{tail}")));
    let numbers = [
        (
            0x40,
            "da38b7016f7b3a6147c0c81b6b8c5cef057dff71ae5e13f018f3049fc6c3a90959e0ca6a7c8f4ebd61e0f99b7dbfd3e5",
        ),
        (
            0x88,
            "d8a597d14427643bc36ae16df221e91a2b33ef8b54e56429e961aaa6af5e1f3cdd032b037c266dec8183de67ca4d19d4",
        ),
        (
            0x244,
            "f6763e4d2609cf1b2cf22f2cc8b8ca4cf55d470c3c23552c93b168874390dd95cb3fdee847ddf79ff29efbb8803c6d1f",
        ),
        (
            0x28c,
            "ccd7a8d047b9cdc1c750b1190abe6d1dad37a8decb14327b766619f712607cfd0d38853c50da9bcd080b35389c93be3e",
        ),
        (
            0x680,
            "99ea62b40e1fa31a776676b94ca371a7ca0e02dd18dc34116529d4ec543d0c8199edf7c35548ff8986567f55947b88bb",
        ),
        (
            0x6c8,
            "33916fafbfa2719334e0a3fe7d1b0104b1704ffbb98898e98cd1642f25ee0fbb7da719a2485f42352a1ba75db9e861f2",
        ),
        (
            0x884,
            "6270c78bd6904cd1336299a25b98736a71ce92fef07494d72cb28b073c830f9f564af7a5c1c6ffc5a34973d5da45868c",
        ),
        (
            0x8cc,
            "863c7930a2c98448a77a10088102e2a95f9308cd3e56b559b7fd3acc88b3cc2a19774348fea2f2c9031191e07187acf5",
        ),
    ];
    let mut auth = [0; 4096];
    for (offset, value) in [(0, 1), (4, 1), (0x240, 2), (0x880, 2)] {
        auth[offset] = value;
    }
    for (offset, digits) in numbers {
        let mut number = unhex::<48>(digits);
        number.reverse();
        auth[offset..offset + 48].copy_from_slice(&number);
    }
    let whole = "711cf8a939ffd9776b762c9b49f2667883dd84b058c9bcd9a27283feee71a2c80f6dd5824acacad350ef0508cae17702";
    assert_eq!(Sha384::of(auth).to_string(), whole, "the file itself");
    let read = IdAuth::parse(&auth, &block).unwrap();
    assert_eq!(read.bytes(), auth);
    assert_eq!(
        read.id_key().digest().to_string(),
        "59fb2c686dfa4fef49f38339aa775c90051c28d57383ddc3baf3b5eb4b1496df3b0dbbdcbae5fe27677a644820773fe2"
    );
    assert_eq!(
        read.author_key().unwrap().digest().to_string(),
        "eed81169fb0cb5e0ec34794f128fd4e0c4a46f67c65a1adfa81fcb24bcc088c272369b7ffc3eb2b6af6a4284a1b36c5f"
    );
}

#[test]
fn what_is_written_is_read() {
    for auth in [signed(), keyless()] {
        assert_eq!(IdAuth::parse(&auth.bytes(), &block()).as_ref(), Ok(&auth));
    }
    assert_eq!(IdBlock::parse(&block().bytes()), Ok(block()));
    // Other programs name the author's algorithm where there is no author key.
    let mut bytes = keyless().bytes();
    bytes[4] = 1;
    assert_eq!(IdAuth::parse(&bytes, &block()), Ok(keyless()));
}

/// Every byte matters: those that are signed, those that sign, and those that are reserved.
#[test]
fn every_byte_is_checked() {
    let whole = signed().bytes();
    let parse = |at: usize, change: u8| {
        let mut bytes = whole;
        bytes[at] ^= change;
        IdAuth::parse(&bytes, &block()).unwrap_err()
    };
    // Reading a key or checking a signature takes a while unoptimised.
    for at in (0..0x40).chain((0x90..0x680).step_by(61)).chain((0x710..0x1000).step_by(61)) {
        parse(at, 0x80);
    }
    use FormatError::{Reserved, Value};
    let format = |at, change| match parse(at, change) {
        AuthError::Format(error) => error,
        error => panic!("{at:#x}: {error}"),
    };
    assert!(matches!(format(0, 2), Value { field: "ID_KEY_ALGO", offset: 0, found: 3, .. }));
    assert!(matches!(format(4, 1), Value { field: "AUTH_KEY_ALGO", offset: 4, found: 0, .. }));
    assert!(matches!(format(0x240, 1), Value { field: "CURVE", offset: 0x240, found: 3, .. }));
    for at in [0x08, 0x3f, 0x70, 0x87, 0xb8, 0xd0, 0x23f, 0x274, 0x2d4, 0x643, 0x644, 0x67f, 0xfff]
    {
        assert_eq!(format(at, 7), Reserved { offset: at, found: 7 });
    }
    assert!(matches!(format(0x244, 1), FormatError::Point { field: "ID_KEY", offset: 0x240 }));
    assert!(matches!(format(0x884, 1), FormatError::Point { field: "AUTHOR_KEY", offset: 0x880 }));
    assert_eq!(parse(0x40, 1), AuthError::Block);
    assert_eq!(parse(0x680, 1), AuthError::Key);
    let mut order = unhex::<48>(ORDER);
    order.reverse();
    for number in [[0; 48], order] {
        let mut bytes = whole;
        bytes[0x88..0xb8].copy_from_slice(&number);
        let error = IdAuth::parse(&bytes, &block()).unwrap_err();
        let expected = FormatError::Scalar { field: "ID_BLOCK_SIG", offset: 0x40 };
        assert_eq!(error, AuthError::Format(expected));
    }
    let other = IdBlock { guest_svn: 3, ..block() };
    assert_eq!(IdAuth::parse(&whole, &other), Err(AuthError::Block));
    let found = 4095;
    let size = FormatError::Size { what: "ID authentication information", found, expected: 4096 };
    assert_eq!(IdAuth::parse(&whole[1..], &block()), Err(AuthError::Format(size)));
    let mut bytes = block().bytes();
    bytes[0x50] = 2;
    let error = IdBlock::parse(&bytes).unwrap_err();
    assert!(matches!(error, Value { field: "VERSION", offset: 0x50, found: 2, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The ID block is its fields one after the other, and nobody's key signs it as it is.
    #[test]
    fn random_blocks(
        digest in any::<[[u8; 16]; 3]>(),
        family_id in any::<[u8; 16]>(),
        image_id in any::<[u8; 16]>(),
        guest_svn: u32,
        policy: u64,
    ) {
        let launch_digest = Sha384(digest.concat().try_into().unwrap());
        let block = IdBlock {
            launch_digest,
            family_id: Id(family_id),
            image_id: Id(image_id),
            guest_svn,
            policy: Policy(policy),
        };
        let fields: [&[u8]; 6] = [
            &launch_digest.0,
            &family_id,
            &image_id,
            &[1, 0, 0, 0],
            &guest_svn.to_le_bytes(),
            &policy.to_le_bytes(),
        ];
        prop_assert_eq!(block.bytes().to_vec(), fields.concat());
        prop_assert_eq!(IdBlock::parse(&block.bytes()), Ok(block));
        let auth = IdAuth::new(&block, &Signer::Keyless, None).unwrap();
        prop_assert!(auth.is_keyless(&block));
        prop_assert_eq!(auth.bytes()[0x40], 2);
        prop_assert_eq!(IdAuth::parse(&auth.bytes(), &block), Ok(auth.clone()));
        let other = IdBlock { guest_svn: guest_svn ^ 1, ..block };
        let other = IdAuth::new(&other, &Signer::Keyless, None).unwrap();
        prop_assert_ne!(auth.id_key().digest(), other.id_key().digest());
    }

    #[test]
    fn foreign_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
        let _ = Signature::from_der(&bytes);
        let _ = PrivateKey::from_pem(bytes.clone());
        let _ = PublicKey::from_pem(&bytes);
        let _ = IdBlock::parse(&bytes);
        let mut der = der(&unhex::<48>(ORDER), &[1]);
        let at = at % der.len();
        der.splice(at..at, bytes.iter().copied().take(3));
        let _ = Signature::from_der(&der);
        let mut pem = secret(ID_KEY).to_sec1_pem(LineEnding::LF).unwrap().as_bytes().to_vec();
        pem[at] = bytes.first().copied().unwrap_or_default();
        let _ = PrivateKey::from_pem(pem);
    }
}

/// A SEQUENCE of two INTEGERs, as they are.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let sign: &[u8] = if number[0] >= 0x80 { &[0] } else { &[] };
        [&[2, (sign.len() + number.len()) as u8], sign, number].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8], body.as_slice()].concat()
}

#[test]
fn signatures_in_der() {
    let (r, s) = (unhex::<48>(ID_KEY), unhex::<48>(AUTHOR_KEY));
    let whole = der(&r, &s);
    assert_eq!(Signature::from_der(&whole), Ok(Signature::new(r, s).unwrap()));
    let order = unhex::<48>(ORDER);
    for (r, s) in [(&[0][..], &s[..]), (&r, &[0]), (&order, &s), (&r, &order), (&[0xff; 48], &s)] {
        assert_eq!(Signature::from_der(&der(r, s)), Err(SignatureError::Range), "{r:?} {s:?}");
    }
    let mut negative = der(&r, &s);
    negative[4] |= 0x80;
    let long = der(&[1; 49], &s);
    let padded = der(&[&[0], &r[..]].concat(), &s);
    let trailing = [&whole[..], b"\n"].concat();
    for bytes in [&whole[..whole.len() - 1], &[], b"hello", &negative, &long, &padded, &trailing] {
        assert_eq!(Signature::from_der(bytes), Err(SignatureError::Der), "{bytes:?}");
    }
}

/// A private key of this algorithm, with this curve, in PKCS #8.
fn pkcs8(algorithm: &str, curve: Option<&str>, key: &[u8]) -> String {
    let curve = curve.map(|curve| ObjectIdentifier::new(curve).unwrap());
    let oid = ObjectIdentifier::new(algorithm).unwrap();
    let parameters = curve.as_ref().map(AnyRef::from);
    let info = PrivateKeyInfo::new(AlgorithmIdentifierRef { oid, parameters }, key);
    pem::encode_string("PRIVATE KEY", LineEnding::LF, &info.to_der().unwrap()).unwrap()
}

/// A private key with this curve in SEC 1.
fn sec1(curve: Option<&str>, key: &[u8]) -> String {
    let name = |curve| EcParameters::NamedCurve(ObjectIdentifier::new(curve).unwrap());
    let key = EcPrivateKey { private_key: key, parameters: curve.map(name), public_key: None };
    pem::encode_string("EC PRIVATE KEY", LineEnding::LF, &key.to_der().unwrap()).unwrap()
}

/// A private key whose curve is spelled out in SEC 1, as `openssl ecparam -param_enc explicit` has it:
/// here with no more of the curve than its version.
pub(crate) fn sec1_spelled_out(number: &[u8; 48]) -> String {
    let parameters = [0xa0, 5, 0x30, 3, 2, 1, 1];
    let body = [&[2, 1, 1, 4, 48], &number[..], &parameters].concat();
    let der = [&[0x30, body.len() as u8], body.as_slice()].concat();
    pem::encode_string("EC PRIVATE KEY", LineEnding::LF, &der).unwrap()
}

fn der_of(text: &str) -> Vec<u8> {
    pem::decode_vec(text.as_bytes()).unwrap().1
}

#[test]
fn private_keys() {
    let read = |pem: &str| PrivateKey::from_pem(pem.as_bytes().to_vec());
    let number = unhex::<48>(ID_KEY);
    let eight = secret(ID_KEY).to_pkcs8_pem(LineEnding::CRLF).unwrap();
    let curve = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n";
    let bare = sec1(None, &number);
    for pem in [
        eight.as_str(),
        &secret(ID_KEY).to_sec1_pem(LineEnding::LF).unwrap(),
        &bare,
        &sec1(Some(P384), &number),
        &format!("{curve}{bare}"),
        &format!("a key, and words\n{bare}more words\n"),
    ] {
        assert_eq!(read(pem).unwrap().public(), private(ID_KEY).public(), "{pem}");
    }
    let algorithm = |pem: &str| match read(pem).unwrap_err() {
        KeyError::Algorithm { found, .. } => found,
        error => panic!("{pem}: {error}"),
    };
    assert_eq!(algorithm(&pkcs8("1.2.840.113549.1.1.1", None, b"key")), "RSA");
    assert_eq!(algorithm(&pkcs8("1.3.101.112", None, b"key")), "Ed25519");
    assert_eq!(algorithm(&pkcs8(EC, Some(P256), b"key")), "ECDSA on P-256");
    assert_eq!(algorithm(&pkcs8(EC, Some("1.2.3.4"), b"key")), "of the kind 1.2.3.4");
    assert_eq!(algorithm(&pkcs8(EC, None, b"key")), "on a curve without a name");
    assert_eq!(algorithm(&sec1(Some(P256), &[1; 32])), "ECDSA on P-256");
    assert_eq!(
        algorithm(&sec1(Some("1.3.36.3.3.2.8.1.1.11"), &[1; 48])),
        "ECDSA on brainpoolP384r1"
    );
    assert_eq!(algorithm(&sec1(None, &[1; 32])), "a number of 32 bytes");
    assert_eq!(algorithm(&sec1_spelled_out(&number)), "on a curve without a name");
    assert_eq!(
        algorithm(&pkcs8(EC, Some(P384), &der_of(&sec1_spelled_out(&number)))),
        "on a curve without a name"
    );
    for number in [[0; 48], unhex(ORDER)] {
        assert_eq!(read(&sec1(Some(P384), &number)).unwrap_err(), KeyError::Numbers("P-384"));
    }
    let encrypted =
        bare.replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1);
    for pem in [encrypted, bare.replace("EC PRIVATE", "ENCRYPTED PRIVATE")] {
        assert_eq!(read(&pem).unwrap_err(), KeyError::Encrypted);
    }
    for pem in [&bare[..90], &bare.replacen('M', "*", 1), &bare.replace('\n', "")] {
        assert_eq!(read(pem).unwrap_err(), KeyError::Text("EC PRIVATE KEY".into()));
    }
    assert!(matches!(read(&bare.replace("EC ", "")), Err(KeyError::Damaged { .. })));
    for pem in ["", "-----BEGIN ", curve, &bare.replace("BEGIN", "BEGUN")] {
        assert_eq!(read(pem).unwrap_err(), KeyError::NoBlock("PRIVATE KEY"), "{pem}");
    }
    let public = secret(ID_KEY).public_key().to_public_key_pem(LineEnding::LF).unwrap();
    assert!(matches!(read(&public), Err(KeyError::Label { .. })));
    assert_eq!(PublicKey::from_pem(public.as_bytes()).unwrap(), private(ID_KEY).public());
    assert!(matches!(PublicKey::from_pem(bare.as_bytes()), Err(KeyError::Label { .. })));
    // The key is in no message, however it is asked for.
    assert!(!format!("{:?}", private(ID_KEY)).to_lowercase().contains("6b9d"));
}
