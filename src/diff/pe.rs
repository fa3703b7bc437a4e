//! PE files: kernels, and unified kernel images with kernel, initrd and command line in their sections.

use std::collections::BTreeMap;

use object::read::pe::{ImageNtHeaders as _, PeFile64};
use object::{Object as _, ObjectSection as _};

use super::artifact::IN_MEMORY;
use super::packing::part;
use super::{Artifact, Cause, Diff, DiffError, cmdline, text};
use crate::kernel::bzimage::BzImage;
use crate::tree::held::FileRange;

/// Sections of a unified kernel image that are texts (UAPI Group, "Unified Kernel Image").
const TEXTS: [&str; 5] = [".osrel", ".uname", ".sbat", ".pcrpkey", ".profile"];

/// What is in a PE file.
#[derive(Debug)]
pub(crate) struct Pe {
    /// Its sections in order: name, place and size in the file.
    pub(crate) sections: Vec<(String, u64, u64)>,
    /// `TimeDateStamp`.
    pub(crate) timestamp: u32,
    /// Bytes of the certificate table.
    pub(crate) signature: u32,
}

impl Pe {
    /// Reads the headers; `None` if it is no PE file for x86-64.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let file = PeFile64::parse(bytes).ok()?;
        let mut sections = Vec::new();
        for section in file.sections() {
            let name = String::from_utf8_lossy(section.name_bytes().ok()?).into_owned();
            let (offset, size) = section.file_range()?;
            // Behind what is said to be used comes padding.
            let size = size.min(section.size());
            let inside = offset.checked_add(size).is_some_and(|end| end <= bytes.len() as u64);
            sections.push((name, offset, if inside { size } else { 0 }));
        }
        let table = file.data_directory(object::pe::IMAGE_DIRECTORY_ENTRY_SECURITY);
        Some(Self {
            sections,
            timestamp: file.nt_headers().file_header().time_date_stamp.get(object::LittleEndian),
            signature: table.map_or(0, |table| table.size.get(object::LittleEndian)),
        })
    }

    /// Whether it is a unified kernel image.
    pub(crate) fn is_unified(&self) -> bool {
        self.sections.iter().any(|(name, ..)| name == ".linux")
    }
}

/// Compares kernels, or PE files of any kind.
pub(super) fn compare(diff: &mut Diff, one: &FileRange, two: &FileRange) -> Result<(), DiffError> {
    let read = |file: &FileRange, which: &str| {
        if file.range.size > IN_MEMORY {
            let what = format!("{} bytes are too many for a kernel", file.range.size);
            return Err(DiffError::Malformed(which.to_owned(), what));
        }
        file.read().map_err(|error| DiffError::Read(which.to_owned(), error))
    };
    let (first, second) = (read(one, "the first")?, read(two, "the second")?);
    if first == second {
        return Ok(());
    }
    let before = diff.differences.len();
    if let (Ok(kernel), Ok(other)) = (BzImage::parse(&first), BzImage::parse(&second)) {
        kernels(diff, &kernel, &other);
    }
    if let (Some(pe), Some(other)) = (Pe::parse(&first), Pe::parse(&second)) {
        sections(diff, (one, &first, &pe), (two, &second, &other), before)?;
    }
    if diff.differences.len() == before {
        let at = first.iter().zip(&second).take_while(|(one, two)| one == two).count();
        diff.differs(Cause::Kernel, format!("contents, first at byte {at:#x}"));
    }
    Ok(())
}

/// By the text in which a kernel says what it is: release, who built it where, number, time.
fn kernels(diff: &mut Diff, one: &BzImage, two: &BzImage) {
    if one.version == two.version {
        return;
    }
    let cause = match one.release() == two.release() {
        true => Cause::KernelTimestamp,
        false => Cause::Kernel,
    };
    diff.differs(cause, format!("version `{}` → `{}`", one.version, two.version));
}

fn sections(
    diff: &mut Diff,
    (one, first, pe): (&FileRange, &[u8], &Pe),
    (two, second, other): (&FileRange, &[u8], &Pe),
    before: usize,
) -> Result<(), DiffError> {
    if pe.timestamp != other.timestamp {
        let what = format!("time of its PE header {} → {}", pe.timestamp, other.timestamp);
        diff.differs(Cause::Mtime, what);
    }
    let by_name = |pe: &Pe| -> BTreeMap<String, (u64, u64)> {
        pe.sections.iter().map(|(name, at, size)| (name.clone(), (*at, *size))).collect()
    };
    let (found, others) = (by_name(pe), by_name(other));
    for (name, (at, size)) in &found {
        let Some((to, length)) = others.get(name) else {
            diff.differs(Cause::Removed, format!("section `{name}` is not in the second"));
            continue;
        };
        let (left, right) = (part(one, *at, *size), part(two, *to, *length));
        let slice = |bytes: &[u8], at: u64, size: u64| -> Vec<u8> {
            let start = usize::try_from(at).unwrap_or(0);
            let end = start + usize::try_from(size).unwrap_or(0);
            bytes.get(start..end).unwrap_or_default().to_vec()
        };
        let (bytes, changed) = (slice(first, *at, *size), slice(second, *to, *length));
        if bytes == changed {
            continue;
        }
        diff.within(name.clone(), |diff| section(diff, name, (&left, &bytes), (&right, &changed)))?;
    }
    for name in others.keys().filter(|name| !found.contains_key(*name)) {
        diff.differs(Cause::Added, format!("section `{name}` is not in the first"));
    }
    let order = |pe: &Pe| pe.sections.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>();
    if diff.differences.len() == before && order(pe) != order(other) {
        diff.differs(Cause::Order, "its sections stand in another order");
    }
    // With the contents the same, what is left are headers and what is appended.
    if diff.differences.len() == before && pe.signature != other.signature {
        let shown = |size| if size == 0 { "none".to_owned() } else { format!("{size} bytes") };
        let what = format!("signature {} → {}", shown(pe.signature), shown(other.signature));
        diff.differs(Cause::Signature, what);
    }
    Ok(())
}

fn section(
    diff: &mut Diff,
    name: &str,
    (one, first): (&FileRange, &[u8]),
    (two, second): (&FileRange, &[u8]),
) -> Result<(), DiffError> {
    let words =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(['\0', '\n']).to_owned();
    match name {
        ".cmdline" => {
            cmdline::compare(diff, &words(first), &words(second));
            Ok(())
        }
        ".linux" | ".initrd" | ".ucode" => {
            let (one, two) = (Artifact::of(one.clone())?, Artifact::of(two.clone())?);
            one.compare(&two, diff)
        }
        _ if TEXTS.contains(&name) => {
            text::compare(diff, Cause::Content, &words(first), &words(second));
            Ok(())
        }
        _ => {
            let at = first.iter().zip(second).take_while(|(one, two)| one == two).count();
            let what = format!("{} → {} bytes, first at byte {at}", first.len(), second.len());
            diff.differs(Cause::Content, what);
            Ok(())
        }
    }
}
