//! Which launches: vCPU counts, CPUs, features, and the hypervisor.

use clap::Args;

use crate::cli::measure::subject::Subject;
use crate::error::{Context as _, Error, Kind, Result};
use crate::launch::measure::SetError;
use crate::launch::{Cpu, Profile, Set, SevFeatures, Signature};

#[derive(Debug, Args)]
#[command(next_help_heading = "Launches")]
pub(in crate::cli) struct Parameters {
    /// Numbers of vCPUs.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = count)]
    vcpus: Vec<u32>,
    /// CPU models by QEMU's names.
    #[arg(long, visible_alias = "vcpu-type", value_name = "MODEL", value_delimiter = ',')]
    cpu: Vec<String>,
    /// CPUs by signature (CPUID Fn0000_0001 EAX), such as 0x800f12.
    #[arg(long, value_name = "VALUE", value_delimiter = ',', value_parser = number::<u32>)]
    vcpu_sig: Vec<u32>,
    /// CPUs by family, such as 25; as many models and steppings belong to it.
    #[arg(long, value_name = "FAMILY", value_delimiter = ',')]
    vcpu_family: Vec<u32>,
    /// The models for --vcpu-family.
    #[arg(long, value_name = "MODEL", value_delimiter = ',')]
    vcpu_model: Vec<u32>,
    /// The steppings for --vcpu-family.
    #[arg(long, value_name = "STEPPING", value_delimiter = ',')]
    vcpu_stepping: Vec<u32>,
    /// Values of SEV_FEATURES, such as 0x1; any 64 bits.
    #[arg(long, visible_alias = "guest-features", value_name = "BITS", value_delimiter = ',', value_parser = number::<u64>)]
    features: Vec<u64>,
    /// The VMM profile; `counterfoil measure --list-profiles` has them.
    #[arg(long, value_name = "NAME", conflicts_with = "vmm_type")]
    profile: Option<String>,
    /// The VMM by its name elsewhere: QEMU, ec2 or gce; krun as the `sev` crate has it.
    #[arg(long, value_name = "VMM")]
    vmm_type: Option<String>,
}

impl Parameters {
    /// What was asked for in place of what `subject` has.
    pub(in crate::cli) fn apply(&self, mut subject: Subject) -> Result<Subject> {
        if self.profile.is_some() || self.vmm_type.is_some() {
            subject.profile = self.profile()?;
        }
        let given = (self.vcpus.clone(), self.asked_cpus()?, self.features());
        let set = subject.set;
        let or = |given: Vec<_>, own: &[_]| if given.is_empty() { own.to_vec() } else { given };
        let vcpus = or(given.0, set.vcpus());
        let cpus = if given.1.is_empty() { set.cpus().to_vec() } else { given.1 };
        let features = if given.2.is_empty() { set.features().to_vec() } else { given.2 };
        subject.set = set_of(vcpus, cpus, features)?;
        Ok(subject)
    }

    /// What was asked for, and in place of what was not, one vCPU of QEMU's first CPU model.
    pub(in crate::cli) fn set_or_one(&self) -> Result<Set> {
        let mut cpus = self.asked_cpus()?;
        if cpus.is_empty() {
            cpus.push(Cpu::named("EPYC-v4").context(Kind::Usage, || "`--cpu`".to_owned())?);
        }
        let vcpus = if self.vcpus.is_empty() { vec![1] } else { self.vcpus.clone() };
        set_of(vcpus, cpus, self.features())
    }

    fn asked_cpus(&self) -> Result<Vec<Cpu>> {
        let mut cpus = Vec::new();
        for name in &self.cpu {
            cpus.push(Cpu::named(name).context(Kind::Usage, || "`--cpu`".to_owned())?);
        }
        cpus.extend(self.vcpu_sig.iter().map(|signature| Cpu::of(Signature(*signature))));
        cpus.extend(self.by_family()?);
        Ok(cpus)
    }

    /// Whether anything was asked for.
    pub(in crate::cli) fn are_given(&self) -> bool {
        let Self { vcpus, cpu, vcpu_sig, vcpu_family, vcpu_model, vcpu_stepping, .. } = self;
        let numbers = [vcpus, vcpu_sig, vcpu_family, vcpu_model, vcpu_stepping];
        let any = numbers.iter().any(|list| !list.is_empty()) || !cpu.is_empty();
        any || !self.features.is_empty() || self.profile.is_some() || self.vmm_type.is_some()
    }

    /// The launches that sev-snp-measure would measure: a family comes before a signature, a
    /// signature before a model, zero is as good as nothing, and without a vCPU count there is no
    /// digest.
    pub(super) fn strict_set(&self) -> Result<Set> {
        if self.vcpus.is_empty() {
            return Err(Error::new(Kind::Usage, "missing `--vcpus N`: SNP and SEV-ES measure it"));
        }
        set_of(self.vcpus.clone(), self.strict_cpus()?, self.features())
    }

    /// The vCPUs and the CPU of an SEV-ES guest, of which there is one digest at a time.
    pub(super) fn strict_one(&self) -> Result<(u32, Signature)> {
        let set = self.strict_set()?;
        match (set.vcpus(), set.cpus()) {
            ([vcpus], [cpu]) => Ok((*vcpus, cpu.signature)),
            _ => Err(Error::new(Kind::Usage, "SEV-ES is measured for one vCPU count and one CPU")),
        }
    }

    fn strict_cpus(&self) -> Result<Vec<Cpu>> {
        let not_zero = |values: &[u32]| values.iter().any(|value| *value != 0);
        if not_zero(&self.vcpu_family) {
            return self.by_family();
        }
        if not_zero(&self.vcpu_sig) {
            return Ok(self.vcpu_sig.iter().map(|value| Cpu::of(Signature(*value))).collect());
        }
        if !self.cpu.is_empty() {
            let named = self.cpu.iter().map(|name| Cpu::named(name)).collect::<Result<_, _>>();
            return named.context(Kind::Usage, || "`--vcpu-type`".to_owned());
        }
        let profile = self.profile()?;
        if profile.vcpu.rdx == crate::launch::vmsa::Rdx::Signature {
            let message = "missing `--vcpu-type` or `--vcpu-sig` or `--vcpu-family`: the VMM puts \
                           the CPU's signature into the measured state";
            return Err(Error::new(Kind::Usage, message));
        }
        // Here no field of the VMSA depends on it.
        Ok(vec![Cpu::of(Signature(0))])
    }

    fn by_family(&self) -> Result<Vec<Cpu>> {
        let (models, steppings) = (&self.vcpu_model, &self.vcpu_stepping);
        if models.len() != self.vcpu_family.len() || steppings.len() != self.vcpu_family.len() {
            let message = format!(
                "`--vcpu-family` has {} values, `--vcpu-model` {} and `--vcpu-stepping` {}: \
                 expected as many of each",
                self.vcpu_family.len(),
                models.len(),
                steppings.len()
            );
            return Err(Error::new(Kind::Usage, message));
        }
        let cpus = self.vcpu_family.iter().zip(models).zip(steppings);
        let cpus = cpus.map(|((family, model), stepping)| {
            Ok(Cpu::of(Signature::new(*family, *model, *stepping)?))
        });
        cpus.collect::<Result<_, crate::launch::cpu::CpuError>>()
            .context(Kind::Usage, || "`--vcpu-family`".to_owned())
    }

    /// Those asked for, or SNP alone.
    fn features(&self) -> Vec<SevFeatures> {
        match self.features.is_empty() {
            true => vec![SevFeatures::SNP],
            false => self.features.iter().map(|bits| SevFeatures(*bits)).collect(),
        }
    }

    /// The profile asked for, by the name given.
    pub(super) fn profile_name(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// The profile asked for, or QEMU's.
    pub(in crate::cli) fn profile(&self) -> Result<&'static Profile> {
        let (flag, name) = match (&self.profile, &self.vmm_type) {
            (Some(name), _) => ("--profile", name.as_str()),
            (None, Some(name)) => ("--vmm-type", name.as_str()),
            (None, None) => ("--profile", "qemu"),
        };
        let id = if flag == "--vmm-type" { name.to_lowercase() } else { name.to_owned() };
        Profile::by_id(&id).context(Kind::Usage, || format!("`{flag}`"))
    }
}

fn set_of(vcpus: Vec<u32>, cpus: Vec<Cpu>, features: Vec<SevFeatures>) -> Result<Set> {
    // A count that no machine has is malformed wherever it comes from: in a record it is, too.
    let kind = |error: &SetError| match error {
        SetError::Vcpus(_) => Kind::Malformed,
        _ => Kind::Usage,
    };
    Set::new(vcpus, cpus, features)
        .map_err(|error| Error::caused(kind(&error), "no such set of launches", error))
}

/// A number of vCPUs. One that no word holds is too many like any other, and told so.
fn count(text: &str) -> Result<u32, String> {
    let digits = text.trim().bytes().all(|byte| byte.is_ascii_digit());
    match text.trim().parse::<u64>() {
        Ok(count) => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
        Err(_) if digits && !text.trim().is_empty() => Ok(u32::MAX),
        Err(_) => Err("not a number of vCPUs".to_owned()),
    }
}

/// What Python's `int(text, 0)` reads, without a sign, and a few spellings that it does not.
pub(in crate::cli) fn number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let wrong =
        || format!("`{text}` is not a number such as 0x1 or 33 of {} bits", 8 * size_of::<T>());
    let lower = text.trim().to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)),
        Some("0o") => (8, lower.get(2..)),
        Some("0b") => (2, lower.get(2..)),
        _ => (10, Some(lower.as_str())),
    };
    let digits = digits.unwrap_or_default();
    let between =
        !digits.starts_with(['_', '+']) && !digits.ends_with('_') && !digits.contains("__");
    let value = u64::from_str_radix(&digits.replace('_', ""), radix).ok().filter(|_| between);
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(wrong)
}
