//! Reading files that a person names. A regular file has an end; a pipe need not have one, and a
//! device like /dev/zero has none: of those only so much is read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Context as _, Error, Kind, Result};

/// How much of what is no regular file is read piece by piece: no boot protocol takes more (Linux,
/// `Documentation/arch/x86/boot.rst`, `ramdisk_size` has 32 bits).
pub const MOST: u64 = 4 << 30;

/// How much of it is read into memory. Firmware is at most some 16 MiB, a record some 10.
pub const MOST_IN_MEMORY: u64 = 256 << 20;

/// An open file that ends.
#[derive(Debug)]
pub struct Bounded<R = File> {
    reader: R,
    /// What may still come; `None` of a regular file.
    left: Option<u64>,
}

/// Opens `path` to be read piece by piece.
///
/// # Errors
/// [`Kind::Environment`] when it cannot be opened.
pub fn open(path: &Path) -> Result<Bounded> {
    let failed = || format!("failed reading `{}`", path.display());
    let file = File::open(path).context(Kind::Environment, failed)?;
    let regular = file.metadata().context(Kind::Environment, failed)?.is_file();
    Ok(Bounded { reader: file, left: (!regular).then_some(MOST) })
}

/// Reads `path` whole, once.
///
/// # Errors
/// [`Kind::Environment`] when it cannot be read; [`Kind::Malformed`] when it does not end.
pub fn whole(path: &Path) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let regular = file.left.is_none();
    if regular {
        return fs::read(path).map_err(|error| failed(path, error));
    }
    file.left = Some(MOST_IN_MEMORY);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    Ok(bytes)
}

/// Reads `path` whole if it has at most `most` bytes; of a larger one no more than that is read.
///
/// # Errors
/// As [`whole`], and [`Kind::Malformed`] when there is more.
pub fn at_most(path: &Path, most: u64) -> Result<Vec<u8>> {
    let bytes = first(path, most.saturating_add(1))?;
    match bytes.len() as u64 > most {
        false => Ok(bytes),
        true => {
            let message = format!("`{}` has more than {most} bytes", path.display());
            Err(Error::new(Kind::Malformed, message))
        }
    }
}

/// Reads so many bytes of `path`, or as many as there are.
///
/// # Errors
/// As [`whole`].
pub fn first(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    Ok(bytes)
}

/// Why reading `path` failed, as a person meets it.
pub fn failed(path: &Path, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::FileTooLarge {
        let message = format!("failed reading `{}`", path.display());
        return Error::caused(Kind::Environment, message, error);
    }
    let message = format!("`{}` is no file, and does not end: {error}", path.display());
    Error::new(Kind::Malformed, message).hint("give a file, or a pipe that ends")
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.left else { return self.reader.read(buffer) };
        if left == 0 && !buffer.is_empty() {
            return match self.reader.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "it gives more than is read of what is no regular file",
                )),
            };
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left = Some(left.saturating_sub(count as u64));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_not_read_on() {
        let read = |bytes: usize, left| {
            let mut all = Vec::new();
            Bounded { reader: io::repeat(7).take(bytes as u64), left }.read_to_end(&mut all)
        };
        assert_eq!(read(100, Some(100)).unwrap(), 100);
        assert_eq!(read(99, Some(100)).unwrap(), 99);
        assert_eq!(read(0, Some(0)).unwrap(), 0);
        assert_eq!(read(1 << 20, None).unwrap(), 1 << 20);
        assert_eq!(read(101, Some(100)).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let error = whole(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), Kind::Malformed);
        assert_eq!(whole(Path::new("/dev/null")).unwrap(), b"");
    }
}
