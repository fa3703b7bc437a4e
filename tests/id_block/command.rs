//! `counterfoil id-block`: every way to sign, and every wrong use with its exit code.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use counterfoil::launch::features::Policy;
use counterfoil::launch::id_block::{IdAuth, IdBlock, PublicKey, Signer};
use p384::elliptic_curve::sec1::ToEncodedPoint as _;
use p384::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde_json::Value;

use crate::support::place::{Place, Ran};
use crate::{
    AUTHOR_KEY, EC, ID_KEY, ORDER, P256, P384, block, der, keyless, pkcs8, private, sec1,
    sec1_spelled_out, secret, signed, unhex,
};

/// A place with keys, and a launch record of 2 vCPU counts.
fn place() -> Place {
    let place = Place::new();
    for (name, digits) in [("id", ID_KEY), ("author", AUTHOR_KEY)] {
        let key = secret(digits);
        place.write(&format!("{name}.pem"), key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes());
        let public = key.public_key().to_public_key_pem(LineEnding::LF).unwrap();
        place.write(&format!("{name}.pub"), public);
    }
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/launch/record.json");
    place.write("launch.json", fs::read(record).unwrap());
    place
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn json(place: &Place, line: &str) -> Value {
    let ran = place.succeeds(&words(&format!("id-block --format json {line}")));
    serde_json::from_str(&ran.stdout).unwrap()
}

const DIGEST: &str = "--digest 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30";
const IDS: &str = "--family-id 01000000000000000000000000000000 --image-id 02000000000000000000000000000000 --svn 2";
const ONE: &str = "--record launch.json --vcpus 2 --cpu EPYC-Milan --features 1";

#[test]
fn with_keys() {
    let place = place();
    let line = format!("{DIGEST} {IDS} --key id.pem --author-key author.pem --output a/b");
    let said = json(&place, &line);
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(read("a/b/id-block.bin"), block().bytes());
    assert_eq!(read("a/b/id-auth.bin"), signed().bytes());
    assert_eq!(read("a/b/id-key.bin"), signed().id_key().bytes());
    let digest = |key: &PublicKey| Value::from(key.digest().to_string());
    assert_eq!(said["id_key_digest"], digest(signed().id_key()));
    assert_eq!(said["author_key_digest"], digest(signed().author_key().unwrap()));
    assert_eq!((&said["author_key_enabled"], &said["signed"]), (&true.into(), &"key".into()));
    assert_eq!((&said["policy"], &said["guest_svn"]), (&"0x30000".into(), &2.into()));
    assert_eq!(said["policy_names"], serde_json::json!(["SMT", "RESERVED_ONE"]));
    let [block, auth] = ["id_block", "id_auth"].map(|key| said[key].as_str().unwrap());
    assert_eq!((block.len(), auth.len()), (128, 5464));
    let qemu = format!("policy=0x30000,id-block={block},id-auth={auth},author-key-enabled=on");
    assert_eq!(said["qemu"], qemu);
    // The same again is the same, and says the same.
    assert_eq!(json(&place, &line), said);
    place.is_clean();
    let verified = json(&place, &format!("{DIGEST} {IDS} --verify a/b --policy 0x30000"));
    for key in ["digest", "signed", "id_key_digest", "author_key_digest", "qemu"] {
        assert_eq!(verified[key], said[key], "{key}");
    }
    // The keys are nowhere in what is said or written.
    assert!(!said.to_string().contains(&ID_KEY[..16]));
}

#[test]
fn without_a_key() {
    let place = place();
    let said = json(&place, &format!("{DIGEST} {IDS} --keyless"));
    assert_eq!(fs::read(place.path("id-auth.bin")).unwrap(), keyless().bytes());
    assert_eq!(said["signed"], "keyless");
    assert_eq!(said["id_key_digest"], keyless().id_key().digest().to_string());
    // As a report has it where there is no author key.
    assert_eq!(said["author_key_digest"], "0".repeat(96));
    let ran = place.succeeds(&words(&format!("id-block {DIGEST} {IDS} --keyless")));
    assert!(ran.stdout.contains("keyless") && ran.stdout.contains("author-key-enabled=off"));
    assert!(ran.stderr.contains("policy 0x30000, which is QEMU's default"), "{}", ran.stderr);
    place.succeeds(&words(&format!("id-block --verify . {}", IDS.replace("--svn 2", "--svn 0x2"))));
    // Firmware that wants an author key can have one.
    let said = json(&place, &format!("{DIGEST} --keyless --author-key author.pem --output more"));
    assert_eq!((&said["signed"], &said["author_key_enabled"]), (&"keyless".into(), &true.into()));
}

#[test]
fn from_a_record() {
    let place = place();
    let said = json(&place, &format!("{ONE} --keyless"));
    assert_eq!(said["launch"]["cpu"], "EPYC-Milan");
    let measured = format!("measure {ONE} --format json");
    let measured: Value = serde_json::from_str(&place.succeeds(&words(&measured)).stdout).unwrap();
    assert_eq!(measured["digests"][0]["digest"], said["digest"]);
    place.succeeds(&words("id-block --record launch.json --verify ."));
    place.succeeds(&words("id-block --verify ."));
    for (line, words_said) in [
        ("--record launch.json --vcpus 7 --verify .", "expected one of the"),
        ("--record launch.json --policy 0x70000 --verify .", "expected 0x70000"),
        ("--svn 1 --verify .", "GUEST_SVN 0: expected 1"),
        ("--image-id 02000000000000000000000000000000 --verify .", "IMAGE_ID"),
        (&format!("{DIGEST} --verify ."), "is for launch digest"),
    ] {
        place.refuses(&words(&format!("id-block {line}")), 10, &[words_said]);
    }
    let ran =
        place.succeeds(&words(&format!("id-block {ONE} --keyless --policy 0xb0000 --output d")));
    for said in ["the launch record has policy 0x30000", "policy allows DEBUG"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    let refuses = |line: &str, code, said| {
        place.refuses(&words(&format!("id-block {line} --keyless --output e")), code, &[said])
    };
    refuses("--record launch.json", 2, "an ID block is for one launch");
    refuses(&format!("{ONE} --policy 0x10000"), 10, "lacks bit 17");
    refuses("nowhere", 20, "is not a release");
    refuses("--record nowhere.json", 1, "nowhere.json");
    place.write("half/launch.json", place.read("launch.json"));
    refuses("half", 20, "firmware");
    assert!(!place.path("e").exists());
}

#[test]
fn with_a_key_elsewhere() {
    let place = place();
    let base = format!("id-block {DIGEST} {IDS}");
    let ran = place.succeeds(&words(&base));
    assert!(ran.stderr.contains("openssl dgst -sha384 -sign key.pem"), "{}", ran.stderr);
    assert!(!place.path("id-auth.bin").exists());
    assert_eq!(fs::read(place.path("id-block.bin")).unwrap(), block().bytes());
    let sign = |key: &str, message: &[u8]| {
        let bytes = private(key).sign(message).unwrap().bytes();
        let number = |at: usize| {
            let number: Vec<u8> = bytes[at..at + 48].iter().rev().copied().collect();
            number[number.iter().position(|byte| *byte != 0).unwrap()..].to_vec()
        };
        der(&number(0), &number(72))
    };
    place.write("id.der", sign(ID_KEY, &block().bytes()));
    place.write("author.der", sign(AUTHOR_KEY, &private(ID_KEY).public().bytes()));
    let with = "--signature id.der --public-key id.pub";
    let author = "--author-signature author.der --author-public-key author.pub";
    place.succeeds(&words(&format!("{base} {with} {author}")));
    assert_eq!(fs::read(place.path("id-auth.bin")).unwrap(), signed().bytes());
    place.succeeds(&words(&format!("{base} --key id.pem {author}")));

    let refuses = |line: &str, code, said: &str| {
        place.refuses(&words(&format!("{base} --output e {line}")), code, &[said])
    };
    let other = "--signature id.der --public-key author.pub";
    refuses(other, 10, "not signed by the ID key");
    refuses(&format!("{with} --policy 0x70000"), 10, "not signed by the ID key");
    let other = "--author-signature id.der --author-public-key author.pub";
    refuses(&format!("{with} {other}"), 10, "not signed by the author key");
    refuses("--signature id.der", 2, "--public-key");
    refuses("--public-key id.pub", 2, "--signature");
    refuses(&format!("{with} --author-signature author.der"), 2, "--author-public-key");
    refuses(author, 2, "there is no ID key");
    refuses("--author-key author.pem", 2, "there is no ID key");
    refuses(&format!("{with} --key id.pem"), 2, "cannot be used with");
    refuses("--key id.pem --keyless", 2, "cannot be used with");
    refuses("--signature id.der --public-key id.pem", 10, "expected a `PUBLIC KEY`");
    let whole = sign(ID_KEY, &block().bytes());
    let zero = der(&[0], &[1]);
    let order = der(&[2], &unhex::<48>(ORDER));
    let cases =
        [(&whole[..50], "DER"), (b"", "DER"), (&zero, "above zero"), (&order, "above zero")];
    for (bytes, said) in cases {
        place.write("bad.der", bytes);
        refuses("--signature bad.der --public-key id.pub", 30, said);
    }
    assert!(!place.path("e").exists());
}

#[test]
fn wrong_keys() {
    let place = place();
    let bare = sec1(None, &unhex::<48>(ID_KEY));
    let cases: [(&str, String, i32, &str); 8] = [
        ("spelled.pem", sec1_spelled_out(&unhex(ID_KEY)), 10, "on a curve without a name"),
        ("p256.pem", pkcs8(EC, Some(P256), b"key"), 10, "key is ECDSA on P-256"),
        ("rsa.pem", pkcs8("1.2.840.113549.1.1.1", None, b"key"), 10, "key is RSA"),
        ("sealed.pem", bare.replace("EC PRIVATE", "ENCRYPTED PRIVATE"), 20, "encrypted"),
        ("cut.pem", bare[..90].to_owned(), 30, "damaged"),
        ("zero.pem", sec1(Some(P384), &[0; 48]), 30, "numbers of the key"),
        ("empty.pem", String::new(), 30, "no PEM block"),
        ("public.pem", place.read("id.pub"), 10, "`PUBLIC KEY`"),
    ];
    for (name, pem, code, said) in cases {
        place.write(name, pem);
        for option in ["--key", "--keyless --author-key"] {
            let line = format!("id-block {DIGEST} --output e {option} {name}");
            place.refuses(&words(&line), code, &[said, name, "hint: "]);
        }
    }
    place.refuses(&words(&format!("id-block {DIGEST} --key nowhere.pem")), 1, &["nowhere.pem"]);
    assert!(!place.path("e").exists());
}

#[test]
fn wrong_words() {
    let place = place();
    for (line, said) in [
        ("--keyless", "no launch to make an ID block of"),
        ("--digest 0102 --keyless", "96 hex digits"),
        (&format!("{DIGEST} --record launch.json"), "cannot be used with"),
        (&format!("{DIGEST} --vcpus 2"), "cannot be used with"),
        (&format!("{DIGEST} --family-id llama"), "32 hex digits"),
        (&format!("{DIGEST} --svn 4294967296"), "--svn"),
        (&format!("{DIGEST} --svn 0x100000000"), "--svn"),
        (&format!("{DIGEST} --policy debug"), "--policy"),
        ("--verify . --keyless", "cannot be used with"),
        ("--verify . --vcpus 2", "expected one"),
    ] {
        place.refuses(&words(&format!("id-block {line}")), 2, &[said]);
    }
}

#[test]
fn other_files_are_left_alone() {
    let place = place();
    let line = format!("id-block {DIGEST} --keyless");
    place.succeeds(&words(&line));
    let before = fs::read(place.path("id-auth.bin")).unwrap();
    let ran = place.refuses(&words(&format!("{line} --svn 1")), 2, &["is there and is another"]);
    assert!(ran.stderr.contains("--output"), "{}", ran.stderr);
    // Nor is half of it written where only one is in the way.
    fs::remove_file(place.path("id-block.bin")).unwrap();
    place.refuses(&words(&format!("{line} --svn 1")), 2, &["id-key.bin"]);
    assert!(!place.path("id-block.bin").exists());
    assert_eq!(fs::read(place.path("id-auth.bin")).unwrap(), before);
    // A link is in the way wherever it leads, unless it leads to the same.
    fs::create_dir(place.path("dl")).unwrap();
    symlink("nowhere", place.path("dl/id-auth.bin")).unwrap();
    let linked = format!("{line} --output dl");
    place.refuses(&words(&linked), 2, &["dl/id-auth.bin", "is there and is another"]);
    assert_eq!(fs::read_dir(place.path("dl")).unwrap().count(), 1);
    fs::remove_file(place.path("dl/id-auth.bin")).unwrap();
    symlink("../id-auth.bin", place.path("dl/id-auth.bin")).unwrap();
    place.succeeds(&words(&linked));
}

#[test]
fn damaged_files_are_not_verified() {
    let place = place();
    let line = format!("id-block {DIGEST} --keyless --output v");
    place.succeeds(&words(&line));
    let (block, auth) = (place.path("v/id-block.bin"), place.path("v/id-auth.bin"));
    let whole = [&block, &auth].map(|path| fs::read(path).unwrap());
    let changed = |index: usize, at: usize| {
        let mut bytes = whole[index].clone();
        bytes[at] ^= 0x10;
        bytes
    };
    for (path, bytes, code, said) in [
        (&block, changed(0, 0), 10, "does not authenticate"),
        (&block, changed(0, 0x50), 30, "VERSION at offset 0x50 is 0x11"),
        (&block, whole[0][..95].to_vec(), 30, "95 bytes: expected 96"),
        (&auth, changed(1, 0x41), 10, "signature of the ID block does not hold"),
        (&auth, changed(1, 0xfff), 30, "byte at offset 0xfff is 0x10"),
        (&auth, changed(1, 4), 30, "AUTH_KEY_ALGO at offset 0x4"),
        (&auth, changed(1, 0x244), 30, "ID_KEY at offset 0x240 is not a point"),
        (&auth, Vec::new(), 30, "0 bytes: expected 4096"),
    ] {
        fs::write(path, bytes).unwrap();
        place.refuses(&["id-block", "--verify", "v"], code, &[said]);
        fs::write(&block, &whole[0]).unwrap();
        fs::write(&auth, &whole[1]).unwrap();
    }
    place.succeeds(&["id-block", "--verify", "v"]);
    place.refuses(&["id-block", "--verify", "w"], 1, &["id-block.bin"]);
}

/// Making and checking say the same of a policy.
#[test]
fn policies() {
    let place = place();
    let made = |policy: &str| format!("id-block {DIGEST} --keyless --policy {policy} --output e");
    for (policy, said) in [
        ("0x10000", "lacks bit 17"),
        ("0x0", "lacks bit 17"),
        ("0x4030000", "has reserved bits: bit 26:"),
        ("0x8000000004030000", "has reserved bits: bit 26, bit 63:"),
        ("0xffffffffffffffff", "has reserved bits: bit 26, bit 27,"),
    ] {
        place.refuses(&words(&made(policy)), 10, &[said, policy, "hint: "]);
        assert!(!place.path("e").exists());
        // Another program may have signed it.
        let policy = number(policy);
        let block = IdBlock { policy: Policy(policy), ..block() };
        place.write("v/id-block.bin", block.bytes());
        place.write("v/id-auth.bin", IdAuth::new(&block, &Signer::Keyless, None).unwrap().bytes());
        place.refuses(&words("id-block --verify v"), 10, &[said, "hint: "]);
    }
    for (policy, warnings) in [
        ("0x3f7ffff", vec!["MIGRATE_MA"]),
        ("0xb0000", vec!["DEBUG"]),
        ("0xf0000", vec!["DEBUG", "MIGRATE_MA"]),
        ("0x30000", vec![]),
    ] {
        let directory = format!("w/{policy}");
        let make = format!("id-block {DIGEST} --keyless --policy {policy} --output {directory}");
        for line in [make, format!("id-block --verify {directory}")] {
            let ran = place.succeeds(&words(&line));
            let said = ran.stderr.lines().filter(|line| line.contains("warning: policy allows"));
            let said: Vec<&str> = said.collect();
            assert_eq!(said.len(), warnings.len(), "{line}: {}", ran.stderr);
            for (said, warning) in said.iter().zip(&warnings) {
                assert!(said.contains(warning), "{said}");
            }
        }
    }
}

fn number(hex: &str) -> u64 {
    u64::from_str_radix(&hex[2..], 16).unwrap()
}

/// A record whose firmware runs what the host names, without a launch that would have to be made.
#[test]
fn a_hole_in_the_firmware_is_said() {
    let place = place();
    let evidence = r#"{
          "module": "806040ca-dad9-4978-a3b4-2d2ab0c8a48f",
          "name": null,
          "sha256": "5ac246034e863f188e32d0bd4de152e050d207a62e41a297f75387b4656e6cc8",
          "offset": 76
        }"#;
    let run = format!(
        "\"state\": \"run\",\n        \"read_by\": {evidence},\n        \"started_by\": {evidence}"
    );
    let record = place.read("launch.json").replace("\"state\": \"not-read\"", &run);
    place.write("launch.json", record);
    for line in [&format!("{ONE} --keyless"), "--record launch.json --verify ."] {
        let ran = place.succeeds(&words(&format!("id-block {line}")));
        assert!(ran.stderr.contains("warning: the firmware has a hole"), "{line}: {}", ran.stderr);
    }
}

/// JSON is text, and a path need not be.
#[test]
fn paths_that_are_not_text() {
    let place = place();
    let directory = OsStr::from_bytes(b"bad\xff\"dir");
    let digest = words(DIGEST);
    for (rest, option) in [(&["--keyless"][..], "--output"), (&[], "--verify")] {
        let mut command = place.command(&["id-block", "--format", "json"]);
        let output = command.args(&digest).args(rest).arg(option).arg(directory).output().unwrap();
        let ran = Ran::of(&output);
        assert_eq!(ran.code, 0, "{option}: {}", ran.stderr);
        let said: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(said["files"][0], "bad\u{fffd}\"dir/id-block.bin");
    }
}

/// What openssl signs is taken, and what is made here, with and without a key, openssl verifies.
#[test]
fn openssl_agrees() {
    let place = place();
    let openssl =
        |line: &str| Command::new("openssl").args(words(line)).current_dir(place.root()).output();
    if openssl("version").is_err() {
        eprintln!("skipped: no openssl");
        return;
    }
    let run = |line: &str| {
        let output = openssl(line).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "openssl {line}: {said}");
    };
    run("ecparam -name secp384r1 -genkey -out key.pem");
    run("pkey -in key.pem -pubout -out key.pub");
    let base = format!("id-block {DIGEST}");
    place.succeeds(&words(&base));
    run("dgst -sha384 -sign key.pem -out id.der id-block.bin");
    place.succeeds(&words(&format!("{base} --signature id.der --public-key key.pub")));
    place.succeeds(&words("id-block --verify ."));
    place.succeeds(&words(&format!("{base} --key key.pem --output here")));
    place.succeeds(&words(&format!("{base} --keyless --output keyless")));
    for directory in ["here", "keyless"] {
        let read = |name: &str| fs::read(place.path(&format!("{directory}/{name}"))).unwrap();
        let big = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
        let trimmed = |bytes: &[u8]| {
            let bytes = big(bytes);
            bytes[bytes.iter().position(|byte| *byte != 0).unwrap()..].to_vec()
        };
        let (auth, key) = (read("id-auth.bin"), read("id-key.bin"));
        place.write("made.der", der(&trimmed(&auth[0x40..0x70]), &trimmed(&auth[0x88..0xb8])));
        let point = [vec![4], big(&key[4..0x34]), big(&key[0x4c..0x7c])].concat();
        let key = p384::PublicKey::from_sec1_bytes(&point).unwrap();
        assert_eq!(key.to_encoded_point(false).as_bytes(), point);
        place.write("made.pub", key.to_public_key_pem(LineEnding::LF).unwrap());
        run(&format!("dgst -sha384 -verify made.pub -signature made.der {directory}/id-block.bin"));
    }
}
