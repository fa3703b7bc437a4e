//! A release file from a hostile mirror: its signature framework, its signatures, its fields.
#![no_main]

use counterfoil::input::apt::cleartext;
use counterfoil::input::apt::keyring::Keyring;
use counterfoil::input::apt::release::Release;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = cleartext::parse(bytes) {
        // What is parsed is what is signed, but for the line endings.
        let canonical = signed.text.trim_end_matches('\n').replace('\n', "\r\n");
        assert!(signed.signed.starts_with(canonical.as_bytes()));
        assert!(Release::from_inrelease(bytes, &Keyring::default(), 0).is_err());
        let _ = Release::parse_unverified(&signed.text);
    }
    let _ = cleartext::detached(bytes);
    let _ = Keyring::default().add("fuzz", bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Release::parse_unverified(text);
    }
});
