//! Why an IGVM file is not measured.

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
    #[error("the VMSA of vCPU {vcpu}: {why}")]
    Vmsa {
        /// The vCPU.
        vcpu: u16,
        /// What KVM or QEMU does not do.
        why: String,
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
