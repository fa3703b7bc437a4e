//! A launch of files that are not there: all that a launch record is made from.

use std::collections::BTreeMap;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::direct_boot::{DirectBoot, Evidence, NamedBlobs};
use counterfoil::launch::features::Policy;
use counterfoil::launch::firmware::{HashTableArea, Section, SectionKind};
use counterfoil::launch::guid::Guid;
use counterfoil::launch::record::{Address, Blob, Boot, FirmwareRecord, Inputs};
use counterfoil::launch::{Cpu, Profile, Record, Set, SevFeatures};

pub const CMDLINE: &str = "console=ttyS0  quiet";

/// Four sections in an order that no variant has.
pub fn firmware(seed: u8) -> FirmwareRecord {
    let section = |kind, gpa, size| Section { kind, gpa, size };
    let module = Guid::new(0, 0, 0, [0; 8]);
    let sha256 = Sha256([seed; 32]);
    FirmwareRecord {
        sha256,
        size: 0x40_0000,
        digest: Sha384([seed; 48]),
        reset_eip: Some(Address(0x80_b004)),
        hash_table: Some(HashTableArea { gpa: 0x81_0c00, size: 0x400 }),
        sections: vec![
            section(SectionKind::SecMem, 0x80_0000, 0x9000),
            section(SectionKind::Cpuid, 0x80_e000, 0x1000),
            section(SectionKind::KernelHashes, 0x81_0000, 0x1000),
            section(SectionKind::Secrets, 0x80_d000, 0x1000),
        ],
        direct_boot: Some(DirectBoot {
            verifier: Some(Evidence { module, name: None, sha256, offset: 0 }),
            named_blobs: NamedBlobs::NotRead,
        }),
    }
}

pub fn inputs() -> Inputs {
    let cpus = ["EPYC-v4", "EPYC-Milan"].map(|name| Cpu::named(name).unwrap()).to_vec();
    Inputs {
        profile: Profile::by_id("qemu").unwrap(),
        policy: Policy::QEMU_DEFAULT,
        firmware: firmware(1),
        boot: Some(Boot {
            kernel: Blob::of(b"kernel"),
            initrd: Some(Blob::of(b"initrd")),
            cmdline: CMDLINE.to_owned(),
        }),
        volumes: Vec::new(),
        set: Set::new(vec![1, 2, 4], cpus, vec![SevFeatures::SNP]).unwrap(),
        writers: BTreeMap::new(),
    }
}

pub fn record() -> Record {
    Record::new(inputs()).unwrap()
}
