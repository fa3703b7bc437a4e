//! From an archive to pinned packages, over HTTP and from the disk.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::time::Duration;

use counterfoil::digest::{Object, Sha256};
use counterfoil::input::apt::archive::{Archive, Error, Search, Trust, url};
use counterfoil::input::apt::index::{self, Compression, Packages};
use counterfoil::input::apt::release;
use counterfoil::input::apt::resolve::{self, LockedPackage, Request, resolve};
use counterfoil::input::apt::sources::{SignedBy, Sources};
use counterfoil::input::http::{self, Client, Settings};
use support::deb::Deb;
use support::key::Key;
use support::repository::{NOW, Repository, Suite};
use support::server::{Fault, Server};

/// An archive behind a server, and somebody who looks into it.
struct Bench {
    repository: Repository,
    server: Server,
    client: Client,
    cache: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let repository = Repository::new();
        repository.publish(&sid());
        let server = Server::start(repository.root());
        let settings =
            Settings { attempts: 2, pause: Duration::from_millis(1), ..Settings::default() };
        let client = Client::new(&settings).unwrap();
        Self { repository, server, client, cache: tempfile::tempdir().unwrap() }
    }

    fn open(&self, suite: &str) -> Result<Archive, Error> {
        self.open_from(&[&self.server.uri()], suite, &["main"])
    }

    fn open_from(&self, uris: &[&str], suite: &str, components: &[&str]) -> Result<Archive, Error> {
        let trust = Trust::only(vec![self.repository.keyring()]);
        self.open_with(&Sources::mirrors(uris).unwrap(), &trust, suite, components)
    }

    fn open_with(
        &self,
        sources: &Sources,
        trust: &Trust,
        suite: &str,
        components: &[&str],
    ) -> Result<Archive, Error> {
        let (client, cache) = (&self.client, self.cache.path());
        let search = Search { sources, trust, client, cache, now: NOW };
        Archive::open(&search, suite, components, &mut |progress| {
            assert!(progress.done <= progress.total);
        })
    }

    fn index_path(&self) -> String {
        let release = self.repository.read("dists/sid/InRelease");
        let text = String::from_utf8(release).unwrap();
        let line = text.lines().find(|line| line.ends_with("Packages.xz")).unwrap();
        let digest = line.split_ascii_whitespace().next().unwrap();
        format!("dists/sid/main/binary-amd64/by-hash/SHA256/{digest}")
    }

    fn cached_files(&self) -> usize {
        walkdir::WalkDir::new(self.cache.path()).min_depth(1).into_iter().count()
    }
}

/// A kernel that comes in parts, as Debian's does.
fn sid() -> Suite {
    Suite::new(
        "unstable",
        "sid",
        vec![
            Deb::new("linux-image-cloud-amd64", "7.2.13-1")
                .depends("linux-image-7.2.13+deb14-cloud-amd64 (= 7.2.13-1)"),
            Deb::new("linux-image-7.2.13+deb14-cloud-amd64", "7.2.13-1")
                .depends(
                    "kmod, linux-binary-7.2.13+deb14-cloud-amd64 (= 7.2.13-1), \
                     linux-modules-7.2.13+deb14-cloud-amd64 (= 7.2.13-1), \
                     initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool",
                )
                .field("Pre-Depends", "linux-base (>= 4.12~)"),
            Deb::new("linux-binary-7.2.13+deb14-cloud-amd64", "7.2.13-1"),
            Deb::new("linux-modules-7.2.13+deb14-cloud-amd64", "7.2.13-1"),
            Deb::new("linux-base", "4.12").architecture("all"),
            Deb::new("linux-base", "4.9").architecture("all"),
            Deb::new("kmod", "34-1").depends("libc6"),
            Deb::new("dracut", "1-1").field("Provides", "linux-initramfs-tool (= 2), other"),
            Deb::new("loop-a", "1").depends("loop-b"),
            Deb::new("loop-b", "1:1~rc1").depends("loop-a, missing-thing"),
            Deb::new("picky", "1").depends("linux-base (>= 5) | linux-base (<< 4) | nothing:arm64"),
        ],
    )
}

fn lock(
    archive: &Archive,
    packages: &[&str],
    depends: &[&str],
) -> Result<Vec<LockedPackage>, resolve::Error> {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let (packages, depends) = (owned(packages), owned(depends));
    resolve(&archive.packages, Request { packages: &packages, depends: &depends })
}

fn names(locked: &[LockedPackage]) -> Vec<&str> {
    locked.iter().map(|package| package.package.as_str()).collect()
}

#[test]
fn a_metapackage_and_its_parts() {
    let bench = Bench::new();
    let archive = bench.open("sid").unwrap();
    assert_eq!(archive.uri, bench.server.uri());
    let locked = lock(&archive, &["linux-image-cloud-amd64"], &["linux-*"]).unwrap();
    assert_eq!(
        names(&locked),
        [
            "linux-base",
            "linux-binary-7.2.13+deb14-cloud-amd64",
            "linux-image-7.2.13+deb14-cloud-amd64",
            "linux-image-cloud-amd64",
            "linux-modules-7.2.13+deb14-cloud-amd64",
        ]
    );
    let base = &locked[0];
    assert_eq!((base.version.as_str(), base.architecture.as_str()), ("4.12", "all"));
    assert_eq!((base.suite.as_str(), base.component.as_str()), ("sid", "main"));
    // What was pinned is what can be fetched.
    let expected = Object { sha256: base.sha256, size: base.size };
    let part = bench.cache.path().join("deb.part");
    bench.client.download(&url(&archive.uri, &base.path), &part, expected, &mut |_| {}).unwrap();
    assert_eq!(
        names(&lock(&archive, &["linux-image-cloud-amd64"], &[]).unwrap()),
        ["linux-image-cloud-amd64"]
    );
}

#[test]
fn dependencies_are_followed_only_where_they_match() {
    let bench = Bench::new();
    let archive = bench.open("sid").unwrap();
    let locked = |depends: &[&str]| {
        lock(&archive, &["linux-image-7.2.13+deb14-cloud-amd64"], depends)
            .map(|locked| locked.len())
    };
    // kmod is taken, its libc6 is nobody's wish; the provider stands in for the tool.
    assert_eq!(locked(&["kmod", "dracut"]).unwrap(), 3);
    assert_eq!(locked(&["initramfs-tools"]).unwrap(), 1, "the other alternative satisfies");
    let error = locked(&["*"]).unwrap_err();
    assert!(
        matches!(&error, resolve::Error::Unsatisfied { package, .. } if package == "kmod"),
        "{error}"
    );
    assert_eq!(names(&lock(&archive, &["loop-a"], &["loop-*"]).unwrap()), ["loop-a", "loop-b"]);
    let error = lock(&archive, &["picky"], &["linux-*"]).unwrap_err().to_string();
    assert!(error.contains("`linux-base (>= 5) | linux-base (<< 4) | nothing:arm64`"), "{error}");
}

#[test]
fn an_unknown_package_gets_a_hint() {
    let bench = Bench::new();
    let archive = bench.open("sid").unwrap();
    let error = lock(&archive, &["linux-bse"], &[]).unwrap_err().to_string();
    assert!(error.contains("suite `sid`, component main; did you mean `linux-base`?"), "{error}");
    let error = lock(&archive, &["qqqqqqqqqqqq"], &[]).unwrap_err().to_string();
    assert!(error.contains("add the component"), "{error}");
}

#[test]
fn either_name_of_a_suite_and_the_disk() {
    let bench = Bench::new();
    for (uri, suite) in [(bench.server.uri(), "unstable"), (bench.repository.uri(), "sid")] {
        let archive = bench.open_from(&[&uri], suite, &["main"]).unwrap();
        assert_eq!(archive.packages.suite(), suite);
        assert_eq!(archive.release.codename.as_deref(), Some("sid"));
        assert_eq!(archive.packages.len(), 11);
    }
    let requests = bench.server.requests().len();
    bench.open("sid").unwrap();
    assert_eq!(bench.server.requests().len(), requests + 1, "the index is in the cache");
    assert_eq!(bench.cached_files(), 1, "and no part is left");
}

#[test]
fn the_next_archive_is_asked_if_one_has_not_got_it() {
    let bench = Bench::new();
    let empty = Repository::new();
    let away = Server::start(empty.root());
    let gone = away.uri();
    drop(away);
    let archive =
        bench.open_from(&[&gone, &empty.uri(), &bench.server.uri()], "sid", &["main"]).unwrap();
    assert_eq!(archive.uri, bench.server.uri());
    let error = bench.open_from(&[&empty.uri()], "sid", &["main"]).unwrap_err();
    assert!(matches!(&error, Error::NoSuite { tried, .. } if tried.len() == 1), "{error}");
    assert!(
        error.to_string().contains("--mirror") && error.to_string().contains("COUNTERFOIL_MIRROR")
    );
    let error = bench.open_from(&[&gone, &empty.uri()], "sid", &["main"]).unwrap_err();
    assert!(matches!(&error, Error::Unreachable { tried, .. } if tried.len() == 2), "{error}");
    assert!(matches!(bench.open_from(&[], "sid", &["main"]), Err(Error::NoSource)));
}

#[test]
fn a_bad_signature_is_final() {
    let bench = Bench::new();
    let evil = Repository::signed_by(Key::new(666));
    evil.publish(&sid());
    let error = bench.open_from(&[&evil.uri(), &bench.server.uri()], "sid", &["main"]).unwrap_err();
    assert!(
        matches!(error, Error::Release { source: release::Error::Signature(_), .. }),
        "{error}"
    );
    assert!(bench.server.requests().is_empty());
}

#[test]
fn one_suite_cannot_stand_in_for_another() {
    let bench = Bench::new();
    let signed = bench.repository.read("dists/sid/InRelease");
    bench.repository.write("dists/trixie/InRelease", &signed);
    let error = bench.open("trixie").unwrap_err();
    assert!(
        matches!(error, Error::Release { source: release::Error::Suite { .. }, .. }),
        "{error}"
    );
}

#[test]
fn an_expired_release_is_still_opened() {
    let bench = Bench::new();
    let fields = "Valid-Until: Sat, 12 Sep 2026 08:00:00 UTC\n".to_owned();
    bench.repository.publish(&Suite { fields, ..sid() });
    let release = bench.open("sid").unwrap().release;
    assert!(matches!(release.freshness(NOW), release::Freshness::Expired { .. }));
}

#[test]
fn a_tampered_or_truncated_index_is_refused() {
    let bench = Bench::new();
    let path = bench.index_path();
    let index = bench.repository.read(&path);
    let mut tampered = index.clone();
    tampered[index.len() / 2] ^= 1;
    for bytes in [tampered, index[..index.len() - 10].to_vec(), [index.as_slice(), b"x"].concat()] {
        bench.repository.write(&path, &bytes);
        let error = bench.open("sid").unwrap_err();
        assert!(
            matches!(error, Error::Fetch { source: http::Error::Mismatch { .. }, .. }),
            "{error}"
        );
        assert_eq!(bench.cached_files(), 0);
    }
    bench.repository.write(&path, &index);
    bench.server.fault(&path, Fault::Cut(100));
    bench.open("sid").unwrap();
    // What lies in the cache is believed no more than what comes from the network.
    let cached = bench.cache.path().join(path.rsplit('/').next().unwrap());
    std::fs::write(&cached, "x").unwrap();
    bench.open("sid").unwrap();
    assert_eq!(std::fs::read(cached).unwrap(), index);
}

#[test]
fn other_forms_of_an_index() {
    let bench = Bench::new();
    for (by_hash, compressions) in
        [(false, vec!["xz"]), (true, vec!["gz"]), (true, vec![""]), (false, vec!["", "gz"])]
    {
        let compressions = compressions.into_iter().map(str::to_owned).collect();
        bench.repository.publish(&Suite { by_hash, compressions, ..sid() });
        assert_eq!(bench.open("sid").unwrap().packages.len(), 11);
    }
    // Listed by digest, but only there by name: a mirror without by-hash.
    bench.repository.publish(&sid());
    std::fs::remove_dir_all(bench.repository.root().join("dists/sid/main/binary-amd64/by-hash"))
        .unwrap();
    bench.open("sid").unwrap();
}

#[test]
fn components() {
    let bench = Bench::new();
    let mut suite = sid();
    suite.components.push(("contrib".to_owned(), vec![Deb::new("extra", "1")]));
    bench.repository.publish(&suite);
    let archive = bench.open_from(&[&bench.server.uri()], "sid", &["main", "contrib"]).unwrap();
    assert_eq!(lock(&archive, &["extra"], &[]).unwrap()[0].component, "contrib");
    let error = bench.open_from(&[&bench.server.uri()], "sid", &["non-free"]).unwrap_err();
    assert!(error.to_string().contains("it has main, contrib"), "{error}");
}

#[test]
fn release_and_release_gpg() {
    let bench = Bench::new();
    let text = bench.repository.write_files(&sid());
    std::fs::remove_file(bench.repository.root().join("dists/sid/InRelease")).unwrap();
    assert!(matches!(bench.open("sid"), Err(Error::NoSuite { .. })));
    bench.repository.write("dists/sid/Release", text.as_bytes());
    assert!(matches!(bench.open("sid"), Err(Error::NoSuite { .. })), "unsigned");
    let signature = bench.repository.key.detach_armoured(text.as_bytes());
    bench.repository.write("dists/sid/Release.gpg", signature.as_bytes());
    assert_eq!(bench.open("sid").unwrap().release.sha256, Sha256::of(&text));
}

#[test]
fn the_host_decides_whom_it_trusts_for_what() {
    let bench = Bench::new();
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    let (distribution, stranger) = (&bench.repository.key, Key::new(9));
    std::fs::create_dir_all(at("usr/share/keyrings")).unwrap();
    let trust = Trust::of_host(root.path());
    let source = |signed_by: SignedBy, suites: &[&str]| {
        let mut sources = Sources::mirrors([bench.server.uri()]).unwrap();
        sources.sources[0].signed_by = signed_by;
        sources.sources[0].suites = suites.iter().map(|&suite| suite.to_owned()).collect();
        sources
    };
    let open = |sources: &Sources| bench.open_with(sources, &trust, "sid", &["main"]);
    let error = open(&source(SignedBy::Default, &[])).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("install the package debian-archive-keyring"), "{cause}");

    std::fs::write(at("usr/share/keyrings/debian-archive-keyring.gpg"), distribution.binary())
        .unwrap();
    open(&source(SignedBy::Default, &[])).unwrap();
    open(&source(SignedBy::Embedded(distribution.armoured()), &["trixie"])).unwrap();
    open(&source(SignedBy::Embedded(distribution.armoured()), &["sid"])).unwrap();
    // A stranger's archive is believed for the suites the host takes from it, and asked for no other.
    let error = open(&source(SignedBy::Embedded(stranger.armoured()), &["nodistro"])).unwrap_err();
    assert!(error.to_string().contains("its keys are not those of the distribution"), "{error}");
    let error = open(&source(SignedBy::Embedded(stranger.armoured()), &["sid"])).unwrap_err();
    assert!(matches!(error, Error::Release { .. }), "{error}");
    let narrowed =
        |fingerprint: String| SignedBy::Files { paths: vec![], fingerprints: vec![fingerprint] };
    open(&source(narrowed(distribution.fingerprint()), &["sid"])).unwrap();
    assert!(open(&source(narrowed(stranger.fingerprint()), &["sid"])).is_err());
}

#[test]
fn impossible_indexes() {
    let good = "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\n\
                SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
    let read = |text: &str, limit: u64| {
        let mut packages = Packages::new("sid");
        packages
            .add("index", "main", text.as_bytes(), Compression::None, limit)
            .map(|()| packages.len())
    };
    assert_eq!(read(good, 1000).unwrap(), 1);
    assert_eq!(read(&format!("\n\n{good}\n\n\n{good}"), 1000).unwrap(), 2);
    assert_eq!(read("", 0).unwrap(), 0);
    assert!(matches!(read(good, 20), Err(index::Error::TooLarge { limit: 20, .. })));
    for (from, to, problem) in [
        ("pool/a.deb", "/pool/a.deb", "outside the archive"),
        ("pool/a.deb", "pool/../../a.deb", "outside the archive"),
        ("pool/a.deb", "..", "outside the archive"),
        ("pool/a.deb", "pool//a.deb", "outside the archive"),
        ("pool/a.deb", "pool\\a.deb", "outside the archive"),
        ("Package: a", "Package: ../a", "not a package name"),
        ("Package: a", "Package: a b", "not a package name"),
        ("Version: 1", "Version: 1/2", "impossible version"),
        ("Version: 1\n", "", "no `Version`"),
        ("Size: 1", "Size: many", "`Size`"),
        ("Size: 1\n", "Size: 1\nSize: 2\n", "twice"),
        ("Version: 1\n", "Version: 1\nVersion: 2\n", "field `Version` is there twice"),
        ("SHA256: e3", "SHA256: E3", "`SHA256`"),
        ("SHA256", "SHA1", "no `SHA256`"),
        ("Package: a\n", " x\nPackage: a\n", "`Field: value`"),
    ] {
        let error = read(&good.replacen(from, to, 1), 1000).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}, expected {problem}");
    }
    let bench = Bench::new();
    bench.repository.publish(&Suite { index_suffix: good.replace("pool/", "../"), ..sid() });
    assert!(matches!(bench.open("sid"), Err(Error::Index(index::Error::Malformed { .. }))));
}

#[test]
fn urls_of_packages() {
    assert_eq!(
        url("http://example.org/debian/", "pool/a+b~1_1%3a2 x.deb"),
        "http://example.org/debian/pool/a+b~1_1%253a2%20x.deb"
    );
}

#[test]
fn packages_made_here_are_packages_to_dpkg() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.deb");
    let deb = Deb::new("a", "1:2-3")
        .depends("b (>= 1)")
        .directory("usr/bin")
        .file("usr/bin/a", 0o755, "#!")
        .symlink("usr/bin/b", "a")
        .hard_link("usr/bin/c", "./usr/bin/a");
    for compression in ["xz", "gz", ""] {
        std::fs::write(&path, deb.build_as(compression)).unwrap();
        let run = |option: &str| Command::new("dpkg-deb").arg(option).arg(&path).output();
        let Ok(fields) = run("--field") else { return };
        assert!(String::from_utf8(fields.stdout).unwrap().contains("Depends: b (>= 1)\n"));
        let contents = String::from_utf8(run("--contents").unwrap().stdout).unwrap();
        assert!(
            contents.contains("./usr/bin/b -> a") && contents.lines().count() == 4,
            "{contents}"
        );
    }
}
