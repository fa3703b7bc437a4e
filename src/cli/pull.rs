//! `pull`: a release out of a container registry.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::registry::Access;
use crate::cli::settings::Settings;
use crate::cli::ui::{Ui, quoted};
use crate::error::Result;
use crate::input::progress::Progress as _;
use crate::oci::pull;
use crate::oci::reference::Reference;

const EXAMPLES: &str = "\
Examples:
  counterfoil pull registry.example.org/guests/llama:v1 --output llama
  counterfoil pull registry.example.org/guests/llama@sha256:DIGEST --output llama

A tag may be moved; a digest says which release it must be. Neither says who made it, nor that it is what
it says: `counterfoil verify` does.";

/// Get a release out of a container registry.
///
/// Every file is held against its digest, and the directory is there whole or not at all. Of several things with
/// one name that are attached to the release all are pulled: the newest, by what it says of itself, has the name,
/// and the others have the beginning of their digest in theirs; older statements of the publisher are then in
/// `statements`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pull {
    /// Where it is: HOST[:PORT]/REPOSITORY, and :TAG or @sha256:DIGEST.
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// The directory to make.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    access: Access,
}

impl Pull {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let there = self.access.repository(&self.reference, settings)?;
        let pulled = pull::pull(&there, &self.output, ui)?;
        let exact = self.reference.at(pulled.digest).to_string();
        let size: u64 = pulled.files.iter().map(|file| file.object.size).sum();
        if ui.is_json() {
            let paths = |files: &[crate::oci::manifest::File]| {
                files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()
            };
            return ui.json(&json!({
                "reference": exact,
                "digest": format!("sha256:{}", pulled.digest),
                "output": self.output.display().to_string(),
                "files": paths(&pulled.files),
                "size": size,
                "attached": paths(&pulled.said),
                "attached_by_tag": pulled.by_tag,
            }));
        }
        ui.answer(&exact)?;
        if pulled.said.is_empty() {
            ui.note("nothing is attached to it: no signature, no proof, no rebuilder's verdict");
        }
        let output = self.output.display().to_string();
        ui.done(&format!(
            "`{output}`: {} files of {size} bytes, and {} attached to them",
            pulled.files.len(),
            pulled.said.len()
        ));
        ui.next(&format!("counterfoil measure {}", quoted(&output)));
        Ok(())
    }
}
