//! What an attestation report says, field by field.

use serde_json::json;

use crate::cli::collateral::product_of;
use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::report::describe::fields;
use crate::report::wrapper::LARGEST;
use crate::report::{Evidence, Reason, Report};

/// Shows the report in `bytes`; `None` where there is none.
pub(super) fn show(ui: &Ui, bytes: &[u8], named: &str) -> Option<Result<()>> {
    if bytes.len() > LARGEST {
        return None;
    }
    let evidence = match Evidence::open(bytes) {
        Ok(evidence) => evidence,
        // What is said to be around a report, and is damaged, is nothing else either.
        Err(error)
            if matches!(
                error.reason,
                Reason::WrapperStatus | Reason::HclRuntimeData | Reason::HclType
            ) =>
        {
            return Some(Err(Error::caused(Kind::Malformed, named.to_owned(), error)));
        }
        Err(_) => return None,
    };
    Some(report(ui, &evidence, named))
}

fn report(ui: &Ui, evidence: &Evidence, named: &str) -> Result<()> {
    let report = Report::parse(&evidence.report).context(Kind::Malformed, || named.to_owned())?;
    let product = product_of(&report, &evidence.collateral);
    let fields = fields(&report, product);
    let certificates: Vec<String> =
        evidence.collateral.certificates.iter().map(|it| it.name()).collect();
    if ui.is_json() {
        return ui.json(&json!({
            "kind": "attestation-report",
            "forms": evidence.forms,
            "product": product,
            "fields": fields,
            "certificates": certificates,
            "crls": evidence.collateral.crls.len(),
            "runtime_data": evidence.runtime_data.as_deref().map(String::from_utf8_lossy),
        }));
    }
    let mut text = format!("{}\n", ui.paint(Style::Bold, "attestation report"));
    let width = fields.iter().map(|field| field.field.len()).max().unwrap_or(0);
    for field in &fields {
        text += &format!("  {:#05x}  {:width$}  {}\n", field.offset, field.field, field.value);
        text += &format!("         {:width$}  {}\n", "", ui.paint(Style::Dim, &field.means));
    }
    if !certificates.is_empty() {
        text +=
            &format!("came with certificates: {}\n", printable_in_line(&certificates.join(", ")));
    }
    if let Some(data) = &evidence.runtime_data {
        text += &format!("runtime data, of which REPORT_DATA is the hash: {} bytes\n", data.len());
    }
    ui.answer(&text)?;
    ui.note("nothing of it was checked: `counterfoil verify` does");
    Ok(())
}
