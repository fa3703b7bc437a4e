//! The question: did an AMD processor attest that this release runs, under this policy, at this time? All
//! that speaks against it is told, not only the first.

use super::binding;
use super::chain::{self, Terms};
use super::collateral::Collateral;
use super::describe::{Summary, hex};
use super::fields::{HOST_VMPL, PLATFORM, Report, Signer};
use super::policy::{self, AlsoTcb, Binding, Leave, MinimumTcb, Need, Policy, ReportData};
use super::product::{Product, Tcb};
use super::reason::Reason;
use super::roots::Roots;
use super::time::Time;
use super::verdict::{Diagnosis, Form, Ledger, Matched, Root, VERSION, Verdict};
use super::wrapper::{Evidence, WrapperError};
use crate::digest::Sha384;
use crate::launch::explain::{Candidates, explain};
use crate::launch::igvm::IgvmRecord;
use crate::launch::record::{DigestRecord, RecordError};
use crate::launch::{Record, Set};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the machine gave.
    pub evidence: &'a Evidence,
    /// Certificates and lists that the verifier has; those that came with the evidence count as well.
    pub collateral: &'a Collateral,
    /// Whom the verifier believes.
    pub roots: &'a Roots,
    /// What the machine must be.
    pub policy: &'a Policy,
    /// What it must run.
    pub expected: Expected<'a>,
    /// The nonce that the verifier sent.
    pub nonce: Option<[u8; 32]>,
    /// When.
    pub at: Time,
}

/// What the machine must run.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// A release, by its records, which were checked when they were read.
    Release {
        /// `launch.json`.
        record: &'a Record,
        /// `igvm.json`, if it has one.
        igvm: Option<&'a IgvmRecord>,
    },
    /// A release whose record does not hold, and why.
    Invalid(&'a str),
    /// Something that has this digest.
    Measurement(Sha384),
    /// Anything: only who signed is asked, and what the machine is.
    Anything,
}

/// Answers a question.
pub fn verify(question: &Question<'_>) -> Verdict {
    let Question { evidence, policy, at, roots, .. } = *question;
    let mut ledger = Ledger::default();
    let report = match Report::parse(&evidence.report) {
        Ok(report) => report,
        Err(error) => {
            ledger.failed("report-form", error.reason(), error.to_string());
            return answer(ledger, at, roots, None, None, None);
        }
    };
    let mut collateral = question.collateral.clone();
    if let Err(error) = collateral.merge(&evidence.collateral) {
        ledger.failed("evidence", Reason::WrapperCertificates, error.to_string());
    }
    let strangers =
        collateral.certificates.iter().filter(|certificate| certificate.kind().is_none());
    for stranger in strangers {
        let says = format!("`{}`", stranger.subject());
        ledger.failed("evidence", Reason::CertificateUnknown, says);
    }
    let signer = form(&report, &mut ledger);
    claim(&report, evidence, &mut ledger);

    let terms = Terms { collateral: &collateral, roots, freshness: policy.freshness, at };
    let chain = signer.map(|signer| chain::check(&report, signer, &terms)).unwrap_or_default();
    let product = chain.product.or_else(|| report.cpu().and_then(Product::of));
    ledger.append(chain.ledger);
    if let Some(cpu) = report.cpu().filter(|_| product.is_none()) {
        ledger.failed(
            "product",
            Reason::ProductUnknown,
            format!("CPUID {cpu} is of no processor that is known"),
        );
    }
    reserved(&report, product, &mut ledger);

    if let Some(product) = product {
        products(product, policy, &mut ledger);
        minimum_tcb(&report, product, policy, &mut ledger);
    }
    if let Some(signer) = signer {
        signers(signer, chain.csp_id.as_deref(), policy, &mut ledger);
    }
    guest_policy(&report, policy, question.expected, &mut ledger);
    platform(&report, policy, &mut ledger);
    guest(&report, policy, &mut ledger);
    chip(&report, policy, &mut ledger);
    mitigations(&report, policy, &mut ledger);
    report_data(&report, question, &mut ledger);
    let (matched, diagnosis) = measurement(&report, question, &mut ledger);
    notes(&report, product, question, &mut ledger);
    let summary = Summary::of(&report, product);
    answer(ledger, at, roots, Some(summary), matched, diagnosis)
}

/// The verdict on bytes in which no report was found.
pub fn unreadable(error: &WrapperError, at: Time, roots: &Roots) -> Verdict {
    let mut ledger = Ledger::default();
    ledger.failed("evidence", error.reason, error.says.clone());
    answer(ledger, at, roots, None, None, None)
}

fn answer(
    ledger: Ledger,
    at: Time,
    roots: &Roots,
    report: Option<Summary>,
    matched: Option<Matched>,
    diagnosis: Option<Diagnosis>,
) -> Verdict {
    Verdict {
        version: VERSION,
        verdict: ledger.answer(),
        at,
        root: if roots.is_amd() { Root::Amd } else { Root::Other },
        report,
        matched,
        reasons: ledger.findings(),
        checks: ledger.checks,
        notes: ledger.notes,
        diagnosis,
    }
}

/// What must hold for the report to mean anything.
fn form(report: &Report, ledger: &mut Ledger) -> Option<Signer> {
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

fn reserved(report: &Report, product: Option<Product>, ledger: &mut Ledger) {
    if let Some(at) = report.reserved(product) {
        let version = report.version().number();
        let says = format!("byte {at:#x} is set, which version {version} reserves");
        ledger.failed("report-form", Reason::ReportReserved, says);
    }
}

/// What the agent says that it has asked for, against what the firmware says.
fn claim(report: &Report, evidence: &Evidence, ledger: &mut Ledger) {
    if let Some(claim) = evidence.claim.filter(|claim| claim.report_data != report.report_data()) {
        let says = format!("the answer says {}", hex(&claim.report_data));
        ledger.failed("evidence", Reason::EvidenceReportData, says);
    }
}

fn products(product: Product, policy: &Policy, ledger: &mut Ledger) {
    if !policy.products.contains(&product) {
        let names: Vec<&str> = policy.products.iter().map(|product| product.name()).collect();
        let says = format!("{product} is none of {}", names.join(", "));
        ledger.failed("product", Reason::ProductDenied, says);
    }
}

fn signers(signer: Signer, csp_id: Option<&str>, policy: &Policy, ledger: &mut Ledger) {
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
    if let (Signer::Vlek, Some(wanted)) = (signer, &policy.csp_ids) {
        let found = csp_id.unwrap_or("nobody");
        let holds = wanted.iter().any(|wanted| wanted == found);
        ledger.hold(CHECK, holds, Reason::CspDenied, format!("the VLEK is of {found}"));
    }
}

fn minimum_tcb(report: &Report, product: Product, policy: &Policy, ledger: &mut Ledger) {
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

fn guest_policy(report: &Report, policy: &Policy, expected: Expected<'_>, ledger: &mut Ledger) {
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
    if let (Expected::Release { record, .. }, Leave::Deny) = (expected, rule.weaker_than_release)
        && let Some(what) = policy::weaker(found.0, record.policy.0)
    {
        let says =
            format!("POLICY {found} is weaker than the release's {} in {what}", record.policy);
        ledger.failed(CHECK, Reason::PolicyWeaker, says);
    }
    if ledger.failures() == before {
        ledger.passed(CHECK, format!("POLICY {found}: {}", found.names().join(", ")));
    }
}

fn platform(report: &Report, policy: &Policy, ledger: &mut Ledger) {
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
fn guest(report: &Report, policy: &Policy, ledger: &mut Ledger) {
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
    let mut key = |check, name: &str, wanted: &Option<Vec<Sha384>>, found: Sha384, reason| {
        if let Some(wanted) = wanted {
            let says = match found {
                Sha384::ZERO => format!("{name} is zero: there was no such key"),
                found => format!("{name} is {found}"),
            };
            ledger.hold(check, wanted.contains(&found), reason, says);
        }
    };
    key("id-key", "ID_KEY_DIGEST", &policy.id_keys, report.id_key_digest(), Reason::IdKey);
    let author = report.author_key_digest();
    key("author-key", "AUTHOR_KEY_DIGEST", &policy.author_keys, author, Reason::AuthorKey);
}

fn chip(report: &Report, policy: &Policy, ledger: &mut Ledger) {
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

fn mitigations(report: &Report, policy: &Policy, ledger: &mut Ledger) {
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

fn report_data(report: &Report, question: &Question<'_>, ledger: &mut Ledger) {
    const CHECK: &str = "report-data";
    let found = report.report_data();
    let labelled = matches!(question.policy.report_data, ReportData::Labelled(_));
    match (question.nonce, question.policy.freshness.nonce) {
        (None, Need::Required) => {
            ledger.failed("freshness", Reason::NonceMissing, "no nonce was given")
        }
        (Some(_), _) if !labelled => {
            let says = "the nonce is part of nothing that is checked: the scheme is not `labelled`";
            ledger.failed("freshness", Reason::NonceUnused, says);
        }
        _ => {}
    }
    let differs =
        |expected: &[u8; 64]| format!("REPORT_DATA is {}, not {}", hex(&found), hex(expected));
    match question.policy.report_data {
        ReportData::Unchecked => {
            ledger.not_checked(CHECK, "nobody said what REPORT_DATA must be");
            ledger.note(
                "REPORT_DATA was not compared with anything: such a machine has existed, and whether you talk to \
                 it is not shown",
            );
        }
        ReportData::Raw(expected) if expected == found => {
            ledger.passed(CHECK, "REPORT_DATA is the value that was expected");
        }
        ReportData::Raw(expected) => ledger.failed(CHECK, Reason::ReportData, differs(&expected)),
        ReportData::Sha256Spki(digest) => {
            let mut expected = [0; 64];
            expected[..32].copy_from_slice(&digest.0);
            match expected == found {
                true => {
                    ledger.passed(CHECK, format!("REPORT_DATA is the digest of the key {digest}"))
                }
                false => ledger.failed(CHECK, Reason::ReportData, differs(&expected)),
            }
        }
        ReportData::Labelled(binding) => self::labelled(report, question, binding, ledger),
    }
}

/// What our agent makes of a nonce and of what the guest has bound.
fn labelled(report: &Report, question: &Question<'_>, wanted: Binding, ledger: &mut Ledger) {
    const CHECK: &str = "report-data";
    let claim = question.evidence.claim;
    let said = claim.and_then(|claim| claim.binding);
    // Without a nonce of the verifier's the evidence's own shows what it binds, and not when.
    let Some(nonce) = question.nonce.or(claim.and_then(|claim| claim.nonce)) else {
        ledger.failed(
            CHECK,
            Reason::NonceMissing,
            "the scheme `labelled` needs the nonce that was sent",
        );
        return;
    };
    let binding = match wanted {
        Binding::Any => said,
        Binding::None => None,
        Binding::Is(binding) => Some(binding),
    };
    let made =
        |binding: Option<[u8; 32]>| binding::report_data(&nonce, &binding.unwrap_or([0; 32]));
    let found = report.report_data();
    let fresh = match question.nonce {
        Some(_) => "with the nonce that was sent",
        None => "with a nonce that the evidence brings along",
    };
    let bound = binding.map_or("nothing".to_owned(), |binding| hex(&binding));
    if made(binding) == found {
        ledger.passed(CHECK, format!("REPORT_DATA is made {fresh}; the guest has bound {bound}"));
        if question.nonce.is_none() {
            ledger.note("the nonce came with the evidence: it may be a recording");
        }
        if wanted == Binding::Any && said.is_some() {
            ledger.note(format!(
                "the guest has bound {bound}, and nobody said what it must be: compare it with the key of whoever you talk to"
            ));
        }
        return;
    }
    match said {
        Some(said) if made(Some(said)) == found => {
            let says = format!("the guest has bound {}, not {bound}", hex(&said));
            ledger.failed(CHECK, Reason::Binding, says);
        }
        _ if binding.is_some() && made(None) == found => {
            ledger.failed(
                CHECK,
                Reason::BindingMissing,
                format!("the guest has bound nothing, not {bound}"),
            );
        }
        _ => {
            let says = format!("REPORT_DATA is {}, not {}", hex(&found), hex(&made(binding)));
            ledger.failed(CHECK, Reason::ReportData, says);
        }
    }
}

fn measurement(
    report: &Report,
    question: &Question<'_>,
    ledger: &mut Ledger,
) -> (Option<Matched>, Option<Diagnosis>) {
    const CHECK: &str = "measurement";
    let found = report.measurement();
    let (record, igvm) = match question.expected {
        Expected::Anything => {
            ledger.not_checked(CHECK, format!("MEASUREMENT is {found}; nobody said what must run"));
            ledger.note("MEASUREMENT was not compared with anything: what runs there is not known");
            return (None, None);
        }
        Expected::Measurement(wanted) => {
            let says = match wanted == found {
                true => format!("MEASUREMENT is {found}"),
                false => format!("MEASUREMENT is {found}, not {wanted}"),
            };
            ledger.hold(CHECK, wanted == found, Reason::MeasurementUnexpected, says);
            return (None, None);
        }
        Expected::Invalid(why) => {
            ledger.failed(CHECK, Reason::RecordInvalid, why);
            return (None, None);
        }
        Expected::Release { record, igvm } => (record, igvm),
    };
    let taken = match taken(record, igvm, question.policy) {
        Ok(taken) => taken,
        Err(error) => {
            let says = format!("the release cannot be launched as the policy takes it: {error}");
            ledger.failed(CHECK, Reason::RecordInvalid, says);
            return (None, None);
        }
    };
    if let Some(row) = taken.iter().find(|row| row.digest == found) {
        ledger.passed(CHECK, in_words(row, record));
        if !launches(record, igvm).any(|listed| listed == *row) {
            ledger.note("this launch is not one that the release lists: the policy takes it, and its digest was computed from the launch record");
        }
        return (Some(row.clone()), None);
    }
    if let Some(row) = launches(record, igvm).find(|row| row.digest == found) {
        let says = format!("{}, which the policy does not take", in_words(&row, record));
        ledger.failed(CHECK, Reason::MeasurementRow, says);
        return (Some(row), None);
    }
    let says = format!("MEASUREMENT is {found}, which is none of the release's {}", taken.len());
    ledger.failed(CHECK, Reason::MeasurementUnknown, says);
    let candidates = Candidates { signature: report.cpu(), ..Candidates::default() };
    let diagnosis = explain(record, found, &candidates).ok();
    (None, diagnosis.map(|found| Diagnosis::of(&found, record)))
}

/// The launches of a release that a policy takes: those that the record lists, or those that follow from it
/// for the policy's vCPUs and CPUs. All of them are computed from the record.
fn taken(
    record: &Record,
    igvm: Option<&IgvmRecord>,
    policy: &Policy,
) -> Result<Vec<Matched>, RecordError> {
    let vcpus = policy.vcpus.clone().unwrap_or_else(|| record.vcpus.clone());
    let cpus = policy.cpus.clone().unwrap_or_else(|| record.cpus.clone());
    let set = Set::new(vcpus.clone(), cpus, record.sev_features.clone())?;
    let direct = record.launch()?.digests(&set)?.into_iter().map(DigestRecord::from);
    let direct = direct.map(|row| Matched::of(&row));
    let igvm = igvm.map(Matched::of_igvm);
    let allowed = |row: &Matched| policy.vcpus.is_none() || vcpus.contains(&row.vcpus);
    Ok(direct.chain(igvm.filter(allowed)).collect())
}

/// A launch, in words.
fn in_words(row: &Matched, record: &Record) -> String {
    let cpu = row.cpu.as_deref().unwrap_or("any CPU");
    let form = match row.launch {
        Form::DirectBoot => format!("profile {}", record.profile),
        Form::Igvm => "from the IGVM file".to_owned(),
    };
    format!(
        "the release's launch with {} vCPUs, {cpu}, SEV_FEATURES {}, {form}",
        row.vcpus, row.sev_features
    )
}

/// The launches that a release lists.
fn launches<'a>(
    record: &'a Record,
    igvm: Option<&'a IgvmRecord>,
) -> impl Iterator<Item = Matched> + 'a {
    let direct = record.digests.iter().map(Matched::of);
    direct.chain(igvm.map(Matched::of_igvm))
}

/// What should be known of an answer, whichever it is.
fn notes(report: &Report, product: Option<Product>, question: &Question<'_>, ledger: &mut Ledger) {
    if !question.roots.is_amd() {
        ledger.notes.insert(
            0,
            "the chain had to end in a root that was given, and not in AMD's: this is no statement about any \
             AMD processor"
                .to_owned(),
        );
    }
    if product == Some(Product::Milan) {
        ledger.note(
            "of Milan, the seed of a chip's keys has been read out by software (arXiv 2605.12990, 2026): whoever \
             once ran code on this chip's security processor can sign any report; `products` can leave Milan out",
        );
    }
    if report.current_tcb() != report.reported_tcb() {
        ledger.note("CURRENT_TCB is another than REPORTED_TCB: the host lets its key stand for another version");
    }
}
