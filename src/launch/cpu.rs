//! The CPU that the guest sees, as far as the digest goes: at reset RDX holds the signature that
//! CPUID Fn0000_0001 returns in EAX (AMD publication 25481), QEMU's KVM takes it from `-cpu`, and
//! RDX is in the measured VMSA.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hex;

/// CPUID Fn0000_0001 EAX: family, model and stepping in one word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "hex")] pub u32);

/// A CPU to launch with: its signature and, where it was given by one, QEMU's name of the model.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// QEMU's name, such as `EPYC-Milan-v2`.
    pub model: Option<String>,
    /// What the digest covers.
    pub signature: Signature,
}

/// A CPU that has no signature.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// A field that the signature has no room for.
    #[error(
        "family {family}, model {model}, stepping {stepping} do not fit a CPUID signature: \
         expected at most 270, 255 and 15"
    )]
    Fields {
        /// Family, the extended one added.
        family: u32,
        /// Model, the extended one in its high four bits.
        model: u32,
        /// Stepping.
        stepping: u32,
    },
    /// Not a model of QEMU.
    #[error(
        "unknown CPU model `{0}`: expected `EPYC`, `EPYC-Rome`, `EPYC-Milan`, `EPYC-Genoa`, \
         `EPYC-Turin`, one of them with `-v1` and so on, or give the signature"
    )]
    Model(String),
    /// A record whose two spellings of one CPU differ.
    #[error("CPU model `{model}` has signature {expected}, not {found}")]
    Disagrees {
        /// The name.
        model: String,
        /// What the name stands for.
        expected: Signature,
        /// What stands beside it.
        found: Signature,
    },
}

impl Signature {
    /// Packs the three fields. Unlike other calculators this does not cut off what does not fit: a
    /// digest for a CPU that was not asked for helps nobody.
    pub fn new(family: u32, model: u32, stepping: u32) -> Result<Self, CpuError> {
        if family > 0xf + 0xff || model > 0xff || stepping > 0xf {
            return Err(CpuError::Fields { family, model, stepping });
        }
        let (base, extended) = (family.min(0xf), family.saturating_sub(0xf));
        let model = (model >> 4) << 16 | (model & 0xf) << 4;
        Ok(Self(extended << 20 | model | base << 8 | stepping))
    }

    /// Family, model and stepping, unpacked.
    pub fn fields(self) -> (u32, u32, u32) {
        let family = (self.0 >> 8 & 0xf) + (self.0 >> 20 & 0xff);
        (family, (self.0 >> 16 & 0xf) << 4 | self.0 >> 4 & 0xf, self.0 & 0xf)
    }
}

impl Cpu {
    /// A model by the name that QEMU's `-cpu` takes.
    pub fn named(name: &str) -> Result<Self, CpuError> {
        let series = SERIES.iter().find(|series| series.names().any(|known| known == name));
        let series = series.ok_or_else(|| CpuError::Model(name.to_owned()))?;
        let signature = Signature::new(series.family, series.model, series.stepping)?;
        Ok(Self { model: Some(name.to_owned()), signature })
    }

    /// A CPU of which only the signature is known.
    pub fn of(signature: Signature) -> Self {
        Self { model: None, signature }
    }

    /// Every name that [`Cpu::named`] takes.
    pub fn names() -> impl Iterator<Item = String> {
        SERIES.iter().flat_map(Series::names)
    }

    /// The name, or the signature where there is none.
    pub fn label(&self) -> String {
        self.model.clone().unwrap_or_else(|| self.signature.to_string())
    }

    /// Whether the name, if any, stands for the signature beside it.
    pub(super) fn check(&self) -> Result<(), CpuError> {
        let Some(model) = &self.model else { return Ok(()) };
        let (model, expected) = (model.clone(), Self::named(model)?.signature);
        match expected == self.signature {
            true => Ok(()),
            false => Err(CpuError::Disagrees { model, expected, found: self.signature }),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

struct Series {
    name: &'static str,
    versions: u32,
    family: u32,
    model: u32,
    stepping: u32,
}

impl Series {
    fn names(&self) -> impl Iterator<Item = String> {
        let versions = (1..=self.versions).map(|version| format!("{}-v{version}", self.name));
        let alias = (self.name == "EPYC").then(|| "EPYC-IBPB".to_owned());
        std::iter::once(self.name.to_owned()).chain(versions).chain(alias)
    }
}

/// QEMU 11.1, `builtin_x86_defs` in target/i386/cpu.c. The versions of a series differ in CPUID
/// features and never in family, model and stepping; `EPYC-IBPB` is another name of `EPYC-v2`.
const SERIES: &[Series] = &[
    Series { name: "EPYC", versions: 5, family: 23, model: 1, stepping: 2 },
    Series { name: "EPYC-Rome", versions: 5, family: 23, model: 49, stepping: 0 },
    Series { name: "EPYC-Milan", versions: 4, family: 25, model: 1, stepping: 1 },
    Series { name: "EPYC-Genoa", versions: 3, family: 25, model: 17, stepping: 0 },
    Series { name: "EPYC-Turin", versions: 2, family: 26, model: 0, stepping: 0 },
];
