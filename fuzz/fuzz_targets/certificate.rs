//! Certificates in every form that collateral is read from: what was read is written and read as the same.
#![no_main]

use counterfoil::report::Collateral;
use counterfoil::report::binding::spki;
use counterfoil::report::certificate::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = spki(bytes);
    if let Ok(certificate) = Certificate::parse(bytes) {
        assert_eq!(certificate.der(), bytes);
        let _ = (certificate.kind(), certificate.validity(), certificate.endorsement(), certificate.spki());
        let _ = (certificate.subject(), certificate.issuer_name());
    }
    if let Ok(collateral) = Collateral::read(bytes) {
        let json = collateral.to_json().expect("what was read can be written");
        let again = Collateral::read(&json).expect("and read again");
        assert_eq!(again.to_json().expect("once more"), json);
    }
});
