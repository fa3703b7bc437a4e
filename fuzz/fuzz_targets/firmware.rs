//! A firmware image is foreign input: reading it must end in a value or an error. What is accepted
//! must pass its own checks again, and be measurable or refused.
#![no_main]

use counterfoil::launch::page::image_digest;
use counterfoil::launch::{Firmware, Launch, Profile, findings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|image: &[u8]| {
    let _ = findings::examine(image);
    let Ok(firmware) = Firmware::parse(image) else { return };
    let (size, eip, area) = (firmware.size(), firmware.reset_eip(), firmware.hash_table());
    assert_eq!(Firmware::new(size, eip, area, firmware.sections().to_vec()).as_ref(), Ok(&firmware));
    // A section may cover gigabytes, at half a second for each.
    let pages: u64 = firmware.sections().iter().map(|section| u64::from(section.size)).sum();
    if pages < 1 << 24
        && let Ok(profile) = Profile::by_id("qemu")
    {
        let _ = Launch::new(profile, &firmware, image_digest(image), None);
    }
});
