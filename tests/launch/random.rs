//! No input may panic, and no image that is refused may be measured.

use counterfoil::launch::{Firmware, Record, findings};
use proptest::prelude::*;

use crate::image::{Image, driver, packed};

fn whole() -> Vec<u8> {
    let mut image = Image::amdsev();
    image.volumes = packed(&[driver("806040ca-dad9-4978-a3b4-2d2ab0c8a48f", "Loader", b"body")]);
    image.bytes()
}

/// Reads all that can be read of an image; what is accepted passes its own checks again.
fn read(image: &[u8]) {
    if let Ok(firmware) = Firmware::parse(image) {
        let sections = firmware.sections().to_vec();
        let again =
            Firmware::new(firmware.size(), firmware.reset_eip(), firmware.hash_table(), sections);
        assert_eq!(again.as_ref(), Ok(&firmware));
    }
    let _ = findings::examine(image);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(image in prop::collection::vec(any::<u8>(), 0..3 * 4096)) {
        read(&image);
        let _ = Record::from_json(&image);
    }

    /// Changes where the footer, the metadata and the volume headers are.
    #[test]
    fn mutated_images(
        changes in prop::collection::vec((any::<bool>(), 0usize..0x700, any::<u8>()), 1..12),
        cut in prop::option::of(0usize..0x1_0000),
    ) {
        let mut image = whole();
        let size = image.len();
        for (end, at, byte) in changes {
            let at = if end { size - 1 - at } else { at };
            image[at] = byte;
        }
        read(&image[cut.unwrap_or_default()..]);
    }
}

#[test]
fn every_byte_of_the_footer_flipped() {
    let image = whole();
    for at in image.len() - 0x700..image.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut image = image.clone();
            image[at] ^= change;
            let _ = Firmware::parse(&image).map(|firmware| firmware.hash_page().copied());
        }
    }
}

/// What fuzzing found worth keeping: an error or a value, as when it was found.
#[test]
fn seeds() {
    let folder = |target: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds");
        let files = walkdir::WalkDir::new(format!("{root}/{target}")).min_depth(1);
        let files = files.into_iter().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        let files: Vec<Vec<u8>> = files.collect();
        assert!(files.len() > 20, "{target}");
        files
    };
    for image in folder("firmware") {
        let _ = Firmware::parse(&image);
        let _ = findings::examine(&image);
    }
    for file in folder("igvm") {
        if let Ok(igvm) = counterfoil::launch::Igvm::parse(file) {
            counterfoil::launch::igvm::PROFILES.iter().for_each(|one| drop(igvm.digest(one)));
        }
    }
    for json in folder("record") {
        let _ = counterfoil::launch::Record::from_json(&json);
    }
}
