//! Contents of which nothing else is known, compared where they stand: first whether they are the same, and
//! if not, by what they are.

use std::io::{self, Read};

use super::packing::{self, Packing};
use super::{Cause, Diff, elf, text};
use crate::tree::Blob as _;
use crate::tree::held::FileRange;

/// What is read at a time.
const CHUNK: usize = 1 << 18;

/// Texts and programs up to this size are looked into.
const LOOKED_INTO: u64 = 64 << 20;

/// The first byte that differs, or `None` where all are the same. One that ends earlier differs there.
pub(super) fn first_difference(one: &FileRange, two: &FileRange) -> io::Result<Option<u64>> {
    let (mut first, mut second) = (one.open()?, two.open()?);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    loop {
        let (count, other) = (fill(&mut *first, &mut left)?, fill(&mut *second, &mut right)?);
        if left[..count] != right[..other] {
            let same =
                left[..count].iter().zip(&right[..other]).take_while(|(a, b)| a == b).count();
            return Ok(Some(at + same as u64));
        }
        if count == 0 {
            return Ok(None);
        }
        at += count as u64;
    }
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match reader.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Compares the contents of two files.
pub(super) fn compare(diff: &mut Diff, one: &FileRange, two: &FileRange) -> io::Result<()> {
    let Some(at) = first_difference(one, two)? else { return Ok(()) };
    let before = diff.differences.len();
    look_into(diff, one, two)?;
    if diff.differences.len() == before {
        let sizes = match one.range.size == two.range.size {
            true => format!("{} bytes", one.range.size),
            false => format!("{} → {} bytes", one.range.size, two.range.size),
        };
        diff.differs(Cause::Content, format!("contents, {sizes}, first at byte {at}"));
    }
    Ok(())
}

fn look_into(diff: &mut Diff, one: &FileRange, two: &FileRange) -> io::Result<()> {
    let (head, other) = (packing::head(one, 8)?, packing::head(two, 8)?);
    if let (Some(packed), Some(repacked)) = (packing::of(&head), packing::of(&other)) {
        return packed_alike(diff, (one, packed), (two, repacked));
    }
    if one.range.size.max(two.range.size) > LOOKED_INTO {
        return Ok(());
    }
    let (first, second) = (one.read()?, two.read()?);
    if head.starts_with(elf::MAGIC) && other.starts_with(elf::MAGIC) {
        elf::compare(diff, &first, &second);
        return Ok(());
    }
    if let (Some(first), Some(second)) = (as_text(&first), as_text(&second)) {
        text::compare(diff, Cause::Content, first, second);
    }
    Ok(())
}

/// Compressed files: whether what is in them differs, or how they were packed.
fn packed_alike(
    diff: &mut Diff,
    (one, packing): (&FileRange, Packing),
    (two, repacking): (&FileRange, Packing),
) -> io::Result<()> {
    let (Ok(Some(first)), Ok(Some(second))) = (packing.unpack(one), repacking.unpack(two)) else {
        return Ok(());
    };
    match first_difference(&first, &second)? {
        None => diff.differs(
            Cause::Compressor,
            format!(
                "packed by {}, {} bytes → {}, {} bytes; what is in it is the same",
                packing.name(),
                one.range.size,
                repacking.name(),
                two.range.size
            ),
        ),
        Some(_) => diff.within("unpacked", |diff| compare(diff, &first, &second))?,
    }
    Ok(())
}

/// The text that bytes are, if they are one.
pub(super) fn as_text(bytes: &[u8]) -> Option<&str> {
    let odd = |byte: &u8| *byte < 0x20 && !b"\t\n\r\x1b".contains(byte);
    std::str::from_utf8(bytes).ok().filter(|_| !bytes.iter().any(odd))
}
