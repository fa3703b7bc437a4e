//! Bytes as an EROFS image, also with its superblock mended: a value or an error, every path below
//! the root, every read within the image, and no more entries than there is room for.
#![no_main]

use counterfoil::image::erofs::read::Reader;
use counterfoil::volume::locate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes.to_vec());
    let mut mended = bytes.to_vec();
    if let Some(superblock) = mended.get_mut(1024..1152) {
        superblock[..4].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
        superblock[12] = 9 + superblock[12] % 8;
        superblock[80..84].fill(0);
        read(mended);
    }
});

fn read(bytes: Vec<u8>) {
    let Ok(reader) = Reader::new(&bytes, bytes.len() as u64) else { return };
    let mut count = 0;
    let _ = reader.walk(|path, inode| {
        let mut parts = path.split(|byte| *byte == b'/').skip(1);
        assert!(path == b"/" || parts.all(|part| !matches!(part, b"" | b"." | b"..")));
        count += 1;
        assert!(count <= bytes.len() / 13 + 1);
        let size = usize::try_from(inode.size).unwrap_or(usize::MAX).min(5000);
        let mut some = vec![0; size];
        let _ = reader.read_at(inode, &mut some, 0);
        let _ = reader.read_at(inode, &mut some, inode.size - size as u64);
        let _ = reader.blocks_of(inode);
        Ok(())
    });
    let _ = locate(&reader, 2);
}
