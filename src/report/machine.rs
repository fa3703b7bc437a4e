//! What a report says of the machine and of the guest on it, held against a policy.

use super::describe::hex;
use super::fields::{HOST_VMPL, PLATFORM, Report, Signer};
use super::policy::{self, AlsoTcb, Leave, MinimumTcb, Policy};
use super::product::{Product, Tcb};
use super::reason::Reason;
use super::verdict::Ledger;
use super::verify::Expected;
use crate::digest::Sha384;

/// What must hold for the report to mean anything.
pub(super) fn form(report: &Report, ledger: &mut Ledger) -> Option<Signer> {
    const CHECK: &str = "report-form";
    let version = report.version().number();
    ledger.passed(CHECK, format!("an attestation report of version {version}"));
    if report.signature_algo() != 1 {
        let says = format!("SIGNATURE_ALGO is {}, not 1", report.signature_algo());
        ledger.failed(CHECK, Reason::ReportAlgorithm, says);
    }
    match report.vmpl() {
        HOST_VMPL => {
            ledger.failed(CHECK, Reason::ReportFromHost, "VMPL is that of a report for the host")
        }
        0..=3 => {}
        other => ledger.failed(CHECK, Reason::ReportVmpl, format!("VMPL is {other:#x}")),
    }
    let signer = report.signer();
    if let Err(reason) = signer {
        let says = format!("KEY_INFO is {:#x}", report.key_info());
        ledger.failed("signing-key", reason, says);
    }
    signer.ok()
}

pub(super) fn reserved(report: &Report, product: Option<Product>, ledger: &mut Ledger) {
    if let Some(at) = report.reserved(product) {
        let version = report.version().number();
        let says = format!("byte {at:#x} is set, which version {version} reserves");
        ledger.failed("report-form", Reason::ReportReserved, says);
    }
}

pub(super) fn products(product: Product, policy: &Policy, ledger: &mut Ledger) {
    if !policy.products.contains(&product) {
        let names: Vec<&str> = policy.products.iter().map(|product| product.name()).collect();
        let says = format!("{product} is none of {}", names.join(", "));
        ledger.failed("product", Reason::ProductDenied, says);
    }
}

pub(super) fn signers(signer: Signer, csp_id: Option<&str>, policy: &Policy, ledger: &mut Ledger) {
    const CHECK: &str = "signing-key";
    match policy.signers.contains(&signer) {
        true => ledger.passed(CHECK, format!("a {}", signer.name())),
        false => {
            ledger.failed(
                CHECK,
                Reason::SignerDenied,
                format!("the policy takes no {}", signer.name()),
            );
        }
    }
    if let Some(wanted) = &policy.csp_ids {
        let vlek = csp_id.filter(|_| signer == Signer::Vlek);
        let holds = vlek.is_some_and(|found| wanted.iter().any(|wanted| wanted == found));
        let says = match vlek {
            Some(found) => format!("the VLEK is of {found}"),
            None => "no VLEK, and so of no operator".to_owned(),
        };
        ledger.hold(CHECK, holds, Reason::CspDenied, says);
    }
}

pub(super) fn minimum_tcb(report: &Report, product: Product, policy: &Policy, ledger: &mut Ledger) {
    const CHECK: &str = "minimum-tcb";
    let fits = |entry: &&MinimumTcb| entry.fits(product, report.cpu());
    let Some(minimum) = policy.minimum_tcb.iter().find(fits) else {
        ledger.failed(
            CHECK,
            Reason::TcbUnlisted,
            format!("the policy has no minimum for this {product}"),
        );
        return;
    };
    let below = |tcb: Tcb| -> Vec<(&'static str, u8, u8)> {
        let part = |(name, least): (&'static str, u8)| {
            // Where a product has no FMC, nothing can be too old.
            let found = tcb.parts().find(|(part, _)| *part == name).map(|(_, version)| version);
            found.filter(|found| *found < least).map(|found| (name, found, least))
        };
        minimum.parts().into_iter().filter_map(part).collect()
    };
    let reported = Tcb::of(product, report.reported_tcb());
    let low = below(reported);
    if low.is_empty() {
        ledger.passed(CHECK, format!("REPORTED_TCB: {reported}"));
    }
    for (name, found, least) in low {
        let reason = match name {
            "fmc" => Reason::TcbFmc,
            "bootloader" => Reason::TcbBootloader,
            "tee" => Reason::TcbTee,
            "snp" => Reason::TcbSnp,
            _ => Reason::TcbMicrocode,
        };
        ledger.failed(CHECK, reason, format!("REPORTED_TCB: {name} {found} is older than {least}"));
    }
    for also in &policy.minimum_tcb_also {
        let (name, bytes, reason) = match also {
            AlsoTcb::Committed => ("COMMITTED_TCB", report.committed_tcb(), Reason::TcbCommitted),
            AlsoTcb::Launch => ("LAUNCH_TCB", report.launch_tcb(), Reason::TcbLaunch),
        };
        let tcb = Tcb::of(product, bytes);
        match below(tcb).first() {
            None => ledger.passed(CHECK, format!("{name}: {tcb}")),
            Some((part, found, least)) => {
                ledger.failed(
                    CHECK,
                    reason,
                    format!("{name}: {part} {found} is older than {least}"),
                );
            }
        }
    }
}

pub(super) fn guest_policy(
    report: &Report,
    policy: &Policy,
    expected: Expected<'_>,
    ledger: &mut Ledger,
) {
    const CHECK: &str = "guest-policy";
    let found = report.policy();
    let rule = &policy.guest_policy;
    let before = ledger.failures();
    if let Err(error) = found.check() {
        ledger.failed(CHECK, Reason::PolicyReserved, error.to_string());
    }
    for bit in rule.deny.iter().filter(|bit| found.0 >> bit.bit & 1 == 1) {
        let reason = match bit.name {
            "debug" => Reason::PolicyDebug,
            "migrate-ma" => Reason::PolicyMigration,
            _ => Reason::PolicyDenied,
        };
        ledger.failed(CHECK, reason, format!("POLICY {found} has {}", bit.name));
    }
    for bit in rule.require.iter().filter(|bit| found.0 >> bit.bit & 1 == 0) {
        ledger.failed(CHECK, Reason::PolicyRequired, format!("POLICY {found} lacks {}", bit.name));
    }
    let abi = (found.0 >> 8 & 0xff, found.0 & 0xff);
    let least = (u64::from(rule.minimum_abi.major), u64::from(rule.minimum_abi.minor));
    if abi < least {
        let says = format!(
            "POLICY {found} takes ABI {}.{}, which is older than {}.{}",
            abi.0, abi.1, least.0, least.1
        );
        ledger.failed(CHECK, Reason::PolicyAbi, says);
    }
    if let (Expected::Release { record, igvm }, Leave::Deny) = (expected, rule.weaker_than_release)
    {
        // The two forms of a release each have a policy of their own.
        let igvm = igvm.filter(|igvm| igvm.digest == report.measurement());
        let wanted = igvm.map_or(record.policy, |igvm| igvm.policy);
        if let Some(what) = policy::weaker(found.0, wanted.0) {
            let says = format!("POLICY {found} is weaker than the release's {wanted} in {what}");
            ledger.failed(CHECK, Reason::PolicyWeaker, says);
        }
    }
    if ledger.failures() == before {
        ledger.passed(CHECK, format!("POLICY {found}: {}", found.names().join(", ")));
    }
}

pub(super) fn platform(report: &Report, policy: &Policy, ledger: &mut Ledger) {
    const CHECK: &str = "platform";
    let info = report.platform_info();
    let before = ledger.failures();
    let means = |name: &str| {
        PLATFORM.iter().find(|(_, known, _)| *known == name).map_or("", |(_, _, means)| *means)
    };
    for bit in policy.platform.deny.iter().filter(|bit| info >> bit.bit & 1 == 1) {
        let says = format!("PLATFORM_INFO {info:#x} has {}: {}", bit.name, means(bit.name));
        ledger.failed(CHECK, Reason::PlatformDenied, says);
    }
    for bit in policy.platform.require.iter().filter(|bit| info >> bit.bit & 1 == 0) {
        let says = format!("PLATFORM_INFO {info:#x} lacks {}: {}", bit.name, means(bit.name));
        ledger.failed(CHECK, Reason::PlatformRequired, says);
    }
    if ledger.failures() == before {
        ledger.passed(CHECK, format!("PLATFORM_INFO {info:#x}"));
    }
}

/// What the report says of the guest beside its digest.
pub(super) fn guest(report: &Report, policy: &Policy, ledger: &mut Ledger) {
    let (vmpl, svn) = (report.vmpl(), report.guest_svn());
    ledger.hold("vmpl", policy.vmpl.contains(&vmpl), Reason::Vmpl, format!("VMPL {vmpl:#x}"));
    let least = policy.minimum_guest_svn;
    if svn < least {
        ledger.failed(
            "guest-svn",
            Reason::GuestSvn,
            format!("GUEST_SVN {svn} is lower than {least}"),
        );
    }
    let mut exact = |check, name: &str, wanted: Option<&[u8]>, found: &[u8], reason| {
        if let Some(wanted) = wanted {
            let says = match wanted == found {
                true => format!("{name} is {}", hex(found)),
                false => format!("{name} is {}, not {}", hex(found), hex(wanted)),
            };
            ledger.hold(check, wanted == found, reason, says);
        }
    };
    let id = |id: &'_ Option<[u8; 16]>| id.map(Vec::from);
    exact(
        "family-id",
        "FAMILY_ID",
        id(&policy.family_id).as_deref(),
        &report.family_id(),
        Reason::FamilyId,
    );
    exact(
        "image-id",
        "IMAGE_ID",
        id(&policy.image_id).as_deref(),
        &report.image_id(),
        Reason::ImageId,
    );
    let host_data = policy.host_data.map(Vec::from);
    exact("host-data", "HOST_DATA", host_data.as_deref(), &report.host_data(), Reason::HostData);
    let mut key = |check, wanted: &Option<Vec<Sha384>>, found: Option<Sha384>, says, reason| {
        if let Some(wanted) = wanted {
            let holds = found.is_some_and(|found| wanted.contains(&found));
            ledger.hold(check, holds, reason, says);
        }
    };
    let digest = |name: &str, found: Sha384| match found {
        Sha384::ZERO => format!("{name} is zero: there was no such key"),
        found => format!("{name} is {found}"),
    };
    let id = report.id_key_digest();
    key("id-key", &policy.id_keys, Some(id), digest("ID_KEY_DIGEST", id), Reason::IdKey);
    // AUTHOR_KEY_EN says whether the digest is one (SNP ABI, table "ATTESTATION_REPORT Structure").
    let (author, enabled) = (report.author_key_digest(), report.author_key());
    let mut says = digest("AUTHOR_KEY_DIGEST", author);
    let contradiction = match (enabled, author != Sha384::ZERO) {
        (false, true) => Some("AUTHOR_KEY_EN is not set, and AUTHOR_KEY_DIGEST is not zero"),
        (true, false) => Some("AUTHOR_KEY_EN is set, and AUTHOR_KEY_DIGEST is zero"),
        _ => None,
    };
    if let Some(contradiction) = contradiction {
        says = contradiction.to_owned();
    }
    let found = Some(author).filter(|_| enabled);
    key("author-key", &policy.author_keys, found, says, Reason::AuthorKey);
    if let Some(contradiction) = contradiction {
        ledger.note(format!("the report contradicts itself: {contradiction}"));
    }
}

pub(super) fn chip(report: &Report, policy: &Policy, ledger: &mut Ledger) {
    const CHECK: &str = "chip";
    let Some(chips) = &policy.chip_ids else { return };
    let id = report.chip_id();
    if !report.has_chip_id() {
        ledger.failed(CHECK, Reason::ChipIdMasked, "CHIP_ID is zero");
        return;
    }
    let is = |chip: &Vec<u8>| {
        let (head, rest) = id.split_at(chip.len().min(id.len()));
        head == chip.as_slice() && rest.iter().all(|byte| *byte == 0)
    };
    ledger.hold(
        CHECK,
        chips.iter().any(is),
        Reason::ChipIdDenied,
        format!("CHIP_ID is {}", hex(&id)),
    );
}

pub(super) fn mitigations(report: &Report, policy: &Policy, ledger: &mut Ledger) {
    const CHECK: &str = "mitigations";
    let vectors = [
        (
            "LAUNCH_MIT_VECTOR",
            report.launch_mitigations(),
            policy.mitigations.launch,
            Reason::MitigationsLaunch,
        ),
        (
            "CURRENT_MIT_VECTOR",
            report.current_mitigations(),
            policy.mitigations.current,
            Reason::MitigationsCurrent,
        ),
    ];
    for (name, found, wanted, reason) in
        vectors.into_iter().filter(|(_, _, wanted, _)| *wanted != 0)
    {
        match found {
            None => {
                let version = report.version().number();
                let says = format!("a report of version {version} has no {name}");
                ledger.failed(CHECK, Reason::MitigationsUnknown, says);
            }
            Some(found) => {
                let says = format!("{name} is {found:#x}, of which {wanted:#x} is required");
                ledger.hold(CHECK, found & wanted == wanted, reason, says);
            }
        }
    }
}
