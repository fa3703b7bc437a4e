//! The initrd writer, held in four ways: a readable dump, a pinned digest, the kernel's own format
//! as GNU cpio reads it, and refusals. And the reader: what was written comes back, GNU cpio's archives
//! are read, and what is damaged is refused with its place.

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
use counterfoil::image::cpio::read::{Member, ReadError, Reader, Type};
use counterfoil::image::cpio::{self, ours};
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

#[test]
fn what_was_written_is_read_back() {
    let bytes = written(&sample());
    let members = ours::read(bytes.as_slice(), &["init", "srv/data", "lib64"]).unwrap();
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
        ours::read(written(&tree).as_slice(), &[]).unwrap()[0].is_set_id()
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
    assert_eq!(ours::read(right.as_bytes(), &[]).unwrap().len(), 3);
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
        ("another archive", format!("{right}{}{end}", member("later", 0o100_644, 1, ""))),
        ("cannot be read", format!("{init}\0\0\0\0{}", "x".repeat(200))),
        ("checksum", right.replace("070701", "070702")),
        ("cannot be read", right.replacen("070701000", "070701+00", 1)),
        ("cannot be read", init.clone()),
        ("no archive", String::new()),
        ("cannot be read", right[..right.len() - 4].to_owned()),
        ("too large", format!("{}{end}", init.replace("00000002", "ffffffff"))),
    ] {
        let error = ours::read(wrong.as_bytes(), &["init"]).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}

/// Skipped, and said so, where GNU cpio is not installed.
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

type Members = Vec<(Member, Vec<u8>)>;

fn read(input: impl Read) -> Result<Members, ReadError> {
    let (mut reader, mut members) = (Reader::new(input), Vec::new());
    while let Some(member) = reader.next_member()? {
        let mut data = Vec::new();
        // An early end is told by the next call.
        let _ = reader.data().read_to_end(&mut data);
        members.push((member, data));
    }
    assert!(reader.next_member().unwrap().is_none(), "behind the end there is nothing");
    Ok(members)
}

fn read_skipping(input: impl Read) -> Result<Vec<Member>, ReadError> {
    let (mut reader, mut members) = (Reader::new(input), Vec::new());
    while let Some(member) = reader.next_member()? {
        members.push(member);
    }
    Ok(members)
}

/// A reader that gives a byte at a time.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

/// One member of an archive by hand, and its trailer.
fn archive(magic: &str, name: &str, data: &[u8], check: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data, check) in [(name, data, check), ("TRAILER!!!", &[][..], 0)] {
        let (size, name_size) = (data.len(), name.len() + 1);
        bytes.extend(
            format!(
                "{magic}0000002A000081a4{:08x}{:08x}0000000165000000{size:08x}\
                 {:08x}{:08x}{:08x}{:08x}{name_size:08x}{check:08X}{name}\0",
                1000, 100, 8, 1, 2, 3
            )
            .bytes(),
        );
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    let error = read(bytes).unwrap_err().to_string();
    assert_eq!(read_skipping(bytes).unwrap_err().to_string(), error);
    assert_eq!(read(Slowly(bytes)).unwrap_err().to_string(), error);
    error
}

#[test]
fn every_field_of_a_member_is_read() {
    let bytes = archive("070701", "a/b", b"12345", 0);
    let member = Member {
        name: b"a/b".to_vec(),
        ino: 42,
        mode: 0o100_644,
        uid: 1000,
        gid: 100,
        nlink: 1,
        mtime: 0x6500_0000,
        size: 5,
        dev: (8, 1),
        rdev: (2, 3),
        check: 0,
        summed: false,
        archive: 0,
        offset: 0,
        data: 116..121,
    };
    assert_eq!((member.kind(), member.permissions()), (Type::File, 0o644));
    assert_eq!(&bytes[116..121], b"12345");
    assert_eq!(read(&*bytes).unwrap(), [(member, b"12345".to_vec())]);
}

#[test]
fn a_sum_is_checked_where_the_magic_says_that_there_is_one() {
    let sum = 0x31 + 0x32 + 0x33;
    let members = read(&*archive("070702", "a", b"123", sum)).unwrap();
    assert_eq!((members[0].0.check, members[0].0.summed), (sum, true));
    assert_eq!(
        refusal(&archive("070702", "a", b"123", sum + 1)),
        "the member at byte 0: its data sum up to 0x00000096, not to 0x00000097"
    );
    // As the kernel has it, the field says nothing otherwise.
    assert_eq!(read(&*archive("070701", "a", b"123", 7)).unwrap().len(), 1);
}

#[test]
fn archives_stand_behind_one_another_with_zeroes_between() {
    let one = archive("070701", "a", b"1", 0);
    let mut bytes = one.clone();
    bytes.resize(bytes.len() + 12, 0);
    bytes.extend(&one);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    let members = read(&*bytes).unwrap();
    let places: Vec<_> =
        members.iter().map(|(member, _)| (member.archive, member.offset)).collect();
    assert_eq!(places, [(0, 0), (1, one.len() as u64 + 12)]);
    // Behind an archive an initrd may have a compressed one, which is not ours to read.
    let mut bytes = one.clone();
    bytes.extend([0x28; 200]);
    let shown = format!("the member at byte {}: it begins with `((((((`", one.len());
    assert!(refusal(&bytes).starts_with(&shown));
    let mut bytes = one.clone();
    bytes.push(0);
    bytes.extend(&one);
    let shown = format!("the member at byte {}: it does not begin at a multiple", one.len() + 1);
    assert!(refusal(&bytes).starts_with(&shown));
    assert_eq!(read(&[0; 1024][..]).unwrap(), []);
    assert_eq!(read(&[][..]).unwrap(), []);
}

#[test]
fn what_is_damaged_is_refused_with_its_place() {
    let good = archive("070701", "abc", b"123", 0);
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        refusal(&changed)
    };
    let at_0 = |what: &str| format!("the member at byte 0: {what}");
    assert_eq!(
        changed(0, b"070707"),
        at_0("it begins with `070707` and not with `070701` or `070702`")
    );
    assert_eq!(
        changed(14, b"+00081a4"),
        at_0("its `c_mode` is `+00081a4`, not eight hexadecimal digits")
    );
    for (size, said) in [(0, 0), (1, 1), (4097, 4097), (u32::MAX, u32::MAX)] {
        assert_eq!(
            changed(94, format!("{size:08x}").as_bytes()),
            at_0(&format!("its name has {said} bytes; 2 to 4096 are possible"))
        );
    }
    assert_eq!(changed(111, b"\0"), at_0("its name has a NUL before the end"));
    assert_eq!(changed(113, b"d"), at_0("its name has no NUL at the end"));
    assert_eq!(changed(114, b"\x01"), at_0("what pads its name is not zero"));
    assert_eq!(changed(119, b"\x01"), at_0("what pads its data is not zero"));
    assert_eq!(
        changed(120 + 54, b"00000001"),
        "the member at byte 120: it marks the archive's end and has data"
    );
}

/// Every beginning of an archive is refused, but for the whole and nothing at all.
#[test]
fn an_archive_that_ends_too_early_is_refused_with_its_end() {
    let good = archive("070702", "abc", b"123", 0x96);
    for length in 1..good.len() {
        let error = refusal(&good[..length]);
        assert!(error.starts_with(&format!("the archive ends at byte {length}, in a")), "{error}");
    }
    // Sizes of which nothing is there take no memory.
    let mut vast = good;
    vast[54..62].copy_from_slice(b"ffffffff");
    assert_eq!(
        refusal(&vast),
        format!("the archive ends at byte {}, in a member's data", vast.len())
    );
}

/// Skipped, and said so, where GNU cpio is not installed.
#[test]
fn archives_of_gnu_cpio_are_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("sub/one"), "contents").unwrap();
    std::os::unix::fs::symlink("one", directory.path().join("sub/two")).unwrap();
    for format in ["newc", "crc"] {
        let child = Command::new("cpio")
            .args(["--create", "--quiet", "--format", format])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: GNU cpio is not installed");
            return;
        };
        let names = b"sub\nsub/one\nsub/two\n";
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), names).unwrap();
        let archive = child.wait_with_output().unwrap().stdout;
        let found: Vec<_> = read(&*archive)
            .unwrap()
            .into_iter()
            .map(|(member, data)| {
                assert_eq!(member.summed, format == "crc");
                (String::from_utf8(member.name.clone()).unwrap(), member.kind(), data)
            })
            .collect();
        let member = |name: &str, kind, data: &str| (name.to_owned(), kind, data.into());
        assert_eq!(
            found,
            [
                member("sub", Type::Directory, ""),
                member("sub/one", Type::File, "contents"),
                member("sub/two", Type::Symlink, "one"),
            ]
        );
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        Just(Entry::Directory),
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| Entry::File(Content::from_bytes(bytes))),
        "[a-z./]{1,40}".prop_map(|target| Entry::Symlink(target.parse().unwrap())),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        entries in prop::collection::btree_map(
            "[a-zA-Z0-9._-]{1,9}",
            (any_entry(), 0..=0o7777_u16, any::<(u32, u32)>()),
            0..8,
        ),
        slowly in any::<bool>(),
    ) {
        let mut tree = Tree::default();
        for (name, (entry, mode, (uid, gid))) in entries {
            prop_assume!(name != "." && name != "..");
            let owner = Owner { uid, gid };
            tree.place(path(&format!("/d/{name}")), Node { owner, ..node(entry, mode) }).unwrap();
        }
        let bytes = written(&tree);
        let members = if slowly { read(Slowly(&bytes)) } else { read(&*bytes) }.unwrap();
        prop_assert_eq!(
            read_skipping(&*bytes).unwrap(),
            members.iter().map(|(member, _)| member.clone()).collect::<Vec<_>>()
        );
        let mut inodes = 1..;
        let mut read = members.iter();
        for (path, node) in tree.iter().filter(|(path, _)| path.as_str() != "/") {
            let (member, data) = read.next().unwrap();
            let (kind, nlink, expected) = match &node.entry {
                Entry::Directory => (Type::Directory, 2, Vec::new()),
                Entry::File(content) => (Type::File, 1, content.read().unwrap()),
                Entry::Symlink(target) => (Type::Symlink, 1, target.as_str().into()),
            };
            prop_assert_eq!(member.name.as_slice(), path.relative().as_bytes());
            prop_assert_eq!((member.kind(), member.permissions()), (kind, node.mode));
            prop_assert_eq!((member.uid, member.gid), (node.owner.uid, node.owner.gid));
            prop_assert_eq!((member.ino, member.nlink), (inodes.next().unwrap(), nlink));
            let data_at = |at: u64| usize::try_from(at).unwrap();
            let range = data_at(member.data.start)..data_at(member.data.end);
            prop_assert_eq!(&bytes[range], data.as_slice());
            prop_assert_eq!(data, &expected);
            let rest = (member.mtime, member.dev, member.rdev, member.check, member.summed);
            prop_assert_eq!(rest, (0, (0, 0), (0, 0), 0, false));
        }
        prop_assert!(read.next().is_none());
    }

    /// Changed archives are read or refused, alike in every way of reading them.
    #[test]
    fn changed_bytes_are_read_alike(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = written(&sample());
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let told = |result: Result<Vec<Member>, ReadError>| result.map_err(|error| error.to_string());
        let skipped = told(read_skipping(&*bytes));
        let alike = |members: Members| members.into_iter().map(|(member, _)| member).collect();
        prop_assert_eq!(&told(read(&*bytes).map(alike)), &skipped);
        prop_assert_eq!(&told(read(Slowly(&bytes)).map(alike)), &skipped);
    }
}
