//! Compressed things, unpacked into a file without a name, and what they were packed by.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::Arc;

use crate::tree::Blob as _;
use crate::tree::archive::{ArchiveError, decompress};
use crate::tree::held::{FileRange, Held};

/// What anything may unpack to, and how often its size beyond that. Initrds come out at some ten times their
/// size, bombs at a thousand.
const ALWAYS: u64 = 64 << 20;
const TIMES: u64 = 100;

/// How bytes are packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Packing {
    Gzip,
    Xz,
    Zstd,
    /// One that is not unpacked here, by its name.
    Other(&'static str),
}

/// What the first bytes say.
pub(super) fn of(head: &[u8]) -> Option<Packing> {
    match head {
        // RFC 1952 2.3.1; the .xz format 2.1.1.1; RFC 8878 3.1.1.
        [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
        // Linux `lib/decompress.c`, `compressed_formats`, and the frame format of LZ4.
        [b'B', b'Z', b'h', ..] => Some(Packing::Other("bzip2")),
        [0x5d, 0, 0, ..] => Some(Packing::Other("lzma")),
        [0x89, b'L', b'Z', b'O', ..] => Some(Packing::Other("lzo")),
        [0x02, 0x21, 0x4c, 0x18, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => Some(Packing::Other("lz4")),
        _ => None,
    }
}

impl Packing {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Other(name) => name,
        }
    }

    /// What is in it; `None` when it is not unpacked here.
    ///
    /// # Errors
    /// Of the operating system when the file cannot be read or written; any other when it is damaged, or
    /// unpacks to much more than it should.
    pub(super) fn unpack(self, packed: &FileRange) -> io::Result<Option<FileRange>> {
        if matches!(self, Self::Other(_)) {
            return Ok(None);
        }
        let mut plain = tempfile::tempfile()?;
        let limit = ALWAYS.saturating_add(packed.range.size.saturating_mul(TIMES));
        let reader = packed.open()?;
        decompress(reader, "packed", limit, &mut plain).map_err(|error| match error {
            ArchiveError::Io(error) => error,
            ArchiveError::TooLarge(limit) => {
                io::Error::other(format!("it unpacks to more than {limit} bytes"))
            }
            other => io::Error::other(other.to_string()),
        })?;
        whole(plain).map(Some)
    }
}

/// The first bytes of what is in it, as many as there are, at most `count`; none where it is damaged or not
/// unpacked here.
pub(super) fn unpacked_head(packed: &FileRange, count: u64) -> Vec<u8> {
    let mut head = Vec::new();
    // There being more than so many is an error that does not matter here.
    let _ = packed.open().map(|reader| decompress(reader, "packed", count, &mut head));
    head
}

/// All of a file that nobody else knows of.
pub(super) fn whole(mut file: File) -> io::Result<FileRange> {
    file.flush()?;
    Held::new(file).map(FileRange::whole)
}

/// A part of what is somewhere.
pub(super) fn part(of: &FileRange, offset: u64, size: u64) -> FileRange {
    let range = crate::tree::held::Range { offset: of.range.offset + offset, size };
    FileRange { file: Arc::clone(&of.file), range }
}

/// The first bytes, as many as there are, at most `count`.
pub(super) fn head(of: &FileRange, count: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(count);
    of.open()?.take(count as u64).read_to_end(&mut head)?;
    Ok(head)
}
