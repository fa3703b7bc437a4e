//! Findings in images of which every module is known.

use counterfoil::launch::direct_boot::{DirectBoot, NamedBlobs, REFUSES_UNNAMED};
use counterfoil::launch::volume::{self, VolumeError};

use crate::image::{
    Image, driver, file, guid, guided, lzma, packed, section, stream, utf16, volume as fv,
};

const LOADER: &str = "806040ca-dad9-4978-a3b4-2d2ab0c8a48f";
const BDS: &str = "6d33944a-ec75-4855-a54d-809c75241f6c";
const LOADER_FS: &str = "1428f772-b64a-441e-b8c3-9ebdd7f893c7";
const ENTRIES: [&str; 3] = [
    "97d02dd8-bd20-4c94-aa78-e7714d36ab2a",
    "44baf731-3a2f-4bd7-9af1-41e29169781d",
    "4de79437-abd2-427f-b835-d5b172d2045b",
];

/// A loader that knows the three blobs, and whatever else a test adds.
fn loader(entries: &[&str], more: &[&[u8]]) -> Vec<u8> {
    let mut body = b"STUBFILE".to_vec();
    for name in ["kernel", "initrd", "cmdline"] {
        body.extend(utf16(name));
    }
    entries.iter().for_each(|name| body.extend(guid(name).bytes()));
    more.iter().for_each(|bytes| body.extend(*bytes));
    driver(LOADER, "QemuKernelLoaderFsDxe", &body)
}

/// A boot manager that starts blobs of these names.
fn bds(names: &[&str]) -> Vec<u8> {
    let mut body = guid(LOADER_FS).bytes().to_vec();
    names.iter().for_each(|name| body.extend(utf16(name)));
    driver(BDS, "BdsDxe", &body)
}

fn examine(drivers: &[Vec<u8>]) -> DirectBoot {
    let mut image = Image::amdsev();
    image.volumes = packed(drivers);
    DirectBoot::examine(&image.bytes()).unwrap()
}

#[test]
fn walks_every_kind_of_wrapping() {
    let plain = stream(&[section(0x10, b"plain")]);
    let mut uncompressed = vec![0; 5];
    uncompressed.extend(&plain);
    let mut crc32 = guid("fc1bcdb0-7d31-49aa-936a-a4600d9dd083").bytes().to_vec();
    crc32.extend([28, 0, 2, 0, 1, 2, 3, 4]);
    crc32.extend(&plain);
    let sections = [
        section(0x12, b"te"),
        section(1, &uncompressed),
        section(2, &crc32),
        section(3, &plain),
        lzma(&lzma(&plain)),
        section(0x17, &fv(&[file(BDS, 7, &[section(0x10, b"inner")])])),
        section(0x19, b"raw"),
    ];
    let mut image = vec![0xaa; 24];
    image.extend(fv(&[file(LOADER, 1, &[]), file(LOADER, 0x0b, &sections)]));
    image.extend(fv(&[driver(BDS, "two", b"second volume")]));
    let mut found = Vec::new();
    volume::modules(&image, &mut |module| {
        found.push((module.guid.to_string(), String::from_utf8(module.body.to_vec()).unwrap()));
    })
    .unwrap();
    let bodies: Vec<&str> = found.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(bodies, ["te", "plain", "plain", "plain", "plain", "inner", "second volume"]);
    assert_eq!(found[0].0, LOADER);
    assert_eq!(found[5].0, BDS);
}

#[test]
fn verifier() {
    let found = examine(&[bds(&["kernel"]), loader(&ENTRIES, &[])]);
    let verifier = found.require_verifier().unwrap();
    assert_eq!(verifier.module.to_string(), LOADER);
    assert_eq!(verifier.name.as_deref(), Some("QemuKernelLoaderFsDxe"));
    let without = examine(&[bds(&["kernel"]), loader(&[], &[])]);
    let error = without.require_verifier().unwrap_err();
    assert!(error.to_string().contains("whatever the digest says"));
    // The GUIDs alone, as in a tool that only prints them, are not a verifier.
    let guids = ENTRIES.map(|name| *guid(name).bytes()).concat();
    assert_eq!(examine(&[driver(BDS, "other", &guids)]).verifier, None);
    assert_eq!(examine(&[loader(&ENTRIES[..2], &[])]).verifier, None);
}

#[test]
fn named_blobs() {
    let state = |reader: &[&[u8]], starts: &[&str]| {
        examine(&[loader(&ENTRIES, reader), bds(starts)]).named_blobs
    };
    let mark: &[u8] = REFUSES_UNNAMED.bytes();
    assert_eq!(state(&[], &["kernel", "shim"]), NamedBlobs::NotRead);
    let whole: [&[u8]; 2] = [b"etc/boot/kernel\0", b"etc/boot/initrd\0"];
    assert_eq!(state(&whole, &["shim"]), NamedBlobs::NotRead);
    let open = state(&[b"etc/boot/\0"], &["kernel", "shim"]);
    assert!(open.is_hole());
    let NamedBlobs::Run { read_by, started_by } = open else { panic!() };
    assert_eq!(read_by.module.to_string(), LOADER);
    assert_eq!(started_by.module.to_string(), BDS);
    assert!(state(&[b"etc/boot/kernel\0etc/boot/\0"], &["shim"]).is_hole());
    assert!(state(&[b"etc/boot/shim\0"], &["shim"]).is_hole());
    assert!(state(&[b"etc/boot/kernels\0"], &["shim"]).is_hole());
    assert!(matches!(state(&[b"etc/boot/\0"], &["kernel"]), NamedBlobs::Unused { .. }));
    let refused = state(&[b"etc/boot/\0", mark], &["shim"]);
    let NamedBlobs::Refused { by } = refused else { panic!("{refused:?}") };
    assert_eq!(by.module.to_string(), LOADER);
    // A mark elsewhere says nothing about the module that reads.
    let elsewhere = examine(&[loader(&ENTRIES, &[b"etc/boot/\0"]), bds(&["shim"]), {
        driver("11111111-2222-3333-4444-555555555555", "mark", mark)
    }]);
    assert!(elsewhere.named_blobs.is_hole());
    // One reader and starter in one module.
    let (volume, shim) = (guid(LOADER_FS), utf16("shim"));
    let both = loader(&ENTRIES, &[b"etc/boot/\0", volume.bytes(), &shim]);
    assert!(examine(&[both]).named_blobs.is_hole());
}

fn refused(image: &[u8]) -> VolumeError {
    volume::modules(image, &mut |_| {}).unwrap_err()
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    assert!(matches!(refused(&[0; 4096]), VolumeError::NoVolume));
    assert!(matches!(refused(&Image::amdsev().bytes()), VolumeError::NoVolume));
    let of = |sections: &[Vec<u8>]| refused(&fv(&[file(LOADER, 7, sections)]));
    let f86 = guided("d42ae6bd-1352-4bfb-909a-ca72a6eae889", b"....");
    assert!(matches!(of(&[f86]), VolumeError::Encoding { .. }));
    assert!(matches!(of(&[section(1, &[0, 0, 0, 0, 1, 7])]), VolumeError::Encoding { .. }));
    let broken = guided("ee4e5898-3914-4259-9d6e-dc7bd79403cf", &[0x5d, 0, 0, 0, 1, 9]);
    assert!(matches!(of(&[broken]), VolumeError::Lzma { .. }));
    let mut long = section(0x10, b"body");
    long[0] = 200;
    assert!(matches!(of(&[long]), VolumeError::Length { what: "section", length: 200, .. }));
    assert!(matches!(of(&[vec![3, 0, 0, 0x10]]), VolumeError::Length { length: 3, .. }));
    assert!(matches!(of(&[section(2, b"short")]), VolumeError::Length { .. }));
    let whole = fv(&[file(LOADER, 7, &[section(0x10, b"body")])]);
    let cut = &whole[..whole.len() - 8];
    assert!(matches!(refused(cut), VolumeError::Length { what: "volume", .. }));
    let mut wrong = whole.clone();
    wrong[72 + 20] = 5;
    assert!(matches!(refused(&wrong), VolumeError::Length { what: "file", length: 5, .. }));
}

#[test]
fn work_is_bounded() {
    let mut nested = section(0x10, b"deep");
    for _ in 0..12 {
        nested = section(3, &nested);
    }
    let image = fv(&[file(LOADER, 7, &[nested])]);
    assert!(matches!(refused(&image), VolumeError::TooLarge { .. }));
    // 65 MiB of zeros, some kilobytes long.
    let bomb = lzma(&vec![0; 65 << 20]);
    assert!(bomb.len() < 64 << 10);
    assert!(matches!(refused(&fv(&[file(LOADER, 7, &[bomb])])), VolumeError::TooLarge { .. }));
}
