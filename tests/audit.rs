//! `audit`: on releases of Debian's packages, on manifests, on what is neither, and what it says to
//! pipelines. What each code is provoked by without files is tested beside the code.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Once;

use counterfoil::digest::Sha256;
use counterfoil::guest;
use counterfoil::launch::record::{Blob, Boot};
use counterfoil::launch::{Policy, Record};
use counterfoil::layout;
use counterfoil::manifest::Lock;
use counterfoil::manifest::load::Loaded;
use counterfoil::release::sbom;
use serde_json::Value;
use support::place::{self, Place, Ran};
use support::real;

/// As open as a manifest can be made in few lines.
const OPEN: &str = r#"
version: 1
name: open
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  hello: {builtin: hello}
  text: {file: text}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml}
cmdline: console=ttyS0 mitigations=off kgdboc=ttyS0 frobnicate
files:
  - {path: /usr/bin/hello, from: hello, mode: "4755"}
  - {path: /etc/text, from: text}
volumes:
  cache: {mount: /cache, disclosure: none}
scratch:
  work: {mount: /work}
init:
  exec: [/usr/bin/hello, "8080"]
  env: {HUB: "https://hub.example/model"}
  user: "0:0"
  network: dhcp
  output: console
  on-exit: restart
  sysctl: {kernel.randomize_va_space: "0"}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4], policy: 0x2f0000}
run: {ports: [8080]}
"#;

fn open_release() -> PathBuf {
    static WRITTEN: Once = Once::new();
    let directory = real::manifests();
    WRITTEN.call_once(|| {
        fs::write(directory.join("manifests/open.yaml"), OPEN).unwrap();
        fs::write(directory.join("manifests/text"), "text").unwrap();
    });
    real::release("open")
}

fn run(subject: &Path, more: &[&str]) -> Ran {
    let mut arguments = vec!["audit", subject.to_str().unwrap()];
    arguments.extend(more);
    real::run(subject.parent().unwrap(), &arguments)
}

/// The findings by their codes: severity and subjects.
fn findings(ran: &Ran) -> BTreeMap<String, (String, Vec<String>)> {
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = BTreeMap::new();
    for finding in json["findings"].as_array().unwrap() {
        let keys: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "severity", "means", "remedy", "subjects"]);
        let subjects: Vec<_> = finding["subjects"].as_array().unwrap().iter().map(text).collect();
        assert!(!subjects.is_empty() && !text(&finding["remedy"]).is_empty(), "{finding}");
        let before = found.insert(text(&finding["code"]), (text(&finding["severity"]), subjects));
        assert_eq!(before, None, "a code is there once: {finding}");
    }
    found
}

#[track_caller]
fn audited(subject: &Path, more: &[&str]) -> BTreeMap<String, (String, Vec<String>)> {
    let ran = run(subject, &[more, &["--format", "json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    findings(&ran)
}

/// What may well be otherwise by tomorrow's archive.
fn without_archive(mut found: BTreeMap<String, (String, Vec<String>)>) -> Vec<String> {
    found.remove("input-expired-archive");
    found.into_keys().collect()
}

#[test]
fn the_example_is_told_whole() {
    let found = audited(&real::release("hello"), &[]);
    assert_eq!(
        without_archive(found.clone()),
        [
            "acpi-tables",
            "boot-fallback",
            "console-kernel",
            "console-output",
            "cpuid",
            "devices",
            "disks",
            "firmware-not-visible",
            "fw-cfg-blobs",
            "input-vendor-build",
            "interrupt-injection",
            "kernel-config-unknown",
            "memory-size",
            "named-blobs-allowed",
            "network",
            "network-configuration",
            "network-listener",
            "option-roms",
            "policy",
            "policy-protections",
            "policy-smt",
            "s3-resume",
            "smbios",
            "time",
            "vcpu-scheduling",
        ]
    );
    let of = |code: &str| (found[code].0.as_str(), found[code].1.join("; "));
    assert_eq!(of("fw-cfg-blobs"), ("critical", "firmware, input `firmware`".to_owned()));
    assert_eq!(of("network-listener").1, "init.network: dhcp; port 8080");
    assert_eq!(of("firmware-not-visible").1, "page-validation");
}

#[test]
fn an_open_image_is_told_from_its_release_and_from_its_manifest() {
    let release = open_release();
    let directory = real::manifests();
    let of_release = audited(&release, &[]);
    let of_manifest = audited(&directory.join("manifests/open.yaml"), &[]);
    for (code, severity, subject) in [
        ("policy-debug", "critical", "launch.policy 0x2f0000: DEBUG"),
        ("policy-migrate", "high", "launch.policy 0x2f0000: MIGRATE_MA"),
        ("policy-cxl", "low", "launch.policy 0x2f0000: CXL_ALLOW"),
        ("unverified-volumes", "high", "volume `cache`"),
        ("scratch-disk", "low", "scratch disk `work`"),
        ("cmdline-host-control", "high", "kgdboc=ttyS0"),
        ("cmdline-weakens", "medium", "mitigations=off"),
        ("cmdline-unknown", "info", "frobnicate"),
        ("sysctl-weakens", "medium", "kernel.randomize_va_space=0"),
        ("root-user", "medium", "init.user: 0:0"),
        ("set-uid-files", "info", "/usr/bin/hello"),
        ("console-output", "medium", "init.output: console"),
        ("on-exit-restart", "info", "init.on-exit: restart"),
        ("runtime-fetch", "low", "init.env: HUB=https://hub.example/model"),
        ("ipv6-autoconfiguration", "low", "init.network: dhcp"),
        ("input-not-rebuildable", "medium", "input `text` (initrd)"),
        ("input-local-file", "low", "input `text`"),
    ] {
        for found in [&of_release, &of_manifest] {
            assert_eq!(found[code], (severity.to_owned(), vec![subject.to_owned()]), "{code}");
        }
    }
    // What only a release tells, and what only a manifest does not.
    assert!(of_release.contains_key("fw-cfg-blobs") && !of_release.contains_key("not-built"));
    assert!(!of_manifest.contains_key("fw-cfg-blobs") && of_manifest["not-built"].0 == "info");
    assert!(!of_release.contains_key("unmeasured-other"), "every word of a record has its code");
    assert!(!of_release.contains_key("modules-open"), "PID 1 latches");
}

/// The same release with a configuration says what its kernel offers; one of another kernel is refused.
#[test]
fn a_kernels_configuration_is_taken_from_whoever_has_it() {
    let release = real::release("hello");
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    fs::write(&config, "CONFIG_MODULES=y\nCONFIG_MAGIC_SYSRQ=y\n").unwrap();
    let found = audited(&release, &["--kernel-config", config.to_str().unwrap()]);
    assert!(!found.contains_key("kernel-config-unknown"));
    assert_eq!(found["kernel-sysrq"].1, ["CONFIG_MAGIC_SYSRQ"]);
    assert_eq!(found["kernel-modules"].0, "low");
    fs::write(&config, "# Linux/x86 5.4.1 Kernel Configuration\nCONFIG_MODULES=y\n").unwrap();
    run(&release, &["--kernel-config", config.to_str().unwrap()])
        .is_refusal(10, &["the configuration is of another kernel than 6."]);
}

#[test]
fn a_pipeline_is_told_by_the_exit_code() {
    let release = real::release("hello");
    let text = |more: &[&str]| {
        let ran = run(&release, more);
        assert!(ran.stdout.contains("fw-cfg-blobs"), "the findings are told all the same");
        (ran.code, ran.stderr)
    };
    assert_eq!(text(&[]), (0, String::new()));
    assert_eq!(text(&["--deny", "policy-debug,root-user", "--deny", "scratch-disk"]).0, 0);
    let (code, said) = text(&["--deny", "root-user,policy-smt", "--deny", "fw-cfg-blobs"]);
    assert_eq!(code, 10);
    assert!(said.contains("has denied findings: fw-cfg-blobs, policy-smt\n"), "{said}");
    assert!(text(&["--deny", "critical"]).1.contains("fw-cfg-blobs, boot-fallback, option-roms\n"));
    assert!(text(&["--deny", "high"]).1.contains("option-roms, s3-resume\n"));

    let ran = run(&release, &["--deny", "s3-resume", "--format", "json"]);
    assert_eq!(ran.code, 10, "{}", ran.stderr);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["version", "audited", "name", "findings", "denied"]);
    assert_eq!((&json["audited"], &json["name"]), (&"release".into(), &"hello".into()));
    assert_eq!(json["denied"], serde_json::json!(["s3-resume"]));
}

#[test]
fn codes_are_listed_and_others_are_wrong_usage() {
    let place = Place::new();
    let list = place.succeeds(&["audit", "--list", "--format", "json"]).stdout;
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let text = place.succeeds(&["audit", "--list"]).stdout;
    assert_eq!(text.lines().count(), list.len());
    for (line, rule) in text.lines().zip(&list) {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), rule["severity"].as_str());
        assert_eq!(words.next(), rule["code"].as_str());
        assert!(rule["remedy"].is_string() && line.ends_with(rule["means"].as_str().unwrap()));
    }
    // Before anything is read: `nowhere` is not looked for.
    place.refuses(
        &["audit", "nowhere", "--deny", "policy-debug,rootuser"],
        2,
        &["`rootuser`", "hint: the codes are: ", "root-user", "critical, high, medium, low, info"],
    );
    assert_eq!(place.run(&["audit"]).code, 2);
    assert_eq!(place.run(&["audit", "--list", "nowhere"]).code, 2);
}

const MANIFEST: &str = "version: 1\nname: image\ninputs: {f: {file: f}, k: {file: k}, c: {file: c}, p: {file: p}}\n\
     firmware: {from: f}\nkernel: {from: k, config: c}\ncmdline: quiet\n\
     files: [{path: /p, from: p, mode: \"0755\"}]\ninit: {exec: [/p]}\n\
     launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}\n";

#[test]
fn a_manifest_without_its_lock_pins_nothing() {
    let place = Place::new();
    for name in ["f", "k", "c", "p"] {
        place.write(name, name);
    }
    let manifest = place.write("image.yaml", MANIFEST);
    let unlocked = || audited(&manifest, &[]).remove("input-unlocked");
    let inputs = ["input `c`", "input `f`", "input `k`", "input `p`", "PID 1"];
    assert_eq!(unlocked().unwrap(), ("high".to_owned(), inputs.map(str::to_owned).to_vec()));
    place.succeeds(&["lock", "image.yaml"]);
    assert_eq!(unlocked(), None);
    place.write("image.yaml", MANIFEST.replace("p: {file: p}", "p: {file: ./p}"));
    assert_eq!(unlocked().unwrap().1, ["the lock is of another manifest", "input `p`"]);
    // A configuration that nobody needs to build with is not in the image.
    assert_eq!(audited(&manifest, &[])["input-not-rebuildable"].1.len(), 3);
}

#[test]
fn what_is_neither_is_refused() {
    let place = Place::new();
    place.refuses(&["audit", "nowhere"], 1, &["failed reading `nowhere`"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.refuses(&["audit", "empty"], 20, &["`empty` is not a release"]);
    place.write("half/launch.json", "{");
    place.refuses(&["audit", "half"], 30, &["does not hold"]);
    place.write("image.yaml", "version: 1\nname: [\n");
    place.refuses(&["audit", "image.yaml"], 30, &["image.yaml:"]);
    place.write("image.yaml", MANIFEST.replace("EPYC-v4", "EPYC-v44"));
    place.refuses(&["audit", "image.yaml"], 30, &["EPYC-v44"]);
    place.write("image.yaml", b"\xff\xfe");
    place.refuses(&["audit", "image.yaml"], 30, &["not UTF-8"]);
    File::create(place.path("huge.yaml")).unwrap().set_len(1 << 40).unwrap();
    place.refuses(&["audit", "huge.yaml"], 30, &["larger than 1048576 bytes"]);
    place.refuses(&["audit", "/dev/zero"], 30, &["neither a directory nor a file"]);
    // And their locks.
    place.write("image.yaml", MANIFEST);
    place.write("image.lock.yaml", "version: 1\n");
    place.refuses(&["audit", "image.yaml"], 30, &["image.lock.yaml"]);
    File::create(place.path("image.lock.yaml")).unwrap().set_len(1 << 40).unwrap();
    place.refuses(&["audit", "image.yaml"], 30, &["image.lock.yaml` is larger than"]);
    fs::remove_file(place.path("image.lock.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.path("image.lock.yaml")).unwrap();
    place.refuses(&["audit", "image.yaml"], 30, &["image.lock.yaml` is larger than"]);
}

/// Names out of a manifest do not steer the terminal.
#[test]
fn what_is_printed_is_printable() {
    let place = Place::new();
    place.write("image.yaml", MANIFEST.replace("[/p]", "[/p, \"https://\\e[2Jx\"]"));
    let said = place.succeeds(&["audit", "image.yaml"]).stdout;
    assert!(said.contains("https://\u{fffd}[2Jx") && !said.contains('\x1b'), "{said}");
}

/// A copy of the example's release, to be changed.
fn copy(to: &Path) -> PathBuf {
    let to = to.join("release");
    place::copy(&real::release("hello"), &to);
    to
}

fn change(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{old}");
    fs::write(path, text.replacen(old, new, 1)).unwrap();
}

/// Writes the bill of materials anew, which is of all that stands beside it.
fn write_bill(release: &Path) {
    let read = |name: &str| fs::read(release.join(name)).unwrap();
    let (inventory, record) = (read(layout::INVENTORY), read(layout::RECORD));
    let parts = sbom::Parts {
        manifest: &Loaded::read(&release.join(layout::MANIFEST)).unwrap().manifest,
        lock: &Lock::read(&release.join(layout::LOCK)).unwrap().unwrap(),
        inventory: &serde_json::from_slice(&inventory).unwrap(),
        inventory_sha256: Sha256::of(inventory),
        record: &Record::from_json(&record).unwrap(),
        record_sha256: Sha256::of(record),
        igvm: None,
    };
    fs::write(release.join(layout::SBOM), sbom::write(&parts).unwrap()).unwrap();
}

/// Makes manifest and lock fit one another again, after the manifest was changed.
fn fit(release: &Path) {
    let old = Lock::read(&release.join(layout::LOCK)).unwrap().unwrap();
    let path = release.join(layout::MANIFEST);
    let manifest = Loaded::read(&path).unwrap().manifest;
    let lock = Lock { manifest: manifest.digest(), ..old };
    fs::write(release.join(layout::LOCK), lock.canonical()).unwrap();
    write_bill(release);
}

/// Puts another initrd into a release, and makes a record that holds for it.
fn replace_initrd(release: &Path, initrd: &[u8]) {
    fs::write(release.join(layout::INITRD), initrd).unwrap();
    let path = release.join(layout::RECORD);
    let record = Record::from_json(&fs::read(&path).unwrap()).unwrap();
    let boot = record.boot.clone().unwrap();
    let mut record =
        Record { boot: Some(Boot { initrd: Some(Blob::of(initrd)), ..boot }), ..record };
    let again = record.recompute().unwrap();
    record.digest_before_vcpus = record.launch().unwrap().digest_before_vcpus();
    record.digests = again.into_iter().map(Into::into).collect();
    fs::write(path, record.to_json().unwrap()).unwrap();
    write_bill(release);
}

/// A release whose parts are of several images must not be audited by the nicest of them.
#[test]
fn a_manifest_beside_another_image_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let release = copy(directory.path());
    assert_eq!(run(&release, &[]).code, 0);
    let manifest = release.join(layout::MANIFEST);

    // The lock is of another manifest.
    change(&manifest, "output: console", "output: discard");
    run(&release, &[]).is_refusal(10, &["sbom.cdx.json` is not of the manifest"]);
    // Even one that fits: PID 1 says what it does.
    fit(&release);
    run(&release, &[]).is_refusal(10, &["PID 1's plan is another"]);
    change(&manifest, "output: discard", "output: console");
    fit(&release);
    assert_eq!(run(&release, &[]).code, 0);

    // The policy is in no digest.
    let path = release.join(layout::RECORD);
    let record = Record::from_json(&fs::read(&path).unwrap()).unwrap();
    let debug = Record { policy: Policy(0xb0000), ..record.clone() };
    fs::write(&path, debug.to_json().unwrap()).unwrap();
    write_bill(&release);
    run(&release, &[]).is_refusal(10, &["its launch is another"]);
    fs::write(&path, record.to_json().unwrap()).unwrap();
    write_bill(&release);

    // An artifact that is not what was measured.
    let kernel = release.join(layout::KERNEL);
    let bytes = fs::read(&kernel).unwrap();
    fs::write(&kernel, [bytes.as_slice(), b"x"].concat()).unwrap();
    run(&release, &[]).is_refusal(10, &["image/kernel` is not what was measured"]);
    fs::write(&kernel, bytes).unwrap();

    fs::remove_file(release.join(layout::LOCK)).unwrap();
    run(&release, &[]).is_refusal(20, &["lock.yaml` is missing"]);
}

/// What is measured counts, also where the record holds and nobody would build it so.
#[test]
fn the_initrd_is_looked_into() {
    let directory = tempfile::tempdir().unwrap();
    let release = copy(directory.path());
    let initrd = fs::read(release.join(layout::INITRD)).unwrap();
    let at = |wanted: &[u8]| initrd.windows(wanted.len()).position(|it| it == wanted).unwrap();

    // One byte of PID 1 is another program.
    let mut changed = initrd.clone();
    changed[at(guest::INIT) + guest::INIT.len() - 1] ^= 1;
    replace_initrd(&release, &changed);
    assert_eq!(audited(&release, &[])["init-unknown"].0, "high");

    // Without the latch, as nobody builds it for a kernel that loads modules.
    let mut changed = initrd.clone();
    let (latch, comment) = ("latch-modules\n", "");
    let plan = at(latch.as_bytes());
    let header = initrd[..plan].windows(6).rposition(|it| it == b"070701").unwrap();
    let end = plan + initrd[plan..].windows(6).position(|it| it == b"070701").unwrap();
    let size = header + 6 + 6 * 8;
    let old =
        usize::from_str_radix(std::str::from_utf8(&initrd[size..size + 8]).unwrap(), 16).unwrap();
    let new = old - latch.len();
    let start = {
        let name = "etc/counterfoil/plan\0".len();
        header + (110 + name).next_multiple_of(4)
    };
    let text = std::str::from_utf8(&initrd[start..start + old]).unwrap().replace(latch, comment);
    let mut body = text.into_bytes();
    assert_eq!(body.len(), new);
    body.resize(new.next_multiple_of(4), 0);
    changed.splice(start..end, body);
    changed.splice(size..size + 8, format!("{new:08x}").into_bytes());
    replace_initrd(&release, &changed);
    let found = audited(&release, &[]);
    assert_eq!(
        found["modules-open"],
        ("medium".to_owned(), vec!["kernel, input `kernel`".to_owned()])
    );
    assert!(!found.contains_key("init-unknown"));

    // A second archive behind the first, which the kernel unpacks over it.
    replace_initrd(&release, &[initrd.as_slice(), initrd.as_slice()].concat());
    run(&release, &[]).is_refusal(10, &["image/initrd` cannot be audited", "out of order"]);
}
