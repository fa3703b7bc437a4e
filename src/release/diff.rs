//! What is not the same in two releases: first what is measured, by what it is made of and not by what the
//! records say, and where nothing of that differs, the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use counterfoil_init::volume::PREFIX;

use crate::diff::{Artifact, Cause, Diff, DiffError, Difference, Part};
use crate::error::{Error, Kind, Result};
use crate::input::bounded;
use crate::layout;
use crate::manifest::load::Loaded;
use crate::manifest::lock::{LockedInput, LockedPackage};
use crate::manifest::{Lock, Manifest};
use crate::names::{Name, VolumeName};
use crate::release::inventory::{Inventory, Item};
use crate::volume::Record;

/// What is measured, by the files that it is in.
const MEASURED: [(&str, Part); 4] = [
    (layout::FIRMWARE, Part::Firmware),
    (layout::KERNEL, Part::Kernel),
    (layout::CMDLINE, Part::Cmdline),
    (layout::INITRD, Part::Initrd),
];

/// What is written from the rest, or is of no consequence to a launch.
const DOCUMENTS: [&str; 5] =
    [layout::MANIFEST, layout::LOCK, layout::INVENTORY, layout::SBOM, layout::THREAT_MODEL];

/// Texts that say what others mean, in words that change from version to version.
const WORDED: [&str; 2] = [layout::SBOM, layout::THREAT_MODEL];

/// Files that are no part of a release are named up to this number.
const MOST_EXTRA: usize = 100;

/// The two levels on which releases are compared.
#[derive(Debug)]
pub struct Compared {
    /// What differs, the cause first.
    pub diff: Diff,
    /// Whether everything is the same that a launch digest covers, or a launch is described by.
    pub measured: bool,
    /// The files that have other bytes, for whatever reason.
    pub files: Vec<String>,
    /// Of what was not compared: texts in the words of another version of this program, and volumes whose
    /// data one of the releases leaves out.
    pub not_compared: Vec<String>,
    /// Files of the first that are no part of a release.
    pub extra: Vec<String>,
}

/// A release as far as it can be read.
struct Side {
    root: PathBuf,
    manifest: Option<Manifest>,
    lock: Option<Lock>,
    inventory: Option<Inventory>,
}

impl Side {
    fn read(root: &Path) -> Result<Self> {
        if !root.join(layout::RECORD).is_file() {
            let message = format!("`{}` is not a release: it has no `launch.json`", root.display());
            return Err(Error::new(Kind::CannotDecide, message)
                .hint("releases are compared with releases, and files with files"));
        }
        super::open::check_regular(root)?;
        let parsed = |name: &str| bounded::whole(&root.join(name)).ok();
        Ok(Self {
            root: root.to_owned(),
            manifest: Loaded::read(&root.join(layout::MANIFEST)).ok().map(|loaded| loaded.manifest),
            lock: Lock::read(&root.join(layout::LOCK)).ok().flatten(),
            inventory: parsed(layout::INVENTORY)
                .and_then(|json| serde_json::from_slice(&json).ok()),
        })
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        bounded::whole(&self.path(name))
    }

    /// Files that are no part of a release; as many as are shown.
    fn extra(&self) -> Vec<String> {
        let volumes = self.manifest.iter().flat_map(|manifest| manifest.volumes.keys());
        let volumes: BTreeSet<String> =
            volumes.flat_map(|name| [layout::volume(name), layout::volume_record(name)]).collect();
        let walk = walkdir::WalkDir::new(&self.root).sort_by_file_name().into_iter();
        let inside = walk
            .filter_entry(|entry| !(entry.depth() == 1 && entry.file_name() == layout::REBUILDS))
            .flatten();
        let name = |entry: walkdir::DirEntry| {
            let path = entry.path().strip_prefix(&self.root).ok()?;
            Some(path.to_string_lossy().into_owned())
        };
        let known = |name: &String| {
            let known = layout::ALL.iter().chain(&layout::IF_ASKED).chain(&layout::PUBLISHED);
            known.into_iter().any(|known| known == name) || volumes.contains(name)
        };
        let files = inside.filter(|entry| !entry.file_type().is_dir()).filter_map(name);
        files.filter(|name| !known(name)).take(MOST_EXTRA).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn has(&self, name: &str) -> bool {
        // A link would lead out of the release.
        std::fs::symlink_metadata(self.path(name)).is_ok_and(|metadata| metadata.is_file())
    }

    /// Where a path of the initrd or of a volume came from: an input, and a package of it.
    fn origin(&self, volume: Option<&str>, path: &str) -> Option<&str> {
        let inventory = self.inventory.as_ref()?;
        let items: &[Item] = match volume {
            None => &inventory.initrd,
            Some(name) => inventory.volumes.get(&name.parse::<VolumeName>().ok()?)?,
        };
        let path = path.trim_start_matches('/');
        let found = items.iter().find(|item| item.path.relative() == path);
        found.map(|item| item.from.as_str())
    }

    /// The input that a part of the image is taken from.
    fn input_of(&self, part: Part) -> Option<&Name> {
        let manifest = self.manifest.as_ref()?;
        match part {
            Part::Firmware => Some(&manifest.firmware.from.value),
            Part::Kernel => Some(&manifest.kernel.from.value),
            _ => None,
        }
    }
}

/// Compares the releases at `one` and `two`.
///
/// # Errors
/// When one of them is none, or cannot be read.
pub fn compare(one: &Path, two: &Path) -> Result<Compared> {
    sides(&Side::read(one)?, &Side::read(two)?)
}

/// Compares a release with what was made from its manifest and lock. What the release says of where things
/// come from is not asked.
///
/// # Errors
/// As [`compare`].
pub fn compare_rebuilt(release: &Path, rebuilt: &Path) -> Result<Compared> {
    let release = Side { inventory: None, lock: None, ..Side::read(release)? };
    let rebuilt = Side::read(rebuilt)?;
    let extra = release.extra();
    Ok(Compared { extra, ..sides(&release, &rebuilt)? })
}

fn sides(first: &Side, second: &Side) -> Result<Compared> {
    let failed = |error: DiffError| error.under("the releases cannot be compared");
    let (mut files, mut not_compared) = (Vec::new(), Vec::new());
    let mut artifacts = Diff::default();
    let mut known = Vec::new();
    for (name, part) in MEASURED {
        let before = artifacts.differences.len();
        if file(&mut artifacts, name, first, second).map_err(failed)? {
            files.push(name.to_owned());
            known.push(part);
        }
        for difference in &mut artifacts.differences[before..] {
            attribute(difference, part, None, first, second);
        }
    }
    let before = files.len();
    volumes(&mut artifacts, &mut files, &mut not_compared, first, second).map_err(failed)?;
    if files.len() > before {
        known.push(Part::Volumes);
    }
    without_consequences(&mut artifacts);
    let (record, other) = (first.bytes(layout::RECORD)?, second.bytes(layout::RECORD)?);
    let records = records_differ(&record, &other, &known, first, second).map_err(failed)?;
    if record != other {
        files.push(layout::RECORD.to_owned());
    }
    let other_tool = records.differences.iter().any(|found| found.cause == Cause::Tool);
    let mut diff = in_order(artifacts, records);
    let is_measured = |found: &Difference| found.cause != Cause::Tool;
    let mut measured = !diff.differences.iter().any(is_measured);
    for name in [layout::IGVM, layout::IGVM_RECORD] {
        let mut more = Diff::default();
        if !either(name, first, second) || !file(&mut more, name, first, second).map_err(failed)? {
            continue;
        }
        files.push(name.to_owned());
        let both = first.has(name) && second.has(name);
        if name == layout::IGVM_RECORD
            && both
            && same_but_for_tool(&first.bytes(name)?, &second.bytes(name)?)
        {
            continue;
        }
        // It is put together from what was compared already.
        if measured {
            measured = false;
            diff.differences.extend(more.differences);
        }
    }
    for name in DOCUMENTS {
        let mut more = Diff::default();
        if !either(name, first, second) || !file(&mut more, name, first, second).map_err(failed)? {
            continue;
        }
        files.push(name.to_owned());
        if other_tool && WORDED.contains(&name) && first.has(name) && second.has(name) {
            not_compared.push(name.to_owned());
        } else if measured && !diff.differences.iter().any(|it| it.cause != Cause::Tool) {
            let documents = more
                .differences
                .into_iter()
                .map(|found| Difference { cause: Cause::Document, ..found });
            diff.differences.extend(documents);
        }
    }
    diff.causes_first();
    // Whatever else it is: no file has other bytes without a word about it.
    let explained = |name: &&String| {
        not_compared.contains(name)
            || (other_tool && [layout::RECORD, layout::IGVM_RECORD].contains(&name.as_str()))
    };
    let silent: Vec<_> = files.iter().filter(|name| !explained(name)).cloned().collect();
    if !diff.differences.iter().any(|found| found.cause != Cause::Tool) {
        for name in silent {
            diff.within(name, |diff| diff.differs(Cause::Content, "other bytes"));
        }
    }
    Ok(Compared { diff, measured, files, not_compared, extra: Vec::new() })
}

/// What differs in two launch records: by what they say, and where they say the same, by their bytes, but for
/// the program that wrote them.
fn records_differ(
    one: &[u8],
    two: &[u8],
    known: &[Part],
    first: &Side,
    second: &Side,
) -> Result<Diff, DiffError> {
    let mut diff = Diff::default();
    if one == two {
        return Ok(diff);
    }
    let open = |side: &Side| Artifact::open(&side.path(layout::RECORD));
    let (record, other) = (open(first)?, open(second)?);
    diff.within(layout::RECORD, |diff| record.compare_records(&other, known, diff))?;
    let only_tool = diff.differences.iter().all(|found| found.cause == Cause::Tool);
    // What else follows from another artifact was left out, and is not looked for.
    if only_tool && known.is_empty() && !same_but_for_tool(one, two) {
        diff.within(layout::RECORD, |diff| {
            let before = diff.differences.len();
            record.compare_texts(&other, diff)?;
            if diff.differences.len() == before {
                diff.differs(Cause::Record, "other bytes");
            }
            Ok::<_, DiffError>(())
        })?;
    }
    Ok(diff)
}

/// Whether two records are the same but for the line that names the program that wrote them, of which each has
/// one.
fn same_but_for_tool(one: &[u8], two: &[u8]) -> bool {
    let without = |bytes: &[u8]| -> Option<Vec<u8>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let is_tool = |line: &&str| {
            let value =
                line.strip_prefix("  \"tool\": \"").and_then(|rest| rest.strip_suffix("\",\n"));
            value.is_some_and(|value| !value.contains(['"', '\\']))
        };
        let lines = text.split_inclusive('\n');
        (lines.clone().filter(is_tool).count() == 1)
            .then(|| lines.filter(|line| !is_tool(line)).collect::<String>().into_bytes())
    };
    without(one).is_some_and(|text| Some(text) == without(two))
}

/// Leaves out what follows from another volume: its word on the command line, and its UUID, which is made
/// from its contents.
fn without_consequences(artifacts: &mut Diff) {
    let of = |found: &Difference, name: &str| {
        let at = found.at.first();
        at.is_some_and(|at| *at == format!("{}/{name}.img", layout::VOLUMES))
            || at.is_some_and(|at| *at == format!("{}/{name}.json", layout::VOLUMES))
    };
    let all = artifacts.differences.clone();
    artifacts.differences.retain(|found| {
        let at = found.at.first().map_or("", String::as_str);
        if at == layout::CMDLINE {
            let word = found.what.trim_start_matches('`').strip_prefix(PREFIX);
            let name = word.and_then(|word| Some(word.split_once('=')?.0));
            return !name.is_some_and(|name| all.iter().any(|other| of(other, name)));
        }
        let follows = found.cause == Cause::Uuid
            && all
                .iter()
                .any(|other| other.cause != Cause::Uuid && other.at.first() == found.at.first());
        !follows
    });
}

/// The causes that a launch is described by come first, then what it is made of, then what follows.
fn in_order(artifacts: Diff, records: Diff) -> Diff {
    let leads = |found: &Difference| {
        matches!(
            found.cause,
            Cause::Profile | Cause::Vcpus | Cause::Cpu | Cause::Features | Cause::Policy
        )
    };
    let (mut first, rest): (Vec<_>, Vec<_>) = records.differences.into_iter().partition(leads);
    let Diff { differences, more, not_understood, .. } = artifacts;
    first.extend(differences);
    first.extend(rest);
    let mut diff = Diff::default();
    diff.differences = first;
    diff.more = more + records.more;
    diff.not_understood = not_understood;
    diff
}

fn either(name: &str, one: &Side, two: &Side) -> bool {
    one.has(name) || two.has(name)
}

/// Compares a file of both; says whether its bytes differ.
fn file(diff: &mut Diff, name: &str, one: &Side, two: &Side) -> Result<bool, DiffError> {
    let before = diff.differences.len();
    diff.within(name, |diff| match (one.has(name), two.has(name)) {
        (true, true) => {
            let (first, second) =
                (Artifact::open(&one.path(name))?, Artifact::open(&two.path(name))?);
            let compared = match name {
                layout::CMDLINE => first.compare_cmdlines(&second, diff),
                _ => first.compare(&second, diff),
            };
            match compared {
                // What is damaged in one of them is not the same in the other.
                Err(DiffError::Malformed(which, what)) => {
                    diff.differs(Cause::Content, format!("{which} is damaged: {what}"));
                    Ok(())
                }
                other => other,
            }
        }
        (true, false) => {
            diff.differs(Cause::Removed, "is not in the second");
            Ok(())
        }
        (false, true) => {
            diff.differs(Cause::Added, "is not in the first");
            Ok(())
        }
        (false, false) => Ok(()),
    })?;
    Ok(diff.differences.len() > before)
}

fn volumes(
    diff: &mut Diff,
    files: &mut Vec<String>,
    not_compared: &mut Vec<String>,
    one: &Side,
    two: &Side,
) -> Result<(), DiffError> {
    let names = |side: &Side| -> BTreeSet<VolumeName> {
        let manifest = side.manifest.as_ref();
        manifest.into_iter().flat_map(|manifest| manifest.volumes.keys().cloned()).collect()
    };
    for name in names(one).union(&names(two)) {
        let (image, record) = (layout::volume(name), layout::volume_record(name));
        let before = diff.differences.len();
        if one.has(&image) && two.has(&image) {
            if file(diff, &image, one, two)? {
                files.push(image.clone());
            }
            salts(diff, before, (one, two), (&image, &record));
            for difference in &mut diff.differences[before..] {
                attribute(difference, Part::Volumes, Some(name.as_str()), one, two);
            }
        } else if one.has(&image) != two.has(&image) {
            // They need not be in a release; their record says which they are.
            not_compared.push(image.clone());
        }
        if !either(&record, one, two) {
            continue;
        }
        let known = diff.differences.len() > before;
        let mut more = Diff::default();
        if file(&mut more, &record, one, two)? {
            files.push(record.clone());
            if !known {
                records(diff, &record, one, two, more);
            }
        }
    }
    Ok(())
}

/// Volumes of which only the records are there.
fn records(diff: &mut Diff, name: &str, one: &Side, two: &Side, otherwise: Diff) {
    let read = |side: &Side| -> Option<Record> {
        serde_json::from_slice(&bounded::whole(&side.path(name)).ok()?).ok()
    };
    let (Some(first), Some(second)) = (read(one), read(two)) else {
        return diff.differences.extend(otherwise.differences);
    };
    let before = diff.differences.len();
    diff.within(name, |diff| {
        diff.value(
            Cause::Volume,
            "root hash",
            first.verity.root_hash.to_string(),
            second.verity.root_hash.to_string(),
        );
        diff.value(Cause::Volume, "bytes", first.size, second.size);
        diff.value(
            Cause::Salt,
            "salt",
            first.verity.salt.to_string(),
            second.verity.salt.to_string(),
        );
        diff.value(Cause::Uuid, "UUID", first.uuid.to_string(), second.uuid.to_string());
    });
    if diff.differences.len() == before {
        diff.differences.extend(otherwise.differences);
    }
}

/// A tree that differs over the same data is of another salt if the records say so.
fn salts(diff: &mut Diff, from: usize, (one, two): (&Side, &Side), (image, record): (&str, &str)) {
    let read = |side: &Side| -> Option<Record> {
        serde_json::from_slice(&bounded::whole(&side.path(record)).ok()?).ok()
    };
    let (Some(first), Some(second)) = (read(one), read(two)) else { return };
    let (salt, other) = (first.verity.salt.to_string(), second.verity.salt.to_string());
    let of_salt = |found: &Difference| matches!(found.cause, Cause::Salt | Cause::Uuid);
    if salt != other && diff.differences[from..].iter().all(of_salt) {
        diff.differences.truncate(from);
        diff.within(image, |diff| diff.differs(Cause::Salt, format!("salt {salt} → {other}")));
    }
}

/// Names the input that a difference came from, and its version where that is what changed.
fn attribute(
    difference: &mut Difference,
    part: Part,
    volume: Option<&str>,
    one: &Side,
    two: &Side,
) {
    let path = difference.at.iter().skip(1).find(|at| !at.starts_with("archive ")).cloned();
    let origin = match part {
        Part::Initrd | Part::Volumes => path.as_deref().and_then(|path| {
            two.origin(volume, path).or_else(|| one.origin(volume, path)).map(str::to_owned)
        }),
        _ => two.input_of(part).map(ToString::to_string),
    };
    let Some(origin) = origin else { return };
    let is_contents = matches!(
        difference.cause,
        Cause::Content
            | Cause::BuildId
            | Cause::Added
            | Cause::Removed
            | Cause::Firmware
            | Cause::Kernel
            | Cause::KernelTimestamp
            | Cause::Mtime
            | Cause::Signature
            | Cause::Link
            | Cause::Compressor
    );
    if is_contents && let Some((cause, change)) = changed(&origin, one, two) {
        difference.cause = cause;
        difference.what = format!("{change}: {}", difference.what);
    }
    difference.from = Some(origin);
}

/// How the input of this name, or the package of it, changed between two locks.
fn changed(origin: &str, one: &Side, two: &Side) -> Option<(Cause, String)> {
    let (input, package) = match origin.split_once('/') {
        Some((input, package)) => (input, Some(package)),
        None => (origin, None),
    };
    let name: Name = input.parse().ok()?;
    let (first, second) =
        (one.lock.as_ref()?.inputs.get(&name), two.lock.as_ref()?.inputs.get(&name));
    let (first, second) = match (first, second) {
        (Some(first), Some(second)) => (first, second),
        (Some(_), None) => {
            return Some((Cause::Input, format!("input `{name}` is not in the second")));
        }
        (None, Some(_)) => {
            return Some((Cause::Input, format!("input `{name}` is not in the first")));
        }
        (None, None) => return None,
    };
    if first == second {
        return None;
    }
    if let (LockedInput::Deb(packages), LockedInput::Deb(others)) = (first, second) {
        return Some(
            packages_changed(packages, others, package)
                .unwrap_or_else(|| (Cause::Input, format!("other packages of input `{name}`"))),
        );
    }
    Some((Cause::Input, format!("another input `{name}`")))
}

/// The packages whose version changed, of one name or of all.
fn packages_changed(
    one: &[LockedPackage],
    two: &[LockedPackage],
    wanted: Option<&str>,
) -> Option<(Cause, String)> {
    let by_name = |packages: &[LockedPackage]| -> BTreeMap<String, LockedPackage> {
        packages.iter().map(|package| (package.package.clone(), package.clone())).collect()
    };
    let (first, second) = (by_name(one), by_name(two));
    let names: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        match (first.get(name), second.get(name)) {
            (Some(package), Some(other)) if package.sha256 == other.sha256 => {}
            (Some(package), Some(other)) if package.version == other.version => {
                changes.push(format!("package {name} {} of another build", package.version))
            }
            (Some(package), Some(other)) => {
                changes.push(format!("package {name} {} → {}", package.version, other.version));
            }
            (Some(package), None) => {
                changes.push(format!("package {name} {} is not in the second", package.version));
            }
            (None, Some(package)) => {
                changes.push(format!("package {name} {} is not in the first", package.version));
            }
            (None, None) => {}
        }
    }
    let first = changes.first()?.clone();
    let more = match changes.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some((Cause::PackageVersion, format!("{first}{more}")))
}
