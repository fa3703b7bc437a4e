//! What is launched: the guest policy, what the host chooses whatever the digest is, and the firmware.

use super::evidence::Evidence;
use super::{EVERY_LAUNCH, Found, Subject};
use crate::launch::direct_boot::NamedBlobs;
use crate::launch::findings::State;
use crate::launch::{Policy, SevFeatures, unmeasured};
use crate::manifest::Manifest;
use crate::manifest::types::{self, Source};

/// What a policy can ask for and need not (SNP ABI, 56860, table "Guest Policy Structure").
const PROTECTIONS: [(u32, &str); 5] = [
    (20, "SINGLE_SOCKET"),
    (22, "MEM_AES_256_XTS"),
    (23, "RAPL_DIS"),
    (24, "CIPHERTEXT_HIDING"),
    (25, "PAGE_SWAP_DISABLE"),
];

/// SEV_FEATURES with which the hypervisor does not inject what it likes (APM, section 15.36).
const INJECTION: u64 = 1 << 3 | 1 << 4;

pub(super) fn audit(subject: &Subject<'_>, found: &mut Found) {
    let manifest = subject.manifest;
    policy(Policy(manifest.launch.policy.0), found);
    injection(manifest, found);
    let every_launch = unmeasured::ALWAYS.iter().map(|(code, _)| *code).chain(["disks"]);
    for code in every_launch {
        match code {
            "policy" => found.add(code, manifest.launch.policy.to_string()),
            _ => found.add(code, EVERY_LAUNCH),
        }
    }
    if manifest.firmware.named_blobs == types::NamedBlobs::Warn {
        found.add("named-blobs-allowed", "firmware");
    }
    match subject.evidence {
        Some(evidence) => {
            firmware(manifest, evidence, found);
            let known = super::rules();
            let other = |what: &&String| !known.iter().any(|rule| rule.code == **what);
            found.add_all("unmeasured-other", evidence.unmeasured.iter().filter(other).cloned());
        }
        None => found.add("not-built", "firmware: ways around the measured kernel"),
    }
}

fn policy(policy: Policy, found: &mut Found) {
    let is_set = |bit: u32| policy.0 >> bit & 1 == 1;
    let said = |bits: &str| format!("launch.policy {policy}: {bits}");
    if policy.debug() {
        found.add("policy-debug", said("DEBUG"));
    }
    if policy.migrate_ma() {
        found.add("policy-migrate", said("MIGRATE_MA"));
    }
    if is_set(16) {
        found.add("policy-smt", said("SMT"));
    }
    if is_set(21) {
        found.add("policy-cxl", said("CXL_ALLOW"));
    }
    if policy.check().is_err() {
        found.add("policy-reserved", format!("launch.policy {policy}"));
    }
    for (bit, name) in PROTECTIONS {
        if !is_set(bit) {
            found.add("policy-protections", name);
        }
    }
}

fn injection(manifest: &Manifest, found: &mut Found) {
    let features = manifest.launch.features.iter().map(|features| ("launch.features", features));
    let of_igvm = manifest.launch.igvm.iter().map(|igvm| ("launch.igvm.features", &igvm.features));
    for (said, features) in features.chain(of_igvm) {
        if features.0 & INJECTION == 0 {
            found.add("interrupt-injection", format!("{said} {}", SevFeatures(features.0)));
        }
    }
}

fn firmware(manifest: &Manifest, evidence: &Evidence, found: &mut Found) {
    let subject = format!("firmware, input `{}`", manifest.firmware.from.value);
    let compiled =
        matches!(manifest.inputs.get(&manifest.firmware.from.value), Some(Source::Build(_)));
    // Whoever compiles the firmware sees that the patch is there; a mark alone is a word.
    let marked = |code: &str, found: &mut Found| {
        if !compiled {
            found.add("firmware-mark", code);
        }
    };
    match &evidence.named_blobs {
        Some(NamedBlobs::Run { .. }) => found.add("fw-cfg-blobs", subject.as_str()),
        Some(NamedBlobs::Unused { .. }) => found.add("fw-cfg-blobs-unused", subject.as_str()),
        Some(NamedBlobs::Refused { .. }) => marked("fw-cfg-blobs", found),
        Some(NamedBlobs::NotRead) => {}
        None => found.add("firmware-not-visible", "fw-cfg-blobs"),
    }
    for finding in &evidence.firmware {
        match finding.state {
            State::Open { .. } => found.add(finding.rule.code, subject.as_str()),
            State::Marked { .. } => marked(finding.rule.code, found),
            State::NotVisible => found.add("firmware-not-visible", finding.rule.code),
            State::Absent => {}
        }
    }
}
