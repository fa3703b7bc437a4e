//! `urn:counterfoil:snp-launch:v1`: what a publisher says of a release, so that anyone can contradict it. What it
//! was made from, every launch digest that its machines attest, what their reports must say beside that, and
//! how long it is to be believed.
//!
//! One image has many digests: one for each number of vCPUs, CPU, set of features and VMM. So they are a set,
//! grouped by what is the same for all of them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::constraints::Constraints;
use super::intoto::{Digests, Predicate};
use crate::digest::{Sha256, Sha384};
use crate::launch::igvm::IgvmRecord;
use crate::launch::record::RecordError;
use crate::launch::{EPOCH, Policy, Record, SevFeatures};
use crate::report::time::Time;

/// The `predicateType`.
pub const TYPE: &str = "urn:counterfoil:snp-launch:v1";

/// The largest statement: an entry of a tiled log has 16 bits for its size (C2SP tlog-tiles, "Log Entries"), and a
/// statement is to fit where a log's entries are the statements themselves.
pub const MAX: usize = 0xffff;

/// What is exact in a double, which is what many readers of JSON have (RFC 8259, section 6).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The predicate. The order of the fields is the order in the statement.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Launch {
    /// The release's name: its manifest's.
    pub release: String,
    /// What it was made from.
    pub recipe: Recipe,
    /// `launch.json`.
    pub launch_record: Digests,
    /// Every launch digest.
    pub measurements: Vec<Measurements>,
    /// What a report must say.
    pub report_constraints: Constraints,
    /// When this is to be believed.
    pub validity: Validity,
    /// Counts up: a publisher's later statement has a higher one, whatever it is about.
    pub sequence: u64,
    /// Statements in whose place this one is, by the SHA-256 of their bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<Sha256>,
    /// Statements that are not to be believed any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revokes: Vec<Revoked>,
}

/// What a release was made from: the closure that a rebuilder needs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// `manifest.yaml`.
    pub manifest: Digests,
    /// `lock.yaml`, which names every input by its digest.
    pub lock: Digests,
}

/// Launch digests of one form of the image under one VMM.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Measurements {
    /// What is launched.
    pub form: Form,
    /// How the VMM launches: a profile of counterfoil.
    pub profile: String,
    /// The rules by which the digests are computed.
    pub epoch: String,
    /// The guest policy to launch with.
    pub guest_policy: Policy,
    /// The digests.
    pub launches: Vec<LaunchDigest>,
}

/// What is launched.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Firmware, with a kernel, an initrd and a command line handed to it.
    DirectBoot,
    /// Firmware by itself.
    Firmware,
    /// All of it as one IGVM file.
    Igvm,
}

/// One launch digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LaunchDigest {
    /// The number of vCPUs.
    pub vcpus: u32,
    /// The CPU's model, or its signature where it has no name; none where it is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// SEV_FEATURES.
    pub sev_features: SevFeatures,
    /// MEASUREMENT of a report. It is the hash of no file's bytes.
    pub launch_digest: Sha384,
}

/// When a statement is to be believed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Validity {
    /// From then on.
    pub not_before: Time,
    /// Until then.
    pub not_after: Time,
}

/// A statement that is not to be believed any more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// The SHA-256 of its bytes.
    pub statement: Sha256,
    /// Why.
    pub reason: String,
}

impl Predicate for Launch {
    const TYPE: &'static str = TYPE;
    const MAX: usize = MAX;

    fn check(&self) -> Result<(), String> {
        if self.measurements.iter().all(|group| group.launches.is_empty()) {
            return Err("statement has no launch digest".to_owned());
        }
        let mut seen = BTreeSet::new();
        for group in &self.measurements {
            for row in &group.launches {
                let launch = (group.form, &group.profile, row.vcpus, &row.cpu, row.sev_features);
                if !seen.insert(launch) {
                    return Err(format!(
                        "statement has two digests for {} vCPUs, {}, {} under `{}`",
                        row.vcpus,
                        row.cpu.as_deref().unwrap_or("any CPU"),
                        row.sev_features,
                        group.profile
                    ));
                }
            }
        }
        self.validity.check()?;
        if self.sequence > MAX_INTEGER {
            return Err(format!("sequence is {}: expected at most {MAX_INTEGER}", self.sequence));
        }
        check_revoked(&self.revokes)
    }
}

pub(super) fn check_revoked(revoked: &[Revoked]) -> Result<(), String> {
    match revoked.iter().find(|revoked| revoked.reason.trim().is_empty()) {
        Some(Revoked { statement, .. }) => Err(format!("{statement} is revoked without a reason")),
        None => Ok(()),
    }
}

impl Validity {
    fn check(&self) -> Result<(), String> {
        let Self { not_before, not_after } = self;
        match not_before < not_after {
            true => Ok(()),
            false => Err(format!("validity ends at {not_after}, and begins at {not_before}")),
        }
    }
}

impl Launch {
    /// Every launch digest, with the group in which it is.
    pub fn digests(&self) -> impl Iterator<Item = (&Measurements, &LaunchDigest)> {
        self.measurements
            .iter()
            .flat_map(|group| group.launches.iter().map(move |row| (group, row)))
    }
}

/// The launch digests of a release, computed anew from its records.
///
/// # Errors
/// When the record does not hold together.
pub fn measurements(
    record: &Record,
    igvm: Option<&IgvmRecord>,
) -> Result<Vec<Measurements>, RecordError> {
    let launches = record.recompute()?.into_iter().map(|digest| {
        let digest = crate::launch::record::DigestRecord::from(digest);
        LaunchDigest {
            vcpus: digest.vcpus,
            cpu: Some(digest.cpu),
            sev_features: digest.sev_features,
            launch_digest: digest.digest,
        }
    });
    let mut all = vec![Measurements {
        form: if record.boot.is_some() { Form::DirectBoot } else { Form::Firmware },
        profile: record.profile.clone(),
        epoch: EPOCH.to_owned(),
        guest_policy: record.policy,
        launches: launches.collect(),
    }];
    // Reading that record computed its digest.
    all.extend(igvm.map(|igvm| Measurements {
        form: Form::Igvm,
        profile: igvm.profile.clone(),
        epoch: EPOCH.to_owned(),
        guest_policy: igvm.policy,
        launches: vec![LaunchDigest {
            vcpus: igvm.vcpus,
            cpu: None,
            sev_features: igvm.sev_features,
            launch_digest: igvm.digest,
        }],
    }));
    Ok(all)
}
