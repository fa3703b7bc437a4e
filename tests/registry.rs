//! Releases in Distribution's registry, and what oras makes of them there; and what hostile registries get.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use counterfoil::digest::{Object, Sha256};
use counterfoil::oci::manifest::{File, Index, Manifest};
use counterfoil::statement::bundle;
use counterfoil::statement::dsse::MAX_PAYLOAD;
use serde_json::{Value, json};
use support::debian::{self, Running};
use support::place::{Place, Ran};
use support::server::{Fault, Server};

/// A registry of a test's own.
struct Registry {
    place: Place,
    port: u16,
    _running: Running,
}

impl Registry {
    fn start(auth: &str) -> Option<Self> {
        let mut program = debian::program("docker-registry")?;
        let (place, port) = (Place::new(), debian::free_port());
        let root = place.path("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n{auth}",
            root.display()
        );
        program.arg("serve").arg(place.write("config.yaml", config));
        program.stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::start(&mut program, port);
        Some(Self { place, port, _running: running })
    }

    fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// Where the registry keeps the bytes of something.
    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let all = "registry/docker/registry/v2/blobs/sha256";
        self.place.path(&format!("{all}/{}/{hex}/data", &hex[..2]))
    }

    fn oras(&self, arguments: &[&str]) -> Option<Ran> {
        let mut oras = debian::program("oras")?;
        oras.args(arguments).arg("--plain-http").current_dir(self.place.root());
        let ran = Ran::of(&oras.output().unwrap());
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        Some(ran)
    }
}

/// A directory like a release's: what matters here is its names.
fn release(place: &Place) -> PathBuf {
    for (name, content) in PARTS.iter().chain(&SAID) {
        place.write(&format!("release/{name}"), content);
    }
    // Larger than a buffer, and not a multiple of one.
    place.write("release/image/volumes/model.img", b"volume ".repeat(1_000_003));
    place.path("release")
}

const PARTS: [(&str, &str); 10] = [
    ("THREAT-MODEL.md", "# Threats\n"),
    ("image/cmdline", ""),
    ("image/firmware.fd", "firmware"),
    ("image/initrd", "initrd"),
    ("image/kernel", "kernel"),
    ("inventory.json", "{}\n"),
    ("launch.json", "{ }\n"),
    ("lock.yaml", "version: 1\n"),
    ("manifest.yaml", "name: x\n"),
    ("sbom.cdx.json", "{  }\n"),
];

/// {"predicateType":"urn:counterfoil:snp-launch:v1"}
const BUNDLE: &str = r#"{"dsseEnvelope":{"payload":"eyJwcmVkaWNhdGVUeXBlIjoidXJuOmNvdW50ZXJmb2lsOnNucC1sYXVuY2g6djEifQ=="}}"#;

const SAID: [(&str, &str); 4] = [
    ("rebuilds/me.json", "{\"same\": true}\n"),
    ("rebuilds/me.sigstore.json", BUNDLE),
    ("statement.sigstore.json", BUNDLE),
    ("statement.tlog-proof", "c2sp.org/tlog-proof@v1\n"),
];

#[track_caller]
fn same(one: &Path, other: &Path) {
    let list = |root: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let files = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = files.filter(|entry| !entry.file_type().is_dir());
        files
            .map(|it| {
                (it.path().strip_prefix(root).unwrap().to_owned(), fs::read(it.path()).unwrap())
            })
            .collect()
    };
    let (one, other) = (list(one), list(other));
    let names = |all: &[(PathBuf, Vec<u8>)]| all.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    assert!(one == other);
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn there_and_back_and_read_by_oras() {
    let Some(registry) = Registry::start("") else { return };
    let place = Place::new();
    release(&place);
    let name = registry.name("guests/llama:v1");
    let pushed = json_of(&place.succeeds(&["push", "release", &name, "--format", "json"]));
    let digest = pushed["digest"].as_str().unwrap().to_owned();
    assert_eq!((&pushed["files"], &pushed["attached_by_tag"]), (&json!(11), &json!(true)));

    // Somebody else, later, with the files in another order and other times: the same digest, nothing sent.
    let other = Place::new();
    support::place::copy(&place.path("release"), &other.path("release"));
    let exact = registry.name(&format!("guests/llama@{digest}"));
    let again = other.succeeds(&["push", "release", &name]);
    assert_eq!(again.stdout.trim(), exact);
    assert!(
        again.stderr.contains("11 files and 4 attached to them, of which 0 bytes were sent"),
        "{}",
        again.stderr
    );

    for (from, to) in [(&name, "by-tag"), (&exact, "by-digest")] {
        let pulled = json_of(&place.succeeds(&["pull", from, "--output", to, "--format", "json"]));
        assert_eq!(pulled["digest"], digest.as_str());
        same(&place.path("release"), &place.path(to));
    }
    place.refuses(&["pull", &name, "--output", "by-tag"], 2, &["there already"]);
    place.refuses(&["pull", &registry.name("guests/llama:v2"), "-o", "x"], 20, &["there is no"]);
    place.refuses(&["pull", &registry.name("guests/llama"), "-o", "x"], 2, &["@sha256:DIGEST"]);

    let Some(_) = registry.oras(&["pull", &exact, "--output", "oras"]) else { return };
    for (path, content) in PARTS {
        let got = fs::read(registry.place.path(&format!("oras/{path}"))).unwrap();
        assert_eq!(got, content.as_bytes(), "{path}");
    }
    assert!(!registry.place.path("oras/statement.sigstore.json").exists());
    let found = registry.oras(&["discover", &exact, "--format", "json"]).unwrap();
    let found = json_of(&found);
    let referrers = found["referrers"].as_array().or(found["manifests"].as_array()).unwrap();
    let types: Vec<_> = referrers.iter().map(|it| it["artifactType"].as_str().unwrap()).collect();
    let bundles = types.iter().filter(|it| **it == "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert_eq!((types.len(), bundles.count()), (4, 2), "{found}");
    let one = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let found = registry
        .oras(&["discover", &exact, "--artifact-type", one, "--format", "json"])
        .unwrap()
        .stdout;
    assert!(
        found.contains("urn:counterfoil:snp-launch:v1") && !found.contains("tlog-proof"),
        "{found}"
    );
}

/// A bundle that somebody attaches by oras comes along, and one that is made again has the name of the old one,
/// which is kept.
#[test]
fn what_is_attached_later() {
    let Some(registry) = Registry::start("") else { return };
    let place = Place::new();
    release(&place);
    let name = registry.name("llama:v1");
    place.succeeds(&["push", "release", &name]);
    place.write("release/statement.sigstore.json", "{\"new\": 1}");
    let pushed = json_of(&place.succeeds(&["push", "release", &name, "--format", "json"]));
    let pulled = place.succeeds(&["pull", &name, "--output", "pulled"]);
    assert!(pulled.stderr.contains("several of `statement.sigstore.json`"), "{}", pulled.stderr);
    let old = format!("statements/statement-{}", &Sha256::of(BUNDLE).to_string()[..12]);
    assert_eq!(place.read(&format!("pulled/{old}.sigstore.json")), BUNDLE);
    // What was pulled can be pushed, and that adds nothing which was not there.
    place.succeeds(&["push", "pulled", &name]);
    place.succeeds(&["pull", &name, "--output", "again"]);
    same(&place.path("pulled"), &place.path("again"));
    // The proof that stood beside the old one still does.
    for ending in ["sigstore.json", "tlog-proof"] {
        fs::remove_file(place.path(&format!("pulled/{old}.{ending}"))).unwrap();
    }
    same(&place.path("release"), &place.path("pulled"));

    registry.place.write("rebuilds/they.sigstore.json", "{\"they\": 1}");
    registry.place.write("stray.json", "{}");
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let exact = pushed["reference"].as_str().unwrap();
    let file = format!("rebuilds/they.sigstore.json:{bundle}");
    let Some(_) = registry.oras(&["attach", exact, &file, "--artifact-type", bundle]) else {
        return;
    };
    // Neither a kind of ours, nor a name of ours.
    registry.oras(&["attach", exact, "stray.json:text/x", "--artifact-type", "text/x"]);
    registry.oras(&["attach", exact, "stray.json:text/x", "--artifact-type", bundle]);
    let pulled = place.succeeds(&["pull", exact, "--output", "more"]);
    assert!(
        pulled.stderr.contains("warning:") && pulled.stderr.contains("`stray.json`"),
        "{}",
        pulled.stderr
    );
    assert_eq!(place.read("more/rebuilds/they.sigstore.json"), "{\"they\": 1}");
    assert!(!place.path("more/stray.json").exists());
}

/// The registry cannot list what refers, so that both write the same index.
#[test]
fn two_rebuilders_of_one_name() {
    let Some(registry) = Registry::start("") else { return };
    let name = registry.name("llama:v1");
    let signed = "rebuilds/unnamed.sigstore.json";
    let of = |word: &str, day: u32| {
        let statement = json!({
            "predicate": {"runDetails": {"metadata": {"finishedOn": format!("2026-11-{day}T00:00:00Z")}}},
            "verdict": word,
        });
        let payload = Base64::encode_string(statement.to_string().as_bytes());
        json!({"dsseEnvelope": {"payload": payload}}).to_string()
    };
    let (differs, agrees) = (of("differs", 20), of("agrees", 21));
    // Whoever comes first: the newest has the name.
    for all in [[&differs, &agrees], [&agrees, &differs]] {
        for bundle in all {
            let place = Place::new();
            release(&place);
            place.write(&format!("release/{signed}"), bundle);
            place.write("release/rebuilds/unnamed.tlog-proof", format!("of {bundle}"));
            place.succeeds(&["push", "release", &name]);
        }
        let place = Place::new();
        place.succeeds(&["pull", &name, "--output", "pulled"]);
        let older = format!("rebuilds/unnamed-{}", &Sha256::of(&differs).to_string()[..12]);
        assert_eq!(place.read(&format!("pulled/{signed}")), agrees);
        assert_eq!(place.read(&format!("pulled/{older}.sigstore.json")), differs);
        for (stem, bundle) in [("rebuilds/unnamed", &agrees), (&older, &differs)] {
            let proof = place.read(&format!("pulled/{stem}.tlog-proof"));
            assert_eq!(proof, format!("of {bundle}"));
        }
    }
}

/// Provenance of an image from source names thousands of inputs: what can be signed can be pushed and pulled.
#[test]
fn the_largest_bundle() {
    let Some(registry) = Registry::start("") else { return };
    let place = Place::new();
    release(&place);
    let payload = Base64::encode_string(&vec![b' '; MAX_PAYLOAD]);
    let bundle = json!({"dsseEnvelope": {"payload": payload}}).to_string();
    place.write("release/provenance.sigstore.json", &bundle);
    let name = registry.name("llama:v1");
    place.succeeds(&["push", "release", &name]);
    place.succeeds(&["pull", &name, "--output", "pulled"]);
    same(&place.path("release"), &place.path("pulled"));
}

#[test]
fn a_registry_that_was_tampered_with() {
    let Some(registry) = Registry::start("") else { return };
    let place = Place::new();
    release(&place);
    let name = registry.name("llama:v1");
    let pushed = json_of(&place.succeeds(&["push", "release", &name, "--format", "json"]));
    let digest = pushed["digest"].as_str().unwrap();
    let kernel = registry.blob(&format!("sha256:{}", Sha256::of("kernel")));
    fs::write(&kernel, "kernex").unwrap();
    let ran = place.refuses(
        &["pull", &name, "-o", "x"],
        10,
        &["`image/kernel`", "is not what was pushed"],
    );
    assert!(ran.stderr.contains("tampered with"), "{}", ran.stderr);
    assert!(!place.path("x").exists());
    // A push does not see that: the registry says that it has so many bytes.
    place.succeeds(&["push", "release", &name]);
    place.refuses(&["pull", &name, "-o", "x"], 10, &["`image/kernel`"]);
    // It sees that some are gone. But this registry keeps what it has.
    fs::write(&kernel, "kern").unwrap();
    place.refuses(&["pull", &name, "-o", "x"], 10, &["`image/kernel`"]);
    place.refuses(&["push", "release", &name], 10, &["`image/kernel`", "has to remove that blob"]);
    // Of what is not there at all, the same push heals it.
    fs::remove_file(&kernel).unwrap();
    place.refuses(&["pull", &name, "-o", "x"], 20, &["lacks the blob"]);
    place.succeeds(&["push", "release", &name]);
    place.succeeds(&["pull", &name, "-o", "healed"]);
    same(&place.path("release"), &place.path("healed"));

    // A manifest that lists something else, under the digest of ours.
    let manifest = fs::read_to_string(registry.blob(digest)).unwrap();
    fs::write(registry.blob(digest), manifest.replace("image/kernel", "image/kernal")).unwrap();
    let exact = registry.name(&format!("llama@{digest}"));
    let ran = place.run(&["pull", &exact, "-o", "y"]);
    assert!(matches!(ran.code, 1 | 10 | 20) && !place.path("y").exists(), "{}", ran.stderr);
    place.is_clean();
}

/// A copy that is not what its own statement says would be everybody's copy. Nobody is asked before that is seen.
#[test]
fn a_damaged_copy_is_not_pushed() {
    let place = Place::new();
    release(&place);
    place.write("release/statement.json", include_str!("publish/statement.json"));
    let push = ["push", "release", "127.0.0.1:1/llama:v1"];
    place.refuses(
        &push,
        10,
        &["`release/image/volumes/model.img` is not what the statement is of", "fetch"],
    );
}

#[test]
fn what_is_no_release_is_not_pushed() {
    let place = Place::new();
    let release = release(&place);
    let nowhere = "127.0.0.1:1/llama:v1";
    place.refuses(&["push", "release/image", nowhere], 20, &["is not a release"]);
    place.write("release/key.pem", "secret");
    place.refuses(&["push", "release", nowhere], 10, &["key.pem", "nothing was pushed"]);
    fs::remove_file(release.join("key.pem")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", release.join("image/volumes/x.img")).unwrap();
    place.refuses(&["push", "release", nowhere], 30, &["x.img", "regular file"]);
    fs::remove_file(release.join("image/volumes/x.img")).unwrap();
    // Nobody would pull it.
    let large = fs::File::create(release.join("large.sigstore.json")).unwrap();
    large.set_len(bundle::MAX_BYTES + 1).unwrap();
    place.refuses(&["push", "release", nowhere], 30, &["large.sigstore.json", "largest bundle"]);
    fs::remove_file(release.join("large.sigstore.json")).unwrap();
    place.write("release/rebuilds/a/b.json", "{}");
    place.refuses(&["push", "release", nowhere], 10, &["b.json", "nothing was pushed"]);
    fs::remove_file(release.join("rebuilds/a/b.json")).unwrap();
    place.refuses(&["push", "release", nowhere], 1, &["cannot be reached"]);
    let digest = format!("127.0.0.1:1/llama@sha256:{}", Sha256::of(""));
    place.refuses(&["push", "release", &digest], 2, &["has a digest"]);
}

/// The command, with something on its standard input.
fn with_input(place: &Place, arguments: &[&str], input: &str) -> Ran {
    let mut command = place.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::of(&child.wait_with_output().unwrap())
}

#[test]
fn by_password() {
    let passwords = Place::new();
    // "correct horse", by bcrypt.
    let line = "me:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";
    let file = passwords.write("htpasswd", line);
    let auth = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display());
    let Some(registry) = Registry::start(&auth) else { return };
    let place = Place::new();
    release(&place);
    let name = registry.name("llama:v1");
    place.refuses(&["push", "release", &name], 1, &["401", "--password-stdin"]);
    let asked = ["push", "release", &name, "--username", "me", "--password-stdin"];
    let ran = with_input(&place, &asked, "wrong horse\n");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("401") && !ran.stderr.contains("horse"), "{}", ran.stderr);
    let ran = with_input(&place, &asked, "correct horse\n");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let pair = Base64::encode_string(b"me:correct horse");
    let config = json!({"auths": {registry.name("").trim_end_matches('/'): {"auth": pair}}});
    place.write(".docker/config.json", config.to_string());
    place.succeeds(&["pull", &name, "--output", "pulled"]);
    same(&place.path("release"), &place.path("pulled"));
    place.refuses(&["push", "release", &name, "--username", "me"], 2, &["--password-stdin"]);
}

/// The registry believes tokens that a server of ours signs, which gives them to those who know a password.
#[test]
fn by_token() {
    let place = Place::new();
    let openssl = |arguments: &[&str]| {
        let output =
            Command::new("openssl").args(arguments).current_dir(place.root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sec1.pem"]);
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "sec1.pem", "-out", "key.pem"]);
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-key",
        "key.pem",
        "-out",
        "root.pem",
        "-subj",
        "/CN=tokens",
        "-days",
        "3650",
    ]);
    openssl(&["x509", "-in", "root.pem", "-outform", "DER", "-out", "root.der"]);
    let key = <p256::ecdsa::SigningKey as p256::pkcs8::DecodePrivateKey>::from_pkcs8_pem(
        &place.read("key.pem"),
    )
    .unwrap();
    let root = fs::read(place.path("root.der")).unwrap();
    let (port, asked) = tokens(key, root);
    let auth = format!(
        "auth: {{token: {{realm: 'http://127.0.0.1:{port}/token', service: ours, issuer: tokens, \
         rootcertbundle: {}}}}}\n",
        place.path("root.pem").display()
    );
    let Some(registry) = Registry::start(&auth) else { return };
    release(&place);
    let name = registry.name("guests/llama:v1");
    let push = ["push", "release", &name, "--username", "me", "--password-stdin"];
    let ran = with_input(&place, &push, "correct horse\n");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked_for = asked.lock().unwrap().clone();
    assert!(
        // In whatever order the registry names them.
        ["pull%2Cpush", "push%2Cpull"].iter().any(|actions| {
            let scope = format!("scope=repository%3Aguests%2Fllama%3A{actions}");
            asked_for.iter().any(|it| it.contains(&scope))
        }),
        "{asked_for:?}"
    );
    // Anybody may pull, by a token that is given to anybody.
    place.succeeds(&["pull", &name, "--output", "pulled"]);
    same(&place.path("release"), &place.path("pulled"));
    place.refuses(&["push", "release", &name], 1, &["401", "--password-stdin"]);
    let ran = with_input(&place, &push, "wrong horse\n");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("no token") && !ran.stderr.contains("horse"), "{}", ran.stderr);
}

/// A server that gives tokens (Distribution's "Token Authentication Implementation"), and what it was asked.
fn tokens(key: p256::ecdsa::SigningKey, root: Vec<u8>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let answer = move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        seen.lock().unwrap().push(first.clone());
        let basic = head
            .iter()
            .find_map(|it| it.to_lowercase().starts_with("authorization:").then(|| it.clone()));
        let good = Base64::encode_string(b"me:correct horse");
        let (status, acts): (_, &[&str]) = match basic {
            None => ("200 OK", &["pull"]),
            Some(line) if line.ends_with(&good) => ("200 OK", &["pull", "push"]),
            Some(_) => ("401 Unauthorized", &[]),
        };
        // No more than was asked for.
        let acts: Vec<_> = acts.iter().filter(|act| first.contains(*act)).collect();
        let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [Base64::encode_string(&root)]});
        let access = json!([{"type": "repository", "name": "guests/llama", "actions": acts}]);
        let claims = json!({
            "iss": "tokens", "sub": "me", "aud": "ours", "nbf": 0, "iat": 0, "exp": 4_000_000_000u32, "jti": "1", "access": access,
        });
        let signed = format!("{}.{}", part(header), part(claims));
        let signature: p256::ecdsa::Signature =
            p256::ecdsa::signature::Signer::sign(&key, signed.as_bytes());
        let token = format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature.to_bytes()));
        let body = json!({"token": token}).to_string();
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    (port, asked)
}

/// A registry that is nothing but files, among them whatever an attacker likes.
struct Hostile {
    place: Place,
    server: Server,
}

impl Hostile {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir_all(place.path("www")).unwrap();
        let server = Server::start(&place.path("www"));
        Self { place, server }
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.server.uri().strip_prefix("http://").unwrap())
    }

    fn blob(&self, content: &str) -> Object {
        let object = Object { sha256: Sha256::of(content), size: content.len() as u64 };
        self.place.write(&format!("www/v2/a/blobs/sha256:{}", object.sha256), content);
        object
    }

    fn file(&self, path: &str) -> File {
        File { path: path.to_owned(), object: self.blob(path) }
    }

    fn manifest(&self, name: &str, bytes: &[u8]) {
        self.place.write(&format!("www/v2/a/manifests/{name}"), bytes);
    }
}

#[test]
fn names_that_lead_elsewhere() {
    let hostile = Hostile::new();
    let outside = hostile.place.path("outside");
    for path in [
        outside.to_str().unwrap(),
        "../outside",
        "image/../../outside",
        "image//x",
        "./x",
        "a\u{1b}[2J",
        "rebuilds/../x",
    ] {
        hostile.manifest(
            "v1",
            &Manifest::of_release(&[hostile.file("lock.yaml"), hostile.file(path)]).bytes(),
        );
        let ran =
            hostile.place.refuses(&["pull", &hostile.name("a:v1"), "-o", "x"], 10, &["is refused"]);
        assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
        assert!(!outside.exists() && !hostile.place.path("x").exists(), "{path}");
    }
    for pair in [["a", "a"], ["a", "a/b"]] {
        hostile.manifest("v1", &Manifest::of_release(&pair.map(|path| hostile.file(path))).bytes());
        hostile.place.refuses(&["pull", &hostile.name("a:v1"), "-o", "x"], 10, &["is refused"]);
    }
    // Of what is attached, such things are left out.
    let release = Manifest::of_release(&[hostile.file("lock.yaml")]);
    hostile.manifest("v1", &release.bytes());
    let mut index = Index::empty();
    for path in ["lock.yaml", "rebuilds/../../outside", "image/kernel", "rebuilds/good.json"] {
        let manifest =
            Manifest::referring(release.descriptor(), &hostile.file(path), Default::default());
        hostile.manifest(&manifest.descriptor().digest.to_string(), &manifest.bytes());
        index.put(manifest.in_index());
    }
    hostile.manifest(&format!("sha256-{}", release.object().sha256), &index.bytes());
    let ran = hostile.place.succeeds(&["pull", &hostile.name("a:v1"), "-o", "pulled"]);
    assert_eq!(ran.stderr.matches("warning:").count(), 3, "{}", ran.stderr);
    assert_eq!(hostile.place.read("pulled/lock.yaml"), "lock.yaml");
    let files = walkdir::WalkDir::new(hostile.place.path("pulled")).into_iter().flatten();
    assert_eq!(files.filter(|it| it.file_type().is_file()).count(), 2);
    assert!(!outside.exists());
}

/// What others attach, by digests that we do not know, keeps nobody from the rest.
#[test]
fn digests_of_other_algorithms() {
    let hostile = Hostile::new();
    let release = Manifest::of_release(&[hostile.file("lock.yaml")]);
    hostile.manifest("v1", &release.bytes());
    let mut index = Index::empty();
    let ours = hostile.file("rebuilds/good.json");
    let ours = Manifest::referring(release.descriptor(), &ours, Default::default());
    hostile.manifest(&ours.descriptor().digest.to_string(), &ours.bytes());
    let other = format!("sha512:{}", "ab".repeat(64));
    let mut foreign = ours.in_index();
    foreign.digest = other.parse().unwrap();
    index.put(foreign.clone());
    // This is of nobody's concern here.
    foreign.artifact_type = Some("text/x".to_owned());
    foreign.digest = "x+y:z".parse().unwrap();
    index.put(foreign);
    index.put(ours.in_index());
    hostile.manifest(&format!("sha256-{}", release.object().sha256), &index.bytes());
    let ran = hostile.place.succeeds(&["pull", &hostile.name("a:v1"), "-o", "pulled"]);
    assert_eq!(hostile.place.read("pulled/rebuilds/good.json"), "rebuilds/good.json");
    assert_eq!(ran.stderr.matches("warning:").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(&other), "{}", ran.stderr);
    // Of a part of the release it is another thing.
    let whole = String::from_utf8(release.bytes()).unwrap().replace("sha256:", "sha512:");
    hostile.manifest("v1", whole.as_bytes());
    hostile.place.refuses(&["pull", &hostile.name("a:v1"), "-o", "x"], 30, &["its SHA-256"]);
}

/// A registry that can list what refers to a manifest is asked, and the tag is not.
#[test]
fn a_registry_that_lists_what_refers() {
    let hostile = Hostile::new();
    let release = Manifest::of_release(&[hostile.file("lock.yaml")]);
    let digest = release.object().sha256;
    hostile.manifest("v1", &release.bytes());
    let listed = |path: &str| {
        let manifest =
            Manifest::referring(release.descriptor(), &hostile.file(path), Default::default());
        hostile.manifest(&manifest.descriptor().digest.to_string(), &manifest.bytes());
        let mut index = Index::empty();
        index.put(manifest.in_index());
        index.bytes()
    };
    hostile.manifest(&format!("sha256-{digest}"), &listed("rebuilds/by-tag.json"));
    let by_list = listed("rebuilds/by-list.json");
    hostile.place.write(&format!("www/v2/a/referrers/sha256:{digest}"), &by_list);
    let ran =
        hostile.place.succeeds(&["pull", &hostile.name("a:v1"), "-o", "x", "--format", "json"]);
    let pulled = json_of(&ran);
    assert_eq!(
        (&pulled["attached"], &pulled["attached_by_tag"]),
        (&json!(["rebuilds/by-list.json"]), &json!(false))
    );
    hostile.place.write(&format!("www/v2/a/referrers/sha256:{digest}"), "{}");
    hostile.place.refuses(&["pull", &hostile.name("a:v1"), "-o", "y"], 30, &["no list"]);
}

#[test]
fn other_bytes_than_promised() {
    let hostile = Hostile::new();
    let pull = |name: &str, code: i32, words: &[&str]| {
        hostile.place.refuses(&["pull", &hostile.name(name), "-o", "x"], code, words);
        assert!(!hostile.place.path("x").exists());
    };
    let release = Manifest::of_release(&[hostile.file("lock.yaml")]);
    let digest = release.object().sha256;
    hostile.manifest(&format!("sha256:{digest}"), b"{}");
    pull(&format!("a@sha256:{digest}"), 10, &["another digest", "tampered with"]);
    for (bytes, words) in [
        (&b"{}"[..], "is no release"),
        (b"[", "is no release"),
        (br#"{"schemaVersion":2,"manifests":[]}"#, "is no release"),
        (&[b'['; 100_000], "is no release"),
    ] {
        hostile.manifest("v1", bytes);
        pull("a:v1", 30, &[words]);
    }
    let image =
        String::from_utf8(release.bytes()).unwrap().replace("counterfoil.release", "other.thing");
    hostile.manifest("v1", image.as_bytes());
    pull("a:v1", 30, &["expected a release"]);
    hostile.manifest("v1", &vec![b' '; 5 << 20]);
    pull("a:v1", 30, &["larger than"]);

    let blob = format!("/v2/a/blobs/sha256:{}", Sha256::of("lock.yaml"));
    hostile.manifest("v1", &release.bytes());
    hostile.server.fault(&blob, Fault::Body(b"lock.yamk".to_vec()));
    pull("a:v1", 10, &["is not what was pushed"]);
    hostile.server.fault(&blob, Fault::Body(b"lock.yaml and a lot more".to_vec()));
    pull("a:v1", 10, &["is not what was pushed"]);
    hostile.server.fault(&blob, Fault::Status(404));
    pull("a:v1", 20, &["lacks the blob"]);
    // More than any disk has.
    let huge = Object { size: u64::MAX, ..hostile.blob("lock.yaml") };
    let huge = Manifest::of_release(&[File { path: "lock.yaml".to_owned(), object: huge }]);
    hostile.manifest("v1", &huge.bytes());
    pull("a:v1", 1, &["has room for"]);
    // A line that breaks off is taken up again.
    hostile.manifest("v1", &release.bytes());
    hostile.server.fault(&blob, Fault::Cut(4));
    hostile.place.succeeds(&["pull", &hostile.name("a:v1"), "-o", "x"]);
}
