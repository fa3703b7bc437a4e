//! The digests as other verifiers take them.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use serde_json::json;

use crate::cli::measure::output;
use crate::cli::ui::Ui;
use crate::digest::{Sha256, Sha384};
use crate::error::{Context as _, Error, Kind, Result};
use crate::launch::Record;
use crate::launch::export::{self, Trustee};
use crate::launch::measure::Digest;

/// Who takes them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Export {
    /// A message for Trustee's Reference Value Provider Service, in JSON.
    Trustee,
    /// An unsigned CoRIM, in CBOR.
    Corim,
}

impl Export {
    /// Exports these digests of what `record` is of.
    pub(super) fn print(self, ui: &Ui, record: &Record, digests: &[Digest]) -> Result<()> {
        // Where RDX is fixed, all CPUs have one digest.
        let mut values: Vec<Sha384> = Vec::new();
        for digest in digests {
            if !values.contains(&digest.digest) {
                values.push(digest.digest);
            }
        }
        let digests = values;
        let json =
            record.to_json().context(Kind::Environment, || "the launch record".to_owned())?;
        match self {
            Self::Trustee => {
                let values = serde_json::to_vec(&Trustee::new(digests, record.policy))
                    .context(Kind::Environment, || "failed writing JSON".to_owned())?;
                // rvps/README.md, "Message", and the decoding in rvps/src/extractors/sample/mod.rs.
                let provenance = output::base64(&values);
                ui.json(&json!({ "version": "0.1.0", "type": "sample", "provenance": provenance }))
            }
            Self::Corim => {
                if io::stdout().is_terminal() {
                    let message = "a CoRIM is binary and standard output is a terminal";
                    return Err(Error::new(Kind::Usage, message).hint("redirect it to a file"));
                }
                let id = id(record, &json, &digests);
                ui.bytes(&export::corim(&id, &digests))
            }
        }
    }
}

/// What the values are of: the record if they are its own, else themselves.
fn id(record: &Record, json: &[u8], digests: &[Sha384]) -> String {
    let own = record.digests.iter().all(|row| digests.contains(&row.digest))
        && digests.iter().all(|digest| record.digests.iter().any(|row| row.digest == *digest));
    match own {
        true => format!("urn:counterfoil:launch-record:{}", Sha256::of(json)),
        false => {
            let text: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
            format!("urn:counterfoil:launch-digests:{}", Sha256::of(text))
        }
    }
}
