//! Compressed things, unpacked into a file without a name, and what they were packed by.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::Arc;

use crate::tree::Blob as _;
use crate::tree::archive::{ArchiveError, decompress};
use crate::tree::held::{FileRange, Held};

/// The most that something may unpack to.
pub(super) const LIMIT: u64 = 4 << 30;

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
    pub(super) fn unpack(self, packed: &FileRange) -> io::Result<Option<FileRange>> {
        if matches!(self, Self::Other(_)) {
            return Ok(None);
        }
        let mut plain = tempfile::tempfile()?;
        let reader = packed.open()?;
        decompress(reader, "packed", LIMIT, &mut plain).map_err(|error| match error {
            ArchiveError::Io(error) => error,
            ArchiveError::TooLarge(limit) => {
                io::Error::other(format!("it unpacks to more than {limit} bytes"))
            }
            other => io::Error::other(other.to_string()),
        })?;
        whole(plain).map(Some)
    }
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
