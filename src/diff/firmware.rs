//! Two firmware images: what the launch measures of them, and the modules inside.

use std::collections::BTreeMap;

use super::{Cause, Diff, DiffError};
use crate::digest::Sha256;
use crate::launch::Firmware;
use crate::launch::volume::modules;

/// Modules named when many differ.
const NAMED: usize = 4;

/// Compares them.
pub(super) fn compare(diff: &mut Diff, one: &[u8], two: &[u8]) -> Result<(), DiffError> {
    if one == two {
        return Ok(());
    }
    let read = |bytes: &[u8], which: &str| {
        Firmware::parse(bytes)
            .map_err(|error| DiffError::Malformed(which.to_owned(), error.to_string()))
    };
    let (first, second) = (read(one, "the first")?, read(two, "the second")?);
    let before = diff.differences.len();
    diff.value(Cause::Firmware, "size", first.size(), second.size());
    if first.reset_eip() != second.reset_eip() {
        let shown = |eip: Option<u32>| eip.map_or("none".to_owned(), |eip| format!("{eip:#x}"));
        let (eip, other) = (shown(first.reset_eip()), shown(second.reset_eip()));
        diff.differs(Cause::Firmware, format!("reset address of further vCPUs {eip} → {other}"));
    }
    if first.hash_table() != second.hash_table() {
        diff.differs(Cause::Firmware, "the place of the hash table");
    }
    if first.sections() != second.sections() {
        diff.differs(Cause::Firmware, "the sections of its SEV metadata");
    }
    let (found, others) = (named(one), named(two));
    let mut differing = Vec::new();
    for (name, digest) in &found {
        match others.get(name) {
            None => diff.differs(Cause::Firmware, format!("module `{name}` is not in the second")),
            Some(other) if other != digest => differing.push(format!("`{name}`")),
            Some(_) => {}
        }
    }
    for name in others.keys().filter(|name| !found.contains_key(*name)) {
        diff.differs(Cause::Firmware, format!("module `{name}` is not in the first"));
    }
    if !differing.is_empty() {
        let rest = differing.len().saturating_sub(NAMED);
        differing.truncate(NAMED);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        diff.differs(Cause::Firmware, format!("modules {}{more}", differing.join(", ")));
    }
    if diff.differences.len() == before {
        let at = one.iter().zip(two).take_while(|(one, two)| one == two).count();
        let what = format!("bytes outside of its modules, first at byte {at:#x}");
        diff.differs(Cause::Firmware, what);
    }
    Ok(())
}

/// The modules by name, or by GUID where they have none; as far as they can be read.
fn named(image: &[u8]) -> BTreeMap<String, Vec<Sha256>> {
    let mut found: BTreeMap<String, Vec<Sha256>> = BTreeMap::new();
    let _ = modules(image, &mut |module| {
        let name = module.name.clone().unwrap_or_else(|| module.guid.to_string());
        found.entry(name).or_default().push(Sha256::of(module.body));
    });
    found
}
