//! An IGVM file from someone else: a value or an error, whatever the crate that reads it would do.
#![no_main]

use counterfoil::launch::Igvm;
use counterfoil::launch::igvm::PROFILES;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    measure(bytes.to_vec());
    // The checksum keeps a fuzzer out; so do the sizes.
    if let Some(mended) = mend(bytes) {
        measure(mended);
    }
});

fn measure(bytes: Vec<u8>) {
    let Ok(igvm) = Igvm::parse(bytes) else { return };
    // Pages without data cost nothing in the file, and half a microsecond each here.
    if igvm.pages() > 1 << 12 {
        return;
    }
    for profile in PROFILES {
        let _ = igvm.digest(profile);
    }
}

fn mend(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let total = bytes.len() as u32;
    bytes.get_mut(..4)?.copy_from_slice(b"IGVM");
    let fixed = if *bytes.get(4)? & 1 == 1 { 24 } else { 32 };
    bytes.get_mut(4..8)?.copy_from_slice(&[if fixed == 24 { 1 } else { 2 }, 0, 0, 0]);
    bytes.get_mut(16..20)?.copy_from_slice(&total.to_le_bytes());
    if fixed == 32 {
        bytes.get_mut(24..32)?.copy_from_slice(&[0, 0, 0, 0, 0, 16, 0, 0]);
    }
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (start, size) = (word(8)? as usize, word(12)? as usize);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..20)?);
    hasher.update(&[0; 4]);
    hasher.update(bytes.get(24..fixed)?);
    hasher.update(bytes.get(start..start.checked_add(size)?)?);
    let checksum = hasher.finalize();
    bytes.get_mut(20..24)?.copy_from_slice(&checksum.to_le_bytes());
    Some(bytes)
}
