//! What a file is, told by its bytes, and what two of a kind differ in.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use super::packing::{self, Packing};
use super::record::{self, Part};
use super::{Cause, Diff, DiffError, bytes, cmdline, erofs, firmware, initrd, pe, text};
use crate::tree::held::{FileRange, Held};

/// The largest record, kernel or firmware that is read whole.
pub(super) const IN_MEMORY: u64 = 1 << 30;

/// Where the superblock of EROFS stands, and its magic (`include/uapi/linux/magic.h`).
const EROFS: (usize, &[u8]) = (1024, &[0xe2, 0xe1, 0xf5, 0xe0]);

/// Where a bzImage has its header (Linux `Documentation/arch/x86/boot.rst`).
const BZIMAGE: (usize, &[u8]) = (0x202, b"HdrS");

/// What a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A launch record.
    LaunchRecord,
    /// The record of an IGVM file, or of a volume, or other JSON.
    Json,
    /// A cpio archive, or several; or one that is packed.
    Initrd,
    /// An EROFS image.
    Erofs,
    /// A Linux kernel image.
    Kernel,
    /// A unified kernel image.
    Uki,
    /// Another PE file.
    Pe,
    /// An OVMF firmware image.
    Firmware,
    /// An IGVM file.
    Igvm,
    /// A superblock of dm-verity and its tree.
    Verity,
    /// A Debian package.
    Package,
    /// An ELF file.
    Elf,
    /// Text.
    Text,
    /// Something that is not known.
    Other,
}

/// An open file, and what it is.
#[derive(Debug)]
pub struct Artifact {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub bytes: FileRange,
}

impl Kind {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LaunchRecord => "launch record",
            Self::Json => "JSON text",
            Self::Initrd => "initrd (cpio)",
            Self::Erofs => "EROFS image",
            Self::Kernel => "kernel image",
            Self::Uki => "unified kernel image",
            Self::Pe => "PE file",
            Self::Firmware => "OVMF firmware image",
            Self::Igvm => "IGVM file",
            Self::Verity => "dm-verity hash tree",
            Self::Package => "Debian package",
            Self::Elf => "ELF file",
            Self::Text => "text",
            Self::Other => "file of no kind that is known",
        }
    }
}

impl Artifact {
    /// Opens a file and looks what it is.
    ///
    /// # Errors
    /// When it cannot be read, or is no file.
    pub fn open(path: &Path) -> Result<Self, DiffError> {
        let failed = |error| DiffError::Read(path.display().to_string(), error);
        // Before it is opened: a pipe would be waited for.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("it is no regular file")));
        }
        let held = File::open(path).and_then(Held::new).map_err(failed)?;
        Self::of(FileRange::whole(held))
    }

    /// Looks what some bytes are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of(bytes: FileRange) -> Result<Self, DiffError> {
        let failed = |error| DiffError::Read("a part".to_owned(), error);
        let head = packing::head(&bytes, 4096).map_err(failed)?;
        let kind = match told_by(&head) {
            Some(kind) => kind,
            None => looked_at(&bytes, &head).map_err(failed)?,
        };
        Ok(Self { kind, bytes })
    }

    /// Compares two artifacts, and notes in `diff` what differs.
    ///
    /// # Errors
    /// When one of them cannot be read, or is damaged.
    pub fn compare(&self, other: &Self, diff: &mut Diff) -> Result<(), DiffError> {
        let failed = |error| DiffError::Read("an artifact".to_owned(), error);
        if self.kind != other.kind {
            let what = format!("{} → {}", self.kind.name(), other.kind.name());
            diff.differs(Cause::Kind, what);
            return Ok(());
        }
        let (one, two) = (&self.bytes, &other.bytes);
        match self.kind {
            Kind::Initrd => initrd::compare(diff, one, two),
            Kind::Erofs => erofs::compare(diff, one, two),
            Kind::Kernel | Kind::Uki | Kind::Pe => pe::compare(diff, one, two),
            Kind::Firmware => firmware::compare(diff, &self.read()?, &other.read()?),
            Kind::LaunchRecord => {
                record::compare(diff, &self.json()?, &other.json()?, &[]);
                self.or_text(other, diff)
            }
            Kind::Json | Kind::Text => self.or_text(other, diff),
            Kind::Igvm | Kind::Verity | Kind::Package | Kind::Elf | Kind::Other => {
                bytes::compare(diff, one, two).map_err(failed)
            }
        }
    }

    /// Compares command lines word by word.
    ///
    /// # Errors
    /// As [`Artifact::compare`].
    pub fn compare_cmdlines(&self, other: &Self, diff: &mut Diff) -> Result<(), DiffError> {
        let (one, two) = (self.read()?, other.read()?);
        if one != two && (std::str::from_utf8(&one).is_err() || std::str::from_utf8(&two).is_err())
        {
            diff.differs(Cause::Cmdline, "bytes that are no text");
            return Ok(());
        }
        cmdline::compare(diff, &String::from_utf8_lossy(&one), &String::from_utf8_lossy(&two));
        Ok(())
    }

    /// Compares launch records, of which some parts were compared by what they are.
    ///
    /// # Errors
    /// As [`Artifact::compare`].
    pub fn compare_records(
        &self,
        other: &Self,
        known: &[Part],
        diff: &mut Diff,
    ) -> Result<(), DiffError> {
        record::compare(diff, &self.json()?, &other.json()?, known);
        Ok(())
    }

    /// Compares texts: the first line that differs.
    ///
    /// # Errors
    /// As [`Artifact::compare`].
    pub fn compare_texts(&self, other: &Self, diff: &mut Diff) -> Result<(), DiffError> {
        let (one, two) = (self.read()?, other.read()?);
        let (one, two) = (String::from_utf8_lossy(&one), String::from_utf8_lossy(&two));
        text::compare(diff, Cause::Record, &one, &two);
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than what it should be ever is.
    pub fn read(&self) -> Result<Vec<u8>, DiffError> {
        if self.bytes.range.size > IN_MEMORY {
            let what =
                format!("{} bytes are too many for a {}", self.bytes.range.size, self.kind.name());
            return Err(DiffError::Malformed("an artifact".to_owned(), what));
        }
        self.bytes.read().map_err(|error| DiffError::Read("an artifact".to_owned(), error))
    }

    fn json(&self) -> Result<Value, DiffError> {
        serde_json::from_slice(&self.read()?)
            .map_err(|error| DiffError::Malformed("a record".to_owned(), error.to_string()))
    }

    /// Where nothing was found by what they mean, the first line that differs.
    fn or_text(&self, other: &Self, diff: &mut Diff) -> Result<(), DiffError> {
        if !diff.is_same() {
            return Ok(());
        }
        let (one, two) = (self.read()?, other.read()?);
        let (one, two) = (String::from_utf8_lossy(&one), String::from_utf8_lossy(&two));
        text::compare(diff, Cause::Content, &one, &two);
        Ok(())
    }
}

fn told_by(head: &[u8]) -> Option<Kind> {
    let has = |(at, magic): (usize, &[u8])| head.get(at..at + magic.len()) == Some(magic);
    // Archives of the kernel's initrd; before anything else, since a packed one is nothing else.
    if has((0, b"070701")) || has((0, b"070702")) {
        return Some(Kind::Initrd);
    }
    [
        (EROFS, Kind::Erofs),
        // `igvm_defs`, IGVM_MAGIC_VALUE.
        ((0, &b"IGVM"[..]), Kind::Igvm),
        // cryptsetup `lib/verity/verity.c`, VERITY_SIGNATURE.
        ((0, b"verity\0\0"), Kind::Verity),
        ((0, b"!<arch>\n"), Kind::Package),
        ((0, b"\x7fELF"), Kind::Elf),
        // The header of a firmware volume: `_FVH` behind its GUID and length (PI, volume 3).
        ((40, b"_FVH"), Kind::Firmware),
        (BZIMAGE, Kind::Kernel),
    ]
    .into_iter()
    .find(|(magic, _)| has(*magic))
    .map(|(_, kind)| kind)
}

/// What the first bytes do not tell.
fn looked_at(bytes: &FileRange, head: &[u8]) -> std::io::Result<Kind> {
    if let Some(packed) = packing::of(head) {
        // Packed things are initrds, or files of which the name would say more.
        let inner = match packed {
            Packing::Other(_) => Vec::new(),
            _ => packing::unpacked_head(bytes, 6),
        };
        return Ok(match inner.as_slice() {
            b"070701" | b"070702" => Kind::Initrd,
            _ => Kind::Other,
        });
    }
    if bytes.range.size > IN_MEMORY {
        return Ok(Kind::Other);
    }
    if head.starts_with(b"MZ") {
        let unified = pe::Pe::parse(&bytes.read()?).map(|pe| pe.is_unified());
        return Ok(match unified {
            Some(true) => Kind::Uki,
            Some(false) => Kind::Pe,
            None => Kind::Other,
        });
    }
    if bytes::as_text(head).is_none() && !head.is_empty() {
        // An image whose volumes do not begin it, such as a firmware's code alone.
        let is_firmware = bytes.range.size.is_multiple_of(4096)
            && bytes.range.size <= 64 << 20
            && crate::launch::Firmware::parse(&bytes.read()?).is_ok();
        return Ok(if is_firmware { Kind::Firmware } else { Kind::Other });
    }
    let whole = bytes.read()?;
    let Some(text) = bytes::as_text(&whole) else { return Ok(Kind::Other) };
    if !text.trim_start().starts_with('{') {
        return Ok(Kind::Text);
    }
    Ok(match serde_json::from_str::<Value>(text) {
        Ok(value) if value.get("digest_before_vcpus").is_some() && value.get("cpus").is_some() => {
            Kind::LaunchRecord
        }
        Ok(_) => Kind::Json,
        Err(_) => Kind::Text,
    })
}
