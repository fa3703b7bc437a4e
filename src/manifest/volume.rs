//! Disks of a manifest: volumes, which are read-only and whose root hashes stand on the command line, and
//! scratch disks, whose contents nobody else sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::{FileRule, is_default};
use crate::error::Result;
use crate::launch::record::Disclosure;
use crate::names::{GuestPath, Name, VolumeName};
use crate::yaml::{At, Document};

/// A volume: made with the image of the same inputs, or made before and known by its record, or not known
/// at all.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Volume {
    /// Where the guest sees it.
    pub mount: At<GuestPath>,
    /// How much of it is told. What follows from the other fields, unless it is `none`, which nothing else
    /// asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disclosure: Option<Disclosure>,
    /// What is in it, by paths in the volume. Either this or `record`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<At<FileRule>>,
    /// The input that is the record of a volume made before. Its data are not needed to build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<At<Name>>,
    /// What the kernel does when a block is not what it was.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_corruption: OnCorruption,
}

/// An encrypted disk with an empty file system, whose key is made in the guest and stored nowhere.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// Where the guest sees it. It belongs to the program's user.
    pub mount: At<GuestPath>,
}

/// What the kernel does when a block of a volume is not what its root hash says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCorruption {
    /// It panics.
    #[default]
    Panic,
    /// It restarts the machine.
    Restart,
}

impl Volume {
    /// Whether nothing is known of its bytes, and the host can choose them.
    pub fn is_unverified(&self) -> bool {
        self.disclosure == Some(Disclosure::None)
    }

    /// The inputs that it is made of.
    pub fn inputs(&self) -> impl Iterator<Item = &At<Name>> {
        let files = self.files.iter().filter_map(|rule| rule.value.from.as_ref());
        files.chain(&self.record)
    }
}

/// Checks what can be known of disks without their inputs. `mounted` is what PID 1 mounts itself.
pub(super) fn check(
    document: Document<'_>,
    volumes: &BTreeMap<VolumeName, Volume>,
    scratch: &BTreeMap<VolumeName, Scratch>,
    mounted: &[&str],
) -> Result<()> {
    for (name, volume) in volumes {
        check_disclosure(document, name, volume)?;
        if let Some(Scratch { mount }) = scratch.get(name) {
            return Err(document
                .error_at(mount.position, format!("`{name}` is a volume and a scratch disk"))
                .hint("a disk is found by its name: give each its own"));
        }
    }
    let volumes = volumes.iter().map(|(name, volume)| ("volume", name, &volume.mount));
    let scratch = scratch.iter().map(|(name, scratch)| ("scratch disk", name, &scratch.mount));
    let mut taken: Vec<&str> = Vec::new();
    for (kind, name, mount) in volumes.chain(scratch) {
        let wrong = |message: &str| {
            Err(document.error_at(mount.position, format!("{kind} `{name}`: {message}")))
        };
        let path = mount.value.as_str();
        let within = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if path == "/" || mounted.iter().any(|mount| within(mount, path)) {
            return wrong("a disk is not mounted on the root or where PID 1 mounts a file system");
        }
        let clash = |other: &&&str| within(other, path) || within(path, other);
        if let Some(other) = taken.iter().find(clash) {
            return wrong(&format!("`{path}` and `{other}` hide one another"));
        }
        taken.push(path);
    }
    Ok(())
}

/// What is said of a volume, and what is told of it.
fn check_disclosure(document: Document<'_>, name: &VolumeName, volume: &Volume) -> Result<()> {
    let Volume { mount, disclosure, files, record, on_corruption } = volume;
    let wrong = |message: &str, hint: &str| {
        let message = format!("volume `{name}`: {message}");
        Err(document.error_at(mount.position, message).hint(hint))
    };
    match (files.is_empty(), record, disclosure) {
        (true, None, Some(Disclosure::None)) if is_default(on_corruption) => Ok(()),
        (_, _, Some(Disclosure::None)) => wrong(
            "with `disclosure: none` nothing is known of it, and nothing checked",
            "leave out `files`, `record` and `on-corruption`, or the disclosure",
        ),
        (false, None, Some(Disclosure::Committed)) => wrong(
            "the lock of a volume that is made of inputs tells their digests, so it is not committed",
            "make it before, with `counterfoil volume build --committed`, and name its `record`",
        ),
        (true, Some(_), _) | (false, None, _) => Ok(()),
        _ => wrong(
            "either `files` (it is made with the image) or `record` (it was made before)",
            "weights that nothing binds must be asked for by name: `disclosure: none`",
        ),
    }
}
