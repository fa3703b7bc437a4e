//! The differences between two launches, and how they are told to a person.

use std::fmt::Display;

use super::variants::part;
use crate::digest::Sha256;
use crate::launch::cpu::{Cpu, Signature};
use crate::launch::features::SevFeatures;
use crate::launch::record::Record;

/// One thing that was different at the launch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Another command line was hashed.
    Cmdline(Cmdline),
    /// Another CPU.
    Cpu(Signature),
    /// Other features.
    Features(SevFeatures),
    /// Another firmware image, one of the candidates.
    Firmware {
        /// The candidate's name.
        name: String,
        /// The image.
        sha256: Sha256,
    },
    /// Another initrd, one of the candidates.
    Initrd {
        /// The candidate's name.
        name: String,
        /// The file.
        sha256: Sha256,
    },
    /// Another kernel, one of the candidates.
    Kernel {
        /// The candidate's name.
        name: String,
        /// The file.
        sha256: Sha256,
    },
    /// No hash table: what is booted is not in the digest.
    KernelHashesOff,
    /// The initrd's hash is that of nothing.
    NoInitrd,
    /// The metadata's pages were added in another order.
    Order(Order),
    /// Another hypervisor, or another time of the same.
    Profile(&'static str),
    /// The digest is not of a whole launch.
    Stop(Stop),
    /// Another number of vCPUs.
    Vcpus(u32),
    /// The vCPUs' pages were measured at another address.
    VmsaAddress(u64),
}

/// How the hashed command line may differ from the recorded one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cmdline {
    /// It is the empty one, with its NUL.
    Empty,
    /// It is one of the candidates.
    Given(String),
    /// `initrd=initrd ` before it, as a booted guest shows it.
    InitrdPrefix,
    /// ` initrd=initrd` after it.
    InitrdSuffix,
    /// A newline after it, and no NUL.
    NewlineWithoutNul,
    /// Nothing at all was hashed, not even the NUL.
    Nothing,
    /// Quotation marks around it.
    Quoted,
    /// A space before it.
    SpaceBefore,
    /// A space after it.
    SpaceAfter,
    /// Runs of spaces made one.
    Squeezed,
    /// A newline after it.
    TrailingNewline,
    /// No white space at its ends.
    Trimmed,
    /// Without the `initrd=initrd` at one of its ends.
    WithoutInitrd,
    /// Without the NUL that ends it.
    WithoutNul,
}

/// Orders of the metadata's pages other than the file's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// By address.
    Address,
    /// The CPUID page where the file has it, with a profile that adds it last.
    CpuidInPlace,
    /// The CPUID page last.
    CpuidLast,
    /// The page of the hash table first.
    HashesFirst,
    /// The page of the hash table last.
    HashesLast,
}

/// Where a digest may end short of a launch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// After the firmware's pages.
    Firmware,
    /// It is the hash of no bytes.
    Nothing,
    /// Before the first vCPU.
    Vcpus,
    /// It is 48 zero bytes.
    Zero,
}

impl Cmdline {
    /// Every variant of a recorded command line.
    pub(super) const ALL: [Self; 13] = [
        Self::TrailingNewline,
        Self::WithoutNul,
        Self::NewlineWithoutNul,
        Self::SpaceAfter,
        Self::SpaceBefore,
        Self::Trimmed,
        Self::InitrdPrefix,
        Self::InitrdSuffix,
        Self::WithoutInitrd,
        Self::Empty,
        Self::Nothing,
        Self::Quoted,
        Self::Squeezed,
    ];

    /// What is hashed in place of `cmdline` and its NUL.
    pub(super) fn bytes(&self, cmdline: &str) -> Vec<u8> {
        let text = match self {
            Self::NewlineWithoutNul => return format!("{cmdline}\n").into_bytes(),
            Self::Nothing => return Vec::new(),
            Self::WithoutNul => return cmdline.as_bytes().to_vec(),
            Self::Empty => String::new(),
            Self::Given(text) => text.clone(),
            Self::InitrdPrefix => format!("initrd=initrd {cmdline}"),
            Self::InitrdSuffix => format!("{cmdline} initrd=initrd"),
            Self::Quoted => format!("\"{cmdline}\""),
            Self::SpaceAfter => format!("{cmdline} "),
            Self::SpaceBefore => format!(" {cmdline}"),
            Self::Squeezed => cmdline.split_whitespace().collect::<Vec<_>>().join(" "),
            Self::TrailingNewline => format!("{cmdline}\n"),
            Self::Trimmed => cmdline.trim().to_owned(),
            Self::WithoutInitrd => {
                let after = cmdline.strip_prefix("initrd=initrd ");
                let before = cmdline.strip_suffix(" initrd=initrd");
                after.or(before).unwrap_or(cmdline).to_owned()
            }
        };
        format!("{text}\0").into_bytes()
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "cmdline-empty",
            Self::Given(_) => "cmdline-given",
            Self::InitrdPrefix => "cmdline-initrd-prefix",
            Self::InitrdSuffix => "cmdline-initrd-suffix",
            Self::NewlineWithoutNul => "cmdline-newline-without-nul",
            Self::Nothing => "cmdline-nothing",
            Self::Quoted => "cmdline-quoted",
            Self::SpaceAfter => "cmdline-space-after",
            Self::SpaceBefore => "cmdline-space-before",
            Self::Squeezed => "cmdline-squeezed",
            Self::TrailingNewline => "cmdline-trailing-newline",
            Self::Trimmed => "cmdline-trimmed",
            Self::WithoutInitrd => "cmdline-without-initrd",
            Self::WithoutNul => "cmdline-without-nul",
        }
    }

    fn sentence(&self) -> String {
        let what = match self {
            Self::Given(text) => return format!("the command line was `{text}`"),
            Self::Empty => return "the command line was empty".into(),
            Self::Nothing => {
                return "no command line was hashed, not even the NUL of an empty one".into();
            }
            Self::InitrdPrefix => "with `initrd=initrd ` before it",
            Self::InitrdSuffix => "with ` initrd=initrd` after it",
            Self::NewlineWithoutNul => "with a newline after it in place of the NUL",
            Self::Quoted => "in quotation marks",
            Self::SpaceAfter => "with a space after it",
            Self::SpaceBefore => "with a space before it",
            Self::Squeezed => "with single spaces between its words",
            Self::TrailingNewline => "with a newline after it",
            Self::Trimmed => "without the white space at its ends",
            Self::WithoutInitrd => "without `initrd=initrd`",
            Self::WithoutNul => "without the NUL that ends it",
        };
        format!("the command line was the recorded one {what}")
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::NewlineWithoutNul | Self::Nothing | Self::WithoutNul => {
                "QEMU always hashes the command line with the NUL that ends it: look for the \
                 calculator or the VMM that this digest comes from, and correct that"
            }
            Self::InitrdPrefix | Self::InitrdSuffix | Self::WithoutInitrd => {
                "the firmware adds `initrd=initrd` to what the kernel sees, as in /proc/cmdline, and \
                 it is not measured: give `-append` exactly the recorded text"
            }
            Self::Squeezed | Self::Trimmed => {
                "QEMU hashes the text as it is, and some calculators trim it first: record and \
                 launch it without spaces at its ends or in rows"
            }
            Self::Quoted | Self::SpaceAfter | Self::SpaceBefore | Self::TrailingNewline => {
                "look at how the script that starts the machine reads the command line, and give \
                 `-append` exactly the recorded text"
            }
            Self::Empty => "give `-append` the recorded text; without it another program ran",
            Self::Given(_) => {
                "give `-append` the recorded text, or build and publish a release with this one"
            }
        }
    }
}

impl Change {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cmdline(cmdline) => cmdline.code(),
            Self::Cpu(_) => "cpu",
            Self::Features(_) => "sev-features",
            Self::Firmware { .. } => "firmware",
            Self::Initrd { .. } => "initrd",
            Self::Kernel { .. } => "kernel",
            Self::KernelHashesOff => "kernel-hashes-off",
            Self::NoInitrd => "no-initrd",
            Self::Order(Order::Address) => "section-order-address",
            Self::Order(Order::CpuidInPlace) => "section-order-cpuid-in-place",
            Self::Order(Order::CpuidLast) => "section-order-cpuid-last",
            Self::Order(Order::HashesFirst) => "section-order-hashes-first",
            Self::Order(Order::HashesLast) => "section-order-hashes-last",
            Self::Profile(_) => "profile",
            Self::Stop(Stop::Firmware) => "firmware-pages-only",
            Self::Stop(Stop::Nothing) => "hash-of-nothing",
            Self::Stop(Stop::Vcpus) => "before-vcpus",
            Self::Stop(Stop::Zero) => "zero",
            Self::Vcpus(_) => "vcpus",
            Self::VmsaAddress(_) => "vmsa-address",
        }
    }

    /// The value found, where there is one to name.
    pub fn value(&self) -> Option<String> {
        Some(match self {
            Self::Cmdline(Cmdline::Given(text)) => text.clone(),
            Self::Cpu(signature) => signature.to_string(),
            Self::Features(features) => features.to_string(),
            Self::Firmware { sha256, .. }
            | Self::Initrd { sha256, .. }
            | Self::Kernel { sha256, .. } => sha256.to_string(),
            Self::Profile(id) => (*id).to_owned(),
            Self::Vcpus(count) => count.to_string(),
            Self::VmsaAddress(gpa) => format!("{gpa:#x}"),
            Self::Cmdline(_)
            | Self::KernelHashesOff
            | Self::NoInitrd
            | Self::Order(_)
            | Self::Stop(_) => return None,
        })
    }

    /// What was launched instead of what is recorded.
    pub fn sentence(&self, record: &Record) -> String {
        match self {
            Self::Cmdline(cmdline) => cmdline.sentence(),
            Self::Cpu(signature) => format!(
                "the machine was launched with {}, not with {}",
                cpu(*signature),
                either(record.cpus.iter().map(Cpu::label)),
            ),
            Self::Features(features) => {
                let names = features.names();
                let names = if names.is_empty() { "no bit".into() } else { names.join(", ") };
                let recorded = either(record.sev_features.iter());
                format!("SEV_FEATURES was {features} ({names}), not {recorded}")
            }
            Self::Firmware { name, .. } => {
                format!("the firmware was `{name}`, not the recorded image")
            }
            Self::Initrd { name, .. } => format!("the initrd was `{name}`, not the recorded one"),
            Self::Kernel { name, .. } => format!("the kernel was `{name}`, not the recorded one"),
            Self::KernelHashesOff => {
                "the machine was launched with kernel-hashes=off: kernel, initrd and command line \
                 are not in its digest, and can be anything"
                    .into()
            }
            Self::NoInitrd => "the machine was launched without an initrd, or an empty one".into(),
            Self::Order(order) => {
                let order = match order {
                    Order::Address => "in the order of their addresses",
                    Order::CpuidInPlace => "with the CPUID page in its place",
                    Order::CpuidLast => "with the CPUID page last",
                    Order::HashesFirst => "with the page of the hash table first",
                    Order::HashesLast => "with the page of the hash table last",
                };
                format!("the pages of the firmware's metadata were added {order}")
            }
            Self::Profile(id) => {
                format!(
                    "the machine was launched the way of profile `{id}`, not `{}`",
                    record.profile
                )
            }
            Self::Stop(Stop::Firmware) => {
                "this is the digest after the firmware's pages alone, which some tools call the \
                 OVMF hash; no machine attests it"
                    .into()
            }
            Self::Stop(Stop::Nothing) => "this is the SHA-384 of no bytes at all".into(),
            Self::Stop(Stop::Vcpus) => {
                "this is the digest before the first vCPU, `digest_before_vcpus`; no machine \
                 attests it"
                    .into()
            }
            Self::Stop(Stop::Zero) => {
                "this is 48 zero bytes, the digest before the first page; nothing was measured"
                    .into()
            }
            Self::Vcpus(count) => {
                let recorded = either(record.vcpus.iter());
                let vcpus = if *count == 1 { "vCPU" } else { "vCPUs" };
                format!("the machine was launched with {count} {vcpus}, not with {recorded}")
            }
            Self::VmsaAddress(gpa) => {
                format!(
                    "the vCPUs' pages were measured at {gpa:#x}, as on a host with more address bits"
                )
            }
        }
    }

    /// What to do about it.
    pub fn advice(&self, record: &Record) -> String {
        match self {
            Self::Cmdline(cmdline) => cmdline.advice().into(),
            Self::Cpu(_) => {
                let model = record.cpus.iter().find_map(|cpu| cpu.model.as_ref());
                let start = match model {
                    Some(model) => format!("`-cpu {model}`"),
                    None => "a `-cpu` of a recorded signature".to_owned(),
                };
                format!(
                    "start it with {start}, or add the CPU to `launch.cpus` and publish its digest; \
                     `-cpu host` takes the signature of the host's own processor"
                )
            }
            Self::Features(_) => "the host's kernel or VMM sets these bits: change its settings (such \
                 as kvm_amd's `debug_swap`), or add the value to `launch.features` and publish its \
                 digest"
                .into(),
            Self::Firmware { .. } | Self::Initrd { .. } | Self::Kernel { .. } => {
                "start it with the file of the release, or build and publish a release with this one"
                    .into()
            }
            Self::KernelHashesOff => {
                "do not trust this machine; start it with `kernel-hashes=on` in `-object \
                 sev-snp-guest`"
                    .into()
            }
            Self::NoInitrd => "start it with `-initrd` and the initrd of the release".into(),
            Self::Order(_) => "look for the VMM, or the firmware build, that has this order; no \
                 profile here has it with this firmware"
                .into(),
            Self::Profile(id) => {
                format!("if that is where it runs, publish a record with `profile: {id}`")
            }
            Self::Stop(Stop::Firmware | Stop::Vcpus) => {
                "compare with the MEASUREMENT field of a report, or with `digests` in the record"
                    .into()
            }
            Self::Stop(Stop::Nothing | Stop::Zero) => {
                "look at where the value comes from: no launch gives it".into()
            }
            Self::Vcpus(count) => format!(
                "start it with `-smp {}`, or add {count} to `launch.vcpus` and publish its digest",
                record.vcpus.first().copied().unwrap_or(1),
            ),
            Self::VmsaAddress(_) => {
                "no profile here has this address: report what VMM and processor it was seen on".into()
            }
        }
    }
}

/// A CPU by all that is known of it.
fn cpu(signature: Signature) -> String {
    let matches = |name: &String| Cpu::named(name).is_ok_and(|cpu| cpu.signature == signature);
    let models: Vec<String> = Cpu::names().filter(matches).collect();
    // The first name of a series stands for its versions.
    let model = models.first().map(|model| format!("`-cpu {model}`"));
    let part =
        part(signature).map(|name| format!("the signature of {name} itself, as by `-cpu host`"));
    let known: Vec<String> = model.into_iter().chain(part).collect();
    match known.as_slice() {
        [] => {
            let (family, model, stepping) = signature.fields();
            format!(
                "CPU signature {signature} (family {family}, model {model}, stepping {stepping})"
            )
        }
        known => format!("CPU signature {signature} ({})", known.join(", or ")),
    }
}

/// `1, 2 or 4`.
fn either<T: Display>(values: impl Iterator<Item = T>) -> String {
    let values: Vec<String> = values.map(|value| value.to_string()).collect();
    match values.as_slice() {
        [first @ .., before, last] if first.len() <= 14 => {
            let first: String = first.iter().map(|value| format!("{value}, ")).collect();
            format!("{first}{before} or {last}")
        }
        [only] => only.clone(),
        many => format!("one of the {} recorded", many.len()),
    }
}
