//! What is published, held against programs that others wrote: Sigstore's verifiers, torchwood and its witness,
//! and Sigsum.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64ct::{Base64, Encoding as _};
use counterfoil::log::{Algorithm, VerifierKey};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use support::debian::{self, Running};
use support::place::{Place, Ran, copy};
use support::{real, ssh_agent};

/// Runs a program of the system's.
fn tool(place: &Place, words: &[&str]) {
    let output =
        Command::new(words[0]).args(&words[1..]).current_dir(place.root()).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A release that was published in a log of its own, once a test run.
fn published() -> Place {
    static ONCE: OnceLock<Place> = OnceLock::new();
    let first = ONCE.get_or_init(|| {
        let place = Place::new();
        copy(&real::release("hello"), &place.path("release"));
        tool(
            &place,
            &["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sec1.key"],
        );
        tool(
            &place,
            &["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", "sec1.key", "-out", "publisher.key"],
        );
        tool(
            &place,
            &["openssl", "pkey", "-in", "publisher.key", "-pubout", "-out", "publisher.pem"],
        );
        let key = ["log", "key", "--name", "log.example", "--type", "log", "--output", "log.key"];
        place.write("log.vkey", place.succeeds(&key).stdout);
        place.succeeds(&["log", "init", "log", "--key", "log.key"]);
        // Something is before and behind it.
        place.write("entries", "one\ntwo\nthree\n");
        place.succeeds(&["log", "append", "log", "--key", "log.key", "--entries", "entries"]);
        place.succeeds(&[
            "publish",
            "release",
            "--key",
            "publisher.key",
            "--sequence",
            "1",
            "--log",
            "log",
            "--log-key",
            "log.key",
        ]);
        let root = place.succeeds(&["log", "trusted-root", "--log", "log.vkey"]).stdout;
        place.write("trusted_root.json", root);
        place
    });
    let place = Place::new();
    copy(first.root(), place.root());
    place
}

/// Everything in a bundle that its verifiers must look at, each in another way wrong.
fn tampered(bundle: &Value) -> Vec<(&'static str, Value)> {
    let changed = |pointer: &str, change: &dyn Fn(&str) -> String| {
        let mut bundle = bundle.clone();
        let at = bundle.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"));
        *at = change(at.as_str().unwrap()).into();
        bundle
    };
    let flipped = |text: &str| {
        let mut bytes = Base64::decode_vec(text).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Base64::encode_string(&bytes)
    };
    let entry = "/verificationMaterial/tlogEntries/0";
    let mut keyed = bundle.clone();
    keyed["dsseEnvelope"]["signatures"][0]["keyid"] = "x".into();
    vec![
        ("payload", changed("/dsseEnvelope/payload", &flipped)),
        ("type", changed("/dsseEnvelope/payloadType", &|it| format!("{it}x"))),
        ("signature", changed("/dsseEnvelope/signatures/0/sig", &flipped)),
        ("path", changed(&format!("{entry}/inclusionProof/hashes/0"), &flipped)),
        ("index", changed(&format!("{entry}/logIndex"), &|it| format!("1{it}"))),
        ("log", changed(&format!("{entry}/logId/keyId"), &flipped)),
        (
            "size",
            changed(&format!("{entry}/inclusionProof/checkpoint/envelope"), &|it| {
                let mut lines: Vec<_> = it.split('\n').map(str::to_owned).collect();
                lines[1] += "0";
                lines.join("\n")
            }),
        ),
        ("key id", keyed),
    ]
}

#[test]
fn cosign_accepts_what_is_published() {
    let Some(cosign) = debian::program("cosign") else { return };
    let place = published();
    let kind = |bundle: &Value| {
        let payload =
            Base64::decode_vec(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        statement["predicateType"].as_str().unwrap().to_owned()
    };
    let verify = |bundle: &str, key: &str, kind: &str, file: &str| {
        let mut command = debian::offline(&cosign);
        command.args([
            "verify-blob-attestation",
            "--trusted-root",
            "trusted_root.json",
            "--bundle",
            bundle,
        ]);
        command.args(["--key", key, "--type", kind, file]).current_dir(place.root());
        let ran = Ran::of(&command.output().unwrap());
        (ran.code == 0, format!("{}{}", ran.stdout, ran.stderr))
    };
    tool(
        &place,
        &["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "other.key"],
    );
    tool(&place, &["openssl", "pkey", "-in", "other.key", "-pubout", "-out", "other.pem"]);
    place.write("other", "another file");
    for name in ["release/statement.sigstore.json", "release/provenance.sigstore.json"] {
        let bundle: Value = serde_json::from_str(&place.read(name)).unwrap();
        let kind = kind(&bundle);
        for file in ["image/kernel", "image/initrd", "launch.json"] {
            let (accepted, said) = verify(name, "publisher.pem", &kind, &format!("release/{file}"));
            assert!(accepted, "{name}, {file}: {said}");
        }
        assert!(!verify(name, "other.pem", &kind, "release/image/kernel").0);
        assert!(!verify(name, "publisher.pem", "urn:other", "release/image/kernel").0);
        assert!(!verify(name, "publisher.pem", &kind, "other").0);
        for (what, bundle) in tampered(&bundle) {
            place.write("tampered.json", bundle.to_string());
            assert!(
                !verify("tampered.json", "publisher.pem", &kind, "release/image/kernel").0,
                "{name}: {what}"
            );
        }
    }
}

/// sigstore-go's own program wants a time, which here an authority of OpenSSL's gives (RFC 3161).
#[test]
fn sigstore_go_accepts_what_is_published() {
    let Some(verifier) = debian::program("sigstore-go-verification") else { return };
    let place = published();
    authority(&place);
    let verify = |bundle: &Value, file: &str| {
        place.write("stamped.json", stamped(&place, bundle).to_string());
        let mut command = debian::offline(&verifier);
        command.args(["-artifact", file, "-publicKey", "publisher.pem", "-requireCTlog=false"]);
        command
            .args(["-trustedrootJSONpath", "stamping_root.json", "stamped.json"])
            .current_dir(place.root());
        let ran = Ran::of(&command.output().unwrap());
        (ran.code == 0, ran.stderr)
    };
    let bundle: Value =
        serde_json::from_str(&place.read("release/statement.sigstore.json")).unwrap();
    let (accepted, said) = verify(&bundle, "release/image/kernel");
    assert!(accepted, "{said}");
    assert!(!verify(&bundle, "publisher.pem").0);
    for (what, bundle) in tampered(&bundle) {
        assert!(!verify(&bundle, "release/image/kernel").0, "{what}");
    }
}

/// An authority for times, and a trusted root that knows it beside the log.
fn authority(place: &Place) {
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let request = |more: &[&str]| {
        tool(place, &[&["openssl", "req"], &new[..], more].concat());
    };
    request(&[
        "-x509",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=times",
        "-days",
        "3650",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign",
    ]);
    request(&["-new", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=a time"]);
    place.write(
        "extensions",
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n",
    );
    tool(
        place,
        &[
            "openssl",
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "3650",
            "-extfile",
            "extensions",
            "-out",
            "tsa.pem",
        ],
    );
    place.write(
        "ts.cnf",
        "[t]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\ness_cert_id_alg=sha256\n",
    );
    place.write("serial", "01");
    let der = |name: &str| {
        tool(
            place,
            &[
                "openssl",
                "x509",
                "-in",
                &format!("{name}.pem"),
                "-outform",
                "DER",
                "-out",
                &format!("{name}.der"),
            ],
        );
        json!({"rawBytes": Base64::encode_string(&fs::read(place.path(&format!("{name}.der"))).unwrap())})
    };
    let mut root: Value = serde_json::from_str(&place.read("trusted_root.json")).unwrap();
    root["timestampAuthorities"] = json!([{
        "subject": {"organization": "t", "commonName": "a time"},
        "uri": "https://times.example",
        "certChain": {"certificates": [der("tsa"), der("ca")]},
        "validFor": {"start": "2020-01-01T00:00:00Z"},
    }]);
    place.write("stamping_root.json", root.to_string());
}

fn stamped(place: &Place, bundle: &Value) -> Value {
    let signature = bundle["dsseEnvelope"]["signatures"][0]["sig"].as_str().unwrap();
    place.write("signature", Base64::decode_vec(signature).unwrap());
    tool(
        place,
        &["openssl", "ts", "-query", "-data", "signature", "-sha256", "-cert", "-out", "query"],
    );
    tool(
        place,
        &[
            "openssl",
            "ts",
            "-reply",
            "-config",
            "ts.cnf",
            "-section",
            "t",
            "-queryfile",
            "query",
            "-signer",
            "tsa.pem",
            "-inkey",
            "tsa.key",
            "-out",
            "reply",
        ],
    );
    let time = Base64::encode_string(&fs::read(place.path("reply")).unwrap());
    let mut bundle = bundle.clone();
    bundle["verificationMaterial"]["timestampVerificationData"] =
        json!({"rfc3161Timestamps": [{"signedTimestamp": time}]});
    bundle
}

/// torchwood's witness, which knows the log in `log.vkey`.
struct Witness {
    url: String,
    key: VerifierKey,
    _running: Running,
}

impl Witness {
    fn start(place: &Place, name: &str) -> Option<Self> {
        let (mut server, control) = (debian::litewitness()?, debian::witnessctl()?);
        let file = name.replace('/', "-");
        let (database, socket) = (format!("{file}.db"), format!("{file}.sock"));
        let told = |words: &[&str]| {
            let mut command = Command::new(control.get_program());
            command.args([words, &["-db", &database]].concat()).current_dir(place.root());
            let ran = Ran::of(&command.output().unwrap());
            assert_eq!(ran.code, 0, "{words:?}: {}", ran.stderr);
        };
        let vkey = place.read("log.vkey");
        let origin = vkey.split('+').next().unwrap();
        told(&["add-log", "-origin", origin]);
        told(&["add-key", "-origin", origin, "-key", vkey.trim()]);
        let secret = SigningKey::from_bytes(&counterfoil::digest::Sha256::of(name).0);
        let public = secret.verifying_key();
        let fingerprint = ssh_agent::start(&place.path(&socket), secret);
        let port = debian::free_port();
        server.args(["-db", &database, "-ssh-agent", &socket, "-key", &fingerprint, "-name", name]);
        server.args(["-listen", &format!("127.0.0.1:{port}")]).current_dir(place.root());
        let running = Running::start(server.stdout(Stdio::null()).stderr(Stdio::null()), port);
        let key = VerifierKey::new(name, Algorithm::Ed25519Cosignature, public.as_bytes()).unwrap();
        Some(Self { url: format!("http://127.0.0.1:{port}"), key, _running: running })
    }

    fn asked(&self) -> String {
        format!("{}={}", self.key, self.url)
    }
}

#[test]
fn a_witness_of_others_cosigns_and_remembers() {
    let place = published();
    let Some(witness) = Witness::start(&place, "witness.example") else { return };
    let asked = witness.asked();
    place.succeeds(&["log", "witness", "log", "--witness", &asked]);
    let vkey = place.read("log.vkey").trim().to_owned();
    let key = witness.key.to_string();
    place.succeeds(&["log", "verify", "log", "--log", &vkey, "--witness", &key]);
    // It asks for the way from what it has seen.
    copy(&place.path("log"), &place.path("old"));
    place.succeeds(&["log", "append", "log", "--key", "log.key", "--entries", "entries"]);
    place.succeeds(&["log", "witness", "log", "--witness", &asked]);
    place.succeeds(&["log", "verify", "log", "--log", &vkey, "--witness", &key]);
    // A log that goes another way from there is not witnessed, nor one that is shorter.
    place.write("others", "four\nfive\nsix\nseven\n");
    place.succeeds(&["log", "append", "old", "--key", "log.key", "--entries", "others"]);
    let ran = place.run(&["log", "witness", "old", "--witness", &asked]);
    assert_eq!(ran.code, 10, "{}", ran.stderr);
    place.succeeds(&["log", "init", "short", "--key", "log.key"]);
    place.succeeds(&["log", "append", "short", "--key", "log.key", "--entries", "entries"]);
    let ran = place.run(&["log", "witness", "short", "--witness", &asked]);
    assert_eq!(ran.code, 10, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("has seen 8 entries"), "{}{}", ran.stdout, ran.stderr);
}

/// Whatever is changed in a proof: torchwood and we say the same of it.
#[test]
fn torchwood_says_the_same_of_proofs() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/torchwood/verify.go");
    let Some(theirs) = debian::with_torchwood("verify", &source) else { return };
    let place = published();
    let names = ["one.example", "two.example/witness"];
    let Some(witnesses) =
        names.map(|name| Witness::start(&place, name)).into_iter().collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let vkey = place.read("log.vkey").trim().to_owned();
    let [one, two] = [&witnesses[0], &witnesses[1]];
    place.succeeds(&[
        "log",
        "witness",
        "log",
        "--witness",
        &one.asked(),
        "--witness",
        &two.asked(),
    ]);
    place.write("entry", "two");
    place.succeeds(&["log", "prove", "log", "--entry", "entry", "--output", "proof"]);
    place.write("other", "three");
    let witness = |it: &Witness| format!("witness {} {}\n", it.key.name(), it.key);
    let policy = format!(
        "log {vkey}\n{}{}group all all {} {}\nquorum all\n",
        witness(one),
        witness(two),
        names[0],
        names[1]
    );
    place.write("policy", policy);
    let agree = |proof: &[u8], entry: &str| -> bool {
        place.write("changed", proof);
        let mut command = Command::new(theirs.get_program());
        let they =
            command.args(["policy", "changed", entry]).current_dir(place.root()).output().unwrap();
        let (one, two) = (one.key.to_string(), two.key.to_string());
        let ask = [
            "log",
            "verify",
            "changed",
            "--entry",
            entry,
            "--log",
            &vkey,
            "--witness",
            &one,
            "--witness",
            &two,
        ];
        let we = place.run(&ask);
        assert!(
            matches!(they.status.code(), Some(0 | 10)),
            "{}",
            String::from_utf8_lossy(&they.stderr)
        );
        assert_eq!(
            we.code == 0,
            they.status.success(),
            "{}\n{}\n{}",
            String::from_utf8_lossy(proof),
            we.stderr,
            String::from_utf8_lossy(&they.stderr)
        );
        we.code == 0
    };
    let proof = fs::read(place.path("proof")).unwrap();
    assert!(agree(&proof, "entry"));
    assert!(!agree(&proof, "other"));
    let text = String::from_utf8(proof.clone()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for left_out in 0..lines.len() {
        let kept =
            lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line);
        assert!(!agree(kept.collect::<String>().as_bytes(), "entry"), "without line {left_out}");
    }
    // A byte in each line, which is not always a byte that counts: a signature's key id may be anyone's.
    let mut at = 0;
    for line in &lines {
        let middle = at + line.len() / 2;
        at += line.len();
        let mut bytes = proof.clone();
        bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
        agree(&bytes, "entry");
    }
    let index = text.replace("index 1\n", "index 0\n");
    assert!(index != text && !agree(index.as_bytes(), "entry"));
}

/// A Sigsum log, and two witnesses of Sigsum's.
struct Sigsum {
    place: Place,
    _running: Vec<Running>,
}

impl Sigsum {
    fn start() -> Option<Self> {
        let place = Place::new();
        let mut running = Vec::new();
        for key in ["log", "one", "two", "submitter"] {
            Self::run(&place, "sigsum-key", &["generate", "-o", key], "")?;
        }
        let hex = |key: &str| {
            let ran =
                Self::run(&place, "sigsum-key", &["to-hex", "-k", &format!("{key}.pub")], "")?;
            Some(ran.stdout.trim().to_owned())
        };
        let mut witnesses = String::new();
        for name in ["one", "two"] {
            let (mut witness, port) = (debian::program("sigsum-witness")?, debian::free_port());
            witness.args([
                "-k",
                name,
                "--log-key",
                "log.pub",
                "--state-file",
                &format!("{name}.state"),
            ]);
            witness.arg(format!("127.0.0.1:{port}")).current_dir(place.root());
            running.push(Running::start(witness.stderr(Stdio::null()), port));
            witnesses += &format!("witness {name} {} http://127.0.0.1:{port}\n", hex(name)?);
        }
        let (port, inner) = (debian::free_port(), debian::free_port());
        let quorum = "group both all one two\nquorum both\n";
        place.write(
            "policy",
            format!("log {} http://127.0.0.1:{port}\n{witnesses}{quorum}", hex("log")?),
        );
        Self::run(&place, "sigsum-mktree", &["--sth-file", "sth", "--mode", "empty"], "")?;
        let mut log = debian::program("sigsum-log-primary")?;
        log.args([
            "--backend=ephemeral",
            "--interval=1s",
            "--key-file=log",
            "--policy-file=policy",
            "--sth-file=sth",
        ]);
        log.arg(format!("--external-endpoint=127.0.0.1:{port}"));
        log.arg(format!("--internal-endpoint=127.0.0.1:{inner}")).current_dir(place.root());
        running.push(Running::start(log.stderr(Stdio::null()), port));
        Some(Self { place, _running: running })
    }

    fn run(place: &Place, program: &str, arguments: &[&str], input: &str) -> Option<Ran> {
        place.write("input", input);
        let mut command = debian::program(program)?;
        command.args(arguments).current_dir(place.root());
        command.stdin(fs::File::open(place.path("input")).unwrap());
        Some(Ran::of(&command.output().unwrap()))
    }

    /// Submits the file, and says where the proof is.
    fn submit(&self, file: &str) -> PathBuf {
        let ran =
            Self::run(&self.place, "sigsum-submit", &["-k", "submitter", "-p", "policy", file], "")
                .unwrap();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        self.place.path(&format!("{file}.proof"))
    }
}

/// The recipe of README.md: a statement goes into Sigsum's log as any other file does.
#[test]
fn a_statement_in_sigsums_log() {
    let Some(sigsum) = Sigsum::start() else { return };
    let place = published();
    let statement = place.read("release/statement.json");
    sigsum.place.write("statement.json", &statement);
    let proof = fs::read_to_string(sigsum.submit("statement.json")).unwrap();
    let verify = |proof: &str, statement: &str| {
        sigsum.place.write("checked.proof", proof);
        let arguments = ["-k", "submitter.pub", "-p", "policy", "checked.proof"];
        Sigsum::run(&sigsum.place, "sigsum-verify", &arguments, statement).unwrap().code
    };
    assert_eq!(verify(&proof, &statement), 0);
    assert_ne!(verify(&proof, &format!("{statement} ")), 0);
    for (number, line) in proof.lines().enumerate().filter(|(_, line)| line.len() > 40) {
        let last = line.chars().last().unwrap();
        let other = if last == '0' { '1' } else { '0' };
        let changed = format!("{}{other}", &line[..line.len() - 1]);
        assert_ne!(verify(&proof.replacen(line, &changed, 1), &statement), 0, "line {number}");
    }
    // One witness of two is not enough.
    let one: String = proof
        .lines()
        .filter(|it| !it.starts_with("cosignature="))
        .map(|it| format!("{it}\n"))
        .collect();
    let first = proof.lines().find(|it| it.starts_with("cosignature=")).unwrap();
    assert_ne!(verify(&format!("{one}{first}\n"), &statement), 0);
}
