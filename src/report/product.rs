//! AMD's products as the key service names them, and the versions of what is trusted in each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::launch::Signature;

/// A line of processors with one root of trust.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004: Genoa, Bergamo, and Siena.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The product of a processor by CPUID Fn0000_0001; none for one that is not known to attest
    /// (AMD publication 57230, "VCEK Certificate and KDS Interface", section 3.1; models from the
    /// processor programming references).
    pub fn of(signature: Signature) -> Option<Self> {
        let (family, model, _) = signature.fields();
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x1f) => Some(Self::Turin),
            _ => None,
        }
    }

    /// The product by its name at the key service.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|product| product.name() == name)
    }

    /// The product of a certificate's product name, which may have the silicon's stepping behind it
    /// (`Milan-B0`), and may be of a part that has the root of another.
    pub fn of_certificate(name: &str) -> Option<Self> {
        match name.split_once('-').map_or(name, |(product, _)| product) {
            "Bergamo" | "Siena" => Some(Self::Genoa),
            name => Self::named(name),
        }
    }

    /// Its name at the key service, in certificates, and in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// How many bytes of CHIP_ID identify a chip; the others are zero.
    pub fn chip_id_size(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The security versions of what is trusted in a processor (SNP ABI, table "TCB_VERSION Structure").
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Tcb {
    /// The boot loader before the boot loader; Turin and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u8>,
    /// The boot loader of the security processor.
    pub bootloader: u8,
    /// Its operating system.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// The lowest microcode patch level of all cores.
    pub microcode: u8,
}

impl Tcb {
    /// Reads the eight bytes of a report, whose order is the product's.
    pub fn of(product: Product, bytes: [u8; 8]) -> Self {
        let [b0, b1, b2, b3, .., b6, b7] = bytes;
        match product {
            Product::Milan | Product::Genoa => {
                Self { fmc: None, bootloader: b0, tee: b1, snp: b6, microcode: b7 }
            }
            Product::Turin => {
                Self { fmc: Some(b0), bootloader: b1, tee: b2, snp: b3, microcode: b7 }
            }
        }
    }

    /// Whether the bytes that the product's layout leaves unused are zero.
    pub fn reserved_is_zero(product: Product, bytes: [u8; 8]) -> bool {
        let reserved = match product {
            Product::Milan | Product::Genoa => &bytes[2..6],
            Product::Turin => &bytes[4..7],
        };
        reserved.iter().all(|byte| *byte == 0)
    }

    /// Its parts by name, first in the order in which they start.
    pub fn parts(self) -> impl Iterator<Item = (&'static str, u8)> {
        let fmc = self.fmc.map(|fmc| ("fmc", fmc));
        let rest = [
            ("bootloader", self.bootloader),
            ("tee", self.tee),
            ("snp", self.snp),
            ("microcode", self.microcode),
        ];
        fmc.into_iter().chain(rest)
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, version) in self.parts() {
            write!(f, "{separator}{name} {version}")?;
            separator = ", ";
        }
        Ok(())
    }
}
