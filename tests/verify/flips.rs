//! Every bit of what is signed counts: one changed, anywhere, and the answer is no.

use counterfoil::report::Product;
use counterfoil::report::verdict::Answer;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::asked::{Asked, Bytes};

/// In report, chain and list together.
const FLIPS: usize = 2000;

#[test]
fn one_bit_is_enough() {
    let mut random = StdRng::seed_from_u64(7);
    let mut each = [0; 5];
    for product in Product::ALL {
        for asked in [Asked::good(product), Asked::vlek(product)] {
            let good = asked.bytes();
            assert_eq!(asked.answer_to(&good).unwrap().verdict, Answer::Accepted);
            for _ in 0..FLIPS.div_ceil(6) {
                let part = random.gen_range(0..5);
                each[part] += 1;
                let mut bytes = copy(&good);
                let target: &mut Vec<u8> = match part {
                    0 => &mut bytes.evidence,
                    1 => &mut bytes.vek,
                    2 => &mut bytes.ask,
                    3 => &mut bytes.ark,
                    _ => &mut bytes.crl,
                };
                let bit = random.gen_range(0..target.len() * 8);
                target[bit / 8] ^= 1 << (bit % 8);
                // What cannot be read is not accepted either.
                if let Ok(verdict) = asked.answer_to(&bytes) {
                    let signer = asked.signer().name();
                    let part = ["report", "VEK", "ASK", "ARK", "CRL"][part];
                    assert_ne!(
                        verdict.verdict,
                        Answer::Accepted,
                        "{product} {signer} {part} bit {bit}"
                    );
                }
            }
        }
    }
    eprintln!("report, VEK, ASK, ARK, CRL: {each:?} bits flipped");
    assert!(each.iter().sum::<usize>() >= FLIPS && each.iter().all(|count| *count > 200));
}

/// Where no list is asked for, a damaged one is not as good as none. The names of who it is by stand at its
/// beginning.
#[test]
fn one_bit_of_a_list_that_nobody_asked_for() {
    let mut asked = Asked::good(Product::Genoa);
    asked.policy("freshness: {crl: optional}");
    let good = asked.bytes();
    assert_eq!(asked.answer_to(&good).unwrap().verdict, Answer::Accepted);
    let name = good.crl.windows(9).position(|found| found == b"ARK-Genoa").unwrap();
    for bit in (name - 8) * 8..(name + 9) * 8 {
        let mut bytes = copy(&good);
        bytes.crl[bit / 8] ^= 1 << (bit % 8);
        if let Ok(verdict) = asked.answer_to(&bytes) {
            assert_ne!(verdict.verdict, Answer::Accepted, "bit {bit}");
        }
    }
}

fn copy(bytes: &Bytes) -> Bytes {
    let Bytes { evidence, vek, ask, ark, crl } = bytes;
    Bytes {
        evidence: evidence.clone(),
        vek: vek.clone(),
        ask: ask.clone(),
        ark: ark.clone(),
        crl: crl.clone(),
    }
}
