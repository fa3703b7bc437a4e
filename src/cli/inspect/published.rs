//! What is published with a release, read and not verified: statements in whatever they came in, checkpoints, proofs.

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::log::{Checkpoint, Note, Proof};
use crate::statement::bundle::Bundle;
use crate::statement::constraints::{Bits, Constraints};
use crate::statement::dsse::Envelope;
use crate::statement::intoto::{Predicate, Statement, predicate_type};
use crate::statement::launch::{self, Launch, Revoked};
use crate::statement::provenance::{self, Provenance};
use crate::statement::revocation::{self, Revocation};
use crate::statement::vsa::{self, Summary};

/// Shows what is published; `None` for what is nothing of this.
pub(super) fn show(ui: &Ui, bytes: &[u8], named: &str) -> Option<Result<()>> {
    match parts(bytes)? {
        Ok(parts) => Some(print(ui, parts, named)),
        Err(what) => Some(Err(Error::new(Kind::Malformed, format!("{named} is {what}")))),
    }
}

/// A piece with its heading.
struct Part {
    kind: &'static str,
    rows: Vec<(&'static str, String)>,
    json: Value,
    /// Why it is not understood.
    unclear: Option<String>,
}

fn print(ui: &Ui, parts: Vec<Part>, named: &str) -> Result<()> {
    let unclear = parts.iter().find_map(|part| part.unclear.clone());
    if ui.is_json() {
        let part = |part: Part| {
            let mut json = json!({ "kind": part.kind.to_lowercase().replace(' ', "-") });
            if let (Some(json), Value::Object(more)) = (json.as_object_mut(), part.json) {
                json.extend(more);
            }
            json
        };
        let parts: Vec<Value> = parts.into_iter().map(part).collect();
        ui.json(&json!({ "kind": "published", "verified": false, "parts": parts }))?;
    } else {
        let mut text = String::new();
        for part in parts {
            text += &format!("{}\n", ui.paint(Style::Bold, part.kind));
            for (label, value) in part.rows {
                text += &format!("  {label:18}{}\n", printable_in_line(&value));
            }
        }
        ui.answer(&text)?;
        ui.note("nothing of it was verified: `counterfoil verify --release DIR --trust POLICY` and `log verify` do");
    }
    match unclear {
        None => Ok(()),
        Some(why) => Err(Error::new(Kind::CannotDecide, format!("{named}: not understood: {why}"))),
    }
}

/// What is in a file, from the outside in; the error is of what says that it is something and is not.
fn parts(bytes: &[u8]) -> Option<std::result::Result<Vec<Part>, String>> {
    let text = str::from_utf8(bytes).ok()?;
    if !text.trim_start().starts_with('{') {
        if let Ok(proof) = Proof::parse(text) {
            return Some(Ok(vec![of_proof(&proof), of_checkpoint(&proof.checkpoint)?]));
        }
        if text.starts_with("c2sp.org/tlog-proof@") {
            return Some(Proof::parse(text).map(|_| Vec::new()).map_err(damaged("a tlog-proof")));
        }
        return Note::parse(text).ok().and_then(|note| of_checkpoint(&note)).map(|it| Ok(vec![it]));
    }
    let value: Value = serde_json::from_str(text).ok()?;
    if value.get("dsseEnvelope").is_some() {
        return Some(Bundle::from_json(bytes).map(of_bundle).map_err(damaged("a Sigstore bundle")));
    }
    if value.get("payloadType").is_some() {
        let envelope = Envelope::from_json(bytes).map_err(damaged("a DSSE envelope"));
        return Some(envelope.map(|envelope| {
            let rows = vec![("signed by", "whom, it does not say".to_owned())];
            let envelope_part =
                Part { kind: "DSSE envelope", rows, json: json!({}), unclear: None };
            vec![envelope_part, of_statement(&envelope.payload)]
        }));
    }
    predicate_type(bytes).is_ok().then(|| Ok(vec![of_statement(bytes)]))
}

fn damaged<E: std::error::Error>(what: &str) -> impl FnOnce(E) -> String {
    move |error| {
        let causes = std::iter::successors(error.source(), |error| error.source());
        let causes: String = causes.map(|cause| format!(": {cause}")).collect();
        format!("{what} that is damaged, or of another form: {error}{causes}")
    }
}

fn of_bundle(bundle: Bundle) -> Vec<Part> {
    let logged = bundle.logged.as_ref();
    let entry = match logged {
        Some(logged) => format!("entry {} of a log", logged.proof.index),
        None => "none: it was never logged".to_owned(),
    };
    let key = logged.map(|logged| logged.entry.key.id());
    let mut rows = vec![("key hint", bundle.hint.clone())];
    rows.extend(key.map(|key| ("key in the entry", key.to_string())));
    rows.push(("log entry", entry));
    let json = json!({ "hint": bundle.hint, "key": key });
    let mut parts = vec![Part { kind: "Sigstore bundle", rows, json, unclear: None }];
    parts.push(of_statement(&bundle.envelope.payload));
    if let Some(logged) = logged {
        parts.push(of_proof(&logged.proof));
        parts.extend(of_checkpoint(&logged.proof.checkpoint));
    }
    parts
}

fn of_proof(proof: &Proof) -> Part {
    let extra = proof.extra.as_ref().map_or(0, Vec::len);
    let rows = vec![
        ("index", proof.index.to_string()),
        ("hashes", proof.hashes.len().to_string()),
        ("extra data", format!("{extra} bytes")),
    ];
    let json = json!({ "index": proof.index, "hashes": proof.hashes, "extra-bytes": extra });
    Part { kind: "proof of logging", rows, json, unclear: None }
}

fn of_checkpoint(note: &Note) -> Option<Part> {
    let Checkpoint { origin, size, root, extensions } = Checkpoint::parse(&note.text).ok()?;
    let mut rows = vec![
        ("origin", origin.clone()),
        ("size", format!("{size} entries")),
        ("root", root.to_string()),
    ];
    rows.extend(extensions.iter().map(|line| ("extension", line.clone())));
    let id = |id: [u8; 4]| format!("{:08x}", u32::from_be_bytes(id));
    for line in &note.signatures {
        let value = format!("{}, key {}, {} bytes", line.name, id(line.id), line.bytes.len());
        rows.push(("signature line", value));
    }
    let signatures = note.signatures.iter();
    let signatures = signatures
        .map(|line| json!({ "name": line.name, "key": id(line.id), "bytes": line.bytes.len() }));
    let json = json!({
        "origin": origin,
        "size": size,
        "root": root,
        "extensions": extensions,
        "signatures": signatures.collect::<Vec<_>>(),
    });
    Some(Part { kind: "checkpoint", rows, json, unclear: None })
}

fn of_statement(payload: &[u8]) -> Part {
    let kind = predicate_type(payload);
    let said = match kind.as_deref() {
        Ok(launch::TYPE) => said(payload, "statement of a release", of_launch),
        Ok(provenance::TYPE) => said(payload, "provenance", of_provenance),
        Ok(revocation::TYPE) => said(payload, "revocation", of_revocation),
        Ok(vsa::TYPE) => said(payload, "verification summary", of_summary),
        Ok(other) => Err(format!("a statement of the unknown kind `{other}`")),
        Err(error) => Err(error.to_string()),
    };
    let sha256 = Sha256::of(payload);
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    let (kind, mut rows, unclear) = match said {
        Ok((kind, rows)) => (kind, rows, None),
        Err(why) => ("statement", vec![("not understood", why.clone())], Some(why)),
    };
    rows.insert(0, ("SHA-256", sha256.to_string()));
    let verdict = Statement::<Provenance>::from_json(payload).ok();
    let verdict = verdict.and_then(|statement| statement.predicate.verdict().ok().flatten());
    let json = json!({ "sha256": sha256, "statement": value, "verdict": verdict });
    Part { kind, rows, json, unclear }
}

type Rows = Vec<(&'static str, String)>;

fn said<P: Predicate>(
    payload: &[u8],
    kind: &'static str,
    rows: fn(&P) -> Rows,
) -> std::result::Result<(&'static str, Rows), String> {
    let statement = Statement::<P>::from_json(payload).map_err(damaged(kind))?;
    let mut rows = rows(&statement.predicate);
    rows.push(("subjects", format!("{}, each with its digest", statement.subjects.len())));
    Ok((kind, rows))
}

fn of_launch(launch: &Launch) -> Rows {
    let mut rows = vec![
        ("release", launch.release.clone()),
        ("number", launch.sequence.to_string()),
        ("valid from", launch.validity.not_before.to_string()),
        ("valid until", launch.validity.not_after.to_string()),
        ("launch record", launch.launch_record.sha256.to_string()),
        ("manifest", launch.recipe.manifest.sha256.to_string()),
        ("lock", launch.recipe.lock.sha256.to_string()),
        ("launch digests", launch.digests().count().to_string()),
    ];
    for group in &launch.measurements {
        let form = word(&group.form);
        let value = format!("{} under {}, {form}", group.launches.len(), group.profile);
        rows.push(("", value));
    }
    rows.extend(of_constraints(&launch.report_constraints));
    rows.extend(launch.supersedes.iter().map(|it| ("supersedes", it.to_string())));
    rows.extend(revoked(&launch.revokes));
    rows
}

/// What a report must say, in short: all of it is in the JSON.
fn of_constraints(constraints: &Constraints) -> Rows {
    let bits = |bits: &Bits| match (bits.deny.join(", "), bits.require.join(", ")) {
        (deny, require) if deny.is_empty() && require.is_empty() => "anything".to_owned(),
        (deny, require) if require.is_empty() => format!("without {deny}"),
        (deny, require) if deny.is_empty() => format!("with {require}"),
        (deny, require) => format!("with {require}; without {deny}"),
    };
    let mut rows = vec![
        ("processors", words(&constraints.products)),
        ("report signed by", words(&constraints.signers)),
        ("minimum TCB", format!("{} given", constraints.minimum_tcb.len())),
        ("guest policy", bits(&constraints.guest_policy)),
        ("platform", bits(&constraints.platform)),
        ("VMPL", words(&constraints.vmpl)),
        ("guest SVN", format!("{} or higher", constraints.minimum_guest_svn)),
    ];
    let optional = [
        ("FAMILY_ID", constraints.family_id.clone()),
        ("IMAGE_ID", constraints.image_id.clone()),
        ("ID keys", constraints.id_keys.as_ref().map(|keys| format!("one of {}", keys.len()))),
        ("author keys", constraints.author_keys.as_ref().map(|it| format!("one of {}", it.len()))),
        ("HOST_DATA", constraints.host_data.clone()),
        ("REPORT_DATA", constraints.report_data_scheme.map(|scheme| scheme.name().to_owned())),
    ];
    rows.extend(optional.into_iter().filter_map(|(label, value)| Some((label, value?))));
    rows
}

fn of_provenance(provenance: &Provenance) -> Rows {
    let (definition, run) = (&provenance.build_definition, &provenance.run_details);
    let mut rows = vec![("by", run.builder.id.clone())];
    rows.extend(run.metadata.map(|metadata| ("finished", metadata.finished_on.to_string())));
    rows.push(("tool", format!("counterfoil {}", run.builder.version.counterfoil)));
    rows.push(("inputs", definition.resolved_dependencies.len().to_string()));
    if let Some(target) = definition.external_parameters.target {
        rows.push(("rebuild of", format!("the launch record {}", target.launch_record.sha256)));
    }
    let Ok(Some(verdict)) = provenance.verdict() else { return rows };
    let found = match (verdict.matches, verdict.measured) {
        (true, true) => "reproduced: every byte that was compared is the same",
        (false, true) => "the same measurements, and other bytes elsewhere",
        (_, false) => "differs: something that is measured is not the same",
    };
    rows.push(("verdict", found.to_owned()));
    let digests: usize = verdict.measurements.iter().map(|group| group.launches.len()).sum();
    rows.push(("launch digests", digests.to_string()));
    let first = verdict.first_difference;
    rows.extend(
        first.map(|it| ("first difference", format!("[{}] {}: {}", it.cause, it.place, it.what))),
    );
    rows
}

fn of_revocation(revocation: &Revocation) -> Rows {
    let mut rows = vec![("issued", revocation.issued.to_string())];
    rows.extend(revoked(&revocation.revokes));
    rows
}

fn of_summary(summary: &Summary) -> Rows {
    vec![
        ("by", summary.verifier.id.clone()),
        ("verified", summary.time_verified.to_string()),
        ("release", summary.resource_uri.clone()),
        ("policy", summary.policy.uri.clone().unwrap_or_default()),
        ("result", word(&summary.verification_result)),
        ("levels", summary.verified_levels.join(", ")),
        ("attestations", summary.input_attestations.len().to_string()),
    ]
}

fn revoked(revokes: &[Revoked]) -> Rows {
    revokes.iter().map(|it| ("revokes", format!("{}: {}", it.statement, it.reason))).collect()
}

/// The names that values have in the statement.
fn words<T: Serialize>(values: &[T]) -> String {
    values.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(value) => value.to_string(),
        Err(_) => String::new(),
    }
}
