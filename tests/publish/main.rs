//! What is published: statements with one spelling, signatures that others verify, and everything else refused.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod command;
mod formats;
mod signers;
mod sigstore;
#[path = "../support/mod.rs"]
mod support;
mod verified;

use counterfoil::digest::Sha256;
use counterfoil::log::{Algorithm, SignerKey};
use counterfoil::report::{Policy, Time};
use counterfoil::statement::constraints::Constraints;
use counterfoil::statement::intoto::{Digests, Statement, Subject};
use counterfoil::statement::key::PrivateKey;
use counterfoil::statement::launch::{Launch, Recipe, Revoked, Validity, measurements};
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

/// A private key in PEM: the number is it.
fn pem(number: u8) -> String {
    let mut bytes = [0; 32];
    bytes[31] = number;
    SecretKey::from_slice(&bytes).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_pem(pem(number).into_bytes()).unwrap()
}

fn log_key() -> SignerKey {
    SignerKey::from_seed("log.example.org", Algorithm::Ed25519, [9; 32]).unwrap()
}

/// Each key that goes into a statement, so that a newer default moves no bytes.
const POLICY: &str = r#"
version: 1
products: [Genoa, Turin]
signers: [vcek]
minimum-tcb:
  - {cpu: "0xa10f12", bootloader: 9, snp: 23, microcode: 0x4f}
  - {product: Turin, fmc: 1, snp: 1, microcode: 0x47}
guest-policy: {deny: [debug, migrate-ma], require: [ciphertext-hiding]}
platform: {deny: [], require: [alias-check]}
vmpl: [0]
minimum-guest-svn: 3
family-id: "000102030405060708090a0b0c0d0e0f"
id-keys: ["303132333435363738393a3b3c3d3e3f303132333435363738393a3b3c3d3e3f303132333435363738393a3b3c3d3e3f"]
host-data: "606162636465666768696a6b6c6d6e6f606162636465666768696a6b6c6d6e6f"
report-data: {labelled: any}
"#;

/// The statement of a release that is not there.
fn statement() -> Statement<Launch> {
    let time = |text: &str| text.parse::<Time>().unwrap();
    let digest = |text: &str| Digests::sha256(Sha256::of(text));
    Statement {
        subjects: vec![
            Subject::of("image/kernel", b"kernel"),
            Subject { name: "image/volumes/model.img".to_owned(), digest: digest("model") },
        ],
        predicate: Launch {
            release: "small".to_owned(),
            recipe: Recipe { manifest: digest("manifest"), lock: digest("lock") },
            launch_record: digest("record"),
            measurements: measurements(&support::launch::record(), None).unwrap(),
            report_constraints: Constraints::of(&Policy::parse("policy", POLICY).unwrap()),
            validity: Validity {
                not_before: time("2026-11-22T12:00:00Z"),
                not_after: time("2027-02-20T12:00:00Z"),
            },
            sequence: 7,
            supersedes: vec![Sha256::of("six")],
            revokes: vec![Revoked {
                statement: Sha256::of("five"),
                reason: "its kernel \"has\" a hole: ü".to_owned(),
            }],
        },
    }
}
