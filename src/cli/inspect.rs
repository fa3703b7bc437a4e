//! `inspect`: what is in an artifact, in a page.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::error::{Context as _, Error, Kind, Result};
use crate::kernel::bzimage::BzImage;
use crate::kernel::config::{Config, Finding, Setting, Wanted, Weight};
use crate::kernel::{is_config, is_image};
use crate::launch::direct_boot::{DirectBoot, NamedBlobs};
use crate::launch::record::FirmwareRecord;
use crate::names::GuestPath;
use crate::release::measure::RUNS_NAMED_BLOBS;
use crate::tree::archive::{Archive, unpack_deb};
use crate::tree::held::Held;

/// A kernel package unpacks to a few hundred megabytes at most.
const MAX_PACKAGE: u64 = 4 << 30;

/// The largest kernel, firmware or configuration that is looked at.
const MAX_FILE: u64 = 1 << 30;

const EXAMPLES: &str = "\
Examples:
  counterfoil inspect /boot/vmlinuz-6.12.107-cloud-amd64      with the config-… beside it
  counterfoil inspect linux-image-6.12-cloud-amd64.deb
  counterfoil inspect vmlinuz --config .config
  counterfoil inspect OVMF.amdsev.fd

Exit codes: 0 it makes a confidential guest, 10 it does not, 20 that cannot be told.";

/// Show what a kernel or a firmware image is, and whether it makes a confidential guest.
///
/// A kernel: a bzImage (its configuration is looked for beside it), a Debian kernel package, or a
/// configuration file. A firmware: an OVMF image.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inspect {
    /// The file.
    file: PathBuf,
    /// The kernel's configuration, when it does not stand beside the kernel.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Inspect {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let mut head = Vec::new();
        let failed = || format!("failed reading `{}`", self.file.display());
        File::open(&self.file)
            .and_then(|file| file.take(0x210).read_to_end(&mut head))
            .context(Kind::Environment, failed)?;
        if head.starts_with(b"!<arch>\n") {
            return self.package(ui);
        }
        let metadata = fs::metadata(&self.file).context(Kind::Environment, failed)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            let message =
                format!("`{}` is no file of at most {MAX_FILE} bytes", self.file.display());
            return Err(Error::new(Kind::Malformed, message));
        }
        let bytes = fs::read(&self.file).context(Kind::Environment, failed)?;
        if head.get(0x202..0x206) == Some(b"HdrS") {
            return self.kernel(ui, &bytes);
        }
        if bytes.len() % 4096 == 0 && bytes.len() >= 4096 {
            return self.firmware(ui, &bytes);
        }
        match Config::parse(&String::from_utf8_lossy(&bytes)) {
            Some(config) => verdict(ui, None, Some(config)),
            None => {
                let message = format!(
                    "`{}` is neither a kernel image, a kernel package, a kernel configuration nor firmware",
                    self.file.display()
                );
                Err(Error::new(Kind::Malformed, message))
            }
        }
    }

    fn kernel(&self, ui: &Ui, bytes: &[u8]) -> Result<()> {
        let header = BzImage::parse(bytes)
            .context(Kind::Malformed, || format!("`{}`", self.file.display()))?;
        let config = match &self.config {
            Some(path) => Some(read_config(path)?),
            None => beside(&self.file)
                .iter()
                .find(|path| path.is_file())
                .map(|p| read_config(p))
                .transpose()?,
        };
        verdict(ui, Some(header), config)
    }

    /// A kernel package, or one of the several that make a kernel: what is in it is judged.
    fn package(&self, ui: &Ui) -> Result<()> {
        let named = || format!("`{}`", self.file.display());
        let deb = File::open(&self.file).and_then(Held::new).context(Kind::Environment, named)?;
        let data = tempfile::tempfile().context(Kind::Environment, named)?;
        unpack_deb(&Arc::new(deb), MAX_PACKAGE, &data).context(Kind::Malformed, named)?;
        let data = Held::new(data).context(Kind::Environment, named)?;
        let archive = Archive::index(data).context(Kind::Malformed, named)?;
        let find = |wanted: fn(&GuestPath) -> bool| {
            let path = archive.iter().map(|(path, _)| path).find(|path| wanted(path));
            path.map(|path| {
                archive
                    .file(path)
                    .context(Kind::Malformed, named)?
                    .0
                    .read()
                    .context(Kind::Environment, named)
            })
            .transpose()
        };
        let image = find(is_image)?;
        let config = find(is_config)?;
        let header = image
            .map(|bytes| BzImage::parse(&bytes).context(Kind::Malformed, named))
            .transpose()?;
        let config = config.and_then(|bytes| Config::parse(&String::from_utf8_lossy(&bytes)));
        if header.is_none() && config.is_none() {
            let message = format!("{} holds neither a kernel image nor a configuration", named());
            return Err(Error::new(Kind::CannotDecide, message));
        }
        verdict(ui, header, config)
    }

    fn firmware(&self, ui: &Ui, bytes: &[u8]) -> Result<()> {
        let named = || format!("`{}`", self.file.display());
        let firmware = FirmwareRecord::of(bytes).context(Kind::Malformed, named)?;
        if ui.is_json() {
            ui.json(&firmware)?;
        } else {
            ui.answer(&describe(ui, &firmware))?;
        }
        match &firmware.direct_boot {
            Some(DirectBoot { verifier: Some(_), .. }) if firmware.hash_table.is_some() => Ok(()),
            _ => {
                let message = format!("{} does not bind a kernel that it boots directly", named());
                Err(Error::new(Kind::Rejected, message)
                    .hint("take an AmdSev build of OVMF, such as Debian's `ovmf-amdsev`"))
            }
        }
    }
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
            by.name.clone().unwrap_or_else(|| by.module.to_string())
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

/// Prints what a kernel has and lacks; fails when it makes no confidential guest.
fn verdict(ui: &Ui, header: Option<BzImage>, config: Option<Config>) -> Result<()> {
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

/// Where a kernel's configuration stands beside it: `config-X` for `vmlinuz-X`, or `config`.
fn beside(kernel: &Path) -> Vec<PathBuf> {
    let name =
        kernel.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let release = name.strip_prefix("vmlinuz-").map(|release| format!("config-{release}"));
    release
        .into_iter()
        .chain(["config".to_owned()])
        .map(|name| kernel.with_file_name(name))
        .collect()
}

fn read_config(path: &Path) -> Result<Config> {
    let named = || format!("`{}`", path.display());
    let text = fs::read(path).context(Kind::Environment, named)?;
    Config::parse(&String::from_utf8_lossy(&text))
        .ok_or_else(|| Error::new(Kind::Malformed, format!("{} has no `CONFIG_` line", named())))
}
