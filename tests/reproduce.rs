//! Releases made again: by another user without a network from a bundle, and releases and bundles that lie.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use counterfoil::digest::Sha256;
use support::place::{Place, Ran, copy};
use support::real;

/// With a file of the publisher's own, which nobody else has.
const MANIFEST: &str = r#"
version: 1
name: again
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  hello: {builtin: hello}
  notes: {file: again/notes}
  tree: {dir: again/tree}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml}
cmdline: console=ttyS0 panic=-1
files:
  - {path: /usr/bin/hello, from: hello, mode: "0755"}
  - {path: /etc/notes, from: notes}
  - {path: /srv/tree, from: tree, source: /}
volumes:
  model: {mount: /models, files: [{path: /notes, from: notes}]}
init: {exec: [/usr/bin/hello, "8080"], output: console}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
"#;

fn release() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let manifests = real::manifests().join("manifests");
            fs::create_dir_all(manifests.join("again/tree/below")).unwrap();
            fs::write(manifests.join("again/notes"), "of the publisher\n").unwrap();
            fs::write(manifests.join("again/tree/below/file"), "x").unwrap();
            fs::write(manifests.join("again.yaml"), MANIFEST).unwrap();
            let release = real::release("again");
            // What is beside the manifest is in the store now, and in the bundle.
            let ran =
                real::run(&real::manifests(), &["bundle", "create", "again", "-o", "again.bundle"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            release
        })
        .clone()
}

fn bundle() -> PathBuf {
    release();
    real::manifests().join("again.bundle")
}

/// The release in a place of its own, with the inputs in the store there.
fn brought() -> Place {
    let place = Place::new();
    copy(&release(), &place.path("release"));
    place.succeeds(&["bundle", "import", bundle().to_str().unwrap()]);
    place
}

/// Writes something else into a file of the release there.
fn edit(place: &Place, name: &str, from: &str, to: &str) {
    let text = place.read(&format!("release/{name}"));
    assert!(text.contains(from), "{from} is not in {text}");
    place.write(&format!("release/{name}"), text.replacen(from, to, 1));
}

fn verdict(place: &Place) -> serde_json::Value {
    serde_json::from_str(&place.read("release/rebuilds/unnamed.json")).unwrap()
}

#[test]
fn a_bundle_is_the_same_for_everyone() {
    let bytes = fs::read(bundle()).unwrap();
    let place = brought();
    place.succeeds(&["bundle", "create", "release", "-o", "other.bundle", "--offline"]);
    assert!(fs::read(place.path("other.bundle")).unwrap() == bytes);
    let ours = place.succeeds(&["bundle", "--list", "other.bundle", "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ours.stdout).unwrap();
    assert!(rows.iter().all(|row| row["in_bundle"] == true));
    let whats: Vec<_> = rows.iter().map(|row| row["what"].as_str().unwrap()).collect();
    for expected in ["package `ovmf-amdsev`", "input `notes`", "`/below/file`", "builtin `init`"] {
        assert!(whats.iter().any(|what| what.contains(expected)), "{expected}: {whats:?}");
    }
    let listed = place.succeeds(&["bundle", "--list", "release"]);
    assert!(listed.stdout.contains("nobody else has it"), "{}", listed.stdout);
}

/// Another user, without a network, in another directory, with another umask, time zone and locale, and a
/// store that held nothing.
#[test]
fn another_user_makes_it_again_without_a_network() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/deep/directory");
    fs::create_dir_all(&deep).unwrap();
    copy(&release(), &deep.join("release"));
    fs::copy(bundle(), deep.join("inputs")).unwrap();
    // Where the other user may run it.
    let program = deep.join("counterfoil");
    fs::copy(env!("CARGO_BIN_EXE_counterfoil"), &program).unwrap();
    let script = "umask 0077; ip=$(cat /proc/net/route | wc -l); [ \"$ip\" -le 1 ] || exit 99; \
                  exec ./counterfoil reproduce release --bundle inputs --offline --store store --as other";
    let root = rustix::process::geteuid().is_root();
    let mut words = vec!["unshare", "--net"];
    if root {
        for entry in walkdir::WalkDir::new(directory.path()) {
            std::os::unix::fs::chown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
        }
        words.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    } else {
        words.extend(["--map-root-user", "--"]);
    }
    words.extend(["sh", "-c", script]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(&deep).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &deep);
    command.env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8");
    let ran = Ran::of(&command.output().unwrap());
    let denied = ran.stderr.contains("Operation not permitted") && ran.stderr.contains("unshare");
    if denied && std::env::var_os("CI").is_none() {
        eprintln!("skipped: another_user_makes_it_again_without_a_network: no namespaces here");
        return;
    }
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("reproduced: every measured value and every file is the same"));
    let verdict = fs::read_to_string(deep.join("release/rebuilds/other.json")).unwrap();
    assert!(verdict.contains("\"verdict\": \"reproduced\""), "{verdict}");
    // Nothing of the machine is in it.
    for word in ["nobody", "65534", "Chatham", "deep", "tr_TR"] {
        assert!(!verdict.contains(word), "{word}: {verdict}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let place = Place::new();
    copy(&release(), &place.path("release"));
    let ran = place.run(&["reproduce", "release", "--offline"]);
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("package `ovmf-amdsev`") && ran.stderr.contains("bundle"),
        "{}",
        ran.stderr
    );
    assert_eq!(verdict(&place)["verdict"], "cannot-reproduce");
    let missing = verdict(&place)["missing"].as_array().unwrap().len();
    assert!(missing >= 4, "{}", verdict(&place));
    // A writer that this program does not have.
    let place = brought();
    let text = place.read("release/launch.json").replace("\"erofs/1\"", "\"erofs/9\"");
    place.write("release/launch.json", text);
    let ran = place.run(&["reproduce", "release", "--offline"]);
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    assert!(ran.stderr.contains("erofs/9") && ran.stderr.contains("erofs/1"), "{}", ran.stderr);
}

/// The directory and everything below it, to be compared later.
fn snapshot(root: &Path) -> Vec<(PathBuf, Option<Sha256>)> {
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(Result::unwrap);
    let digest = |entry: &walkdir::DirEntry| {
        entry.file_type().is_file().then(|| Sha256::of(fs::read(entry.path()).unwrap()))
    };
    entries.map(|entry| (entry.path().to_owned(), digest(&entry))).collect()
}

/// Whatever a release says, nothing is written outside of it.
#[test]
fn hostile_releases() {
    let place = brought();
    let outside = Place::new();
    outside.write("victim.json", "mine");
    let before = snapshot(outside.root());
    let refused = |change: &dyn Fn(&Place), code: i32, words: &[&str]| {
        let _ = fs::remove_dir_all(place.path("release"));
        copy(&release(), &place.path("release"));
        change(&place);
        let ran = place.run(&["reproduce", "release", "--offline"]);
        assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
        }
        assert_eq!(snapshot(outside.root()), before);
    };
    // Links that lead out, where a verdict would go and where artifacts are.
    refused(
        &|place| symlink(outside.root(), place.path("release/rebuilds")).unwrap(),
        10,
        &["rebuilds` is not a directory", "nothing was written"],
    );
    refused(
        &|place| {
            fs::create_dir(place.path("release/rebuilds")).unwrap();
            let victim = outside.path("victim.json");
            symlink(victim, place.path("release/rebuilds/unnamed.json")).unwrap();
        },
        0,
        &[],
    );
    // Links, pipes and directories where files should be.
    for name in ["image/kernel", "launch.json", "inventory.json", "image/volumes/model.img"] {
        for kind in 0..3 {
            let put = |place: &Place| {
                let path = place.path("release").join(name);
                fs::remove_file(&path).unwrap();
                match kind {
                    0 => symlink("/etc/passwd", &path).unwrap(),
                    1 => fs::create_dir(&path).unwrap(),
                    _ => {
                        let mode = rustix::fs::Mode::from_raw_mode(0o644);
                        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
                    }
                }
            };
            let (code, word) = match (name, kind) {
                ("launch.json", 1 | 2) => (20, "is not a release"),
                _ => (30, "is not a regular file"),
            };
            refused(&put, code, &[word]);
        }
    }
    // Paths that leave the guest, or the directory.
    refused(
        &|place| edit(place, "manifest.yaml", "/etc/notes", "/etc/../../notes"),
        30,
        &["manifest.yaml"],
    );
    refused(
        &|place| edit(place, "manifest.yaml", "again/notes", "../../etc/passwd"),
        30,
        &["manifest.yaml"],
    );
    refused(
        &|place| edit(place, "manifest.yaml", "name: again", "name: ../again"),
        30,
        &["manifest.yaml"],
    );
    // A lock that lies: about a package's contents, about a file, and about what it is of.
    refused(
        &|place| {
            let text = place.read("release/lock.yaml");
            let data = text.find("data:").unwrap();
            let at = data + text[data..].find("sha256: ").unwrap() + 8;
            let mut lie = text.clone();
            lie.replace_range(at..at + 64, &Sha256::of("lie").to_string());
            place.write("release/lock.yaml", lie);
        },
        10,
        &["unpacks to", "the lock says"],
    );
    refused(
        &|place| {
            let (right, lie) =
                (Sha256::of("of the publisher\n").to_string(), Sha256::of("lie").to_string());
            edit(place, "lock.yaml", &right, &lie);
        },
        20,
        &["input `notes`"],
    );
    refused(&|place| edit(place, "lock.yaml", "manifest: ", "manifest:  "), 30, &["lock.yaml"]);
    refused(
        &|place| edit(place, "manifest.yaml", "panic=-1", "panic=-2"),
        10,
        &["another manifest"],
    );
    // Too much of anything.
    refused(
        &|place| {
            let mut lock =
                File::options().append(true).open(place.path("release/lock.yaml")).unwrap();
            lock.write_all(&vec![b'#'; 65 << 20]).unwrap();
        },
        30,
        &["larger than"],
    );
    refused(
        &|place| drop(place.write("release/launch.json", "[".repeat(200_000))),
        30,
        &["launch.json"],
    );
    refused(
        &|place| fs::remove_file(place.path("release/launch.json")).unwrap(),
        20,
        &["is not a release"],
    );
}

/// A verdict that somebody put there is nobody's evidence: it is neither read nor kept from being replaced.
#[test]
fn a_verdict_from_elsewhere() {
    let place = brought();
    let text = place.read("release/image/cmdline").replace("panic=-1", "panic=0");
    place.write("release/image/cmdline", text);
    place.write("release/rebuilds/unnamed.json", r#"{"verdict": "reproduced"}"#);
    place.write("release/rebuilds/friend.json", r#"{"verdict": "reproduced"}"#);
    let ran = place.run(&["reproduce", "release", "--offline"]);
    assert_eq!(ran.code, 10, "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("[cmdline] image/cmdline: `panic=0` → `panic=-1`"),
        "{}",
        ran.stdout
    );
    let verdict = verdict(&place);
    assert_eq!(
        (&verdict["verdict"], &verdict["cause"]["cause"]),
        (&"differs".into(), &"cmdline".into())
    );
    let record = Sha256::of(fs::read(place.path("release/launch.json")).unwrap());
    assert_eq!(verdict["release"]["record"], record.to_string());
}

/// What a record or a text of a release may say, and what must not come of it.
#[test]
fn nothing_else_counts_as_reproduced() {
    let place = brought();
    let answer = |change: &dyn Fn(&Place), code: i32, words: &[&str]| {
        let _ = fs::remove_dir_all(place.path("release"));
        copy(&release(), &place.path("release"));
        change(&place);
        let ran = place.run(&["reproduce", "release", "--offline"]);
        assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
        for word in words {
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    };
    let tool = concat!("\"tool\": \"counterfoil ", env!("CARGO_PKG_VERSION"), "\"");
    let other = "\"tool\": \"counterfoil 0.0.1\"";
    // Another version's words are not compared, and that is said; what they are about is.
    let texts = |place: &Place| {
        edit(place, "launch.json", tool, other);
        place.write("release/THREAT-MODEL.md", "# Nothing to fear\n");
    };
    answer(&texts, 0, &["not compared: THREAT-MODEL.md"]);
    answer(&|place| edit(place, "THREAT-MODEL.md", "adversary", "friend"), 10, &["[document]"]);
    // Nothing hides behind a version: a key more, a key twice, another spelling.
    for (from, to) in [
        ("\"version\": 1,", "\"version\": 1,\n  \"note\": \"verified\","),
        ("\"version\": 1,", "\"version\": 2,\n  \"version\": 1,"),
        (tool, "\"tool\": \"x\", \"note\": \"verified\""),
        ("\"version\": 1,", "\"version\":  1,"),
    ] {
        let forged = |place: &Place| {
            edit(place, "launch.json", from, to);
            if from != tool {
                edit(place, "launch.json", tool, other);
            }
        };
        answer(&forged, 10, &["[record] launch.json"]);
    }
    // A volume's data may be left out, which is said; its record may not be another.
    let without =
        |place: &Place| fs::remove_file(place.path("release/image/volumes/model.img")).unwrap();
    answer(&without, 0, &["not compared: image/volumes/model.img"]);
    let geometry = |place: &Place| {
        edit(place, "image/volumes/model.json", "\"block_size\": 4096", "\"block_size\": 512");
    };
    answer(&geometry, 10, &["image/volumes/model.json"]);
    // What is no part of a release is named.
    answer(
        &|place| drop(place.write("release/image/shim", "x")),
        0,
        &["no part of the release: image/shim"],
    );
    for name in ["image/cmdline", "inventory.json", "THREAT-MODEL.md", "sbom.cdx.json"] {
        answer(&|place| fs::remove_file(place.path("release").join(name)).unwrap(), 10, &[name]);
    }
    // The release is not written over by what it is compared with.
    let same = ["reproduce", "release", "--offline", "--keep", "release"];
    place.run(&same).is_refusal(2, &["no place for the rebuild"]);
    place
        .run(&["bundle", "create", "release", "--offline", "-o", "release/lock.yaml"])
        .is_refusal(2, &["is no bundle"]);
}

/// A lock can bring programs of its own, and a rebuild is then a rebuild of those.
#[test]
fn programs_that_are_not_ours_are_said_to_be() {
    let place = brought();
    let bytes = [counterfoil::guest::HELLO, b"and more"].concat();
    let (ours, theirs) = (Sha256::of(counterfoil::guest::HELLO), Sha256::of(&bytes));
    let text = place.read("release/lock.yaml").replace(&ours.to_string(), &theirs.to_string());
    let size = format!("size: {}", counterfoil::guest::HELLO.len());
    let text = text.replacen(&size, &format!("size: {}", bytes.len()), 1);
    fs::create_dir_all(place.path("theirs")).unwrap();
    fs::copy(place.path("release/manifest.yaml"), place.path("theirs/manifest.yaml")).unwrap();
    place.write("theirs/lock.yaml", text);
    let store = counterfoil::input::store::Store::open(&place.path("cache/counterfoil")).unwrap();
    store.put_bytes(&bytes, "a program").unwrap();
    place.succeeds(&["build", "theirs/manifest.yaml", "--locked", "--offline", "-o", "other"]);
    let ran = place.succeeds(&["reproduce", "other", "--offline"]);
    assert!(
        ran.stdout.contains("programs of the guest that this version does not carry: hello"),
        "{}",
        ran.stdout
    );
    let threats = place.read("other/THREAT-MODEL.md");
    assert!(threats.contains("whoever made the lock"), "{threats}");
    let ran = place.run(&["audit", "other"]);
    assert!(ran.stdout.contains("builtin-unknown"), "{}", ran.stdout);
}

/// A bundle with one thing else in it.
fn bundle_with(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut archive = tar::Archive::new(File::open(bundle()).unwrap());
    let mut members = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        members.push((name, bytes));
    }
    change(&mut members);
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn hostile_bundles() {
    let place = Place::new();
    let refused = |bytes: Vec<u8>, code: i32, words: &[&str]| {
        place.write("x.bundle", bytes);
        for command in [&["bundle", "import", "x.bundle"][..], &["bundle", "--list", "x.bundle"]] {
            place.run(command).is_refusal(code, words);
        }
        // Nothing under a name that it does not have, and nothing outside of the store.
        let objects = place.path("cache/counterfoil/objects");
        for entry in walkdir::WalkDir::new(objects).into_iter().flatten() {
            if entry.file_type().is_file() {
                let digest = Sha256::of(fs::read(entry.path()).unwrap()).to_string();
                assert_eq!(entry.file_name().to_str().unwrap(), digest);
            }
        }
    };
    let object = |members: &[(String, Vec<u8>)]| {
        members.iter().position(|(name, _)| name.starts_with("objects/")).unwrap()
    };
    refused(
        bundle_with(|members| {
            let at = object(members);
            members[at].1[0] ^= 1;
        }),
        10,
        &["package `linux-image-", "sha256 "],
    );
    refused(
        bundle_with(|members| {
            let at = object(members);
            members[at].1.push(0);
        }),
        30,
        &["bytes, the lock says"],
    );
    refused(
        bundle_with(|members| members.push(("objects/../../victim".to_owned(), b"x".to_vec()))),
        30,
        &["nothing that its lock names"],
    );
    refused(
        bundle_with(|members| {
            members.push((format!("objects/{}", Sha256::of("other")), b"other".to_vec()))
        }),
        30,
        &["nothing that its lock names"],
    );
    refused(
        bundle_with(|members| {
            let at = object(members);
            let twice = members[at].clone();
            members.push(twice);
        }),
        30,
        &["is there twice"],
    );
    refused(bundle_with(|members| members.swap(0, 1)), 30, &["not a bundle"]);
    refused(
        bundle_with(|members| {
            let text = String::from_utf8(members[0].1.clone()).unwrap();
            members[0].1 = text.replace("panic=-1", "panic=-2").into_bytes();
        }),
        10,
        &["another manifest"],
    );
    let whole = fs::read(bundle()).unwrap();
    refused(whole[..whole.len() / 2].to_vec(), 30, &["damaged, or cut off"]);
    place.write("x.bundle", noise());
    place.run(&["bundle", "import", "x.bundle"]).is_refusal(30, &["not a bundle"]);
    // One that lacks an input brings the others, into a store that has none of them.
    let place = Place::new();
    place.write("x.bundle", bundle_with(|members| drop(members.pop())));
    let ran = place.run(&["bundle", "import", "x.bundle"]);
    ran.is_refusal(20, &["lacks 1 inputs of its lock"]);
}

fn noise() -> Vec<u8> {
    support::many_files::noise(1, 5000)
}

/// Many names in a directory do no harm: a release has few, and they are asked for by name.
#[test]
fn many_entries() {
    let place = brought();
    let many = place.path("release/rebuilds");
    fs::create_dir_all(&many).unwrap();
    for number in 0..20_000 {
        File::create(many.join(format!("{number}.json"))).unwrap();
    }
    fs::set_permissions(&many, fs::Permissions::from_mode(0o755)).unwrap();
    place.succeeds(&["reproduce", "release", "--offline"]);
}
