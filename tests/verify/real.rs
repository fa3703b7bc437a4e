//! Reports that AMD's processors have signed, with the certificates that AMD has issued, where the public
//! vectors stand beside the project; each has an `expected.json` that another implementation has made.

use std::fs;
use std::path::{Path, PathBuf};

use counterfoil::launch::Signature;
use counterfoil::report::describe::hex;
use counterfoil::report::fields::Signer;
use counterfoil::report::verdict::{Answer, Outcome};
use counterfoil::report::{
    Collateral, Evidence, Expected, Policy, Product, Question, Reason, Report, Roots, Tcb, Verdict,
    verify,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sev::certs::snp::{Chain, Verifiable as _};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::asked::read;
use crate::support::amd::time;

/// What the machines were is their time's matter, not today's.
const LENIENT: &str = "\
version: 1
minimum-tcb: [{product: Milan}, {product: Genoa}, {product: Turin}]
platform: {require: []}
vmpl: [0, 1, 2, 3]
freshness: {crl: optional}
";

struct Vector {
    directory: PathBuf,
    report: Vec<u8>,
    chain: [Vec<u8>; 3],
    expected: Value,
}

/// None, said by name, where the vectors are not at hand.
fn vectors() -> Vec<Vector> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/reports");
    let Ok(entries) = fs::read_dir(&directory) else {
        eprintln!("skipped: the public reports are not at hand");
        return Vec::new();
    };
    let vector = |directory: PathBuf| {
        let read = |name: &str| fs::read(directory.join(name)).unwrap();
        Vector {
            report: read("report.bin"),
            chain: [read("ark.pem"), read("ask.pem"), read("vek.der")],
            expected: serde_json::from_slice(&read("expected.json")).unwrap(),
            directory,
        }
    };
    let mut all: Vec<Vector> = entries.map(|entry| vector(entry.unwrap().path())).collect();
    all.sort_by(|a, b| a.directory.cmp(&b.directory));
    all
}

impl Vector {
    fn collateral(&self) -> Option<Collateral> {
        let mut all = Collateral::default();
        for file in &self.chain {
            all.merge(&Collateral::read(file).ok()?).ok()?;
        }
        Some(all)
    }

    fn answer(&self) -> Option<Verdict> {
        let evidence = Evidence::open(&self.report).ok()?;
        Some(verify(&Question {
            evidence: Ok(&evidence),
            collateral: &self.collateral()?,
            roots: &Roots::amd(),
            policy: &read(LENIENT),
            expected: Expected::Anything,
            nonce: None,
            at: time("2025-09-01T00:00:00Z"),
        }))
    }
}

#[test]
fn chains_lead_to_amd() {
    for vector in vectors() {
        let verdict = vector.answer().unwrap();
        assert_eq!(
            verdict.verdict,
            Answer::Accepted,
            "{:?}: {:#?}",
            vector.directory,
            verdict.reasons
        );
        let passed = |name: &str| {
            verdict
                .checks
                .iter()
                .any(|check| check.check == name && check.result == Outcome::Passed)
        };
        for name in ["report-signature", "chain", "root", "certified-tcb", "validity"] {
            assert!(passed(name), "{:?}: {name}", vector.directory);
        }
        assert_eq!(passed("certified-chip"), vector.expected["vek"]["ext"].get("hwID").is_some());
    }
}

/// AMD's roots are AMD's, also where somebody gives them; and have the serial numbers that are built in.
#[test]
fn a_root_of_amds_that_was_given_is_amds() {
    for vector in vectors() {
        let root = &vector.collateral().unwrap().certificates[0];
        let roots = Roots::other(root).unwrap();
        assert!(roots.is_amd());
        let product = Product::named(root.name().strip_prefix("ARK-").unwrap()).unwrap();
        assert_eq!(roots.serial(product), Roots::amd().serial(product));
        let evidence = Evidence::open(&vector.report).unwrap();
        let verdict = verify(&Question {
            evidence: Ok(&evidence),
            collateral: &vector.collateral().unwrap(),
            roots: &roots,
            policy: &read(LENIENT),
            expected: Expected::Anything,
            nonce: None,
            at: time("2025-09-01T00:00:00Z"),
        });
        assert_eq!(verdict.verdict, Answer::Accepted, "{:#?}", verdict.reasons);
    }
}

#[test]
fn without_a_list_of_revoked_certificates_nothing_is_accepted() {
    for vector in vectors() {
        let evidence = Evidence::open(&vector.report).unwrap();
        let verdict = verify(&Question {
            evidence: Ok(&evidence),
            collateral: &vector.collateral().unwrap(),
            roots: &Roots::amd(),
            policy: &Policy::conservative(),
            expected: Expected::Anything,
            nonce: None,
            at: time("2025-09-01T00:00:00Z"),
        });
        assert!(verdict.reasons.iter().any(|reason| reason.code == Reason::CrlMissing));
        assert_ne!(verdict.verdict, Answer::Accepted);
    }
}

#[test]
fn fields_are_what_another_implementation_reads() {
    for vector in vectors() {
        let report = Report::parse(&vector.report).unwrap();
        let parsed = &vector.expected["parsed"];
        let number = |key: &str| parsed[key].as_u64().unwrap();
        let digits = |key: &str| parsed[key].as_str().unwrap().to_owned();
        let word = |value: &Value| u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap();
        assert_eq!(u64::from(report.version().number()), number("version"));
        assert_eq!(u64::from(report.guest_svn()), number("guest_svn"));
        assert_eq!(u64::from(report.vmpl()), number("vmpl"));
        assert_eq!(u64::from(report.signature_algo()), number("signature_algo"));
        assert_eq!(report.policy().0, word(&parsed["policy"]));
        assert_eq!(report.platform_info(), word(&parsed["platform_info"]));
        assert_eq!(u64::from(report.key_info()), word(&parsed["key_info"]["raw"]));
        assert_eq!(
            u64::from(report.author_key()),
            parsed["key_info"]["author_key_en"].as_u64().unwrap()
        );
        assert_eq!(
            u64::from(report.mask_chip_key()),
            parsed["key_info"]["mask_chip_key"].as_u64().unwrap()
        );
        assert_eq!(
            report.signer().map(Signer::name),
            Ok(parsed["key_info"]["signing_key"].as_str().unwrap())
        );
        for (key, found) in [
            ("family_id", hex(&report.family_id())),
            ("image_id", hex(&report.image_id())),
            ("report_data", hex(&report.report_data())),
            ("measurement", report.measurement().to_string()),
            ("host_data", hex(&report.host_data())),
            ("id_key_digest", report.id_key_digest().to_string()),
            ("author_key_digest", report.author_key_digest().to_string()),
            ("report_id", hex(&report.report_id())),
            ("report_id_ma", hex(&report.report_id_ma())),
            ("chip_id", hex(&report.chip_id())),
        ] {
            assert_eq!(found, digits(key), "{:?}: {key}", vector.directory);
        }
        let product = vector.expected["product"].as_str().unwrap();
        let product = Product::named(product.rsplit('-').next().unwrap()).unwrap();
        for (key, bytes) in [
            ("current_tcb", report.current_tcb()),
            ("reported_tcb", report.reported_tcb()),
            ("committed_tcb", report.committed_tcb()),
            ("launch_tcb", report.launch_tcb()),
        ] {
            assert_eq!(hex(&bytes), parsed[key]["raw"].as_str().unwrap(), "{key}");
            for (part, version) in Tcb::of(product, bytes).parts() {
                assert_eq!(u64::from(version), parsed[key][part].as_u64().unwrap(), "{key} {part}");
            }
        }
        let cpu = report.cpu().map(Signature::fields);
        let part = |name: &str| parsed["cpuid"][name].as_u64().map(|part| part as u32);
        assert_eq!(cpu.map(|cpu| cpu.0), part("fam"));
        assert_eq!(cpu.map(|cpu| cpu.1), part("mod"));
        assert_eq!(cpu.map(|cpu| cpu.2), part("step"));
        for (key, (major, minor, build)) in
            [("current", report.current_version()), ("committed", report.committed_version())]
        {
            let version = [major, minor, build].map(u64::from);
            let expected =
                ["major", "minor", "build"].map(|part| parsed[key][part].as_u64().unwrap());
            assert_eq!(version, expected, "{key}");
        }
        for (key, found) in [
            ("launch_mit_vector", report.launch_mitigations()),
            ("current_mit_vector", report.current_mitigations()),
        ] {
            assert_eq!(found, parsed[key].as_str().map(|_| word(&parsed[key])), "{key}");
        }
        let (r, s) = report.signature().unwrap();
        for (key, mut number) in [("signature_r_le", r), ("signature_s_le", s)] {
            number.reverse();
            assert_eq!(format!("{}{}", hex(&number), "00".repeat(24)), digits(key));
        }
        assert_eq!(report.reserved(Some(product)), None);
    }
}

#[test]
fn certificates_are_what_another_implementation_reads() {
    for vector in vectors() {
        let collateral = vector.collateral().unwrap();
        let vek = collateral.certificates.last().unwrap();
        let found = vek.endorsement().unwrap();
        let expected = &vector.expected["vek"];
        assert_eq!(vek.name(), expected["subject"].as_str().unwrap());
        let (from, to) = vek.validity();
        let said = |time: counterfoil::report::Time| {
            time.to_string().replace('T', " ").replace('Z', "+00:00")
        };
        assert_eq!(said(from), expected["not_before"].as_str().unwrap());
        assert_eq!(said(to), expected["not_after"].as_str().unwrap());
        let level = |key: &str| expected["ext"][key].as_u64().map(|level| level as u8);
        assert_eq!(Some(found.bootloader), level("blSPL"));
        assert_eq!(Some(found.tee), level("teeSPL"));
        assert_eq!(Some(found.snp), level("snpSPL"));
        assert_eq!(Some(found.microcode), level("ucodeSPL"));
        assert_eq!(found.fmc, level("fmcSPL"));
        assert_eq!(found.product_name, expected["ext"]["product_name"].as_str().unwrap());
        assert_eq!(found.hw_id.map(|id| hex(&id)).as_deref(), expected["ext"]["hwID"].as_str());
        assert_eq!(found.csp_id.as_deref(), expected["ext"]["cspID"].as_str());
    }
}

#[test]
fn the_sev_crate_agrees() {
    for vector in vectors() {
        let [ark, ask, vek] = &vector.chain;
        let pem = |der: &[u8]| {
            der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).unwrap()
        };
        let chain = Chain::from_pem(ark, ask, pem(vek).as_bytes()).unwrap();
        let report = AttestationReport::from_bytes(&vector.report).unwrap();
        (&chain, &report).verify().unwrap();
        let ours = Report::parse(&vector.report).unwrap();
        assert_eq!(report.measurement.as_ref(), ours.measurement().0);
        assert_eq!(report.report_data.as_ref(), ours.report_data());
    }
}

/// Flips in PEM may change nothing: the space between lines is not signed. Those must read as the same
/// certificates.
#[test]
fn one_bit_is_enough() {
    let mut random = StdRng::seed_from_u64(8);
    let (mut rejected, mut outside) = (0, 0);
    for vector in vectors() {
        let good = vector.collateral().unwrap();
        let ders = |collateral: &Collateral| -> Vec<Vec<u8>> {
            collateral.certificates.iter().map(|certificate| certificate.der().to_vec()).collect()
        };
        for _ in 0..150 {
            let mut changed = Vector {
                report: vector.report.clone(),
                chain: vector.chain.clone(),
                ..vector.like()
            };
            let part = random.gen_range(0..4);
            let target = if part == 3 { &mut changed.report } else { &mut changed.chain[part] };
            let bit = random.gen_range(0..target.len() * 8);
            target[bit / 8] ^= 1 << (bit % 8);
            match changed.answer() {
                Some(verdict) if verdict.verdict == Answer::Accepted => {
                    let same =
                        changed.collateral().is_some_and(|found| ders(&found) == ders(&good));
                    assert!(part < 2 && same, "{:?}: part {part}, bit {bit}", vector.directory);
                    outside += 1;
                }
                _ => rejected += 1,
            }
        }
    }
    eprintln!("{rejected} rejected; {outside} in PEM, outside of what is signed");
}

impl Vector {
    fn like(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            report: Vec::new(),
            chain: [const { Vec::new() }; 3],
            expected: Value::Null,
        }
    }
}
