//! `inspect`: what is in an artifact, in a page.

mod artifact;
mod firmware;
mod kernel;
mod published;
mod report;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::kernel::bzimage::BzImage;
use crate::kernel::config::Config;
use crate::kernel::{is_config, is_image};
use crate::names::GuestPath;
use crate::tree::archive::{Archive, unpack_deb};
use crate::tree::held::Held;
use kernel::verdict;

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
  counterfoil inspect initrd.img --full
  counterfoil inspect launch.json
  counterfoil inspect report.bin
  counterfoil inspect release/statement.sigstore.json
  counterfoil inspect LOG/checkpoint

Exit codes: 0 it makes a confidential guest, or is understood, 10 it makes none, 20 that cannot be told.";

/// Show what is in an artifact: a kernel, firmware, initrd, record, report, statement.
///
/// A kernel: a bzImage (its configuration is looked for beside it), a Debian kernel package, or a
/// configuration file; and a firmware, an OVMF image: whether it makes a confidential guest. Of initrds,
/// EROFS images, unified kernel images, launch records and IGVM files, whoever made them: what is in them,
/// in a page. Of an attestation report, in whatever it came in: every field, and what it means. Of statements, in
/// bundles, envelopes or by themselves, of checkpoints and of proofs: what they say, without asking who says it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inspect {
    /// The file.
    file: PathBuf,
    /// The kernel's configuration, when it does not stand beside the kernel.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// List everything, and not what fits a page.
    #[arg(long)]
    full: bool,
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
        if let Some(shown) = artifact::show(ui, &self.file, self.full) {
            return shown;
        }
        let metadata = fs::metadata(&self.file).context(Kind::Environment, failed)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            let message =
                format!("`{}` is no file of at most {MAX_FILE} bytes", self.file.display());
            return Err(Error::new(Kind::Malformed, message));
        }
        let bytes = fs::read(&self.file).context(Kind::Environment, failed)?;
        if let Some(shown) = published::show(ui, &bytes, &format!("`{}`", self.file.display())) {
            return shown;
        }
        if let Some(shown) = report::show(ui, &bytes, &format!("`{}`", self.file.display())) {
            return shown;
        }
        if head.get(0x202..0x206) == Some(b"HdrS") {
            return self.kernel(ui, &bytes);
        }
        if bytes.len() % 4096 == 0 && bytes.len() >= 4096 {
            return firmware::show(ui, &bytes, &format!("`{}`", self.file.display()));
        }
        match Config::parse(&String::from_utf8_lossy(&bytes)) {
            Some(config) => verdict(ui, None, Some(config)),
            None => {
                let message = format!(
                    "`{}` is neither a kernel image, a kernel package, a kernel configuration, firmware, an attestation report nor anything that is published",
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

pub(super) fn read_config(path: &Path) -> Result<Config> {
    let named = || format!("`{}`", path.display());
    let text = bounded::whole(path)?;
    Config::parse(&String::from_utf8_lossy(&text))
        .ok_or_else(|| Error::new(Kind::Malformed, format!("{} has no `CONFIG_` line", named())))
}
