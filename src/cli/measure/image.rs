//! Reading a firmware image once, piece by piece, so that its size does not matter.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Context as _, Kind, Result};
use crate::input::bounded;
use crate::launch::Firmware;
use crate::launch::firmware::{FirmwareError, ImageError};

/// What came of reading an image once.
pub(super) struct Streamed<T> {
    pub(super) firmware: Firmware,
    /// What was made of its pieces.
    pub(super) state: T,
    /// The image itself, where it had to be read whole: a pipe cannot be read again.
    pub(super) image: Option<Vec<u8>>,
}

/// [`stream`], also for images without an OVMF table, which SEV measures like any other.
pub(super) fn stream_any<T>(
    path: &Path,
    start: impl Fn(u32) -> T,
    add: impl Fn(&mut T, &[u8]),
) -> Result<Streamed<T>> {
    read_image(path, start, add, |parsed, size| match parsed {
        Err(ImageError { what: FirmwareError::NoTable { .. }, .. }) => {
            let size = u32::try_from(size).map_err(|_| wrong_size(size))?;
            Firmware::new(size, None, None, Vec::new()).map_err(whole)
        }
        parsed => parsed,
    })
}

/// Reads an image once, handing on every piece, and keeps only its end. `start` gets the size.
pub(super) fn stream<T>(
    path: &Path,
    start: impl Fn(u32) -> T,
    add: impl Fn(&mut T, &[u8]),
) -> Result<Streamed<T>> {
    read_image(path, start, add, |parsed, _| parsed)
}

fn read_image<T>(
    path: &Path,
    start: impl Fn(u32) -> T,
    add: impl Fn(&mut T, &[u8]),
    accept: impl Fn(Result<Firmware, ImageError>, u64) -> Result<Firmware, ImageError>,
) -> Result<Streamed<T>> {
    let failed = || format!("failed reading `{}`", path.display());
    let malformed = || format!("firmware `{}`", path.display());
    let file = File::open(path).context(Kind::Environment, failed)?;
    let metadata = file.metadata().context(Kind::Environment, failed)?;
    if metadata.is_file() {
        let size = metadata.len();
        let length = u32::try_from(size).map_err(|_| wrong_size(size));
        let mut state = start(length.context(Kind::Malformed, malformed)?);
        let tail =
            tail(file, size, |piece| add(&mut state, piece)).context(Kind::Environment, failed)?;
        match Firmware::parse_tail(&tail, size) {
            // The metadata begins further ahead than the tail: rare, and worth the memory.
            Err(ImageError { what: FirmwareError::MetadataOffset { from_end }, .. })
                if from_end as usize > tail.len() && u64::from(from_end) <= size => {}
            parsed => {
                let firmware = accept(parsed, size).context(Kind::Malformed, malformed)?;
                return Ok(Streamed { firmware, state, image: None });
            }
        }
    }
    let image = bounded::whole(path)?;
    let firmware =
        accept(Firmware::parse(&image), image.len() as u64).context(Kind::Malformed, malformed)?;
    let mut state = start(firmware.size());
    add(&mut state, &image);
    Ok(Streamed { firmware, state, image: Some(image) })
}

fn wrong_size(size: u64) -> ImageError {
    whole(FirmwareError::Size { size })
}

/// About the image as a whole.
fn whole(what: FirmwareError) -> ImageError {
    ImageError { what, offset: None }
}

/// Hands on a file of `size` bytes in whole pages, and returns its end: at least its last [`TAIL`] bytes.
fn tail(mut file: File, size: u64, mut add: impl FnMut(&[u8])) -> io::Result<Vec<u8>> {
    let (mut tail, mut left) = (Vec::with_capacity(2 * TAIL), size);
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let Some(piece) = piece.get_mut(..length) else { break };
        file.read_exact(piece)?;
        add(piece);
        if tail.len() + piece.len() > 2 * TAIL {
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        tail.extend_from_slice(piece);
        left -= length as u64;
    }
    Ok(tail)
}

const PIECE: usize = 64 << 10;

/// The footer table, at most 64 KiB and 32 bytes long, and in practice the SEV metadata.
const TAIL: usize = 256 << 10;
