//! `log staple`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::logging::{Bundled, read};
use crate::cli::ui::{Ui, printable_in_line};
use crate::error::{Context as _, Error, Kind, Result};
use crate::log::reader::Reader;
use crate::log::submit::prove_again;
use crate::log::{Note, Signed, VerifierKey};

const EXAMPLES: &str = "\
Examples:
  counterfoil log staple LOG --log VKEY release/*.sigstore.json release/rebuilds/*.sigstore.json
  counterfoil log staple LOG --log VKEY --anyway release/statement.sigstore.json";

/// Bring the proofs of logged statements up to date.
///
/// Each bundle gets a proof by the log's newest checkpoint, with the cosignatures that it has by now; the same
/// proof stands beside it as a .tlog-proof. If a witness has cosigned an older proof and not the newest checkpoint,
/// nothing is written: run `counterfoil log witness` first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Staple {
    /// The log's directory, or the URL that it is served at.
    log: String,
    /// The log's key: a vkey, or a file with one.
    #[arg(long = "log", value_name = "VKEY", value_parser = super::of_log)]
    key: VerifierKey,
    /// Also take a proof that lacks cosignatures which the older one has.
    #[arg(long)]
    anyway: bool,
    /// Bundles of statements that are in it.
    #[arg(required = true)]
    bundles: Vec<PathBuf>,
}

impl Staple {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let reader = Reader::open(&self.log)?;
        let mut stapled = Vec::new();
        for path in &self.bundles {
            let named = || format!("`{}`", printable_in_line(&path.display().to_string()));
            let (_, bundle) = read(path)?;
            let logged = bundle.and_then(|bundle| Some((bundle.logged.clone()?, bundle)));
            let Some((logged, bundle)) = logged else {
                let message = format!("{} was never logged", named());
                return Err(
                    Error::new(Kind::CannotDecide, message).hint("`counterfoil log append` does")
                );
            };
            let Some(proof) = prove_again(&reader, &logged.entry)? else {
                let message = format!("{} is not in this log", named());
                return Err(Error::new(Kind::Rejected, message));
            };
            if !matches!(self.key.verify(&proof.checkpoint), Signed::Good { .. }) {
                let message =
                    format!("the log's checkpoint is not signed by `{}`", self.key.name());
                return Err(Error::new(Kind::Rejected, message));
            }
            let lost = self.lost(&logged.proof.checkpoint, &proof.checkpoint);
            if !self.anyway && !lost.is_empty() {
                let names: Vec<String> =
                    lost.iter().map(|name| format!("`{}`", printable_in_line(name))).collect();
                let message = format!(
                    "{} would lose cosignatures, which the newest checkpoint does not have: {}",
                    named(),
                    names.join(", ")
                );
                return Err(Error::new(Kind::CannotDecide, message)
                    .hint("run `counterfoil log witness` first, or say `--anyway`"));
            }
            let bundle = bundle.with_proof(logged.entry.key, &self.key, proof.clone());
            let bundle = bundle.context(Kind::Malformed, named)?;
            stapled.push((path, Bundled { bundle, proof: Some(proof) }));
        }
        for (path, bundled) in &stapled {
            bundled.write(path)?;
        }
        let index = |bundled: &Bundled| bundled.proof.as_ref().map(|proof| proof.index);
        if ui.is_json() {
            let line = |(path, bundled): &(&PathBuf, Bundled)| json!({ "index": index(bundled), "bundle": path });
            return ui.json(&stapled.iter().map(line).collect::<Vec<_>>());
        }
        let line = |(path, bundled): &(&PathBuf, Bundled)| {
            let index = index(bundled).unwrap_or_default();
            format!("entry {index}  {}\n", printable_in_line(&path.display().to_string()))
        };
        ui.answer(&stapled.iter().map(line).collect::<String>())
    }

    /// The names of those who have cosigned the old checkpoint and not the new one.
    fn lost(&self, old: &Note, new: &Note) -> BTreeSet<String> {
        let names = |note: &Note| -> BTreeSet<String> {
            let names = note.signatures.iter().map(|signature| signature.name.clone());
            names.filter(|name| name != self.key.name()).collect()
        };
        &names(old) - &names(new)
    }
}
