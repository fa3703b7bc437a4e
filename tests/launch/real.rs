//! Firmware as it is shipped. The images are not part of the repository: they are read from the
//! folder that `COUNTERFOIL_TEST_FIRMWARE` names, by the package they come from.

use std::fs;
use std::path::PathBuf;

use counterfoil::launch::direct_boot::NamedBlobs;
use counterfoil::launch::findings::{Finding, State};
use counterfoil::launch::record::FirmwareRecord;
use counterfoil::launch::{DirectBoot, Firmware};

use crate::oracle;

#[expect(clippy::disallowed_methods, reason = "names a folder of test inputs")]
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
pub(crate) fn image(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("COUNTERFOIL_TEST_FIRMWARE").map(PathBuf::from);
    let image = folder.and_then(|folder| fs::read(folder.join(name)).ok());
    if image.is_none() {
        eprintln!("skipped: no `{name}` in the folder that COUNTERFOIL_TEST_FIRMWARE names");
    }
    image
}

fn modules(finding: &Finding) -> Vec<String> {
    match &finding.state {
        State::Open { found } => found.iter().map(|evidence| evidence.label()).collect(),
        _ => Vec::new(),
    }
}

/// Debian `ovmf-amdsev` 2026.08+ds-2, /usr/share/ovmf/OVMF.amdsev.fd.
#[test]
fn amdsev_2026_08() {
    let Some(image) = image("ovmf-amdsev-2026.08.fd") else { return };
    let record = FirmwareRecord::of(&image).unwrap();
    let found = record.direct_boot.clone().unwrap();
    let verifier = found.require_verifier().unwrap();
    assert_eq!(verifier.name.as_deref(), Some("QemuKernelLoaderFsDxe"));
    let NamedBlobs::Run { read_by, started_by } = &found.named_blobs else { panic!("{found:?}") };
    assert_eq!(read_by.module, verifier.module);
    assert_eq!(started_by.name.as_deref(), Some("BdsDxe"));
    let (_, findings) = FirmwareRecord::examine(&image).unwrap();
    let open: Vec<_> = findings.iter().filter(|finding| finding.is_open()).collect();
    let modules: Vec<Vec<String>> = open.iter().map(|finding| modules(finding)).collect();
    assert_eq!(modules, [vec!["BdsDxe", "Fat", "UdfDxe"], vec!["PciBusDxe"], vec!["SecMain"]]);
    let codes: Vec<_> = open.iter().map(|finding| finding.rule.code).collect();
    assert_eq!(codes, ["boot-fallback", "option-roms", "s3-resume"]);
    let layout = record.layout().unwrap();
    assert_eq!(layout, Firmware::parse(&image).unwrap());
    assert_eq!(layout.hash_table().unwrap().gpa, 0x81_0c00);
    assert_eq!(layout.sections().len(), 7);
    let blobs = (&b"kernel"[..], Some(&b"initrd"[..]), "console=ttyS0");
    oracle::compare(&image, Some(blobs));
    oracle::compare(&image, None);
}

/// Debian `ovmf-generic` 2026.08+ds-2, /usr/share/ovmf/OVMF.fd: a section for the hash table, and
/// nothing that reads it.
#[test]
fn generic_2026_08() {
    let Some(image) = image("ovmf-generic-2026.08.fd") else { return };
    assert!(Firmware::parse(&image).unwrap().hash_page().is_some());
    assert!(DirectBoot::examine(&image).unwrap().require_verifier().is_err());
}

/// Debian `ovmf` 2025.02-8+deb13u1 and 2022.11-6+deb12u2, /usr/share/ovmf/OVMF.fd.
#[test]
fn generic_before() {
    for (name, reads_names) in [("ovmf-2025.02.fd", true), ("ovmf-2022.11.fd", false)] {
        let Some(image) = image(name) else { continue };
        let firmware = Firmware::parse(&image).unwrap();
        assert_eq!((firmware.hash_page(), firmware.hash_table()), (None, None));
        let found = DirectBoot::examine(&image).unwrap();
        assert_eq!(found.verifier, None);
        assert_eq!(found.named_blobs.is_hole(), reads_names, "{found:?}");
    }
}
