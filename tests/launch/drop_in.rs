//! `counterfoil measure` in the place of sev-snp-measure 0.0.13: the same flags, the same bytes on
//! standard output.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::image::{HASH_TABLE, Image, METADATA, RESET_BLOCK};
use crate::peer::sev_snp_measure;
use crate::vectors::{folder, vectors};

pub(crate) fn measure(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.arg("measure").args(arguments).current_dir(directory).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
pub(crate) fn refused(output: &Output, code: i32, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "no digest is printed for what is refused");
    assert!(stderr.contains(words) && !stderr.contains("panicked"), "`{words}`: {stderr}");
}

/// A directory with an image, a kernel and an initrd.
pub(crate) fn place(image: &Image) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("ovmf"), image.bytes()).unwrap();
    fs::write(place.path().join("kernel"), b"kernel".repeat(70_000)).unwrap();
    fs::write(place.path().join("initrd"), b"initrd".repeat(90_000)).unwrap();
    place
}

/// The 26 cases of sev-snp-measure's own tests, through the flags.
#[test]
fn published_digests_through_the_flags() {
    let Some(expected) = vectors("expected.json") else { return };
    let cases = expected["cases"].as_array().unwrap();
    for case in cases {
        let (name, input) = (&case["test"], &case["in"]);
        let place = tempfile::tempdir().unwrap();
        let arguments = arguments(input);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = measure(place.path(), &arguments);
        match case["digest"].as_str() {
            Some(digest) => assert_eq!(stdout(&output), format!("{digest}\n"), "{name}"),
            None => refused(&output, 30, "would not be measured"),
        }
        let dumped = if input["dump_vmsa"] == true { input["vcpus"].as_u64().unwrap() } else { 0 };
        let written = walkdir::WalkDir::new(place.path()).min_depth(1).into_iter().count();
        assert_eq!(written as u64, dumped, "{name}");
    }
    assert_eq!(cases.len(), 26);
}

fn arguments(input: &Value) -> Vec<String> {
    let file = PathBuf::from(input["ovmf_file"].as_str().unwrap());
    let fixture = folder().join("fixtures").join(file.file_name().unwrap());
    let mode = match input["mode"].as_str().unwrap() {
        "SEV" => "sev",
        "SEV_ES" => "seves",
        "SEV_SNP" => "snp",
        mode => panic!("{mode}"),
    };
    let mut arguments = vec![format!("--mode={mode}"), format!("--ovmf={}", fixture.display())];
    let mut add = |flag: &str, value: &Value| match value {
        Value::Null => {}
        Value::String(text) => arguments.extend([format!("--{flag}"), text.clone()]),
        other => arguments.push(format!("--{flag}={other}")),
    };
    for flag in ["kernel", "initrd", "append", "vcpus", "vcpu-sig", "guest-features", "vmm-type"] {
        add(flag, &input[flag.replace('-', "_")]);
    }
    add("snp-ovmf-hash", &input["snp_ovmf_hash_str"]);
    if input["vcpu_sig"].is_null() {
        add("vcpu-type", &"EPYC".into());
    }
    if input["dump_vmsa"] == true {
        arguments.push("--dump-vmsa".to_owned());
    }
    arguments
}

/// Every flag, beside the original, on an image that neither has seen.
#[test]
fn the_same_bytes_as_the_original() {
    let Some(tool) = sev_snp_measure() else { return };
    let place = place(&Image::amdsev());
    let boot = "--kernel kernel --initrd initrd --append console=ttyS0";
    let hash = "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74";
    let mut lines: Vec<String> = Vec::new();
    for mode in ["snp", "seves", "sev"] {
        for boot in [boot, "--kernel kernel", "--kernel kernel --append=", ""] {
            lines.push(format!("--mode {mode} --vcpus 3 --vcpu-type EPYC-Milan {boot}"));
        }
        lines.push(format!("--mode {mode} --vcpus=1 --vcpu-sig 0xA00F11 {boot} -v"));
        lines.push(format!("--mode={mode} --vcpus 1 --vcpu-sig=8392466 --output-format base64"));
        lines.push(format!(
            "--mode {mode} --vcpus 2 --vcpu-type EPYC --output-format base64 --verbose"
        ));
    }
    for vmm in ["QEMU", "ec2", "gce"] {
        for mode in ["snp", "seves"] {
            lines.push(format!(
                "--mode {mode} --vmm-type {vmm} --vcpus 2 --vcpu-type EPYC-v4 {boot} --dump-vmsa"
            ));
        }
    }
    for cpu in [
        "EPYC-v1",
        "EPYC-v2",
        "EPYC-IBPB",
        "EPYC-v3",
        "EPYC-Rome",
        "EPYC-Rome-v1",
        "EPYC-Rome-v2",
        "EPYC-Rome-v3",
        "EPYC-Milan-v1",
        "EPYC-Milan-v2",
        "EPYC-Genoa",
        "EPYC-Genoa-v1",
        "EPYC-Turin",
    ] {
        lines.push(format!("--mode snp --vcpus 1 --vcpu-type {cpu}"));
    }
    lines.extend([
        "--mode snp --vcpus 1 --vmm-type ec2".to_owned(),
        "--mode snp --vcpus 1 --vmm-type gce --guest-features 0b101".to_owned(),
        "--mode snp --vcpus 1 --vcpu-type EPYC --guest-features 0x21".to_owned(),
        "--mode snp --vcpus 1 --vcpu-type EPYC --guest-features 18446744073709551615".to_owned(),
        "--mode snp --vcpus 1 --vcpu-type EPYC --guest-features 0XFFFF_0001".to_owned(),
        "--mode snp --vcpus 64 --vcpu-family 25 --vcpu-model 17 --vcpu-stepping 1".to_owned(),
        "--mode snp --vcpus 1 --vcpu-family 6 --vcpu-model 15 --vcpu-stepping 11 --vcpu-sig 1"
            .to_owned(),
        "--mode snp --vcpus 1 --vcpu-sig 0 --vcpu-type EPYC-Rome".to_owned(),
        "--mode snp --vcpus 1 --vcpu-sig 5 --vcpu-type EPYC-Rome".to_owned(),
        format!("--mode snp --vcpus 1 --vcpu-type EPYC --snp-ovmf-hash {hash}"),
        format!(
            "--mode snp --vcpus 1 --vcpu-type EPYC --snp-ovmf-hash {} {boot}",
            hash.to_uppercase()
        ),
        "--mode snp --vcpus 1 --vcpu-type EPYC --snp-ovmf-hash=".to_owned(),
        "--mode snp --vcpus 1 --vcpu-type EPYC --kernel= ".to_owned(),
        "--mode snp:ovmf-hash".to_owned(),
        "--mode snp:ovmf-hash --output-format base64 -v --kernel nowhere".to_owned(),
    ]);
    for line in &lines {
        let mut arguments: Vec<&str> = line.split_whitespace().collect();
        arguments.extend(["--ovmf", "ovmf"]);
        compare(&tool, place.path(), &arguments);
    }
    // A command line is bytes, and nobody trims them.
    for append in ["", " ", " a ", "quoted \"x\"  é\n"] {
        let arguments = ["--mode", "snp", "--vcpus", "1", "--vcpu-type", "EPYC", "--ovmf", "ovmf"];
        let boot = ["--kernel", "kernel", "--append", append];
        compare(&tool, place.path(), &[&arguments[..], &boot].concat());
    }
}

/// Firmware as it is shipped, from the folder that `COUNTERFOIL_TEST_FIRMWARE` names.
#[test]
fn the_same_bytes_as_the_original_for_shipped_firmware() {
    let Some(tool) = sev_snp_measure() else { return };
    for name in ["ovmf-amdsev-2026.08.fd", "ovmf-generic-2026.08.fd"] {
        let Some(image) = crate::real::image(name) else { continue };
        let place = place(&Image::amdsev());
        fs::write(place.path().join("ovmf"), image).unwrap();
        for mode in ["sev", "seves", "snp"] {
            let line = "--vcpus 2 --vcpu-type EPYC-v4 --kernel kernel --initrd initrd --ovmf ovmf";
            let arguments = ["--mode", mode].into_iter().chain(line.split(' '));
            let stderr = compare(&tool, place.path(), &arguments.collect::<Vec<_>>());
            assert_eq!(stderr.contains("warning:"), mode == "snp", "{stderr}");
        }
    }
    let Some(old) = crate::real::image("ovmf-2025.02.fd") else { return };
    let place = place(&Image::amdsev());
    fs::write(place.path().join("ovmf"), old).unwrap();
    let line = "--mode snp --vcpus 1 --vcpu-type EPYC --ovmf ovmf";
    compare(&tool, place.path(), &line.split(' ').collect::<Vec<_>>());
    let line = "--mode snp --vcpus 1 --vcpu-type EPYC --ovmf ovmf --kernel kernel";
    let output = measure(place.path(), &line.split(' ').collect::<Vec<_>>());
    refused(&output, 30, "kernel-hashes section");
}

/// Runs both, each in its own directory for what it writes, and returns what ours says beside.
#[track_caller]
fn compare(tool: &Path, files: &Path, arguments: &[&str]) -> String {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for place in [&ours, &theirs] {
        for name in ["ovmf", "kernel", "initrd"] {
            std::os::unix::fs::symlink(files.join(name), place.path().join(name)).unwrap();
        }
    }
    let output = measure(ours.path(), arguments);
    let original = Command::new(tool).args(arguments).current_dir(theirs.path()).output().unwrap();
    assert_eq!(stdout(&output), stdout(&original), "{arguments:?}");
    for vcpu in 0..64 {
        let read = |place: &TempDir| fs::read(place.path().join(format!("vmsa{vcpu}.bin"))).ok();
        assert!(read(&ours) == read(&theirs), "{arguments:?}: vmsa{vcpu}.bin");
    }
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the original answers with a digest that says less than it seems to, or with a traceback.
#[test]
fn what_is_refused() {
    let run = |image: &Image, line: &str| {
        let place = place(image);
        let arguments: Vec<&str> = line.split_whitespace().chain(["--ovmf", "ovmf"]).collect();
        measure(place.path(), &arguments)
    };
    let whole = Image::amdsev();
    let usage: &[(&str, &str)] = &[
        ("--mode snp --vcpu-type EPYC", "--vcpus"),
        ("--mode snp --vcpus 1", "--vcpu-type"),
        ("--mode snp --vcpus 1 --vcpu-type EPYC --initrd initrd", "--kernel"),
        ("--mode snp --vcpus 1 --vcpu-type EPYC --append x", "--kernel"),
        ("--mode snp --vcpus 1 --vcpu-type epyc", "unknown CPU model"),
        ("--mode snp --vcpus 1 --vcpu-family 25", "as many"),
        ("--mode snp --vcpus 1 --vcpu-family 25 --vcpu-model 1 --vcpu-stepping 16", "do not fit"),
        ("--mode snp --vcpus 1 --vcpu-type EPYC --vmm-type bochs", "unknown VMM profile"),
        ("--mode snp --vcpus 1 --vcpu-type EPYC --snp-ovmf-hash 00", "hex digits"),
        ("--mode snp --vcpus 1 --vcpu-type EPYC --guest-features=-1", "not a number"),
        ("--mode sev --snp-ovmf-hash 00", "hex digits"),
        ("--mode sev --dump-vmsa", "--dump-vmsa"),
        ("--mode tdx", "snp:ovmf-hash"),
    ];
    for (line, words) in usage {
        refused(&run(&whole, line), 2, words);
    }
    for line in ["--mode snp --vcpus 0", "--mode snp --vcpus 4097", "--mode seves --vcpus 0"] {
        refused(&run(&whole, &format!("{line} --vcpu-type EPYC")), 30, "expected 1 to 4096");
    }
    let snp = "--mode snp --vcpus 2 --vcpu-type EPYC";
    refused(&run(&whole, "--mode snp:svsm --vcpus 1"), 20, "SVSM");
    let image = |change: &dyn Fn(&mut Image)| {
        let mut image = Image::amdsev();
        change(&mut image);
        image
    };
    let no_reset = image(&|image| image.set(RESET_BLOCK, &[0; 4]));
    for mode in ["snp", "seves"] {
        let line = format!("--mode {mode} --vcpus 2 --vcpu-type EPYC");
        refused(&run(&no_reset, &line), 30, "reset block");
    }
    let unknown = image(&|image| image.sections[2].0 = 0x101);
    refused(&run(&unknown, snp), 30, "0x101");
    let far = image(&|image| image.set(METADATA, &[0xff; 4]));
    refused(&run(&far, snp), 30, "ovmf");
    let no_table = image(&|image| image.set(HASH_TABLE, &[0; 8]));
    for mode in ["snp", "seves", "sev"] {
        let line = format!("--mode {mode} --vcpus 1 --vcpu-type EPYC --kernel kernel");
        refused(&run(&no_table, &line), 30, "SEV hash table");
    }
}

/// The metadata may lie anywhere, also outside what is kept of a large image.
#[test]
fn metadata_far_from_the_end() {
    let mut image = Image::amdsev();
    image.size = 0x10_0000;
    let mut bytes = image.bytes();
    let (from, to) = (bytes.len() - 0x600, 0x2000);
    bytes.copy_within(from..from + 16 + 12 * 7, to);
    image.set(METADATA, &(0x10_0000u32 - 0x2000).to_le_bytes());
    let with_entry = image.bytes();
    bytes[0x10_0000 - 0x500..].copy_from_slice(&with_entry[0x10_0000 - 0x500..]);
    let place = place(&Image::amdsev());
    fs::write(place.path().join("ovmf"), &bytes).unwrap();
    let line = "--mode snp --vcpus 2 --vcpu-type EPYC --kernel kernel --ovmf ovmf";
    let arguments: Vec<&str> = line.split(' ').collect();
    let kernel = b"kernel".repeat(70_000);
    let launch = crate::oracle::launch("qemu", &bytes, Some((&kernel, None, "")));
    let cpu = counterfoil::launch::Cpu::named("EPYC").unwrap();
    let features = counterfoil::launch::SevFeatures(1);
    let set = counterfoil::launch::Set::new(vec![2], vec![cpu], vec![features]).unwrap();
    let expected = launch.digests(&set).unwrap()[0].digest;
    assert_eq!(stdout(&measure(place.path(), &arguments)), format!("{expected}\n"));
    // A pipe has no size to seek from.
    let shell = format!(
        "cat ovmf | {} measure {}",
        env!("CARGO_BIN_EXE_counterfoil"),
        line.replace("--ovmf ovmf", "--ovmf /dev/stdin")
    );
    let output = Command::new("sh").args(["-c", &shell]).current_dir(place.path()).output();
    assert_eq!(stdout(&output.unwrap()), format!("{expected}\n"));
}
