//! A report of whatever bytes: described, and judged with the certificates of nobody.
#![no_main]

use counterfoil::report::describe::{Summary, fields};
use counterfoil::report::fields::SIZE;
use counterfoil::report::verdict::Answer;
use counterfoil::report::{
    Collateral, Evidence, Expected, Policy, Product, Question, Report, Roots, Time, verify,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Report::parse(bytes);
    let mut whole = bytes.to_vec();
    whole.resize(SIZE, 0);
    let Ok(report) = Report::parse(&whole) else { return };
    for product in [None, Some(Product::Milan), Some(Product::Genoa), Some(Product::Turin)] {
        let _ = (fields(&report, product), Summary::of(&report, product), report.reserved(product));
    }
    let evidence = Evidence {
        report: whole,
        collateral: Collateral::default(),
        forms: Vec::new(),
        claim: None,
        runtime_data: None,
    };
    let verdict = verify(&Question {
        evidence: Ok(&evidence),
        collateral: &Collateral::default(),
        roots: &Roots::amd(),
        policy: &Policy::conservative(),
        expected: Expected::Anything,
        nonce: None,
        at: Time::from_unix(1_795_348_800),
    });
    assert_ne!(verdict.verdict, Answer::Accepted);
});
