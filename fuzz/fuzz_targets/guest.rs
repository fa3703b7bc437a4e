//! What PID 1 reads: its plan, and a DHCP server's replies.
#![no_main]

use counterfoil_init::plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && plan::Plan::parse(text).is_ok()
    {
        let directives: Vec<_> = plan::parse(text).map(|line| line.expect("parsed")).collect();
        let mut again = String::new();
        plan::write(&directives, &mut again).expect("what is read can be written");
        assert_eq!(again, text, "a plan has one spelling");
    }
    fuzz_dhcp(bytes);
});
