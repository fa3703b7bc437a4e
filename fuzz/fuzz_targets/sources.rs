//! The host's apt configuration, in both formats.
#![no_main]

use std::path::Path;

use counterfoil::input::apt::sources::Sources;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for name in ["a.list", "a.sources"] {
        let mut sources = Sources::default();
        if sources.add_text(Path::new(name), text).is_ok() {
            for source in &sources.sources {
                assert!(!source.uri.ends_with('/'));
            }
        }
    }
});
