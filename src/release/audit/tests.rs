//! The audit, without files: each code by what provokes it, and its absence without.

use std::collections::BTreeMap;

use super::evidence::Pid1;
use super::*;
use crate::digest::Sha256;
use crate::guest;
use crate::launch::direct_boot::{Evidence as Place, NamedBlobs, REFUSES_UNNAMED};
use crate::launch::findings::{self, State};
use crate::launch::record::Disclosure;
use crate::manifest::load::Loaded;
use crate::yaml::Document;

/// Nothing of it but what every image has.
const QUIET: &str = "
version: 1
name: quiet
inputs:
  hello: {builtin: hello}
  room: {deb: {suite: trixie, packages: [gcc-14]}}
  edk2: {source: {suite: trixie, package: edk2}}
  firmware: {build: {room: [room], files: {/build/orig: {from: edk2, source: /orig.tar.xz}}, run: [/bin/sh]}}
firmware: {from: firmware, path: /OVMF.fd, named-blobs: deny}
kernel: {from: firmware, image: /bzImage}
cmdline: panic=-1
files:
  - {path: /hello, from: hello, mode: \"0755\"}
init:
  exec: [/hello]
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4], features: [0x9], policy: 0x3d20000}
";

fn manifest(text: &str) -> Manifest {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.yaml");
    std::fs::write(&path, text).unwrap();
    Loaded::read(&path).unwrap().manifest
}

/// A lock that fits, as YAML.
fn lock_text(manifest: &Manifest) -> String {
    let zero = "0".repeat(64);
    let object = format!("{{sha256: {zero}, size: 1}}");
    let hello = Sha256::of(guest::HELLO);
    let hello = format!("{{sha256: {hello}, size: {}}}", guest::HELLO.len());
    let mut text = format!(
        "version: 1\nmanifest: {}\nbuiltin: {{init: {object}, hello: {hello}}}\narchives:\n  trixie: {{origin: \
         Debian, suite: stable, codename: trixie, date: 2026-01-01T00:00:00Z, sha256: {zero}, signed-by: [A]}}\n\
         sources:\n",
        manifest.digest()
    );
    for (name, source) in &manifest.inputs {
        text += &format!("  {name}: {}\n", source.digest());
    }
    text + &format!(
        "inputs:\n  hello: {{builtin: hello}}\n  room: {{deb: [{{package: gcc-14, version: '1', architecture: amd64, \
         suite: trixie, path: pool/gcc, sha256: {zero}, size: 1, data: {object}}}]}}\n  edk2: {{source: \
         {{package: edk2, version: '1', suite: trixie, parts: {{}}}}}}\n  firmware: {{build: {{recipe: {zero}, \
         result: {object}}}}}\n"
    )
}

fn lock(text: &str) -> Lock {
    Document { name: "lock", text }.parse().unwrap()
}

fn place() -> Place {
    Place { module: REFUSES_UNNAMED, name: None, sha256: Sha256::of(""), offset: 0 }
}

/// What a release of the quiet manifest is.
fn evidence() -> Evidence {
    Evidence {
        named_blobs: Some(NamedBlobs::NotRead),
        firmware: Vec::new(),
        pid1: Pid1::Known { latches: true, loads: true },
        agent_unknown: false,
        set_id: Vec::new(),
        volumes: BTreeMap::new(),
        unmeasured: Vec::new(),
        kernel: "6.12.0".to_owned(),
    }
}

/// Codes and subjects of a manifest with the lock that fits, and of its release if there is evidence.
fn found(
    text: &str,
    evidence: Option<&Evidence>,
    config: Option<&Config>,
) -> BTreeMap<&'static str, Vec<String>> {
    let manifest = manifest(text);
    // An input that is another one needs no lock here: only its provenance is looked at.
    let lock = lock(&lock_text(&manifest));
    let subject = Subject { manifest: &manifest, lock: LockState::Fits(&lock), evidence, config };
    let findings = audit(&subject);
    assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.rule.severity)));
    findings.into_iter().map(|finding| (finding.rule.code, finding.subjects)).collect()
}

fn closed() -> Config {
    Config::parse("CONFIG_64BIT=y\n").unwrap()
}

/// What every release has, with a kernel whose configuration is known.
const ALWAYS: [&str; 11] = [
    "acpi-tables",
    "cpuid",
    "devices",
    "disks",
    "input-vendor-build",
    "memory-size",
    "network",
    "policy",
    "smbios",
    "time",
    "vcpu-scheduling",
];

#[test]
fn a_quiet_image_has_nothing_but_what_every_image_has() {
    let found = found(QUIET, Some(&evidence()), Some(&closed()));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), ALWAYS);
    assert_eq!(found["policy"], ["0x3d20000"]);
    assert_eq!(found["input-vendor-build"], ["input `room` (tools to compile with)"]);
}

#[test]
fn codes_are_told_apart_and_say_something() {
    let rules = rules();
    let mut codes: Vec<_> = rules.iter().map(|rule| rule.code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), rules.len());
    for rule in &rules {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(rule.code.chars().all(plain), "{}", rule.code);
        assert!(Severity::ALL.iter().all(|it| it.name() != rule.code), "{}", rule.code);
        for text in [rule.means, rule.remedy] {
            assert!(text.len() > 15 && !text.ends_with('.') && !text.contains("  "), "{text}");
        }
    }
}

/// Each change of the manifest has one finding more than the quiet image, about this.
#[test]
fn what_a_manifest_says_is_found() {
    let changes: &[(&str, &str, &str, &str)] = &[
        ("policy: 0x3d20000", "policy: 0x3da0000", "policy-debug", "0x3da0000: DEBUG"),
        ("policy: 0x3d20000", "policy: 0x3d60000", "policy-migrate", "MIGRATE_MA"),
        ("policy: 0x3d20000", "policy: 0x3d30000", "policy-smt", "SMT"),
        ("policy: 0x3d20000", "policy: 0x3f20000", "policy-cxl", "CXL_ALLOW"),
        ("policy: 0x3d20000", "policy: 0x7d20000", "policy-reserved", "0x7d20000"),
        ("policy: 0x3d20000", "policy: 0x2d20000", "policy-protections", "CIPHERTEXT_HIDING"),
        ("features: [0x9]", "features: [0x1]", "interrupt-injection", "launch.features 0x1"),
        ("features: [0x9]", "features: [0x9], igvm: {vcpus: 1}", "interrupt-injection", "igvm"),
        ("named-blobs: deny", "named-blobs: warn", "named-blobs-allowed", "firmware"),
        ("panic=-1", "console=ttyS0", "console-kernel", "console=ttyS0"),
        ("panic=-1", "kgdboc=ttyS0", "cmdline-host-control", "kgdboc=ttyS0"),
        ("panic=-1", "mitigations=off", "cmdline-weakens", "mitigations=off"),
        ("panic=-1", "frobnicate", "cmdline-unknown", "frobnicate"),
        ("panic=-1", "sysctl.kernel.sysrq=1", "sysctl-weakens", "kernel.sysrq=1"),
        (
            "[/hello]",
            "[/hello]\n  sysctl: {kernel.randomize_va_space: '0'}",
            "sysctl-weakens",
            "=0",
        ),
        ("[/hello]", "[/hello]\n  user: '0:0'", "root-user", "init.user: 0:0"),
        ("[/hello]", "[/hello]\n  output: console", "console-output", "init.output"),
        ("[/hello]", "[/hello]\n  on-exit: restart", "on-exit-restart", "init.on-exit"),
        ("[/hello]", "[/hello, 'http://a/b']", "runtime-fetch", "init.exec: http://a/b"),
        (
            "[/hello]",
            "[/hello]\n  env: {HUB: 'http://a'}",
            "runtime-fetch",
            "init.env: HUB=http://a",
        ),
        ("init:", "scratch: {work: {mount: /work}}\ninit:", "scratch-disk", "`work`"),
        (
            "init:",
            "volumes: {cache: {mount: /cache, disclosure: none}}\ninit:",
            "unverified-volumes",
            "volume `cache`",
        ),
    ];
    for (old, new, code, subject) in changes {
        assert!(QUIET.contains(old), "{old}");
        let found = found(&QUIET.replace(old, new), Some(&evidence()), Some(&closed()));
        let more: Vec<_> = found.keys().filter(|code| !ALWAYS.contains(code)).collect();
        assert_eq!(more, [code], "{new}");
        assert!(found[code].iter().any(|it| it.contains(subject)), "{new}: {:?}", found[code]);
    }
}

#[test]
fn a_network_is_found_with_its_ports() {
    let dhcp = QUIET.replace("[/hello]", "[/hello]\n  network: dhcp") + "run: {ports: [8080]}\n";
    let got = found(&dhcp, Some(&evidence()), Some(&closed()));
    assert_eq!(got["network-listener"], ["init.network: dhcp", "port 8080"]);
    let asked = dhcp.clone() + "evidence: {http: 8001, vsock: 8002}\n";
    assert_eq!(
        found(&asked, None, None)["evidence-port"],
        ["evidence.http: 8001", "evidence.vsock: 8002"]
    );
    let socket_only = dhcp.clone() + "evidence: {}\n";
    assert!(!found(&socket_only, None, None).contains_key("evidence-port"));
    assert!(
        got.contains_key("network-configuration") && !got.contains_key("ipv6-autoconfiguration")
    );
    // What the kernel has is not known, so that IPv6 must be taken to be there, until it is turned off.
    let has =
        |text: &str| found(text, Some(&evidence()), None).contains_key("ipv6-autoconfiguration");
    assert!(has(&dhcp));
    assert!(!has(&dhcp.replace("panic=-1", "ipv6.disable=1")));
    let sysctl = "dhcp\n  sysctl: {net.ipv6.conf.all.disable_ipv6: 'X'}";
    assert!(!has(&dhcp.replace("dhcp", &sysctl.replace('X', "1"))));
    assert!(has(&dhcp.replace("dhcp", &sysctl.replace('X', "0"))));
}

#[test]
fn where_inputs_come_from_is_found() {
    let weights = |source: &str| {
        let text = QUIET.replace("  hello:", &format!("  weights: {{{source}}}\n  hello:"));
        text.replace("files:\n", "files:\n  - {path: /w, from: weights}\n")
    };
    let of = |source: &str| {
        let found = found(&weights(source), None, None);
        ["input-not-rebuildable", "input-local-file", "input-vendor-build"]
            .map(|code| found.get(code).is_some_and(|it| it.iter().any(|s| s.contains("weights"))))
    };
    let digest = "1".repeat(64);
    assert_eq!(of("file: w"), [true, true, false]);
    assert_eq!(of("dir: w"), [true, true, false]);
    assert_eq!(of(&format!("url: {{url: 'https://a/w', sha256: {digest}}}")), [true, false, false]);
    assert_eq!(of(&format!("url: {{url: 'file:///w', sha256: {digest}}}")), [true, true, false]);
    assert_eq!(of("tar: {file: w}"), [true, true, false]);
    assert_eq!(of("deb: {suite: trixie, packages: [ww]}"), [false, false, true]);
    assert_eq!(of("source: {suite: trixie, package: ww}"), [false, false, false]);
}

#[test]
fn what_is_not_pinned_is_found() {
    let manifest = manifest(QUIET);
    let right = lock_text(&manifest);
    let with = |state: LockState<'_>, code: &str| {
        let subject = Subject { manifest: &manifest, lock: state, evidence: None, config: None };
        let findings = audit(&subject);
        let finding = findings.into_iter().find(|finding| finding.rule.code == code);
        finding.map(|finding| finding.subjects.join(", ")).unwrap_or_default()
    };
    assert_eq!(with(LockState::Fits(&lock(&right)), "input-unlocked"), "");
    let missing = with(LockState::Missing, "input-unlocked");
    assert!(missing.contains("`room`") && missing.ends_with("PID 1"), "{missing}");
    let other = with(LockState::OfAnother(&lock(&right)), "input-unlocked");
    assert_eq!(other, "the lock is of another manifest");
    // One that was another when it was locked, and one that was locked as another kind.
    let source = &manifest.inputs[&"room".parse().unwrap()];
    let changed = right.replace(&source.digest().to_string(), &"2".repeat(64));
    assert_eq!(with(LockState::Fits(&lock(&changed)), "input-unlocked"), "input `room`");
    let zero = "0".repeat(64);
    let build = format!("{{build: {{recipe: {zero}, result: {{sha256: {zero}, size: 1}}}}}}");
    let file = right.replace(&build, &format!("{{file: {{sha256: {zero}, size: 1}}}}"));
    assert_eq!(with(LockState::Fits(&lock(&file)), "input-unlocked"), "input `firmware`");
    // Archives.
    let code = "input-expired-archive";
    assert_eq!(with(LockState::Fits(&lock(&right)), code), "");
    let expired = right.replace("signed-by", "expired: true, signed-by");
    assert!(with(LockState::Fits(&lock(&expired)), code).contains("`trixie` of 2026"));
    let code = "input-unsigned-archive";
    assert_eq!(with(LockState::Fits(&lock(&right)), code), "");
    let unsigned = right.replace("signed-by: [A]", "signed-by: []");
    assert!(with(LockState::Fits(&lock(&unsigned)), code).contains("`trixie`"));
    let nowhere = right.replace("  trixie: {origin", "  sid: {origin");
    assert_eq!(with(LockState::Fits(&lock(&nowhere)), code), "input `edk2`, input `room`");
}

#[test]
fn what_a_release_is_is_found() {
    let (quiet, config) = (evidence(), closed());
    let more = |evidence: &Evidence, config: Option<&Config>| {
        let found = found(QUIET, Some(evidence), config);
        let more = found.into_iter().filter(|(code, _)| !ALWAYS.contains(code));
        more.map(|(code, subjects)| format!("{code}: {}", subjects.join(", "))).collect::<Vec<_>>()
    };
    let known = Some(&config);
    let blobs = |state| more(&Evidence { named_blobs: state, ..quiet.clone() }, known);
    let run = NamedBlobs::Run { read_by: place(), started_by: place() };
    assert_eq!(blobs(Some(run)), ["fw-cfg-blobs: firmware, input `firmware`"]);
    let unused = NamedBlobs::Unused { read_by: place() };
    assert_eq!(blobs(Some(unused)), ["fw-cfg-blobs-unused: firmware, input `firmware`"]);
    // This firmware is compiled from source, so that its marks are no mere words.
    assert_eq!(blobs(Some(NamedBlobs::Refused { by: place() })), [""; 0]);
    assert_eq!(blobs(None), ["firmware-not-visible: fw-cfg-blobs"]);
    for (state, code) in [
        (State::Open { found: vec![place()] }, "s3-resume: firmware, input `firmware`"),
        (State::NotVisible, "firmware-not-visible: s3-resume"),
    ] {
        let finding = findings::Finding { rule: &findings::S3_RESUME, state };
        let evidence = Evidence { firmware: vec![finding], ..quiet.clone() };
        assert_eq!(more(&evidence, known), [code]);
    }
    let evidence = Evidence { set_id: vec!["bin/su".to_owned()], ..quiet.clone() };
    assert_eq!(more(&evidence, known), ["set-uid-files: /bin/su"]);
    let unmeasured = vec!["network".to_owned(), "moonlight".to_owned()];
    let evidence = Evidence { unmeasured, ..quiet.clone() };
    assert_eq!(more(&evidence, known), ["unmeasured-other: moonlight"]);
    // Of an image that has an agent.
    let asking = format!("{QUIET}evidence: {{}}\n");
    let evidence = Evidence { agent_unknown: true, ..quiet.clone() };
    let agent = found(&asking, Some(&evidence), known);
    assert_eq!(agent["evidence-unknown"], ["the evidence agent"]);
    assert!(!found(&asking, Some(&quiet), known).contains_key("evidence-unknown"));
    let evidence = Evidence { pid1: Pid1::Unknown, ..quiet.clone() };
    assert_eq!(more(&evidence, known), ["init-unknown: PID 1"]);
    // What latches is closed whatever the kernel; what does not, with a kernel without modules.
    let modules = Config::parse("CONFIG_MODULES=y\n").unwrap();
    let pid1 = |latches, loads| Evidence { pid1: Pid1::Known { latches, loads }, ..quiet.clone() };
    let unknown = "kernel-config-unknown: kernel, input `firmware`";
    assert_eq!(more(&pid1(true, true), None), [unknown]);
    assert_eq!(more(&pid1(false, false), known), [""; 0]);
    let whether = format!("{unknown}, whether the kernel can load modules");
    assert_eq!(more(&pid1(false, false), None), [whether.as_str()]);
    let open = "modules-open: kernel, input `firmware`";
    assert_eq!(more(&pid1(false, true), None), [unknown, open]);
    let offers = "kernel-modules: CONFIG_MODULES";
    assert_eq!(more(&pid1(false, false), Some(&modules)), [offers, open]);
}

#[test]
fn a_mark_in_firmware_of_others_is_a_word() {
    let text = QUIET
        .replace("firmware: {from: firmware", "firmware: {from: prebuilt")
        .replace("  hello: {", "  prebuilt: {deb: {suite: trixie, packages: [ovmf]}}\n  hello: {");
    let finding =
        findings::Finding { rule: &findings::OPTION_ROMS, state: State::Marked { by: place() } };
    let named_blobs = Some(NamedBlobs::Refused { by: place() });
    let evidence = Evidence { named_blobs, firmware: vec![finding], ..evidence() };
    let found = found(&text, Some(&evidence), Some(&closed()));
    assert_eq!(found["firmware-mark"], ["fw-cfg-blobs", "option-roms"]);
}

#[test]
fn a_volume_is_as_its_record_tells() {
    let text = QUIET
        .replace("  hello: {", "  record: {file: record.json}\n  hello: {")
        .replace("init:", "volumes: {weights: {mount: /weights, record: record}}\ninit:");
    let with = |disclosure| Evidence {
        volumes: BTreeMap::from([("weights".to_owned(), disclosure)]),
        ..evidence()
    };
    let has = |evidence: Option<&Evidence>, code: &str| {
        found(&text, evidence, None).get(code).is_some_and(|it| it.join(" ").contains("weights"))
    };
    assert!(has(Some(&with(Disclosure::Committed)), "committed-volume"));
    assert!(!has(Some(&with(Disclosure::Public)), "committed-volume"));
    assert!(has(Some(&with(Disclosure::Public)), "volume-made-before"));
    assert!(!has(Some(&with(Disclosure::Committed)), "volume-made-before"));
    assert!(has(None, "volume-made-before") && has(None, "not-built"));
    // A record is no part of the image.
    assert!(!found(&text, None, None).contains_key("input-not-rebuildable"));
}

#[test]
fn denied_is_what_was_said() {
    let finding = |code: &str| {
        let rule = rules().into_iter().find(|rule| rule.code == code).unwrap();
        Finding { rule, subjects: vec!["it".to_owned()] }
    };
    let refuses = |words: &[&str], code: &str| {
        Deny::parse(words.iter().copied()).unwrap().refuses(&finding(code))
    };
    assert!(refuses(&["root-user"], "root-user") && !refuses(&["root-user"], "policy-debug"));
    assert!(refuses(&["high"], "policy-debug") && refuses(&["high"], "policy-migrate"));
    assert!(!refuses(&["high"], "root-user") && refuses(&["critical", "medium"], "root-user"));
    assert!(refuses(&["info"], "time") && !refuses(&[], "policy-debug"));
    let unknown = Deny::parse(["root-user", "rootuser"]).unwrap_err();
    assert_eq!(unknown.to_string(), "no finding has the code `rootuser`");
    assert!(Deny::parse([""]).is_err());
}
