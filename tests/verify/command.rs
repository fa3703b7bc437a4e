//! `verify`, `inspect` and `explain` on the command line, up to a guest's agent and back.

use std::fs;
use std::process::Command;

use counterfoil::digest::Sha256;
use counterfoil::report::describe::hex;
use counterfoil::report::{Product, Reason};
use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::amd::{Key, Machine, NOW, Spec};
use crate::support::configfs::Simulated;
use crate::support::launch::record;
use crate::support::place::{Place, Ran};

/// A place with a record, the collateral of a machine, the tests' root, and a report.
fn place(machine: &Machine) -> Place {
    let place = Place::new();
    place.write("launch.json", record().to_json().unwrap());
    place.write("collateral.json", machine.collateral().to_json().unwrap());
    place.write("root.der", Spec::ark(Product::Genoa).sign());
    place.write("report.bin", machine.attest());
    place
}

fn machine() -> Machine {
    let mut machine = Machine::new(Product::Genoa);
    machine.set(0x90, &record().digests[1].digest.0);
    machine
}

/// The certificates come with the evidence.
const TRIED: [&str; 7] = ["verify", "--root", "root.der", "--record", "launch.json", "--at", NOW];

const COMMON: [&str; 5] = ["verify", "--collateral", "collateral.json", "--root", "root.der"];

fn verify(place: &Place, more: &[&str]) -> Ran {
    place.run(&[&COMMON[..], &["--record", "launch.json", "--at", NOW], more].concat())
}

#[test]
fn an_accepted_report() {
    let place = place(&machine());
    let ran = verify(&place, &["--report", "report.bin"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("accepted, under another root than AMD's: the release, with 1 vCPUs, EPYC-Milan; it may be"),
        "{}",
        ran.stdout
    );
    for said in ["not in AMD's", "REPORT_DATA was not compared", "passed     report-signature"] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let ran = verify(&place, &["--report", "report.bin", "--format", "json"]);
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (verdict["verdict"].as_str(), verdict["root"].as_str()),
        (Some("accepted"), Some("other"))
    );
    assert_eq!(verdict["at"], NOW);
    assert_eq!(verdict["matched"]["vcpus"], 1);
    assert_eq!(verdict["reasons"].as_array().unwrap().len(), 0);
    // The clock is this machine's only if nothing else is said, and then that is said.
    let ran =
        place.run(&[&COMMON[..], &["--record", "launch.json", "--report", "report.bin"]].concat());
    assert!(ran.stderr.contains("the time is this machine's"), "{}", ran.stderr);
}

#[test]
fn the_exit_code_is_the_answer() {
    let place = place(&machine());
    let rejected = verify(&place, &["--report", "report.bin", "--report-data", &"ab".repeat(64)]);
    assert_eq!(rejected.code, 10, "{rejected:?}");
    assert!(rejected.stderr.contains("the report is rejected: report-data"), "{}", rejected.stderr);
    let mut without = COMMON.to_vec();
    without.drain(1..3);
    without.extend(["--record", "launch.json", "--at", NOW, "--report", "report.bin"]);
    let open = place.run(&without);
    assert_eq!(open.code, 20, "{open:?}");
    assert!(open.stderr.contains("counterfoil collateral fetch"), "{}", open.stderr);
    place.write("half.bin", &machine().attest()[..600]);
    assert_eq!(verify(&place, &["--report", "half.bin"]).code, 30);
    assert_eq!(verify(&place, &["--report", "missing.bin"]).code, 1);
    for usage in [
        &["--report", "report.bin", "--nonce", "11"][..],
        &["--report", "report.bin", "--measurement", "11"],
        &["--report", "report.bin", "--spki", "a", "--binding", "b"],
        // Zeros are what a report has that binds nothing.
        &["--report", "report.bin", "--spki", &"0".repeat(64)],
        &["--report", "report.bin", "--binding", &"0".repeat(64)],
        // There are no files to be held against a record alone, and nothing was published of it.
        &["--report", "report.bin", "--artifacts"],
        &["--report", "report.bin", "--trust", "trust.policy"],
        &[],
    ] {
        assert_eq!(verify(&place, usage).code, 2, "{usage:?}");
    }
    for alone in [&["verify"][..], &["verify", "--release", "release"]] {
        let ran = place.run(alone);
        assert!(ran.code == 2 && ran.stderr.contains("`--trust`"), "{ran:?}");
    }
    let nothing = place.run(&[&COMMON[..], &["--report", "report.bin", "--at", NOW]].concat());
    assert!(nothing.code == 2 && nothing.stderr.contains("--any-measurement"), "{nothing:?}");
    // Without the tests' root the chain is nobody's.
    let amd = place.run(&[
        "verify",
        "--report",
        "report.bin",
        "--collateral",
        "collateral.json",
        "--record",
        "launch.json",
        "--at",
        NOW,
    ]);
    assert_eq!(amd.code, 10, "{amd:?}");
    assert!(amd.stderr.contains("ark-not-pinned"), "{}", amd.stderr);
}

#[test]
fn a_record_that_does_not_hold_is_a_reason() {
    let place = place(&machine());
    let text = place.read("launch.json");
    let digest = record().digests[0].digest.to_string();
    place.write("launch.json", text.replace(&digest, &"0".repeat(96)));
    let ran = verify(&place, &["--report", "report.bin", "--format", "json"]);
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 10, "{ran:?}");
    assert_eq!(verdict["reasons"][0]["code"], "record-invalid");

    // So it is where nobody asks about a machine.
    fs::create_dir(place.path("release")).unwrap();
    fs::copy(place.path("launch.json"), place.path("release/launch.json")).unwrap();
    let alone = ["verify", "--release", "release", "--trust", "trust.policy"];
    let ran = place.run(&[&alone[..], &["--format", "json"]].concat());
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 10, "{ran:?}");
    assert_eq!(verdict["verdict"], "rejected");
    assert_eq!(verdict["reasons"][0]["code"], "record-invalid");
    let ran = place.run(&alone);
    assert!(ran.stdout.contains("record-invalid") && ran.stderr.contains("launch.json"), "{ran:?}");
}

#[test]
fn what_is_bound_may_be_a_key_or_a_certificate() {
    let spki = Key::Ask.spki();
    let mut machine = machine();
    machine.set(0x50, &Sha256::of(&spki).0);
    let place = place(&machine);
    place.write("report.bin", machine.attest());
    place.write("key.der", &spki);
    let pem = der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, &spki).unwrap();
    place.write("key.pem", pem);
    place.write("certificate.der", machine.ask().sign());
    // A chain is about its first.
    let pem = |der: &[u8]| {
        der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::CRLF, der).unwrap()
    };
    let chain = pem(&machine.ask().sign()) + &pem(&machine.ark().sign());
    place.write("chain.pem", format!("subject=the guest\n{chain}"));
    let digest = Sha256::of(&spki).to_string();
    for key in ["key.der", "key.pem", "certificate.der", "chain.pem", &digest] {
        let ran = verify(&place, &["--report", "report.bin", "--spki", key]);
        assert_eq!(ran.code, 0, "{key}: {ran:?}");
    }
    assert_eq!(verify(&place, &["--report", "report.bin", "--spki", "root.der"]).code, 10);
    assert_eq!(verify(&place, &["--report", "report.bin", "--spki", "launch.json"]).code, 30);
}

#[test]
fn the_policy_can_be_printed_and_changed() {
    let place = place(&machine());
    let policy = place.run(&["verify", "--show-policy"]);
    assert_eq!(policy.code, 0);
    place.write("policy.yaml", &policy.stdout);
    let ran = verify(&place, &["--report", "report.bin", "--policy", "policy.yaml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    place.write("policy.yaml", policy.stdout.replace("vmpl: [0]", "vmpl: [1]"));
    let ran = verify(&place, &["--report", "report.bin", "--policy", "policy.yaml"]);
    assert!(ran.code == 10 && ran.stderr.contains("rejected: vmpl"), "{ran:?}");
    place.write("policy.yaml", "version: 1\nvmlp: [1]\n");
    let ran = verify(&place, &["--report", "report.bin", "--policy", "policy.yaml"]);
    assert!(ran.code == 30 && ran.stderr.contains("policy.yaml:2:1"), "{ran:?}");
}

#[test]
fn every_reason_is_documented() {
    let place = Place::new();
    let ran = place.run(&["verify", "--list-reasons", "--format", "json"]);
    let listed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let codes: Vec<&str> =
        listed.as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(codes, Reason::ALL.iter().map(|reason| reason.code()).collect::<Vec<_>>());
    let page = include_str!("../../reproducibility/REASONS.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |reason: &Value| {
        let text = |key: &str| reason[key].as_str().unwrap().replace('|', "\\|");
        let (code, verdict) = (text("code"), text("verdict"));
        format!("| `{code}` | {verdict} | {} | {} |", text("means"), text("advice"))
    };
    assert_eq!(rows, listed.as_array().unwrap().iter().map(row).collect::<Vec<_>>());
    let log = counterfoil::log::reason::Reason::ALL.iter();
    let log: String =
        log.map(|reason| format!("- `{}`: {}\n", reason.code(), reason.means())).collect();
    assert!(page.ends_with(&format!("\n\n{log}")));
    let text = place.run(&["verify", "--list-reasons"]).stdout;
    assert!(codes.iter().all(|code| text.contains(code)));
}

#[test]
fn collateral_of_the_wrong_form_is_malformed() {
    let place = place(&machine());
    for (name, der) in [("vek", machine().vek().sign()), ("crl", machine().crl().sign())] {
        let mut der = der;
        der.truncate(der.len() - 1);
        place.write(name, der);
        let ran = verify(&place, &["--report", "report.bin", "--collateral", name]);
        assert_eq!(ran.code, 30, "{ran:?}");
        // That is an answer, too.
        let ran =
            verify(&place, &["--report", "report.bin", "--collateral", name, "--format", "json"]);
        let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, verdict["verdict"].as_str()), (30, Some("malformed")));
        assert_eq!(verdict["reasons"][0]["code"], "collateral-damaged");
    }
}

/// A certificate that AMD has nothing to do with, in its name or otherwise.
fn nobodys() -> Vec<u8> {
    let mut spec = Spec::ark(Product::Genoa);
    (spec.subject, spec.issuer) = ("CN=server".to_owned(), "CN=server".to_owned());
    (spec.spki, spec.key) = (Key::Ask.spki(), Key::Ask);
    spec.sign()
}

/// A damaged root certificate is not as good as none, although its key is built in.
#[test]
fn a_damaged_root_is_not_left_out() {
    let machine = machine();
    let place = place(&machine);
    let ark = machine.ark().sign();
    let name = ark.windows(9).rposition(|found| found == b"ARK-Genoa").unwrap();
    let mut renamed = ark.clone();
    renamed[name + 8] ^= 4;
    // Then nothing in its subject says any more that it is AMD's.
    let mut disowned = machine.ark();
    disowned.subject = "CN=ARK-Genob,O=Advanced Micro Devicer".to_owned();
    place.write("packed/collateral.json", machine.collateral().to_json().unwrap());
    let cases = [
        (10, "certificate-unknown", "ark.der", renamed),
        (10, "certificate-unknown", "ark", disowned.sign()),
        (30, "collateral-damaged", "ark.der", ark[..ark.len() - 1].to_vec()),
    ];
    for (code, reason, name, der) in cases {
        place.write("ark.der", &der);
        place.write(&format!("packed/{name}"), &der);
        for path in ["ark.der", "packed"] {
            let ran = verify(&place, &["--report", "report.bin", "--collateral", path]);
            assert!(ran.code == code && ran.stderr.contains(reason), "{path}: {ran:?}");
        }
        // Packed is for AMD's chains: here only the name says that it is of one.
        let ran = place.run(&["collateral", "pack", "packed", "--output", "out.json"]);
        assert_eq!(ran.code, if name == "ark" { 0 } else { code }, "{ran:?}");
        fs::remove_file(place.path("packed").join(name)).unwrap();
    }
    // Somebody else's may stand in a directory, and so may keys.
    let other = nobodys();
    place.write("packed/server.der", &other);
    place.write("packed/key.der", Key::Ask.spki());
    place.write("server.der", &other);
    let ran = verify(&place, &["--report", "report.bin", "--collateral", "packed"]);
    assert!(ran.code == 0 && ran.stderr.contains("left out"), "{ran:?}");
    let ran = verify(&place, &["--report", "report.bin", "--collateral", "server.der"]);
    assert!(ran.code == 10 && ran.stderr.contains("certificate-unknown"), "{ran:?}");
    assert_eq!(place.run(&["collateral", "pack", "server.der", "-o", "out.json"]).code, 10);
}

#[test]
fn a_report_is_shown_field_by_field() {
    let place = place(&machine());
    let ran = place.run(&["inspect", "report.bin"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let digest = record().digests[1].digest.to_string();
    for said in [
        "MEASUREMENT",
        &digest,
        "Genoa: family 0x19, model 0x11, stepping 1",
        "smt, ecc, alias-check",
        "bootloader 10, tee 0, snp 25, microcode 84",
        "signed by the chip's own key (VCEK)",
        "0x2a0  SIGNATURE",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    place.write("report.hex", hex(&machine().attest()));
    let ran = place.run(&["inspect", "report.hex", "--format", "json"]);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(shown["forms"], serde_json::json!(["hex", "report"]));
    assert_eq!(shown["fields"].as_array().unwrap().len(), 27);
    // What is reserved is shown where it is set.
    let mut strange = machine();
    strange.set(0x08, &(1_u64 << 40 | 0x3_0000).to_le_bytes()).set(0x49, &[1]);
    strange.set(0x250, &[0xab]).set(0x188, &[0, 0x11, 0x10]);
    place.write("strange.bin", strange.attest());
    let ran = place.run(&["inspect", "strange.bin"]);
    for said in [
        "bit 40, which is reserved",
        "bit 8, which is reserved",
        "0x208  reserved",
        "CPUID",
        "stepping 16",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let mut four = machine().attest();
    four[0] = 4;
    place.write("four.bin", four);
    let ran = place.run(&["inspect", "four.bin"]);
    assert!(ran.code == 30 && ran.stderr.contains("version 4"), "{ran:?}");
}

#[test]
fn explain_takes_a_report_in_whatever_it_came_in() {
    let place = place(&machine());
    place.write("report.hex", hex(&machine().attest()));
    let ran = place.run(&["explain", "report.hex", "--record", "launch.json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// The record of an IGVM file beside a release's record is anybody's word, and its digest does not count.
#[test]
fn what_the_record_does_not_vouch_for_does_not_count() {
    let machine = machine();
    let place = place(&machine);
    fs::create_dir(place.path("release")).unwrap();
    fs::copy(place.path("launch.json"), place.path("release/launch.json")).unwrap();
    let ran = place.run(
        &[&COMMON[..], &["--release", "release", "--at", NOW, "--report", "report.bin"]].concat(),
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("`--artifacts`"), "{}", ran.stderr);
    // There is nothing but a record here.
    let ran = place.run(
        &[
            &COMMON[..],
            &["--release", "release", "--artifacts", "--at", NOW, "--report", "report.bin"],
        ]
        .concat(),
    );
    assert_ne!(ran.code, 0, "{ran:?}");
}

#[test]
fn what_is_too_large_is_not_read() {
    let place = place(&machine());
    let file = fs::File::create(place.path("large")).unwrap();
    file.set_len(6 << 30).unwrap();
    let ran = verify(&place, &["--report", "large"]);
    assert!(ran.code == 30 && ran.stderr.contains("wrapper-too-large"), "{ran:?}");
    for option in ["--collateral", "--policy", "--root"] {
        let ran = place.run(&[
            "verify",
            "--report",
            "report.bin",
            "--any-measurement",
            "--at",
            NOW,
            option,
            "large",
        ]);
        assert!(ran.code == 30 && ran.stderr.contains("more than"), "{option}: {ran:?}");
    }
}

/// Nothing is asked for: not a name, not a certificate, not the time.
#[test]
fn no_network_is_needed() {
    let place = place(&machine());
    let program = env!("CARGO_BIN_EXE_counterfoil");
    let alone = |program: &str, arguments: &[&str]| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", program])
            .args(arguments)
            .current_dir(place.root())
            .output()
    };
    if !alone("true", &[]).is_ok_and(|ran| ran.status.success()) {
        eprintln!("skipped: no network namespace can be made here");
        return;
    }
    let arguments =
        [&COMMON[..], &["--record", "launch.json", "--at", NOW, "--report", "report.bin"]].concat();
    let ran = Ran::of(&alone(program, &arguments).unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// From the guest's agent over a simulated configfs, through HTTP with a fresh nonce, to a verdict.
#[test]
fn from_agent_to_verdict() {
    let machine = machine();
    let place = place(&machine);
    let directory = tempfile::tempdir().unwrap();
    let table = machine.table();
    let mut attesting = machine.clone();
    let simulated = Simulated::start(&directory.path().join("entry"), move |report_data| {
        attesting.set(0x50, &report_data);
        (attesting.attest(), table.clone())
    });
    let agent = Agent::start(simulated.path());
    let url = format!("http://{}", agent.address());
    let ask = |more: &[&str]| place.run(&[&TRIED[..], &["--url", &url], more].concat());

    let ran = ask(&["--save-evidence", "evidence.json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("with the nonce that was sent; the guest has bound nothing"),
        "{}",
        ran.stdout
    );

    // The workload binds its key; whoever expects another one is told.
    let key = Sha256::of("the workload's key");
    assert_eq!(agent.bind(&key.0).status, 200);
    assert_eq!(ask(&["--binding", &key.to_string()]).code, 0);
    let ran = ask(&["--binding", &Sha256::of("another key").to_string()]);
    assert!(ran.code == 10 && ran.stderr.contains("rejected: binding"), "{ran:?}");
    let ran = ask(&["--binding", "none"]);
    assert!(ran.code == 10 && ran.stderr.contains("rejected: binding"), "{ran:?}");

    // A recording has another nonce, and can be looked at with its own.
    let saved: Value =
        serde_json::from_slice(&fs::read(place.path("evidence.json")).unwrap()).unwrap();
    let again = |nonce: &str| {
        place.run(&[&TRIED[..], &["--report", "evidence.json", "--nonce", nonce]].concat())
    };
    assert_eq!(again(saved["nonce"].as_str().unwrap()).code, 0);
    let ran = again(&"11".repeat(32));
    assert!(ran.code == 10 && ran.stderr.contains("rejected: report-data"), "{ran:?}");

    // What is tampered with on the way.
    let text = fs::read_to_string(place.path("evidence.json")).unwrap();
    let data = saved["report_data"].as_str().unwrap();
    for (what, changed, code) in [
        ("its REPORT_DATA", text.replace(data, &"00".repeat(64)), "evidence-report-data"),
        (
            "its certificates",
            text.replace("\"certificates\":\"", "\"certificates\":\"AAAA"),
            "wrapper-certificates",
        ),
        (
            "its report",
            text.replace("\"report\":\"BQAAAAAAAAAAAAM", "\"report\":\"BQAAAAAAAAAAAAs"),
            "report-signature",
        ),
    ] {
        assert_ne!(changed, text, "{what}");
        place.write("changed.json", changed);
        let ran = place.run(&[&TRIED[..], &["--report", "changed.json"]].concat());
        assert!(ran.code != 0 && ran.stderr.contains(code), "{what}: {ran:?}");
    }

    simulated.vanish();
    let ran = ask(&[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("503"), "{}", ran.stderr);
}
