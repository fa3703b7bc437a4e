//! Bytes as a bundle: inputs that its own lock names, each once and of the size that it says, or an error.
#![no_main]

use std::collections::BTreeSet;

use counterfoil::input::bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut seen = BTreeSet::new();
    let read = bundle::read(bytes, |external, data| {
        let mut all = Vec::new();
        std::io::Read::read_to_end(data, &mut all).unwrap();
        assert!(all.len() as u64 <= external.object.size);
        assert!(seen.insert(external.object.sha256));
        Ok(())
    });
    if let Ok(contents) = read {
        assert_eq!(contents.objects, seen);
    }
});
