//! What a release says of its contents: held against the artifacts before it is believed, and searched.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use counterfoil::digest::Sha256;
use counterfoil::image::cpio;
use counterfoil::layout;
use counterfoil::names::{GuestPath, Mode, Owner, VolumeName};
use counterfoil::release::inventory::{Inventory, Item};
use counterfoil::release::open::Release;
use counterfoil::release::{contents, sbom};
use counterfoil::tree::{Content, Entry, Node, Tree};
use serde_json::Value;
use support::place::Ran;
use support::real;

const VOLUMES: &str = "\
volumes:
  closed:
    mount: /closed
    record: closed
  data:
    mount: /data
    files:
      - path: /a
        directory: true
      - path: /a/c
        text: contents
      - path: /a-b
        symlink: a/c
      - path: /owned
        text: theirs
        owner: 7:8
        mode: \"0640\"
";

/// The smallest image with a closed volume and one that was made with it.
fn with_volumes() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let input = "  closed:\n    file: closed.json\n";
    BUILT.get_or_init(|| built("inventoried", input, VOLUMES)).clone()
}

/// The same with one that nothing checks.
fn with_unverified() -> PathBuf {
    let volumes = "volumes:\n  any:\n    mount: /any\n    disclosure: none\n";
    built("inventoried-unverified", "", volumes)
}

fn built(name: &str, input: &str, volumes: &str) -> PathBuf {
    let root = real::manifests();
    let manifests = root.join("manifests");
    let secret = root.join("secret");
    if !secret.exists() {
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("weights"), "nobody knows").unwrap();
        let build = ["volume", "build", "--committed", "secret", "-o", "manifests/closed.img"];
        let ran = real::run(&root, &build);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let text = fs::read_to_string(manifests.join("hello.yaml")).unwrap();
    let text = text.replace("name: hello", &format!("name: {name}"));
    let text = text.replacen("inputs:\n", &format!("inputs:\n{input}"), 1);
    let text = text.replacen("\ninit:\n", &format!("\n{volumes}init:\n"), 1);
    fs::write(manifests.join(format!("{name}.yaml")), text).unwrap();
    real::release(name)
}

fn inventory(release: &Path, more: &[&str]) -> Ran {
    let arguments = [&["inventory", release.to_str().unwrap()], more].concat();
    real::run(release.parent().unwrap(), &arguments)
}

#[track_caller]
fn finds(release: &Path, text: &str, words: &[&str]) {
    let ran = inventory(release, &["--find", text]);
    assert_eq!(ran.code, 0, "{text}: {}", ran.stderr);
    for word in words {
        assert!(ran.stdout.contains(word), "`{word}` is not in: {}", ran.stdout);
    }
    assert!(ran.stdout.contains("The launch digests that go with it"), "{}", ran.stdout);
}

/// A copy of a release whose publisher has written its inventory so, and everything that goes with it.
fn lying(release: &Path, lie: impl FnOnce(&mut Inventory)) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("copy");
    assert!(Command::new("cp").arg("-r").args([release, &to]).status().unwrap().success());
    let opened = Release::open(&to).unwrap();
    let mut inventory = opened.inventory().unwrap();
    lie(&mut inventory);
    let json = inventory.to_json().unwrap();
    fs::write(to.join(layout::INVENTORY), &json).unwrap();
    let parts = sbom::Parts {
        manifest: &opened.manifest().unwrap(),
        lock: &opened.lock().unwrap(),
        inventory: &inventory,
        inventory_sha256: Sha256::of(&json),
        record: &opened.record,
        record_sha256: Sha256::of(fs::read(to.join(layout::RECORD)).unwrap()),
        igvm: None,
    };
    fs::write(to.join(layout::SBOM), sbom::write(&parts).unwrap()).unwrap();
    (directory, to)
}

fn item<'a>(items: &'a mut [Item], path: &str) -> &'a mut Item {
    items.iter_mut().find(|item| item.path.as_str() == path).unwrap()
}

#[test]
fn every_path_is_listed_with_what_covers_it() {
    let release = with_volumes();
    let ran = inventory(&release, &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let opened = Release::open(&release).unwrap();
    for item in opened.inventory().unwrap().initrd {
        assert!(ran.stdout.contains(&format!(" {}  ({}", item.path, item.from)), "{}", item.path);
    }
    let initrd = Sha256::of(fs::read(release.join(layout::INITRD)).unwrap());
    let root = opened.record.volumes[1].root_hash.unwrap();
    for words in [
        format!("Covered by the initrd's hash {initrd} in the hash table\n"),
        format!("Covered by the root hash {root} of volume `data` on the command line\n"),
        format!("- 0640       7:8            6 {} /owned  (manifest)", Sha256::of("theirs")),
        "/a-b -> a/c".to_owned(),
    ] {
        assert!(ran.stdout.contains(&words), "`{words}` is not in: {}", ran.stdout);
    }
    assert!(ran.stderr.contains("volume `closed` is not listed: it is closed"), "{}", ran.stderr);
    let ran = inventory(&release, &["--format", "json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["inventory"]["volumes"]["data"].as_array().unwrap().len(), 4);
    assert_eq!(json["not-listed"][0]["volume"], "closed");
}

#[test]
fn what_is_there_is_found_by_path_digest_and_package() {
    let (hello, llama) = (real::release("hello"), real::release("llama"));
    let program = Sha256::of(fs::read(hello.join(layout::INITRD)).unwrap()).to_string();
    finds(&hello, "bin/hel", &["/usr/bin/hello\n", "covered by the initrd's hash"]);
    finds(&hello, &program, &["the initrd\n", "covered by the initrd's hash"]);
    let plan = Release::open(&hello).unwrap().inventory().unwrap().initrd;
    let digest = plan.iter().find_map(|item| item.sha256).unwrap().to_string();
    finds(&hello, &digest[..8], &["/etc/counterfoil/", &digest]);
    finds(&hello, &digest.to_uppercase(), &[&digest]);
    for (name, words) in [
        (layout::FIRMWARE, "covered by the firmware's pages"),
        (layout::KERNEL, "covered by the kernel's hash"),
        (layout::CMDLINE, "covered by the command line's hash"),
    ] {
        let digest = Sha256::of(fs::read(hello.join(name)).unwrap()).to_string();
        finds(&hello, &digest, &[words]);
    }
    finds(&hello, "ovmf-amdsev", &["ovmf-amdsev 20", "covered by the firmware's pages"]);
    let several = ["one of the packages that this part was taken from"];
    finds(&hello, "linux-image-cloud-amd64", &several);
    // A package of which paths came, with its version and of another version.
    let ran = inventory(&llama, &["--find", "libc6", "--format", "json"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let package = &json["found"][0];
    assert_eq!((&package["found"], &package["name"]), (&"package".into(), &"libc6".into()));
    assert_eq!(package["covered-by"][0]["part"], "initrd");
    assert!(package["paths"].as_u64().unwrap() > 1, "{package}");
    let version = package["version"].as_str().unwrap();
    finds(&llama, &format!("libc6@{version}"), &["libc6 ", " paths came from it"]);
    let ran = inventory(&llama, &["--find", "libc6@1"]);
    ran.is_refusal(10, &["`libc6@1` was not found"]);
    let rows = inventory(&llama, &["--find", "/libc.so.6"]);
    assert!(rows.stdout.contains(&format!("/libc6 {version})")), "{}", rows.stdout);
}

#[test]
fn what_is_not_there_is_said_with_what_was_searched() {
    let hello = real::release("hello");
    let ran = inventory(&hello, &["--find", "libssl.so.3"]);
    ran.is_refusal(10, &["`libssl.so.3` was not found: searched were the", "paths of the initrd"]);
    // Seven digits are met by chance.
    let program = Sha256::of(fs::read(hello.join(layout::KERNEL)).unwrap()).to_string();
    assert_eq!(inventory(&hello, &["--find", &program[..8]]).code, 0);
    assert_eq!(inventory(&hello, &["--find", &program[..7]]).code, 10);
    assert_eq!(inventory(&hello, &["--find", ""]).code, 2);
    let release = with_volumes();
    finds(&release, "/a/c", &["/a/c\n", "of volume `data` on the command line"]);
    let closed = Release::open(&release).unwrap().record.volumes[0].root_hash.unwrap();
    finds(&release, &closed.to_string(), &["the volume `closed`", "of volume `closed` on the"]);
    let ran = inventory(&release, &["--find", "weights"]);
    ran.is_refusal(20, &["of the volumes `data`", "could not be searched (`closed`)"]);
    let ran = inventory(&with_unverified(), &["--find", "weights"]);
    ran.is_refusal(20, &["could not be searched (`any`)", "the host chooses what is on it"]);
}

/// The inventory is the publisher's word, and is not taken: each lie names the first path.
#[test]
fn an_inventory_that_is_not_of_the_artifacts_is_refused() {
    type Lie = fn(&mut Inventory);
    fn data(inventory: &mut Inventory) -> &mut Vec<Item> {
        inventory.volumes.get_mut(&"data".parse::<VolumeName>().unwrap()).unwrap()
    }
    let release = with_volumes();
    let (_directory, truthful) = lying(&release, |_| ());
    assert_eq!(inventory(&truthful, &[]).code, 0);
    let lies: [(Lie, &str); 9] = [
        (
            |it| item(&mut it.initrd, "/init").mode = Mode(0o700),
            "`/init` of the initrd has another mode",
        ),
        (
            |it| item(&mut it.initrd, "/usr/bin/hello").sha256 = Some(Sha256::of("")),
            "`/usr/bin/hello` of the initrd has another contents",
        ),
        (|it| drop(it.initrd.remove(3)), "the initrd has `"),
        (
            |it| item(data(it), "/owned").owner = Owner::default(),
            "`/owned` of volume `data` has another owner",
        ),
        (
            |it| item(data(it), "/a-b").target = Some("a".to_owned()),
            "`/a-b` of volume `data` has another target",
        ),
        (|it| drop(data(it).pop()), "volume `data` has `/owned`, which it does not list"),
        (
            |it| {
                let last = serde_json::to_string(it.initrd.last().unwrap()).unwrap();
                it.initrd.push(serde_json::from_str(&last).unwrap());
                it.initrd.last_mut().unwrap().path = "/zzz".parse().unwrap();
            },
            "it lists `/zzz`, which is not in the initrd",
        ),
        (
            |it| item(&mut it.initrd, "/init").from = "kernel/another".to_owned(),
            "`/init` is said to be from `kernel/another`, which is not locked",
        ),
        (
            |it| {
                let name: VolumeName = "data".parse().unwrap();
                it.volumes.remove(&name);
                it.unlisted.insert(name, counterfoil::release::inventory::Unlisted::MadeBefore);
            },
            "of volume `data` it says what is not so",
        ),
    ];
    for (lie, words) in lies {
        let (_directory, other) = lying(&release, lie);
        for more in [&[][..], &["--find", "hello"]] {
            inventory(&other, more).is_refusal(10, &["is not of the artifacts", words]);
        }
    }
}

/// A volume is the one of its root hash or nothing is said of it.
#[test]
fn a_volume_that_is_another_or_not_there_is_not_believed() {
    let release = with_volumes();
    let (_directory, other) = lying(&release, |_| ());
    let image = other.join(layout::volume(&"data".parse().unwrap()));
    let mut bytes = fs::read(&image).unwrap();
    let at = bytes.windows(6).position(|part| part == b"theirs").unwrap();
    bytes[at] = b'T';
    fs::write(&image, bytes).unwrap();
    inventory(&other, &[]).is_refusal(10, &["is not the volume of root hash"]);
    fs::remove_file(&image).unwrap();
    let ran = inventory(&other, &["--find", "/owned"]);
    ran.is_refusal(20, &["could not be searched (`closed`, `data`)"]);
    let ran = inventory(&other, &[]);
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    assert!(!ran.stdout.contains("/owned") && ran.stdout.contains("/init"), "{}", ran.stdout);
}

fn tree(paths: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for path in paths {
        let entry = Entry::File(Content::from_bytes((*path).into()));
        let origin = "test".to_owned();
        let node = Node { entry, mode: 0o644, owner: Owner::default(), origin };
        tree.place(path.parse::<GuestPath>().unwrap(), node).unwrap();
    }
    tree
}

fn archive(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    cpio::write(tree, &mut bytes).unwrap();
    bytes
}

/// What the kernel would unpack and an inventory could keep silent about.
#[test]
fn an_initrd_with_more_than_its_members_is_refused() {
    let files = tree(&["/a", "/b"]);
    let items = Inventory::of(&files, &Default::default()).initrd;
    let good = archive(&files);
    contents::initrd(&*good, &items).unwrap();
    let refused =
        |bytes: &[u8], items: &[Item]| contents::initrd(bytes, items).unwrap_err().to_string();
    let behind = [good.clone(), archive(&tree(&["/b"]))].concat();
    assert!(refused(&behind, &items).contains("behind the initrd there is another, with `b`"));
    // Two links for `a` to `b`: the kernel would give `b` the data of `a`.
    let mut linked = good.clone();
    linked[38..46].copy_from_slice(b"00000002");
    assert!(refused(&linked, &items).contains("the initrd has `a` with other names, or a time"));
    let mut device = good.clone();
    device[14..22].copy_from_slice(b"000021a4");
    assert!(refused(&device, &items).contains("`/a` of the initrd has another type"));
    let twice = archive(&tree(&["/a", "/b"]));
    let mut items: Vec<Item> = items;
    items.swap(0, 1);
    assert!(refused(&twice, &items).contains("where it lists `/b`, the initrd has `/a`"));
    assert!(refused(&good[..good.len() - 4], &items).contains("where it lists"));
    items.swap(0, 1);
    assert!(refused(&good[..good.len() - 4], &items).contains("the initrd cannot be read"));
}
