//! `log trusted-root`.

use clap::Args;

use crate::cli::ui::Ui;
use crate::error::{Error, Kind, Result};
use crate::log::VerifierKey;
use crate::statement::trusted_root::{self, TrustedRootError};

const EXAMPLES: &str = "\
Example:
  counterfoil log trusted-root --log VKEY > trusted_root.json
  cosign verify-blob-attestation --key publisher.pem --trusted-root trusted_root.json \\
      --bundle release/statement.sigstore.json --type urn:counterfoil:snp-launch:v1 release/image/kernel";

/// Write the file by which Sigstore's verifiers know a log.
///
/// They take a log's origin to be a host name, so a log that they are to know has an origin without a path.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrustedRoot {
    /// The log's key: a vkey, or a file with one; may be given again.
    #[arg(long = "log", value_name = "VKEY", required = true, value_parser = super::verifier)]
    logs: Vec<VerifierKey>,
}

impl TrustedRoot {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let root = trusted_root::write(&self.logs).map_err(|error| {
            let hint = match &error {
                TrustedRootError::Algorithm(_) => {
                    "the log's vkey is what `counterfoil log init` answers"
                }
                TrustedRootError::Origin(_) => {
                    "make a log whose key's name is a host, such as `log.example.org`"
                }
            };
            Error::caused(Kind::CannotDecide, "Sigstore's verifiers cannot know this log", error)
                .hint(hint)
        })?;
        ui.bytes(&root)
    }
}
