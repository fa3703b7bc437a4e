//! Bytes as an initrd: members or an error, every range within the bytes and none before the one
//! before, and the same whether data are read or skipped.
#![no_main]

use std::io::Read as _;

use counterfoil::image::cpio::read::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (mut skipping, mut reading) = (Reader::new(bytes), Reader::new(bytes));
    let mut end = 0;
    loop {
        let member = match (skipping.next_member(), reading.next_member()) {
            (Ok(one), Ok(other)) => {
                assert_eq!(one, other);
                one
            }
            (Err(one), Err(other)) => {
                assert_eq!(one.to_string(), other.to_string());
                None
            }
            (one, other) => panic!("{one:?} and {other:?}"),
        };
        let Some(member) = member else { break };
        assert!(end <= member.offset && member.offset < member.data.start);
        assert!(!member.name.is_empty() && !member.name.contains(&0));
        end = member.data.end;
        let mut data = Vec::new();
        if reading.data().read_to_end(&mut data).is_ok() {
            let range = member.data.start as usize..member.data.end as usize;
            assert_eq!(bytes.get(range), Some(data.as_slice()));
        }
    }
    assert!(matches!(skipping.next_member(), Ok(None)));
});
