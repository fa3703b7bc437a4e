//! What a rebuilder found, as it is kept with a release and published. It says who found it and with what
//! program, and nothing of the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::diff::Difference;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::layout;
use crate::names::{Name, VolumeName};
use crate::whole;

/// The version of a verdict's form.
pub const VERSION: u32 = 1;

/// What a rebuilder found. The order of the fields is the order in the file.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// [`VERSION`].
    pub version: u32,
    /// The program that rebuilt, and its version.
    pub tool: String,
    /// Who rebuilt, as they call themselves.
    pub rebuilder: Name,
    /// Which release.
    pub release: Identity,
    /// The answer.
    pub verdict: Answer,
    /// The answer in a sentence.
    pub sentence: String,
    /// Whether everything is the same that a launch digest covers or a launch is described by; missing
    /// where nothing could be rebuilt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<bool>,
    /// The files that have other bytes.
    pub files: Vec<String>,
    /// The first cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Difference>,
    /// What is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Files that were not compared: texts in the words of another version of the program, and volumes whose
    /// data the release leaves out.
    pub not_compared: Vec<String>,
    /// Files that are no part of a release.
    pub extra: Vec<String>,
    /// Volumes that were not made again, since their contents are not in the release.
    pub not_rebuilt: Vec<VolumeName>,
    /// Programs of the guest that the lock names and the rebuilder's program does not carry.
    pub other_programs: Vec<Name>,
}

/// A release by what it was made from and what it says of itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// SHA-256 of `manifest.yaml`.
    pub manifest: Sha256,
    /// SHA-256 of `lock.yaml`.
    pub lock: Sha256,
    /// SHA-256 of `launch.json`.
    pub record: Sha256,
}

/// One of three.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Every byte is the same.
    Reproduced,
    /// Something is not.
    Differs,
    /// Something is missing that a rebuild needs.
    CannotReproduce,
}

impl Identity {
    /// Of the release at `root`.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn of(root: &Path) -> Result<Self> {
        let digest = |name: &str| Ok::<_, Error>(Sha256::of(bounded::whole(&root.join(name))?));
        Ok(Self {
            manifest: digest(layout::MANIFEST)?,
            lock: digest(layout::LOCK)?,
            record: digest(layout::RECORD)?,
        })
    }
}

impl Verdict {
    /// The verdict as it stands in its file.
    ///
    /// # Errors
    /// None that a verdict can cause.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Puts it into the release at `root`, in the place of an earlier one of the same rebuilder.
    ///
    /// # Errors
    /// [`Kind::Rejected`] when the place leads out of the release; [`Kind::Environment`] when it cannot be
    /// written.
    pub fn keep(&self, root: &Path) -> Result<PathBuf> {
        let directory = rebuilds(root)?;
        let failed = || format!("failed writing to `{}`", directory.display());
        let path = directory.join(format!("{}.json", self.rebuilder));
        let json = self.to_json().context(Kind::Environment, failed)?;
        whole::write(&path, &json)?;
        Ok(path)
    }
}

/// The directory of rebuilders' words in the release at `root`, which is made if it is not there.
///
/// # Errors
/// [`Kind::Rejected`] when the place leads out of the release; [`Kind::Environment`] when it cannot be made.
pub fn rebuilds(root: &Path) -> Result<PathBuf> {
    let directory = root.join(layout::REBUILDS);
    let failed = || format!("failed writing to `{}`", directory.display());
    match fs::symlink_metadata(&directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let message = format!("`{}` is not a directory", directory.display());
            return Err(Error::new(Kind::Rejected, message)
                .hint("a release has one there; nothing was written"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir(&directory).context(Kind::Environment, failed)?;
        }
        Err(error) => return Err(error).context(Kind::Environment, failed),
    }
    Ok(directory)
}
