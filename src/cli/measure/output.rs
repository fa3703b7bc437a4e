//! Digests as they are printed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::error::{Context as _, Kind, Result};
use crate::input::progress::Progress as _;
use crate::launch::Profile;
use crate::launch::igvm::IgvmRecord;
use crate::launch::measure::Digest;
use crate::launch::page::PAGE_SIZE;
use crate::launch::record::DigestRecord;
use crate::launch::vmsa::fields;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Encoding {
    Hex,
    Base64,
}

/// What all the digests have in common.
pub(super) struct Rows<'a> {
    /// sev-snp-measure's name of the mode, where it was asked for.
    pub(super) mode: Option<&'static str>,
    pub(super) profile: &'static Profile,
    pub(super) kernel_hashes: bool,
    pub(super) encoding: Encoding,
    /// What was warned of.
    pub(super) warnings: &'a [String],
    /// The IGVM file of the same image.
    pub(super) igvm: Option<&'a IgvmRecord>,
}

impl Rows<'_> {
    pub(super) fn print(&self, ui: &Ui, digests: &[Digest]) -> Result<()> {
        let Profile { id, covers, .. } = self.profile;
        let hashes = if self.kernel_hashes { "on" } else { "off" };
        if ui.is_json() {
            let rows: Vec<Value> = digests.iter().map(|digest| self.json(digest)).collect();
            let mode = self.mode.unwrap_or("SEV_SNP");
            return ui.json(&json!({
                "mode": mode,
                "profile": id,
                "kernel_hashes": hashes,
                "warnings": self.warnings,
                "digests": rows,
                "igvm": self.igvm.map(|igvm| json!({
                    "profile": igvm.profile,
                    "vcpus": igvm.vcpus,
                    "sev_features": igvm.sev_features,
                    "digest": self.encoding.text(&igvm.digest.0),
                })),
            }));
        }
        let [one] = digests else {
            let head = format!("profile {id} ({covers}), kernel-hashes {hashes}");
            let records: Vec<_> = digests.iter().cloned().map(DigestRecord::from).collect();
            let rows = table_of(ui, &records, |row| self.encoding.text(&row.digest.0));
            let igvm = self.igvm.map(|igvm| igvm_line(igvm, &self.encoding.text(&igvm.digest.0)));
            let igvm = igvm.unwrap_or_default();
            return ui.answer(&format!("{}\n{rows}{igvm}", ui.paint(Style::Dim, &head)));
        };
        let said = format!(
            "profile {id} ({covers}), {} vCPUs, CPU {} ({}), features {} ({}), kernel-hashes {hashes}",
            one.vcpus,
            one.cpu.label(),
            one.cpu.signature,
            one.features,
            one.features.names().join(", "),
        );
        // One digest is printed bare, so that it can be piped.
        let digest = self.encoding.text(&one.digest.0);
        match self.mode {
            Some(mode) => {
                ui.detail(&said);
                ui.answer(&sentence(ui, mode, &digest))
            }
            None => {
                ui.note(&said);
                ui.answer(&digest)
            }
        }
    }

    fn json(&self, digest: &Digest) -> Value {
        json!({
            "vcpus": digest.vcpus,
            "cpu": digest.cpu.label(),
            "signature": digest.cpu.signature,
            "sev_features": digest.features,
            "sev_features_names": digest.features.names(),
            "digest": self.encoding.text(&digest.digest.0),
        })
    }
}

/// A digest without SNP.
pub(super) struct Plain {
    pub(super) mode: &'static str,
    pub(super) profile: &'static Profile,
    pub(super) encoding: Encoding,
}

impl Plain {
    pub(super) fn print(&self, ui: &Ui, digest: &[u8]) -> Result<()> {
        let digest = self.encoding.text(digest);
        if ui.is_json() {
            let (mode, profile) = (self.mode, self.profile.id);
            return ui.json(&json!({ "mode": mode, "profile": profile, "digest": digest }));
        }
        ui.detail(&format!("profile {} ({})", self.profile.id, self.profile.covers));
        ui.answer(&sentence(ui, self.mode, &digest))
    }
}

/// As sev-snp-measure 0.0.13 has it, in cli.py, `print_measurement`.
fn sentence(ui: &Ui, mode: &str, digest: &str) -> String {
    match ui.is_verbose() {
        true => format!("Calculated {mode} guest measurement: {digest}"),
        false => digest.to_owned(),
    }
}

/// The digests as lines that line up: vCPUs, CPU, features, digest.
pub(in crate::cli) fn table(ui: &Ui, digests: &[DigestRecord]) -> String {
    table_of(ui, digests, |row| row.digest.to_string())
}

fn table_of(ui: &Ui, digests: &[DigestRecord], text: impl Fn(&DigestRecord) -> String) -> String {
    let cpu = digests.iter().map(|digest| digest.cpu.len()).max().unwrap_or(0).max(3);
    let features: Vec<_> = digests.iter().map(|d| d.sev_features.to_string()).collect();
    let wide = features.iter().map(String::len).max().unwrap_or(0).max(8);
    let mut table = ui
        .paint(Style::Bold, &format!("vcpus  {:cpu$}  {:wide$}  launch digest", "cpu", "features"));
    table.push('\n');
    for (digest, features) in digests.iter().zip(&features) {
        let DigestRecord { vcpus, cpu: name, .. } = digest;
        table += &format!("{vcpus:5}  {name:cpu$}  {features:wide$}  {}\n", text(digest));
    }
    table
}

/// The digest of the IGVM file, below a table of the others.
pub(in crate::cli) fn igvm_line(igvm: &IgvmRecord, digest: &str) -> String {
    let IgvmRecord { vcpus, sev_features, profile, .. } = igvm;
    format!(
        "{vcpus:5}  any CPU, IGVM file (profile {profile}), features {sev_features}  {digest}\n"
    )
}

/// Writes the VMSAs as sev-snp-measure does, and says in detail what is in the first two, which all
/// others are like.
pub(super) fn dump_vmsas(
    ui: &Ui,
    directory: &Path,
    pages: impl Iterator<Item = [u8; PAGE_SIZE as usize]>,
) -> Result<()> {
    fs::create_dir_all(directory)
        .context(Kind::Environment, || format!("failed making `{}`", directory.display()))?;
    for (vcpu, page) in pages.enumerate() {
        let path = directory.join(format!("vmsa{vcpu}.bin"));
        fs::write(&path, page)
            .context(Kind::Environment, || format!("failed writing `{}`", path.display()))?;
        if vcpu < 2 {
            for field in fields(&page) {
                ui.detail(&format!(
                    "vmsa{vcpu} {:#05x} {:16} {:#x}",
                    field.offset, field.name, field.value
                ));
            }
        }
    }
    Ok(())
}

impl Encoding {
    pub(super) fn text(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            }),
            Self::Base64 => base64(bytes),
        }
    }
}

/// RFC 4648, section 4.
pub(in crate::cli) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            (0..3).fold(0, |bits, at| bits << 8 | group.get(at).copied().map_or(0, usize::from));
        for at in 0..4 {
            let digit = ALPHABET.get(bits >> (18 - 6 * at) & 0x3f).copied().map_or('=', char::from);
            text.push(if at <= group.len() { digit } else { '=' });
        }
    }
    text
}
