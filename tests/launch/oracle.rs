//! A second opinion: the `sev` crate, on images that neither side has seen before.

use std::fs;
use std::path::Path;

use counterfoil::digest::Sha256;
use counterfoil::launch::page::image_digest;
use counterfoil::launch::{Cpu, Firmware, HashTable, Launch, Profile, Set, SevFeatures};
use proptest::prelude::*;
use sev::measurement::snp::{SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};

use crate::image::Image;

const CPUS: [&str; 4] = ["EPYC-v4", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"];
const VCPUS: [u32; 5] = [1, 2, 4, 8, 64];

/// Kernel, initrd and command line.
pub(crate) type Blobs<'a> = Option<(&'a [u8], Option<&'a [u8]>, &'a str)>;

#[test]
fn agrees_with_sev() {
    let image = Image::amdsev().bytes();
    compare(&image, Some((b"kernel", Some(b"initrd"), "console=ttyS0 quiet")));
    compare(&image, Some((b"kernel", None, "")));
    compare(&image, None);
}

/// Our profiles, and the VMMs for which `sev` 8 has the same rules.
const VMMS: [(&str, VMMType); 3] =
    [("qemu", VMMType::QEMU), ("ec2-2023", VMMType::EC2), ("krun", VMMType::KRUN)];

/// Compares 20 digests for each VMM.
pub(crate) fn compare(image: &[u8], blobs: Blobs<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("firmware"), image).unwrap();
    if let Some((kernel, initrd, _)) = blobs {
        fs::write(path("kernel"), kernel).unwrap();
        fs::write(path("initrd"), initrd.unwrap_or_default()).unwrap();
    }
    let cpus = CPUS.map(|name| Cpu::named(name).unwrap()).to_vec();
    let set = Set::new(VCPUS.to_vec(), cpus, vec![SevFeatures::SNP]).unwrap();
    for (profile, vmm) in VMMS {
        for digest in launch(profile, image, blobs).digests(&set).unwrap() {
            let (vcpus, cpu) = (digest.vcpus, digest.cpu.label());
            let theirs = theirs(folder.path(), blobs, vcpus, &cpu, vmm);
            assert_eq!(digest.digest.to_string(), theirs, "{profile} {vcpus} {cpu}");
        }
    }
}

pub(crate) fn launch(profile: &str, image: &[u8], blobs: Blobs<'_>) -> Launch {
    let hashes = blobs.map(|(kernel, initrd, cmdline)| {
        HashTable::new(Sha256::of(kernel), initrd.map(Sha256::of), cmdline).unwrap()
    });
    let firmware = Firmware::parse(image).unwrap();
    let profile = Profile::by_id(profile).unwrap();
    Launch::new(profile, &firmware, image_digest(image), hashes.as_ref()).unwrap()
}

fn theirs(folder: &Path, blobs: Blobs<'_>, vcpus: u32, cpu: &str, vmm: VMMType) -> String {
    let initrd = blobs.and_then(|(_, initrd, _)| initrd);
    let arguments = SnpMeasurementArgs {
        vcpus,
        vcpu_type: CpuType::try_from(cpu).unwrap(),
        ovmf_file: folder.join("firmware"),
        guest_features: GuestFeatures::default(),
        kernel_file: blobs.map(|_| folder.join("kernel")),
        initrd_file: initrd.map(|_| folder.join("initrd")),
        append: blobs.map(|(_, _, cmdline)| cmdline),
        ovmf_hash_str: None,
        vmm_type: Some(vmm),
    };
    snp_calc_launch_digest(arguments).unwrap().get_hex_ld()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Section order, count and size are the image's; so is the place of the table in its page. The
    /// command line has no space at either end: `sev` 8 trims it before it hashes, QEMU does not
    /// (the golden file `leading-space` holds the right digest).
    #[test]
    fn agrees_with_sev_on_random_layouts(
        mut kinds in prop::collection::vec(prop::sample::select(vec![1u32, 1, 4]), 0..5),
        pages in prop::collection::vec(1u32..40, 8),
        order in any::<[u8; 8]>(),
        offset in 1u32..=0xf50,
        reset_eip in 1u32..,
        cmdline in "([!-~]([ -~]{0,198}[!-~])?)?",
    ) {
        kinds.extend([2, 3, 0x10]);
        let mut next = 0x80_0000;
        let mut sections = Vec::new();
        for (kind, pages) in kinds.into_iter().zip(pages) {
            let size = if matches!(kind, 2 | 3 | 0x10) { 0x1000 } else { pages * 0x1000 };
            sections.push((kind, next, size));
            next += size + 0x1000;
        }
        let mut order = order.iter();
        sections.sort_by_cached_key(|_| order.next().copied());
        let mut image = Image::amdsev();
        let page = sections.iter().find(|section| section.0 == 0x10).map(|section| section.1);
        image.set(crate::image::HASH_TABLE, &crate::image::words(&[page.unwrap() + offset, 0x400]));
        image.set(crate::image::RESET_BLOCK, &reset_eip.to_le_bytes());
        image.sections = sections;
        compare(&image.bytes(), Some((b"k", Some(b"i"), &cmdline)));
    }
}
