//! Images that are wrong: a sentence, never a panic, never a path that leads elsewhere.

use counterfoil::image::erofs::Uuid;
use counterfoil::image::erofs::read::{Data, ReadError, Reader};
use proptest::prelude::*;

use crate::sample::{directory, file, image, link, members};
use crate::support::many_files::noise;

/// Reads everything that there is to be read.
fn read(bytes: &Vec<u8>) -> Result<usize, ReadError> {
    let reader = Reader::new(bytes, bytes.len() as u64)?;
    let mut count = 0;
    reader.walk(|path, inode| {
        assert!(path.starts_with(b"/") && path.len() < 4096);
        let parts = path.split(|byte| *byte == b'/').skip(1);
        assert!(path == b"/" || parts.clone().all(|p| !p.is_empty() && p != b"." && p != b".."));
        if matches!(inode.data, Data::Plain { .. } | Data::Inline { .. }) {
            let mut some = vec![0; usize::try_from(inode.size.min(10_000)).unwrap()];
            reader.read_at(inode, &mut some, 0)?;
            let from = inode.size - some.len() as u64;
            reader.read_at(inode, &mut some, from)?;
        }
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

fn small() -> Vec<u8> {
    image(
        &members(vec![
            directory("/a"),
            directory("/a/b"),
            file("/a/b/c", noise(1, 3000)),
            file("/d", "d"),
            link("/e", "d"),
        ]),
        Uuid::NIL,
    )
}

/// The message after writing `value` at `offset`.
fn after(offset: usize, value: &[u8]) -> String {
    let mut bytes = small();
    bytes[offset..offset + value.len()].copy_from_slice(value);
    match read(&bytes) {
        Ok(count) => format!("read {count}"),
        Err(error) => error.to_string(),
    }
}

/// Where inodes are: see the dump in `erofs`.
const ROOT: usize = 4096;

#[test]
fn each_damage_has_its_sentence() {
    assert_eq!(after(0, &[]), "read 6");
    assert_eq!(after(1024, &[0]), "no EROFS file system: no superblock at byte 1024");
    assert_eq!(after(1024 + 12, &[8]), "blocks of 2^8 bytes are not understood");
    assert_eq!(after(1024 + 80, &[0x80]), "file systems with 48bit are not understood");
    assert_eq!(after(1024 + 83, &[0x80]), "file systems with 0x80000000 are not understood");
    assert_eq!(
        after(1024 + 14, &[0xff, 0xff]),
        "the image has 12288 bytes; something in it reaches up to byte 2097152"
    );
    // i_format, i_mode and i_size of the root.
    assert_eq!(after(ROOT, &[0x10]), "inodes of the format 0x10 are not understood");
    assert_eq!(after(ROOT, &[0x0a]), "contents of layout 5 are not understood");
    assert_eq!(after(ROOT, &[0x02]), "directories that are not plain are not understood");
    assert_eq!(after(ROOT + 4, &[0, 0x70]), "inode 128: mode 70000 is of no type");
    assert_eq!(after(ROOT + 4, &[0, 0x80]), "inode 128: it is the root and no directory");
    assert_eq!(
        after(ROOT + 8, &[0xff, 0xff, 0xff]),
        "inode 128: its blocks end at 4095, the file system at 3"
    );
    assert_eq!(after(ROOT + 8, &[0xff, 0x0f]), "inode 128: what stands behind it crosses a block");
    // Its entries: `.`, `..`, `a`, `d`, `e`, twelve bytes each, then the names.
    let entry = |number: usize| ROOT + 32 + number * 12;
    let damaged = "inode 128: its entries and their names do not fit together";
    for (offset, value) in [(8, 0), (8, 59), (8, 0xff), (20, 59), (9, 0xff)] {
        assert_eq!(after(ROOT + 32 + offset, &[value]), damaged, "{offset}");
    }
    let names = entry(5);
    assert_eq!(after(names, b"-"), "inode 128: it is a directory without `.` or `..`");
    assert_eq!(after(entry(0), &[129]), "inode 128: its `.` or `..` leads elsewhere");
    assert_eq!(after(names + 4, b"a"), "inode 128: its entries are not sorted");
    assert_eq!(
        after(names + 3, b"/"),
        "inode 128: a name in it is empty, too long, or holds a slash or NUL"
    );
    assert_eq!(after(entry(3) + 10, &[2]), "inode 139: its directory says it is something else");
    // `d` becomes another name of `a`.
    assert_eq!(
        after(entry(3), &[132, 0, 0, 0, 0, 0, 0, 0, 64, 0, 2]),
        "inode 132: it is a directory with two names"
    );
}

#[test]
fn an_image_cut_anywhere_is_an_error() {
    let whole = small();
    assert!(read(&whole).is_ok());
    for length in 0..whole.len() {
        // Contents that are cut off are noticed when they are read; the last block has 3000 bytes.
        let cut = whole[..length].to_vec();
        assert_eq!(read(&cut).is_ok(), length >= 2 * 4096 + 3000, "{length}");
    }
}

/// What fuzzing found worth keeping: an error or a value, as when it was found.
#[test]
fn seeds() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/erofs");
    let (mut files, mut paths) = (0, 0);
    for file in walkdir::WalkDir::new(root).min_depth(1) {
        let mut bytes = std::fs::read(file.unwrap().path()).unwrap();
        let _ = read(&bytes);
        // As the fuzz target mends them.
        if let Some(superblock) = bytes.get_mut(1024..1152) {
            superblock[..4].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
            superblock[12] = 9 + superblock[12] % 8;
            superblock[80..84].fill(0);
        }
        let _ = read(&bytes);
        files += 1;
        if let Ok(reader) = Reader::new(&bytes, bytes.len() as u64) {
            let _ = reader.walk(|_, _| {
                paths += 1;
                Ok(())
            });
        }
    }
    assert!(files > 20 && paths > 20, "{paths} paths in {files} files");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damage_anywhere_is_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = small();
        for (at, value) in changes {
            // The contents do not matter; superblock, inodes and entries do.
            let at = 1024 + at.index(4096);
            bytes[at] = value;
        }
        let _ = read(&bytes);
    }

    #[test]
    fn noise_behind_a_magic_number_is_no_panic(seed in any::<u64>(), length in 0_usize..9000) {
        let mut bytes = noise(seed, length);
        if let Some(place) = bytes.get_mut(1024..1028) {
            place.copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
        }
        if let Some(place) = bytes.get_mut(1036) {
            *place = 12;
        }
        if let Some(place) = bytes.get_mut(1104..1108) {
            place.fill(0);
        }
        let _ = read(&bytes);
    }
}
