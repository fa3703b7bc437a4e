//! What is in a firmware image, and what it does beside the kernel that is measured.

use serde::Serialize;

use crate::cli::ui::{Style, Ui};
use crate::error::{Context as _, Error, Kind, Result};
use crate::launch::direct_boot::{DirectBoot, Evidence, NamedBlobs};
use crate::launch::findings::{Finding, State};
use crate::launch::record::FirmwareRecord;
use crate::release::measure::RUNS_NAMED_BLOBS;

/// Prints what the image `named` is; fails when it binds no kernel.
pub(super) fn show(ui: &Ui, bytes: &[u8], named: &str) -> Result<()> {
    let (firmware, findings) =
        FirmwareRecord::examine(bytes).context(Kind::Malformed, || named.to_owned())?;
    if ui.is_json() {
        ui.json(&Shown { firmware: &firmware, findings: &findings })?;
    } else {
        ui.answer(&(describe(ui, &firmware) + &beside(ui, &findings)))?;
    }
    match &firmware.direct_boot {
        Some(DirectBoot { verifier: Some(_), .. }) if firmware.hash_table.is_some() => Ok(()),
        _ => {
            let message = format!("{named} does not bind a kernel that it boots directly");
            Err(Error::new(Kind::Rejected, message)
                .hint("take an AmdSev build of OVMF, such as Debian's `ovmf-amdsev`"))
        }
    }
}

/// A firmware as JSON: its part of a record, and the findings.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    firmware: &'a FirmwareRecord,
    findings: &'a [Finding],
}

fn describe(ui: &Ui, firmware: &FirmwareRecord) -> String {
    let mut text = format!(
        "{}\n  size              {} bytes\n  sha256            {}\n  digest of pages   {}\n",
        ui.paint(Style::Bold, "OVMF firmware image"),
        firmware.size,
        firmware.sha256,
        firmware.digest
    );
    let reset =
        firmware.reset_eip.map_or("none: one vCPU only".to_owned(), |a| format!("{:#x}", a.0));
    text += &format!("  AP reset address  {reset}\n");
    let table = firmware
        .hash_table
        .map_or("none".to_owned(), |area| format!("{:#x}, {} bytes", area.gpa, area.size));
    text += &format!(
        "  SEV hash table    {table}\n\n{}\n",
        ui.paint(Style::Bold, "SEV metadata, in order of launch")
    );
    for section in &firmware.sections {
        let kind = serde_json::to_value(section.kind).unwrap_or_default();
        let kind = kind.as_str().unwrap_or("section").to_owned();
        text += &format!("  {kind:14} {:#010x}  {:6} bytes\n", section.gpa, section.size);
    }
    text += &format!("\n{}\n", ui.paint(Style::Bold, "Direct boot"));
    let Some(found) = &firmware.direct_boot else {
        return text + "  no firmware volume to look into\n";
    };
    text += &match &found.verifier {
        Some(by) => format!(
            "  {} kernel, initrd and command line are checked by `{}`\n",
            ui.paint(Style::Green, "ok     "),
            by.label()
        ),
        None => format!(
            "  {} nothing checks kernel, initrd and command line: whatever the host hands over boots\n",
            ui.paint(Style::Red, "refused")
        ),
    };
    text += &match &found.named_blobs {
        NamedBlobs::Run { .. } => {
            format!("  {} {RUNS_NAMED_BLOBS}\n", ui.paint(Style::Yellow, "warning"))
        }
        NamedBlobs::Unused { .. } => {
            format!(
                "  {} named blobs are read but nothing starts them\n",
                ui.paint(Style::Yellow, "note   ")
            )
        }
        NamedBlobs::Refused { .. } | NamedBlobs::NotRead => {
            format!(
                "  {} blobs that the table does not name are not run\n",
                ui.paint(Style::Green, "ok     ")
            )
        }
    };
    text
}

/// What else a firmware does: what is open with its cure, and what the file does not show.
fn beside(ui: &Ui, findings: &[Finding]) -> String {
    let names =
        |found: &[Evidence]| found.iter().map(Evidence::label).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    for Finding { rule, state } in findings {
        let (style, mark, said) = match state {
            State::Open { found } => {
                let said = format!(
                    "{}\n{:26}in {}; closed by {}",
                    rule.means,
                    "",
                    names(found),
                    rule.cure
                );
                (Style::Yellow, "warning", said)
            }
            State::Marked { by } => {
                (Style::Green, "ok     ", format!("not here, says a mark in {}", by.label()))
            }
            State::Absent => (Style::Green, "ok     ", "not here".to_owned()),
            State::NotVisible => {
                let said = format!(
                    "not visible in the file: {}\n{:26}closed by {}",
                    rule.means, "", rule.cure
                );
                (Style::Yellow, "unseen ", said)
            }
        };
        text += &format!("  {} {:15} {said}\n", ui.paint(style, mark), rule.code);
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{}\n{text}", ui.paint(Style::Bold, "Beside the measured kernel")),
    }
}
