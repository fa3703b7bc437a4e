//! A page of a Python package index, whatever an index may answer.
#![no_main]

use counterfoil::input::python::page;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for link in page::links(text, "https://index.example/simple/name/") {
        assert!(!link.file.is_empty() && !link.file.contains(['/', '\n', '\r']));
        assert!(link.url.contains(':') && !link.url.contains('#'), "{}", link.url);
        let _ = page::sdist(&link.file);
        let name = page::normalized(&link.file);
        assert_eq!(page::normalized(&name), name);
    }
});
