//! Bytes as a package, as a tar archive and as an initrd: an error or an index, never a panic, never a path that
//! leaves the root.
#![no_main]

use std::io::Write as _;
use std::sync::Arc;

use counterfoil::image::cpio::ours;
use counterfoil::tree::archive::{Archive, unpack_deb};
use counterfoil::tree::held::Held;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = || {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(bytes).expect("room");
        Held::new(file).expect("a file")
    };
    if let Ok(members) = ours::read(bytes, &["init"]) {
        assert!(members.is_sorted_by(|one, next| one.path < next.path));
    }
    let _ = unpack_deb(&Arc::new(file()), 1 << 20, std::io::sink());
    if let Ok(archive) = Archive::index(file()) {
        for (path, _) in archive.iter() {
            assert!(!path.as_str().split('/').any(|part| part == ".."));
            if let Ok((range, _)) = archive.file(path) {
                let _ = range.read();
            }
        }
    }
});
