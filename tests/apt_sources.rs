//! The host's apt configuration, in both formats.

use std::fs;
use std::path::{Path, PathBuf};

use counterfoil::input::apt::proxy;
use counterfoil::input::apt::sources::{Error, SignedBy, Source, Sources};

fn list(text: &str) -> Result<Sources, Error> {
    let mut sources = Sources::default();
    sources.add_text(Path::new("sources.list"), text).map(|()| sources)
}

fn stanzas(text: &str) -> Result<Sources, Error> {
    let mut sources = Sources::default();
    sources.add_text(Path::new("debian.sources"), text).map(|()| sources)
}

fn files(paths: &[&str], fingerprints: &[&str]) -> SignedBy {
    SignedBy::Files {
        paths: paths.iter().map(PathBuf::from).collect(),
        fingerprints: fingerprints.iter().map(|&text| text.to_owned()).collect(),
    }
}

fn reasons(sources: &Sources) -> String {
    sources.skipped.iter().map(|s| format!("{}: {}\n", s.what, s.reason)).collect()
}

#[test]
fn one_line_sources() {
    let sources = list(
        "# a comment\n\n\
         deb http://mirror.example.org/debian/ trixie main contrib # and more\n\
         deb-src http://mirror.example.org/debian trixie main\n\
         deb [ arch=amd64,arm64 signed-by=/k/a.gpg,/k/b.asc ] https://example.org/x sid main\n\
         deb [trusted=yes] http://mirror.example.org/debian trixie-updates main\n\
         deb file:/srv/archive sid main\n",
    )
    .unwrap();
    assert_eq!(
        sources.sources,
        [
            Source {
                uri: "http://mirror.example.org/debian".to_owned(),
                suites: vec!["trixie".to_owned(), "trixie-updates".to_owned()],
                components: vec!["main".to_owned(), "contrib".to_owned()],
                signed_by: SignedBy::Default,
            },
            Source {
                uri: "https://example.org/x".to_owned(),
                suites: vec!["sid".to_owned()],
                components: vec!["main".to_owned()],
                signed_by: files(&["/k/a.gpg", "/k/b.asc"], &[]),
            },
            Source {
                uri: "file:/srv/archive".to_owned(),
                suites: vec!["sid".to_owned()],
                components: vec!["main".to_owned()],
                signed_by: SignedBy::Default,
            },
        ]
    );
    assert_eq!(sources.skipped.len(), 1);
}

#[test]
fn stanza_sources() {
    let sources = stanzas(
        "# top\nTypes: deb deb-src\n# http://example.org/commented\n\
         uris: http://mirror.example.org/debian\n https://other.example.org/debian/\n\
         Suites: trixie trixie-updates\nComponents: main\n\
         Signed-By: /usr/share/keyrings/a.gpg\n 0123456789ABCDEF0123456789abcdef01234567!\n\n\
         Enabled: no\nTypes: deb\nURIs: http://off.example.org/\nSuites: sid\nComponents: main\n\n\
         Types: deb\nURIs: http://key.example.org/\nSuites: sid\nComponents: main\nSigned-By:\n \
         -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDME\n -----END PGP PUBLIC KEY BLOCK-----\n",
    )
    .unwrap();
    let uris: Vec<_> = sources.sources.iter().map(|source| source.uri.as_str()).collect();
    let expected = [
        "http://mirror.example.org/debian",
        "https://other.example.org/debian",
        "http://key.example.org",
    ];
    assert_eq!(uris, expected);
    let fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567";
    assert_eq!(sources.sources[0].signed_by, files(&["/usr/share/keyrings/a.gpg"], &[fingerprint]));
    assert_eq!(
        sources.sources[2].signed_by,
        SignedBy::Embedded(
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"
                .to_owned()
        )
    );
    assert_eq!(reasons(&sources), "http://off.example.org/: it is disabled\n");
}

#[test]
fn what_cannot_be_used_is_left_out_with_a_reason() {
    let sources = list(
        "deb cdrom:[Debian GNU/Linux 13 _Trixie_ - amd64]/ trixie main\n\
         deb mirror+file:/etc/apt/mirrors.list trixie main\n\
         deb tor+http://user:secret@example.org/debian trixie main\n\
         deb [arch=arm64] http://example.org/debian trixie main\n\
         deb [arch-=amd64] http://example.org/debian trixie main\n\
         deb http://example.org/flat ./\n\
         deb example.org/debian trixie main\n",
    )
    .unwrap();
    assert_eq!(sources.sources, []);
    let reasons = reasons(&sources);
    for part in ["a disc", "`mirror+file:`", "`tor+http:`", "amd64", "no suites", "not a url"] {
        assert!(reasons.contains(part), "{part} in {reasons}");
    }
    assert_eq!(reasons.lines().count(), 7);
    assert!(!reasons.contains("secret"));
}

#[test]
fn malformed_sources_name_the_line() {
    for (text, line, part) in [
        ("deb http://example.org/debian\n", 1, "a suite"),
        ("\ndebian http://example.org/debian sid main\n", 2, "`debian`"),
        ("deb [signed-by=/k http://example.org/debian sid main\n", 1, "without `]`"),
        ("deb [signed-by] http://example.org/debian sid main\n", 1, "no `=`"),
        ("deb [signed-by=keyring.gpg] http://example.org/debian sid main\n", 1, "absolute path"),
    ] {
        let error = list(text).unwrap_err();
        assert!(matches!(&error, Error::Malformed { line: at, .. } if *at == line), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    for (text, line, part) in [
        ("\n# x\nTypes: deb\nSuites: sid\n", 3, "`URIs`"),
        ("Types: deb\nnonsense\n", 2, "`Field: value`"),
        ("Types: deb\nURIs: http://example.org\nSuites: sid\nSigned-By: x\n", 4, "absolute path"),
    ] {
        let error = stanzas(text).unwrap_err();
        assert!(matches!(&error, Error::Malformed { line: at, .. } if *at == line), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn files_in_the_order_of_apt() {
    let etc = tempfile::tempdir().unwrap();
    let parts = etc.path().join("sources.list.d");
    assert_eq!(Sources::read(etc.path()).unwrap(), Sources::default());
    fs::create_dir(&parts).unwrap();
    let write = |name: &str, text: &str| fs::write(parts.join(name), text).unwrap();
    write("b.list", "deb http://b.example.org/ sid main\n");
    write("a.sources", "Types: deb\nURIs: http://a.example.org\nSuites: sid\nComponents: main\n");
    write("c.list.save", "deb http://c.example.org/ sid main\n");
    write("d e.list", "deb http://d.example.org/ sid main\n");
    write("README", "nonsense\n");
    fs::write(etc.path().join("sources.list"), "deb http://z.example.org/ sid main\n").unwrap();
    let sources = Sources::read(etc.path()).unwrap().sources;
    let uris: Vec<_> = sources.iter().map(|source| source.uri.as_str()).collect();
    assert_eq!(uris, ["http://z.example.org", "http://a.example.org", "http://b.example.org"]);
}

#[test]
fn mirrors_from_the_command_line() {
    let sources =
        Sources::mirrors(["https://a.example.org/debian/", "file:///srv/debian"]).unwrap();
    assert_eq!(sources.sources.len(), 2);
    assert_eq!(sources.sources[0].uri, "https://a.example.org/debian");
    for uri in ["", "debian", "ftp://example.org/debian", "http://", "https:///debian", "file:srv"]
    {
        let error = Sources::mirrors([uri]).unwrap_err();
        assert!(error.to_string().contains("dists/ and pool/"), "{error}");
    }
}

#[test]
fn the_proxy_of_apt() {
    let etc = tempfile::tempdir().unwrap();
    assert_eq!(proxy::read(etc.path()).unwrap(), None);
    fs::create_dir(etc.path().join("apt.conf.d")).unwrap();
    let conf = "Acquire::http::Proxy \"http://proxy.example.org:3128\";\n";
    fs::write(etc.path().join("apt.conf.d/50proxy"), conf).unwrap();
    fs::write(etc.path().join("apt.conf.d/60proxy.bak"), "Acquire::http::Proxy \"DIRECT\";")
        .unwrap();
    assert_eq!(proxy::read(etc.path()).unwrap().as_deref(), Some("http://proxy.example.org:3128"));
    fs::write(etc.path().join("apt.conf"), "Acquire { http { Proxy \"DIRECT\"; }; };").unwrap();
    assert_eq!(proxy::read(etc.path()).unwrap(), None);
}
