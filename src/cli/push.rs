//! `push`: a release into a container registry.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::registry::Access;
use crate::cli::settings::Settings;
use crate::cli::ui::{Ui, quoted};
use crate::error::{Error, Kind, Result};
use crate::oci::push;
use crate::oci::reference::Reference;

const EXAMPLES: &str = "\
Examples:
  counterfoil push releases/llama registry.example.org/guests/llama:v1
  counterfoil push releases/llama 127.0.0.1:5000/llama        by digest alone, into a registry here
  counterfoil push releases/llama ghcr.io/me/llama:v1 --username me --password-stdin < token

Who may write there is who `--username` says, or Docker's config.json, where it has the password itself.";

/// Put a release into a container registry, as files that anyone can pull.
///
/// The same release has the same digest there, whoever pushes it and when. What is said about it, such as
/// signatures, proofs and verdicts, is attached to it, and can be attached later by a second `push`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Push {
    /// The release's directory.
    release: PathBuf,
    /// Where it goes: HOST[:PORT]/REPOSITORY[:TAG].
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    #[command(flatten)]
    access: Access,
}

impl Push {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        if self.reference.digest.is_some() {
            let message =
                format!("`{}` has a digest, which only what is pushed says", self.reference);
            return Err(Error::new(Kind::Usage, message));
        }
        let there = self.access.repository(&self.reference, settings)?;
        let pushed = push::push(&there, &self.release, self.reference.tag.as_deref(), ui)?;
        let exact = self.reference.at(pushed.digest).to_string();
        if pushed.by_tag {
            crate::input::progress::Progress::note(
                ui,
                "the registry cannot list what is attached: an index under a tag does, which whoever attaches \
                 at the same time may overwrite",
            );
        }
        if ui.is_json() {
            let said = pushed.said.iter();
            return ui.json(&json!({
                "reference": exact,
                "digest": format!("sha256:{}", pushed.digest),
                "tag": self.reference.tag,
                "files": pushed.files.len(),
                "sent": pushed.sent,
                "attached": said.map(|(path, digest)| json!({
                    "path": path,
                    "digest": format!("sha256:{digest}"),
                })).collect::<Vec<_>>(),
                "attached_by_tag": pushed.by_tag,
            }));
        }
        ui.answer(&exact)?;
        ui.done(&format!(
            "{} files and {} attached to them, of which {} bytes were sent",
            pushed.files.len(),
            pushed.said.len(),
            pushed.sent
        ));
        ui.next(&format!("counterfoil pull {} --output DIR", quoted(&exact)));
        Ok(())
    }
}
