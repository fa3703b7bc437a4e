//! What a report may have come in: opened or refused, and what is found is a part of what was given.
#![no_main]

use counterfoil::report::Evidence;
use counterfoil::report::fields::SIZE;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(evidence) = Evidence::open(bytes) else { return };
    assert_eq!(evidence.report.len(), SIZE);
    assert!(!evidence.forms.is_empty());
    // A report that was taken out of something is a report by itself.
    if let Ok(again) = Evidence::open(&evidence.report) {
        assert_eq!(again.report, evidence.report);
    }
});
