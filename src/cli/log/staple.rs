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
use crate::log::{Note, Signature, Signed, VerifierKey};

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
    /// A trust policy, by whose witnesses' keys it is known which cosignatures hold.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Also take a proof that lacks cosignatures which the older one has.
    #[arg(long)]
    anyway: bool,
    /// Bundles of statements that are in it.
    #[arg(required = true)]
    bundles: Vec<PathBuf>,
}

impl Staple {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let policy = self.trust.as_deref().map(super::read_trust).transpose()?;
        let witnesses = policy.into_iter().flat_map(|policy| policy.witnesses.into_values());
        let witnesses: Vec<VerifierKey> = witnesses.map(|witness| witness.key).collect();
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
            let lost = self.lost(&logged.proof.checkpoint, &proof.checkpoint, &witnesses);
            if !self.anyway && !lost.is_empty() {
                let names: Vec<String> =
                    lost.iter().map(|name| format!("`{}`", printable_in_line(name))).collect();
                let message = format!(
                    "{} would lose cosignatures, which the newest checkpoint does not have: {}",
                    named(),
                    names.join(", ")
                );
                return Err(Error::new(Kind::CannotDecide, message)
                    .hint("run `counterfoil log witness` first, or say `--anyway`")
                    .hint("by `--trust FILE`, cosignatures that were made anew are known from spoiled ones"));
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
    ///
    /// Of a witness who is not known, a line is there or not; but one that has changed over the same text may be
    /// spoiled, and so is not taken for the one that was there.
    fn lost(&self, old: &Note, new: &Note, witnesses: &[VerifierKey]) -> BTreeSet<String> {
        let known = |line: &Signature| witnesses.iter().find(|key| key.is_named_by(line));
        let has = |line: &&Signature| match known(line) {
            Some(key) => key.verify(new).is_good(),
            None if old.text == new.text => new.signatures.contains(line),
            None => new.signatures.iter().any(|it| (&it.name, it.id) == (&line.name, line.id)),
        };
        let spoiled =
            |line: &&Signature| known(line).is_some_and(|key| key.verify(new) == Signed::Bad);
        let cosigned = old.signatures.iter().filter(|line| line.name != self.key.name());
        let lost = cosigned.filter(|line| !has(line));
        let lost = lost.chain(new.signatures.iter().filter(spoiled));
        lost.map(|line| line.name.clone()).collect()
    }
}
