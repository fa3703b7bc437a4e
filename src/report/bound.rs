//! REPORT_DATA, held against what whoever asks expects to be bound, by one of the schemes of [`binding`].

use super::binding;
use super::describe::hex;
use super::fields::Report;
use super::policy::{Binding, Need, ReportData};
use super::reason::Reason;
use super::verdict::Ledger;
use super::verify::Question;
use super::wrapper::{Claim, Evidence};

/// What the agent says that it has asked for, against what the firmware says.
pub(super) fn claim(report: &Report, evidence: &Evidence, ledger: &mut Ledger) {
    if let Some(claim) = evidence.claim.filter(|claim| claim.report_data != report.report_data()) {
        let says = format!("the answer says {}", hex(&claim.report_data));
        ledger.failed("evidence", Reason::EvidenceReportData, says);
    }
}

pub(super) fn report_data(
    report: &Report,
    evidence: &Evidence,
    question: &Question<'_>,
    ledger: &mut Ledger,
) {
    const CHECK: &str = "report-data";
    let found = report.report_data();
    let labelled = matches!(question.policy.report_data, ReportData::Labelled(_));
    // Whoever knows all 64 bytes has made them for this report, or can.
    let raw = matches!(question.policy.report_data, ReportData::Raw(_));
    match (question.nonce, question.policy.freshness.nonce) {
        (None, Need::Required) if !raw => {
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
        ReportData::Labelled(binding) => {
            labelled_data(report, evidence.claim, question, binding, ledger)
        }
    }
}

/// What our agent makes of a nonce and of what the guest has bound.
fn labelled_data(
    report: &Report,
    claim: Option<Claim>,
    question: &Question<'_>,
    wanted: Binding,
    ledger: &mut Ledger,
) {
    const CHECK: &str = "report-data";
    // Zeros are what nothing bound is.
    let said = claim.and_then(|claim| claim.binding).filter(|said| *said != [0; 32]);
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
