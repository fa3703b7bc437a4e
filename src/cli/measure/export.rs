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
        let digests: Vec<Sha384> = digests.iter().map(|digest| digest.digest).collect();
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
                let id = format!("urn:counterfoil:launch-record:{}", Sha256::of(&json));
                ui.bytes(&export::corim(&id, &digests))
            }
        }
    }
}
