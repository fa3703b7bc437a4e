//! A file held open, and known to be as it was when it was opened.
//!
//! Contents are hashed when an input is opened and read again when an image is written. A file that
//! somebody writes to in between must not get into an image under the digest it had before.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;

use crate::tree::Blob;

/// An open file and what the file system said of it then.
#[derive(Debug)]
pub struct Held {
    file: File,
    stamp: Stamp,
}

/// What changes when a file is written to, or another takes its place. Nobody but root's clock can
/// set the change time back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Taking a name away changes the change time too, and no bytes.
    names: u64,
}

/// Where bytes are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub size: u64,
}

/// Some bytes of a held file.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file.
    pub file: Arc<Held>,
    /// Which of its bytes.
    pub range: Range,
}

impl Held {
    /// Holds `file` as it is now.
    ///
    /// # Errors
    /// When the file system does not say what it is.
    pub fn new(file: File) -> io::Result<Self> {
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Self { file, stamp })
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// All of it, from the first byte.
    pub fn reader(&self) -> impl Read + '_ {
        RangeReader { held: self, at: 0, left: self.size() }
    }

    fn check(&self) -> io::Result<()> {
        self.stamp.check(&self.file)
    }
}

impl Stamp {
    /// What the file system says of a file.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            names: metadata.nlink(),
        }
    }

    /// The file's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether `file` is the file that was stamped, and as it was then.
    ///
    /// # Errors
    /// When it is not, or the file system does not say.
    pub fn check(&self, file: &File) -> io::Result<()> {
        let now = Self::of(&file.metadata()?);
        let then = match now.names == self.names {
            true => *self,
            false => Self { changed: now.changed, names: now.names, ..*self },
        };
        if now == then {
            return Ok(());
        }
        Err(io::Error::other("the file was written to while it was in use"))
    }
}

impl FileRange {
    /// All of a file.
    pub fn whole(held: Held) -> Self {
        let range = Range { offset: 0, size: held.size() };
        Self { file: Arc::new(held), range }
    }

    /// All of the bytes.
    ///
    /// # Errors
    /// When they cannot be read, or the file was written to since it was held.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.range.size).map_err(io::Error::other)?];
        self.file.file.read_exact_at(&mut bytes, self.range.offset)?;
        self.file.check()?;
        Ok(bytes)
    }
}

impl Blob for FileRange {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        let Range { offset, size } = self.range;
        Ok(Box::new(RangeReader { held: &self.file, at: offset, left: size }))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Range { offset: start, size } = self.range;
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.file.read_exact_at(buffer, start + offset)?;
        self.file.check()
    }

    fn file(&self) -> io::Result<Option<(File, u64)>> {
        Ok(Some((self.file.file.try_clone()?, self.range.offset)))
    }
}

struct RangeReader<'a> {
    held: &'a Held,
    at: u64,
    left: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.held.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        if self.left == 0 || (count == 0 && wanted > 0) {
            // The last bytes are handed out only when all of them are the ones that were held.
            self.held.check()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn a_file_that_is_written_to_is_not_read_to_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        let other = file.try_clone().unwrap();
        let range = FileRange::whole(Held::new(file).unwrap());
        assert_eq!(range.read().unwrap(), b"before");
        // Change times move with the kernel's tick.
        std::thread::sleep(std::time::Duration::from_millis(20));
        (&other).rewind().unwrap();
        (&other).write_all(b"after!").unwrap();
        assert!(range.read().is_err());
        assert!(range.open().unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
