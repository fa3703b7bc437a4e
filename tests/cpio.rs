//! The initrd writer, held in four ways: a readable dump, a pinned digest, the kernel's own format
//! as GNU cpio reads it, and refusals.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;

use counterfoil::digest::Sha256;
use counterfoil::image::cpio::{self, read::read};
use counterfoil::names::{GuestPath, Owner};
use counterfoil::tree::{Blob, Content, Entry, Node, Tree};
use proptest::prelude::*;

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn node(entry: Entry, mode: u16) -> Node {
    Node { entry, mode, owner: Owner::default(), origin: "test".to_owned() }
}

fn sample() -> Tree {
    let mut tree = Tree::default();
    let file = |text: &str| Entry::File(Content::from_bytes(text.into()));
    tree.place(path("/init"), node(file("#!"), 0o755)).unwrap();
    tree.place(path("/etc/hosts"), node(file("127.0.0.1 localhost\n"), 0o644)).unwrap();
    tree.place(path("/lib64"), node(Entry::Symlink("usr/lib64".parse().unwrap()), 0o777)).unwrap();
    let owner = Owner { uid: 1000, gid: 100 };
    tree.place(path("/srv/data"), Node { owner, ..node(file(""), 0o600) }).unwrap();
    tree.place(path("/tmp"), node(Entry::Directory, 0o1777)).unwrap();
    tree
}

fn written(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    let object = cpio::write(tree, &mut bytes).unwrap();
    assert_eq!(object.size, bytes.len() as u64);
    assert_eq!(object.sha256, Sha256::of(&bytes));
    bytes
}

/// A second reading of the format, independent of the writer: one line a member.
fn dump(bytes: &[u8]) -> String {
    let mut lines = String::new();
    let mut at = 0;
    loop {
        let field = |index: usize| {
            let start = at + 6 + index * 8;
            let text = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
            usize::from_str_radix(text, 16).unwrap()
        };
        assert_eq!(&bytes[at..at + 6], b"070701");
        let (ino, mode, uid, gid, nlink, mtime, size) =
            (field(0), field(1), field(2), field(3), field(4), field(5), field(6));
        assert_eq!([mtime, field(7), field(8), field(9), field(10), field(12)], [0; 6]);
        let name_size = field(11);
        let name = std::str::from_utf8(&bytes[at + 110..at + 109 + name_size]).unwrap();
        assert_eq!(bytes[at + 109 + name_size], 0);
        let data = (at + 110 + name_size).next_multiple_of(4);
        assert!(bytes[at + 110 + name_size..data].iter().all(|byte| *byte == 0));
        lines += &format!("{ino} {mode:06o} {uid}:{gid} {nlink} {size} {name}\n");
        at = (data + size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            assert_eq!(at, bytes.len());
            return lines;
        }
    }
}

#[test]
fn members_are_sorted_and_carry_nothing_of_the_host() {
    assert_eq!(
        dump(&written(&sample())),
        "1 040755 0:0 2 0 etc\n\
         2 100644 0:0 1 20 etc/hosts\n\
         3 100755 0:0 1 2 init\n\
         4 120777 0:0 1 9 lib64\n\
         5 040755 0:0 2 0 srv\n\
         6 100600 1000:100 1 0 srv/data\n\
         7 041777 0:0 2 0 tmp\n\
         0 000000 0:0 1 0 TRAILER!!!\n"
    );
}

/// A change that alters these bytes needs a new epoch beside `cpio/1`, not a new digest here.
#[test]
fn epoch_1_is_pinned() {
    assert_eq!(cpio::EPOCH, "cpio/1");
    assert_eq!(
        Sha256::of(written(&sample())).to_string(),
        "858bdf8041acb446bc0fb1ebccf144bcbb955529c671e082b60c34fcd6cfd5eb"
    );
}

/// Skipped, and said so, where GNU cpio is not installed.
#[test]
fn what_was_written_is_read_back() {
    let bytes = written(&sample());
    let members = read(bytes.as_slice(), &["init", "srv/data", "lib64"]).unwrap();
    let paths: Vec<_> = members.iter().map(|member| member.path.as_str()).collect();
    assert_eq!(paths, ["etc", "etc/hosts", "init", "lib64", "srv", "srv/data", "tmp"]);
    let contents = |path: &str| members.iter().find(|it| it.path == path).unwrap().contents.clone();
    assert_eq!(contents("init").unwrap(), b"#!");
    assert_eq!(contents("srv/data").unwrap(), b"");
    assert_eq!(
        (contents("lib64"), contents("etc/hosts")),
        (None, None),
        "no file, and not asked for"
    );
    assert!(members.iter().all(|member| !member.is_set_id()));
    let program = |mode| {
        let mut tree = Tree::default();
        tree.place(path("/a"), node(Entry::File(Content::from_bytes(Vec::new())), mode)).unwrap();
        read(written(&tree).as_slice(), &[]).unwrap()[0].is_set_id()
    };
    assert!(program(0o4755) && program(0o2711) && !program(0o4644) && !program(0o1755));
}

/// One member of an initrd, as anybody may write it.
fn member(path: &str, mode: u32, links: u32, contents: &str) -> String {
    let mut text = format!("070701{:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}", 1, 0, 0, 0);
    text += &format!("{:08x}", contents.len());
    text += &format!("{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{path}\0", 0, 0, 0, 0, path.len() + 1, 0);
    text += &"\0".repeat(text.len().wrapping_neg() % 4);
    text + contents + &"\0".repeat(contents.len().wrapping_neg() % 4)
}

/// What the kernel would take for another file than a reader does.
#[test]
fn what_is_not_ours_is_not_read() {
    let init = member("init", 0o100_755, 1, "#!");
    let end = member("TRAILER!!!", 0, 1, "");
    let etc = member("etc", 0o040_755, 2, "");
    let right = format!("{etc}{}{init}{end}", member("etc/plan", 0o100_644, 1, "plan\n"));
    assert_eq!(read(right.as_bytes(), &[]).unwrap().len(), 3);
    let link = member("x", 0o120_777, 1, "etc");
    for (what, wrong) in [
        ("out of order", format!("{init}{init}{end}")),
        ("out of order", format!("{init}{etc}{end}")),
        ("directory of its own", format!("{}{init}{end}", member("./init", 0o100_755, 1, "#!"))),
        ("directory of its own", format!("{}{init}{end}", member("/init", 0o100_755, 1, "#!"))),
        ("directory of its own", format!("{link}{}{end}", member("x/plan", 0o100_644, 1, "plan"))),
        ("directory of its own", format!("{}{end}", member("etc/plan", 0o100_644, 1, "plan"))),
        ("symbolic link", format!("{}{end}", member("init", 0o100_755, 2, "#!"))),
        ("symbolic link", format!("{}{end}", member("null", 0o020_666, 1, ""))),
        ("behind the end", format!("{right}{init}{end}")),
        ("behind the end", format!("{right}\0\0\0\0")),
        ("no header", format!("{init}\0\0\0\0{}", "x".repeat(200))),
        ("no header", right.replace("070701", "070702")),
        ("no header", right.replacen("070701000", "070701+00", 1)),
        ("too early", init.clone()),
        ("too early", String::new()),
        ("too early", right[..right.len() - 4].to_owned()),
        ("too large", format!("{}{end}", init.replace("00000002", "ffffffff"))),
    ] {
        let error = read(wrong.as_bytes(), &["init"]).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn gnu_cpio_unpacks_it() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("initrd");
    fs::write(&archive, written(&sample())).unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    let child = Command::new("cpio")
        .args(["--extract", "--no-absolute-filenames", "--quiet"])
        .current_dir(&root)
        .stdin(fs::File::open(&archive).unwrap())
        .stdout(Stdio::null())
        .status();
    match child {
        Err(_) => eprintln!("skipped: GNU cpio is not installed"),
        Ok(status) => {
            assert!(status.success());
            assert_eq!(
                fs::read_to_string(root.join("etc/hosts")).unwrap(),
                "127.0.0.1 localhost\n"
            );
            assert_eq!(fs::read_link(root.join("lib64")).unwrap().to_str(), Some("usr/lib64"));
        }
    }
}

#[derive(Debug)]
struct Zeroes(u64);

impl Blob for Zeroes {
    fn open(&self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(std::io::repeat(0).take(self.0)))
    }
}

fn with_file(claimed: u64, held: u64) -> Tree {
    let mut tree = Tree::default();
    let content = Content { sha256: Sha256::of(""), size: claimed, blob: Arc::new(Zeroes(held)) };
    tree.place(path("/model"), node(Entry::File(content), 0o644)).unwrap();
    tree
}

#[test]
fn four_gigabytes_are_refused_by_name() {
    let error = cpio::write(&with_file(1 << 32, 1 << 32), std::io::sink()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/model` has 4294967296 bytes; a file in an initrd holds at most 4294967295, put it on a volume"
    );
}

#[test]
fn a_file_that_shrank_is_an_error() {
    let error = cpio::write(&with_file(10, 7), std::io::sink()).unwrap_err();
    assert!(error.to_string().contains("`/model` ended after 7 of 10 bytes"), "{error}");
}

proptest! {
    #[test]
    fn any_order_of_placing_gives_the_same_bytes(
        names in prop::collection::btree_set("[a-z]{1,3}(/[a-z-]{1,3}){0,2}", 1..8),
        seed in any::<u64>(),
    ) {
        let mut order: Vec<_> = names.into_iter().collect();
        let build = |order: &[String]| {
            let mut tree = Tree::default();
            for name in order {
                // Directories only: a name may be another's parent.
                tree.place(path(&format!("/{name}")), node(Entry::Directory, 0o755)).unwrap();
            }
            written(&tree)
        };
        let first = build(&order);
        let turn = usize::try_from(seed % 8).unwrap() % order.len();
        order.rotate_left(turn);
        order.reverse();
        prop_assert_eq!(build(&order), first);
    }
}
