//! Reading a release back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Object;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::{bounded, store};
use crate::launch::igvm::IgvmRecord;
use crate::launch::igvm::record::{IgvmRecordError, PROFILE};
use crate::launch::record::{Blob, RecordError};
use crate::launch::{Igvm, Record};
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
    /// The record of its IGVM file, if it has one.
    pub igvm: Option<IgvmRecord>,
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
        let record = read_record(&path)?;
        Ok(Self { root: root.to_owned(), igvm: read_igvm_record(root, &record)?, record })
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
        match &self.igvm {
            Some(igvm) => {
                self.check(layout::IGVM, igvm.file)?;
                self.check_igvm(igvm)
            }
            None => Ok(()),
        }
    }

    /// Measures the IGVM file.
    fn check_igvm(&self, record: &IgvmRecord) -> Result<()> {
        let path = self.path(layout::IGVM);
        let named = || format!("`{}`", path.display());
        let file = fs::read(&path).context(Kind::Environment, named)?;
        let igvm = Igvm::parse(file).context(Kind::Malformed, named)?;
        let found = igvm.digest(PROFILE).context(Kind::Malformed, named)?;
        if found == record.digest && igvm.policy() == Some(record.policy) {
            return Ok(());
        }
        let message = format!(
            "{} is not what its record says: the record has the digest {}, the file {found}",
            named(),
            record.digest
        );
        Err(Error::new(Kind::Rejected, message).hint("build the release again, or fetch it again"))
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

/// The record of the IGVM file, which must be of the same firmware, kernel, initrd and command line.
fn read_igvm_record(root: &Path, launch: &Record) -> Result<Option<IgvmRecord>> {
    let path = root.join(layout::IGVM_RECORD);
    let failed = || format!("failed reading `{}`", path.display());
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(Kind::Environment, failed),
    };
    let record = IgvmRecord::from_json(&json).map_err(|error| {
        let kind = match &error {
            IgvmRecordError::Digest { .. } => Kind::Rejected,
            IgvmRecordError::Version { .. } => Kind::CannotDecide,
            _ => Kind::Malformed,
        };
        Error::caused(kind, format!("`{}` does not hold", path.display()), error)
    })?;
    if record.firmware == launch.firmware.sha256 && launch.boot.as_ref() == Some(&record.boot) {
        return Ok(Some(record));
    }
    let message = format!("`{}` is of another image than `{}`", path.display(), layout::RECORD);
    Err(Error::new(Kind::Rejected, message).hint("build the release again, or fetch it again"))
}

/// Reads a launch record and checks it whole.
///
/// # Errors
/// [`Kind::Malformed`] when it is none; [`Kind::Rejected`] when a digest in it is wrong.
pub fn read_record(path: &Path) -> Result<Record> {
    let bytes = bounded::whole(path)?;
    Record::from_json(&bytes).map_err(|error| {
        let kind = match &error {
            RecordError::Digest { .. } => Kind::Rejected,
            RecordError::Version { .. } | RecordError::Epoch { .. } => Kind::CannotDecide,
            _ => Kind::Malformed,
        };
        Error::caused(kind, format!("the launch record `{}` does not hold", path.display()), error)
    })
}
