//! `measure`: compute launch digests, from a release, a launch record or files.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::ui::{Style, Ui};
use crate::error::{Context as _, Error, Kind, Result};
use crate::launch::record::{Blob, Boot, DigestRecord, FirmwareRecord, Inputs};
use crate::launch::{Cpu, Policy, Profile, Record, Set, SevFeatures};
use crate::release::open::{Release, read_record};

const EXAMPLES: &str = "\
Examples:
  counterfoil measure releases/llama                          every digest, recomputed
  counterfoil measure releases/llama --vcpus 3                one that was not published
  counterfoil measure --record launch.json                    from the record alone
  counterfoil measure --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd \\
      --append 'console=ttyS0' --vcpus 1,2,4 --cpu EPYC-v4,EPYC-Milan";

/// Compute the launch digests that a guest must attest.
///
/// From a release or a launch record they are recomputed and compared with what is written there;
/// from files they are computed for every combination of vCPU count, CPU and features.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Measure {
    /// A release; its artifacts are checked against its launch record too.
    #[arg(conflicts_with_all = ["record", "firmware"])]
    release: Option<PathBuf>,
    /// A launch record.
    #[arg(long, value_name = "FILE", conflicts_with = "firmware")]
    record: Option<PathBuf>,
    /// A firmware image.
    #[arg(long, visible_alias = "ovmf", value_name = "FILE")]
    firmware: Option<PathBuf>,
    /// A kernel image.
    #[arg(long, value_name = "FILE", requires = "firmware")]
    kernel: Option<PathBuf>,
    /// An initrd.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", requires = "kernel")]
    append: Option<String>,
    /// Numbers of vCPUs.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    vcpus: Vec<u32>,
    /// CPU models by QEMU's names.
    #[arg(long, visible_alias = "vcpu-type", value_name = "MODEL", value_delimiter = ',')]
    cpu: Vec<String>,
    /// Values of SEV_FEATURES, such as 0x1.
    #[arg(long, visible_alias = "guest-features", value_name = "BITS", value_delimiter = ',', value_parser = number)]
    features: Vec<u64>,
    /// The VMM profile.
    #[arg(long, value_name = "NAME", default_value = "qemu", requires = "firmware")]
    profile: String,
}

impl Measure {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let digests = match (&self.release, &self.record, &self.firmware) {
            (Some(root), ..) => {
                let release = Release::open(root)?;
                release.check_artifacts()?;
                self.of_record(&release.record)?
            }
            (_, Some(path), _) => self.of_record(&read_record(path)?)?,
            (_, _, Some(firmware)) => self.of_files(firmware)?,
            (None, None, None) => {
                return Err(Error::new(Kind::Usage, "nothing to measure").hint(
                    "name a release, or `--record FILE`, or `--firmware FILE` and what it boots",
                ));
            }
        };
        if ui.is_json() {
            return ui.json(&serde_json::json!({ "digests": digests }));
        }
        match digests.as_slice() {
            // One digest is printed bare, so that it can be piped.
            [one] => ui.answer(&one.digest.to_string()),
            many => ui.answer(&table(ui, many)),
        }
    }

    /// The digests of a record, or those asked for, computed from it.
    fn of_record(&self, record: &Record) -> Result<Vec<DigestRecord>> {
        if self.vcpus.is_empty() && self.cpu.is_empty() && self.features.is_empty() {
            return Ok(record.digests.clone());
        }
        let set =
            self.set(record.vcpus.clone(), record.cpus.clone(), record.sev_features.clone())?;
        let launch = record.launch().context(Kind::Malformed, || "the launch record".to_owned())?;
        let digests =
            launch.digests(&set).context(Kind::CannotDecide, || "no digest".to_owned())?;
        Ok(digests.into_iter().map(DigestRecord::from).collect())
    }

    fn of_files(&self, firmware: &Path) -> Result<Vec<DigestRecord>> {
        let profile =
            Profile::by_id(&self.profile).context(Kind::Usage, || "`--profile`".to_owned())?;
        let cpu = Cpu::named("EPYC-v4").context(Kind::Usage, || "`--cpu`".to_owned())?;
        let set = self.set(vec![1], vec![cpu], vec![SevFeatures::SNP])?;
        let image = read(firmware)?;
        let named = || format!("`{}`", firmware.display());
        let firmware = FirmwareRecord::of(&image).context(Kind::Malformed, named)?;
        let boot = match &self.kernel {
            None => None,
            Some(kernel) => Some(Boot {
                kernel: Blob::of(&read(kernel)?),
                initrd: self.initrd.as_deref().map(read).transpose()?.map(|bytes| Blob::of(&bytes)),
                cmdline: self.append.clone().unwrap_or_default(),
            }),
        };
        let (policy, writers) = (Policy::QEMU_DEFAULT, std::collections::BTreeMap::new());
        let inputs = Inputs { profile, policy, firmware, boot, volumes: Vec::new(), set, writers };
        let record = Record::new(inputs).context(Kind::Rejected, || {
            format!("{} cannot be measured with what it boots", named())
        })?;
        Ok(record.digests)
    }

    /// What was asked for, or else these.
    fn set(&self, vcpus: Vec<u32>, cpus: Vec<Cpu>, features: Vec<SevFeatures>) -> Result<Set> {
        let named: Result<Vec<Cpu>, _> = self.cpu.iter().map(|name| Cpu::named(name)).collect();
        let named = named.context(Kind::Usage, || "`--cpu`".to_owned())?;
        let vcpus = if self.vcpus.is_empty() { vcpus } else { self.vcpus.clone() };
        let cpus = if named.is_empty() { cpus } else { named };
        let features = match self.features.is_empty() {
            true => features,
            false => self.features.iter().map(|bits| SevFeatures(*bits)).collect(),
        };
        Set::new(vcpus, cpus, features)
            .context(Kind::Usage, || "no such set of launches".to_owned())
    }
}

/// The digests as lines that line up: vCPUs, CPU, features, digest.
pub(super) fn table(ui: &Ui, digests: &[DigestRecord]) -> String {
    let cpu = digests.iter().map(|digest| digest.cpu.len()).max().unwrap_or(0).max(3);
    let features: Vec<_> = digests.iter().map(|d| d.sev_features.to_string()).collect();
    let wide = features.iter().map(String::len).max().unwrap_or(0).max(8);
    let mut text = ui
        .paint(Style::Bold, &format!("vcpus  {:cpu$}  {:wide$}  launch digest", "cpu", "features"));
    text.push('\n');
    for (digest, features) in digests.iter().zip(&features) {
        let DigestRecord { vcpus, cpu: name, digest, .. } = digest;
        text += &format!("{vcpus:5}  {name:cpu$}  {features:wide$}  {digest}\n");
    }
    text
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context(Kind::Environment, || format!("failed reading `{}`", path.display()))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse::<crate::manifest::names::Hex64>().map(|value| value.0).map_err(|e| e.to_string())
}
