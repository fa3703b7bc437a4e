//! `counterfoil volume`, as it is typed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;

use counterfoil::image::verity::Salt;
use counterfoil::volume::Record;
use serde_json::Value;

use crate::support::many_files::noise;
use crate::support::place::{Place, Ran};

fn tree() -> Place {
    let place = Place::new();
    place.write("tree/a", noise(1, 3 << 20));
    place.write("tree/b/c", noise(2, 5000));
    place.write("tree/b/d", "small");
    place.write("tree/run", "#!");
    fs::set_permissions(place.path("tree/run"), fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("b/c", place.path("tree/link")).unwrap();
    place
}

fn record(place: &Place, name: &str) -> Record {
    serde_json::from_str(&place.read(name)).unwrap()
}

/// A change that alters these bytes needs new epochs, not another digest here.
#[test]
fn a_volume_is_pinned() {
    let place = tree();
    let ran = place.succeeds(&["volume", "build", "tree", "--output", "out/tree.img"]);
    assert_eq!(ran.stdout, "595fa87f026357eec6ce17c39870d87072200e1fbd031ce3a1bc28724d95ddcb\n");
    let record = record(&place, "out/tree.json");
    assert_eq!(record.uuid.to_string(), "45790d04-4599-86b4-8814-099f684461e2");
    assert_eq!(record.size, fs::metadata(place.path("out/tree.img")).unwrap().len());
    let text = place.read("out/tree.json");
    assert!(!text.contains("tree") && !text.contains("out"), "{text}");
    place.is_clean();
}

/// Whatever the machine says of the files beside what they are, and however the work is divided.
#[test]
fn nothing_of_the_machine_is_in_a_volume() {
    let place = tree();
    place.succeeds(&["volume", "build", "tree", "-o", "one.img", "--jobs", "1"]);
    let copy = Place::new();
    // The same files, made in another order, with other times, modes, links and under another name.
    copy.write("x/other/run", "#!");
    copy.write("x/other/b/d", "small");
    copy.write("x/other/b/c", noise(2, 5000));
    copy.write("x/other/a", noise(1, 3 << 20));
    symlink("b/c", copy.path("x/other/link")).unwrap();
    for (path, mode) in [("run", 0o700), ("b/d", 0o600), ("b/c", 0o666), ("b", 0o700), ("", 0o750)]
    {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(copy.path("x/other").join(path), mode).unwrap();
    }
    fs::hard_link(copy.path("x/other/a"), copy.path("another-name")).unwrap();
    let mut command = copy.command(&["volume", "build", "x/other", "-o", "two.img", "--jobs", "7"]);
    command.env("TZ", "Asia/Tokyo").env("LANG", "tr_TR.UTF-8");
    let command = command.arg0("otherwise");
    assert_eq!(Ran::of(&command.output().unwrap()).code, 0);
    assert!(fs::read(place.path("one.img")).unwrap() == fs::read(copy.path("two.img")).unwrap());
    assert_eq!(place.read("one.json"), copy.read("two.json"));
}

#[test]
fn what_differs_gives_another_root_hash() {
    let place = tree();
    let build = |arguments: &[&str]| {
        let all = [&["volume", "build", "tree", "-o", "tree.img"], arguments].concat();
        place.succeeds(&all);
        let record = record(&place, "tree.json");
        (record.verity.root_hash.to_string(), record.uuid.to_string())
    };
    let mut seen = vec![build(&[])];
    assert_eq!(seen[0], build(&["--jobs", "3"]));
    seen.push(build(&["--salt", "00"]));
    seen.push(build(&["--owner", "1:2"]));
    fs::set_permissions(place.path("tree/b/d"), fs::Permissions::from_mode(0o744)).unwrap();
    seen.push(build(&[]));
    fs::rename(place.path("tree/b/d"), place.path("tree/b/e")).unwrap();
    seen.push(build(&[]));
    place.write("tree/b/e", "Small");
    seen.push(build(&[]));
    let roots: BTreeSet<_> = seen.iter().map(|(root, _)| root).collect();
    let uuids: BTreeSet<_> = seen.iter().map(|(_, uuid)| uuid).collect();
    assert_eq!((roots.len(), uuids.len()), (seen.len(), seen.len()));
}

#[test]
fn a_file_becomes_a_volume_of_one_and_its_zeroes_holes() {
    let place = Place::new();
    let mut model = noise(1, 1 << 20);
    model.resize(64 << 20, 0);
    model.extend(noise(2, 100));
    place.write("model.gguf", &model);
    symlink("model.gguf", place.path("latest")).unwrap();
    let ran = place.succeeds(&["volume", "build", "latest", "-o", "model.img", "--format", "json"]);
    let printed: Record = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed, record(&place, "model.json"));
    let contents = printed.contents.unwrap();
    assert_eq!((contents.files, contents.bytes), (1, model.len() as u64));
    let ran = place.succeeds(&["volume", "inspect", "model.img"]);
    // By the name that was said: in a cache, what the link leads to is called by its digest.
    assert!(ran.stdout.contains("/latest\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains(&printed.verity.table(&Salt::default())), "{}", ran.stdout);
    let taken =
        std::os::unix::fs::MetadataExt::blocks(&fs::metadata(place.path("model.img")).unwrap());
    assert!(taken * 512 < 8 << 20, "{taken} sectors");
    place.succeeds(&["volume", "verify", "model.img"]);
}

#[test]
fn verify_names_the_first_block_that_differs_and_its_file() {
    let place = tree();
    let root = place.succeeds(&["volume", "build", "tree", "-o", "tree.img"]).stdout;
    let record = record(&place, "tree.json");
    let blocks = record.verity.data_blocks;
    let whole = fs::read(place.path("tree.img")).unwrap();
    let says = |at: u64, bytes: &[u8], words: &[&str]| {
        let mut other = whole.clone();
        let at = usize::try_from(at).unwrap();
        for (byte, change) in other[at..].iter_mut().zip(bytes) {
            *byte ^= change;
        }
        place.write("tree.img", other);
        place.refuses(&["volume", "verify", "tree.img"], 10, words);
    };
    says(1100, &[1], &["block 0 (bytes 0 to 4095)", "the superblock"]);
    says(4096 + 100, &[1], &["block 1 ", "inodes, directories and small files"]);
    // Data: `/a` from block 2 on, then `/b/c` of two blocks.
    says(2 * 4096, &[1], &["block 2 (bytes 8192 to 12287)", "of `/a`"]);
    says((blocks - 1) * 4096 - 1, &[1], &[&format!("block {} ", blocks - 2), "of `/b/c`"]);
    says(blocks * 4096 - 1, &[1], &[&format!("block {} ", blocks - 1), "of `/b/c`"]);
    // The first of two.
    says(300 * 4096, &vec![1; 400 * 4096], &["block 300 ", "`/a`"]);
    // The tree: its root's block, then the digests of data.
    says(blocks * 4096, &[1], &["is not the volume of root hash", root.trim()]);
    says(
        (blocks + 2) * 4096,
        &[1],
        &[&format!("block {}, which is of the hash tree", blocks + 2), "blocks 128 to 255"],
    );
    place.write("tree.img", &whole[..whole.len() - 4096]);
    place.refuses(&["volume", "verify", "tree.img"], 10, &["bytes, the volume", "cut off"]);
    place.write("tree.img", [&whole[..], &[0; 4096]].concat());
    place.refuses(&["volume", "verify", "tree.img"], 10, &["something was put behind it"]);

    place.write("tree.img", &whole);
    let root = root.trim();
    place.succeeds(&["volume", "verify", "tree.img", "--jobs", "1"]);
    place.succeeds(&["volume", "verify", "tree.img", "--root-hash", root]);
    let zeroes = "0".repeat(64);
    let ran =
        place.run(&["volume", "verify", "tree.img", "--root-hash", &zeroes, "--format", "json"]);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &said["verified"]), (10, &Value::Bool(false)), "{}", ran.stdout);
    place.refuses(
        &["volume", "verify", "tree.img", "--root-hash", root, "--salt", "00"],
        10,
        &["is not the volume of root hash"],
    );
    fs::remove_file(place.path("tree.json")).unwrap();
    place.refuses(&["volume", "verify", "tree.img"], 20, &["there is no record", "--root-hash"]);
    place.write("tree.json", "{}");
    place.refuses(&["volume", "verify", "tree.img"], 30, &["not a volume's record"]);
    let mut wrong = record;
    wrong.verity.data_blocks += 1;
    place.write("tree.json", wrong.to_json().unwrap());
    place.refuses(&["volume", "verify", "tree.img"], 30, &["do not fit together"]);
}

#[test]
fn what_no_volume_holds_is_refused() {
    let place = tree();
    let refuses = |code: i32, words: &[&str]| {
        place.refuses(&["volume", "build", "tree", "-o", "tree.img"], code, words);
        assert!(!place.path("tree.img").exists() && !place.path("tree.json").exists());
    };
    let fifo = place.path("tree/b/fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    refuses(30, &["`/b/fifo` is a device, socket or FIFO", "hint:"]);
    fs::remove_file(fifo).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    // Not every file system has such attributes.
    let labelled = rustix::fs::setxattr(place.path("tree/b/d"), "user.origin", b"x", flags);
    if labelled.is_ok() {
        refuses(30, &["`/b/d` has the extended attribute `user.origin`", "--drop-xattrs"]);
        let build = ["volume", "build", "tree", "-o", "tree.img", "--drop-xattrs"];
        place.succeeds(&build);
    }
    place.refuses(&["volume", "build", "nowhere", "-o", "x.img"], 1, &["`nowhere`"]);
    place.refuses(
        &["volume", "build", "/dev/null", "-o", "x.img"],
        30,
        &["neither a directory nor a file"],
    );
    place.refuses(
        &["volume", "build", "tree", "-o", "x.img", "--salt", "0"],
        2,
        &["is not a salt"],
    );
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"tree/\xff");
    fs::write(place.root().join(name), "").unwrap();
    place.refuses(&["volume", "build", "tree", "-o", "x.img"], 30, &["not a plain UTF-8 path"]);
}

/// Root may read everything, so root becomes nobody here.
#[test]
fn a_file_that_may_not_be_read_is_found_before_any_work() {
    let place = tree();
    fs::set_permissions(place.path("tree/b/d"), fs::Permissions::from_mode(0o000)).unwrap();
    let out = place.path("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(place.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = place.command(&["volume", "build", "tree", "-o", "out/tree.img"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let ran = Ran::of(&command.output().unwrap());
    ran.is_refusal(1, &["failed reading", "tree/b/d`", "Permission denied"]);
    assert_eq!(walkdir::WalkDir::new(out).min_depth(1).into_iter().count(), 0);
}

#[test]
fn only_a_volume_is_replaced() {
    let place = tree();
    place.write("x.img", noise(1, 9000));
    place.refuses(
        &["volume", "build", "tree", "-o", "x.img"],
        2,
        &["`x.img` is there and is not a volume"],
    );
    place.write("y.json", "{\"mine\": 1}");
    place.refuses(
        &["volume", "build", "tree", "-o", "y.img"],
        2,
        &["`y.json` is there", "not a volume's record"],
    );
    place.refuses(&["volume", "build", "tree", "-o", "z.json"], 2, &["ends in `.json`"]);
    place.refuses(&["volume", "build", "tree", "-o", "tree/z.img"], 2, &["is within `tree`"]);
    place.refuses(&["volume", "build", "tree", "-o", "tree/new/z.img"], 2, &["is within `tree`"]);
    place.write("one", "1");
    place.write("two", "2");
    let first = place.succeeds(&["volume", "build", "one", "-o", "z.img"]).stdout;
    let second = place.succeeds(&["volume", "build", "two", "-o", "z.img"]).stdout;
    assert_ne!(first, second);
    place.succeeds(&["volume", "verify", "z.img"]);
    assert_eq!(record(&place, "z.json").verity.root_hash.to_string(), second.trim());
    let mode = fs::metadata(place.path("z.img")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o600, 0o600, "as any file is, less the umask");
    place.is_clean();
}

#[test]
fn links_that_lead_out_are_told() {
    let place = tree();
    let build = ["volume", "build", "tree", "-o", "x.img"];
    assert!(!place.succeeds(&build).stderr.contains("warning:"));
    symlink("../../blobs/5a3f", place.path("tree/b/model")).unwrap();
    symlink("missing", place.path("tree/nothing")).unwrap();
    symlink("/etc/hosts", place.path("tree/absolute")).unwrap();
    let said = place.succeeds(&build).stderr;
    assert!(
        said.contains(
            "warning: links that lead to nothing in the volume: 2, the first is `/b/model`"
        ),
        "{said}"
    );
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let place = Place::new();
    place.write("x", noise(1, 9000));
    place.refuses(&["volume", "inspect", "x"], 30, &["no EROFS file system"]);
    place.write("y", "");
    place.refuses(&["volume", "inspect", "y"], 30, &["no EROFS file system"]);
    place.refuses(&["volume", "inspect", "nowhere"], 1, &["`nowhere`"]);
}

#[test]
fn each_part_of_the_command_has_help_with_an_example() {
    let place = Place::new();
    for part in ["build", "inspect", "verify"] {
        let help = place.succeeds(&["volume", part, "--help"]).stdout;
        assert!(help.contains("Examples:") && help.contains(&format!("volume {part} ")), "{help}");
        let page = place.succeeds(&["man", "volume", part]).stdout;
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}

/// The record of a committed volume tells its size and its root hash, which is of a salt that the record
/// does not have.
#[test]
fn a_committed_volume_is_bound_and_not_told() {
    let place = tree();
    let build = |name: &str, arguments: &[&str]| {
        let output = format!("{name}.img");
        let all = [&["volume", "build", "tree", "--committed", "-o", &output], arguments].concat();
        place.succeeds(&all);
        (record(&place, &format!("{name}.json")), fs::read(place.path(&output)).unwrap())
    };
    let ((one, image), (two, _)) = (build("one", &[]), build("two", &[]));
    assert_ne!(one.verity.root_hash, two.verity.root_hash);
    assert_ne!(one.uuid, two.uuid);
    assert_eq!((one.size, one.size), (two.size, image.len() as u64));
    assert!(one.contents.is_none());
    // Nobody's guess is confirmed: neither by the salt that everyone has, nor by none.
    for salt in ["-", "25f3db1d9e5f3b6cf11b9e0ffcc3d3a64dc1a7a9a6ad9d9c4b4d0be2f5c2d1ff"] {
        place.succeeds(&["volume", "build", "tree", "-o", "guess.img", "--salt", salt]);
        assert_ne!(record(&place, "guess.json").verity.root_hash, one.verity.root_hash);
    }
    // The salt is in the last block, alone, and nowhere in the record.
    let (rest, last) = image.split_at(image.len() - 4096);
    assert!(last[32..].iter().all(|byte| *byte == 0));
    let salt: String = last[..32].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!place.read("one.json").contains(&salt));
    assert!(rest.windows(32).all(|part| part != &last[..32]));

    // Whoever has the volume checks it; whoever is told the salt makes it again.
    place.succeeds(&["volume", "verify", "one.img"]);
    let root = one.verity.root_hash.to_string();
    place.succeeds(&["volume", "verify", "one.img", "--root-hash", &root, "--committed"]);
    let inspect = ["volume", "inspect", "one.img", "--show-salt"];
    for format in ["text", "json"] {
        let shown = place.succeeds(&[&inspect[..3], &["--format", format]].concat());
        assert!(!shown.stdout.contains(&salt), "{}", shown.stdout);
        let shown = place.succeeds(&[&inspect[..], &["--format", format]].concat());
        assert!(shown.stdout.contains(&salt), "{}", shown.stdout);
    }
    assert_eq!(build("again", &["--salt", &salt]), (one, image.clone()));

    // The only copy of a salt is not written over; the same volume again is no loss.
    for arguments in [&["--committed"][..], &["--committed", "--salt", &"00".repeat(32)], &[]] {
        let all = [&["volume", "build", "tree", "-o", "one.img"], arguments].concat();
        place.run(&all).is_refusal(2, &["committed volume", "nowhere else", "--output"]);
    }
    assert_eq!(build("again", &["--salt", &salt]).1, image);
    let ran = place.run(&["volume", "verify", "one.img", "--root-hash", &root]);
    ran.is_refusal(10, &["is not the volume of root hash", "--committed"]);

    // Another salt, or anything beside it, is another volume.
    place.run(&["volume", "verify", "one.img", "--record", "two.json"]).is_refusal(10, &["is not"]);
    for (at, word) in [(0, "is not the volume"), (40, "more than a salt")] {
        let mut changed = image.clone();
        changed[rest.len() + at] ^= 1;
        place.write("one.img", changed);
        place.run(&["volume", "verify", "one.img"]).is_refusal(10, &[word]);
    }
    place.write("one.img", rest);
    place.run(&["volume", "verify", "one.img"]).is_refusal(10, &["cut off"]);

    let all = ["volume", "build", "tree", "--committed", "-o", "x.img", "--salt", "00"];
    place.run(&all).is_refusal(2, &["1 bytes", "32 bytes"]);
    // A record that tells what it must not, or keeps what it must tell.
    let counts =
        r#""contents": {"files": 1, "bytes": 1, "directories": 1, "symlinks": 0}, "verity": {"#;
    let told = place.read("one.json").replace("\"verity\": {\n", counts);
    assert_ne!(told, place.read("one.json"));
    place.write("told.json", told);
    place
        .run(&["volume", "verify", "again.img", "--record", "told.json"])
        .is_refusal(30, &["fit together"]);
}
