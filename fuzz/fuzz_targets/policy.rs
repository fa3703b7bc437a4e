//! A policy that somebody wrote: an error with its line, or a policy.
#![no_main]

use counterfoil::report::{Policy, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Policy::parse("policy.yaml", text);
    if let Ok(time) = text.parse::<Time>() {
        assert_eq!(time.to_string().parse::<Time>(), Ok(time));
    }
});
