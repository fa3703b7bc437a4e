//! EROFS images, with or without a hash tree behind them.

use std::io::{self, Write as _};

use super::packing::{self, whole};
use super::tree::{Kind, Node, Nodes};
use super::{Cause, Diff, DiffError, bytes, tree};
use crate::image::erofs::read::{Data, Inode, ReadError, Reader, Type};
use crate::tree::held::FileRange;

/// What is read at a time.
const CHUNK: u64 = 1 << 18;

/// Files up to this size are taken out to be looked into.
const LOOKED_INTO: u64 = 64 << 20;

/// A link's target is at most this long.
const TARGET: u64 = 4096;

/// Compares two images.
pub(super) fn compare(diff: &mut Diff, one: &FileRange, two: &FileRange) -> Result<(), DiffError> {
    let failed = |which: &str, error: ReadError| match error {
        ReadError::Io(error) => DiffError::Read(which.to_owned(), error),
        other => DiffError::Malformed(which.to_owned(), other.to_string()),
    };
    let first = Reader::new(one, one.range.size).map_err(|error| failed("the first", error))?;
    let second = Reader::new(two, two.range.size).map_err(|error| failed("the second", error))?;
    let before = diff.differences.len();
    let mut closed = 0;
    // Another time in the superblock is one difference, and not one in each of the inodes that take it.
    let own_times = first.superblock().build_time != second.superblock().build_time;
    let mut all = |reader| nodes(reader, own_times, &mut closed);
    match (all(&first), all(&second)) {
        (Ok(nodes), Ok(others)) => {
            let contents = |diff: &mut Diff, one: &Inode, two: &Inode| {
                contents(diff, (&first, one), (&second, two))
            };
            tree::compare(diff, &nodes, &others, contents)
                .map_err(|error| DiffError::Read("a file of an image".to_owned(), error))?;
        }
        (Err(ReadError::Unsupported(what)), _) | (_, Err(ReadError::Unsupported(what))) => {
            diff.not_understood(&what);
        }
        (Err(error), _) => return Err(failed("the first", error)),
        (_, Err(error)) => return Err(failed("the second", error)),
    }
    let in_tree = diff.differences.len() - before;
    superblocks(diff, &first, &second);
    if closed > 0 {
        diff.not_understood(&format!(
            "the contents of {closed} files are compressed or in chunks; names, sizes and modes were compared"
        ));
    }
    behind(diff, (one, &first), (two, &second), in_tree > 0)?;
    if diff.differences.len() == before {
        let at = bytes::first_difference(one, two)
            .map_err(|error| DiffError::Read("an image".to_owned(), error))?;
        if let Some(at) = at {
            let what = match closed {
                0 => format!("the same tree in other bytes, first at byte {at}: another writer"),
                _ => format!(
                    "other bytes, first at byte {at}: contents that are compressed, or a writer"
                ),
            };
            diff.differs(Cause::Layout, what);
        }
    }
    Ok(())
}

fn superblocks(diff: &mut Diff, one: &Reader<'_>, two: &Reader<'_>) {
    let (first, second) = (one.superblock(), two.superblock());
    diff.within("superblock", |diff| {
        diff.value(Cause::Uuid, "UUID", first.uuid.to_string(), second.uuid.to_string());
        diff.value(Cause::BuildTime, "build time", first.build_time, second.build_time);
        diff.value(Cause::Layout, "block size", first.block_size, second.block_size);
        let names =
            |one: Vec<String>| if one.is_empty() { "none".to_owned() } else { one.join(", ") };
        let features = |reader: &Reader<'_>| {
            let superblock = reader.superblock();
            (names(superblock.compatible.names()), names(superblock.incompatible.names()))
        };
        let ((compatible, needs), (other, others)) = (features(one), features(two));
        diff.value(Cause::Layout, "features", compatible, other);
        diff.value(Cause::Layout, "needed features", needs, others);
        if first.name != second.name {
            let (name, other) = (tree::shown(&first.name), tree::shown(&second.name));
            diff.differs(Cause::Layout, format!("name `{name}` → `{other}`"));
        }
    });
}

/// What stands behind the file system: a hash tree, a salt.
fn behind(
    diff: &mut Diff,
    (one, first): (&FileRange, &Reader<'_>),
    (two, second): (&FileRange, &Reader<'_>),
    tree_differs: bool,
) -> Result<(), DiffError> {
    let rest = |file: &FileRange, reader: &Reader<'_>| {
        let superblock = reader.superblock();
        let end = (superblock.blocks * superblock.block_size).min(file.range.size);
        (packing::part(file, 0, end), packing::part(file, end, file.range.size - end))
    };
    let ((data, rest), (other, others)) = (rest(one, first), rest(two, second));
    let failed = |error| DiffError::Read("an image".to_owned(), error);
    match (rest.range.size, others.range.size) {
        (0, 0) => return Ok(()),
        (0, _) => diff.differs(Cause::Added, "a hash tree behind the file system"),
        (_, 0) => diff.differs(Cause::Removed, "the hash tree behind the file system"),
        _ if tree_differs || bytes::first_difference(&data, &other).map_err(failed)?.is_some() => {}
        _ => {
            if bytes::first_difference(&rest, &others).map_err(failed)?.is_some() {
                diff.within("hash tree", |diff| tree_of(diff, &rest, &others));
            }
        }
    }
    Ok(())
}

/// Two trees over the same data: nearly all of another salt is other, of a damaged one nearly nothing.
fn tree_of(diff: &mut Diff, one: &FileRange, two: &FileRange) {
    if one.range.size != two.range.size {
        let (size, other) = (one.range.size, two.range.size);
        return diff.differs(Cause::Tree, format!("{size} → {other} bytes over the same data"));
    }
    let differ = match (one.read(), two.read()) {
        (Ok(one), Ok(two)) => {
            one.chunks(32).zip(two.chunks(32)).filter(|(a, b)| a != b).count() as u64
        }
        _ => return diff.differs(Cause::Tree, "another tree over the same data"),
    };
    match differ > one.range.size / 64 / 2 {
        true => diff.differs(Cause::Salt, "every digest is another over the same data"),
        false => {
            diff.differs(Cause::Tree, format!("{differ} digests are others over the same data"))
        }
    }
}

/// All paths; with times of their own only, where that is asked for.
fn nodes(
    reader: &Reader<'_>,
    own_times: bool,
    closed: &mut u64,
) -> Result<Nodes<Inode>, ReadError> {
    let mut nodes = Nodes::new();
    reader.walk(|path, inode| {
        let kind = match inode.kind {
            Type::Directory => Kind::Directory,
            Type::File => Kind::File,
            Type::Symlink => Kind::Symlink,
            Type::Special => Kind::Special,
        };
        let is_open = matches!(inode.data, Data::Plain { .. } | Data::Inline { .. });
        *closed += u64::from(!is_open && kind == Kind::File);
        let target = match kind {
            Kind::Symlink if is_open && inode.size <= TARGET => {
                let mut target = vec![0; usize::try_from(inode.size).unwrap_or(0)];
                reader.read_at(inode, &mut target, 0)?;
                Some(target)
            }
            _ => None,
        };
        let node = Node {
            kind,
            mode: inode.mode.into(),
            owner: (inode.owner.uid, inode.owner.gid),
            mtime: if own_times && !inode.extended { 0 } else { inode.mtime },
            device: (0, 0),
            target,
            links: if kind == Kind::File { inode.links } else { 0 },
            contents: inode.clone(),
        };
        nodes.insert(path.to_vec(), node);
        Ok(())
    })?;
    Ok(nodes)
}

/// Compares the contents of two files where they stand, and looks into what differs.
fn contents(
    diff: &mut Diff,
    (first, one): (&Reader<'_>, &Inode),
    (second, two): (&Reader<'_>, &Inode),
) -> io::Result<()> {
    let open = |inode: &Inode| matches!(inode.data, Data::Plain { .. } | Data::Inline { .. });
    if !open(one) || !open(two) {
        if one.size != two.size {
            diff.differs(Cause::Content, format!("{} → {} bytes", one.size, two.size));
        }
        return Ok(());
    }
    let Some(at) = first_difference((first, one), (second, two))? else { return Ok(()) };
    if one.size.max(two.size) <= LOOKED_INTO {
        let (one, two) = (taken_out(first, one)?, taken_out(second, two)?);
        return bytes::compare(diff, &one, &two);
    }
    let sizes = match one.size == two.size {
        true => format!("{} bytes", one.size),
        false => format!("{} → {} bytes", one.size, two.size),
    };
    diff.differs(Cause::Content, format!("contents, {sizes}, first at byte {at}"));
    Ok(())
}

fn first_difference(
    (first, one): (&Reader<'_>, &Inode),
    (second, two): (&Reader<'_>, &Inode),
) -> io::Result<Option<u64>> {
    let common = one.size.min(two.size);
    let mut at = 0;
    let most = usize::try_from(CHUNK.min(common)).unwrap_or(0);
    let (mut left, mut right) = (vec![0; most], vec![0; most]);
    while at < common {
        let count = usize::try_from((common - at).min(CHUNK)).unwrap_or(0);
        first.read_at(one, &mut left[..count], at).map_err(io::Error::other)?;
        second.read_at(two, &mut right[..count], at).map_err(io::Error::other)?;
        if left[..count] != right[..count] {
            let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
            return Ok(Some(at + same as u64));
        }
        at += count as u64;
    }
    Ok((one.size != two.size).then_some(common))
}

fn taken_out(reader: &Reader<'_>, inode: &Inode) -> io::Result<FileRange> {
    let mut file = tempfile::tempfile()?;
    let mut bytes = vec![0; usize::try_from(inode.size).map_err(io::Error::other)?];
    reader.read_at(inode, &mut bytes, 0).map_err(io::Error::other)?;
    file.write_all(&bytes)?;
    whole(file)
}
