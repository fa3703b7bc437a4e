//! `counterfoil measure` with its own flags: profiles, sets, traces, exports, and kernels only with
//! firmware that checks them.

use std::fs;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use counterfoil::digest::Sha384;
use counterfoil::launch::direct_boot::NamedBlobs;
use counterfoil::launch::findings::{self, Finding, State};
use counterfoil::launch::page::{Chain, PageType, Update, image_digest};
use serde_json::Value;
use tempfile::TempDir;

use crate::drop_in::{measure, place, refused, stdout};
use crate::image::Image;
use crate::record::{image, record};

fn with_record() -> TempDir {
    let place = place(&image());
    fs::write(place.path().join("launch.json"), record().to_json().unwrap()).unwrap();
    place
}

fn run(place: &Path, line: &str) -> std::process::Output {
    measure(place, &line.split_whitespace().collect::<Vec<_>>())
}

fn json(place: &Path, line: &str) -> Value {
    serde_json::from_str(&stdout(&run(place, &format!("{line} --format json")))).unwrap()
}

#[test]
fn profiles_are_listed_and_named() {
    let place = with_record();
    let profiles = json(place.path(), "--list-profiles");
    let ids: Vec<&str> = profiles["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["qemu", "qemu-legacy", "ec2", "ec2-2023", "gce", "krun"]);
    assert_eq!(profiles["profiles"][4]["vmsa"]["g_pat"], "0x70106");
    assert_eq!(profiles["profiles"][1]["until"], profiles["profiles"][0]["since"]);
    let fields = profiles["profiles"][0]["first_vcpu"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(
        (&field("cr0")["offset"], &field("efer")["value"]),
        (&"0x158".into(), &"0x1000".into())
    );
    let text = stdout(&run(place.path(), "--list-profiles"));
    assert!(ids.iter().all(|id| text.contains(id)), "{text}");
    let files = "--firmware ovmf --kernel kernel --vcpus 1,2";
    for id in ids {
        let result = json(place.path(), &format!("{files} --profile {id}"));
        assert_eq!(result["profile"], id);
        assert!(stdout(&run(place.path(), &format!("{files} --profile {id}"))).contains(id));
        // A record can be measured for another hypervisor, too.
        let result = json(place.path(), &format!("--record launch.json --profile {id}"));
        assert_eq!(result["profile"], id);
    }
    let one = run(place.path(), "--record launch.json --vcpus 9 --cpu EPYC-Rome");
    assert_eq!(stdout(&one).len(), 97, "one digest is printed bare");
    assert!(String::from_utf8_lossy(&one.stderr).contains("note: profile qemu"));
    refused(&run(place.path(), "--record launch.json --profile xen"), 2, "unknown VMM profile");
}

#[test]
fn sets_of_cpus_by_any_name() {
    let place = with_record();
    let line = "--firmware ovmf --kernel kernel --initrd initrd --append quiet --vcpus 2,1";
    let cpus = "--cpu EPYC-v4 --vcpu-sig 0xa00f11,10555152 \
                --vcpu-family 25,26 --vcpu-model 160,2 --vcpu-stepping 2,1";
    let result = json(place.path(), &format!("{line} {cpus} --features 0x8000000000010021,1"));
    let rows = result["digests"].as_array().unwrap();
    assert_eq!((rows.len(), &result["kernel_hashes"]), (2 * 5 * 2, &"on".into()));
    let signatures: Vec<&str> =
        rows.iter().take(10).step_by(2).map(|row| row["signature"].as_str().unwrap()).collect();
    assert_eq!(signatures, ["0x800f12", "0xa00f11", "0xa10f10", "0xaa0f02", "0xb00f21"]);
    let names = &rows[1]["sev_features_names"];
    assert_eq!(names.to_string(), r#"["SNP_ACTIVE","DEBUG_SWAP","SECURE_AVIC","bit 63"]"#);
    let off = json(place.path(), "--firmware ovmf --kernel kernel --kernel-hashes off");
    assert_eq!(off["digests"], json(place.path(), "--firmware ovmf")["digests"]);
    assert_eq!(off["kernel_hashes"], "off");
    let recorded = json(place.path(), "--record launch.json --kernel-hashes off --vcpus 1");
    assert_eq!(recorded["kernel_hashes"], "off");
    for line in ["--firmware ovmf --kernel-hashes on", "--record launch.json --vcpu-family 25"] {
        refused(&run(place.path(), line), 2, "");
    }
}

/// Without `--mode` a kernel is measured only with firmware that checks it.
#[test]
fn a_kernel_needs_a_verifier() {
    let bare = place(&Image::amdsev());
    refused(&run(bare.path(), "--firmware ovmf --kernel kernel"), 10, "not examined");
    let line = "--mode snp --vcpus 1 --vcpu-type EPYC-v4 --ovmf ovmf --kernel kernel";
    let output = run(bare.path(), line);
    assert_eq!(stdout(&output).len(), 97);
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning: "));
    let mut unverified = image();
    unverified.volumes = crate::image::volume(&[crate::image::driver(
        "806040ca-dad9-4978-a3b4-2d2ab0c8a48f",
        "Loader",
        b"none",
    )]);
    let place = place(&unverified);
    refused(&run(place.path(), "--firmware ovmf --kernel kernel"), 10, "no verifier");
    let output = run(place.path(), &format!("{line} --examine"));
    assert_eq!(stdout(&output).len(), 97);
    assert!(String::from_utf8_lossy(&output.stderr).contains("BINDS NO KERNEL"));
}

/// Each step follows from the one before it, and the last is the digest.
#[test]
fn traces() {
    let place = with_record();
    let line = "--firmware ovmf --kernel kernel --vcpus 3 --cpu EPYC-Milan";
    let trace = json(place.path(), &format!("{line} --trace"));
    let steps = trace["steps"].as_array().unwrap();
    let sections = 9 + 3 + 1 + 1 + 1 + 0x1f + 1;
    assert_eq!(steps.len(), 16 + sections + 3);
    let text = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    let digest = |step: &Value, key: &str| text(step, key).parse::<Sha384>().unwrap();
    let mut chain = Chain::START;
    for step in steps {
        let kind = match text(step, "type").as_str() {
            "normal" => PageType::Normal,
            "vmsa" => PageType::Vmsa,
            "zero" => PageType::Zero,
            "secrets" => PageType::Secrets,
            "cpuid" => PageType::Cpuid,
            other => panic!("{other}"),
        };
        let gpa = u64::from_str_radix(&text(step, "gpa")[2..], 16).unwrap();
        chain.add(&Update { kind, gpa, contents: digest(step, "contents") });
        assert_eq!(chain.digest(), digest(step, "digest"));
    }
    let bytes = image().bytes();
    assert_eq!(digest(&steps[15], "digest"), image_digest(&bytes));
    assert_eq!(format!("{}\n", chain.digest()), stdout(&run(place.path(), line)));
    let folded = stdout(&run(place.path(), &format!("{line} --trace")));
    assert!(folded.lines().count() < 25 && folded.contains(&chain.digest().to_string()));
    // From a record the firmware's pages are one digest.
    let recorded = json(place.path(), "--record launch.json --vcpus 1 --cpu EPYC-Milan --trace");
    assert_eq!(recorded["firmware_pages"], false);
    let last = recorded["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(digest(last, "digest"), record().digests[0].digest);
    refused(&run(place.path(), "--record launch.json --trace"), 2, "one launch");
}

#[test]
fn vmsas_are_written_and_explained() {
    let place = with_record();
    fs::create_dir(place.path().join("out")).unwrap();
    let line = "--firmware ovmf --vcpus 2 --cpu EPYC-Milan --features 0x21 --dump-vmsa=out -v";
    let output = run(place.path(), line);
    assert_eq!(stdout(&output).len(), 97);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in ["0x3b0 sev_features     0x21", "0x310 rdx              0xa00f11", "cs.base"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    assert!(!stderr.contains(" ? "), "every field has a name: {stderr}");
    assert_eq!(fs::read(place.path().join("out/vmsa1.bin")).unwrap().len(), 4096);
}

/// A flag that would be ignored is a question that was not answered.
#[test]
fn files_go_with_files() {
    let place = with_record();
    for source in ["--record launch.json", "."] {
        for flag in ["--kernel kernel", "--initrd initrd", "--append x", "--examine", "--mode snp"]
        {
            refused(&run(place.path(), &format!("{source} {flag} --vcpus 1")), 2, "cannot be used");
        }
        let hash = "ab".repeat(48);
        refused(&run(place.path(), &format!("{source} --snp-ovmf-hash {hash}")), 2, "cannot be");
    }
    for flag in ["--vcpus 3", "--profile gce", "--kernel-hashes on", "--record launch.json"] {
        refused(&run(place.path(), &format!("--list-profiles {flag}")), 2, "cannot be used");
    }
    let hash = "ab".repeat(48);
    let line = format!("--firmware ovmf --kernel kernel --snp-ovmf-hash {hash}");
    refused(&run(place.path(), &line), 2, "nobody has looked into");
    for count in ["0", "4097", "4294967296", "99999999999999999999999"] {
        let line = format!("--record launch.json --vcpus {count}");
        refused(&run(place.path(), &line), 30, "expected 1 to 4096");
    }
}

/// What nobody may overlook is said on standard error and in JSON, wherever the digests come from.
#[test]
fn warnings() {
    let place = with_record();
    let said = |line: &str, words: &str| {
        let result = json(place.path(), line);
        assert!(result["warnings"].to_string().contains(words), "{line}: {result}");
        let stderr = run(place.path(), line).stderr;
        assert!(String::from_utf8_lossy(&stderr).contains(&format!("warning: {words}")), "{line}");
    };
    said("--record launch.json --features 0x20", "SEV_FEATURES 0x20 lack bit 0");
    said("--record launch.json --kernel-hashes off", "kernel-hashes are off");
    said("--firmware ovmf --kernel kernel --kernel-hashes off", "kernel-hashes are off");
    let mut hole = record();
    let found = hole.firmware.direct_boot.as_mut().unwrap();
    let read_by = found.verifier.clone().unwrap();
    found.named_blobs = NamedBlobs::Run { started_by: read_by.clone(), read_by };
    fs::write(place.path().join("hole.json"), hole.to_json().unwrap()).unwrap();
    said("--record hole.json", "the firmware has a hole");
    let finding = |state| Finding { rule: &findings::S3_RESUME, state };
    let open = record().with_findings(&[finding(State::Open { found: Vec::new() })]);
    fs::write(place.path().join("open.json"), open.to_json().unwrap()).unwrap();
    said("--record open.json", "the firmware has ways around the measured kernel: s3-resume;");
    assert_eq!(json(place.path(), "--record launch.json")["warnings"], Value::Array(Vec::new()));
}

/// What has no end is told so, wherever a file is named.
#[test]
fn what_does_not_end_is_refused() {
    let place = with_record();
    for line in [
        "--record /dev/zero",
        "--firmware /dev/zero --kernel kernel --vcpus 1",
        "--mode snp --ovmf /dev/zero --vcpus 1 --vcpu-type EPYC-v4",
        "--igvm /dev/zero",
    ] {
        refused(&run(place.path(), line), 30, "`/dev/zero` is no file, and does not end");
    }
}

/// A pipe is read once: what was measured is what is looked into, and what a trace shows.
#[test]
fn firmware_from_a_pipe() {
    let place = with_record();
    let rest = "--kernel kernel --initrd initrd --append quiet --vcpus 1 --cpu EPYC-v4";
    for more in ["", " --trace"] {
        let line = format!("{rest}{more}");
        let of_file = stdout(&run(place.path(), &format!("--firmware ovmf {line}")));
        let piped = std::process::Command::new(env!("CARGO_BIN_EXE_counterfoil"))
            .arg("measure")
            .args(format!("--firmware /dev/stdin {line}").split_whitespace())
            .current_dir(place.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn();
        let mut piped = piped.unwrap();
        let image = fs::read(place.path().join("ovmf")).unwrap();
        std::io::Write::write_all(&mut piped.stdin.take().unwrap(), &image).unwrap();
        let output = piped.wait_with_output().unwrap();
        assert_eq!(stdout(&output), of_file, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Values are named by what they are of, and those that bind no kernel are none.
#[test]
fn exports_of_other_launches() {
    let place = with_record();
    let id = |line: &str| {
        let output = run(place.path(), &format!("--record launch.json --export corim {line}"));
        assert!(output.status.success());
        cbor(&output.stdout).0["item"]["0"].as_str().unwrap().to_owned()
    };
    assert!(id("").starts_with("urn:counterfoil:launch-record:"));
    let others = [id("--vcpus 1"), id("--vcpus 3"), id("--profile gce")];
    assert!(others.iter().all(|id| id.starts_with("urn:counterfoil:launch-digests:")));
    assert!(others[0] != others[1] && others[1] != others[2]);
    let line =
        "--record launch.json --profile gce --cpu EPYC-v4,EPYC-Milan --vcpus 1 --export trustee";
    let message: Value = serde_json::from_str(&stdout(&run(place.path(), line))).unwrap();
    let values = Base64::decode_vec(message["provenance"].as_str().unwrap()).unwrap();
    let values: Value = serde_json::from_slice(&values).unwrap();
    assert_eq!(values["snp_launch_measurement"].as_array().unwrap().len(), 1);
    let off = run(place.path(), "--record launch.json --kernel-hashes off --export trustee");
    refused(&off, 10, "bind no kernel");
}

#[test]
fn trustee() {
    let place = with_record();
    let message: Value =
        serde_json::from_str(&stdout(&run(place.path(), "--record launch.json --export trustee")))
            .unwrap();
    assert_eq!((&message["version"], &message["type"]), (&"0.1.0".into(), &"sample".into()));
    let values = Base64::decode_vec(message["provenance"].as_str().unwrap()).unwrap();
    let values: Value = serde_json::from_slice(&values).unwrap();
    let digests: Vec<Value> =
        record().digests.iter().map(|row| row.digest.to_string().into()).collect();
    assert_eq!(values["snp_launch_measurement"], Value::Array(digests));
    assert_eq!(
        (&values["snp_smt_allowed"], &values["snp_single_socket"]),
        (&true.into(), &false.into())
    );
    assert_eq!(values["snp_guest_abi_major"], 0);
    refused(&run(place.path(), "--firmware ovmf --export trustee"), 2, "--export");
}

#[test]
fn corim() {
    let place = with_record();
    let output =
        run(place.path(), "--record launch.json --vcpus 1,300 --cpu EPYC-Milan --export corim");
    assert!(output.status.success());
    let (corim, rest) = cbor(&output.stdout);
    assert!(rest.is_empty());
    assert_eq!(corim["tag"], 501);
    let profile = &corim["item"]["3"];
    assert_eq!(
        (&profile["tag"], &profile["item"]),
        (&32.into(), &"tag:amd.com,2024:snp-corim-profile".into())
    );
    let tag = &corim["item"]["1"][0];
    assert_eq!(tag["tag"], 506);
    let (comid, rest) = cbor(&unhex(tag["item"].as_str().unwrap()));
    assert!(rest.is_empty());
    assert_eq!(comid["1"]["0"], corim["item"]["0"]);
    let triples = comid["4"]["0"].as_array().unwrap();
    let digests: Vec<String> =
        stdout(&run(place.path(), "--record launch.json --vcpus 1,300 --cpu EPYC-Milan"))
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().last().unwrap().to_owned())
            .collect();
    assert_eq!((triples.len(), digests.len()), (4, 2));
    for (at, triple) in triples.iter().enumerate() {
        let class = &triple[0]["0"]["0"];
        let oid = if at < 2 { "2b060104019c780301" } else { "2b060104019c780302" };
        assert_eq!((&class["tag"], &class["item"]), (&111.into(), &oid.into()));
        let claim = &triple[1][0];
        assert_eq!(claim["0"], 641);
        assert_eq!(claim["1"]["2"][0], serde_json::json!([7, digests[at % 2]]));
    }
}

/// An item, with byte strings in hex and tags as objects, and what follows it.
fn cbor(bytes: &[u8]) -> (Value, Vec<u8>) {
    let (major, info) = (bytes[0] >> 5, bytes[0] & 31);
    let width = match info {
        0..=23 => 0,
        24..=27 => 1 << (info - 24),
        _ => panic!("an indefinite length"),
    };
    let number = bytes[1..1 + width].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let number = if width == 0 { info.into() } else { number };
    let mut rest = bytes[1 + width..].to_vec();
    let next = |rest: &mut Vec<u8>| {
        let (item, after) = cbor(rest);
        *rest = after;
        item
    };
    let item = match major {
        0 => number.into(),
        2 | 3 => {
            let after = rest.split_off(number as usize);
            let item = std::mem::replace(&mut rest, after);
            let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            if major == 2 {
                Value::String(hex(item))
            } else {
                String::from_utf8(item).unwrap().into()
            }
        }
        4 => (0..number).map(|_| next(&mut rest)).collect(),
        5 => {
            let pair = |_| (next(&mut rest).to_string(), next(&mut rest));
            Value::Object((0..number).map(pair).collect())
        }
        6 => serde_json::json!({ "tag": number, "item": next(&mut rest) }),
        _ => panic!("major type {major}"),
    };
    (item, rest)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
