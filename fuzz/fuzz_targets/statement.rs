//! What is published, from others: bundles, envelopes, statements, a log's entries. An error, or something that is
//! written as it was read.
#![no_main]

use counterfoil::log::entry::Entry;
use counterfoil::statement::bundle::Bundle;
use counterfoil::statement::dsse::Envelope;
use counterfoil::statement::intoto::{Predicate, Statement};
use counterfoil::statement::key::{PublicKey, Signature};
use counterfoil::statement::launch::Launch;
use counterfoil::statement::provenance::Provenance;
use counterfoil::statement::revocation::Revocation;
use counterfoil::statement::vsa::Summary;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::from_json(bytes) {
        let json = bundle.to_json().expect("what was read can be written");
        assert_eq!(Bundle::from_json(&json).expect("and read again"), bundle);
        payload(&bundle.envelope.payload);
    }
    if let Ok(envelope) = Envelope::from_json(bytes) {
        let json = envelope.to_json().expect("what was read can be written");
        assert_eq!(Envelope::from_json(&json).expect("and read again"), envelope);
        payload(&envelope.payload);
    }
    if let Ok(entry) = Entry::from_body(bytes) {
        assert_eq!(entry.to_body().expect("what was read can be written"), bytes);
    }
    if let Ok(key) = PublicKey::from_der(bytes) {
        assert_eq!(key.to_der(), bytes);
    }
    if let Ok(signature) = Signature::from_der(bytes) {
        assert_eq!(signature.to_der(), bytes);
    }
    payload(bytes);
});

fn payload(bytes: &[u8]) {
    one::<Launch>(bytes);
    one::<Provenance>(bytes);
    one::<Revocation>(bytes);
    one::<Summary>(bytes);
}

fn one<P: Predicate>(bytes: &[u8]) {
    if let Ok(statement) = Statement::<P>::from_json(bytes) {
        assert_eq!(statement.to_json().expect("what was read can be written"), bytes);
    }
}
