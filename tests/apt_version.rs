//! The order of versions, held against dpkg where there is one.

use std::cmp::Ordering;
use std::process::Command;

use counterfoil::input::apt::version::compare;

#[test]
fn agrees_with_dpkg() {
    if Command::new("dpkg").arg("--version").output().is_err() {
        return;
    }
    let versions = [
        "0",
        "1",
        "1.0",
        "1.0-1",
        "1.0-1.1",
        "1.0~",
        "1.0~~",
        "1.0~rc1",
        "1.0+b1",
        "1.0a",
        "1.0.",
        "1.0-0",
        "1:0",
        "0:1.0",
        "2:1~",
        "01.00",
        "1.10",
        "1.9",
        "6.12.107-1~bpo12+1",
        "6.12.107-1",
        "1-1-1",
        "1.2.3a~b",
        "1.2.3+z",
        "9a",
        "9A",
        "9.z",
    ];
    let dpkg = |a: &str, operator: &str, b: &str| {
        Command::new("dpkg")
            .args(["--compare-versions", a, operator, b])
            .status()
            .unwrap()
            .success()
    };
    for (i, a) in versions.iter().enumerate() {
        for b in &versions[i..] {
            let order = compare(a, b);
            let operator = match order {
                Ordering::Less => "lt-nl",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt-nl",
            };
            assert!(dpkg(a, operator, b), "{a} is {order:?} than {b} here, not for dpkg");
            assert_eq!(compare(b, a), order.reverse());
        }
    }
}
