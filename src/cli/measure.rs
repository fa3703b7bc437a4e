//! `measure`: compute launch digests, from a release, a launch record or files. It also understands
//! the flags of sev-snp-measure 0.0.13 and answers with the same bytes.

mod export;
mod files;
mod igvm;
mod image;
pub(super) mod output;
pub(super) mod parameters;
mod profiles;
mod sev;
pub(super) mod subject;
mod trace;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress as _;
use export::Export;
use files::Files;
use output::{Encoding, Rows};
pub(super) use output::{igvm_line, table};
use parameters::Parameters;
use subject::Subject;

const EXAMPLES: &str = "\
Examples:
  counterfoil measure releases/llama                          every digest, recomputed
  counterfoil measure releases/llama --vcpus 3                one that was not published
  counterfoil measure --record launch.json                    from the record alone
  counterfoil measure --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd \\
      --append 'console=ttyS0' --vcpus 1,2,4 --cpu EPYC-v4,EPYC-Milan
  counterfoil measure --list-profiles                         the hypervisors that are known
  counterfoil measure --record launch.json --vcpus 1 --cpu EPYC-v4 --trace
  counterfoil measure releases/llama --export corim > llama.corim
  counterfoil measure --igvm svsm.igvm                        under each VMM's rules

With --mode, the flags, the defaults and the output are those of sev-snp-measure 0.0.13:
  counterfoil measure --mode snp --vcpus 4 --vcpu-type EPYC-v4 --ovmf OVMF.amdsev.fd \\
      --kernel vmlinuz --initrd initrd --append 'console=ttyS0'";

/// Compute the launch digests that a guest must attest.
///
/// From a release or a launch record they are recomputed and compared with what is written there;
/// from files they are computed for every combination of vCPU count, CPU and features.
///
/// From files, a kernel is measured only with firmware that checks it. With `--mode` it is measured
/// as sev-snp-measure does, by the firmware's metadata alone, and a warning says so; `--examine`
/// looks into the firmware there too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Measure {
    /// A release; its artifacts are checked against its launch record too.
    #[arg(conflicts_with_all = ["record", "firmware", "mode"])]
    release: Option<PathBuf>,
    /// A launch record.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["firmware", "mode"])]
    record: Option<PathBuf>,
    /// An IGVM file, which has all of a launch in it: pages, vCPUs and features.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "release", "record", "firmware", "kernel", "initrd", "append", "kernel_hashes",
            "snp_ovmf_hash", "mode", "vcpus", "cpu", "vcpu_sig", "vcpu_family", "features",
            "vcpu_model", "vcpu_stepping", "vmm_type", "examine", "export",
        ]
    )]
    igvm: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    parameters: Parameters,
    /// Behave as sev-snp-measure does, for this kind of guest.
    #[arg(long, value_enum, requires = "firmware", help_heading = "As sev-snp-measure")]
    mode: Option<Mode>,
    /// How digests are written.
    #[arg(long, value_enum, value_name = "ENCODING", default_value_t = Encoding::Hex)]
    output_format: Encoding,
    /// Write the measured VMSAs to vmsa0.bin, vmsa1.bin and so on, in DIR or here.
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "."
    )]
    dump_vmsa: Option<PathBuf>,
    /// Print every launch update, and the digest after it, for one set of parameters.
    #[arg(long, conflicts_with = "dump_vmsa")]
    trace: bool,
    /// Print the digests of a release or a record as reference values for another verifier.
    #[arg(long, value_enum, value_name = "FORM", conflicts_with_all = ["firmware", "trace"])]
    export: Option<Export>,
    /// Print the VMM profiles: what each covers, and how far it is known to be true.
    #[arg(
        long,
        conflicts_with_all = [
            "release", "record", "firmware", "igvm", "mode", "trace", "dump_vmsa", "export", "vcpus",
            "cpu", "vcpu_sig", "vcpu_family", "features", "profile", "vmm_type", "kernel_hashes",
        ]
    )]
    list_profiles: bool,
}

/// The kinds of guest of sev-snp-measure's `--mode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Mode {
    /// Memory encryption alone.
    #[value(name = "sev")]
    Sev,
    /// And encrypted registers.
    #[value(name = "seves")]
    SevEs,
    /// And integrity, which attestation reports are about.
    #[value(name = "snp")]
    Snp,
    /// The digest after the firmware's pages, for --snp-ovmf-hash.
    #[value(name = "snp:ovmf-hash")]
    OvmfHash,
    /// With COCONUT-SVSM; not supported.
    #[value(name = "snp:svsm")]
    Svsm,
}

impl Measure {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        if self.list_profiles {
            return profiles::list(ui);
        }
        if let Some(path) = &self.igvm {
            return self.igvm(ui, path);
        }
        match self.mode {
            Some(Mode::OvmfHash) => {
                let (_, digest) = self.files.image_digest()?;
                if ui.is_json() {
                    return ui.json(&serde_json::json!({ "ovmf_hash": digest }));
                }
                ui.answer(&digest.to_string())
            }
            Some(Mode::Svsm) => Err(Error::new(
                Kind::CannotDecide,
                "mode `snp:svsm` is not supported: how an SVSM is placed and started differs \
                 between QEMU trees, and none of them is upstream",
            )
            .hint("sev-snp-measure 0.0.13 has this mode")),
            Some(Mode::Sev | Mode::SevEs) => self.sev(ui),
            Some(Mode::Snp) | None => self.snp(ui),
        }
    }

    fn snp(&self, ui: &Ui) -> Result<()> {
        let mut subject = self.subject()?;
        if self.mode.is_none() {
            subject.warn_about_parameters();
        }
        let launch = subject.launch()?;
        subject.warnings.iter().for_each(|warning| ui.warn(warning));
        if self.trace {
            return trace::print(ui, &subject);
        }
        let digests = launch
            .digests(&subject.set)
            .context(Kind::Malformed, || "these launches cannot be measured".to_owned())?;
        if let Some(directory) = &self.dump_vmsa {
            let (vcpus, cpu, features) = subject.one("`--dump-vmsa`")?;
            let pages = launch
                .vmsas(vcpus, cpu.signature, features)
                .context(Kind::Malformed, || "no VMSA".to_owned())?;
            output::dump_vmsas(ui, directory, pages)?;
        }
        if let (Some(form), Some(record)) = (self.export, &subject.record) {
            if subject.hashes.is_none() && record.boot.is_some() {
                return Err(Error::new(Kind::Rejected, "these digests bind no kernel").hint(
                    "without kernel-hashes they are no reference values: leave the flag out",
                ));
            }
            if subject.igvm.is_some() {
                ui.note(
                    "the digest of the IGVM file is not among these values: it is in `igvm.json`",
                );
            }
            return form.print(ui, record, &digests);
        }
        let rows = Rows {
            mode: self.mode.map(|_| "SEV_SNP"),
            profile: subject.profile,
            kernel_hashes: subject.hashes.is_some(),
            encoding: self.output_format,
            warnings: &subject.warnings,
            igvm: subject.igvm.as_ref(),
        };
        rows.print(ui, &digests)
    }

    /// What is measured, with the parameters asked for or else its own.
    fn subject(&self) -> Result<Subject> {
        let subject = match (&self.release, &self.record, &self.files.firmware) {
            (Some(root), ..) => Subject::of_release(root)?,
            (_, Some(path), _) => Subject::of_record(path)?,
            (_, _, Some(_)) if self.mode.is_some() => {
                let set = self.parameters.strict_set()?;
                let mut subject = self.files.bare(self.parameters.profile()?, set, self.trace)?;
                self.files.warn_about(&mut subject)?;
                return Ok(subject);
            }
            (_, _, Some(_)) => self.files.examined(&self.parameters, self.trace)?,
            (None, None, None) => {
                return Err(Error::new(Kind::Usage, "nothing to measure").hint(
                    "name a release, or `--record FILE`, or `--firmware FILE` and what it boots, or \
                     `--igvm FILE`",
                ));
            }
        };
        let subject = self.files.without_hashes(subject)?;
        self.parameters.apply(subject)
    }
}
