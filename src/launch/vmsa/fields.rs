//! A VMSA by the names of its fields (APM, table B-4), for people who hold one against another, such
//! as the one that KVM prints with dynamic debugging on.

use crate::launch::page::PAGE_SIZE;

/// A field that is not zero.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// Where in the page.
    pub offset: usize,
    /// The APM's name, or `?` for bytes that no VMM is known to set.
    pub name: String,
    /// The value.
    pub value: u64,
}

/// Every field of a VMSA that is not zero. Bytes without a name count too, in words of eight.
pub fn fields(page: &[u8; PAGE_SIZE as usize]) -> Vec<Field> {
    let segments = SEGMENTS.iter().enumerate().flat_map(|(at, segment)| {
        let part = move |(offset, size, part): (usize, usize, &str)| {
            (at * 0x10 + offset, size, format!("{segment}.{part}"))
        };
        [(0, 2, "selector"), (2, 2, "attributes"), (4, 4, "limit"), (8, 8, "base")].map(part)
    });
    let named = NAMED.iter().map(|&(offset, size, name)| (offset, size, name.to_owned()));
    let mut rest = *page;
    let mut fields = Vec::new();
    let mut take = |offset: usize, size: usize, name: String| {
        let Some(bytes) = rest.get_mut(offset..offset + size) else { return };
        let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        bytes.fill(0);
        if value != 0 {
            fields.push(Field { offset, name, value });
        }
    };
    segments.chain(named).for_each(|(offset, size, name)| take(offset, size, name));
    (0..page.len()).step_by(8).for_each(|offset| take(offset, 8, "?".to_owned()));
    fields.sort_by_key(|field| field.offset);
    fields
}

const SEGMENTS: &[&str] = &["es", "cs", "ss", "ds", "fs", "gs", "gdtr", "ldtr", "idtr", "tr"];

const NAMED: &[(usize, usize, &str)] = &[
    (0xd0, 8, "efer"),
    (0x148, 8, "cr4"),
    (0x158, 8, "cr0"),
    (0x160, 8, "dr7"),
    (0x168, 8, "dr6"),
    (0x170, 8, "rflags"),
    (0x178, 8, "rip"),
    (0x268, 8, "g_pat"),
    (0x310, 8, "rdx"),
    (0x3b0, 8, "sev_features"),
    (0x3e8, 8, "xcr0"),
    (0x408, 4, "mxcsr"),
    (0x410, 2, "fcw"),
];
