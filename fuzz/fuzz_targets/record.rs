//! A launch record from someone else: an error, or a record that recomputes and reads back as itself.
#![no_main]

use counterfoil::launch::Record;
use counterfoil::launch::record::DigestRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::from_json(bytes) {
        holds(&record);
    }
    // One spelling and right digests keep a fuzzer out: it gets both for any record of the right form.
    let Ok(mut record) = serde_json::from_slice::<Record>(bytes) else { return };
    let pages: u64 = record.firmware.sections.iter().map(|section| u64::from(section.size)).sum();
    let counts = record.vcpus.iter().copied().map(u64::from).sum::<u64>();
    let launches = counts * (record.cpus.len() * record.sev_features.len()) as u64;
    if pages >= 1 << 24 || launches >= 1 << 16 {
        return;
    }
    let (Ok(launch), Ok(digests)) = (record.launch(), record.recompute()) else { return };
    record.digest_before_vcpus = launch.digest_before_vcpus();
    record.digests = digests.into_iter().map(DigestRecord::from).collect();
    let json = record.to_json().expect("a record can be written");
    if let Ok(read) = Record::from_json(&json) {
        assert_eq!(read, record);
        holds(&read);
    }
});

fn holds(record: &Record) {
    let again = record.to_json().expect("what was read can be written");
    assert_eq!(&Record::from_json(&again).expect("and read again"), record);
    assert!(record.hash_table().expect("a layout that was checked").is_some() || record.boot.is_none());
    let _ = record.hash_page().expect("likewise");
}
