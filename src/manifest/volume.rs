//! Volumes of a manifest: read-only disks whose root hashes stand on the command line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::{FileRule, is_default};
use super::yaml::{At, Document};
use crate::error::Result;
use crate::names::{GuestPath, Name, VolumeName};

/// A volume: made with the image of the same inputs, or made before and known by its record.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Volume {
    /// Where the guest sees it.
    pub mount: At<GuestPath>,
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
    /// The inputs that it is made of.
    pub fn inputs(&self) -> impl Iterator<Item = &At<Name>> {
        let files = self.files.iter().filter_map(|rule| rule.value.from.as_ref());
        files.chain(&self.record)
    }
}

/// Checks what can be known of volumes without their inputs. `mounted` is what PID 1 mounts itself.
pub(super) fn check(
    document: Document<'_>,
    volumes: &BTreeMap<VolumeName, Volume>,
    mounted: &[&str],
) -> Result<()> {
    let mut taken: Vec<&str> = Vec::new();
    for (name, Volume { mount, files, record, .. }) in volumes {
        let wrong = |message: &str| {
            Err(document.error_at(mount.position, format!("volume `{name}`: {message}")))
        };
        match (files.is_empty(), record) {
            (true, Some(_)) | (false, None) => {}
            _ => {
                return wrong(
                    "either `files` (it is made with the image) or `record` (it was made before)",
                );
            }
        }
        let path = mount.value.as_str();
        let within = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if path == "/" || mounted.iter().any(|mount| within(mount, path)) {
            return wrong(
                "a volume is not mounted on the root or where PID 1 mounts a file system",
            );
        }
        let clash = |other: &&&str| within(other, path) || within(path, other);
        if let Some(other) = taken.iter().find(clash) {
            return wrong(&format!("`{path}` and `{other}` hide one another"));
        }
        taken.push(path);
    }
    Ok(())
}
