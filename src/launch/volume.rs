//! The modules inside a firmware image: firmware volumes hold files, files hold sections, and a
//! section may hold a compressed stream of further sections, or a volume again (PI, volume 3).
//!
//! The walk reads what it is given as far as it understands it and reports what it does not, since
//! a module that was not seen cannot be called absent. Work is bounded: nesting to [`MAX_DEPTH`],
//! decompression to [`MAX_UNPACKED`] bytes in all.

mod file;
mod section;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::guid::Guid;

/// How deep volumes and compressed sections may be nested. OVMF nests four levels.
pub const MAX_DEPTH: u32 = 8;

/// How many bytes may come out of compressed sections. OVMF's volumes are 16 MiB.
pub const MAX_UNPACKED: u64 = 64 << 20;

/// An executable in a firmware file: a PE32 or TE section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Module<'a> {
    /// The file's name, which is the module's FILE_GUID.
    pub guid: Guid,
    /// The name from the file's user interface section.
    pub name: Option<String>,
    /// What kind of file it is in.
    pub kind: FileKind,
    /// The executable's bytes.
    pub body: &'a [u8],
}

/// The type of a firmware file, as far as it matters here (PI, volume 3, "Firmware File Types").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileKind {
    /// EFI_FV_FILETYPE_SECURITY_CORE: what runs first.
    SecurityCore,
    /// EFI_FV_FILETYPE_DRIVER: a driver of DXE.
    Driver,
    /// Any other.
    Other,
}

/// What the walk could not follow.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Nothing to look into.
    #[error("no firmware volume found: expected an OVMF image with its code, not only its footer")]
    NoVolume,
    /// A length that leads outside.
    #[error(
        "{what} at offset {offset:#x} of its container has length {length:#x}: expected {least:#x} to {most:#x}"
    )]
    Length {
        /// Volume, file or section.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// The length found.
        length: u64,
        /// The length of its header.
        least: usize,
        /// The room there.
        most: usize,
    },
    /// An encoding that is not read here.
    #[error(
        "section at offset {offset:#x} of file `{file}` is encoded by `{encoding}`: expected LZMA \
         (`ee4e5898-3914-4259-9d6e-dc7bd79403cf`) or no encoding"
    )]
    Encoding {
        /// The file.
        file: Guid,
        /// Where the section starts.
        offset: usize,
        /// The GUID of the encoding, or the type of compression.
        encoding: String,
    },
    /// Damaged LZMA data.
    #[error("LZMA section of file `{file}` cannot be decompressed")]
    Lzma {
        /// The file.
        file: Guid,
        /// The decoder's reason.
        #[source]
        source: std::io::Error,
    },
    /// More than fits [`MAX_UNPACKED`] or [`MAX_DEPTH`].
    #[error("file `{file}` unpacks to more than {MAX_UNPACKED} bytes or {MAX_DEPTH} levels")]
    TooLarge {
        /// The file.
        file: Guid,
    },
}

/// Calls `visit` for every module of `image`, in the order of the image.
pub fn modules(image: &[u8], visit: &mut dyn FnMut(&Module<'_>)) -> Result<(), VolumeError> {
    let mut walk = Walk { visit, unpacked: 0 };
    match walk.volumes(image, 0)? {
        0 => Err(VolumeError::NoVolume),
        _ => Ok(()),
    }
}

struct Walk<'v> {
    visit: &'v mut dyn FnMut(&Module<'_>),
    unpacked: u64,
}

impl Walk<'_> {
    /// Finds and walks the volumes in `bytes`, and says how many there were. Between volumes lies
    /// anything, so a header counts only if its checksum is right.
    fn volumes(&mut self, bytes: &[u8], depth: u32) -> Result<usize, VolumeError> {
        let (mut offset, mut found) = (0, 0);
        while let Some((_, rest)) = bytes.split_at_checked(offset)
            && rest.len() >= size_of::<VolumeHeader>()
        {
            let Some(header) = VolumeHeader::at(rest) else {
                offset += VOLUME_ALIGNMENT;
                continue;
            };
            let length = header.length.get();
            let least = usize::from(header.header_length.get());
            let volume = usize::try_from(length)
                .ok()
                .filter(|length| *length >= least)
                .and_then(|length| rest.get(..length));
            let Some(volume) = volume else {
                let most = rest.len();
                return Err(VolumeError::Length { what: "volume", offset, length, least, most });
            };
            self.files(volume, &header, depth)?;
            found += 1;
            offset += volume.len().next_multiple_of(VOLUME_ALIGNMENT);
        }
        Ok(found)
    }
}

/// PI, volume 3, "EFI_FIRMWARE_VOLUME_HEADER", without the block map at its end.
#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct VolumeHeader {
    zero_vector: [u8; 16],
    file_system: Guid,
    length: U64,
    signature: [u8; 4],
    attributes: U32,
    header_length: U16,
    checksum: U16,
    extension: U16,
    reserved: u8,
    revision: u8,
}

const _: () = assert!(size_of::<VolumeHeader>() == 0x38);

impl VolumeHeader {
    /// The header at the start of `bytes`, if there is one: the sum of its 16-bit words is zero.
    fn at(bytes: &[u8]) -> Option<Self> {
        let (header, _) = Self::read_from_prefix(bytes).ok()?;
        if header.signature != *b"_FVH" {
            return None;
        }
        let words = bytes.get(..header.header_length.get().into())?;
        let words = <[U16]>::ref_from_bytes(words).ok()?;
        let sum = words.iter().fold(0u16, |sum, word| sum.wrapping_add(word.get()));
        (words.len() * 2 >= size_of::<Self>() && sum == 0).then_some(header)
    }

    /// Volumes of other file systems, such as the one for variables, hold no modules.
    fn holds_files(&self) -> bool {
        self.file_system == FFS2 || self.file_system == FFS3
    }

    /// What an unwritten byte looks like (EFI_FVB2_ERASE_POLARITY).
    fn erased(&self) -> u8 {
        if self.attributes.get() & 0x800 == 0 { 0x00 } else { 0xff }
    }
}

/// PI, volume 3: a volume starts on a multiple of 8 bytes.
const VOLUME_ALIGNMENT: usize = 8;

const FFS2: Guid =
    Guid::new(0x8c8c_e578, 0x8a3d, 0x4f1c, [0x99, 0x35, 0x89, 0x61, 0x85, 0xc3, 0x2d, 0xd3]);
const FFS3: Guid =
    Guid::new(0x5473_c07a, 0x3dcb, 0x4dca, [0xbd, 0x6f, 0x1e, 0x96, 0x89, 0xe7, 0x34, 0x9a]);
