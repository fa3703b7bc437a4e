//! Bytes as an ELF file, a kernel image and a kernel module: an error or a value, never a panic.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use counterfoil::kernel::bzimage::BzImage;
use counterfoil::kernel::modules::{self, Modules};
use counterfoil::names::GuestPath;
use counterfoil::tree::elf::Needs;
use libfuzzer_sys::fuzz_target;

struct One<'a> {
    bytes: &'a [u8],
    paths: BTreeMap<String, GuestPath>,
    built_in: BTreeSet<String>,
}

impl Modules for One<'_> {
    fn paths(&self) -> &BTreeMap<String, GuestPath> {
        &self.paths
    }

    fn read(&self, _: &GuestPath) -> Result<Vec<u8>, String> {
        Ok(self.bytes.to_vec())
    }

    fn built_in(&self) -> &BTreeSet<String> {
        &self.built_in
    }
}

fuzz_target!(|bytes: &[u8]| {
    let path: GuestPath = "/lib/modules/one.ko".parse().expect("a path");
    let _ = BzImage::parse(bytes);
    let _ = Needs::of(&path, bytes);
    let paths = BTreeMap::from([("one".to_owned(), path)]);
    let request = ["one".parse().expect("a request")];
    let _ = modules::closure(&request, &One { bytes, paths, built_in: BTreeSet::new() });
});
