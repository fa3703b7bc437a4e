//! What is measured: a firmware and what it boots, as far as a digest goes, and the launches of it.

use std::path::Path;

use crate::digest::Sha384;
use crate::error::{Context as _, Error, Kind, Result};
use crate::launch::igvm::IgvmRecord;
use crate::launch::record::RecordError;
use crate::launch::{Cpu, Firmware, HashTable, Launch, Profile, Record, Set, SevFeatures};
use crate::release::measure::warnings;
use crate::release::open::{Release, read_record};

pub(in crate::cli) struct Subject {
    pub(in crate::cli) profile: &'static Profile,
    pub(in crate::cli) firmware: Firmware,
    /// The digest after the firmware's pages.
    pub(in crate::cli) image: Sha384,
    /// The image, where a trace asks for its pages.
    pub(in crate::cli) pages: Option<Vec<u8>>,
    /// `None` is `kernel-hashes=off`.
    pub(in crate::cli) hashes: Option<HashTable>,
    pub(in crate::cli) set: Set,
    /// What all of it was read from, if it was.
    pub(in crate::cli) record: Option<Record>,
    /// The IGVM file beside it, measured anew.
    pub(in crate::cli) igvm: Option<IgvmRecord>,
    /// What nobody who takes these digests may overlook.
    pub(in crate::cli) warnings: Vec<String>,
}

impl Subject {
    pub(in crate::cli) fn of_release(root: &Path) -> Result<Self> {
        let release = Release::open(root)?;
        release.check_artifacts()?;
        let subject = Self::new(release.record)
            .context(Kind::Malformed, || "the launch record".to_owned())?;
        Ok(Self { igvm: release.igvm, ..subject })
    }

    pub(in crate::cli) fn of_record(path: &Path) -> Result<Self> {
        Self::new(read_record(path)?).context(Kind::Malformed, || "the launch record".to_owned())
    }

    fn new(record: Record) -> Result<Self, RecordError> {
        Ok(Self {
            warnings: warnings(&record),
            profile: Profile::by_id(&record.profile)?,
            firmware: record.firmware.layout()?,
            image: record.firmware.digest,
            pages: None,
            hashes: record.boot.as_ref().map(|boot| boot.hashes()).transpose()?,
            set: record.set()?,
            record: Some(record),
            igvm: None,
        })
    }

    pub(in crate::cli) fn launch(&self) -> Result<Launch> {
        Launch::new(self.profile, &self.firmware, self.image, self.hashes.as_ref())
            .context(Kind::Malformed, || {
                "the firmware cannot be measured with what it boots".to_owned()
            })
    }

    /// Adds what these parameters mean, whatever was measured with them.
    pub(super) fn warn_about_parameters(&mut self) {
        if let Some(features) = self.set.features().iter().find(|features| features.0 & 1 == 0) {
            self.warnings.push(format!(
                "SEV_FEATURES {features} lack bit 0, SNP_ACTIVE: no SNP guest starts with them"
            ));
        }
        let unbound = self.record.as_ref().is_some_and(|record| record.boot.is_some());
        if unbound && self.hashes.is_none() {
            self.warnings.push(NO_HASHES.to_owned());
        }
    }

    /// The only launch of the set, which `what` is for.
    pub(in crate::cli) fn one(&self, what: &str) -> Result<(u32, Cpu, SevFeatures)> {
        match (self.set.vcpus(), self.set.cpus(), self.set.features()) {
            ([vcpus], [cpu], [features]) => Ok((*vcpus, cpu.clone(), *features)),
            _ => Err(Error::new(Kind::Usage, format!("{what} is for one launch"))
                .hint("say which with `--vcpus`, `--cpu` and `--features`")),
        }
    }
}

/// For a launch with a kernel that it does not bind.
pub(super) const NO_HASHES: &str = "kernel-hashes are off: the digest says nothing of the kernel, the \
                                    initrd and the command line that the host boots";
