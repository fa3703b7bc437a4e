//! A report's chain and signature by the `sev` crate: the peer of `benches/verify.sh`.
//!
//! `verify_by_sev REPORT ARK.pem ASK.pem VEK.der`
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]

use std::fs;

use sev::certs::snp::{Certificate, Chain, Verifiable as _, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

fn main() {
    let files: Vec<Vec<u8>> =
        std::env::args().skip(1).map(|path| fs::read(path).unwrap()).collect();
    let [report, ark, ask, vek] = files.as_slice() else {
        panic!("REPORT ARK.pem ASK.pem VEK.der")
    };
    let ca = ca::Chain::from_pem(ark, ask).unwrap();
    let chain = Chain { ca, vek: Certificate::from_der(vek).unwrap() };
    let report = AttestationReport::from_bytes(report).unwrap();
    (&chain, &report).verify().unwrap();
}
