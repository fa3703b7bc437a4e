//! The question: did an AMD processor attest that this release runs, under this policy, at this time? All
//! that speaks against it is told, not only the first.

use super::bound;
use super::chain::{self, Terms};
use super::collateral::Collateral;
use super::describe::Summary;
use super::fields::Report;
use super::machine;
use super::measurement;
use super::policy::Policy;
use super::product::Product;
use super::reason::Reason;
use super::roots::Roots;
use super::time::Time;
use super::verdict::{Diagnosis, Ledger, Matched, Root, VERSION, Verdict};
use super::wrapper::{Evidence, WrapperError};
use crate::digest::Sha384;
use crate::launch::Record;
use crate::launch::igvm::IgvmRecord;

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
    let signer = machine::form(&report, &mut ledger);
    bound::claim(&report, evidence, &mut ledger);

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
    machine::reserved(&report, product, &mut ledger);

    if let Some(product) = product {
        machine::products(product, policy, &mut ledger);
        machine::minimum_tcb(&report, product, policy, &mut ledger);
    }
    if let Some(signer) = signer {
        machine::signers(signer, chain.csp_id.as_deref(), policy, &mut ledger);
    }
    machine::guest_policy(&report, policy, question.expected, &mut ledger);
    machine::platform(&report, policy, &mut ledger);
    machine::guest(&report, policy, &mut ledger);
    machine::chip(&report, policy, &mut ledger);
    machine::mitigations(&report, policy, &mut ledger);
    bound::report_data(&report, question, &mut ledger);
    let (matched, diagnosis) = measurement::measurement(&report, question, &mut ledger);
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
