//! Release files and their signatures: what is accepted, and everything that is not.
#![allow(clippy::unwrap_used)]

mod support;

use counterfoil::input::apt::cleartext;
use counterfoil::input::apt::keyring::{self, Keyring};
use counterfoil::input::apt::release::{Error, Freshness, Release};
use pgp::composed::{ArmorOptions, CleartextSignedMessage, KeyType};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{SignatureType, Subpacket, SubpacketData};
use pgp::types::{Duration, Password, Tag};
use support::key::{CREATED, Key, Signing, config};
use support::repository::NOW;

const TEXT: &str = "Origin: Test\nSuite: unstable\nCodename: sid\n\
    Date: Sat, 12 Sep 2026 07:55:41 UTC\nValid-Until: Sat, 19 Sep 2026 07:55:41 UTC\n\
    Acquire-By-Hash: yes\nArchitectures: all amd64\nComponents: main contrib\nSHA256:\n \
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n";

/// After the key's first self-signatures, which are made when the test runs.
const LATER: u32 = 4_000_000_000;

fn keyring(bytes: impl AsRef<[u8]>) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.add("test.gpg", bytes.as_ref()).unwrap();
    keyring
}

fn read(text: &str, keys: &Keyring) -> Result<Release, Error> {
    Release::from_inrelease(text.as_bytes(), keys, NOW)
}

/// Why the only signature was refused.
fn refusal(result: Result<Release, Error>) -> String {
    match result {
        Err(Error::Signature(keyring::Error::Untrusted { refused, .. })) => refused.join("; "),
        other => panic!("expected a refused signature, got {other:?}"),
    }
}

#[test]
fn a_signed_release() {
    let key = Key::new(1);
    for keys in [keyring(key.binary()), keyring(key.armoured())] {
        let signed = key.clearsign(TEXT);
        let release = read(&signed, &keys).unwrap();
        assert_eq!(release.signed_by.iter().collect::<Vec<_>>(), [&key.fingerprint()]);
        assert_eq!(release.sha256, counterfoil::digest::Sha256::of(&signed));
        assert_eq!(release.codename.as_deref(), Some("sid"));
        assert_eq!(release.components, ["main", "contrib"]);
        assert_eq!(release.date, 1_789_199_741);
        assert!(release.acquire_by_hash && !release.merged_all);
        assert_eq!(release.files["main/binary-amd64/Packages"].size, 0);
    }
}

#[test]
fn kinds_of_keys_and_signatures() {
    let mut primary = Key::new(1);
    primary.sign_with_subkey = false;
    assert!(read(&primary.clearsign(TEXT), &keyring(primary.binary())).is_ok());
    let rsa = Key::of_type(2, KeyType::Rsa(2048));
    assert!(read(&rsa.clearsign(TEXT), &keyring(rsa.binary())).is_ok());
    for hash in [HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        // Some tools sign the canonical text as binary; the octets are the same.
        for kind in [SignatureType::Text, SignatureType::Binary] {
            let signed = rsa.clearsign_as(TEXT, Signing { hash, kind, ..Signing::default() });
            assert!(read(&signed, &keyring(rsa.binary())).is_ok(), "{hash:?} {kind:?}");
        }
    }
}

#[test]
fn carriage_returns_and_trailing_blanks_are_not_signed() {
    let key = Key::new(1);
    let signed = key.clearsign(TEXT);
    for changed in
        [signed.replace('\n', "\r\n"), signed.replace("Codename: sid\n", "Codename: sid \t\n")]
    {
        let release = read(&changed, &keyring(key.binary())).unwrap();
        assert_eq!(release.codename.as_deref(), Some("sid"));
    }
}

#[test]
fn dashes_are_escaped() {
    let key = Key::new(1);
    let signed = key.clearsign("-----a\n- b\n\nc");
    assert!(signed.contains("\n- -----a\n- - b\n\nc\n"));
    let parsed = cleartext::parse(signed.as_bytes()).unwrap();
    assert_eq!(parsed.text, "-----a\n- b\n\nc\n");
    assert_eq!(parsed.signed, b"-----a\r\n- b\r\n\r\nc");
    let keys = keyring(key.binary());
    assert!(keys.verify(&parsed.signed, &parsed.signatures, NOW).is_ok());
    let unescaped = signed.replace("- -----a", "-----a");
    assert!(cleartext::parse(unescaped.as_bytes()).is_err());
}

#[test]
fn any_change_is_found() {
    let key = Key::new(1);
    let signed = key.clearsign(TEXT);
    for (from, to) in [
        ("unstable", "unstablf"),
        ("Origin: Test\n", "Origin: Test\n\n"),
        ("Codename", " Codename"),
        ("e3b0", "e3b1"),
        ("Origin: Test\n", ""),
    ] {
        let why = refusal(read(&signed.replacen(from, to, 1), &keyring(key.binary())));
        assert!(why.contains("changed after it was signed"), "{why}");
    }
}

#[test]
fn nothing_unsigned_is_let_in() {
    let key = Key::new(1);
    let signed = key.clearsign(TEXT);
    let begin = "-----BEGIN PGP SIGNED MESSAGE-----\n";
    let other = Key::new(2).clearsign("Suite: other\n");
    for changed in [
        format!("Suite: evil\n{signed}"),
        format!("\n{signed}"),
        format!("{signed}Suite: evil\n"),
        format!("{signed}{other}"),
        format!("{other}{signed}"),
        signed.replace("Hash: SHA256\n", "Hash: SHA256\nNotDashEscaped: yes\n"),
        signed.replace("Hash: SHA256\n", "Hash: SHA256\nSuite: evil\n"),
        signed.replace(begin, &format!("{begin}Hash: SHA256\n \n")),
        signed.replace("\n\nOrigin", "\nOrigin"),
        signed.replace("Suite:", "\u{b}Suite:"),
        signed.replace("Suite:", "x\rSuite:"),
        signed.replace("Suite:", "\0Suite:"),
        signed.replace("-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURE----- "),
        signed.replace("-----END PGP SIGNATURE-----", "-----BEGIN PGP SIGNATURE-----"),
        signed.replace("-----END PGP SIGNATURE-----\n", ""),
        TEXT.to_owned(),
        begin.to_owned(),
        String::new(),
    ] {
        let result = read(&changed, &keyring(key.binary()));
        assert!(matches!(result, Err(Error::Cleartext(_))), "{result:?} of:\n{changed}");
    }
}

#[test]
fn every_truncation_fails() {
    let key = Key::new(1);
    let signed = key.clearsign(TEXT);
    let keys = keyring(key.binary());
    for length in (0..signed.len() - 1).step_by(7) {
        assert!(read(&signed[..length], &keys).is_err(), "{length}");
    }
}

#[test]
fn unknown_keys_are_named() {
    let (key, other) = (Key::new(1), Key::new(2));
    let error = read(&key.clearsign(TEXT), &keyring(other.binary())).unwrap_err();
    let Error::Signature(cause) = error else { panic!("{error}") };
    let message = cause.to_string();
    assert!(
        message.contains("is not in the keyrings") && message.contains("test.gpg"),
        "{message}"
    );
    assert!(message.contains("--keyring"), "{message}");
}

#[test]
fn one_valid_signature_of_several_suffices() {
    let (key, other) = (Key::new(1), Key::new(2));
    let sign = |key: &Key| cleartext::parse(key.clearsign(TEXT).as_bytes()).unwrap();
    let message = CleartextSignedMessage::new_many(TEXT.trim_end(), |_| {
        Ok(vec![sign(&other).signatures.remove(0), sign(&key).signatures.remove(0)])
    })
    .unwrap();
    let signed = message.to_armored_string(ArmorOptions::default()).unwrap();
    let release = read(&signed, &keyring(key.binary())).unwrap();
    assert_eq!(release.signed_by.len(), 1);
    let mut both = keyring(key.binary());
    both.add("other.asc", other.armoured().as_bytes()).unwrap();
    assert_eq!(read(&signed, &both).unwrap().signed_by.len(), 2);
    assert!(read(&signed, &both.restricted_to(&[key.fingerprint()])).is_ok());
}

#[test]
fn weak_hashes_do_not_count() {
    let key = Key::of_type(2, KeyType::Rsa(2048));
    for hash in [HashAlgorithm::Sha1, HashAlgorithm::Md5, HashAlgorithm::Sha224] {
        let signed = key.clearsign_as(TEXT, Signing { hash, ..Signing::default() });
        assert!(refusal(read(&signed, &keyring(key.binary()))).contains("weaker"), "{hash:?}");
    }
}

#[test]
fn a_key_counts_only_while_it_lives() {
    let mut key = Key::new(1);
    key.sign_with_subkey = false;
    let expiring = key.with_details(|public, secret| {
        let user = &mut public.details.users[0];
        let mut certification = config(
            &secret.primary_key,
            Signing { kind: SignatureType::CertPositive, at: LATER, ..Signing::default() },
        );
        let expiry = SubpacketData::KeyExpirationTime(Duration::from_secs(5000));
        certification.hashed_subpackets.push(Subpacket::regular(expiry).unwrap());
        let signature = certification
            .sign_certification(
                &secret.primary_key,
                &public.primary_key,
                &Password::empty(),
                Tag::UserId,
                &user.id,
            )
            .unwrap();
        user.signatures.push(signature);
    });
    let at = |at| key.clearsign_as(TEXT, Signing { at, ..Signing::default() });
    assert!(read(&at(CREATED + 4999), &keyring(&expiring)).is_ok(), "it has expired since");
    assert!(refusal(read(&at(CREATED + 5000), &keyring(&expiring))).contains("had expired"));
    assert!(refusal(read(&at(CREATED - 1), &keyring(key.binary()))).contains("had expired"));
}

#[test]
fn a_revoked_key_counts_no_more() {
    let key = Key::new(1);
    let revoked = key.with_details(|public, secret| {
        let signing =
            Signing { kind: SignatureType::KeyRevocation, at: CREATED + 1, ..Signing::default() };
        let revocation = config(&secret.primary_key, signing)
            .sign_key(&secret.primary_key, &Password::empty(), &public.primary_key)
            .unwrap();
        public.details.revocation_signatures.push(revocation);
    });
    assert!(refusal(read(&key.clearsign(TEXT), &keyring(&revoked))).contains("was revoked"));
    // Also when another keyring has an older copy of the key.
    for order in [[&revoked, &key.binary()], [&key.binary(), &revoked]] {
        let mut keys = Keyring::default();
        for bytes in order {
            keys.add("some.gpg", bytes).unwrap();
        }
        assert!(refusal(read(&key.clearsign(TEXT), &keys)).contains("was revoked"));
    }
}

#[test]
fn a_subkey_must_be_bound_both_ways() {
    let (key, other) = (Key::new(1), Key::new(2));
    // Somebody else's subkey, put below a trusted key.
    let grafted =
        key.with_details(|public, _| public.public_subkeys = other.public().public_subkeys);
    assert!(refusal(read(&other.clearsign(TEXT), &keyring(&grafted))).contains("not bound"));
    let revoked = key.with_details(|public, secret| {
        let signing = Signing { kind: SignatureType::SubkeyRevocation, ..Signing::default() };
        let subkey = &mut public.public_subkeys[0];
        let revocation = config(&secret.primary_key, signing)
            .sign_subkey_binding(
                &secret.primary_key,
                &public.primary_key,
                &Password::empty(),
                &subkey.key,
            )
            .unwrap();
        subkey.signatures.push(revocation);
    });
    assert!(refusal(read(&key.clearsign(TEXT), &keyring(&revoked))).contains("was revoked"));
    let encryption_only = key.with_details(|public, secret| {
        let signing =
            Signing { kind: SignatureType::SubkeyBinding, at: LATER, ..Signing::default() };
        let subkey = &mut public.public_subkeys[0];
        let binding = config(&secret.primary_key, signing)
            .sign_subkey_binding(
                &secret.primary_key,
                &public.primary_key,
                &Password::empty(),
                &subkey.key,
            )
            .unwrap();
        subkey.signatures.push(binding);
    });
    let why = refusal(read(&key.clearsign(TEXT), &keyring(&encryption_only)));
    assert!(why.contains("may not be used for signing"), "{why}");
}

#[test]
fn a_signature_may_expire() {
    let key = Key::new(1);
    let mut config = config(key.primary(), Signing::default());
    let expiry = SubpacketData::SignatureExpirationTime(Duration::from_secs(10));
    config.hashed_subpackets.push(Subpacket::regular(expiry).unwrap());
    let message =
        CleartextSignedMessage::new(TEXT.trim_end(), config, key.primary(), &Password::empty())
            .unwrap();
    let signed = message.to_armored_string(ArmorOptions::default()).unwrap();
    let keys = keyring(key.binary());
    assert!(refusal(read(&signed, &keys)).contains("has expired"));
    assert!(Release::from_inrelease(signed.as_bytes(), &keys, u64::from(CREATED) + 1005).is_ok());
}

#[test]
fn detached_signatures() {
    let key = Key::new(1);
    let keys = keyring(key.binary());
    let signature = key.detach_armoured(TEXT.as_bytes());
    let read = |text: &str, signature: &str| {
        Release::from_detached(text.as_bytes(), signature.as_bytes(), &keys, NOW)
    };
    assert!(read(TEXT, &signature).is_ok());
    let unknown = Key::new(2).detach_armoured(TEXT.as_bytes());
    assert!(read(TEXT, &format!("{unknown}\n{signature}")).is_ok(), "two blocks");
    assert!(matches!(read(TEXT, &unknown), Err(Error::Signature(_))));
    assert!(matches!(read(&TEXT.replace("sid", "sie"), &signature), Err(Error::Signature(_))));
    assert!(matches!(read(TEXT, ""), Err(Error::Cleartext(_))));
    assert!(matches!(read(TEXT, "garbage"), Err(Error::Cleartext(_))));
}

#[test]
fn expiry_is_a_value() {
    let release = Release::parse_unverified(TEXT).unwrap();
    let until = release.valid_until.unwrap();
    assert_eq!(release.freshness(until), Freshness::Current);
    assert_eq!(release.freshness(until + 9), Freshness::Expired { seconds: 9 });
    assert_eq!(release.freshness(release.date - 5), Freshness::Future { seconds: 5 });
    let stable = Release { valid_until: None, ..release };
    assert_eq!(stable.freshness(u64::MAX), Freshness::Current);
}

#[test]
fn the_suite_must_be_the_one_asked_for() {
    let release = Release::parse_unverified(TEXT).unwrap();
    assert!(release.check_suite("sid").is_ok() && release.check_suite("unstable").is_ok());
    for asked in ["trixie", "stable", "si", "sid-updates", ""] {
        let error = release.check_suite(asked).unwrap_err();
        assert!(error.to_string().contains("`unstable`"), "{error}");
    }
    let text = TEXT.replace("Suite: unstable", "Suite: noble-updates").replace("sid", "noble");
    let pocket = Release::parse_unverified(&text).unwrap();
    assert!(pocket.check_suite("noble-updates").is_ok());
    assert!(pocket.check_suite("noble").is_err());
}

#[test]
fn malformed_releases() {
    for (from, to, problem) in [
        ("SHA256:", "MD5Sum:", "no `SHA256`"),
        ("Date:", "Dated:", "no `Date`"),
        ("12 Sep", "12 Foo", "expected a date"),
        ("Suite:", "Codename:", "twice"),
        ("e3b0", "E3B0", "sha256 size path"),
        ("855 0 main", "855 -1 main", "sha256 size path"),
        ("855 0 main", "855 0 ../main", "not a path below"),
        ("855 0 main", "855 0 /main", "not a path below"),
        ("Origin: Test\n", "Origin: Test\n\n", "one stanza"),
        ("Origin: Test\n", "Origin Test\n", "line 1"),
    ] {
        let error = Release::parse_unverified(&TEXT.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}, expected {problem}");
    }
}

#[test]
fn keyring_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (one, two) = (Key::new(1), Key::new(2));
    let none: [&std::path::Path; 0] = [];
    assert!(matches!(Keyring::read(none), Err(keyring::Error::Empty { .. })));
    let error = Keyring::read([path("none.gpg")]).unwrap_err();
    assert!(error.to_string().contains("debian-archive-keyring"), "{error}");
    std::fs::write(path("a.gpg"), [one.binary(), two.binary()].concat()).unwrap();
    std::fs::write(path("b.asc"), format!("{}\n{}", one.armoured(), two.armoured())).unwrap();
    for name in ["a.gpg", "b.asc"] {
        let keys = Keyring::read([path(name)]).unwrap();
        assert_eq!(keys.fingerprints().count(), 2, "{name}");
        assert!(keys.shares_a_key_with(&keyring(one.binary())));
    }
    std::fs::write(path("notes.txt"), "not a key").unwrap();
    assert_eq!(Keyring::read([directory.path()]).unwrap().fingerprints().count(), 2);
    for garbage in [&b"not a key"[..], &[0xff; 40], &one.binary()[..40]] {
        std::fs::write(path("c.gpg"), garbage).unwrap();
        let error = Keyring::read([path("c.gpg")]).unwrap_err();
        assert!(matches!(&error, keyring::Error::NotKeys { .. }), "{error}");
    }
}
