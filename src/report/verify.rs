//! The question: did an AMD processor attest that this release runs, under this policy, at this time? All
//! that speaks against it is told, not only the first.

use super::bound;
use super::certificate::Certificate;
use super::chain::{self, Signatures, Terms};
use super::collateral::Collateral;
use super::describe::Summary;
use super::fields::{Report, ReportError, Signer};
use super::machine;
use super::measurement;
use super::policy::Policy;
use super::product::Product;
use super::reason::Reason;
use super::roots::Roots;
use super::time::Time;
use super::verdict::{Asked, Diagnosis, Ledger, Matched, Root, Runs, VERSION, Verdict};
use super::wrapper::{Evidence, WrapperError};
use crate::digest::Sha384;
use crate::launch::Record;
use crate::launch::igvm::IgvmRecord;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the machine gave, as [`Evidence::open`] found it.
    pub evidence: Result<&'a Evidence, &'a WrapperError>,
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
    let mut ledger = Ledger::default();
    let found = question.evidence.map_err(|error| ("evidence", error.reason, error.says.clone()));
    let parsed = found.and_then(|evidence| {
        let report = Report::parse(&evidence.report);
        let wrong = |error: ReportError| ("report-form", error.reason(), error.to_string());
        Ok((evidence, report.map_err(wrong)?))
    });
    match parsed {
        Ok((evidence, report)) => judge(evidence, &report, question, ledger),
        Err((check, reason, says)) => {
            ledger.failed(check, reason, says);
            answer(ledger, question, None, None, None)
        }
    }
}

fn judge(
    evidence: &Evidence,
    report: &Report,
    question: &Question<'_>,
    mut ledger: Ledger,
) -> Verdict {
    let Question { policy, at, roots, .. } = *question;
    for says in &question.collateral.damaged {
        ledger.failed("collateral", Reason::CollateralDamaged, says);
    }
    strangers(question, evidence, &mut ledger);
    let collateral = question.collateral.with(&evidence.collateral);
    let signer = machine::form(report, &mut ledger);
    bound::claim(report, evidence, &mut ledger);

    let terms = Terms {
        collateral: &collateral,
        roots,
        freshness: policy.freshness,
        at,
        signatures: Signatures::default(),
    };
    let chain = signer.map(|signer| chain::check(report, signer, &terms)).unwrap_or_default();
    let product = chain.product.or_else(|| report.cpu().and_then(Product::of));
    ledger.append(chain.ledger);
    machine::reserved(report, product, &mut ledger);

    let attested = Attested { report, product, signer, csp_id: chain.csp_id.as_deref() };
    attested.hold(policy, question.expected, &mut ledger);
    bound::report_data(report, evidence, question, &mut ledger);
    let (matched, diagnosis) = measurement::measurement(report, question, &mut ledger);
    notes(report, product, question, &mut ledger);
    let summary = Summary::of(report, product);
    answer(ledger, question, Some(summary), matched, diagnosis)
}

/// What a report says of its machine.
struct Attested<'a> {
    report: &'a Report,
    product: Option<Product>,
    signer: Option<Signer>,
    csp_id: Option<&'a str>,
}

impl Attested<'_> {
    /// Holds it against a policy.
    fn hold(&self, policy: &Policy, expected: Expected<'_>, ledger: &mut Ledger) {
        let Self { report, .. } = *self;
        if let Some(product) = self.product {
            machine::products(product, policy, ledger);
            machine::minimum_tcb(report, product, policy, ledger);
        }
        if let Some(signer) = self.signer {
            machine::signers(signer, self.csp_id, policy, ledger);
        }
        machine::guest_policy(report, policy, expected, ledger);
        machine::platform(report, policy, ledger);
        machine::guest(report, policy, ledger);
        machine::chip(report, policy, ledger);
        machine::mitigations(report, policy, ledger);
    }
}

/// What of another policy a machine does not meet, in words. Who signed the report is not asked here.
pub fn unmet(question: &Question<'_>, policy: &Policy) -> Vec<String> {
    let Ok(Ok(report)) = question.evidence.map(|evidence| Report::parse(&evidence.report)) else {
        return vec!["there is no report that can be read".to_owned()];
    };
    let product = report.cpu().and_then(Product::of);
    let signer = machine::form(&report, &mut Ledger::default());
    let mut ledger = Ledger::default();
    Attested { report: &report, product, signer, csp_id: None }.hold(
        policy,
        Expected::Anything,
        &mut ledger,
    );
    ledger.findings().into_iter().map(|found| found.says).collect()
}

/// Certificates that nothing leads to. One that whoever asks has given was meant to count, and one that is, or
/// calls itself, AMD's is damaged, or made by somebody. Of what else comes with evidence it is enough to know.
fn strangers(question: &Question<'_>, evidence: &Evidence, ledger: &mut Ledger) {
    let named = |found: &Certificate| format!("`{}`", found.subject());
    for found in question.collateral.strangers() {
        ledger.failed("collateral", Reason::CertificateUnknown, named(found));
    }
    for found in evidence.collateral.strangers() {
        match found.is_amds_in_word() || question.roots.concerns(found) {
            true => ledger.failed("evidence", Reason::CertificateUnknown, named(found)),
            false => {
                let subject = named(found);
                ledger.note(format!("a certificate of no chain of AMD's came along: {subject}"));
            }
        }
    }
}

fn answer(
    ledger: Ledger,
    question: &Question<'_>,
    report: Option<Summary>,
    matched: Option<Matched>,
    diagnosis: Option<Diagnosis>,
) -> Verdict {
    Verdict {
        version: VERSION,
        verdict: ledger.answer(),
        at: question.at,
        root: if question.roots.is_amd() { Root::Amd } else { Root::Other },
        asked: Asked {
            runs: match question.expected {
                Expected::Release { .. } | Expected::Invalid(_) => Runs::Release,
                Expected::Measurement(_) => Runs::Measurement,
                Expected::Anything => Runs::Anything,
            },
            report_data: question.policy.report_data.name(),
            nonce: question.nonce.is_some(),
        },
        report,
        matched,
        reasons: ledger.findings(),
        checks: ledger.checks,
        notes: ledger.notes,
        diagnosis,
    }
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
