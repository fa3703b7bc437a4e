//! Initrds: cpio archives, plain or packed, one or several behind one another.

use std::io::{self, BufReader};

use super::packing::{self, Packing};
use super::tree::{Kind, Node, Nodes};
use super::{Cause, Diff, DiffError, bytes, tree};
use crate::image::cpio::read::{Member, ReadError, Reader, Type};
use crate::tree::Blob as _;
use crate::tree::held::FileRange;

/// More members than this are not believed.
const MOST: usize = 1 << 20;

/// The longest target of a link that is read: the kernel's PATH_MAX.
const TARGET: u64 = 4096;

/// An initrd, unpacked.
#[derive(Debug)]
pub(crate) struct Initrd {
    /// The archives behind one another, each with what it was packed by.
    pub(crate) segments: Vec<Segment>,
    /// What stands behind them and is not understood.
    pub(crate) rest: Option<String>,
}

/// Archives that are packed in one way.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) packing: Option<&'static str>,
    /// Its size as it stands there.
    pub(crate) size: u64,
    pub(crate) members: Vec<Member>,
    /// Where members have their data.
    plain: FileRange,
}

impl Initrd {
    /// Reads all headers.
    pub(crate) fn read(file: &FileRange, name: &str) -> Result<Self, DiffError> {
        let failed = |error| DiffError::Read(name.to_owned(), error);
        let mut initrd = Self { segments: Vec::new(), rest: None };
        let (mut at, size) = (0, file.range.size);
        while at < size {
            let rest = packing::part(file, at, size - at);
            match packing::of(&packing::head(&rest, 8).map_err(failed)?) {
                Some(packed) => {
                    // What is packed reaches to the end: no length stands before it.
                    let unpacked =
                        packed.unpack(&rest).map_err(|error| match error.raw_os_error() {
                            Some(_) => failed(error),
                            None => DiffError::Malformed(name.to_owned(), error.to_string()),
                        })?;
                    let Some(plain) = unpacked else {
                        initrd.rest =
                            Some(format!("{} bytes packed by {}", size - at, packed.name()));
                        break;
                    };
                    let (segment, end) = Segment::read(plain, Some(packed), size - at, name)?;
                    if end < segment.plain.range.size {
                        initrd.rest = Some("what stands behind the packed archive".to_owned());
                    }
                    initrd.segments.push(segment);
                    break;
                }
                None => {
                    let (mut segment, end) = Segment::read(rest, None, size - at, name)?;
                    segment.size = end;
                    at += end;
                    initrd.segments.push(segment);
                }
            }
        }
        Ok(initrd)
    }
}

impl Segment {
    /// The archives from the first byte on, up to where something else begins, which is told too.
    fn read(
        plain: FileRange,
        packing: Option<Packing>,
        size: u64,
        name: &str,
    ) -> Result<(Self, u64), DiffError> {
        let mut members = Vec::new();
        let mut end = plain.range.size;
        {
            let opened = plain.open().map_err(|error| DiffError::Read(name.to_owned(), error))?;
            let mut reader = Reader::new(BufReader::with_capacity(1 << 18, opened));
            loop {
                match reader.next_member() {
                    Ok(Some(member)) if members.len() < MOST => members.push(member),
                    Ok(None) => break,
                    Ok(Some(_)) => {
                        let what = format!("more than {MOST} members");
                        return Err(DiffError::Malformed(name.to_owned(), what));
                    }
                    Err(ReadError::Io { source, .. }) => {
                        return Err(DiffError::Read(name.to_owned(), source));
                    }
                    Err(error) => {
                        // After a whole archive another may follow that is packed.
                        let behind = match members.last() {
                            Some(last) => behind(&plain, last)
                                .map_err(|error| DiffError::Read(name.to_owned(), error))?,
                            None => 0,
                        };
                        let rest = packing::part(&plain, behind, plain.range.size - behind);
                        let head = packing::head(&rest, 8)
                            .map_err(|error| DiffError::Read(name.to_owned(), error))?;
                        if packing::of(&head).is_none() || behind == 0 {
                            return Err(DiffError::Malformed(name.to_owned(), error.to_string()));
                        }
                        end = behind;
                        break;
                    }
                }
            }
        }
        Ok((Self { packing: packing.map(Packing::name), size, members, plain }, end))
    }

    fn nodes(&self) -> Nodes<FileRange> {
        let mut nodes = Nodes::new();
        for member in &self.members {
            let contents =
                packing::part(&self.plain, member.data.start, member.data.end - member.data.start);
            let kind = match member.kind() {
                Type::Directory => Kind::Directory,
                Type::File => Kind::File,
                Type::Symlink => Kind::Symlink,
                Type::Special => Kind::Special,
            };
            let short = contents.range.size <= TARGET;
            let target = (kind == Kind::Symlink && short).then(|| contents.read().ok()).flatten();
            let node = Node {
                kind,
                mode: member.mode & 0o7777,
                owner: (member.uid, member.gid),
                mtime: member.mtime.into(),
                device: member.rdev,
                target,
                links: member.nlink,
                contents,
            };
            nodes.insert(member.name.clone(), node);
        }
        nodes
    }
}

/// Where something begins behind the archive whose last member is `last`: after its trailer and zeroes.
fn behind(plain: &FileRange, last: &Member) -> io::Result<u64> {
    // A header, `TRAILER!!!` with its NUL, and padding.
    let mut at = (last.data.end.next_multiple_of(4) + 124).min(plain.range.size);
    let mut chunk = [0; 4096];
    while at < plain.range.size {
        let count = usize::try_from((plain.range.size - at).min(4096)).unwrap_or(0);
        plain.read_exact_at(&mut chunk[..count], at)?;
        match chunk[..count].iter().position(|byte| *byte != 0) {
            Some(found) => return Ok(at + found as u64),
            None => at += count as u64,
        }
    }
    Ok(at)
}

/// Compares two initrds.
pub(super) fn compare(diff: &mut Diff, one: &FileRange, two: &FileRange) -> Result<(), DiffError> {
    let (first, second) = (Initrd::read(one, "the first")?, Initrd::read(two, "the second")?);
    let before = diff.differences.len();
    for (which, rest) in [("first", &first.rest), ("second", &second.rest)] {
        if let Some(rest) = rest {
            diff.not_understood(&format!("{rest}, in the {which}"));
        }
    }
    if first.segments.len() != second.segments.len() {
        let (count, other) = (first.segments.len(), second.segments.len());
        diff.differs(Cause::Layout, format!("{count} archives behind one another → {other}"));
        return Ok(());
    }
    for (index, (one, two)) in first.segments.iter().zip(&second.segments).enumerate() {
        let look = |diff: &mut Diff| segment(diff, one, two);
        match first.segments.len() {
            1 => look(diff)?,
            _ => diff.within(format!("archive {}", index + 1), look)?,
        }
    }
    if diff.differences.len() == before {
        let same = bytes::first_difference(one, two)
            .map_err(|error| DiffError::Read("an initrd".to_owned(), error))?;
        if let Some(at) = same {
            let what = format!("bytes between or behind the members, first at byte {at}");
            diff.differs(Cause::Padding, what);
        }
    }
    Ok(())
}

fn segment(diff: &mut Diff, one: &Segment, two: &Segment) -> Result<(), DiffError> {
    let before = diff.differences.len();
    let (first, second) = (one.nodes(), two.nodes());
    tree::compare(diff, &first, &second, bytes::compare)
        .map_err(|error: io::Error| DiffError::Read("a member of an initrd".to_owned(), error))?;
    let names = |segment: &Segment| -> Vec<Vec<u8>> {
        segment.members.iter().map(|member| member.name.clone()).collect()
    };
    let (order, other) = (names(one), names(two));
    if diff.differences.len() == before && order != other {
        let at = order.iter().zip(&other).take_while(|(one, two)| one == two).count();
        let name =
            |names: &[Vec<u8>]| names.get(at).map_or(String::new(), |name| tree::shown(name));
        let what = if order.len() == other.len() {
            format!("member {}: `{}` → `{}`", at + 1, name(&order), name(&other))
        } else {
            "a member stands twice".to_owned()
        };
        diff.differs(Cause::Order, what);
    }
    if diff.differences.len() == before {
        numbers(diff, one, two);
    }
    if one.packing != two.packing {
        let name = |segment: &Segment| segment.packing.unwrap_or("nothing");
        diff.differs(Cause::Compressor, format!("packed by {} → {}", name(one), name(two)));
    } else if one.packing.is_some() && one.size != two.size && diff.differences.len() == before {
        let packing = one.packing.unwrap_or_default();
        let what = format!(
            "packed by {packing} to {} → {} bytes; what is in it is the same",
            one.size, two.size
        );
        diff.differs(Cause::Compressor, what);
    }
    Ok(())
}

/// What the kernel does not look at, or only to tell files from one another.
fn numbers(diff: &mut Diff, one: &Segment, two: &Segment) {
    let differs = |of: fn(&Member) -> (u32, u32)| {
        one.members.iter().zip(&two.members).find(|(one, two)| of(one) != of(two))
    };
    for (what, of) in [
        ("inode number", (|member: &Member| (member.ino, 0)) as fn(&Member) -> (u32, u32)),
        ("number of the device that it was on", |member| member.dev),
    ] {
        if let Some((member, _)) = differs(of) {
            let what = format!("`{}` has another {what}", tree::shown(&member.name));
            diff.differs(Cause::InodeNumbers, what);
        }
    }
}
