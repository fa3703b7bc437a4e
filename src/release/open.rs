//! Reading a release back.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use crate::digest::{Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::{bounded, store};
use crate::launch::Record;
use crate::launch::igvm::IgvmRecord;
use crate::launch::igvm::record::IgvmRecordError;
use crate::launch::record::{Blob, FirmwareRecord, RecordError};
use crate::layout;
use crate::manifest::load::Loaded;
use crate::manifest::{Lock, Manifest};
use crate::release::inventory::{self, Inventory};
use crate::release::{measure, sbom, volumes};

/// What to do about a file that is not of its release.
const AGAIN: &str = "build the release again, or fetch it again";

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
        check_regular(root)?;
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

    /// Checks that the artifacts are those of the launch record, and that the other files belong to it.
    ///
    /// # Errors
    /// [`Kind::Rejected`] naming the first that is not.
    pub fn check_artifacts(&self) -> Result<()> {
        let image = self.check_image()?;
        let manifest = self.manifest()?;
        volumes::check(&self.root, &manifest, &self.record)?;
        self.check_igvm(manifest.launch.igvm.is_some(), &image)?;
        self.check_bill(&manifest)
    }

    /// Checks that what is launched is what the launch record is of, and returns the firmware.
    ///
    /// # Errors
    /// [`Kind::Rejected`] naming the first that is not.
    pub fn check_image(&self) -> Result<Vec<u8>> {
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
        self.check_firmware()
    }

    /// The lock that it was made from.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.path(layout::LOCK);
        Lock::read(&path)?.ok_or_else(|| missing(&path))
    }

    /// The inventory, as it says of itself; [`contents`](crate::release::contents) holds it against the
    /// artifacts.
    ///
    /// # Errors
    /// When it is missing, or is none.
    pub fn inventory(&self) -> Result<Inventory> {
        let path = self.path(layout::INVENTORY);
        let named = || format!("`{}`", path.display());
        let json = self.read(layout::INVENTORY)?;
        let inventory: Inventory = serde_json::from_slice(&json).context(Kind::Malformed, named)?;
        if inventory.version != inventory::VERSION {
            let message = format!("{}: version {} is not known", named(), inventory.version);
            return Err(Error::new(Kind::CannotDecide, message));
        }
        match inventory.to_json().is_ok_and(|again| again == json) {
            true => Ok(inventory),
            false => Err(Error::new(Kind::Malformed, format!("{} is not as we write it", named()))),
        }
    }

    /// Writes the bill of materials again from the other files, and compares. So it also binds manifest,
    /// lock and inventory to the launch record beside them, as whoever made the release had them.
    fn check_bill(&self, manifest: &Manifest) -> Result<()> {
        let (lock, inventory) = (self.lock()?, self.inventory()?);
        for (name, text) in
            [(layout::MANIFEST, manifest.canonical()), (layout::LOCK, lock.canonical())]
        {
            if self.read(name)? != text.as_bytes() {
                let message =
                    format!("`{}` is not as a build writes it", self.path(name).display());
                return Err(Error::new(Kind::Rejected, message).hint(AGAIN));
            }
        }
        let parts = sbom::Parts {
            manifest,
            lock: &lock,
            inventory: &inventory,
            inventory_sha256: Sha256::of(self.read(layout::INVENTORY)?),
            record: &self.record,
            record_sha256: Sha256::of(self.read(layout::RECORD)?),
            igvm: self.igvm.as_ref(),
        };
        let bill = sbom::write(&parts)
            .context(Kind::Environment, || "the bill of materials".to_owned())?;
        let found = self.read(layout::SBOM)?;
        if found == bill {
            return Ok(());
        }
        let path = self.path(layout::SBOM);
        let epoch = format!("\"{}\"", sbom::EPOCH);
        if !String::from_utf8_lossy(&found).contains(&epoch) {
            let message = format!("`{}` is not of `{}`", path.display(), sbom::EPOCH);
            return Err(Error::new(Kind::CannotDecide, message).hint(AGAIN));
        }
        let message = format!(
            "`{}` is not of the manifest, lock, inventory and launch record beside it",
            path.display()
        );
        Err(Error::new(Kind::Rejected, message).hint(AGAIN))
    }

    /// One of its files, whole.
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name);
        match path.exists() {
            true => bounded::whole(&path),
            false => Err(missing(&path)),
        }
    }

    /// The record must have of the firmware what is in it; what comes back is its image.
    fn check_firmware(&self) -> Result<Vec<u8>> {
        let path = self.path(layout::FIRMWARE);
        let image = bounded::whole(&path)?;
        let found = FirmwareRecord::of(&image)
            .context(Kind::Malformed, || format!("`{}`", path.display()))?;
        if found == self.record.firmware {
            return Ok(image);
        }
        let message = format!(
            "the launch record says of `{}` what is not so: its digest, its sections or what its modules do",
            path.display()
        );
        Err(Error::new(Kind::Rejected, message).hint(AGAIN))
    }

    /// Writes the IGVM file again, to nowhere, from the artifacts that were checked, and compares.
    fn check_igvm(&self, asked: bool, firmware: &[u8]) -> Result<()> {
        let path = self.path(layout::IGVM_RECORD);
        let igvm = match (&self.igvm, asked) {
            (Some(igvm), true) => igvm,
            (None, false) => return Ok(()),
            (None, true) => {
                let message = format!(
                    "`{}` is missing, and the manifest asks for an IGVM file",
                    path.display()
                );
                return Err(Error::new(Kind::CannotDecide, message).hint(AGAIN));
            }
            (Some(_), false) => {
                let message = format!(
                    "`{}` is of an IGVM file that the manifest does not ask for",
                    path.display()
                );
                return Err(Error::new(Kind::Rejected, message));
            }
        };
        self.check_as(layout::IGVM, igvm.file, layout::IGVM_RECORD)?;
        let failed = || format!("failed reading `{}`", self.path(layout::INITRD).display());
        let initrd = File::open(self.path(layout::INITRD)).context(Kind::Environment, failed)?;
        let size = initrd.metadata().context(Kind::Environment, failed)?.len();
        let parts = measure::IgvmParts {
            firmware,
            kernel: &bounded::whole(&self.path(layout::KERNEL))?,
            record: &self.record,
            vcpus: igvm.vcpus,
            features: igvm.sev_features,
        };
        let initrd = (&mut BufReader::new(initrd) as &mut dyn io::Read, size);
        let again = measure::igvm(&parts, initrd, io::sink())?;
        // Which program wrote it is its own to say.
        let again = IgvmRecord { tool: igvm.tool.clone(), ..again };
        if again == *igvm {
            return Ok(());
        }
        let message = format!(
            "`{}` is not of the firmware, kernel, initrd and command line beside it",
            path.display()
        );
        Err(Error::new(Kind::Rejected, message).hint(AGAIN))
    }

    fn check(&self, name: &str, expected: Blob) -> Result<()> {
        self.check_as(name, expected, layout::RECORD)
    }

    /// Holds a file against what the record of this name says of it.
    fn check_as(&self, name: &str, expected: Blob, by: &str) -> Result<()> {
        let path = self.path(name);
        let failed = || format!("failed reading `{}`", path.display());
        let file = File::open(&path).context(Kind::CannotDecide, failed)?;
        let found = store::digest(file).context(Kind::Environment, failed)?;
        if found == (Object { sha256: expected.sha256, size: expected.size }) {
            return Ok(());
        }
        let message = format!(
            "`{}` is not what was measured: `{by}` says sha256 {} and {} bytes, found {} and {}",
            path.display(),
            expected.sha256,
            expected.size,
            found.sha256,
            found.size
        );
        Err(Error::new(Kind::Rejected, message).hint(AGAIN))
    }
}

fn missing(path: &Path) -> Error {
    let message = format!("`{}` is missing", path.display());
    Error::new(Kind::CannotDecide, message).hint(AGAIN)
}

/// The record of the IGVM file, which must be of the same firmware, kernel, initrd and command line.
fn read_igvm_record(root: &Path, launch: &Record) -> Result<Option<IgvmRecord>> {
    let path = root.join(layout::IGVM_RECORD);
    if !path.exists() {
        return Ok(None);
    }
    let json = bounded::whole(&path)?;
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
    Err(Error::new(Kind::Rejected, message).hint(AGAIN))
}

/// Refuses a release in which something else stands where a file of it should: a link leads out of it, and
/// a pipe would be waited for.
///
/// # Errors
/// [`Kind::Malformed`] naming the first.
pub(super) fn check_regular(root: &Path) -> Result<()> {
    let volumes = walkdir::WalkDir::new(root.join(layout::VOLUMES)).min_depth(1).max_depth(1);
    let volumes = volumes.into_iter().flatten().map(|entry| entry.path().to_owned());
    let named = layout::ALL.iter().chain(&layout::IF_ASKED).chain(&layout::PUBLISHED);
    let named = named.map(|name| root.join(name));
    for path in named.chain(volumes) {
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            let message = format!("`{}` is not a regular file", path.display());
            return Err(Error::new(Kind::Malformed, message).hint(
                "a release holds files and no links; \
                 `run --volume NAME=FILE` takes a volume's data from elsewhere",
            ));
        }
    }
    Ok(())
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
