//! Text as a manifest, a lock and a kernel configuration: an error or a value, never a panic.
#![no_main]

use counterfoil::kernel::config::Config;
use counterfoil::yaml::Document;
use counterfoil::manifest::{Lock, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let document = Document { name: "fuzz", text };
    if let Ok(manifest) = document.parse::<Manifest>() {
        // What is read can be written, and reads back as the same.
        let again = manifest.canonical();
        let back: Manifest = Document { name: "again", text: &again }.parse().expect("canonical");
        assert_eq!(back.digest(), manifest.digest());
    }
    if let Ok(lock) = document.parse::<Lock>() {
        let again = lock.canonical();
        let back: Lock = Document { name: "again", text: &again }.parse().expect("canonical");
        assert_eq!(back, lock);
    }
    let _ = Config::parse(text);
});
