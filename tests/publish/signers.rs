//! Signatures that others verify, and others that sign.

use std::fs;
use std::path::Path;
use std::process::Command;

use counterfoil::statement::dsse::{Envelope, PAYLOAD_TYPE, pae};
use counterfoil::statement::key::{KeyError, PrivateKey, PublicKey};

use super::{key, pem};

fn openssl(arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn openssl_verifies_what_we_sign() {
    let place = tempfile::tempdir().unwrap();
    let (key, payload) = (key(3), b"{\"what\":\"ever\"}".to_vec());
    let envelope = Envelope::sign(payload.clone(), &key).unwrap();
    fs::write(place.path().join("pae"), pae(PAYLOAD_TYPE, &payload)).unwrap();
    fs::write(place.path().join("sig"), envelope.signature.to_der()).unwrap();
    fs::write(place.path().join("pub.pem"), key.public().to_pem()).unwrap();
    let said = openssl(
        &["dgst", "-sha256", "-verify", "pub.pem", "-signature", "sig", "pae"],
        place.path(),
    );
    assert_eq!(String::from_utf8(said).unwrap().trim(), "Verified OK");
    // The same bytes every time.
    assert_eq!(Envelope::sign(payload, &key).unwrap(), envelope);
}

#[test]
fn keys_that_openssl_writes_are_read() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| fs::read(place.path().join(name)).unwrap();
    let make = |curve: &str, name: &str| {
        openssl(&["ecparam", "-name", curve, "-genkey", "-out", name], place.path());
    };
    make("prime256v1", "sec1.pem");
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "sec1.pem", "-out", "pkcs8.pem"], place.path());
    openssl(&["pkey", "-in", "sec1.pem", "-pubout", "-out", "pub.pem"], place.path());
    let public = PublicKey::from_pem(&at("pub.pem")).unwrap();
    for name in ["sec1.pem", "pkcs8.pem"] {
        assert_eq!(PrivateKey::from_pem(at(name)).unwrap().public(), public, "{name}");
    }
    make("secp384r1", "p384.pem");
    let error = PrivateKey::from_pem(at("p384.pem")).unwrap_err();
    assert_eq!(error.to_string(), "key is ECDSA on P-384: expected ECDSA on P-256 (prime256v1)");
    openssl(
        &["pkey", "-in", "sec1.pem", "-aes256", "-passout", "pass:x", "-out", "locked.pem"],
        place.path(),
    );
    assert_eq!(PrivateKey::from_pem(at("locked.pem")).unwrap_err(), KeyError::Encrypted);
    assert!(matches!(PrivateKey::from_pem(at("pub.pem")), Err(KeyError::Label { .. })));
    assert!(PublicKey::from_pem(pem(1).as_bytes()).is_err());
}
