//! Two implementations of one measurement: this library, and `reproducibility/recompute.py`, which
//! shares no code with it. They must agree on every record, whatever is in it.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::direct_boot::{DirectBoot, Evidence, NamedBlobs};
use counterfoil::launch::features::Policy;
use counterfoil::launch::firmware::{HashTableArea, Section, SectionKind};
use counterfoil::launch::guid::Guid;
use counterfoil::launch::profile::PROFILES;
use counterfoil::launch::record::{
    Address, Blob, Boot, Disclosure, FirmwareRecord, Inputs, RecordError, Volume,
};
use counterfoil::launch::{Cpu, Profile, Record, Set, SevFeatures, Signature};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// Records in all; each profile gets its share.
const RECORDS: usize = 200;

/// One process for all records: it imports the script and answers line by line.
const DRIVER: &str = "
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import recompute as r
for line in sys.stdin:
    asked = json.loads(line)
    record = r.read(asked['record'])
    found = [found for _, _, found in r.check(record)]
    profile = r.PROFILES[record['profile']]
    before = r.before_vcpus(record, profile)
    one = r.launch(record, profile, before, asked['vcpus'], asked['signature'], asked['features'])
    print(json.dumps([found, one.hex(), r.image_digest(bytes.fromhex(asked['image'])).hex()]))
";

/// The script as it is called, on many records in one process: an exit code for each.
const CALLER: &str = "
import contextlib, io, sys
sys.dont_write_bytecode = True
directory, count = sys.argv[1:]
sys.path.insert(0, directory)
import recompute as r
for index in range(int(count)):
    sys.argv = ['recompute.py', str(index)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = r.main()
    print(code)
";

#[test]
fn both_agree_on_random_records() {
    if !has_python() {
        return;
    }
    let mut random = StdRng::seed_from_u64(0x636f_756e_7465_7266);
    let mut asked = String::new();
    let mut expected = Vec::new();
    for index in 0..RECORDS {
        let record = record(&mut random, &PROFILES[index % PROFILES.len()]);
        let most = if record.firmware.reset_eip.is_some() { 20 } else { 1 };
        let vcpus = random.gen_range(1..=most);
        let signature = Signature(random.r#gen());
        let features = SevFeatures(random.r#gen());
        let pages = random.gen_range(1..4);
        let image: Vec<u8> = (0..pages * 4096).map(|_| random.r#gen()).collect();
        let line = json!({
            "record": String::from_utf8(record.to_json().unwrap()).unwrap(),
            "vcpus": vcpus,
            "signature": signature.0,
            "features": features.0,
            "image": image.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        });
        asked += &format!("{line}\n");
        let mut digests = vec![record.digest_before_vcpus];
        digests.extend(record.recompute().unwrap().iter().map(|digest| digest.digest));
        let one = record.digest(vcpus, Cpu::of(signature), features).unwrap();
        let image = counterfoil::launch::page::image_digest(&image);
        expected.push((record, json!([digests, one, image])));
    }
    let mut child = Command::new("python3")
        .args(["-c", DRIVER])
        .arg(script().parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), RECORDS);
    for (line, (record, expected)) in answers.lines().zip(expected) {
        let found: Value = serde_json::from_str(line).unwrap();
        assert_eq!(found, expected, "{}", String::from_utf8(record.to_json().unwrap()).unwrap());
    }
}

#[test]
fn the_script_answers_by_its_exit_code() {
    if !has_python() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("launch.json");
    let text = golden();
    let record: Value = serde_json::from_str(&text).unwrap();
    let digest = record["digests"][0]["digest"].as_str().unwrap().to_owned();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };

    fs::write(&path, &text).unwrap();
    let (code, stdout) = run(&path, &[]);
    assert_eq!((code, stdout.lines().count()), (0, 7), "{stdout}");
    assert!(stdout.contains(&format!("{digest}  1 vCPUs, EPYC-Milan, SEV_FEATURES 0x1\n")));
    let (code, stdout) = run(&path, &["--vcpus", "1", "--cpu-signature", "0xa00f11"]);
    assert_eq!((code, stdout.trim_end()), (0, digest.as_str()));
    // Which of the two CPUs is not for a program to guess.
    assert_eq!(run(&path, &["--vcpus", "1"]).0, 2);

    for (from, to) in [
        ("console=ttyS0", "console=ttyS1"),
        (&digest[..], &"0".repeat(96)),
        ("\"0x80b004\"", "\"0x80b005\""),
    ] {
        fs::write(&path, changed(from, to)).unwrap();
        let (code, stdout) = run(&path, &[]);
        assert!(code == 10 && stdout.contains("DIFFERS: recorded"), "{to}: {code}: {stdout}");
        // A record that is wrong is not a base for further digests.
        let (code, stdout) = run(&path, &["--vcpus", "1", "--cpu-signature", "0xa00f11"]);
        assert_eq!((code, stdout.as_str()), (10, ""));
    }
    fs::write(&path, changed("\"version\": 1,", "\"version\": 2,")).unwrap();
    assert_eq!(run(&path, &[]), (30, String::new()));
    assert_eq!(run(&directory.path().join("absent"), &[]).0, 1);
}

/// Changes to the golden record, and the exit code of both implementations. A digest that is wrong
/// besides is not what they must say of it.
const CHANGES: &[(i32, &[(&str, &str)])] = &[
    (0, &[]),
    (0, &[("counterfoil 0.0.0", "another 1")]),
    (0, &[("\"state\": \"not-read\"", REFUSED)]),
    (10, &[("console=ttyS0", "console=ttyS1")]),
    (10, &[("\"0x80b004\"", "\"0x80b005\"")]),
    (10, &[("\"kind\": \"svsm-caa\"", "\"kind\": \"sec-mem\""), ("\"0x80f000\"", "\"0x90f000\"")]),
    // Another version, or other rules.
    (30, &[("\"version\": 1,", "\"version\": 2,")]),
    (30, &[("\"version\": 1,", "\"version\": 1.0,")]),
    (30, &[("\"version\": 1,", "\"version\": true,")]),
    (30, &[("\"version\": 1,", "\"version\": \"1\",")]),
    (30, &[("launch/1", "launch/2")]),
    (30, &[("    \"launch\": \"launch/1\"", "    \"other\": \"launch/1\"")]),
    (30, &[("\"cpio\": \"cpio/1\"", "\"cpio\": 1")]),
    (30, &[("\"cpio\": \"cpio/1\"", "\"zip\": \"zip/1\"")]),
    (30, &[("\"profile\": \"qemu\"", "\"profile\": \"bochs\"")]),
    (30, &[("\"profile\": \"qemu\"", "\"profile\": null")]),
    // Where the other vCPUs start.
    (30, &[("\"0x80b004\"", "null")]),
    (30, &[("\"0x80b004\"", "\"0x0\"")]),
    (30, &[("\"0x80b004\"", "\"0x080b004\"")]),
    (30, &[("\"0x80b004\"", "\"0x80B004\"")]),
    (30, &[("\"0x80b004\"", "\"0x10080b004\"")]),
    (30, &[("\"0x80b004\"", "8433668")]),
    // The image and its sections.
    (30, &[("\"size\": 65536", "\"size\": 0")]),
    (30, &[("\"size\": 65536", "\"size\": 3")]),
    (30, &[("\"size\": 65536", "\"size\": 4097")]),
    (30, &[("\"size\": 65536", "\"size\": 4294967296")]),
    (30, &[("\"size\": 65536", "\"size\": 65536.0")]),
    (30, &[("\"size\": 65536", "\"size\": 4290772992")]),
    (30, &[("\"secrets\"", "\"tdx-mem\"")]),
    (30, &[("\"svsm-caa\"", "\"secrets\"")]),
    (30, &[("\"svsm-caa\"", "\"cpuid\"")]),
    (30, &[("\"svsm-caa\"", "\"kernel-hashes\"")]),
    (30, &[("\"kernel-hashes\"", "\"sec-mem\"")]),
    (
        30,
        &[
            ("\"secrets\"", "\"sec-mem\""),
            (LAST, "\"kind\": \"secrets\",\n        \"gpa\": \"0x811000\""),
        ],
    ),
    (30, &[("\"0x80a000\"", "\"0x80a001\"")]),
    (30, &[("\"0x80a000\"", "\"0x808000\"")]),
    (30, &[("\"0x811000\"", "\"0xfffe0000\"")]),
    (30, &[("\"0x811000\"", "\"0xffff0000\"")]),
    (30, &[("\"0x811000\"", "\"0xfffff000\"")]),
    (30, &[("\"0x9000\"", "\"0x0\"")]),
    (30, &[("\"0x9000\"", "\"0x9001\"")]),
    (30, &[("\"0x9000\"", "\"0xb000\"")]),
    // The hash table.
    (30, &[("\"0x810c00\"", "\"0x811c00\"")]),
    (30, &[("\"0x810c00\"", "\"0x810f51\"")]),
    (30, &[("\"0x810c00\"", "\"0x0\"")]),
    (30, &[("\"0x400\"", "\"0xaf\"")]),
    (30, &[("{\n      \"gpa\": \"0x810c00\",\n      \"size\": \"0x400\"\n    }", "null")]),
    // What is booted.
    (30, &[("console=ttyS0", "console=ttyS0\\u0000")]),
    (30, &[("console=ttyS0", "console=ttyS0\\ud800")]),
    (30, &[("\u{e9}", "\\u00e9")]),
    (30, &[("\"6923dd", "\"23dd"), ("\"09e6c0", "\"0009e6c0")]),
    (30, &[("\"6923dd", "\"6923DD")]),
    (30, &[("\"size\": 6\n", "\"size\": -6\n")]),
    (30, &[("\"size\": 6\n", "\"size\": 18446744073709551616\n")]),
    (30, &[("\"size\": 6\n", "\"size\": 6e0\n")]),
    (30, &[("\"size\": 6\n", "\"size\": NaN\n")]),
    // The launches.
    (30, &[("[\n    1,\n    2,", "[\n    1,\n    1,\n    2,")]),
    (30, &[("[\n    1,\n    2,", "[\n    2,\n    1,")]),
    (30, &[("[\n    1,\n    2,", "[\n    0,\n    2,")]),
    (30, &[("[\n    1,\n    2,", "[\n    1.0,\n    2,")]),
    (30, &[("[\n    1,\n    2,", "[\n    true,\n    2,")]),
    (30, &[("    2,\n    4\n", "    2,\n    4097\n")]),
    (30, &[("[\n    1,\n    2,\n    4\n  ]", "[]")]),
    (30, &[("\"vcpus\": 2,", "\"vcpus\": 3,")]),
    (30, &[("\"signature\": \"0xa00f11\"", "\"signature\": \"0xa00f12\"")]),
    (30, &[("\"model\": \"EPYC-Milan\"", "\"model\": \"EPYC-Milan-v5\"")]),
    (30, &[("\"model\": \"EPYC-Milan\"", "\"model\": \"\"")]),
    (30, &[("\"model\": \"EPYC-Milan\"", "\"model\": null")]),
    (
        30,
        &[(
            "\"model\": null,\n      \"signature\": \"0xa10f10\"",
            "\"model\": \"EPYC-Milan\",\n      \"signature\": \"0xa00f11\"",
        )],
    ),
    (30, &[("[\n    \"0x1\"\n  ]", "[]")]),
    (30, &[("[\n    \"0x1\"\n  ]", "[\n    \"0x1\",\n    \"0x1\"\n  ]")]),
    (30, &[("[\n    \"0x1\"\n  ]", "[\n    \"1\"\n  ]")]),
    (30, &[("\"policy\": \"0x30000\"", "\"policy\": \"0x10000000000030000\"")]),
    // What goes into no digest.
    (30, &[("\"committed\"", "\"secret\"")]),
    (30, &[("\"what\": \"cpuid\",\n", "\"what\": 1,\n")]),
    (30, &[("\"offset\": 76", "\"offset\": -1")]),
    (30, &[("806040ca", "806040CA")]),
    (30, &[("\"state\": \"not-read\"", "\"state\": \"run\"")]),
    // Another spelling.
    (30, &[("\"version\": 1,", "\"version\": 1,\n  \"version\": 1,")]),
    (30, &[("\"version\": 1,", "\"version\":  1,")]),
    (30, &[("\"version\": 1,", "\"version\": 1,\r")]),
    (30, &[("{\n  \"version\"", "\u{feff}{\n  \"version\"")]),
    (30, &[("{\n  \"version\"", "{\n  \"extra\": 1,\n  \"version\"")]),
    (30, &[("    \"sha256\": \"4ec9", "    \"extra\": null,\n    \"sha256\": \"4ec9")]),
    (30, &[("  \"policy\": \"0x30000\",\n", "")]),
    (
        30,
        &[(
            "\"gpa\": \"0x810c00\",\n      \"size\": \"0x400\"",
            "\"size\": \"0x400\",\n      \"gpa\": \"0x810c00\"",
        )],
    ),
    (30, &[("  ]\n}\n", "  ]\n}")]),
];

/// The last section of the golden record that is no hash page.
const LAST: &str = "\"kind\": \"sec-mem\",\n        \"gpa\": \"0x811000\"";

/// Another finding, which no digest covers.
const REFUSED: &str = "\"state\": \"refused\",
        \"by\": {
          \"module\": \"806040ca-dad9-4978-a3b4-2d2ab0c8a48f\",
          \"name\": null,
          \"sha256\": \"5ac246034e863f188e32d0bd4de152e050d207a62e41a297f75387b4656e6cc8\",
          \"offset\": 18446744073709551615
        }";

#[test]
fn both_say_the_same_of_changed_records() {
    if !has_python() {
        return;
    }
    let mut cases: Vec<(i32, Vec<u8>)> = Vec::new();
    for (code, changes) in CHANGES {
        let changed = changes.iter().fold(golden(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        cases.push((*code, changed.into_bytes()));
    }
    let deep = "[".repeat(100_000);
    let others: [&[u8]; 6] = [b"", b"[]", b"null\n", b"1\n", b"\"\xff\"\n", deep.as_bytes()];
    cases.extend(others.map(|bytes| (30, bytes.to_vec())));

    let directory = tempfile::tempdir().unwrap();
    for (index, (_, bytes)) in cases.iter().enumerate() {
        fs::write(directory.path().join(index.to_string()), bytes).unwrap();
    }
    let output = Command::new("python3")
        .args(["-c", CALLER])
        .arg(script().parent().unwrap())
        .arg(cases.len().to_string())
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(found.lines().count(), cases.len());
    for (index, ((code, bytes), found)) in cases.iter().zip(found.lines()).enumerate() {
        let ours = Record::from_json(bytes);
        let expected = match &ours {
            Ok(_) => 0,
            Err(RecordError::Digest { .. }) => 10,
            Err(_) => 30,
        };
        let what = CHANGES.get(index);
        assert_eq!((expected, found), (*code, code.to_string().as_str()), "{what:?}: {ours:?}");
    }
}

fn golden() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/launch/record.json");
    fs::read_to_string(path).unwrap()
}

fn run(record: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new("python3")
        .arg("-B")
        .arg(script())
        .arg(record)
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("Traceback"), "{stderr}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reproducibility/recompute.py")
}

/// On a developer's machine the second opinion may be missing; where it counts it may not.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "no `python3`: expected one under CI");
    if !found {
        eprintln!("skipped: no `python3`");
    }
    found
}

/// A record of anything that firmware may ask for and people may launch.
fn record(random: &mut StdRng, profile: &'static Profile) -> Record {
    let firmware = firmware(random);
    let bindable = firmware.hash_table.is_some();
    let mut boot = (bindable && random.gen_bool(0.8)).then(|| Boot {
        kernel: Blob { sha256: Sha256(random.r#gen()), size: 1 },
        initrd: random.gen_bool(0.7).then(|| Blob { sha256: Sha256(random.r#gen()), size: 1 }),
        cmdline: (0..random.gen_range(0..40))
            .map(|_| {
                *[' ', 'a', '=', '"', '\\', '/', '\u{e9}', '\u{1f600}'].choose(random).unwrap()
            })
            .collect(),
    });
    let mut volumes = Vec::new();
    if let Some(boot) = boot.as_mut().filter(|_| random.gen_bool(0.5)) {
        let (root, disclosure) = (Sha256(random.r#gen()), Disclosure::Committed);
        boot.cmdline += &format!(" a={root} counterfoil.volume.b=unverified");
        volumes.extend([
            Volume { name: "a".to_owned(), root_hash: Some(root), disclosure },
            Volume { name: "b".to_owned(), root_hash: None, disclosure: Disclosure::None },
        ]);
    }
    let most = if firmware.reset_eip.is_some() { 9 } else { 1 };
    let mut vcpus: Vec<u32> = (1..=most).collect();
    vcpus.shuffle(random);
    vcpus.truncate(random.gen_range(1..=3));
    let mut names: Vec<String> = Cpu::names().collect();
    names.shuffle(random);
    let mut cpus = vec![Cpu::of(Signature(random.r#gen()))];
    cpus.extend(names.iter().take(random.gen_range(0..3)).map(|name| Cpu::named(name).unwrap()));
    cpus.shuffle(random);
    let mut features = vec![SevFeatures(1)];
    features.extend(random.gen_bool(0.5).then(|| SevFeatures(random.r#gen::<u64>() | 2)));
    let inputs = Inputs {
        profile,
        policy: Policy(random.r#gen()),
        firmware,
        boot,
        volumes,
        set: Set::new(vcpus, cpus, features).unwrap(),
        writers: BTreeMap::new(),
    };
    let record = Record::new(inputs).unwrap();
    assert_eq!(Record::from_json(&record.to_json().unwrap()).unwrap(), record);
    record
}

/// Sections of every kind in any order, of any size, with gaps or without.
fn firmware(random: &mut StdRng) -> FirmwareRecord {
    let mut kinds: Vec<SectionKind> = (0..random.gen_range(1..5))
        .map(|_| *[SectionKind::SecMem, SectionKind::SvsmCaa].choose(random).unwrap())
        .collect();
    for kind in [SectionKind::Secrets, SectionKind::Cpuid, SectionKind::KernelHashes] {
        kinds.extend(random.gen_bool(0.9).then_some(kind));
    }
    let mut gpa = 0x1000 * random.gen_range(0..0x900);
    let mut sections = Vec::new();
    for kind in kinds {
        let single = !matches!(kind, SectionKind::SecMem | SectionKind::SvsmCaa);
        let size = 0x1000 * if single { 1 } else { random.gen_range(1..20) };
        sections.push(Section { kind, gpa, size });
        gpa += size + 0x1000 * random.gen_range(0..3);
    }
    sections.shuffle(random);
    let page = sections.iter().find(|section| section.kind == SectionKind::KernelHashes);
    let hash_table = page.map(|page| HashTableArea {
        gpa: page.gpa + random.gen_range(u32::from(page.gpa == 0)..=0x1000 - 176),
        size: 0x400,
    });
    let module = Guid::new(random.r#gen(), 0, 0, [0; 8]);
    let sha256 = Sha256(random.r#gen());
    FirmwareRecord {
        sha256,
        size: 0x1000 * random.gen_range(1..0x1000),
        digest: Sha384(std::array::from_fn(|_| random.r#gen())),
        reset_eip: random.gen_bool(0.8).then(|| Address(random.gen_range(1..=u32::MAX))),
        hash_table,
        sections,
        direct_boot: Some(DirectBoot {
            verifier: Some(Evidence { module, name: None, sha256, offset: 0 }),
            named_blobs: NamedBlobs::NotRead,
        }),
    }
}
