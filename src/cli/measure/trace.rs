//! A launch, update by update.

use serde_json::json;

use crate::cli::measure::igvm::warnings;
use crate::cli::measure::subject::Subject;
use crate::cli::ui::{Style, Ui};
use crate::digest::Sha384;
use crate::error::{Context as _, Kind, Result};
use crate::launch::Igvm;
use crate::launch::igvm::IgvmProfile;
use crate::launch::page::{self, PAGE_SIZE, PageType, Update};
use crate::launch::trace::{Step, Traced, steps};

pub(super) fn print(ui: &Ui, subject: &Subject) -> Result<()> {
    let (vcpus, cpu, features) = subject.one("`--trace`")?;
    let traced = Traced {
        profile: subject.profile,
        firmware: &subject.firmware,
        image: subject.image,
        hashes: subject.hashes.as_ref(),
        vcpus,
        signature: cpu.signature,
        features,
    };
    let after =
        traced.steps().context(Kind::Malformed, || "this launch cannot be measured".to_owned())?;
    let pages = subject.pages.as_deref().map(|image| steps(Sha384::ZERO, page::image(image)));
    if ui.is_json() {
        let whole = pages.is_some();
        let steps: Vec<Step> = pages.into_iter().flatten().chain(after).collect();
        return ui.json(&json!({
            "profile": subject.profile.id,
            "vcpus": vcpus,
            "cpu": cpu.label(),
            "signature": cpu.signature,
            "sev_features": features,
            "kernel_hashes": if subject.hashes.is_some() { "on" } else { "off" },
            // From a record, the firmware's pages are known only by the digest after them.
            "firmware_pages": whole,
            "firmware_digest": subject.image,
            "steps": steps,
        }));
    }
    let mut text = format!("profile {} ({})\n", subject.profile.id, subject.profile.covers);
    text += &format!("{}\n", head(ui));
    let (gpa, size) = (subject.firmware.gpa(), subject.firmware.size());
    text += &line(PageType::Normal, gpa.into(), size / PAGE_SIZE, &subject.image);
    text += "            the firmware image; each page with --format json, from files\n";
    ui.answer(&(text + &lines(&after)))
}

/// The launch that an IGVM file has in it.
pub(super) fn of_igvm(
    ui: &Ui,
    igvm: &Igvm,
    profile: &IgvmProfile,
    updates: &[Update],
) -> Result<()> {
    let steps = steps(Sha384::ZERO, updates.iter().copied());
    if ui.is_json() {
        return ui.json(&json!({
            "profile": profile.id,
            "id_block_digest": igvm.id_block(),
            "warnings": warnings(igvm),
            "steps": steps,
        }));
    }
    let text = format!("profile {} ({})\n{}\n", profile.id, profile.covers, head(ui));
    ui.answer(&(text + &lines(&steps)))
}

fn head(ui: &Ui) -> String {
    let head = format!("{:10}  {:>14}  {:>5}  digest after, and contents", "type", "gpa", "pages");
    ui.paint(Style::Bold, &head)
}

fn lines(steps: &[Step]) -> String {
    let mut text = String::new();
    for run in steps.chunk_by(follows) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        text += &line(first.kind, first.gpa, run.len() as u32, &last.digest);
        if first.contents != Sha384::ZERO {
            text += &format!("{:33}  {}\n", "", first.contents);
        }
    }
    text
}

fn line(kind: PageType, gpa: u64, pages: u32, digest: &Sha384) -> String {
    format!("{kind:10}  {gpa:#14x}  {pages:5}  {digest}\n")
}

/// Pages of one section, and vCPUs that start alike, fold into one line.
fn follows(one: &Step, next: &Step) -> bool {
    let apart = if one.kind == PageType::Vmsa { 0 } else { u64::from(PAGE_SIZE) };
    one.kind == next.kind && one.contents == next.contents && one.gpa + apart == next.gpa
}
