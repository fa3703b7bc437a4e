//! What there is no digest for, and sets of parameters.

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::cpu::{Cpu, Signature};
use counterfoil::launch::measure::{LaunchError, MAX_VCPUS, SetError};
use counterfoil::launch::{Firmware, HashTable, Launch, Profile, Set, SevFeatures};

use crate::image::{HASH_TABLE, Image, METADATA, RESET_BLOCK};

fn launch(change: impl FnOnce(&mut Image), kernel: bool) -> Result<Launch, LaunchError> {
    let mut image = Image::amdsev();
    change(&mut image);
    let firmware = Firmware::parse(&image.bytes()).unwrap();
    let hashes = HashTable::new(Sha256::of("kernel"), None, "quiet").unwrap();
    let profile = Profile::by_id("qemu").unwrap();
    Launch::new(profile, &firmware, Sha384::ZERO, kernel.then_some(&hashes))
}

fn set(vcpus: &[u32]) -> Result<Set, SetError> {
    let cpus = vec![Cpu::named("EPYC-v4").unwrap()];
    Set::new(vcpus.to_vec(), cpus, vec![SevFeatures::SNP])
}

#[test]
fn firmware_that_cannot_bind_a_kernel() {
    let error = launch(|image| image.remove(METADATA), false).unwrap_err();
    assert!(matches!(error, LaunchError::NoMetadata));
    let without_section = |image: &mut Image| image.sections.truncate(6);
    assert!(matches!(launch(without_section, true), Err(LaunchError::NoHashSection)));
    launch(without_section, false).expect("no kernel, no need for the section");
    let without_address = |image: &mut Image| image.set(HASH_TABLE, &[0; 8]);
    assert!(matches!(launch(without_address, true), Err(LaunchError::NoHashTable)));
}

#[test]
fn several_vcpus_need_a_reset_address() {
    let launch = launch(|image| image.set(RESET_BLOCK, &[0; 4]), true).unwrap();
    assert!(launch.digests(&set(&[1]).unwrap()).is_ok());
    let error = launch.digests(&set(&[1, 2]).unwrap()).unwrap_err();
    assert!(matches!(error, LaunchError::NoResetAddress { vcpus: 2 }));
}

#[test]
fn sets() {
    assert!(matches!(set(&[0, 1]), Err(SetError::Vcpus(0))));
    assert!(matches!(set(&[MAX_VCPUS + 1]), Err(SetError::Vcpus(4097))));
    assert!(matches!(set(&[]), Err(SetError::Empty(_))));
    assert!(matches!(set(&[2, 1, 2]), Err(SetError::Repeated { .. })));
    let cpu = Cpu::of(Signature(0x80_0f12));
    let twice = Set::new(vec![1], vec![cpu.clone(), cpu], vec![SevFeatures(1)]);
    assert!(matches!(twice, Err(SetError::Repeated { what: "CPU", .. })));
    let wrong = Cpu { model: Some("EPYC-Milan".into()), signature: Signature(0x80_0f12) };
    let error = Set::new(vec![1], vec![wrong], vec![SevFeatures(1)]).unwrap_err();
    assert_eq!(error.to_string(), "CPU model `EPYC-Milan` has signature 0xa00f11, not 0x800f12");
}

#[test]
fn a_set_is_the_digests_one_by_one() {
    let launch = launch(|_| {}, true).unwrap();
    let cpus = ["EPYC-v4", "EPYC-Turin"].map(|name| Cpu::named(name).unwrap());
    let features = [SevFeatures(1), SevFeatures(0x21)];
    let set = Set::new(vec![7, 1, 3], cpus.to_vec(), features.to_vec()).unwrap();
    let digests = launch.digests(&set).unwrap();
    let order: Vec<_> = digests.iter().map(|d| (d.vcpus, d.cpu.label(), d.features.0)).collect();
    assert_eq!(order.len(), 12);
    assert_eq!(
        order[..3],
        [(1, "EPYC-v4".into(), 1), (1, "EPYC-v4".into(), 0x21), (1, "EPYC-Turin".into(), 1)]
    );
    for row in &digests {
        let one = Set::new(vec![row.vcpus], vec![row.cpu.clone()], vec![row.features]).unwrap();
        assert_eq!(launch.digests(&one).unwrap()[0].digest, row.digest);
    }
}

#[test]
fn signatures() {
    let signature = |name| Cpu::named(name).unwrap().signature.0;
    assert_eq!(signature("EPYC"), 0x80_0f12);
    assert_eq!(signature("EPYC-IBPB"), 0x80_0f12);
    assert_eq!(signature("EPYC-v5"), 0x80_0f12);
    assert_eq!(signature("EPYC-Rome-v5"), 0x83_0f10);
    assert_eq!(signature("EPYC-Milan-v4"), 0xa0_0f11);
    assert_eq!(signature("EPYC-Genoa-v3"), 0xa1_0f10);
    assert_eq!(signature("EPYC-Turin-v2"), 0xb0_0f00);
    assert_eq!(Cpu::names().count(), 25);
    for name in ["", "epyc", "EPYC-v0", "EPYC-v6", "EPYC-Milan-IBPB", "EPYC-v1 "] {
        assert!(Cpu::named(name).is_err(), "{name}");
    }
    assert_eq!(Signature::new(6, 15, 11).unwrap().0, 0x6fb);
    assert_eq!(Signature::new(26, 0x11, 2).unwrap().fields(), (26, 0x11, 2));
    for (family, model, stepping) in [(271, 0, 0), (25, 256, 0), (25, 0, 16)] {
        assert!(Signature::new(family, model, stepping).is_err());
    }
}

#[test]
fn features_by_name() {
    assert_eq!(SevFeatures(0x21).names(), ["SNP_ACTIVE", "DEBUG_SWAP"]);
    assert_eq!(SevFeatures(1 << 63 | 1 << 16).names(), ["SECURE_AVIC", "bit 63"]);
}

#[test]
fn command_lines_are_c_strings() {
    let kernel = Sha256::of("kernel");
    let error = HashTable::new(kernel, None, "a\0b").unwrap_err();
    assert_eq!(error.0, 1);
    let table = HashTable::new(kernel, None, "").unwrap();
    assert_eq!(table.cmdline, Sha256::of([0]));
    assert_eq!(table.initrd, Sha256::of([]));
    let page = table.page(0x81_0c00).unwrap();
    assert_eq!(page[0xc00..0xc00 + 176], table.bytes());
    assert!(page[..0xc00].iter().chain(&page[0xc00 + 176..]).all(|byte| *byte == 0));
    assert_eq!(table.page(0x81_0f51), None);
}
