//! The EROFS writer, and the reader of what it writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use counterfoil::digest::Sha256;
use counterfoil::image::erofs::read::{Data, Reader, Type};
use counterfoil::image::erofs::{EPOCH, Kind, Layout, Member, Members, Uuid};
use counterfoil::names::Owner;
use counterfoil::tree::{Content, Entry, Node, Tree};
use proptest::prelude::*;

use crate::sample::{Numbered, directory, file, image, link, member, members, sample};
use crate::support::many_files::noise;

/// A change that alters these bytes needs a new epoch beside `erofs/1`, not a new digest here.
#[test]
fn epoch_1_is_pinned() {
    assert_eq!(EPOCH, "erofs/1");
    assert_eq!(
        Sha256::of(image(&sample(), Uuid::NIL)).to_string(),
        "baa136635be4139fccf51ef4dcc9e75bb6a260379dc768847608b4af000d1995"
    );
}

/// The image, line by line, as our reader has it: type, form, mode, owner, links, size, layout, path.
fn dump(bytes: &Vec<u8>) -> String {
    let reader = Reader::new(bytes, bytes.len() as u64).unwrap();
    let mut lines = String::new();
    reader
        .walk(|path, inode| {
            let layout = match inode.data {
                Data::Plain { start } => format!("blocks from {start}"),
                Data::Inline { start, tail } => format!("blocks from {start}, rest at {tail}"),
                _ => "?".to_owned(),
            };
            let form = if inode.extended { "extended" } else { "compact" };
            let path = std::str::from_utf8(path).unwrap();
            let Owner { uid, gid } = inode.owner;
            let (nid, links, size) = (inode.nid, inode.links, inode.size);
            let kind = inode.kind;
            let mode = inode.mode;
            writeln!(
                lines,
                "{nid} {kind:?} {form} {mode:04o} {uid}:{gid} {links} {size} {path}: {layout}"
            )
            .unwrap();
            Ok(())
        })
        .unwrap();
    lines
}

#[test]
fn inodes_are_in_the_order_of_paths_and_small_things_beside_them() {
    let tree = members(vec![
        directory("/b"),
        file("/b/c", noise(1, 100)),
        file("/b-d", noise(2, 5000)),
        link("/a", "b/c"),
        Member { owner: Owner { uid: 1, gid: 70_000 }, ..member("/e", Kind::Directory, 0o1777) },
    ]);
    let bytes = image(&tree, Uuid::NIL);
    // Slots of 32 bytes from the image's first; the root's in block 1, with its 81 bytes of entries.
    assert_eq!(
        dump(&bytes),
        "128 Directory compact 0755 0:0 4 81 /: blocks from 0, rest at 4128\n\
         132 Symlink compact 0777 0:0 1 3 /a: blocks from 0, rest at 4256\n\
         134 Directory compact 0755 0:0 2 40 /b: blocks from 0, rest at 4320\n\
         138 File compact 0644 0:0 1 100 /b/c: blocks from 0, rest at 4448\n\
         137 File compact 0644 0:0 1 5000 /b-d: blocks from 2\n\
         143 Directory extended 1777 1:70000 2 27 /e: blocks from 0, rest at 4640\n"
    );
    assert_eq!(bytes.len(), 4 * 4096);
    let reader = Reader::new(&bytes, bytes.len() as u64).unwrap();
    let superblock = reader.superblock();
    assert_eq!((superblock.blocks, superblock.inodes, superblock.build_time), (4, 6, 0));
    assert_eq!((superblock.checksum, superblock.uuid), (Some(true), Uuid::NIL));
    assert_eq!(superblock.incompatible.bits(), 0, "every kernel with EROFS reads it");
}

#[test]
fn any_block_can_be_made_on_its_own() {
    let tree = sample();
    let layout = Layout::of(&tree).unwrap();
    let whole = image(&tree, Uuid::NIL);
    for width in [1, 3, 128] {
        for first in (0..layout.blocks() as usize).step_by(width) {
            let width = width.min(layout.blocks() as usize - first);
            let mut blocks = vec![[0x55; 4096]; width];
            layout.fill(first as u64, &mut blocks).unwrap();
            let at = first * 4096..(first + width) * 4096;
            assert!(blocks.as_flattened() == &whole[at], "{width} blocks from {first}");
        }
    }
}

/// A file system may share these blocks with the file that they are from.
#[test]
fn whole_blocks_are_those_of_one_file() {
    let tree = sample();
    let layout = Layout::of(&tree).unwrap();
    let whole = image(&tree, Uuid::NIL);
    for width in [1, 7, 128] {
        let mut found = 0;
        for first in (0..u64::from(layout.blocks())).step_by(width) {
            let count = (width as u64).min(u64::from(layout.blocks()) - first);
            for blocks in layout.whole_blocks(first, count) {
                assert!(blocks.at >= first && blocks.at + blocks.count <= first + count);
                let mut bytes = vec![0; usize::try_from(blocks.count).unwrap() * 4096];
                blocks.blob.read_exact_at(&mut bytes, blocks.offset).unwrap();
                let at = usize::try_from(blocks.at).unwrap() * 4096;
                assert!(bytes == whole[at..at + bytes.len()], "{} by {width}", blocks.at);
                found += blocks.count;
            }
        }
        // `/block` has one, `/blocks` 73 and a rest, `/zeroes` 4 and a rest.
        assert_eq!(found, 1 + 73 + 4);
    }
}

#[test]
fn a_tree_of_an_image_is_written_too() {
    let mut tree = Tree::default();
    let entry = Entry::File(Content::from_bytes(noise(1, 9000)));
    let node = Node { entry, mode: 0o600, owner: Owner::default(), origin: "test".to_owned() };
    tree.place("/srv/model".parse().unwrap(), node).unwrap();
    let same = members(vec![
        directory("/srv"),
        Member { mode: 0o600, ..file("/srv/model", noise(1, 9000)) },
    ]);
    let written = image(&Members::of_tree(&tree).unwrap(), Uuid::NIL);
    assert_eq!(written, image(&same, Uuid::NIL));
}

#[test]
fn more_than_four_gigabytes_in_one_file() {
    let size = (5 << 30) + 12_345;
    let kind = Kind::File { size, blob: Arc::new(Numbered(size)) };
    let tree = members(vec![file("/before", noise(1, 5000)), member("/model", kind, 0o644)]);
    let layout = Layout::of(&tree).unwrap();
    assert_eq!(u64::from(layout.blocks()), 2 + 2 + size.div_ceil(4096));
    // The last unit: contents, and zeroes behind them.
    let last = u64::from(layout.blocks()) - 1;
    let mut blocks = vec![[0xaa; 4096]; 2];
    layout.fill(last - 1, &mut blocks).unwrap();
    let number = ((size - 1) / 4096).to_le_bytes()[0];
    assert!(blocks[0] == [number.wrapping_sub(1); 4096]);
    assert!(blocks[1][..57] == [number; 57] && blocks[1][57..].iter().all(|byte| *byte == 0));
    let mut head = vec![[0; 4096]; 4];
    layout.fill(0, &mut head).unwrap();
    let head = head.into_flattened();
    let reader = Reader::new(&head, head.len() as u64).unwrap();
    let mut seen = 0;
    reader
        .walk(|path, inode| {
            if path == b"/model" {
                assert_eq!((inode.size, inode.extended), (size, true));
                assert_eq!(inode.data, Data::Plain { start: 4 });
                seen += 1;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, 1);
    let kind = Kind::File { size: 1 << 44, blob: Arc::new(Numbered(1 << 44)) };
    let error = Layout::of(&members(vec![member("/model", kind, 0o644)])).unwrap_err();
    assert_eq!(error.to_string(), "`/model` does not fit: an image holds at most 16 TiB");
}

#[test]
fn a_directory_of_a_hundred_thousand() {
    let names: Vec<_> = (0..100_000).map(|n| file(&format!("/all/{n}"), format!("{n}"))).collect();
    let mut all = vec![directory("/all")];
    all.extend(names);
    let bytes = image(&members(all), Uuid::NIL);
    let reader = Reader::new(&bytes, bytes.len() as u64).unwrap();
    let mut count = 0;
    reader
        .walk(|path, inode| {
            if inode.kind == Type::File {
                let mut text = vec![0; usize::try_from(inode.size).unwrap()];
                reader.read_at(inode, &mut text, 0)?;
                assert_eq!(path, [b"/all/", text.as_slice()].concat());
                count += 1;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(count, 100_000);
}

#[test]
fn paths_that_are_no_tree_are_refused() {
    let refused = |all: Vec<Member>| Members::new(all).unwrap_err().to_string();
    assert_eq!(refused(vec![]), "the first path is not the root directory");
    assert_eq!(refused(vec![file("/a", "")]), "the first path is not the root directory");
    assert_eq!(
        refused(vec![directory("/"), file("/a", ""), file("/a", "")]),
        "`/a` is not in bytewise order, or there twice"
    );
    assert_eq!(refused(vec![directory("/"), file("/a/b", "")]), "`/a/b` is in no directory");
    let below = vec![directory("/"), file("/a", ""), file("/a/b", "")];
    assert_eq!(refused(below), "`/a/b` is in no directory");
    let error = Layout::of(&members(vec![link("/a", "")])).unwrap_err();
    assert!(error.to_string().contains("`/a` has no target"), "{error}");
}

/// What a random tree has at a path, to be found again.
type Found = (Type, u16, Owner, Vec<u8>);

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c.!-]{1,3}", "[ -.0-~]{1,40}", "\\PC{1,20}", "[xy]{200,255}"].prop_filter(
        "a name in a path",
        |name| {
            format!("/{name}").parse::<counterfoil::names::GuestPath>().is_ok()
                && !name.contains('/')
        },
    )
}

fn size() -> impl Strategy<Value = usize> {
    let near = |at: usize| at.saturating_sub(2)..at + 3;
    prop_oneof![0_usize..64, near(2048), near(4064), near(4096), near(8192), 0_usize..50_000]
}

fn owner() -> impl Strategy<Value = Owner> {
    let id = prop_oneof![Just(0), Just(65_535), Just(65_536), any::<u32>()];
    (id.clone(), id).prop_map(|(uid, gid)| Owner { uid, gid })
}

fn node() -> impl Strategy<Value = (u8, usize, u16, Owner, u64)> {
    (0_u8..4, size(), 0_u16..0o10000, owner(), any::<u64>())
}

/// Random names below random directories.
fn tree() -> impl Strategy<Value = (Vec<Member>, BTreeMap<String, Found>)> {
    let entry = (any::<prop::sample::Index>(), name(), node());
    prop::collection::vec(entry, 0..120).prop_map(|entries| {
        let mut directories = vec![String::new()];
        let mut all = vec![directory("/")];
        let mut found = BTreeMap::from([(
            "/".to_owned(),
            (Type::Directory, 0o755, Owner::default(), Vec::new()),
        )]);
        for (parent, name, (kind, size, mode, owner, seed)) in entries {
            let path = format!("{}/{name}", parent.get(&directories));
            if path.len() >= 4000 || found.contains_key(&path) {
                continue;
            }
            let (kind, seen, bytes) = match kind {
                0 => {
                    directories.push(path.clone());
                    (Kind::Directory, Type::Directory, Vec::new())
                }
                1 => {
                    let target = "t".repeat(size.clamp(1, 4095));
                    let bytes = target.clone().into_bytes();
                    (Kind::Symlink(target.parse().unwrap()), Type::Symlink, bytes)
                }
                _ => {
                    let bytes = noise(seed, size);
                    let blob = Arc::new(bytes.clone());
                    (Kind::File { size: size as u64, blob }, Type::File, bytes)
                }
            };
            all.push(Member { owner, ..member(&path, kind, mode) });
            found.insert(path, (seen, mode, owner, bytes));
        }
        all.sort_by(|one, two| one.path.cmp(&two.path));
        (all, found)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read((all, expected) in tree()) {
        let bytes = image(&Members::new(all).unwrap(), Uuid([7; 16]));
        let reader = Reader::new(&bytes, bytes.len() as u64).unwrap();
        prop_assert_eq!(reader.superblock().checksum, Some(true));
        let mut found = BTreeMap::new();
        let mut links = BTreeMap::new();
        reader.walk(|path, inode| {
            let mut contents = Vec::new();
            if inode.kind != Type::Directory {
                contents = vec![0; usize::try_from(inode.size).unwrap()];
                reader.read_at(inode, &mut contents, 0)?;
            }
            let path = String::from_utf8(path.to_vec()).unwrap();
            links.insert(path.clone(), inode.links);
            found.insert(path, (inode.kind, inode.mode, inode.owner, contents));
            Ok(())
        }).unwrap();
        prop_assert_eq!(&found, &expected);
        for (path, count) in links {
            let below = |other: &&String| {
                other.rsplit_once('/').is_some_and(|(parent, name)| {
                    !name.is_empty() && (parent == path || parent.is_empty() && path == "/")
                })
            };
            let directories = expected.keys().filter(below)
                .filter(|other| expected[*other].0 == Type::Directory).count();
            let wanted = if expected[&path].0 == Type::Directory { 2 + directories } else { 1 };
            prop_assert_eq!(count as usize, wanted, "{}", path);
        }
    }
}
