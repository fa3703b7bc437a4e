//! What is not the same in two releases: first what is measured, by what it is made of and not by what the
//! records say, and where nothing of that differs, the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use counterfoil_init::volume::PREFIX;

use crate::diff::{Artifact, Cause, Diff, DiffError, Difference, Part};
use crate::error::{Error, Kind, Result};
use crate::input::bounded;
use crate::manifest::load::Loaded;
use crate::manifest::lock::{LockedInput, LockedPackage};
use crate::manifest::{Lock, Manifest};
use crate::names::{Name, VolumeName};
use crate::release::inventory::{Inventory, Item};
use crate::release::layout;
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

/// The two levels on which releases are compared.
#[derive(Debug)]
pub struct Compared {
    /// What differs, the cause first.
    pub diff: Diff,
    /// Whether everything is the same that a launch digest covers, or a launch is described by.
    pub measured: bool,
    /// The files that have other bytes, for whatever reason.
    pub files: Vec<String>,
}

/// A release as far as it can be read.
struct Side {
    root: PathBuf,
    manifest: Option<Manifest>,
    lock: Option<Lock>,
    inventory: Option<Inventory>,
}

impl Side {
    fn read(root: &Path) -> Self {
        let parsed = |name: &str| bounded::whole(&root.join(name)).ok();
        Self {
            root: root.to_owned(),
            manifest: Loaded::read(&root.join(layout::MANIFEST)).ok().map(|loaded| loaded.manifest),
            lock: Lock::read(&root.join(layout::LOCK)).ok().flatten(),
            inventory: parsed(layout::INVENTORY)
                .and_then(|json| serde_json::from_slice(&json).ok()),
        }
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
    for root in [one, two] {
        if !root.join(layout::RECORD).is_file() {
            let message = format!("`{}` is not a release: it has no `launch.json`", root.display());
            return Err(Error::new(Kind::CannotDecide, message)
                .hint("releases are compared with releases, and files with files"));
        }
    }
    let (first, second) = (Side::read(one), Side::read(two));
    let failed = |error: DiffError| {
        let kind = match &error {
            DiffError::Read(..) => Kind::Environment,
            DiffError::Malformed(..) => Kind::Malformed,
        };
        Error::caused(kind, "the releases cannot be compared", error)
    };
    let mut files = Vec::new();
    let mut artifacts = Diff::default();
    let mut known = Vec::new();
    for (name, part) in MEASURED {
        let before = artifacts.differences.len();
        if file(&mut artifacts, name, &first, &second).map_err(failed)? {
            files.push(name.to_owned());
            known.push(part);
        }
        for difference in &mut artifacts.differences[before..] {
            attribute(difference, part, None, &first, &second);
        }
    }
    let before = files.len();
    volumes(&mut artifacts, &mut files, &first, &second).map_err(failed)?;
    if files.len() > before {
        known.push(Part::Volumes);
    }
    without_consequences(&mut artifacts);
    let mut records = Diff::default();
    let open = |side: &Side| Artifact::open(&side.path(layout::RECORD));
    let (record, other) = (open(&first).map_err(failed)?, open(&second).map_err(failed)?);
    let same = record.read().map_err(failed)? == other.read().map_err(failed)?;
    if !same {
        files.push(layout::RECORD.to_owned());
        records
            .within(layout::RECORD, |diff| record.compare_records(&other, &known, diff))
            .map_err(failed)?;
    }
    let mut diff = in_order(artifacts, records);
    let is_measured = |found: &Difference| !matches!(found.cause, Cause::Tool | Cause::Document);
    let mut measured = !diff.differences.iter().any(is_measured);
    for name in [layout::IGVM, layout::IGVM_RECORD] {
        let mut more = Diff::default();
        if !either(name, &first, &second)
            || !file(&mut more, name, &first, &second).map_err(failed)?
        {
            continue;
        }
        files.push(name.to_owned());
        // It is put together from what was compared already.
        if measured {
            measured = false;
            diff.differences.extend(more.differences);
        }
    }
    for name in DOCUMENTS {
        let mut more = Diff::default();
        if !either(name, &first, &second)
            || !file(&mut more, name, &first, &second).map_err(failed)?
        {
            continue;
        }
        files.push(name.to_owned());
        if diff.is_same() || (measured && diff.differences.iter().all(|it| it.cause == Cause::Tool))
        {
            let documents = more
                .differences
                .into_iter()
                .map(|found| Difference { cause: Cause::Document, ..found });
            diff.differences.extend(documents);
        }
    }
    diff.causes_first();
    // A record may have other bytes that mean the same.
    if diff.is_same() && !same {
        let mut more = Diff::default();
        file(&mut more, layout::RECORD, &first, &second).map_err(failed)?;
        diff.differences.extend(more.differences);
    }
    Ok(Compared { diff, measured, files })
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
            if name == layout::CMDLINE {
                return first.compare_cmdlines(&second, diff);
            }
            first.compare(&second, diff)
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
            one.origin(volume, path).or_else(|| two.origin(volume, path)).map(str::to_owned)
        }),
        _ => one.input_of(part).map(ToString::to_string),
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
