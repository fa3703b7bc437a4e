//! What a kernel has and lacks for a confidential guest, and what it offers beyond.

use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::error::{Error, Kind, Result};
use crate::kernel::bzimage::BzImage;
use crate::kernel::config::{Config, Finding, Setting, Wanted, Weight};
use crate::kernel::exposure::{self, Exposure, To};

/// Prints what a kernel has and lacks; fails when it makes no confidential guest.
pub(super) fn verdict(ui: &Ui, header: Option<BzImage>, config: Option<Config>) -> Result<()> {
    let exposures = config.as_ref().map(exposure::of);
    let findings = config.map(|config| config.judge());
    let fatal: Vec<_> =
        findings.iter().flatten().filter(|f| f.is_fatal()).map(|f| f.rule.option).collect();
    if ui.is_json() {
        ui.json(&json!({
            "release": header.as_ref().map(BzImage::release),
            "version": header.as_ref().map(|header| &header.version),
            "efi-stub": header.as_ref().map(|header| header.efi_stub),
            "options": findings.as_ref().map(|all| all.iter().map(as_json).collect::<Vec<_>>()),
            "confidential": findings.as_ref().map(|_| fatal.is_empty()),
            "offers": exposures,
        }))?;
    } else {
        let mut text = String::new();
        if let Some(header) = &header {
            text += &format!(
                "{}\n  {}\n  boot protocol {}.{:02}, {}\n\n",
                ui.paint(Style::Bold, &format!("Linux {}", header.release())),
                header.version,
                header.protocol >> 8,
                header.protocol & 0xff,
                if header.efi_stub { "EFI stub" } else { "no EFI stub" }
            );
        }
        for finding in findings.iter().flatten() {
            text += &line(ui, *finding);
        }
        if let Some(exposures) = &exposures {
            text += &offers(ui, exposures);
        }
        ui.answer(&text)?;
    }
    if findings.is_none() {
        return Err(Error::new(Kind::CannotDecide, "there is no configuration beside this kernel")
            .hint("name it with `--config FILE`; Debian's is /boot/config-RELEASE"));
    }
    if fatal.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this kernel cannot make a confidential guest that attests: it lacks {}",
        fatal.iter().map(|option| format!("CONFIG_{option}")).collect::<Vec<_>>().join(", ")
    );
    Err(Error::new(Kind::Rejected, message)
        .hint("Debian's kernels do from 6.12 on; its 6.1 is built without the attestation driver"))
}

/// What a kernel offers beyond what a guest needs, and to whom.
fn offers(ui: &Ui, exposures: &[Exposure]) -> String {
    let title = "Offered beyond what a guest of one program needs";
    let mut text = format!("\n{}\n", ui.paint(Style::Bold, title));
    for Exposure { rule, options } in exposures {
        let to = match rule.to {
            To::Host => "to the host",
            To::Program => "to programs",
            To::Root => "to root",
        };
        let options = options.join(", ");
        let note = ui.paint(Style::Yellow, "note   ");
        text += &format!("  {note} {:24} {to:11}  {} ({options})\n", rule.code, rule.means);
    }
    match exposures.is_empty() {
        true => {
            text + &format!(
                "  {} nothing of what is looked for\n",
                ui.paint(Style::Green, "ok     ")
            )
        }
        false => text,
    }
}

fn line(ui: &Ui, finding: Finding) -> String {
    let (style, mark) = match (finding.is_met(), finding.rule.weight) {
        (true, _) => (Style::Green, "ok     "),
        (false, Weight::Required) => (Style::Red, "missing"),
        (false, Weight::Useful) => (Style::Yellow, "lacks  "),
    };
    let found = match finding.found {
        Setting::BuiltIn => "y",
        Setting::Module => "m",
        Setting::Off => "-",
    };
    let option = finding.rule.option;
    format!("  {} {found}  {option:21} {}\n", ui.paint(style, mark), finding.rule.why)
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "option": format!("CONFIG_{}", finding.rule.option),
        "found": match finding.found {
            Setting::BuiltIn => "y",
            Setting::Module => "m",
            Setting::Off => "n",
        },
        "wanted": match finding.rule.wanted {
            Wanted::BuiltIn => "y",
            Wanted::Available => "y or m",
        },
        "required": finding.rule.weight == Weight::Required,
        "met": finding.is_met(),
        "why": finding.rule.why,
    })
}
