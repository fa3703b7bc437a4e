//! `measure --igvm`.

use std::fs;
use std::process::Output;

use counterfoil::digest::Sha384;
use counterfoil::launch::igvm::PROFILES;
use counterfoil::launch::vmsa::VMSA_GPA;

use super::{digest, file, good, id_block, page, vmsa};
use crate::drop_in::{measure, refused, stdout};

#[test]
fn the_command() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, directives| fs::write(place.path().join(name), file(directives));
    let run = |line: &str| measure(place.path(), &line.split(' ').collect::<Vec<_>>());
    write("good.igvm", good()).unwrap();
    let text = stdout(&run("--igvm good.igvm"));
    for profile in PROFILES {
        let digest = digest(profile.id, good()).to_string();
        assert!(text.lines().any(|line| line == format!("{:16}  {digest}", profile.id)), "{text}");
        let one = stdout(&run(&format!("--igvm good.igvm --profile {}", profile.id)));
        assert_eq!(one, format!("{digest}\n"));
    }
    assert!(
        text.starts_with("3 pages, 1 vCPU, policy 0x30000 (SMT, RESERVED_ONE), no ID block\n"),
        "{text}"
    );
    let json = stdout(&run("--igvm good.igvm --format json"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["vmsas"], &json["policy"]), (&1.into(), &"0x30000".into()));
    assert_eq!(json["digests"][1]["profile"], "igvm-native-zero");
    let trace = stdout(&run("--igvm good.igvm --profile igvm --trace"));
    assert!(trace.contains("vmsa        0xfffffffff000      1"), "{trace}");
    assert!(trace.contains(&digest("igvm", good()).to_string()), "{trace}");
    stdout(&run("--igvm good.igvm --profile igvm --dump-vmsa"));
    assert_eq!(fs::read(place.path().join("vmsa0.bin")).unwrap().len(), 4096);

    write("far.igvm", vec![page(0, 1), vmsa(0, 0x1000, |_| {})]).unwrap();
    let text = stdout(&run("--igvm far.igvm"));
    assert!(text.contains("igvm-qemu         none: the VMSA of vCPU 0: it is at 0x1000"), "{text}");
    refused(&run("--igvm far.igvm --profile igvm-qemu"), 30, "it is at 0x1000");

    let mut bytes = file(good());
    bytes[0] = 0;
    fs::write(place.path().join("bad.igvm"), bytes).unwrap();
    refused(&run("--igvm bad.igvm"), 30, "offset 0x0: the signature");
    refused(&run("--igvm missing.igvm"), 1, "missing.igvm");
    refused(&run("--igvm good.igvm --trace"), 2, "one launch");
    refused(&run("--igvm good.igvm --profile qemu"), 2, "`igvm-qemu`");
    refused(&run("--igvm good.igvm --vcpus 1"), 2, "--vcpus");
    refused(&run("--igvm good.igvm --kernel good.igvm"), 2, "--kernel");
    refused(&run("--igvm good.igvm --examine"), 2, "--examine");
    refused(&run("--igvm good.igvm --vcpu-model 1"), 2, "--vcpu-model");
    refused(&run("--igvm good.igvm --vcpu-stepping 1"), 2, "--vcpu-stepping");
    refused(&run("--igvm good.igvm --vmm-type QEMU"), 2, "--vmm-type");

    let signed = |ld| good().into_iter().chain([id_block(ld)]).collect();
    write("signed.igvm", signed(digest("igvm", good()))).unwrap();
    let listed = run("--igvm signed.igvm");
    let text = stdout(&listed);
    let zero = digest("igvm-native-zero", good());
    assert!(
        text.contains(&format!("igvm-native-zero  {zero}  differs from the ID block")),
        "{text}"
    );
    let one = digest("igvm", good());
    assert!(text.contains(&format!("igvm-qemu         {one}  matches the ID block")), "{text}");
    let stderr = String::from_utf8_lossy(&listed.stderr);
    assert!(stderr.contains("is not for the launch under `igvm-native-zero`;"), "{stderr}");
    let json = parsed(&run("--igvm signed.igvm --format json"));
    let words = [0, 1, 2].map(|row| json["digests"][row]["id_block"].clone());
    assert_eq!(words, ["matches", "differs", "matches"]);
    stdout(&run("--igvm signed.igvm --profile igvm-qemu"));
    let rejected = |line: &str| {
        let output = run(line);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(10) && stderr.contains("the ID block in"), "{stderr}");
    };
    rejected("--igvm signed.igvm --profile igvm-native-zero");
    rejected("--igvm signed.igvm --profile igvm-native-zero --trace");
    write("other.igvm", signed(Sha384::ZERO)).unwrap();
    rejected("--igvm other.igvm");
    rejected("--igvm other.igvm --profile igvm --trace --format json");
    // Nothing is written before the check.
    rejected("--igvm other.igvm --dump-vmsa=none");
    rejected("--igvm signed.igvm --profile igvm-native-zero --dump-vmsa=none");
}

#[test]
fn launches_that_are_not_snp() {
    let place = tempfile::tempdir().unwrap();
    let run = |line: &str| measure(place.path(), &line.split(' ').collect::<Vec<_>>());
    let off = vmsa(0, VMSA_GPA, |vmsa| vmsa.sev_features.set_snp(false));
    for (directives, words) in [
        (vec![page(0, 1)], "no VMSA for SEV-SNP"),
        (vec![page(0, 1), vmsa(1, VMSA_GPA, |_| {}), off], "vCPU 0 has sev_features 0x0"),
    ] {
        fs::write(place.path().join("file.igvm"), file(directives.clone())).unwrap();
        for line in ["", " --profile igvm", " --profile igvm --trace", " --format json", " -q"] {
            let output = run(&format!("--igvm file.igvm{line}"));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            assert!(stderr.contains("warning: ") && stderr.contains(words), "{line}: {stderr}");
        }
        let answer = parsed(&run("--igvm file.igvm --format json"));
        assert!(answer["warnings"][0].as_str().unwrap().contains(words), "{answer}");
        assert_eq!(answer["digests"][0]["digest"], digest("igvm", directives).to_string());
        let answer = parsed(&run("--igvm file.igvm --profile igvm --trace --format json"));
        assert!(answer["warnings"][0].as_str().unwrap().contains(words), "{answer}");
    }
    fs::write(place.path().join("file.igvm"), file(good())).unwrap();
    let output = run("--igvm file.igvm --format json");
    assert_eq!(parsed(&output)["warnings"], serde_json::json!([]));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("warning"));
}

fn parsed(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}
