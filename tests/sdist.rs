//! Source distributions: found in a Python package index that is told by the host, pinned by the
//! manifest, fetched like any other input; and each way in which an index can be wrong.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;

use counterfoil::digest::Sha256;
use support::place::Place;
use support::server::{Fault, Server};

/// An index with one project, and a place with a manifest that wants it.
struct Bench {
    served: tempfile::TempDir,
    server: Server,
    place: Place,
    archive: Vec<u8>,
}

const MANIFEST: &str = "\
version: 1
name: image
inputs:
  blob: {file: blob}
  tool:
    sdist: {package: Tool.Kit, version: 1.2.0, sha256: DIGEST}
firmware: {from: blob}
kernel: {from: blob, config: blob}
cmdline: console=ttyS0
files:
  - {path: /tool, from: tool, source: /tool_kit-1.2.0/tool}
init: {exec: [/tool]}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
";

const FILE: &str = "tool_kit-1.2.0.tar.gz";
const PAGE: &str = "simple/tool-kit/";

impl Bench {
    fn new() -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        // Noise, so that it is large packed, too.
        let noise: Vec<u8> =
            (0..50_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut header = tar::Header::new_ustar();
        header.set_size(noise.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, "tool_kit-1.2.0/tool", noise.as_slice()).unwrap();
        let archive = support::deb::compress(&tar.into_inner().unwrap(), "gz");
        let served = tempfile::tempdir().unwrap();
        fs::create_dir_all(served.path().join(PAGE)).unwrap();
        fs::create_dir_all(served.path().join("files")).unwrap();
        fs::write(served.path().join("files").join(FILE), &archive).unwrap();
        let bench = Self {
            server: Server::start(served.path()),
            served,
            place: Place::new(),
            archive: archive.clone(),
        };
        bench.wants(Sha256::of(&archive));
        bench.place.write("blob", [0; 4096]);
        bench.page(&format!("<a href=\"../../files/{FILE}#sha256={}\">{FILE}</a>", bench.digest()));
        bench
    }

    fn digest(&self) -> Sha256 {
        Sha256::of(&self.archive)
    }

    fn wants(&self, digest: Sha256) {
        self.place.write("image.yaml", MANIFEST.replace("DIGEST", &digest.to_string()));
    }

    /// What the index says of the project.
    fn page(&self, anchors: &str) {
        let page = format!("<!DOCTYPE html>\n<title>Links</title>\n{anchors}\n");
        fs::write(self.served.path().join(PAGE).join("index.html"), page).unwrap();
    }

    fn index(&self) -> String {
        self.server.url("simple")
    }

    fn lock(&self) -> Vec<String> {
        ["lock", "image.yaml", "--python-index", &self.index()].map(str::to_owned).to_vec()
    }

    #[track_caller]
    fn locks(&self) {
        let arguments = self.lock();
        self.place.succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[track_caller]
    fn refuses(&self, code: i32, words: &[&str]) {
        let arguments = self.lock();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.place.refuses(&arguments, code, words);
        assert!(!self.place.path("image.lock.yaml").exists());
    }

    fn asked(&self) -> Vec<String> {
        self.server.requests().into_iter().map(|request| request.path).collect()
    }
}

#[test]
fn one_is_found_locked_and_fetched_again() {
    let bench = Bench::new();
    bench.locks();
    let lock = bench.place.read("image.lock.yaml");
    for word in ["sdist:", "Tool.Kit", FILE, &bench.digest().to_string(), "data:"] {
        assert!(lock.contains(word), "{word}: {lock}");
    }
    assert!(!lock.contains("127.0.0.1"), "no host is locked: {lock}");
    assert_eq!(bench.asked()[0], format!("/{PAGE}"), "the name is normalised");

    // With a full store nothing is asked for; the manifest's kernel is none, which comes later.
    let before = bench.asked().len();
    let words = ["kernel image"];
    bench.place.refuses(&["build", "image.yaml", "--offline"], 10, &words);
    assert_eq!(bench.asked().len(), before);

    // Somebody else's store, and another index: by the file's name.
    fs::remove_dir_all(bench.place.path("cache")).unwrap();
    let index = bench.index();
    let offline = ["build", "image.yaml", "--offline"];
    bench.place.refuses(&offline, 20, &["input `tool`", "not in the store", "--offline"]);
    bench.place.refuses(&["build", "image.yaml", "--python-index", &index], 10, &words);
    assert_eq!(bench.asked()[before..], [format!("/{PAGE}"), format!("/files/{FILE}")]);
}

#[test]
fn the_host_says_which_index() {
    let bench = Bench::new();
    let index = bench.index();
    let run = |variables: &[(&str, &str)]| {
        let _ = fs::remove_file(bench.place.path("image.lock.yaml"));
        let mut command = bench.place.command(&["lock", "image.yaml"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{variables:?}: {output:?}");
    };
    let nowhere = "http://127.0.0.1:9/simple";
    run(&[("COUNTERFOIL_PYTHON_INDEX", &index), ("PIP_INDEX_URL", nowhere)]);
    run(&[("PIP_INDEX_URL", &format!("{index}/"))]);
    let conf = |url: &str| format!("[global]\nindex-url = {url}\n");
    bench.place.write("home/pip.conf", conf(&index));
    let said = bench.place.path("home/pip.conf");
    run(&[("PIP_CONFIG_FILE", said.to_str().unwrap())]);
    // The user's files: the one where XDG has it counts more than the old one.
    bench.place.write(".pip/pip.conf", conf(nowhere));
    bench.place.write(".config/pip/pip.conf", conf(&index));
    run(&[]);
    bench.place.write(".config/pip/pip.conf", conf(nowhere));
    bench.place.write("xdg/pip/pip.conf", conf(&index));
    run(&[("XDG_CONFIG_HOME", bench.place.path("xdg").to_str().unwrap())]);
    // And an index on a disk.
    let local = format!("file://{}/simple", bench.served.path().display());
    run(&[("PIP_INDEX_URL", &local)]);
}

#[test]
fn without_an_index_the_error_says_how_to_tell_one() {
    let bench = Bench::new();
    let mut command = bench.place.command(&["lock", "image.yaml"]);
    // This machine may have one for all of its users.
    let output = command.env("PIP_CONFIG_FILE", "/dev/null").output().unwrap();
    support::place::Ran::of(&output).is_refusal(
        20,
        &[
            "input `tool`",
            "no Python package index",
            "`Tool.Kit`",
            "--python-index URL",
            "COUNTERFOIL_PYTHON_INDEX",
            "PIP_INDEX_URL",
            "pip.conf",
        ],
    );
}

#[test]
fn a_download_that_breaks_off_goes_on() {
    let bench = Bench::new();
    // The first request is for the size alone.
    let path = format!("files/{FILE}");
    bench.server.fault(&path, Fault::Cut(usize::MAX));
    bench.server.fault(&path, Fault::Cut(100_000));
    bench.locks();
    let last = bench.server.requests().pop().unwrap();
    assert_eq!(last.range.as_deref(), Some("bytes=100000-"));
}

#[test]
fn links_are_relative_to_where_redirections_lead() {
    let bench = Bench::new();
    bench.page(&format!("<a href=\"{FILE}\">{FILE}</a>"));
    let deep = bench.served.path().join("deep/down/tool-kit");
    fs::create_dir_all(&deep).unwrap();
    fs::rename(bench.served.path().join(PAGE).join("index.html"), deep.join("index.html")).unwrap();
    fs::rename(bench.served.path().join("files").join(FILE), deep.join(FILE)).unwrap();
    bench.server.fault(PAGE, Fault::Redirect("/deep/down/tool-kit/".to_owned()));
    bench.locks();
}

#[test]
fn another_file_under_its_name() {
    let bench = Bench::new();
    let other = Sha256::of("other");
    bench.page(&format!("<a href=\"../../files/{FILE}#sha256={other}\">{FILE}</a>"));
    let words = ["input `tool`", "the index says", FILE, &other.to_string()];
    bench.refuses(10, &words);
    assert_eq!(bench.asked().len(), 1, "it is not even asked for");

    // And with an index that does not say what it has.
    bench.page(&format!("<a href=\"../../files/{FILE}\">{FILE}</a>"));
    bench.wants(other);
    bench.refuses(10, &["input `tool`", "not what was promised", "sha256", &other.to_string()]);
}

#[test]
fn a_version_that_the_index_lacks() {
    let bench = Bench::new();
    let anchors: String = (0..12)
        .map(|n| format!("<a href=\"tool-kit-1.{n}.tar.gz\">.</a> <a href=\"tool_kit-1.2.0-py3-none-any.whl\">.</a>"))
        .collect();
    // Another project's, of the right version.
    bench.page(&format!("{anchors}<a href=\"tool-1.2.0.tar.gz\"></a>"));
    bench.refuses(
        20,
        &["input `tool`", "no source distribution", "`Tool.Kit` 1.2.0", "…, 1.4, 1.5", "1.11"],
    );
    bench.page("<a href=\"tool_kit-1.2.0-py3-none-any.whl\">tool</a>");
    bench.refuses(20, &["input `tool`", "no .tar.gz of any version"]);
}

#[test]
fn a_project_that_the_index_lacks() {
    let bench = Bench::new();
    fs::remove_dir_all(bench.served.path().join(PAGE)).unwrap();
    bench.refuses(20, &["input `tool`", "cannot be fetched", "was not found", PAGE]);
}

#[test]
fn nonsense_in_the_place_of_a_page() {
    let bench = Bench::new();
    for nonsense in [
        "",
        "{\"meta\": {\"api-version\": \"1.0\"}}",
        "<html><body>Welcome!",
        "<a href=\"/\">up</a>",
    ] {
        bench.page(nonsense);
        bench.refuses(
            30,
            &["input `tool`", "no page of a Python package index", "PEP 503", "/simple"],
        );
    }
    fs::write(bench.served.path().join(PAGE).join("index.html"), [0xff, 0xfe, b'<', 0]).unwrap();
    bench.refuses(30, &["no page of a Python package index"]);
    // A link to what nobody fetches from.
    bench.page(&format!("<a href=\"ftp://127.0.0.1/{FILE}\">{FILE}</a>"));
    bench.refuses(2, &["input `tool`", "ftp://127.0.0.1", "expected a url"]);
}

#[test]
fn a_file_that_is_no_archive() {
    let bench = Bench::new();
    let junk = b"nothing that was ever packed";
    fs::write(bench.served.path().join("files").join(FILE), junk).unwrap();
    bench.page(&format!("<a href=\"/files/{FILE}\">{FILE}</a>"));
    bench.wants(Sha256::of(junk));
    bench.refuses(30, &["input `tool`"]);
}

#[test]
fn one_that_has_left_the_index() {
    let bench = Bench::new();
    bench.locks();
    fs::remove_dir_all(bench.place.path("cache")).unwrap();
    let index = bench.index();
    let build = ["build", "image.yaml", "--python-index", &index];
    bench.page("<a href=\"tool_kit-2.0.tar.gz\">2.0</a>");
    bench.place.refuses(
        &build,
        20,
        &["input `tool`", FILE, "any more", &bench.digest().to_string(), "--python-index URL"],
    );
    // The page knows it, and the file is gone.
    bench.page(&format!("<a href=\"gone/{FILE}\">{FILE}</a>"));
    bench.place.refuses(&build, 20, &["input `tool`", "nowhere any more", "gone"]);
}

#[test]
fn contents_of_another_in_the_lock() {
    let bench = Bench::new();
    bench.locks();
    let lock = bench.place.read("image.lock.yaml");
    let (before, data) = lock.split_once("data:\n").unwrap();
    let (_, data) = data.split_once("sha256: ").unwrap();
    let data = data.trim_start_matches('"').get(..64).unwrap();
    let altered = format!("{before}{}", lock[before.len()..].replace(data, &"0".repeat(64)));
    bench.place.write("image.lock.yaml", altered);
    let index = bench.index();
    let build = ["build", "image.yaml", "--python-index", &index];
    bench.place.refuses(&build, 10, &["input `tool`", "unpacks to", "the lock says"]);
}

#[test]
fn names_and_versions_that_are_none() {
    for (from, to, words) in [
        ("Tool.Kit", "../x", ["a Python project's name", "`../x`"]),
        ("1.2.0", "\"1.2 0\"", ["a version such as", "`1.2 0`"]),
        ("DIGEST", "abc", ["sha256", "abc"]),
        (", sha256: DIGEST", "", ["missing field", "sha256"]),
        ("package", "packages", ["unknown field", "packages"]),
    ] {
        let place = Place::new();
        place.write("blob", "");
        place
            .write("image.yaml", MANIFEST.replacen(from, to, 1).replace("DIGEST", &"0".repeat(64)));
        place.refuses(&["lock", "image.yaml"], 30, &words);
    }
}
