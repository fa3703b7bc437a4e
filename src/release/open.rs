//! Reading a release back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::digest::Object;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::store;
use crate::launch::Record;
use crate::launch::record::{Blob, RecordError};
use crate::manifest::Manifest;
use crate::manifest::load::Loaded;
use crate::release::layout;

/// A release directory whose launch record holds together.
#[derive(Debug)]
pub struct Release {
    /// Where it is.
    pub root: PathBuf,
    /// Its launch record, every digest of it computed anew.
    pub record: Record,
}

impl Release {
    /// Opens the release at `root`.
    ///
    /// # Errors
    /// When it is none, or its launch record is damaged or contradicts itself.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join(layout::RECORD);
        if !path.is_file() {
            let message = format!("`{}` is not a release: it has no `launch.json`", root.display());
            return Err(Error::new(Kind::CannotDecide, message)
                .hint("make one with `counterfoil build MANIFEST`"));
        }
        Ok(Self { root: root.to_owned(), record: read_record(&path)? })
    }

    /// The manifest that it was made from.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn manifest(&self) -> Result<Manifest> {
        Ok(Loaded::read(&self.root.join(layout::MANIFEST))?.manifest)
    }

    /// The path of one of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Checks that the artifacts are those of the launch record.
    ///
    /// # Errors
    /// [`Kind::Rejected`] naming the first that is not.
    pub fn check_artifacts(&self) -> Result<()> {
        let record = &self.record;
        let firmware = Blob { sha256: record.firmware.sha256, size: record.firmware.size.into() };
        self.check(layout::FIRMWARE, firmware)?;
        if let Some(boot) = &record.boot {
            self.check(layout::KERNEL, boot.kernel)?;
            if let Some(initrd) = boot.initrd {
                self.check(layout::INITRD, initrd)?;
            }
            self.check(layout::CMDLINE, Blob::of(boot.cmdline.as_bytes()))?;
        }
        Ok(())
    }

    fn check(&self, name: &str, expected: Blob) -> Result<()> {
        let path = self.path(name);
        let failed = || format!("failed reading `{}`", path.display());
        let file = File::open(&path).context(Kind::CannotDecide, failed)?;
        let found = store::digest(file).context(Kind::Environment, failed)?;
        if found == (Object { sha256: expected.sha256, size: expected.size }) {
            return Ok(());
        }
        let message = format!(
            "`{}` is not what was measured: the launch record says sha256 {}, found {}",
            path.display(),
            expected.sha256,
            found.sha256
        );
        Err(Error::new(Kind::Rejected, message).hint("build the release again, or fetch it again"))
    }
}

/// Reads a launch record and checks it whole.
///
/// # Errors
/// [`Kind::Malformed`] when it is none; [`Kind::Rejected`] when a digest in it is wrong.
pub fn read_record(path: &Path) -> Result<Record> {
    let bytes = fs::read(path)
        .context(Kind::Environment, || format!("failed reading `{}`", path.display()))?;
    Record::from_json(&bytes).map_err(|error| {
        let kind = match &error {
            RecordError::Digest { .. } => Kind::Rejected,
            RecordError::Version { .. } | RecordError::Epoch { .. } => Kind::CannotDecide,
            _ => Kind::Malformed,
        };
        Error::caused(kind, format!("the launch record `{}` does not hold", path.display()), error)
    })
}
