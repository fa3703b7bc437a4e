//! Why an IGVM file is not measured.

use std::fmt;

use crate::launch::vmsa::VMSA_GPA;

/// A file that is malformed, or that a VMM would not launch.
#[derive(Debug, thiserror::Error)]
pub enum IgvmError {
    /// The fixed header.
    #[error("offset {offset:#x}: {field} is {found:#x}, expected {expected}")]
    Header {
        /// Where the field is.
        offset: usize,
        /// Its name.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it may hold.
        expected: String,
    },
    /// A field of a variable header.
    #[error("offset {offset:#x}: {field} of this header is {found:#x}, expected {expected}")]
    Field {
        /// Where the header is.
        offset: usize,
        /// The field's name.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it may hold.
        expected: String,
    },
    /// Readers that go by the order see another file than those that do not.
    #[error(
        "offset {offset:#x}: header of type {kind:#x} after {after}: expected platforms first, then \
         initialization, then directives"
    )]
    Order {
        /// Where the header is.
        offset: usize,
        /// Its type.
        kind: u32,
        /// What has begun before it.
        after: Section,
    },
    /// Which of the two counts differs between readers.
    #[error("offset {offset:#x}: a second {what} for SEV-SNP, expected one")]
    Second {
        /// Where the second one is.
        offset: usize,
        /// What there are two of.
        what: &'static str,
    },
    /// A page that is in the launch twice.
    #[error(
        "offset {offset:#x}: the page at {gpa:#x} is in the launch already, by the header at offset \
         {first:#x}: expected every page once"
    )]
    Overlap {
        /// Where the later header is.
        offset: usize,
        /// Where the earlier one is.
        first: usize,
        /// The page.
        gpa: u64,
    },
    /// A header that reaches out of the section, or with data of another shape than its type has.
    #[error(
        "offset {offset:#x}: header of type {kind:#x} with {length} bytes: expected {expected}"
    )]
    Length {
        /// Where the header is.
        offset: usize,
        /// Its type.
        kind: u32,
        /// The length it gives.
        length: u32,
        /// What its type has, or what room there is.
        expected: String,
    },
    /// What it does to the launch is not known here.
    #[error(
        "offset {offset:#x}: header of unknown type {kind:#x}; a later format needs a later \
         counterfoil"
    )]
    Kind {
        /// Where the header is.
        offset: usize,
        /// Its type.
        kind: u32,
    },
    /// Another platform's file.
    #[error("no platform header for SEV-SNP: this file is for other machines")]
    NoPlatform,
    /// The VMM chooses where the pages go, and the digest with it.
    #[error(
        "offset {offset:#x}: the pages for SEV-SNP are relocatable: where the VMM puts them decides \
         the digest, so there is not one"
    )]
    Relocatable {
        /// Where the header is.
        offset: usize,
    },
    /// A page of 2 MiB whose data is one of 4 KiB in one reader and of 2 MiB in another.
    #[error(
        "offset {offset:#x}: a page of 2 MiB with data: readers of this format differ on how much"
    )]
    LargePage {
        /// Where the header is.
        offset: usize,
    },
    /// More than any machine's firmware, and a way to keep a reader busy.
    #[error("offset {offset:#x}: more than {limit} pages in one launch")]
    Pages {
        /// The header that is too much.
        offset: usize,
        /// How many there may be.
        limit: u64,
    },
    /// What the reader of the format says.
    #[error("not an IGVM file that can be read")]
    Format(#[from] igvm::Error),
    /// Nothing to measure.
    #[error("no page and no vCPU for SEV-SNP: there is nothing to launch")]
    Empty,
    /// A vCPU that KVM would not start so.
    #[error("the VMSA of vCPU {vcpu}: {fault}")]
    Vmsa {
        /// The vCPU.
        vcpu: u16,
        /// What KVM or QEMU does not do.
        fault: VmsaFault,
    },
    /// The VMM would start vCPUs of its own making.
    #[error(
        "no VMSA for vCPU {vcpu}: QEMU would start it in a state of its own, which is measured too"
    )]
    NoVmsa {
        /// The vCPU.
        vcpu: u16,
    },
}

/// The parts of a file's headers, in their order (igvm_defs, IGVM_VHT_RANGE_*).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Section {
    /// Which platforms the file is for.
    #[default]
    Platform,
    /// What holds for a launch as a whole.
    Initialization,
    /// What is added to a launch.
    Directive,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Platform => "a platform",
            Self::Initialization => "initialization",
            Self::Directive => "a directive",
        })
    }
}

/// What in a VMSA QEMU refuses, or KVM measures otherwise than the file has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VmsaFault {
    /// Which one counts is not said.
    #[error("there are two")]
    Two,
    /// Of another address.
    #[error("it is at {gpa:#x}, and KVM measures every VMSA at {VMSA_GPA:#x}")]
    Place {
        /// Where the file has it.
        gpa: u64,
    },
    /// Of a guest that is not SNP.
    #[error("sev_features {features:#x} lack bit 0, without which it is not SNP")]
    NotSnp {
        /// Its SEV_FEATURES.
        features: u64,
    },
    /// Of another guest than vCPU 0.
    #[error(
        "sev_features are {features:#x}, and QEMU has the whole guest start with {first:#x}, those of \
         vCPU 0"
    )]
    Features {
        /// Its SEV_FEATURES.
        features: u64,
        /// Those of vCPU 0.
        first: u64,
    },
    /// A register that KVM changes, or is not known to leave as it is.
    #[error("{register} is {found:#x}, expected {expected}, as KVM measures it")]
    Register {
        /// Its name.
        register: &'static str,
        /// What the file has.
        found: u64,
        /// What KVM measures.
        expected: &'static str,
    },
    /// A field that stays behind.
    #[error("it sets the field at {offset:#x}, which QEMU does not hand on to KVM")]
    Field {
        /// Where it is in the VMSA.
        offset: usize,
    },
}
