//! Held against erofs-utils and cryptsetup of Debian 12.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use counterfoil::image::erofs::Uuid;
use counterfoil::image::verity::Salt;
use counterfoil::volume::Record;

use crate::sample::{image, sample};
use crate::support::many_files::{noise, twenty_thousand};
use crate::support::place::Place;
use crate::support::tools::{succeeds, tool};
use crate::verity::volume;

/// What is in a directory: mode, owner, contents or target, by path. Times and link counts left out.
fn seen(root: &Path) -> BTreeMap<String, (u32, u32, u32, Vec<u8>)> {
    let mut seen = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let kind = entry.file_type();
        let contents = if kind.is_file() {
            fs::read(entry.path()).unwrap()
        } else if kind.is_symlink() {
            fs::read_link(entry.path()).unwrap().to_str().unwrap().into()
        } else {
            Vec::new()
        };
        let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        seen.insert(path, (metadata.mode(), metadata.uid(), metadata.gid(), contents));
    }
    seen
}

fn extract(image: &Path, to: &Path) {
    let said = succeeds(tool("fsck.erofs").arg(format!("--extract={}", to.display())).arg(image));
    assert!(!said.contains("<E>"), "{said}");
}

#[test]
fn fsck_extracts_the_same_twenty_thousand_files() {
    let place = Place::new();
    twenty_thousand(&place.path("tree"));
    place.succeeds(&["volume", "build", "tree", "--output", "tree.img"]);
    extract(&place.path("tree.img"), &place.path("extracted"));
    let (before, after) = (seen(&place.path("tree")), seen(&place.path("extracted")));
    assert_eq!(before.len(), after.len());
    for (path, (mode, _, _, contents)) in &before {
        let (mode_after, uid, gid, contents_after) = &after[path];
        assert_eq!((mode, true), (mode_after, contents == contents_after), "{path}");
        // Only root can give files away, so only then were they.
        if rustix::process::geteuid().is_root() {
            assert_eq!((*uid, *gid), (0, 0), "{path}");
        }
    }
}

#[test]
fn fsck_is_content_with_one_of_everything() {
    let place = Place::new();
    place.write(
        "sample.img",
        image(&sample(), Uuid::of_contents(counterfoil::digest::Sha256([1; 32]))),
    );
    extract(&place.path("sample.img"), &place.path("extracted"));
    let after = seen(&place.path("extracted"));
    assert_eq!(after.len() + 1, sample().all().len());
    assert_eq!(after["blocks"].3, noise(4, 300_000));
    assert_eq!(after["inline"].3, noise(1, 2048));
    assert_eq!(after["long"].3.len(), 4000);
    if rustix::process::geteuid().is_root() {
        assert_eq!((after["owned"].1, after["owned"].2), (65536, 7));
    }
    assert_eq!(after[".-before-the-two-dots"].3, b"1");
}

/// veritysetup on data of so many blocks: the same root hash and the same tree, and it accepts ours.
fn agrees(place: &Place, blocks: u64, data: &[u8], salt: &Salt) {
    let (file, root) = volume(data, salt);
    place.write("ours", &file);
    place.write("theirs", data);
    let (hash_offset, data_blocks) =
        (format!("--hash-offset={}", blocks * 4096), format!("--data-blocks={blocks}"));
    let salt = format!("--salt={salt}");
    let parameters = [
        "--no-superblock",
        "--format=1",
        "--hash=sha256",
        "--data-block-size=4096",
        "--hash-block-size=4096",
        &hash_offset,
        &data_blocks,
        &salt,
    ];
    let theirs = place.path("theirs");
    let said =
        succeeds(tool("veritysetup").arg("format").args(parameters).args([&theirs, &theirs]));
    let line = said.lines().find(|line| line.starts_with("Root hash:")).unwrap();
    assert_eq!(line.split_whitespace().last(), Some(root.to_string().as_str()), "{blocks}");
    assert!(fs::read(&theirs).unwrap() == file, "{blocks}");
    let ours = place.path("ours");
    let verify = |root: &str| {
        let mut command = tool("veritysetup");
        command.arg("verify").args(parameters).args([&ours, &ours]).arg(root);
        command.output().unwrap().status.success()
    };
    assert!(verify(&root.to_string()), "{blocks}");
    assert!(!verify(&"0".repeat(64)), "veritysetup would have said no");
}

#[test]
fn veritysetup_has_the_same_root_hash_around_every_boundary() {
    let version = succeeds(tool("veritysetup").arg("--version"));
    assert!(version.starts_with("veritysetup 2.6."), "{version}");
    let place = Place::new();
    // A level holds 128 times the one above: 1, 128 and 128² blocks.
    let sizes = [1, 2, 3, 126, 127, 128, 129, 130, 255, 256, 257, 16_383, 16_384, 16_385, 16_513];
    for blocks in sizes {
        let mut data = noise(blocks, usize::try_from(blocks * 4096).unwrap());
        if blocks > 3 {
            data[4096..8192].fill(0);
        }
        agrees(&place, blocks, &data, &Salt::default());
    }
    for salt in ["-", "00", &"5a".repeat(64), &"ff".repeat(256)] {
        agrees(&place, 130, &noise(9, 130 * 4096), &salt.parse().unwrap());
    }
}

/// A fourth level takes 8 GiB; most of them are a hole, which veritysetup hashes all the same.
#[test]
#[ignore = "hashes 24 GiB; run by name"]
fn veritysetup_has_the_same_root_hash_with_four_levels() {
    for blocks in [128_u64.pow(3), 128_u64.pow(3) + 1] {
        let place = Place::new();
        let model = fs::File::create(place.path("model")).unwrap();
        // Block 0, a block of inodes, the rest the file's.
        model.set_len((blocks - 2) * 4096).unwrap();
        place.succeeds(&["volume", "build", "model", "--output", "model.img"]);
        assert_eq!(accepted(&place, "model.img").verity.data_blocks, blocks);
    }
}

/// The record of a volume that veritysetup accepts.
fn accepted(place: &Place, name: &str) -> Record {
    let image = place.path(name);
    let record: Record =
        serde_json::from_slice(&fs::read(image.with_extension("json")).unwrap()).unwrap();
    let verity = &record.verity;
    succeeds(
        tool("veritysetup")
            .args(["verify", "--no-superblock", "--format=1", "--hash=sha256"])
            .args(["--data-block-size=4096", "--hash-block-size=4096"])
            .arg(format!("--hash-offset={}", verity.hash_start_block * 4096))
            .arg(format!("--data-blocks={}", verity.data_blocks))
            .arg(format!("--salt={}", verity.salt))
            .args([&image, &image])
            .arg(verity.root_hash.to_string()),
    );
    record
}

#[test]
fn veritysetup_accepts_a_volume() {
    let place = Place::new();
    for (name, size) in
        [("tiny", 1), ("small", 126 * 4096), ("full", 127 * 4096), ("large", 70_000_000)]
    {
        place.write(name, noise(size, usize::try_from(size).unwrap()));
        let image = format!("{name}.img");
        place.succeeds(&["volume", "build", name, "--output", &image]);
        accepted(&place, &image);
        let salt = "00112233445566778899aabbccddeeff";
        place.succeeds(&["volume", "build", name, "--output", &image, "--salt", salt]);
        assert_eq!(accepted(&place, &image).verity.salt.to_string(), salt);
    }
}

/// Images of mkfs.erofs: what we understand of them is the same, and the rest is said.
#[test]
fn images_of_mkfs_erofs_are_read() {
    let place = Place::new();
    place.write("tree/a/file", noise(1, 10_000));
    place.write("tree/a/text", "text ".repeat(3000));
    place.write("tree/small", "small");
    symlink("a/file", place.path("tree/link")).unwrap();
    fs::set_permissions(place.path("tree/small"), fs::Permissions::from_mode(0o640)).unwrap();
    let cases: [(&[&str], i32, &str); 4] = [
        (&[], 0, ""),
        (&["-zlz4hc"], 20, "the contents of 1 files are compressed or in chunks"),
        (&["--chunksize=4096"], 20, "are compressed or in chunks, which are not understood"),
        (
            &["-zlz4hc", "-C65536", "-Eztailpacking,fragments,dedupe"],
            20,
            "are compressed or in chunks",
        ),
    ];
    for (options, code, words) in cases {
        let image = place.path("mkfs.img");
        let _ = fs::remove_file(&image);
        let mut mkfs = tool("mkfs.erofs");
        succeeds(
            mkfs.args(["-T0", "--all-root"]).args(options).args([&image, &place.path("tree")]),
        );
        let ran = place.run(&["volume", "inspect", "mkfs.img", "--format", "json"]);
        assert_eq!(ran.code, code, "{options:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{options:?}: {}", ran.stderr);
        let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let row = |path: &str| {
            let tree = found["tree"].as_array().unwrap();
            tree.iter().find(|row| row["path"] == path).unwrap().clone()
        };
        assert_eq!(row("/small")["mode"], "0640");
        assert_eq!(row("/a/text")["size"], 15_000);
        assert_eq!(row("/link")["target"], "a/file");
        assert_eq!(
            (&row("/a")["type"], &row("/")["type"]),
            (&"directory".into(), &"directory".into())
        );
        assert_eq!(found["superblock"]["checksum"], true);
        assert_eq!(found["counts"]["files"], 3);
    }
}

/// A file system in a file, mounted as long as this lives.
struct Mounted {
    on: PathBuf,
    _within: tempfile::TempDir,
}

impl Mounted {
    /// Btrfs of 512 MiB; `None` where this process may not mount.
    fn btrfs() -> Option<Self> {
        let within = tempfile::tempdir().unwrap();
        let (disk, on) = (within.path().join("disk"), within.path().join("on"));
        fs::File::create(&disk).unwrap().set_len(512 << 20).unwrap();
        fs::create_dir(&on).unwrap();
        succeeds(tool("mkfs.btrfs").arg("--quiet").arg(&disk));
        let mounted =
            Command::new("mount").args(["-t", "btrfs", "-o", "loop"]).args([&disk, &on]).output();
        let mounted = mounted.is_ok_and(|ran| ran.status.success());
        mounted.then_some(Self { on, _within: within })
    }

    /// How many bytes are taken.
    fn used(&self) -> u64 {
        succeeds(Command::new("sync").arg("-f").arg(&self.on));
        let found = rustix::fs::statvfs(&self.on).unwrap();
        (found.f_blocks - found.f_bfree) * found.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.on).status();
    }
}

/// Where files can share blocks, a volume takes room for its tree and little more, and has the same bytes.
#[test]
fn a_volume_shares_the_blocks_of_its_model() {
    let Some(mounted) = Mounted::btrfs() else {
        eprintln!("skipped: a_volume_shares_the_blocks_of_its_model: this user may not mount");
        return;
    };
    let place = Place::new();
    let model = noise(7, 64 << 20);
    place.write("model.gguf", &model);
    fs::write(mounted.on.join("model.gguf"), &model).unwrap();
    let before = mounted.used();
    assert!(before >= 64 << 20, "{before}");
    let shared = mounted.on.join("model.img");
    let input = mounted.on.join("model.gguf");
    place.succeeds(&["volume", "build", input.to_str().unwrap(), "-o", shared.to_str().unwrap()]);
    let taken = mounted.used() - before;
    assert!(taken < 8 << 20, "a volume of 64 MiB takes {taken} bytes");
    place.succeeds(&["volume", "build", "model.gguf", "-o", "model.img"]);
    assert!(fs::read(shared).unwrap() == fs::read(place.path("model.img")).unwrap());
}
