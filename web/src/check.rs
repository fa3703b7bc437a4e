//! From a message to a verdict: what the command `verify` does with files, without the command.

use counterfoil::digest::parse_hex;
use counterfoil::error::{Context as _, Error, Kind, Result, in_one_line};
use counterfoil::launch::Record;
use counterfoil::launch::igvm::IgvmRecord;
use counterfoil::launch::igvm::record::IgvmRecordError;
use counterfoil::launch::record::RecordError;
use counterfoil::report::policy::{Binding, ReportData};
use counterfoil::report::verdict::Form;
use counterfoil::report::{
    Collateral, Evidence, Expected, Policy, Product, Question, Report, Roots, Time, describe,
    verify,
};
use serde_json::{Map, Value, json};

use crate::message::{File, Message};
use crate::role::Role;

/// The verdict on the report, and what each of its reasons means in words.
///
/// # Errors
/// When something that the person gave beside the report is not what it is taken for, or there is nothing to
/// compare. Whatever is wrong with the report itself is a verdict.
pub fn verdict(message: &Message<'_>) -> Result<Value> {
    let at: Time = message
        .at
        .parse()
        .context(Kind::Usage, || "that is not a time to decide for".to_owned())?;
    let bytes = report(message)?;
    let known = Known::of(message)?;
    let roots = roots(message)?;
    let mut collateral = Collateral::default();
    for file in message.all(Role::Collateral) {
        collateral.merge(&read_collateral(file)?).context(Kind::Malformed, || malformed(file))?;
    }
    let mut policy = policy(message)?;
    let nonce = challenge(message, &mut policy)?;
    let mut verdict = verify::verify(&Question {
        evidence: Evidence::open(bytes).as_ref(),
        collateral: &collateral,
        roots: &roots,
        policy: &policy,
        expected: known.expected(),
        nonce,
        at,
    });
    if verdict.matched.as_ref().is_some_and(|matched| matched.launch == Form::Igvm) {
        verdict.notes.insert(
            0,
            "The digest is the one in igvm.json, for which the launch record does not vouch. \
             `counterfoil verify --artifacts` makes the IGVM file again from the release's files."
                .to_owned(),
        );
    }
    let codes = verdict.reasons.iter().map(|finding| finding.code);
    let means: Map<_, _> =
        codes.map(|code| (code.code().to_owned(), code.means().into())).collect();
    let verdict =
        serde_json::to_value(verdict).context(Kind::Malformed, || "the verdict".to_owned())?;
    Ok(json!({ "verdict": verdict, "means": means }))
}

/// The report's fields.
///
/// # Errors
/// When there is no report, or it is not one.
pub fn fields(message: &Message<'_>) -> Result<Value> {
    let not_one = || "there is no report to be read".to_owned();
    let evidence = Evidence::open(report(message)?).context(Kind::Malformed, not_one)?;
    let report = Report::parse(&evidence.report).context(Kind::Malformed, not_one)?;
    let fields = describe::fields(&report, report.cpu().and_then(Product::of));
    serde_json::to_value(fields).context(Kind::Malformed, not_one)
}

/// What the machine must run, held.
enum Known {
    Release(Box<(Record, Option<IgvmRecord>)>),
    Invalid(String),
}

impl Known {
    fn of(message: &Message<'_>) -> Result<Self> {
        let file = message.one(Role::LaunchRecord)?.ok_or_else(|| {
            Error::new(Kind::CannotDecide, "there is no release to compare the report with")
                .hint("add the release's `launch.json`, beside its `igvm.json` if it has one")
        })?;
        let record = match Record::from_json(file.bytes) {
            // A record that contradicts itself is a reason like any other.
            Err(error @ RecordError::Digest { .. }) => {
                return Ok(Self::Invalid(in_one_line(&error)));
            }
            record => record.context(Kind::Malformed, || malformed(file))?,
        };
        let Some(file) = message.one(Role::IgvmRecord)? else {
            return Ok(Self::Release(Box::new((record, None))));
        };
        match IgvmRecord::from_json(file.bytes) {
            Err(error @ IgvmRecordError::Digest { .. }) => Ok(Self::Invalid(in_one_line(&error))),
            Err(error) => Err(error).context(Kind::Malformed, || malformed(file)),
            Ok(igvm)
                if igvm.firmware == record.firmware.sha256
                    && record.boot.as_ref() == Some(&igvm.boot) =>
            {
                Ok(Self::Release(Box::new((record, Some(igvm)))))
            }
            Ok(_) => Ok(Self::Invalid(format!(
                "`{}` is of another image than the launch record",
                file.name
            ))),
        }
    }

    fn expected(&self) -> Expected<'_> {
        match self {
            Self::Release(release) => {
                Expected::Release { record: &release.0, igvm: release.1.as_ref() }
            }
            Self::Invalid(why) => Expected::Invalid(why),
        }
    }
}

fn report<'a>(message: &Message<'a>) -> Result<&'a [u8]> {
    let report = message.one(Role::Report)?.ok_or_else(|| {
        Error::new(Kind::CannotDecide, "there is no attestation report among the files")
            .hint("add the report, in whatever the machine gave it")
    })?;
    Ok(report.bytes)
}

fn roots(message: &Message<'_>) -> Result<Roots> {
    let Some(file) = message.one(Role::Root)? else { return Ok(Roots::amd()) };
    let collateral = read_collateral(file)?;
    let root = match collateral.certificates.as_slice() {
        [root] => Roots::other(root),
        _ => None,
    };
    root.ok_or_else(|| Error::new(Kind::Malformed, malformed(file)))
}

fn policy(message: &Message<'_>) -> Result<Policy> {
    let Some(file) = message.one(Role::Policy)? else { return Ok(Policy::conservative()) };
    let text = std::str::from_utf8(file.bytes).context(Kind::Malformed, || malformed(file))?;
    Policy::parse(&file.name, text)
}

/// What a person says of REPORT_DATA counts more than the policy: all of it, or the nonce that the guest's
/// agent makes it from.
fn challenge(message: &Message<'_>, policy: &mut Policy) -> Result<Option<[u8; 32]>> {
    let Some(challenge) = message.challenge.as_deref() else { return Ok(None) };
    let challenge = challenge.to_ascii_lowercase();
    if let Ok(data) = parse_hex(&challenge) {
        policy.report_data = ReportData::Raw(data);
        return Ok(None);
    }
    let nonce = parse_hex(&challenge).map_err(|_| {
        Error::new(
            Kind::Usage,
            "the challenge is neither a nonce (64 hex digits) nor REPORT_DATA (128)",
        )
    })?;
    if policy.report_data == ReportData::Unchecked {
        policy.report_data = ReportData::Labelled(Binding::Any);
    }
    Ok(Some(nonce))
}

fn read_collateral(file: &File<'_>) -> Result<Collateral> {
    Collateral::read(file.bytes).context(Kind::Malformed, || malformed(file))
}

fn malformed(file: &File<'_>) -> String {
    format!("`{}` cannot be read as {}", file.name, file.role.words())
}
