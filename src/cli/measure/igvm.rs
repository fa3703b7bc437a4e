//! `--igvm`: the digests of an IGVM file, under the rules of each VMM that takes one.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::measure::image::read;
use crate::cli::measure::{Measure, output, trace};
use crate::cli::ui::{Style, Ui};
use crate::digest::Sha384;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::report::Report as _;
use crate::launch::Igvm;
use crate::launch::igvm::{IgvmError, IgvmProfile, PROFILES};

impl Measure {
    pub(super) fn igvm(&self, ui: &Ui, path: &Path) -> Result<()> {
        let named = || format!("IGVM file `{}`", path.display());
        let igvm = Igvm::parse(read(path)?).context(Kind::Malformed, named)?;
        let asked = self.parameters.profile_name().map(IgvmProfile::by_id).transpose();
        let asked = asked.context(Kind::Usage, || "`--profile` with `--igvm`".to_owned())?;
        if let Some(directory) = &self.dump_vmsa {
            output::dump_vmsas(ui, directory, igvm.vmsas())?;
        }
        if self.trace {
            let profile = asked.ok_or_else(|| {
                Error::new(Kind::Usage, "`--trace` is for one launch").hint("say which `--profile`")
            })?;
            let updates = igvm.updates(profile).context(Kind::Malformed, named)?;
            return trace::of_igvm(ui, profile, &updates);
        }
        let digests = match asked {
            Some(profile) => {
                let digest = igvm.digest(profile).context(Kind::Malformed, named)?;
                self.one(ui, &igvm, profile, &digest)?;
                vec![digest]
            }
            None => self.all(ui, &igvm)?,
        };
        match igvm.id_block() {
            Some(expected) if !digests.contains(&expected) => {
                let message = format!(
                    "the ID block in `{}` is for the digest {expected}: the AMD firmware would \
                     refuse this launch",
                    path.display()
                );
                Err(Error::new(Kind::Rejected, message)
                    .hint("sign the file again, or get the one that was signed"))
            }
            _ => Ok(()),
        }
    }

    fn one(&self, ui: &Ui, igvm: &Igvm, profile: &IgvmProfile, digest: &Sha384) -> Result<()> {
        if ui.is_json() {
            return ui.json(&self.json(igvm, vec![self.row(profile, Ok(digest))]));
        }
        ui.note(&format!("profile {} ({}), {}", profile.id, profile.covers, about(igvm)));
        ui.answer(&self.output_format.text(&digest.0))
    }

    /// Every profile in turn; a VMM that would not launch the file has a reason in place of a digest.
    fn all(&self, ui: &Ui, igvm: &Igvm) -> Result<Vec<Sha384>> {
        let results: Vec<(&IgvmProfile, Result<Sha384, IgvmError>)> =
            PROFILES.iter().map(|profile| (profile, igvm.digest(profile))).collect();
        let digests = results.iter().filter_map(|(_, result)| result.as_ref().ok().copied());
        let digests = digests.collect();
        if ui.is_json() {
            let rows = results.iter().map(|(profile, result)| self.row(profile, result.as_ref()));
            ui.json(&self.json(igvm, rows.collect()))?;
            return Ok(digests);
        }
        let wide = PROFILES.iter().map(|profile| profile.id.len()).max().unwrap_or(0);
        let mut text = format!("{}\n", ui.paint(Style::Dim, &about(igvm)));
        let head = format!("{:wide$}  launch digest", "profile");
        text += &format!("{}\n", ui.paint(Style::Bold, &head));
        for (profile, result) in results {
            let result = match result {
                Ok(digest) => self.output_format.text(&digest.0),
                Err(error) => format!("none: {error}"),
            };
            text += &format!("{:wide$}  {result}\n", profile.id);
        }
        ui.answer(&text)?;
        Ok(digests)
    }

    fn json(&self, igvm: &Igvm, rows: Vec<Value>) -> Value {
        json!({
            "mode": "SEV_SNP",
            "pages": igvm.pages(),
            "vmsas": igvm.vmsas().len(),
            "policy": igvm.policy(),
            "id_block_digest": igvm.id_block(),
            "digests": rows,
        })
    }

    fn row(&self, profile: &IgvmProfile, result: Result<&Sha384, &IgvmError>) -> Value {
        match result {
            Ok(digest) => {
                json!({ "profile": profile.id, "digest": self.output_format.text(&digest.0) })
            }
            Err(error) => json!({ "profile": profile.id, "refused": error.to_string() }),
        }
    }
}

/// What holds under every profile.
fn about(igvm: &Igvm) -> String {
    let policy = match igvm.policy() {
        Some(policy) => format!("policy {policy} ({})", policy.names().join(", ")),
        None => "no policy".to_owned(),
    };
    let block = if igvm.id_block().is_some() { "with an ID block" } else { "no ID block" };
    let count =
        |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (pages, vcpus) = (count(igvm.pages(), "page"), count(igvm.vmsas().len() as u64, "vCPU"));
    format!("{pages}, {vcpus}, {policy}, {block}")
}
