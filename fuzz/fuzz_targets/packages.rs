//! A package index, in every compression: no panic, no path outside the archive, no more than the
//! bound; and what is in it can be resolved or refused.
#![no_main]

use counterfoil::input::apt::index::{Compression, Packages};
use counterfoil::input::apt::resolve::{Request, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for compression in [Compression::None, Compression::Gzip, Compression::Xz] {
        let mut packages = Packages::new("sid");
        if packages.add("fuzz", "main", bytes, compression, 1 << 16).is_err() {
            continue;
        }
        for package in packages.iter() {
            assert!(!package.path().starts_with('/'));
            assert!(package.path().split('/').all(|part| part != ".."));
        }
        let names: Vec<_> =
            packages.iter().map(|package| package.name().to_owned()).take(4).collect();
        let _ = resolve(&packages, Request { packages: &names, depends: &["*".to_owned()] });
    }
});
