//! Lists of revoked certificates, with one that looks as if it were signed by a root of AMD's.
#![no_main]

use counterfoil::report::crl::Crl;
use counterfoil::report::{
    Collateral, Evidence, Expected, Policy, Question, Roots, Time, verify,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(crl) = Crl::parse(bytes) else { return };
    assert_eq!(crl.der(), bytes);
    let _ = (crl.issuer_name(), crl.this_update(), crl.next_update(), crl.len());
    let mut report = vec![0; 0x4a0];
    report[0] = 5;
    report[0x188..0x18b].copy_from_slice(&[0x19, 0x11, 1]);
    let evidence = Evidence {
        report,
        collateral: Collateral { crls: vec![crl], ..Collateral::default() },
        forms: Vec::new(),
        claim: None,
        runtime_data: None,
    };
    let _ = verify(&Question {
        evidence: Ok(&evidence),
        collateral: &Collateral::default(),
        roots: &Roots::amd(),
        policy: &Policy::conservative(),
        expected: Expected::Anything,
        nonce: None,
        at: Time::from_unix(1_795_348_800),
    });
});
