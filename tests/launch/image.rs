//! Firmware images made for tests: a footer as OVMF's, pages of pattern, and firmware volumes.

use std::io::Write;

use counterfoil::launch::guid::Guid;
use lzma_rust2::{LzmaOptions, LzmaWriter};

pub(crate) const RESET_BLOCK: &str = "00f771de-1a7e-4fcb-890e-68c77e2fb44e";
pub(crate) const HASH_TABLE: &str = "7255371f-3a3b-4b04-927b-1da6efa8d454";
pub(crate) const METADATA: &str = "dc886566-984a-4798-a75e-5585a7bf67cc";
pub(crate) const FOOTER: &str = "96b582de-1fb2-45f7-baea-a366c55a082d";

/// An image to be built. The parts are public, so that a test can spoil one of them.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) size: usize,
    /// Entries of the footer table, first the one nearest to the end.
    pub(crate) entries: Vec<(Guid, Vec<u8>)>,
    /// Type, address, size.
    pub(crate) sections: Vec<(u32, u32, u32)>,
    pub(crate) signature: [u8; 4],
    pub(crate) version: u32,
    /// Replaces the number of sections in the header.
    pub(crate) count: Option<u32>,
    /// Replaces the length in the header.
    pub(crate) length: Option<u32>,
    /// Replaces the length of the footer table.
    pub(crate) table: Option<u16>,
    pub(crate) footer: Guid,
    /// What the image starts with.
    pub(crate) volumes: Vec<u8>,
}

impl Image {
    /// The layout of Debian's OVMF.amdsev.fd 2026.08, in 16 pages.
    pub(crate) fn amdsev() -> Self {
        let mut image = Self {
            size: 0x1_0000,
            entries: Vec::new(),
            sections: vec![
                (1, 0x80_0000, 0x9000),
                (1, 0x80_a000, 0x3000),
                (2, 0x80_d000, 0x1000),
                (3, 0x80_e000, 0x1000),
                (4, 0x80_f000, 0x1000),
                (1, 0x81_1000, 0x1_f000),
                (0x10, 0x81_0000, 0x1000),
            ],
            signature: *b"ASEV",
            version: 1,
            count: None,
            length: None,
            table: None,
            footer: guid(FOOTER),
            volumes: Vec::new(),
        };
        image.set(RESET_BLOCK, &0x0080_b004u32.to_le_bytes());
        image.set(HASH_TABLE, &words(&[0x81_0c00, 0x400]));
        image.set(METADATA, &0x600u32.to_le_bytes());
        image.set("784fa70e-3176-4677-8a20-04b68699e374", &[0x60, 5, 0, 0]);
        image
    }

    /// Sets an entry, or adds it.
    pub(crate) fn set(&mut self, name: &str, data: &[u8]) {
        let name = guid(name);
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = data.to_vec(),
            None => self.entries.push((name, data.to_vec())),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.retain(|(known, _)| *known != guid(name));
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut image: Vec<u8> = (0..self.size).map(|at| (at / 251 + at) as u8).collect();
        image[..self.volumes.len()].copy_from_slice(&self.volumes);
        let mut table = Vec::new();
        for (name, data) in self.entries.iter().rev() {
            table.extend_from_slice(data);
            table.extend_from_slice(&(data.len() as u16 + 18).to_le_bytes());
            table.extend_from_slice(name.bytes());
        }
        let length = self.table.unwrap_or(table.len() as u16 + 18);
        table.extend_from_slice(&length.to_le_bytes());
        table.extend_from_slice(self.footer.bytes());
        put(&mut image, 32 + table.len(), &table);
        let count = self.sections.len() as u32;
        let mut metadata = self.signature.to_vec();
        let length = self.length.unwrap_or(16 + 12 * count);
        metadata.extend(words(&[length, self.version, self.count.unwrap_or(count)]));
        for &(kind, gpa, size) in &self.sections {
            metadata.extend(words(&[gpa, size, kind]));
        }
        put(&mut image, 0x600, &metadata);
        image
    }
}

fn put(image: &mut [u8], from_end: usize, bytes: &[u8]) {
    let start = image.len() - from_end;
    image[start..start + bytes.len()].copy_from_slice(bytes);
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn guid(text: &str) -> Guid {
    text.parse().unwrap()
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// An FFS2 volume with an erased tail.
pub(crate) fn volume(files: &[Vec<u8>]) -> Vec<u8> {
    let mut volume = vec![0; 16];
    volume.extend(guid("8c8ce578-8a3d-4f1c-9935-896185c32dd3").bytes());
    let body: usize = files.iter().map(|file| file.len().next_multiple_of(8)).sum();
    let length = (72 + body + 64).next_multiple_of(8);
    volume.extend((length as u64).to_le_bytes());
    volume.extend(b"_FVH");
    volume.extend(words(&[0x0004_feff]));
    volume.extend([72, 0, 0, 0, 0, 0, 0, 2]);
    // The block map: one run, and the end.
    volume.extend(words(&[1, length as u32, 0, 0]));
    let sum =
        volume.chunks(2).fold(0u16, |sum, w| sum.wrapping_add(u16::from_le_bytes([w[0], w[1]])));
    volume[50..52].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    for file in files {
        volume.extend(file);
        volume.resize(volume.len().next_multiple_of(8), 0xff);
    }
    volume.resize(length, 0xff);
    volume
}

/// A file of sections.
pub(crate) fn file(name: &str, kind: u8, sections: &[Vec<u8>]) -> Vec<u8> {
    let body = stream(sections);
    let mut file = guid(name).bytes().to_vec();
    file.extend([0, 0, kind, 0]);
    file.extend(&(24 + body.len() as u32).to_le_bytes()[..3]);
    file.push(0xf8);
    file.extend(body);
    file
}

/// Sections, each aligned to four bytes.
pub(crate) fn stream(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for section in sections {
        stream.resize(stream.len().next_multiple_of(4), 0);
        stream.extend(section);
    }
    stream
}

pub(crate) fn section(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut section = (4 + body.len() as u32).to_le_bytes()[..3].to_vec();
    section.push(kind);
    section.extend(body);
    section
}

/// A driver with its name.
pub(crate) fn driver(name: &str, ui: &str, body: &[u8]) -> Vec<u8> {
    file(name, 7, &[section(0x10, body), section(0x15, &utf16(ui))])
}

/// A GUIDed section that needs processing.
pub(crate) fn guided(encoding: &str, body: &[u8]) -> Vec<u8> {
    let mut section_body = guid(encoding).bytes().to_vec();
    section_body.extend([24, 0, 1, 0]);
    section_body.extend(body);
    section(2, &section_body)
}

/// Sections in an LZMA section.
pub(crate) fn lzma(sections: &[u8]) -> Vec<u8> {
    let size = Some(sections.len() as u64);
    let options = LzmaOptions::with_preset(1);
    let mut writer = LzmaWriter::new_use_header(Vec::new(), &options, size).unwrap();
    writer.write_all(sections).unwrap();
    guided("ee4e5898-3914-4259-9d6e-dc7bd79403cf", &writer.finish().unwrap())
}

/// Drivers, compressed as OVMF's are: a volume in a section of an LZMA section of a file.
pub(crate) fn packed(drivers: &[Vec<u8>]) -> Vec<u8> {
    let inner = section(0x17, &volume(drivers));
    volume(&[file("9e21fd93-9c72-4c15-8c4b-e77f1db2d792", 0x0b, &[lzma(&inner)])])
}
