//! The launch record, `launch.json`: every input to the digests, and the digests. It is complete,
//! so a reader needs no file beside it to compute them again, also for a vCPU count that was not
//! published; and canonical, so that the same launch is the same bytes.

mod error;
mod json;

use std::collections::BTreeMap;

use counterfoil_init::volume::{Binding, PREFIX, Salt, UNVERIFIED, VolumeName};
use serde::{Deserialize, Serialize};

pub use error::RecordError;

use super::cpu::Cpu;
use super::direct_boot::DirectBoot;
use super::features::{Policy, SevFeatures};
use super::findings::Finding;
use super::firmware::{Firmware, FirmwareError, HashTableArea, Section};
use super::hash_table::{HashTable, TABLE_SIZE};
use super::measure::{Digest, Launch, Set};
use super::page::{self, PAGE_SIZE};
use super::profile::Profile;
use super::{findings, hex, unmeasured};
use crate::digest::{Sha256, Sha384};

/// The version of the record's form.
///
/// # Changelog
/// 1: SEV-SNP with direct boot.
pub const VERSION: u32 = 1;

/// The JSON Schema of a record (draft 2020-12).
pub const SCHEMA: &str = include_str!("record/schema.json");

/// Everything that a launch digest is computed from. The order of the fields is the order in the
/// file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The program that wrote the record, and its version.
    pub tool: String,
    /// The rules by which each kind of artifact was written.
    pub writers: BTreeMap<String, String>,
    /// How the VMM launches ([`Profile::id`]).
    pub profile: String,
    /// The policy that the guest must be launched with. Not in the digest; in the report.
    pub policy: Policy,
    /// The firmware image.
    pub firmware: FirmwareRecord,
    /// What the firmware boots directly; `null` is `kernel-hashes=off`.
    pub boot: Option<Boot>,
    /// Volumes that the command line binds.
    pub volumes: Vec<Volume>,
    /// vCPU counts, ascending.
    pub vcpus: Vec<u32>,
    /// The CPUs.
    pub cpus: Vec<Cpu>,
    /// SEV_FEATURES, ascending.
    pub sev_features: Vec<SevFeatures>,
    /// The digest before the first vCPU: the launch as far as all digests share it.
    pub digest_before_vcpus: Sha384,
    /// The digests for all combinations, by vCPU count, CPU, and features.
    pub digests: Vec<DigestRecord>,
    /// What the host still chooses.
    pub unmeasured: Vec<Unmeasured>,
}

/// The firmware, as far as the launch goes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FirmwareRecord {
    /// The image.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u32,
    /// The launch digest after the image's pages; it stands for the image in the computation.
    pub digest: Sha384,
    /// Where vCPUs other than the first start.
    pub reset_eip: Option<Address>,
    /// Where the SEV hash table goes.
    pub hash_table: Option<HashTableArea>,
    /// The SEV metadata, in order.
    pub sections: Vec<Section>,
    /// What its modules do with a kernel from the host; `null` if they were not examined.
    pub direct_boot: Option<DirectBoot>,
}

/// A guest physical address below 4 GiB.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Address(#[serde(with = "hex")] pub u32);

/// What direct boot starts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The bzImage.
    pub kernel: Blob,
    /// The initrd.
    pub initrd: Option<Blob>,
    /// The command line, without the NUL that the digest covers too.
    pub cmdline: String,
}

/// A file by its contents.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Its digest.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// A read-only volume: bound by its root hash on the command line, or said there to be bound by nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The name that the guest mounts it by.
    pub name: String,
    /// The dm-verity root hash; none exactly where nothing binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_hash: Option<Sha256>,
    /// How much of it is shown.
    pub disclosure: Disclosure,
}

/// How much of a volume is shown to others.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disclosure {
    /// Whoever has the contents can make it again, and so check that it is of them.
    Public,
    /// The root hash is salted with a secret: it binds the contents, and whoever does not know the salt
    /// cannot tell by it which they are.
    Committed,
    /// Nothing is known of its bytes: the host chooses them, and can change them at any time.
    None,
}

/// One digest of the set.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DigestRecord {
    /// The number of vCPUs.
    pub vcpus: u32,
    /// The CPU's model, or its signature where it has no name.
    pub cpu: String,
    /// SEV_FEATURES.
    pub sev_features: SevFeatures,
    /// The launch digest.
    pub digest: Sha384,
}

/// One thing that the digest does not cover.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unmeasured {
    /// A stable name.
    pub what: String,
    /// What it lets the host do.
    pub means: String,
}

/// What a record is made from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// How the VMM launches.
    pub profile: &'static Profile,
    /// The policy to launch with.
    pub policy: Policy,
    /// The firmware.
    pub firmware: FirmwareRecord,
    /// What it boots.
    pub boot: Option<Boot>,
    /// The volumes on the command line.
    pub volumes: Vec<Volume>,
    /// The vCPU counts, CPUs and features.
    pub set: Set,
    /// The epochs of the writers that made the artifacts; this module adds its own.
    pub writers: BTreeMap<String, String>,
}

impl Record {
    /// Computes the digests and writes down what they are of. Direct boot needs firmware that was
    /// examined and that has a verifier.
    pub fn new(inputs: Inputs) -> Result<Self, RecordError> {
        let record = Self::supposed(inputs)?;
        record.check_claims()?;
        Ok(record)
    }

    /// A launch that somebody believes to have been, with whatever firmware: something to
    /// [`explain`](super::explain) a digest by, and nothing to publish.
    pub fn supposed(inputs: Inputs) -> Result<Self, RecordError> {
        let Inputs { profile, policy, firmware, boot, volumes, set, mut writers } = inputs;
        writers.insert("launch".to_owned(), super::EPOCH.to_owned());
        let direct_boot = firmware.direct_boot.as_ref();
        let unmeasured = unmeasured::list(boot.is_some(), &volumes, direct_boot);
        let mut record = Self {
            version: VERSION,
            tool: concat!("counterfoil ", env!("CARGO_PKG_VERSION")).to_owned(),
            writers,
            profile: profile.id.to_owned(),
            policy,
            firmware,
            boot,
            volumes,
            vcpus: set.vcpus().to_vec(),
            cpus: set.cpus().to_vec(),
            sev_features: set.features().to_vec(),
            digest_before_vcpus: Sha384::ZERO,
            digests: Vec::new(),
            unmeasured,
        };
        let launch = record.launch()?;
        record.digest_before_vcpus = launch.digest_before_vcpus();
        record.digests = launch.digests(&set)?.into_iter().map(DigestRecord::from).collect();
        Ok(record)
    }

    /// With what was found open in the firmware, for a reader who has only the record. A record does
    /// not need them to hold: those of before know none.
    #[must_use]
    pub fn with_findings(mut self, findings: &[Finding]) -> Self {
        // After the state of named blobs, of which they are the continuation.
        let named = self.unmeasured.iter().position(|item| item.what == unmeasured::BLOBS);
        let at = named.map_or(0, |at| at + 1);
        let open = findings.iter().filter(|finding| finding.is_open()).map(Finding::unmeasured);
        self.unmeasured.splice(at..at, open);
        self
    }

    /// The launch up to the vCPUs, from the record alone.
    pub fn launch(&self) -> Result<Launch, RecordError> {
        let profile = Profile::by_id(&self.profile)?;
        let firmware = self.firmware.layout()?;
        let hashes = self.hashes()?;
        Ok(Launch::new(profile, &firmware, self.firmware.digest, hashes.as_ref())?)
    }

    /// The vCPU counts, CPUs and features of the record.
    pub fn set(&self) -> Result<Set, RecordError> {
        let (cpus, features) = (self.cpus.clone(), self.sev_features.clone());
        Ok(Set::new(self.vcpus.clone(), cpus, features)?)
    }

    /// Computes every digest of the record anew.
    pub fn recompute(&self) -> Result<Vec<Digest>, RecordError> {
        Ok(self.launch()?.digests(&self.set()?)?)
    }

    /// Computes every digest anew and compares; the first difference is the error.
    pub fn check(&self) -> Result<(), RecordError> {
        let found = self.launch()?.digest_before_vcpus();
        if found != self.digest_before_vcpus {
            let (what, recorded) = ("before the vCPUs".to_owned(), self.digest_before_vcpus);
            return Err(RecordError::Digest { what, recorded, found });
        }
        let computed: Vec<_> = self.recompute()?.into_iter().map(DigestRecord::from).collect();
        if computed.len() != self.digests.len() {
            let (recorded, expected) = (self.digests.len(), computed.len());
            return Err(RecordError::DigestCount { recorded, expected });
        }
        for (index, (recorded, found)) in self.digests.iter().zip(&computed).enumerate() {
            let label = |digest: &DigestRecord| {
                format!("for {} vCPUs, {}, {}", digest.vcpus, digest.cpu, digest.sev_features)
            };
            let (what, expected) = (label(recorded), label(found));
            if what != expected {
                return Err(RecordError::DigestOrder { index, recorded: what, expected });
            }
            if recorded.digest != found.digest {
                let (recorded, found) = (recorded.digest, found.digest);
                return Err(RecordError::Digest { what, recorded, found });
            }
        }
        Ok(())
    }

    /// The digest for parameters that need not be in the record.
    pub fn digest(
        &self,
        vcpus: u32,
        cpu: Cpu,
        features: SevFeatures,
    ) -> Result<Sha384, RecordError> {
        let set = Set::new(vec![vcpus], vec![cpu], vec![features])?;
        let digests = self.launch()?.digests(&set)?;
        let digest = digests.first().map(|digest| digest.digest);
        digest.ok_or(RecordError::DigestCount { recorded: 0, expected: 1 })
    }

    /// The hash table and where it goes in guest memory: all that a machine without SEV needs to
    /// have the firmware check kernel, initrd and command line.
    pub fn hash_table(&self) -> Result<Option<(u32, [u8; TABLE_SIZE])>, RecordError> {
        let area = self.firmware.layout()?.hash_table();
        Ok(self.hashes()?.zip(area).map(|(hashes, area)| (area.gpa, hashes.bytes())))
    }

    /// The measured page with the hash table in it, and where it goes in guest memory.
    pub fn hash_page(&self) -> Result<Option<(u32, [u8; PAGE_SIZE as usize])>, RecordError> {
        let area = self.firmware.layout()?.hash_table();
        let page = |(hashes, area): (HashTable, HashTableArea)| {
            Some((area.gpa - area.gpa % PAGE_SIZE, hashes.page(area.gpa)?))
        };
        Ok(self.hashes()?.zip(area).and_then(page))
    }

    fn hashes(&self) -> Result<Option<HashTable>, RecordError> {
        Ok(self.boot.as_ref().map(Boot::hashes).transpose()?)
    }

    /// What a record says beside its digests, and must not say wrongly: that something checks the
    /// kernel, that volumes are bound, and what is not covered.
    fn check_claims(&self) -> Result<(), RecordError> {
        let found = self.firmware.direct_boot.as_ref();
        if self.boot.is_some() {
            found.ok_or(RecordError::NotExamined)?.require_verifier()?;
        }
        let cmdline = self.boot.as_ref().map_or("", |boot| &boot.cmdline);
        // A whole word: the guest would not take the hash out of a longer one.
        let words: Vec<&str> = cmdline.split(|it: char| !it.is_alphanumeric()).collect();
        for Volume { name, root_hash, disclosure } in &self.volumes {
            let said = match root_hash {
                Some(root) => words.contains(&root.to_string().as_str()),
                None => cmdline.split(' ').any(|word| word == unverified(name)),
            };
            if !said || root_hash.is_none() != (*disclosure == Disclosure::None) {
                return Err(RecordError::Unbound { name: name.clone() });
            }
        }
        self.check_words(cmdline)?;
        // By name: how a sentence is worded may change, and records outlive the wording.
        let listed = |what: &str| self.unmeasured.iter().any(|item| item.what == what);
        let expected = unmeasured::list(self.boot.is_some(), &self.volumes, found);
        match expected.into_iter().find(|item| !listed(&item.what)) {
            Some(item) => Err(RecordError::Unlisted { what: item.what }),
            None => Ok(()),
        }
    }
}

/// The names of the volumes that words on a command line are about.
fn bound(cmdline: &str) -> impl Iterator<Item = &str> {
    let words = cmdline.split_ascii_whitespace();
    words.filter_map(|word| Some(word.strip_prefix(PREFIX)?.split_once('=')?.0))
}

/// How the command line says that nothing binds a volume.
fn unverified(name: &str) -> String {
    format!("{PREFIX}{name}={UNVERIFIED}")
}

impl Record {
    /// What the guest is told of a volume is what the record says of it, and no volume is left out.
    fn check_words(&self, cmdline: &str) -> Result<(), RecordError> {
        for name in bound(cmdline) {
            let unbound = || RecordError::Unbound { name: name.to_owned() };
            let word = VolumeName::new(name).and_then(|name| Binding::find(cmdline, name));
            let told = match word.map_err(|_| unbound())? {
                Binding::Unverified => (None, Disclosure::None),
                Binding::Verified(volume) => {
                    let disclosure = match volume.salt {
                        Salt::OnDisk => Disclosure::Committed,
                        Salt::Said(_) => Disclosure::Public,
                    };
                    (volume.root.parse().ok(), disclosure)
                }
            };
            let mut listed = self.volumes.iter().filter(|volume| volume.name == name);
            let said = listed.next().map(|volume| (volume.root_hash, volume.disclosure));
            if said != Some(told) || listed.next().is_some() {
                return Err(unbound());
            }
        }
        Ok(())
    }
}

impl FirmwareRecord {
    /// Takes from an image all that a record needs: hashes it, reads its footer and examines its
    /// modules. An image of which only the footer is there has no modules to examine; direct boot
    /// with it is refused by [`Record::new`].
    pub fn of(image: &[u8]) -> Result<Self, RecordError> {
        Ok(Self::examine(image)?.0)
    }

    /// The same, and what else was found in the modules.
    pub fn examine(image: &[u8]) -> Result<(Self, Vec<Finding>), RecordError> {
        let firmware = Firmware::parse(image)?;
        let (direct_boot, findings) = match findings::examine(image) {
            Ok((direct_boot, findings)) => (Some(direct_boot), findings),
            Err(super::volume::VolumeError::NoVolume) => (None, Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let record = Self {
            sha256: Sha256::of(image),
            size: firmware.size(),
            digest: page::image_digest(image),
            reset_eip: firmware.reset_eip().map(Address),
            hash_table: firmware.hash_table(),
            sections: firmware.sections().to_vec(),
            direct_boot,
        };
        Ok((record, findings))
    }

    /// The layout, checked by the same rules as one from an image.
    pub fn layout(&self) -> Result<Firmware, FirmwareError> {
        let reset_eip = self.reset_eip.map(|Address(eip)| eip);
        Firmware::new(self.size, reset_eip, self.hash_table, self.sections.clone())
    }
}

impl Boot {
    /// The hash table for it.
    pub fn hashes(&self) -> Result<HashTable, super::hash_table::CmdlineError> {
        HashTable::new(self.kernel.sha256, self.initrd.map(|blob| blob.sha256), &self.cmdline)
    }
}

impl Blob {
    /// Describes a file by its contents.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::of(bytes), size: bytes.len() as u64 }
    }
}

impl From<Digest> for DigestRecord {
    fn from(digest: Digest) -> Self {
        Self {
            vcpus: digest.vcpus,
            cpu: digest.cpu.label(),
            sev_features: digest.features,
            digest: digest.digest,
        }
    }
}
