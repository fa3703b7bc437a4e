//! Sections of a firmware file (PI, volume 3, "EFI_COMMON_SECTION_HEADER"): executables, volumes,
//! and wrappings around more sections.

use std::io::Read;

use lzma_rust2::LzmaReader;
use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, KnownLayout, Unaligned};

use super::file::Owner;
use super::{MAX_DEPTH, MAX_UNPACKED, Module, VolumeError, Walk};
use crate::launch::guid::Guid;

impl Walk<'_> {
    pub(super) fn sections(
        &mut self,
        stream: &[u8],
        file: Owner,
        depth: u32,
    ) -> Result<(), VolumeError> {
        if depth > MAX_DEPTH {
            return Err(VolumeError::TooLarge { file: file.guid });
        }
        let sections = split(stream)?;
        let name = sections.iter().find(|section| section.kind == USER_INTERFACE);
        let name = name.map(|section| text(section.body));
        for section in &sections {
            match section.kind {
                PE32 | TE => {
                    let module = Module {
                        guid: file.guid,
                        name: name.clone(),
                        kind: file.kind,
                        body: section.body,
                    };
                    (self.visit)(&module);
                }
                FIRMWARE_VOLUME => {
                    self.volumes(section.body, depth + 1)?;
                }
                COMPRESSION => self.compressed(section, file, depth)?,
                GUID_DEFINED => self.guided(section, file, depth)?,
                DISPOSABLE => self.sections(section.body, file, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The plain compression section: only "not compressed" is still in use.
    fn compressed(
        &mut self,
        section: &Section<'_>,
        file: Owner,
        depth: u32,
    ) -> Result<(), VolumeError> {
        match section.body.split_at_checked(5) {
            Some(([_, _, _, _, 0], body)) => self.sections(body, file, depth + 1),
            _ => Err(VolumeError::Encoding {
                file: file.guid,
                offset: section.offset,
                encoding: "EFI standard compression".to_owned(),
            }),
        }
    }

    fn guided(
        &mut self,
        section: &Section<'_>,
        file: Owner,
        depth: u32,
    ) -> Result<(), VolumeError> {
        let wrong = |length| VolumeError::Length {
            what: "header of a GUIDed section",
            offset: section.offset,
            length,
            least: size_of::<GuidedHeader>() + section.header,
            most: section.body.len() + section.header,
        };
        let (header, _) = GuidedHeader::read_from_prefix(section.body).map_err(|_| wrong(0))?;
        // The offset counts from the start of the section, its header included.
        let data = usize::from(header.data_offset.get());
        let body = data.checked_sub(section.header).and_then(|start| section.body.get(start..));
        let body = body.ok_or_else(|| wrong(data as u64))?;
        if header.encoding == LZMA {
            let sections = self.unpack(body, file)?;
            self.sections(&sections, file, depth + 1)
        } else if header.attributes.get() & PROCESSING_REQUIRED == 0 {
            self.sections(body, file, depth + 1)
        } else {
            let encoding = header.encoding.to_string();
            Err(VolumeError::Encoding { file: file.guid, offset: section.offset, encoding })
        }
    }

    /// Decompresses a .lzma stream within what is left of the bound. Its header announces a
    /// dictionary, which is memory too, and a size, which is not believed.
    fn unpack(&mut self, body: &[u8], file: Owner) -> Result<Vec<u8>, VolumeError> {
        let failed = |source| VolumeError::Lzma { file: file.guid, source };
        let room = MAX_UNPACKED - self.unpacked;
        let reader = LzmaReader::new_mem_limit(body, MAX_DICTIONARY_KIB, None).map_err(failed)?;
        let mut unpacked = Vec::new();
        reader.take(room + 1).read_to_end(&mut unpacked).map_err(failed)?;
        if unpacked.len() as u64 > room {
            return Err(VolumeError::TooLarge { file: file.guid });
        }
        self.unpacked += unpacked.len() as u64;
        Ok(unpacked)
    }
}

struct Section<'a> {
    kind: u8,
    offset: usize,
    header: usize,
    body: &'a [u8],
}

/// The sections of a stream, each on a multiple of 4 bytes from its start.
fn split(stream: &[u8]) -> Result<Vec<Section<'_>>, VolumeError> {
    let mut sections = Vec::new();
    let mut offset = 0;
    while let Some((_, rest)) = stream.split_at_checked(offset)
        && let Ok((SectionHeader { size: [a, b, c], kind }, after)) =
            SectionHeader::read_from_prefix(rest)
    {
        let (length, header) = match u32::from_le_bytes([a, b, c, 0]) {
            // The real size follows.
            0xff_ffff => (U32::read_from_prefix(after).map_or(0, |(length, _)| length.get()), 8),
            length => (length, 4),
        };
        let Some(body) = rest.get(header..length as usize) else {
            return Err(VolumeError::Length {
                what: "section",
                offset,
                length: length.into(),
                least: header,
                most: rest.len(),
            });
        };
        sections.push(Section { kind, offset, header, body });
        offset += (header + body.len()).next_multiple_of(4);
    }
    Ok(sections)
}

/// A user interface section: UTF-16 and a NUL. Only a label, so what is wrong in it is replaced.
fn text(body: &[u8]) -> String {
    let units = body.chunks_exact(2).filter_map(|unit| U16::read_from_bytes(unit).ok());
    let units = units.map(U16::get).take_while(|unit| *unit != 0);
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SectionHeader {
    size: [u8; 3],
    kind: u8,
}

/// PI, volume 3, "EFI_GUID_DEFINED_SECTION", after the common header.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct GuidedHeader {
    encoding: Guid,
    data_offset: U16,
    attributes: U16,
}

const PROCESSING_REQUIRED: u16 = 0x01;

const COMPRESSION: u8 = 0x01;
const GUID_DEFINED: u8 = 0x02;
const DISPOSABLE: u8 = 0x03;
const PE32: u8 = 0x10;
const TE: u8 = 0x12;
const USER_INTERFACE: u8 = 0x15;
const FIRMWARE_VOLUME: u8 = 0x17;

/// edk2, MdeModulePkg, `gLzmaCustomDecompressGuid`.
const LZMA: Guid =
    Guid::new(0xee4e_5898, 0x3914, 0x4259, [0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf]);

/// OVMF's dictionaries are 16 MiB.
const MAX_DICTIONARY_KIB: u32 = 34 << 10;
