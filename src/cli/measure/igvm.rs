//! `--igvm`: the digests of an IGVM file, under the rules of each VMM that takes one.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::measure::{Measure, output, trace};
use crate::cli::ui::{Style, Ui};
use crate::digest::Sha384;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::input::progress::Progress as _;
use crate::launch::Igvm;
use crate::launch::igvm::{IgvmError, IgvmProfile, PROFILES};

/// The file under one profile; a VMM that would not launch it has a reason in place of a digest.
struct Row {
    profile: &'static IgvmProfile,
    digest: Result<Sha384, IgvmError>,
    /// Whether the file's ID block is for this digest, if there are both.
    matches: Option<bool>,
}

impl Measure {
    pub(super) fn igvm(&self, ui: &Ui, path: &Path) -> Result<()> {
        let named = || format!("IGVM file `{}`", path.display());
        let igvm = Igvm::parse(bounded::whole(path)?).context(Kind::Malformed, named)?;
        let asked = self.parameters.profile_name().map(IgvmProfile::by_id).transpose();
        let asked = asked.context(Kind::Usage, || "`--profile` with `--igvm`".to_owned())?;
        if self.trace && asked.is_none() {
            return Err(Error::new(Kind::Usage, "`--trace` is for one launch")
                .hint("say which `--profile`"));
        }
        let rows: Vec<Row> = match asked {
            Some(profile) => {
                let digest = igvm.digest(profile).context(Kind::Malformed, named)?;
                vec![Row::new(&igvm, profile, Ok(digest))]
            }
            None => PROFILES.iter().map(|of| Row::new(&igvm, of, igvm.digest(of))).collect(),
        };
        igvm.doubts().iter().for_each(|doubt| ui.warn(&doubt.to_string()));
        let verdict = verdict(path, &igvm, &rows);
        if let (Ok(()), Some(directory)) = (&verdict, &self.dump_vmsa) {
            output::dump_vmsas(ui, directory, igvm.vmsas())?;
        }
        match (asked, rows.as_slice()) {
            (Some(profile), _) if self.trace => {
                let updates = igvm.updates(profile).context(Kind::Malformed, named)?;
                trace::of_igvm(ui, &igvm, profile, &updates)?;
            }
            _ if ui.is_json() => ui.json(&self.json(&igvm, &rows))?,
            (Some(_), [Row { profile, digest: Ok(digest), .. }]) => {
                let (id, covers) = (profile.id, profile.covers);
                ui.note(&format!("profile {id} ({covers}), {}", about(&igvm)));
                ui.answer(&self.output_format.text(&digest.0))?;
            }
            _ => self.table(ui, &igvm, &rows)?,
        }
        verdict?;
        note_others(ui, path, &rows);
        Ok(())
    }

    fn table(&self, ui: &Ui, igvm: &Igvm, rows: &[Row]) -> Result<()> {
        let wide = rows.iter().map(|row| row.profile.id.len()).max().unwrap_or(0);
        let mut text = format!("{}\n", ui.paint(Style::Dim, &about(igvm)));
        let head = format!("{:wide$}  launch digest", "profile");
        text += &format!("{}\n", ui.paint(Style::Bold, &head));
        for row in rows {
            let result = match &row.digest {
                Ok(digest) => self.output_format.text(&digest.0),
                Err(error) => format!("none: {error}"),
            };
            let mark = match row.matches {
                Some(true) => "  matches the ID block",
                Some(false) => "  differs from the ID block",
                None => "",
            };
            let id = row.profile.id;
            text += &format!("{id:wide$}  {result}{mark}\n");
        }
        ui.answer(&text)
    }

    fn json(&self, igvm: &Igvm, rows: &[Row]) -> Value {
        json!({
            "mode": "SEV_SNP",
            "pages": igvm.pages(),
            "vmsas": igvm.vmsas().len(),
            "policy": igvm.policy(),
            "id_block_digest": igvm.id_block(),
            "warnings": warnings(igvm),
            "digests": rows.iter().map(|row| self.row(row)).collect::<Vec<_>>(),
        })
    }

    fn row(&self, row: &Row) -> Value {
        let (profile, id_block) = (row.profile.id, row.id_block());
        match &row.digest {
            Ok(digest) => {
                let digest = self.output_format.text(&digest.0);
                json!({ "profile": profile, "digest": digest, "id_block": id_block })
            }
            Err(error) => json!({ "profile": profile, "refused": error.to_string() }),
        }
    }
}

impl Row {
    fn new(igvm: &Igvm, profile: &'static IgvmProfile, digest: Result<Sha384, IgvmError>) -> Self {
        let digests = igvm.id_block().zip(digest.as_ref().ok());
        let matches = digests.map(|(expected, digest)| expected == *digest);
        Self { profile, digest, matches }
    }

    fn id_block(&self) -> Option<&'static str> {
        self.matches.map(|matches| if matches { "matches" } else { "differs" })
    }
}

/// With an ID block for none of these launches, the AMD firmware starts none of them.
fn verdict(path: &Path, igvm: &Igvm, rows: &[Row]) -> Result<()> {
    match igvm.id_block() {
        Some(expected) if !rows.iter().any(|row| row.matches == Some(true)) => {
            let message = format!(
                "the ID block in `{}` is for the digest {expected}: the AMD firmware would refuse \
                 this launch",
                path.display()
            );
            Err(Error::new(Kind::Rejected, message)
                .hint("sign the file again, or get the one that was signed"))
        }
        _ => Ok(()),
    }
}

/// One profile that matches is enough for a list of all: the others are other people's VMMs.
fn note_others(ui: &Ui, path: &Path, rows: &[Row]) {
    let others = rows.iter().filter(|row| row.matches == Some(false));
    let others: Vec<String> = others.map(|row| format!("`{}`", row.profile.id)).collect();
    if !others.is_empty() {
        ui.note(&format!(
            "the ID block in `{}` is not for the launch under {}; `--profile` holds the file to one \
             VMM",
            path.display(),
            others.join(" or ")
        ));
    }
}

pub(super) fn warnings(igvm: &Igvm) -> Vec<String> {
    igvm.doubts().iter().map(ToString::to_string).collect()
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
