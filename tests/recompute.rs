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
use counterfoil::launch::record::{Address, Blob, Boot, FirmwareRecord, Inputs};
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
    record = json.loads(asked['record'], object_pairs_hook=r.unique)
    found = [found for _, _, found in r.check(record)]
    profile = r.PROFILES[record['profile']]
    before = r.before_vcpus(record, profile)
    one = r.launch(record, profile, before, asked['vcpus'], asked['signature'], asked['features'])
    print(json.dumps([found, one.hex(), r.image_digest(bytes.fromhex(asked['image'])).hex()]))
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
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/launch/record.json");
    let text = fs::read_to_string(golden).unwrap();
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
    for malformed in [
        String::new(),
        "[]".to_owned(),
        "[".repeat(100_000),
        changed("\"version\": 1,", "\"version\": 2,"),
        changed("\"version\": 1,", "\"version\": 1, \"version\": 1,"),
        changed("launch/1", "launch/2"),
        changed("\"profile\": \"qemu\"", "\"profile\": \"bochs\""),
        changed("\"secrets\"", "\"tdx-mem\""),
        changed("\"gpa\": \"0x80a000\"", "\"gpa\": \"0x80a001\""),
        changed("\"gpa\": \"0x810c00\"", "\"gpa\": \"0x811c00\""),
        changed("\"reset_eip\": \"0x80b004\"", "\"reset_eip\": null"),
        changed("\"vcpus\": 2,", "\"vcpus\": 3,"),
        changed("\"0x1\"", "\"1\""),
    ] {
        fs::write(&path, &malformed).unwrap();
        let (code, stdout) = run(&path, &[]);
        assert!(code == 30 && stdout.is_empty(), "{code}: {stdout}: {malformed:.200}");
    }
    assert_eq!(run(&directory.path().join("absent"), &[]).0, 1);
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
    let boot = (bindable && random.gen_bool(0.8)).then(|| Boot {
        kernel: Blob { sha256: Sha256(random.r#gen()), size: 1 },
        initrd: random.gen_bool(0.7).then(|| Blob { sha256: Sha256(random.r#gen()), size: 1 }),
        cmdline: (0..random.gen_range(0..40))
            .map(|_| {
                *[' ', 'a', '=', '"', '\\', '/', '\u{e9}', '\u{1f600}'].choose(random).unwrap()
            })
            .collect(),
    });
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
        volumes: Vec::new(),
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
