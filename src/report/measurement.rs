//! MEASUREMENT, held against the digests that follow from a release's launch record.

use super::fields::Report;
use super::policy::Policy;
use super::reason::Reason;
use super::verdict::{Check, Diagnosis, Form, Ledger, Matched, Outcome};
use super::verify::{Expected, Question};
use crate::launch::explain::{Candidates, explain};
use crate::launch::igvm::IgvmRecord;
use crate::launch::record::{DigestRecord, RecordError};
use crate::launch::{Record, Set};

/// Which of the launches that the policy takes it is; or why it may be another.
pub(super) fn measurement(
    report: &Report,
    question: &Question<'_>,
    ledger: &mut Ledger,
) -> (Option<Matched>, Option<Diagnosis>) {
    const CHECK: &str = "measurement";
    let found = report.measurement();
    let Policy { vcpus, cpus, .. } = question.policy;
    let release = matches!(question.expected, Expected::Release { .. });
    if !release && (vcpus.is_some() || cpus.is_some()) {
        ledger.not_checked(
            CHECK,
            "the policy's vCPUs and CPUs are those of a release, and none was given",
        );
    }
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
    // What nobody signed may say anything: there is nothing to explain.
    let unsigned =
        |check: &Check| check.check == "report-signature" && check.result == Outcome::Failed;
    if ledger.checks.iter().any(unsigned) {
        return (None, None);
    }
    let candidates = Candidates { signature: report.cpu(), ..Candidates::default() };
    // Near what the policy takes: a count of vCPUs that it asks for is nobody's mistake.
    let mut near = record.clone();
    near.vcpus = vcpus.clone().unwrap_or(near.vcpus);
    near.cpus = cpus.clone().unwrap_or(near.cpus);
    let diagnosis = explain(&near, found, &candidates).ok();
    (None, diagnosis.map(|found| Diagnosis::of(&found, &near)))
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
