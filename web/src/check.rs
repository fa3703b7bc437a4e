//! From a message to a verdict.

use counterfoil::error::{Context as _, Error, Kind, Result};
use counterfoil::launch::explain::Attested;
use counterfoil::launch::igvm::record::IgvmRecord;
use counterfoil::launch::record::Record;
use serde_json::{Value, json};

use crate::message::{File, Message};
use crate::role::Role;

/// The verdict on the report, as JSON.
///
/// # Errors
/// When one of the files is not what it is taken for, or there is no report.
pub fn verdict(message: &Message<'_>) -> Result<Value> {
    let attested = attested(message)?;
    let mut matched = Value::Null;
    for file in message.all(Role::LaunchRecord) {
        let record = Record::from_json(file.bytes).context(Kind::Malformed, || malformed(file))?;
        let found = record.digests.iter().find(|digest| digest.digest == attested.measurement);
        if let Some(found) = found {
            matched = json!({ "vcpus": found.vcpus, "cpu": found.cpu, "sev_features": found.sev_features,
                "digest": found.digest });
        }
    }
    for file in message.all(Role::IgvmRecord) {
        let record =
            IgvmRecord::from_json(file.bytes).context(Kind::Malformed, || malformed(file))?;
        if record.digest == attested.measurement {
            matched = json!({ "vcpus": record.vcpus, "cpu": null, "sev_features": record.sev_features,
                "digest": record.digest });
        }
    }
    let found = !matched.is_null();
    Ok(json!({
        "version": 1,
        "verdict": "cannot-decide",
        "at": message.now,
        "root": "AMD",
        "report": { "measurement": attested.measurement },
        "matched": matched,
        "checks": [
            { "check": "report-signature", "result": "not-checked", "reason": null,
              "says": "nobody looked at the signature of the report" },
            { "check": "measurement", "result": if found { "passed" } else { "failed" },
              "reason": (!found).then_some("measurement-unknown"),
              "says": if found { "the measurement is one of the release's" }
                      else { "the measurement is none of the release's" } },
        ],
        "reasons": [{ "code": "not-built", "says": "this build of the page checks no signature",
                      "advice": "use one that does" }],
        "notes": [],
        "diagnosis": null,
    }))
}

/// The report's fields, as JSON.
///
/// # Errors
/// When there is no report, or it is not one.
pub fn describe(message: &Message<'_>) -> Result<Value> {
    let attested = attested(message)?;
    Ok(
        json!([{ "field": "MEASUREMENT", "value": attested.measurement, "means": "the launch digest" }]),
    )
}

fn attested(message: &Message<'_>) -> Result<Attested> {
    let report = message.one(Role::Report)?.ok_or_else(|| {
        Error::new(Kind::CannotDecide, "there is no attestation report among the files")
            .hint("add the report, as the machine gave it")
    })?;
    Attested::of(report.bytes).context(Kind::Malformed, || malformed(report))
}

fn malformed(file: &File<'_>) -> String {
    format!("`{}` is not {}", file.name, file.role.words())
}
