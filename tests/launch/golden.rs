//! Pinned digests of images that the builder makes: any change to how a digest is computed breaks
//! these, which is the point. Each file says what it is of; the digests are what sev-snp-measure
//! 0.0.13 prints for the same image and parameters.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use counterfoil::launch::{Cpu, Set, SevFeatures};

use crate::image::Image;
use crate::oracle;

const GOLDEN: [&str; 8] =
    ["kernel", "no-initrd", "leading-space", "no-kernel", "many-vcpus", "debug-swap", "ec2", "gce"];

#[test]
fn pinned() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/launch");
    for name in GOLDEN {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let header = header(&text);
        let [vcpus, features] = ["vcpus", "features"].map(|key| header[key]);
        let features = u64::from_str_radix(features.trim_start_matches("0x"), 16).unwrap();
        let cpu = Cpu::named(header["cpu"]).unwrap();
        let set = Set::new(vec![vcpus.parse().unwrap()], vec![cpu], vec![SevFeatures(features)]);
        let initrd = header.get("initrd").map(|text| text.as_bytes());
        let cmdline = header.get("cmdline").copied().unwrap_or_default();
        let blobs = header.get("kernel").map(|kernel| (kernel.as_bytes(), initrd, cmdline));
        let launch = oracle::launch(header["profile"], &Image::amdsev().bytes(), blobs);
        let digest = launch.digests(&set.unwrap()).unwrap()[0].digest;
        assert_eq!(digest.to_string(), header["expect"], "{name}: {}", header["comment"]);
    }
}

/// `key: value` lines; an unknown key is a mistake in the file.
fn header(text: &str) -> BTreeMap<&str, &str> {
    const KEYS: [&str; 9] =
        ["comment", "expect", "profile", "vcpus", "cpu", "features", "kernel", "initrd", "cmdline"];
    let header: BTreeMap<_, _> =
        text.lines().map(|line| line.split_once(": ").expect("`key: value`")).collect();
    assert!(header.keys().all(|key| KEYS.contains(key)), "{header:?}");
    header
}
