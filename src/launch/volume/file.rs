//! Files in a firmware volume (PI, volume 3, "EFI_FFS_FILE_HEADER").

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{FileKind, VolumeError, VolumeHeader, Walk};
use crate::launch::guid::Guid;

impl Walk<'_> {
    pub(super) fn files(
        &mut self,
        volume: &[u8],
        header: &VolumeHeader,
        depth: u32,
    ) -> Result<(), VolumeError> {
        if !header.holds_files() {
            return Ok(());
        }
        let mut offset = first_file(volume, header)?;
        while let Some((_, rest)) = volume.split_at_checked(offset)
            && let Ok((file, after)) = FileHeader::read_from_prefix(rest)
        {
            let header_bytes = rest.get(..size_of::<FileHeader>()).unwrap_or_default();
            if header_bytes.iter().all(|byte| *byte == header.erased()) {
                break;
            }
            let (length, least) = file.length(after);
            let body = usize::try_from(length).ok().and_then(|length| rest.get(least..length));
            let Some(body) = body else {
                let most = rest.len();
                return Err(VolumeError::Length { what: "file", offset, length, least, most });
            };
            if file.holds_sections() {
                self.sections(body, Owner { guid: file.name, kind: file.kind() }, depth)?;
            }
            offset += (least + body.len()).next_multiple_of(FILE_ALIGNMENT);
        }
        Ok(())
    }
}

/// The file that sections are of.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) guid: Guid,
    pub(super) kind: FileKind,
}

/// Files start after the header, or after the extended header where there is one.
fn first_file(volume: &[u8], header: &VolumeHeader) -> Result<usize, VolumeError> {
    let extension = usize::from(header.extension.get());
    if extension == 0 {
        return Ok(usize::from(header.header_length.get()).next_multiple_of(FILE_ALIGNMENT));
    }
    let wrong = |length: u64| VolumeError::Length {
        what: "extended volume header",
        offset: extension,
        length,
        least: size_of::<ExtendedHeader>(),
        most: volume.len().saturating_sub(extension),
    };
    let (_, rest) = volume.split_at_checked(extension).ok_or_else(|| wrong(0))?;
    let (extended, _) = ExtendedHeader::read_from_prefix(rest).map_err(|_| wrong(0))?;
    let length = extended.length.get();
    match usize::try_from(length) {
        Ok(bytes) if bytes >= size_of::<ExtendedHeader>() && bytes <= rest.len() => {
            Ok((extension + bytes).next_multiple_of(FILE_ALIGNMENT))
        }
        _ => Err(wrong(length.into())),
    }
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileHeader {
    name: Guid,
    integrity: U16,
    kind: u8,
    attributes: u8,
    size: [u8; 3],
    state: u8,
}

/// PI, volume 3, "EFI_FIRMWARE_VOLUME_EXT_HEADER".
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ExtendedHeader {
    name: Guid,
    length: U32,
}

const _: () = assert!(size_of::<FileHeader>() == 24);
const _: () = assert!(size_of::<ExtendedHeader>() == 20);

impl FileHeader {
    /// The length of the file with its header, and of the header alone. A large file has its real
    /// size in a 64-bit field after the header; `after` is what follows it.
    fn length(&self, after: &[u8]) -> (u64, usize) {
        let [a, b, c] = self.size;
        if self.attributes & FFS_ATTRIB_LARGE_FILE == 0 {
            return (u32::from_le_bytes([a, b, c, 0]).into(), size_of::<Self>());
        }
        let length = U64::read_from_prefix(after).map_or(0, |(length, _)| length.get());
        (length, size_of::<Self>() + size_of::<U64>())
    }

    fn kind(&self) -> FileKind {
        match self.kind {
            0x03 => FileKind::SecurityCore,
            0x07 => FileKind::Driver,
            _ => FileKind::Other,
        }
    }

    /// All defined types but raw data (1) and padding (0xf0); types from 0xc0 are a vendor's own.
    fn holds_sections(&self) -> bool {
        (0x02..=0x0f).contains(&self.kind)
    }
}

const FFS_ATTRIB_LARGE_FILE: u8 = 0x01;

/// PI, volume 3: a file starts on a multiple of 8 bytes from the start of its volume.
const FILE_ALIGNMENT: usize = 8;
