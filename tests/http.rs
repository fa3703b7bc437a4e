//! Downloads against a server that misbehaves: what arrives is what was promised, or an error that
//! says what to do.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::time::Duration;

use counterfoil::digest::{Object, Sha256};
use counterfoil::input::http::{Client, Error, Settings, without_credentials};
use support::server::{Fault, Server};

struct Bench {
    directory: tempfile::TempDir,
    server: Server,
    client: Client,
    body: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let body: Vec<u8> =
            (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(directory.path().join("file"), &body).unwrap();
        let server = Server::start(directory.path());
        let settings = Settings {
            attempts: 3,
            pause: Duration::from_millis(1),
            patience: Duration::from_secs(5),
            ..Settings::default()
        };
        Self { directory, server, client: Client::new(&settings).unwrap(), body }
    }

    fn part(&self) -> std::path::PathBuf {
        self.directory.path().join("download.part")
    }

    fn expected(&self) -> Object {
        Object { sha256: Sha256::of(&self.body), size: self.body.len() as u64 }
    }

    fn download(&self) -> Result<Vec<u64>, Error> {
        self.download_as(self.expected())
    }

    fn download_as(&self, expected: Object) -> Result<Vec<u64>, Error> {
        let mut seen = Vec::new();
        let url = self.server.url("file");
        self.client.download(&url, &self.part(), expected, &mut |done| seen.push(done))?;
        assert_eq!(fs::read(self.part()).unwrap(), self.body);
        assert_eq!(seen.last(), Some(&(self.body.len() as u64)));
        Ok(seen)
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.server.requests().into_iter().map(|request| request.range).collect()
    }
}

#[test]
fn a_download_in_one_go() {
    let bench = Bench::new();
    let seen = bench.download().unwrap();
    assert!(seen.is_sorted());
    let requests = bench.server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].user_agent.as_ref().unwrap().starts_with("counterfoil/"));
}

#[test]
fn a_cut_connection_is_resumed_within_the_call() {
    for fault in [Fault::Cut(500_000), Fault::CutWithoutLength(500_000)] {
        let bench = Bench::new();
        bench.server.fault("file", fault);
        bench.download().unwrap();
        assert_eq!(bench.ranges(), [None, Some("bytes=500000-".to_owned())]);
    }
}

#[test]
fn an_earlier_run_is_taken_up() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.server.fault("file", Fault::Cut(100_000));
    }
    assert!(matches!(bench.download(), Err(Error::Unreachable { .. })));
    assert_eq!(fs::metadata(bench.part()).unwrap().len(), 300_000, "what came is kept");
    bench.download().unwrap();
    assert_eq!(bench.ranges().last().unwrap().as_deref(), Some("bytes=300000-"));
}

#[test]
fn a_finished_part_needs_no_network() {
    let bench = Bench::new();
    fs::write(bench.part(), &bench.body).unwrap();
    bench.download().unwrap();
    assert!(bench.server.requests().is_empty());
}

#[test]
fn servers_that_do_ranges_badly() {
    for fault in [Fault::IgnoreRange, Fault::ShiftedRange, Fault::Status(416)] {
        let bench = Bench::new();
        fs::write(bench.part(), &bench.body[..1000]).unwrap();
        bench.server.fault("file", fault.clone());
        bench.download().unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }
}

#[test]
fn a_part_of_something_else_gets_one_fresh_start() {
    for length in [1000, 1_200_000, 2_000_000] {
        let bench = Bench::new();
        fs::write(bench.part(), vec![7; length]).unwrap();
        bench.download().unwrap();
    }
}

#[test]
fn wrong_bytes_are_refused_and_not_kept() {
    let bench = Bench::new();
    let wrong = Object { sha256: Sha256::of("else"), ..bench.expected() };
    let error = bench.download_as(wrong).unwrap_err();
    assert!(
        matches!(&error, Error::Mismatch { expected, .. } if expected.contains("sha256")),
        "{error}"
    );
    assert!(!bench.part().exists());
    assert_eq!(bench.server.requests().len(), 1, "the same bytes are not fetched again");
}

#[test]
fn more_than_expected_is_not_read() {
    let bench = Bench::new();
    for (fault, requests) in [(Fault::Cut(usize::MAX), 1), (Fault::CutWithoutLength(usize::MAX), 2)]
    {
        bench.server.fault("file", fault);
        let short = Object { size: 1000, ..bench.expected() };
        assert!(matches!(bench.download_as(short), Err(Error::Mismatch { .. })));
        assert!(!bench.part().exists());
        assert_eq!(bench.server.requests().len(), requests);
    }
}

#[test]
fn less_than_expected_is_refused() {
    let bench = Bench::new();
    let long = Object { size: 2_000_000, ..bench.expected() };
    assert!(matches!(bench.download_as(long), Err(Error::Mismatch { .. })));
}

#[test]
fn status_codes() {
    let bench = Bench::new();
    for (status, requests) in [(404, 1), (410, 2), (403, 3)] {
        bench.server.fault("file", Fault::Status(status));
        let error = bench.download().unwrap_err();
        match status {
            403 => assert!(matches!(error, Error::Refused { status: 403, .. })),
            _ => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
        }
        assert_eq!(bench.server.requests().len(), requests, "no second attempt after {status}");
    }
    bench.server.fault("file", Fault::Status(500));
    bench.server.fault("file", Fault::Hang);
    bench.download().unwrap();
    for _ in 0..3 {
        bench.server.fault("file", Fault::Status(503));
    }
    fs::remove_file(bench.part()).unwrap();
    assert!(matches!(bench.download(), Err(Error::Refused { status: 503, .. })));
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let bench = Bench::new();
    bench.server.fault("start", Fault::Redirect("/file".to_owned()));
    let got = bench.client.get_small(&bench.server.url("start"), 2_000_000).unwrap();
    assert_eq!(got, bench.body);
    for _ in 0..100 {
        bench.server.fault("loop", Fault::Redirect("/loop".to_owned()));
    }
    let before = bench.server.requests().len();
    let error = bench.client.get_small(&bench.server.url("loop"), 100).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }));
    assert!(bench.server.requests().len() - before <= 6);
}

#[test]
fn small_files_have_a_bound() {
    let bench = Bench::new();
    let url = bench.server.url("file");
    assert!(bench.client.get_small(&url, 1_200_000).is_ok());
    assert!(matches!(
        bench.client.get_small(&url, 1_199_999),
        Err(Error::TooLarge { max: 1_199_999, .. })
    ));
    bench.server.fault("file", Fault::Cut(10));
    assert_eq!(bench.client.get_small(&url, 1_200_000).unwrap().len(), 1_200_000);
}

/// Each byte comes in time, and the file never would.
#[test]
fn a_small_file_that_drips_is_given_up() {
    let bench = Bench::new();
    let settings = Settings { patience: Duration::from_millis(400), ..Settings::default() };
    let client = Client::new(&settings).unwrap();
    bench.server.fault("file", Fault::Drip(Duration::from_millis(20)));
    let dripped = client.get_small(&bench.server.url("file"), 1_200_000);
    assert!(matches!(dripped, Err(Error::TooSlow { .. })), "{dripped:?}");
    assert_eq!(bench.server.requests().len(), 1);
}

#[test]
fn local_files() {
    let bench = Bench::new();
    let root = bench.directory.path().display();
    fs::write(bench.directory.path().join("a b"), "x").unwrap();
    for url in [
        format!("file://{root}/a%20b"),
        format!("file:{root}/a b"),
        format!("FILE://localhost{root}/a b"),
    ] {
        assert_eq!(bench.client.get_small(&url, 1).unwrap(), b"x", "{url}");
    }
    let url = format!("file://{root}/file");
    bench.client.download(&url, &bench.part(), bench.expected(), &mut |_| {}).unwrap();
    for url in
        [format!("file://{root}/none"), format!("file://{root}"), "file:///dev/null".to_owned()]
    {
        assert!(matches!(bench.client.get_small(&url, 1), Err(Error::NotFound { .. })), "{url}");
    }
}

#[test]
fn a_bad_disk_is_told_from_a_bad_network() {
    let bench = Bench::new();
    let url = bench.server.url("file");
    let directory = bench.directory.path();
    for part in [directory, &directory.join("none/x.part"), std::path::Path::new("/dev/full")] {
        let error = bench.client.download(&url, part, bench.expected(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
    assert!(bench.server.requests().is_empty());
}

#[test]
fn nobody_there() {
    let bench = Bench::new();
    let url = bench.server.url("file");
    let Bench { server, client, .. } = bench;
    drop(server);
    assert!(matches!(client.get_small(&url, 1), Err(Error::Unreachable { .. })));
}

#[test]
fn urls_that_cannot_be_fetched() {
    let client = Client::new(&Settings::default()).unwrap();
    for url in ["", "x", "ftp://example.org/x", "file:relative", "file:///%zz", "file:///%00"] {
        assert!(matches!(client.get_small(url, 1), Err(Error::BadUrl { .. })), "{url}");
    }
}

#[test]
fn passwords_stay_out_of_messages() {
    for (url, shown) in [
        ("http://user:p@ss@example.org/a@b", "http://example.org/a@b"),
        ("https://example.org/x@y", "https://example.org/x@y"),
        ("http://user@example.org", "http://example.org"),
        ("file:///a@b", "file:///a@b"),
    ] {
        assert_eq!(without_credentials(url), shown);
    }
    let bench = Bench::new();
    let url = bench.server.url("none").replace("//", "//user:secret@");
    assert!(!bench.client.get_small(&url, 1).unwrap_err().to_string().contains("secret"));
}
