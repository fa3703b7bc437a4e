//! `measure --igvm`.

use std::fs;

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

    let signed = |ld| good().into_iter().chain([id_block(ld)]).collect();
    write("signed.igvm", signed(digest("igvm", good()))).unwrap();
    stdout(&run("--igvm signed.igvm"));
    stdout(&run("--igvm signed.igvm --profile igvm-qemu"));
    let output = run("--igvm signed.igvm --profile igvm-native-zero");
    assert_eq!(output.status.code(), Some(10));
    write("other.igvm", signed(Sha384::ZERO)).unwrap();
    let output = run("--igvm other.igvm");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(10) && stderr.contains("the ID block in"), "{stderr}");
}
