//! What a log and its witnesses sign, held against others' Ed25519 and ML-DSA-44.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use counterfoil::digest::Sha256;
use counterfoil::log::{
    Algorithm, Checkpoint, Note, Signature, Signed, SignerKey, VerifierKey, cosign,
};
use support::peer;

const TIME: u64 = 1_795_348_800;

fn notes() -> Vec<Note> {
    let of = |origin: &str, size, extensions: &[&str]| {
        let extensions = extensions.iter().map(|line| (*line).to_owned()).collect();
        let root = Sha256::of(format!("{origin}{size}"));
        let text = Checkpoint { origin: origin.to_owned(), size, root, extensions }.text();
        Note { text, signatures: Vec::new() }
    };
    vec![
        of("example.com/log", 7, &[]),
        of("go.sum database tree", 0, &[]),
        of("\u{e4}", u64::MAX >> 1, &["an extension"]),
        of(&"o".repeat(255), 20_852_163, &["a", "b"]),
    ]
}

fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command = command.env("LANG", "C.UTF-8");
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// ML-DSA-44 without a random number has one signature for each message: both must come to the same bytes.
#[test]
fn ml_dsa_44_by_another_implementation() {
    let Some(python) = peer::ml_dsa() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/log/cosign.py");
    let peer = || {
        let mut command = Command::new(&python);
        command.arg(&script);
        command
    };
    for (seed, (note, name)) in notes()
        .into_iter()
        .zip(["example.org/w", "w", "\u{e4}/\u{2014}", "oid/1.3.6.1"])
        .enumerate()
    {
        let seed = [u8::try_from(seed).unwrap() + 1; 32];
        let ours = SignerKey::from_seed(name, Algorithm::MlDsa44Cosignature, seed).unwrap();
        let line = cosign(&note, &ours, TIME).unwrap();

        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut sign = peer();
        sign.args(["sign", name, &hex, &TIME.to_string()]);
        let output = feed(&mut sign, note.text.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (vkey, theirs) = text.trim_end().split_once('\n').unwrap();
        assert_eq!(vkey, ours.verifier().to_string(), "{name}");
        assert_eq!(theirs, line.to_string(), "{name}");
        let key: VerifierKey = vkey.parse().unwrap();
        let signed = Note { signatures: vec![theirs.parse().unwrap()], ..note.clone() };
        assert_eq!(key.verify(&signed), Signed::Good { time: Some(TIME) }, "{name}");

        let verify = |line: &Signature| {
            let mut verify = peer();
            verify.args(["verify", vkey, &line.to_string()]);
            feed(&mut verify, note.text.as_bytes())
        };
        let output = verify(&line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), TIME.to_string());
        let mut other = line;
        other.bytes[7] ^= 1;
        let output = verify(&other);
        assert!(!output.status.success(), "another time, for both");
        let signed = Note { signatures: vec![other], ..note.clone() };
        assert_eq!(ours.verifier().verify(&signed), Signed::Bad);
    }
}

/// The header of a private key (RFC 8410, section 7) and of a public one (section 4), before 32 bytes.
const PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

#[test]
fn ed25519_by_openssl() {
    let directory = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        let output = command.current_dir(directory.path()).args(arguments).output();
        output.unwrap_or_else(|error| panic!("openssl cannot be started: {error}"))
    };
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    for (at, note) in notes().into_iter().enumerate() {
        let seed = [u8::try_from(at).unwrap() + 1; 32];
        write("private", &[PKCS8, &seed].concat());
        for algorithm in [Algorithm::Ed25519, Algorithm::Ed25519Cosignature] {
            let key = SignerKey::from_seed("example.org/w", algorithm, seed).unwrap();
            // The messages, by the letter of signed-note and tlog-cosignature.
            let (line, message) = match algorithm {
                Algorithm::Ed25519 => {
                    let signed = Checkpoint::parse(&note.text).unwrap().sign(&key).unwrap();
                    (signed.signatures[0].clone(), note.text.clone())
                }
                _ => {
                    let message = format!("cosignature/v1\ntime 1795348800\n{}", note.text);
                    (cosign(&note, &key, TIME).unwrap(), message)
                }
            };
            let signature = &line.bytes[line.bytes.len() - 64..];
            write("message", message.as_bytes());
            write("public", &[SPKI, key.verifier().key()].concat());
            write("ours", signature);
            let verify = [
                "pkeyutl", "-verify", "-rawin", "-in", "message", "-sigfile", "ours", "-pubin",
                "-inkey", "public", "-keyform", "DER",
            ];
            let output = openssl(&verify);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let sign = [
                "pkeyutl", "-sign", "-rawin", "-in", "message", "-out", "theirs", "-inkey",
                "private", "-keyform", "DER",
            ];
            let output = openssl(&sign);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(fs::read(directory.path().join("theirs")).unwrap(), signature);
            write("message", format!("{message}x").as_bytes());
            assert!(!openssl(&verify).status.success());
        }
    }
}
