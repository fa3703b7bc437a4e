//! A witness that is a process of its own, and who asks it: what is cosigned, what is refused and how it is said,
//! and what a witness remembers.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use counterfoil::digest::Sha256;
use counterfoil::log::merkle::{self, Hashes};
use counterfoil::log::witness::request::Request;
use counterfoil::log::{Algorithm, Checkpoint, Note, Signature, SignerKey, VerifierKey};
use serde_json::Value;
use support::place::Place;

const ORIGIN: &str = "example.com/log";

/// A witness with two keys, which knows one log.
struct Witness {
    process: Child,
    address: String,
    keys: [VerifierKey; 2],
}

impl Witness {
    fn start(place: &Place) -> Self {
        let mut command = place.command(&["log", "serve-witness", "--listen", "127.0.0.1:0"]);
        command.args(["--state", "state", "--quiet"]);
        let keys = keys();
        for (at, key) in keys.iter().enumerate() {
            let file = place.write(&format!("witness-{at}.key"), key.to_text());
            command.arg("--key").arg(file);
        }
        command.args(["--log", &log().verifier().to_string()]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.trim_end().strip_prefix("http://").unwrap().to_owned();
        Self { process, address, keys: keys.map(|key| key.verifier().clone()) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn send(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // It may answer before it has everything.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn post(&self, body: &[u8]) -> Reply {
        let head = format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat())
    }

    fn get(&self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).as_bytes())
    }

    /// Posts a good request for a tree, from an old size.
    fn add(&self, tree: &Tree, old: u64) -> Reply {
        self.post(tree.request(old).to_string().as_bytes())
    }

    /// What it remembers.
    fn size(&self) -> u64 {
        let reply = self.get(&format!("/{}/checkpoint", Sha256::of(ORIGIN)));
        match reply.status {
            404 => 0,
            _ => Checkpoint::parse(&Note::parse(&reply.body).unwrap().text).unwrap().size,
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    #[track_caller]
    fn is(&self, status: u16, word: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.contains(word), "{self:?}");
        assert!(
            status == 200 || !self.body.contains("\u{2014} example.org/"),
            "a signature: {self:?}"
        );
    }

    /// The size in an answer with status 409.
    #[track_caller]
    fn is_at(&self, size: u64) {
        assert_eq!((self.status, self.body.clone()), (409, format!("{size}\n")), "{self:?}");
        assert!(self.head.contains("content-type: text/x.tlog.size"), "{self:?}");
    }
}

/// A tree in memory.
#[derive(Clone)]
struct Tree(Vec<Sha256>);

impl Hashes for Tree {
    type Error = Infallible;

    fn subtree(&mut self, height: u32, index: u64) -> Result<Sha256, Infallible> {
        let from = usize::try_from(index << height).unwrap();
        Ok(merkle::complete(&self.0[from..from + (1 << height)]).unwrap())
    }
}

impl Tree {
    fn of(size: u64) -> Self {
        Self((0..size).map(|number| merkle::leaf(number.to_string().as_bytes())).collect())
    }

    /// The same, but for one leaf.
    fn forged(size: u64) -> Self {
        let mut tree = Self::of(size);
        tree.0[0] = merkle::leaf(b"another");
        tree
    }

    fn checkpoint(&self) -> Checkpoint {
        let size = self.0.len() as u64;
        let root = merkle::root(&mut self.clone(), size).unwrap();
        Checkpoint { origin: ORIGIN.to_owned(), size, root, extensions: Vec::new() }
    }

    fn request(&self, old: u64) -> Request {
        let checkpoint = self.checkpoint();
        let proof = merkle::consistency(&mut self.clone(), old, checkpoint.size).unwrap();
        Request { old, proof, checkpoint: checkpoint.sign(&log()).unwrap() }
    }
}

fn log() -> SignerKey {
    SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, [1; 32]).unwrap()
}

fn keys() -> [SignerKey; 2] {
    [
        SignerKey::from_seed("example.org/e", Algorithm::Ed25519Cosignature, [2; 32]).unwrap(),
        SignerKey::from_seed("example.org/m", Algorithm::MlDsa44Cosignature, [3; 32]).unwrap(),
    ]
}

/// A log's directory with so many entries.
fn make_log(place: &Place, directory: &str, entries: u64) {
    let file = place.write("log.key", log().to_text());
    let key = file.to_str().unwrap();
    place.succeeds(&["log", "init", directory, "--key", key]);
    append(place, directory, 0..entries);
}

fn append(place: &Place, directory: &str, entries: std::ops::Range<u64>) {
    place.write("entries", entries.map(|number| format!("{number}\n")).collect::<String>());
    place.succeeds(&["log", "append", directory, "--key", "log.key", "--entries", "entries"]);
}

#[test]
fn a_log_that_grows_is_cosigned_with_both_algorithms() {
    let place = Place::new();
    let witness = Witness::start(&place);
    let [e, m] = witness.keys.each_ref().map(|key| format!("{key}={}/", witness.url()));
    make_log(&place, "LOG", 10);
    let (vkey, [ve, vm]) =
        (log().verifier().to_string(), witness.keys.each_ref().map(ToString::to_string));
    let verify = ["log", "verify", "LOG", "--log", &vkey, "--witness", &ve, "--witness", &vm];
    assert_eq!(place.run(&verify).code, 10, "not yet cosigned");
    for size in [10, 11, 256, 300, 300] {
        let have = place.read("LOG/checkpoint").lines().nth(1).unwrap().parse().unwrap();
        if have < size {
            append(&place, "LOG", have..size);
        }
        let ran = place.succeeds(&[
            "log",
            "witness",
            "LOG",
            "--witness",
            &e,
            "--witness",
            &m,
            "--format",
            "json",
        ]);
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&told["size"], &told["quorum"]), (&size.into(), &true.into()), "{told}");
        assert_eq!(witness.size(), size);
        place.succeeds(&verify);
        let note: Note = place.read("LOG/checkpoint").parse().unwrap();
        assert_eq!(note.signatures.len(), 3, "one for each key, however often it is asked");
        let served = witness.get(&format!("/{}/checkpoint", Sha256::of(ORIGIN)));
        assert_eq!(served.body, note.to_string(), "monitors find it");
    }
    place.is_clean();
}

#[test]
fn what_is_not_cosigned_is_told_by_its_status() {
    let place = Place::new();
    let witness = Witness::start(&place);
    // Before anything is known.
    witness.add(&Tree::of(9), 5).is_at(0);
    let eager = Request { proof: vec![Sha256::of("")], ..Tree::of(9).request(0) };
    witness.post(eager.to_string().as_bytes()).is(422, "consistency proof");
    let zero = Checkpoint { size: 0, ..Tree::of(9).checkpoint() }.sign(&log()).unwrap();
    let zero = Request { old: 0, proof: Vec::new(), checkpoint: zero };
    witness.post(zero.to_string().as_bytes()).is(422, "without leaves");
    assert_eq!(witness.size(), 0);
    let empty = Tree::of(0);
    witness.add(&empty, 0).is(200, "example.org/m");

    let reply = witness.add(&Tree::of(9), 0);
    reply.is(200, "example.org/e");
    assert!(reply.head.contains("content-type: text/plain"), "{reply:?}");
    assert_eq!(Signature::parse_lines(&reply.body).unwrap().len(), 2);

    // Rollback: the tree is smaller, from whatever size it is said to go on.
    witness.add(&Tree::of(8), 0).is_at(9);
    witness.add(&Tree::of(8), 8).is_at(9);
    witness
        .post(Request { old: 9, ..Tree::of(8).request(0) }.to_string().as_bytes())
        .is(400, "larger");
    // Split view: of the same size, and of a larger one.
    witness.add(&Tree::forged(9), 9).is(422, "consistency proof");
    witness.add(&Tree::forged(20), 9).is(422, "consistency proof");
    let mut proof = Tree::of(20).request(9);
    proof.proof.pop();
    witness.post(proof.to_string().as_bytes()).is(422, "consistency proof");
    assert_eq!(witness.size(), 9);

    // Whose signature it is.
    let good = Tree::of(20).request(9);
    let with = |note: Note| Request { checkpoint: note, ..good.clone() }.to_string();
    let stranger = SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, [7; 32]).unwrap();
    let text = Tree::of(20).checkpoint();
    witness.post(with(text.sign(&stranger).unwrap()).as_bytes()).is(403, "no key of the log");
    let mut bad = good.checkpoint.clone();
    bad.signatures[0].bytes[5] ^= 1;
    witness.post(with(bad.clone()).as_bytes()).is(403, "does not hold");
    bad.signatures.extend(good.checkpoint.signatures.clone());
    witness.post(with(bad).as_bytes()).is(403, "does not hold");
    let other = Checkpoint { origin: "example.com/other".to_owned(), ..text };
    witness.post(with(other.sign(&log()).unwrap()).as_bytes()).is(404, "not known");
    assert_eq!(witness.size(), 9);

    // A stranger's line beside a good one is passed over, and is not kept.
    let mut more = good.checkpoint.clone();
    more.signatures.push(Signature { name: "x".to_owned(), id: [0; 4], bytes: vec![0] });
    witness.post(with(more).as_bytes()).is(200, "example.org/e");
    let kept: Note =
        witness.get(&format!("/{}/checkpoint", Sha256::of(ORIGIN))).body.parse().unwrap();
    assert_eq!((witness.size(), kept.signatures.len()), (20, 3));
}

#[test]
fn what_is_no_request_is_refused_in_bounds() {
    let place = Place::new();
    let witness = Witness::start(&place);
    let good = Tree::of(9).request(0).to_string();
    for (from, to) in [
        ("old 0", "old 00"),
        ("old 0", "old -1"),
        ("old 0\n", ""),
        ("old 0\n", "old 0\nAAAA\n"),
        ("\n\n", "\n"),
        ("\n9\n", "\n09\n"),
        ("\u{2014}", "-"),
    ] {
        witness.post(good.replacen(from, to, 1).as_bytes()).is(400, "");
    }
    let long = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(64);
    witness
        .post(good.replacen("old 0\n", &format!("old 0\n{long}"), 1).as_bytes())
        .is(400, "at most 63");
    witness.post(b"old 0\n\n\xff\xfe\n").is(400, "UTF-8");

    witness.post(&vec![b'a'; 400 << 10]).is(413, "at most");
    witness
        .send(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n")
        .is(413, "at most");
    let chunked = "POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    witness.send(chunked.as_bytes()).is(411, "Content-Length");
    let both =
        "POST /add-checkpoint HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    witness.send(both.as_bytes()).is(400, "HTTP/1.1");
    let twice =
        "POST /add-checkpoint HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde";
    witness.send(twice.as_bytes()).is(400, "HTTP/1.1");
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    witness.send(head.as_bytes()).is(431, "too large");
    witness.send(b"nonsense\r\n\r\n").is(400, "HTTP/1.1");
    witness.get("/").is(404, "");
    witness.get("/add-checkpoint").is(405, "POST");
    witness.get(&format!("/{}/checkpoint", Sha256::of("x"))).is(404, "no checkpoint");
    witness.get("/../checkpoint").is(404, "nothing here");

    witness.post(good.as_bytes()).is(200, "example.org/e");
}

/// As many as it serves at once, each with half a request.
#[test]
fn slow_clients_are_cut_off() {
    let place = Place::new();
    let witness = Witness::start(&place);
    let begun = Instant::now();
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(&witness.address).unwrap();
            stream.write_all(b"POST /add-checkpoint HTTP/1.1\r\nContent-Le").unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    witness.add(&Tree::of(9), 0).is(200, "example.org/e");
    let took = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(40)).contains(&took), "{took:?}");
    drop(slow);
}

/// The race of tlog-witness: many go on from the same tree at once, and only one may.
#[test]
fn of_many_at_once_one_is_cosigned() {
    let place = Place::new();
    let witness = Witness::start(&place);
    witness.add(&Tree::of(3), 0).is(200, "");
    for round in [3, 40] {
        let now = witness.size();
        assert!(now >= round, "{now}");
        let replies: Vec<_> = thread::scope(|scope| {
            let witness = &witness;
            let send = move |more| witness.add(&Tree::of(now + 37 + more), now);
            let all: Vec<_> = (0..16).map(|more| scope.spawn(move || send(more))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let good = replies.iter().filter(|reply| reply.status == 200).count();
        let late = replies.iter().filter(|reply| reply.status == 409).count();
        assert_eq!((good, late), (1, 15), "{replies:?}");
    }
}

#[test]
fn a_witness_that_was_killed_remembers() {
    let place = Place::new();
    let mut witness = Witness::start(&place);
    for size in 1..20 {
        witness.add(&Tree::of(size), size - 1).is(200, "example.org/e");
        witness.kill();
        witness = Witness::start(&place);
        witness.add(&Tree::forged(size), 0).is_at(size);
    }
    // Nobody else signs by the same memory meanwhile.
    let (key, vkey) = ("witness-0.key", log().verifier().to_string());
    let serve = [
        "log",
        "serve-witness",
        "--listen",
        "127.0.0.1:0",
        "--key",
        key,
        "--log",
        &vkey,
        "--state",
        "state",
    ];
    place.refuses(&serve, 1, &["another witness's at this time", "two processes"]);
    witness.kill();
    // A memory that cannot be read is not an empty one.
    let file = place.path(&format!("state/{}/checkpoint", Sha256::of(ORIGIN)));
    let note = fs::read_to_string(&file).unwrap();
    for wrong in [note.replace("\n19\n", "\n18\n"), String::new(), note[..50].to_owned()] {
        fs::write(&file, wrong).unwrap();
        place.refuses(&serve, 30, &["is not what this witness has signed", "backup"]);
    }
}

#[test]
fn who_asks_is_told_what_to_do() {
    let place = Place::new();
    let witness = Witness::start(&place);
    let [e, _] = witness.keys.each_ref().map(|key| format!("{key}={}", witness.url()));
    make_log(&place, "LOG", 10);
    support::place::copy(&place.path("LOG"), &place.path("OLD"));
    append(&place, "LOG", 10..20);
    place.succeeds(&["log", "witness", "LOG", "--witness", &e]);
    let before = place.read("OLD/checkpoint");
    let ask = |log: &str, at: &str, code, words: &[&str]| {
        let ran = place.run(&["log", "witness", log, "--witness", at]);
        assert_eq!(ran.code, code, "{} {}", ran.stdout, ran.stderr);
        assert!(ran.stdout.starts_with("missing  example.org/"), "{}", ran.stdout);
        // No witness signs another past, however often it is asked.
        assert_eq!(ran.stderr.contains("run it again"), code != 10, "{}", ran.stderr);
        for word in words {
            assert!(ran.stdout.contains(word), "`{word}` is not in: {}", ran.stdout);
        }
    };
    // An old copy, and then one that goes on from there by itself.
    ask("OLD", &e, 10, &["has seen 20 entries", "this checkpoint has 10", "old copy"]);
    append(&place, "OLD", 100..120);
    ask("OLD", &e, 10, &["do not go on from what it has seen", "status 422", "was changed"]);
    // A witness's key that is not this one's.
    let stranger =
        SignerKey::from_seed("example.org/x", Algorithm::Ed25519Cosignature, [9; 32]).unwrap();
    let stranger = stranger.verifier();
    ask(
        "LOG",
        &format!("{stranger}={}", witness.url()),
        20,
        &["by no key that is known", "publishes"],
    );
    ask(
        "LOG",
        &format!("{}={}/x", witness.keys[1], witness.url()),
        20,
        &["status 404", "submission prefix"],
    );
    // A log that it does not know, and one whose key it does not know.
    place.succeeds(&[
        "log",
        "key",
        "--name",
        "example.com/b",
        "--type",
        "log",
        "--output",
        "b.key",
    ]);
    place.succeeds(&["log", "init", "B", "--key", "b.key"]);
    ask("B", &e, 20, &["does not know the log `example.com/b`", "verifier key"]);
    place.succeeds(&["log", "key", "--name", ORIGIN, "--type", "log", "--output", "c.key"]);
    place.succeeds(&["log", "init", "C", "--key", "c.key"]);
    ask("C", &e, 10, &["does not accept the log's signature", "status 403"]);
    // Nobody there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ask("LOG", &format!("{stranger}=http://{free}"), 20, &["cannot be asked"]);
    assert_eq!(before.lines().count(), 5, "no cosignature was added to the old copy");
    assert_eq!(place.read("OLD/checkpoint").lines().count(), 5);
}

#[test]
fn a_quorum_is_the_policys() {
    let place = Place::new();
    let witness = Witness::start(&place);
    let url = witness.url();
    make_log(&place, "LOG", 10);
    let [e, m] = &witness.keys;
    let absent =
        SignerKey::from_seed("example.org/x", Algorithm::Ed25519Cosignature, [9; 32]).unwrap();
    let policy = |threshold: &str| {
        let text = format!(
            "log {}\nwitness E {e} {url}/\nwitness M {m} {url}\nwitness X {}\ngroup all {threshold} E M X\nquorum all\n",
            log().verifier(),
            absent.verifier()
        );
        place.write("policy", text);
    };
    policy("all");
    let ask = |more: &[&str]| {
        place.run(&[&["log", "witness", "LOG", "--policy", "policy"], more].concat())
    };
    let ran = ask(&["--witness", "E"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (20, 1), "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stdout.starts_with("cosigned E at "), "{}", ran.stdout);
    assert!(ran.stderr.contains("not cosigned as the policy asks for"), "{}", ran.stderr);
    policy("2");
    assert_eq!(ask(&["--witness", "E"]).code, 20, "M has not been asked");
    let ran = ask(&[]);
    assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("cosigned M at ") && ran.stdout.contains("missing  X\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(ask(&["--witness", &url]).stdout.lines().count(), 2, "both are at this url");
    for (name, words) in [("Y", "has no witness `Y`"), ("X", "has no url")] {
        let ran = ask(&["--witness", name]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    place.refuses(&["log", "witness", "LOG", "--witness", "E"], 2, &["of no `--trust`"]);
    place.refuses(&["log", "witness", "LOG"], 2, &["--trust"]);
}

/// Witnesses that answer something else.
#[test]
fn an_answer_is_not_believed() {
    let place = Place::new();
    make_log(&place, "LOG", 10);
    let [key, _] = keys();
    let note: Note = place.read("LOG/checkpoint").parse().unwrap();
    let good = counterfoil::log::cosign(&note, &key, 1_700_000_000).unwrap();
    let mut bad = good.clone();
    bad.bytes[30] ^= 1;
    let mut later = good.clone();
    later.bytes[7] ^= 1;
    let plain = "text/plain";
    for (status, media_type, body, code, words) in [
        (200, plain, format!("{bad}\n"), 10, "does not hold"),
        (200, plain, format!("{good}\n{bad}\n"), 10, "does not hold"),
        (200, plain, format!("{later}\n"), 10, "does not hold"),
        (200, plain, format!("{good}"), 20, "no signature lines"),
        (200, plain, String::new(), 20, "no signature lines"),
        (200, plain, "<html>\n".to_owned(), 20, "no signature lines"),
        (200, plain, "a".repeat(300 << 10), 20, "cannot be asked"),
        (409, plain, "5\n".to_owned(), 20, "not with the size"),
        (409, "text/x.tlog.size", "05\n".to_owned(), 20, "not with the size"),
        (409, "text/x.tlog.size", "5\n".to_owned(), 20, "meanwhile"),
        (302, plain, String::new(), 20, "does not understand"),
        (503, plain, "\u{1b}[2Jwait\n".to_owned(), 20, "wait"),
        (200, plain, format!("{good}\n"), 0, "cosigned"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nLocation: http://{address}/\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // It is asked once, and after status 409 once more.
        let asked = if status == 409 && words == "meanwhile" { 2 } else { 1 };
        let server = thread::spawn(move || {
            for _ in 0..asked {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"=\n") {
                    let mut piece = [0; 4096];
                    let count = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..count]);
                }
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let at = format!("{}=http://{address}", key.verifier());
        let ran = place.run(&["log", "witness", "LOG", "--witness", &at]);
        assert_eq!(ran.code, code, "{words}: {} {}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
        assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
        server.join().unwrap();
    }
}

#[test]
fn a_private_key_is_its_owners_and_stays() {
    let place = Place::new();
    for (kind, byte) in [("log", "0x01"), ("witness", "0x04"), ("witness-ml-dsa", "0x06")] {
        let make = ["log", "key", "--name", "example.com/a", "--type", kind, "--output", kind];
        let vkey = place.succeeds(&make).stdout;
        let mode = fs::metadata(place.path(kind)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = place.read(kind);
        place.refuses(&make, 2, &["never replaced", "--show"]);
        assert_eq!(place.read(kind), before);
        assert_eq!(place.succeeds(&["log", "key", "--show", kind]).stdout, vkey);
        let json = place.succeeds(&["log", "key", "--show", kind, "--format", "json"]).stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (json["type"].as_str(), json["vkey"].as_str()),
            (Some(byte), Some(vkey.trim_end()))
        );
        let private: SignerKey = before.trim_end().parse().unwrap();
        assert_eq!(private.verifier().to_string(), vkey.trim_end());
    }
    place.refuses(
        &["log", "key", "--name", "a b", "--type", "log", "--output", "x"],
        2,
        &["is no name of a key"],
    );
    place.refuses(
        &["log", "key", "--name", &"a".repeat(256), "--type", "log", "--output", "x"],
        2,
        &["255"],
    );
    assert!(!place.path("x").exists());
    place.write("wrong", "PRIVATE+KEY+a+00000000+AAAA\n");
    place.refuses(&["log", "key", "--show", "wrong"], 30, &["wrong"]);
}

#[test]
fn keys_that_are_for_something_else() {
    let place = Place::new();
    let [e, m] = keys();
    place.write("log.key", log().to_text());
    place.write("e.key", e.to_text());
    place.write("m.key", m.to_text());
    let serve = |keys: &[&str], vkeys: &[String], words: &[&str]| {
        let mut arguments =
            vec!["log", "serve-witness", "--listen", "127.0.0.1:0", "--state", "state"];
        keys.iter().for_each(|key| arguments.extend(["--key", key]));
        vkeys.iter().for_each(|vkey| arguments.extend(["--log", vkey]));
        place.refuses(&arguments, 2, words);
    };
    let vkey = log().verifier().to_string();
    serve(&["log.key"], std::slice::from_ref(&vkey), &["key of a log"]);
    serve(&["e.key"], &[e.verifier().to_string()], &["key of a witness"]);
    serve(&["e.key", "e.key"], &[vkey], &["twice"]);
    // By an Ed25519 key that is a log's and a witness's both, what one says could be passed off as the other's.
    let same = SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, [2; 32]).unwrap();
    serve(&["e.key"], &[same.verifier().to_string()], &["twice"]);
}
