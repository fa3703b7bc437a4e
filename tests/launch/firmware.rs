//! Images that must be refused, each for its own reason.

use counterfoil::launch::firmware::{Firmware, FirmwareError, HashTableArea, SectionKind};

use crate::image::{HASH_TABLE, Image, METADATA, RESET_BLOCK, guid, words};

fn parse(change: impl FnOnce(&mut Image)) -> Result<Firmware, FirmwareError> {
    let mut image = Image::amdsev();
    change(&mut image);
    Firmware::parse(&image.bytes()).map_err(|error| error.what)
}

fn refused(change: impl FnOnce(&mut Image)) -> FirmwareError {
    parse(change).unwrap_err()
}

#[test]
fn reads_what_the_builder_wrote() {
    let firmware = parse(|_| {}).unwrap();
    assert_eq!(firmware.size(), 0x1_0000);
    assert_eq!(firmware.gpa(), 0xffff_0000);
    assert_eq!(firmware.reset_eip(), Some(0x0080_b004));
    assert_eq!(firmware.hash_table(), Some(HashTableArea { gpa: 0x81_0c00, size: 0x400 }));
    assert_eq!(firmware.sections().len(), 7);
    assert_eq!(firmware.hash_page().map(|page| page.gpa), Some(0x81_0000));
}

#[test]
fn zero_means_absent() {
    let firmware = parse(|image| {
        image.set(RESET_BLOCK, &[0; 4]);
        image.set(HASH_TABLE, &[0; 8]);
    })
    .unwrap();
    assert_eq!((firmware.reset_eip(), firmware.hash_table()), (None, None));
}

#[test]
fn a_footer_without_sev_is_read_and_says_so() {
    let firmware = parse(|image| image.entries.clear()).unwrap();
    assert!(firmware.sections().is_empty());
}

#[test]
fn sizes() {
    let whole = Image::amdsev().bytes();
    for size in [0, 1, 4095, whole.len() - 1] {
        let error = Firmware::parse(&whole[whole.len() - size..]).unwrap_err();
        assert_eq!(error.what, FirmwareError::Size { size: size as u64 });
    }
    assert_eq!(Firmware::new(0, None, None, vec![]), Err(FirmwareError::Size { size: 0 }));
    assert_eq!(
        Firmware::parse(&[0; 4096]).unwrap_err().what,
        FirmwareError::NoTable { offset: 4096 - 32 - 16 }
    );
}

#[test]
fn footer_table() {
    let error = refused(|image| image.footer = guid(METADATA));
    assert!(matches!(error, FirmwareError::NoTable { .. }));
    for length in [0, 17, 0xffff] {
        let error = refused(|image| {
            image.size = 0x2000;
            image.table = Some(length);
        });
        assert_eq!(error, FirmwareError::TableLength { length, room: 0x2000 - 32 });
    }
    // 18 + 3: no room for an entry's header, and not empty either.
    let error = refused(|image| image.table = Some(21));
    assert!(matches!(error, FirmwareError::EntryLength { length: 3, room: 3, .. }), "{error}");
    // The last entry that fits is cut off at its start.
    let error = refused(|image| image.table = Some(18 + 22 + 26 + 20));
    assert!(matches!(error, FirmwareError::EntryLength { length: 22, room: 20, .. }), "{error}");
    let error = refused(|image| image.entries.push((guid(RESET_BLOCK), vec![1, 0, 0, 0])));
    assert_eq!(error, FirmwareError::DuplicateEntry { guid: guid(RESET_BLOCK) });
    for (name, expected) in [(RESET_BLOCK, 4), (HASH_TABLE, 8), (METADATA, 4)] {
        let error = refused(|image| image.set(name, &[1; 5]));
        assert_eq!(error, FirmwareError::EntryData { guid: guid(name), length: 5, expected });
    }
}

#[test]
fn metadata_header() {
    for from_end in [0, 1, 15, 0x1_0001, u32::MAX] {
        let error = refused(|image| image.set(METADATA, &from_end.to_le_bytes()));
        assert_eq!(error, FirmwareError::MetadataOffset { from_end });
    }
    let error = refused(|image| image.signature = *b"VESA");
    let (offset, found) = (0x1_0000 - 0x600, *b"VESA");
    assert_eq!(error, FirmwareError::MetadataSignature { offset, found });
    let error = refused(|image| image.version = 2);
    assert_eq!(error, FirmwareError::MetadataVersion { version: 2 });
    for (length, count) in [(100, 8), (99, 7), (0, 7), (16, u32::MAX), (16 + 12 * 200, 200)] {
        let error = refused(|image| (image.length, image.count) = (Some(length), Some(count)));
        assert_eq!(error, FirmwareError::MetadataLength { length, count });
    }
}

#[test]
fn sections() {
    // As u32: a reader that takes the low byte would see type 1.
    for kind in [0, 5, 0x11, 0x101, u32::MAX] {
        let error = refused(|image| image.sections[2].0 = kind);
        assert_eq!(error, FirmwareError::SectionKind { index: 2, kind });
    }
    let error = refused(|image| image.sections[1].2 = 0);
    assert_eq!(error, FirmwareError::SectionEmpty { index: 1, kind: SectionKind::SecMem });
    let error = refused(|image| image.sections[0].2 = 0x8fff);
    assert!(matches!(error, FirmwareError::SectionUnaligned { index: 0, .. }));
    let error = refused(|image| image.sections[0].1 = 0x80_0010);
    assert!(matches!(error, FirmwareError::SectionUnaligned { index: 0, .. }));
    let error = refused(|image| image.sections[5] = (1, 0xffff_0000, 0x1000));
    assert!(matches!(error, FirmwareError::SectionRange { index: 5, .. }), "into the image");
    let error = refused(|image| image.sections[5] = (1, 0xffff_f000, 0x2000));
    assert!(matches!(error, FirmwareError::SectionRange { index: 5, .. }), "past 4 GiB");
    parse(|image| image.sections[5] = (1, 0xfffe_f000, 0x1000)).expect("just below the image");
    let error = refused(|image| image.sections[0].2 = 0xb000);
    assert_eq!(error, FirmwareError::SectionOverlap { first: 0x80_0000, second: 0x80_a000 });
    let error = refused(|image| image.sections[5].1 = 0x80_f000);
    assert_eq!(error, FirmwareError::SectionOverlap { first: 0x80_f000, second: 0x80_f000 });
    for index in [2, 3, 6] {
        let error = refused(|image| {
            image.sections[index].1 = 0x100_0000;
            image.sections[index].2 = 0x2000;
        });
        assert!(matches!(error, FirmwareError::SectionSize { size: 0x2000, .. }), "{error}");
        let error = refused(|image| {
            let kind = image.sections[index].0;
            image.sections.push((kind, 0x100_0000, 0x1000));
        });
        assert!(matches!(error, FirmwareError::SectionRepeated { index: 7, .. }), "{error}");
    }
}

#[test]
fn hash_table() {
    let error = refused(|image| image.set(HASH_TABLE, &words(&[0x81_0c00, 175])));
    assert_eq!(error, FirmwareError::HashTableSize { size: 175, expected: 176 });
    parse(|image| image.set(HASH_TABLE, &words(&[0x81_0f50, 176]))).expect("to the page's end");
    let error = refused(|image| image.set(HASH_TABLE, &words(&[0x81_0f51, 176])));
    assert_eq!(error, FirmwareError::HashTableCrosses { gpa: 0x81_0f51 });
    let error = refused(|image| image.set(HASH_TABLE, &words(&[0x81_1c00, 0x400])));
    assert_eq!(error, FirmwareError::HashTableElsewhere { gpa: 0x81_1c00, page: 0x81_0000 });
}

/// Every refusal says where in the image, and the bytes there are those that it speaks of.
#[test]
fn offsets() {
    let word = |change: &dyn Fn(&mut Image)| {
        let mut image = Image::amdsev();
        change(&mut image);
        let bytes = image.bytes();
        let error = Firmware::parse(&bytes).unwrap_err();
        let offset = error.offset.unwrap_or_else(|| panic!("{error}"));
        assert!(error.to_string().contains(&format!("{offset:#x}: ")), "{error}");
        bytes[offset..offset + 12].to_vec()
    };
    let starts =
        |found: Vec<u8>, expected: &[u8]| assert!(found.starts_with(expected), "{found:x?}");
    starts(word(&|image| image.sections[2].0 = 0x105), &words(&[0x80_d000, 0x1000, 0x105]));
    starts(word(&|image| image.sections[6].2 = 0x800), &words(&[0x81_0000, 0x800, 0x10]));
    starts(word(&|image| image.sections[5].1 = 0x80_f000), b"ASEV");
    starts(word(&|image| image.version = 7), &words(&[7, 7]));
    starts(word(&|image| image.length = Some(99)), &words(&[99, 1, 7]));
    starts(word(&|image| image.set(HASH_TABLE, &words(&[0x81_0f51, 176]))), &words(&[0x81_0f51]));
    starts(word(&|image| image.set(METADATA, &[9, 0, 0, 0])), &[9, 0, 0, 0, 22, 0]);
    starts(word(&|image| image.set(RESET_BLOCK, &[8; 5])), &[8, 8, 8, 8, 8, 23, 0]);
    starts(word(&|image| image.table = Some(17)), &[17, 0, 0xde, 0x82, 0xb5, 0x96]);
    starts(word(&|image| image.entries.push((guid(METADATA), vec![1, 2]))), &[1, 2, 20, 0]);
}
