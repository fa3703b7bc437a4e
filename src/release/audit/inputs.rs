//! Where an image's bytes come from: what is not pinned, what others cannot have, and what nobody can
//! make again.

use std::collections::BTreeSet;

use super::{Found, LockState, Subject};
use crate::guest;
use crate::manifest::lock::LockedInput;
use crate::manifest::types::Source;
use crate::manifest::{Lock, Manifest};
use crate::names::Name;

pub(super) fn audit(subject: &Subject<'_>, found: &mut Found) {
    let manifest = subject.manifest;
    let lock = match subject.lock {
        LockState::Missing => {
            let unpinned = manifest.inputs.iter().filter(|(_, source)| !pins_itself(source));
            found.add_all("input-unlocked", unpinned.map(|(name, _)| input(name)));
            found.add("input-unlocked", "PID 1");
            None
        }
        LockState::OfAnother(lock) => {
            found.add("input-unlocked", "the lock is of another manifest");
            let fits = |name: &Name, source: &Source| is_locked(name, source, lock);
            let unlocked = manifest.inputs.iter().filter(|(name, source)| !fits(name, source));
            found.add_all("input-unlocked", unlocked.map(|(name, _)| input(name)));
            Some(lock)
        }
        LockState::Fits(lock) => {
            let wrong =
                manifest.inputs.iter().filter(|(name, source)| !is_locked(name, source, lock));
            found.add_all("input-unlocked", wrong.map(|(name, _)| input(name)));
            Some(lock)
        }
    };
    provenance(manifest, found);
    if let Some(lock) = lock {
        archives(lock, found);
        builtins(lock, found);
    }
}

/// Programs that go by the name of ours. PID 1 is told by its bytes where they are there.
fn builtins(lock: &Lock, found: &mut Found) {
    let others = lock.builtin.iter().filter(|(name, object)| {
        name.as_str() != "init" && guest::program_with(name.as_str(), object.sha256).is_none()
    });
    found.add_all("builtin-unknown", others.map(|(name, _)| format!("program `{name}`")));
}

/// Whether the lock has this very input, and of the same kind.
fn is_locked(name: &Name, source: &Source, lock: &Lock) -> bool {
    let same_kind = matches!(
        (source, lock.inputs.get(name)),
        (Source::Deb(_), Some(LockedInput::Deb(_)))
            | (Source::Source(_), Some(LockedInput::Source(_)))
            | (Source::File(_), Some(LockedInput::File(_)))
            | (Source::Dir(_), Some(LockedInput::Dir(_)))
            | (Source::Url(_), Some(LockedInput::Url(_)))
            | (Source::Tar(_), Some(LockedInput::Tar(_)))
            | (Source::Sdist(_), Some(LockedInput::Sdist(_)))
            | (Source::Builtin(_), Some(LockedInput::Builtin(_)))
            | (Source::Build(_), Some(LockedInput::Build(_)))
    );
    same_kind && lock.sources.get(name) == Some(&source.digest())
}

/// Whether the manifest alone says which bytes it is.
fn pins_itself(source: &Source) -> bool {
    match source {
        Source::Url(_) | Source::Sdist(_) => true,
        Source::Tar(tar) => tar.sha256.is_some(),
        _ => false,
    }
}

/// On whose word bytes are taken, and whether others can get them.
fn provenance(manifest: &Manifest, found: &mut Found) {
    for name in in_image(manifest) {
        match manifest.inputs.get(name) {
            Some(Source::Deb(_)) => found.add("input-vendor-build", of(name, manifest)),
            Some(
                Source::File(_)
                | Source::Dir(_)
                | Source::Url(_)
                | Source::Tar(_)
                | Source::Sdist(_),
            ) => found.add("input-not-rebuildable", of(name, manifest)),
            Some(Source::Source(_) | Source::Builtin(_) | Source::Build(_) | Source::Recipe(_))
            | None => {}
        }
    }
    // The tools of rooms come from a vendor, too.
    let rooms = manifest.builds().into_iter().flat_map(|(_, build)| &build.room);
    for name in rooms.map(|from| &from.value) {
        if matches!(manifest.inputs.get(name), Some(Source::Deb(_))) {
            found.add("input-vendor-build", format!("{} (tools to compile with)", input(name)));
        }
    }
    for (name, source) in &manifest.inputs {
        let is_here = |url: &str| url.starts_with("file:");
        let local = match source {
            Source::File(_) | Source::Dir(_) => true,
            Source::Url(url) => is_here(url.url.as_str()),
            Source::Tar(tar) => {
                tar.file.is_some() || tar.url.as_ref().is_some_and(|url| is_here(url.as_str()))
            }
            _ => false,
        };
        if local {
            found.add("input-local-file", input(name));
        }
    }
}

/// The inputs whose bytes are in the image; a kernel's configuration and a volume's record are not.
fn in_image(manifest: &Manifest) -> BTreeSet<&Name> {
    let rules = manifest.volumes.values().flat_map(|volume| &volume.files);
    let rules = rules.map(|rule| &rule.value).chain(&manifest.files);
    let files = rules.filter_map(|rule| rule.from.as_ref()).map(|from| &from.value);
    files.chain([&manifest.firmware.from.value, &manifest.kernel.from.value]).collect()
}

fn archives(lock: &Lock, found: &mut Found) {
    for (suite, archive) in &lock.archives {
        let subject = || format!("`{suite}` of {}", archive.date);
        if archive.expired {
            found.add("input-expired-archive", subject());
        }
        if archive.signed_by.is_empty() {
            found.add("input-unsigned-archive", subject());
        }
    }
    for (name, locked) in &lock.inputs {
        let suites: BTreeSet<_> = match locked {
            LockedInput::Deb(packages) => packages.iter().map(|package| &package.suite).collect(),
            LockedInput::Source(source) => BTreeSet::from([&source.suite]),
            _ => BTreeSet::new(),
        };
        if suites.into_iter().any(|suite| !lock.archives.contains_key(suite)) {
            found.add("input-unsigned-archive", input(name));
        }
    }
}

fn input(name: &Name) -> String {
    format!("input `{name}`")
}

/// ``input `kernel` (initrd, kernel)``.
fn of(name: &Name, manifest: &Manifest) -> String {
    format!("{} ({})", input(name), manifest.measured_by(name).join(", "))
}
