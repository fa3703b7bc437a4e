//! What is in an artifact of whatever make: an initrd, an EROFS image, a unified kernel image, a record.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui, printable};
use crate::cli::volume::inspect::Inspect as VolumeInspect;
use crate::diff::Artifact;
use crate::diff::artifact::Kind as What;
use crate::diff::initrd::Initrd;
use crate::diff::pe::Pe;
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::cpio::read::{Member, Type};
use crate::input::progress::Progress as _;
use crate::kernel::bzimage::BzImage;
use crate::launch::igvm::IgvmRecord;

/// Paths that fit a page.
const PAGE: usize = 30;

/// Shows what is at `path`; `None` for kernels, firmware, and what is nothing of this.
pub(super) fn show(ui: &Ui, path: &Path, full: bool) -> Option<Result<()>> {
    let artifact = Artifact::open(path).ok()?;
    let named = format!("`{}`", path.display());
    let shown = match artifact.kind {
        What::Initrd => initrd(ui, &artifact, &named, full),
        What::Erofs => return Some(VolumeInspect::of(path.to_owned()).run(ui)),
        What::Uki => unified(ui, &artifact, &named, full),
        What::LaunchRecord => record(ui, &artifact, &named),
        What::Json => igvm_record(ui, &artifact)?,
        What::Igvm => Err(Error::new(Kind::CannotDecide, format!("{named} is an IGVM file")).hint(
            format!("`counterfoil measure --igvm {}` shows what it launches", path.display()),
        )),
        What::Verity => Err(Error::new(
            Kind::CannotDecide,
            format!("{named} begins with a superblock of dm-verity: a hash tree without its data"),
        )
        .hint(
            "`veritysetup dump` shows its parameters; our volumes have data and tree in one file",
        )),
        _ => return None,
    };
    Some(shown)
}

fn initrd(ui: &Ui, artifact: &Artifact, named: &str, full: bool) -> Result<()> {
    let initrd = Initrd::read(&artifact.bytes, named).map_err(|error| error.under(named))?;
    if ui.is_json() {
        ui.json(&initrd_json(&initrd))?;
    } else {
        ui.answer(&initrd_text(ui, &initrd, full))?;
    }
    match &initrd.rest {
        None => Ok(()),
        Some(rest) => {
            let message = format!("{named}: not understood: {rest}");
            Err(Error::new(Kind::CannotDecide, message))
        }
    }
}

fn initrd_json(initrd: &Initrd) -> Value {
    let segments: Vec<_> = initrd
        .segments
        .iter()
        .map(|segment| {
            let members: Vec<_> = segment
                .members
                .iter()
                .map(|member| {
                    json!({
                        "path": String::from_utf8_lossy(&member.name),
                        "type": kind(member),
                        "mode": format!("{:04o}", member.mode & 0o7777),
                        "owner": format!("{}:{}", member.uid, member.gid),
                        "mtime": member.mtime,
                        "size": member.size,
                    })
                })
                .collect();
            json!({ "packed-by": segment.packing, "size": segment.size, "members": members })
        })
        .collect();
    json!({ "kind": "initrd", "archives": segments, "not-understood": initrd.rest })
}

fn initrd_text(ui: &Ui, initrd: &Initrd, full: bool) -> String {
    let mut text = format!("{}\n", ui.paint(Style::Bold, "initrd"));
    for segment in &initrd.segments {
        let members = &segment.members;
        let count = |wanted: Type| members.iter().filter(|member| member.kind() == wanted).count();
        let contents: u64 = members.iter().map(|member| u64::from(member.size)).sum();
        let mut row = |label: &str, value: String| {
            let _ = writeln!(text, "  {label:18}{value}");
        };
        row("packed by", segment.packing.unwrap_or("nothing").to_owned());
        row("size", format!("{} bytes, {contents} of contents", segment.size));
        row(
            "members",
            format!(
                "{} files, {} directories, {} links, {} others",
                count(Type::File),
                count(Type::Directory),
                count(Type::Symlink),
                count(Type::Special)
            ),
        );
        row("times", range(members.iter().map(|member| member.mtime)));
        row("owners", range(members.iter().map(|member| member.uid)));
        let sorted = members.iter().map(|member| &member.name).is_sorted();
        row("order", if sorted { "by name" } else { "not by name" }.to_owned());
        text.push('\n');
        let shown = if full { members.len() } else { PAGE.min(members.len()) };
        for member in &members[..shown] {
            let name = printable(&String::from_utf8_lossy(&member.name)).replace('\n', "\u{fffd}");
            let mark = match member.kind() {
                Type::Directory => 'd',
                Type::Symlink => 'l',
                Type::File => '-',
                Type::Special => 's',
            };
            let owner = format!("{}:{}", member.uid, member.gid);
            let _ = writeln!(
                text,
                "  {mark} {:04o} {owner:>9} {:>12} {name}",
                member.mode & 0o7777,
                member.size
            );
        }
        if shown < members.len() {
            let _ = writeln!(text, "  and {} more; `--full` lists all", members.len() - shown);
        }
    }
    text
}

fn kind(member: &Member) -> &'static str {
    match member.kind() {
        Type::Directory => "directory",
        Type::File => "file",
        Type::Symlink => "symlink",
        Type::Special => "special",
    }
}

/// One value, or the least and the greatest.
fn range(values: impl Iterator<Item = u32>) -> String {
    let (least, most) =
        values.fold((u32::MAX, 0), |(least, most), value| (least.min(value), most.max(value)));
    match least >= most {
        true => most.to_string(),
        false => format!("{least} to {most}"),
    }
}

fn unified(ui: &Ui, artifact: &Artifact, named: &str, full: bool) -> Result<()> {
    let bytes = artifact.read().map_err(|error| error.under(named))?;
    let pe = Pe::parse(&bytes)
        .ok_or_else(|| Error::new(Kind::Malformed, format!("{named}: a damaged PE file")))?;
    let section = |name: &str| {
        let (_, at, size) = pe.sections.iter().find(|(other, ..)| other == name)?;
        let start = usize::try_from(*at).ok()?;
        bytes.get(start..start + usize::try_from(*size).ok()?)
    };
    let text_of = |name: &str| {
        section(name).map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
    };
    let kernel = section(".linux").and_then(|kernel| BzImage::parse(kernel).ok());
    let version = kernel.map(|kernel| kernel.version);
    if ui.is_json() {
        let sections: Vec<_> = pe
            .sections
            .iter()
            .map(|(name, offset, size)| json!({ "name": name, "offset": offset, "size": size }))
            .collect();
        return ui.json(&json!({
            "kind": "unified-kernel-image",
            "timestamp": pe.timestamp,
            "signature": pe.signature,
            "sections": sections,
            "kernel": version,
            "cmdline": text_of(".cmdline"),
        }));
    }
    let mut text = format!("{}\n", ui.paint(Style::Bold, "unified kernel image"));
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:18}{}", printable(value));
    };
    row("kernel", version.as_deref().unwrap_or("not understood"));
    row("command line", text_of(".cmdline").as_deref().unwrap_or("none").trim_end());
    row("time in header", &pe.timestamp.to_string());
    let signature =
        if pe.signature == 0 { "none".to_owned() } else { format!("{} bytes", pe.signature) };
    row("signature", &signature);
    let _ = writeln!(text, "\n{}", ui.paint(Style::Bold, "Sections"));
    for (name, _, size) in &pe.sections {
        let _ = writeln!(text, "  {:18}{size:>12} bytes", printable(name));
    }
    let inner = pe.sections.iter().find(|(name, ..)| name == ".initrd");
    if let Some((_, at, size)) = inner {
        let range = crate::tree::held::Range { offset: *at, size: *size };
        let file = std::sync::Arc::clone(&artifact.bytes.file);
        let part = crate::tree::held::FileRange { file, range };
        match Initrd::read(&part, "its initrd") {
            Ok(initrd) => {
                text += "\n";
                text += &initrd_text(ui, &initrd, full);
                if let Some(rest) = &initrd.rest {
                    ui.warn(&format!("its initrd is not understood: {rest}"));
                }
            }
            Err(error) => ui.warn(&format!("its initrd is not understood: {error}")),
        }
    }
    ui.answer(&text)
}

fn record(ui: &Ui, artifact: &Artifact, named: &str) -> Result<()> {
    let json = artifact.read().map_err(|error| error.under(named))?;
    let record = crate::launch::Record::from_json(&json)
        .context(Kind::Malformed, || format!("{named} does not hold"))?;
    if ui.is_json() {
        return ui.json(&record);
    }
    let mut text =
        format!("{}\n", ui.paint(Style::Bold, "launch record; every digest was recomputed"));
    let mut row = |label: &str, value: String| {
        let _ = writeln!(text, "  {label:18}{}", printable(&value));
    };
    row("profile", record.profile.clone());
    row("policy", record.policy.to_string());
    row("firmware", format!("{}, {} bytes", record.firmware.sha256, record.firmware.size));
    match &record.boot {
        None => row("kernel", "none is bound".to_owned()),
        Some(boot) => {
            row("kernel", format!("{}, {} bytes", boot.kernel.sha256, boot.kernel.size));
            let initrd = boot.initrd.as_ref();
            let initrd = initrd.map(|initrd| format!("{}, {} bytes", initrd.sha256, initrd.size));
            row("initrd", initrd.unwrap_or_else(|| "none".to_owned()));
            row("command line", boot.cmdline.clone());
        }
    }
    for volume in &record.volumes {
        let root = volume.root_hash.map_or("bound by NOTHING".to_owned(), |root| root.to_string());
        row("volume", format!("{}: {root}", volume.name));
    }
    row("written by", record.tool.clone());
    text.push('\n');
    text += &crate::cli::measure::table(ui, &record.digests);
    ui.answer(&text)
}

/// The record of an IGVM file; other JSON is nothing that is known here.
fn igvm_record(ui: &Ui, artifact: &Artifact) -> Option<Result<()>> {
    let json = artifact.read().ok()?;
    let record = IgvmRecord::from_json(&json).ok()?;
    Some(match ui.is_json() {
        true => ui.json(&record),
        false => ui.answer(&format!(
            "{}\n  digest            {}\n  vCPUs             {}\n  file              {}, {} bytes\n",
            ui.paint(Style::Bold, "record of an IGVM file"),
            record.digest,
            record.vcpus,
            record.file.sha256,
            record.file.size
        )),
    })
}
