//! Two ELF files, section by section.

use std::collections::BTreeMap;

use object::{Object as _, ObjectSection as _};

use super::{Cause, Diff};

/// `EI_MAG0` to `EI_MAG3`.
pub(super) const MAGIC: &[u8] = b"\x7fELF";

/// Sections that say how a file was linked, and do nothing.
const NOTES: [&str; 5] =
    [".note.gnu.build-id", ".gnu_debuglink", ".comment", ".note.package", ".gnu_debugaltlink"];

/// Sections named when many differ.
const NAMED: usize = 4;

/// Compares them; notes nothing where their sections do not tell.
pub(super) fn compare(diff: &mut Diff, one: &[u8], two: &[u8]) {
    let (Some(first), Some(second)) = (sections(one), sections(two)) else { return };
    let mut differing = Vec::new();
    for (name, bytes) in &first {
        match second.get(name) {
            None => diff.differs(Cause::Removed, format!("section `{name}`")),
            Some(other) if other != bytes => differing.push(name.as_str()),
            Some(_) => {}
        }
    }
    for name in second.keys().filter(|name| !first.contains_key(*name)) {
        diff.differs(Cause::Added, format!("section `{name}`"));
    }
    if differing.is_empty() {
        return;
    }
    if differing.iter().all(|name| NOTES.contains(name)) {
        let what = format!("sections {}; the program is the same", quoted(&differing));
        return diff.differs(Cause::BuildId, what);
    }
    differing.retain(|name| !NOTES.contains(name));
    let rest = differing.len().saturating_sub(NAMED);
    differing.truncate(NAMED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    diff.differs(Cause::Content, format!("contents: sections {}{more}", quoted(&differing)));
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn sections(bytes: &[u8]) -> Option<BTreeMap<String, &[u8]>> {
    let file = object::File::parse(bytes).ok()?;
    let mut found = BTreeMap::new();
    for section in file.sections() {
        let name = String::from_utf8_lossy(section.name_bytes().ok()?).into_owned();
        found.insert(name, section.data().unwrap_or_default());
    }
    Some(found)
}
