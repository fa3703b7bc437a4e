//! `explain`: every single change and pairs of them are made on purpose, and must be found again.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

#[path = "launch/image.rs"]
#[allow(dead_code, reason = "the tests of the launch use the rest")]
mod image;
mod support;

use std::time::Instant;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::explain::{
    Candidates, Change, Cmdline, Explanation, Order, Stop, explain,
};
use counterfoil::launch::firmware::{Section, SectionKind};
use counterfoil::launch::measure::updates;
use counterfoil::launch::page::{Chain, PageType, Update};
use counterfoil::launch::profile::PROFILES;
use counterfoil::launch::record::{Blob, Boot, FirmwareRecord};
use counterfoil::launch::vmsa::BSP_EIP;
use counterfoil::launch::{Cpu, HashTable, Launch, Profile, Record, Set, SevFeatures, Signature};
use serde_json::Value;
use support::launch::{firmware, inputs, record};
use support::place::{Place, Ran};

/// All that a launch is made of, to be changed by a test.
#[derive(Clone)]
struct Made {
    profile: &'static str,
    firmware: FirmwareRecord,
    hashes: Option<HashTable>,
    vcpus: u32,
    signature: u32,
    features: u64,
}

impl Made {
    /// A launch that the record has.
    fn recorded() -> Self {
        let record = record();
        let hashes = Some(record.boot.as_ref().unwrap().hashes().unwrap());
        let firmware = record.firmware;
        Self { profile: "qemu", firmware, hashes, vcpus: 2, signature: 0xa0_0f11, features: 1 }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Sha384 {
        let mut made = Self::recorded();
        change(&mut made);
        made.digest()
    }

    fn digest(&self) -> Sha384 {
        let cpus = vec![Cpu::of(Signature(self.signature))];
        let set = Set::new(vec![self.vcpus], cpus, vec![SevFeatures(self.features)]).unwrap();
        self.launch().digests(&set).unwrap()[0].digest
    }

    fn launch(&self) -> Launch {
        let profile = Profile::by_id(self.profile).unwrap();
        let layout = self.firmware.layout().unwrap();
        Launch::new(profile, &layout, self.firmware.digest, self.hashes.as_ref()).unwrap()
    }

    /// What [`Launch`] computes, with the vCPUs' pages somewhere else.
    fn digest_at(&self, gpa: u64) -> Sha384 {
        let profile = Profile::by_id(self.profile).unwrap();
        let layout = self.firmware.layout().unwrap();
        let mut chain = Chain::from(self.firmware.digest);
        for update in updates(profile, &layout, self.hashes.as_ref()).unwrap() {
            chain.add(&update);
        }
        for index in 0..self.vcpus {
            let eip = if index == 0 { BSP_EIP } else { layout.reset_eip().unwrap() };
            let signature = Signature(self.signature);
            let page = profile.vcpu.page(eip, signature, SevFeatures(self.features));
            chain.add(&Update::hashed(PageType::Vmsa, gpa, &page));
        }
        chain.digest()
    }

    fn cmdline(&mut self, bytes: &str) {
        self.hashes.as_mut().unwrap().cmdline = Sha256::of(bytes);
    }

    fn order(&mut self, key: impl Fn(&Section) -> u32) {
        self.firmware.sections.sort_by_key(key);
    }
}

fn candidates() -> Candidates {
    Candidates {
        firmware: vec![("other.fd".into(), firmware(2))],
        kernels: vec![("vmlinuz".into(), Sha256::of("another kernel"))],
        initrds: vec![("initrd.img".into(), Sha256::of("another initrd"))],
        cmdlines: vec!["console=ttyS1".into()],
        signature: Some(Signature(0xb0_0f20)),
    }
}

#[track_caller]
fn finds(digest: Sha384, changes: &[Change]) -> Explanation {
    let found = explain(&record(), digest, &candidates()).unwrap();
    assert_eq!(found.recorded, None);
    let causes: Vec<_> = found.causes.iter().map(|cause| cause.changes.as_slice()).collect();
    assert_eq!(causes, [changes]);
    found
}

#[test]
fn what_is_recorded_needs_no_explanation() {
    let record = record();
    for (index, row) in record.digests.iter().enumerate() {
        let found = explain(&record, row.digest, &Candidates::default()).unwrap();
        assert_eq!((found.recorded, found.causes), (Some(index), vec![]));
    }
}

#[test]
fn one_change_of_vcpus() {
    for count in [3, 5, 64, 511, 512] {
        let found = finds(Made::with(|made| made.vcpus = count), &[Change::Vcpus(count)]);
        let vcpus = found.causes[0].vcpus.clone().unwrap();
        assert_eq!((vcpus.count, vcpus.cpu.label()), (count, "EPYC-Milan".into()));
    }
    // QEMU's models, processors, the one in the report, and some that nobody has seen.
    for signature in [0x83_0f10, 0xa1_0f10, 0xa1_0f11, 0xb0_0f20, 0xb5_0f02, 0xa0_0f1e] {
        let digest = Made::with(|made| made.signature = signature);
        finds(digest, &[Change::Cpu(Signature(signature))]);
    }
    for features in [0x0, 0x21, 0x3, 0x201, 0x1_0001, 0x21_0221, 0x8000_0000_0000_0001] {
        let digest = Made::with(|made| made.features = features);
        finds(digest, &[Change::Features(SevFeatures(features))]);
    }
    let gpa = 0xf_ffff_ffff_f000;
    finds(Made::recorded().digest_at(gpa), &[Change::VmsaAddress(gpa)]);
}

#[test]
fn one_change_of_profile() {
    for profile in PROFILES.iter().map(|profile| profile.id).filter(|id| *id != "qemu") {
        let digest = Made::with(|made| made.profile = profile);
        finds(digest, &[Change::Profile(profile)]);
    }
}

#[test]
fn one_change_of_what_is_booted() {
    finds(Made::with(|made| made.hashes = None), &[Change::KernelHashesOff]);
    let initrd = |made: &mut Made, bytes: &str| {
        made.hashes.as_mut().unwrap().initrd = Sha256::of(bytes);
    };
    finds(Made::with(|made| initrd(made, "")), &[Change::NoInitrd]);
    let (name, sha256) = ("initrd.img".into(), Sha256::of("another initrd"));
    let digest = Made::with(|made| initrd(made, "another initrd"));
    finds(digest, &[Change::Initrd { name, sha256 }]);
    let (name, sha256) = ("vmlinuz".into(), Sha256::of("another kernel"));
    let digest = Made::with(|made| made.hashes.as_mut().unwrap().kernel = sha256);
    finds(digest, &[Change::Kernel { name, sha256 }]);
    let (name, sha256) = ("other.fd".into(), Sha256([2; 32]));
    let digest = Made::with(|made| made.firmware = firmware(2));
    finds(digest, &[Change::Firmware { name, sha256 }]);
}

#[test]
fn one_change_of_the_command_line() {
    for (hashed, cmdline) in [
        ("\0", Cmdline::Empty),
        ("console=ttyS1\0", Cmdline::Given("console=ttyS1".into())),
        ("initrd=initrd console=ttyS0  quiet\0", Cmdline::InitrdPrefix),
        ("console=ttyS0  quiet initrd=initrd\0", Cmdline::InitrdSuffix),
        ("console=ttyS0  quiet\n", Cmdline::NewlineWithoutNul),
        ("", Cmdline::Nothing),
        ("\"console=ttyS0  quiet\"\0", Cmdline::Quoted),
        ("console=ttyS0  quiet \0", Cmdline::SpaceAfter),
        (" console=ttyS0  quiet\0", Cmdline::SpaceBefore),
        ("console=ttyS0 quiet\0", Cmdline::Squeezed),
        ("console=ttyS0  quiet\n\0", Cmdline::TrailingNewline),
        ("console=ttyS0  quiet", Cmdline::WithoutNul),
    ] {
        finds(Made::with(|made| made.cmdline(hashed)), &[Change::Cmdline(cmdline)]);
    }
    for (recorded, hashed, cmdline) in [
        (" a  b ", "a  b\0", Cmdline::Trimmed),
        ("initrd=initrd a", "a\0", Cmdline::WithoutInitrd),
        ("a initrd=initrd", "a\0", Cmdline::WithoutInitrd),
    ] {
        let mut inputs = inputs();
        inputs.boot.as_mut().unwrap().cmdline = recorded.into();
        let digest = Made::with(|made| made.cmdline(hashed));
        let found = explain(&Record::new(inputs).unwrap(), digest, &candidates()).unwrap();
        assert_eq!(found.causes.len(), 1);
        assert_eq!(found.causes[0].changes, [Change::Cmdline(cmdline)]);
    }
}

#[test]
fn one_change_of_order() {
    let is = |kind| move |section: &Section| u32::from(section.kind == kind);
    let (hashes, cpuid) = (is(SectionKind::KernelHashes), is(SectionKind::Cpuid));
    let digest = Made::with(|made| made.order(|section| 1 - hashes(section)));
    finds(digest, &[Change::Order(Order::HashesFirst)]);
    finds(Made::with(|made| made.order(hashes)), &[Change::Order(Order::HashesLast)]);
    finds(Made::with(|made| made.order(cpuid)), &[Change::Order(Order::CpuidLast)]);
    let digest = Made::with(|made| made.order(|section| section.gpa));
    finds(digest, &[Change::Order(Order::Address)]);
    // A profile that adds the CPUID page last, and a machine that does not.
    let mut inputs = inputs();
    inputs.profile = Profile::by_id("ec2").unwrap();
    let record = Record::new(inputs).unwrap();
    let mut made = Made { profile: "ec2", ..Made::recorded() };
    made.firmware.sections.retain(|section| section.kind != SectionKind::Cpuid);
    let all = firmware(1).sections;
    let layout = |sections| FirmwareRecord { sections, ..firmware(1) }.layout().unwrap();
    let profile = Profile { cpuid_last: false, ..*Profile::by_id("ec2").unwrap() };
    let mut chain = Chain::from(Sha384([1; 48]));
    for update in updates(&profile, &layout(all), made.hashes.as_ref()).unwrap() {
        chain.add(&update);
    }
    let page = profile.vcpu.page(BSP_EIP, Signature(0), SevFeatures(1));
    chain.add(&Update::hashed(PageType::Vmsa, counterfoil::launch::vmsa::VMSA_GPA, &page));
    let found = explain(&record, chain.digest(), &Candidates::default()).unwrap();
    assert_eq!(found.causes.len(), 1);
    assert_eq!(found.causes[0].changes, [Change::Order(Order::CpuidInPlace)]);
}

#[test]
fn digests_short_of_a_launch() {
    let made = Made::recorded();
    finds(made.firmware.digest, &[Change::Stop(Stop::Firmware)]);
    finds(record().digest_before_vcpus, &[Change::Stop(Stop::Vcpus)]);
    finds(Sha384::ZERO, &[Change::Stop(Stop::Zero)]);
    finds(Sha384::of([]), &[Change::Stop(Stop::Nothing)]);
    let (name, sha256) = ("other.fd".into(), Sha256([2; 32]));
    let other = Change::Firmware { name, sha256 };
    finds(Sha384([2; 48]), &[other, Change::Stop(Stop::Firmware)]);
}

#[test]
fn two_changes() {
    let cpu = |signature| Change::Cpu(Signature(signature));
    let features = |value| Change::Features(SevFeatures(value));
    // `-cpu host -smp 16`, also on a processor that is not known here.
    for signature in [0xa1_0f11, 0xb0_0f20, 0xb0_0f03] {
        let digest = Made::with(|made| (made.signature, made.vcpus) = (signature, 16));
        finds(digest, &[cpu(signature), Change::Vcpus(16)]);
    }
    let digest = Made::with(|made| (made.features, made.vcpus) = (0x21, 16));
    finds(digest, &[features(0x21), Change::Vcpus(16)]);
    let digest = Made::with(|made| (made.features, made.vcpus) = (0x4003, 500));
    finds(digest, &[features(0x4003), Change::Vcpus(500)]);
    let digest = Made::with(|made| (made.features, made.signature) = (0x221, 0xa1_0f10));
    finds(digest, &[cpu(0xa1_0f10), features(0x221)]);
    let digest = Made::with(|made| (made.hashes, made.vcpus) = (None, 8));
    finds(digest, &[Change::KernelHashesOff, Change::Vcpus(8)]);
    let digest = Made::with(|made| (made.profile, made.vcpus) = ("gce", 96));
    finds(digest, &[Change::Profile("gce"), Change::Vcpus(96)]);
    let digest = Made::with(|made| (made.profile, made.features) = ("qemu-legacy", 0x21));
    finds(digest, &[Change::Profile("qemu-legacy"), features(0x21)]);
    let digest = Made::with(|made| (made.profile, made.hashes) = ("ec2-2023", None));
    finds(digest, &[Change::KernelHashesOff, Change::Profile("ec2-2023")]);
    let (name, sha256) = ("other.fd".into(), Sha256([2; 32]));
    let other = Change::Firmware { name, sha256 };
    let digest = Made::with(|made| (made.firmware, made.signature) = (firmware(2), 0xb0_0f21));
    finds(digest, &[other.clone(), cpu(0xb0_0f21)]);
    let digest = Made::with(|made| {
        made.firmware = firmware(2);
        made.cmdline("console=ttyS0  quiet\n\0");
    });
    finds(digest, &[other, Change::Cmdline(Cmdline::TrailingNewline)]);
    let digest = Made::with(|made| {
        made.hashes.as_mut().unwrap().initrd = Sha256::of([]);
        made.cmdline("console=ttyS0  quiet\0");
        made.order(|section| u32::from(section.kind == SectionKind::KernelHashes));
    });
    finds(digest, &[Change::NoInitrd, Change::Order(Order::HashesLast)]);
    let digest = Made::with(|made| {
        made.cmdline("console=ttyS0  quiet ");
        made.cmdline("console=ttyS0  quiet \0");
        made.vcpus = 7;
    });
    finds(digest, &[Change::Cmdline(Cmdline::SpaceAfter), Change::Vcpus(7)]);
}

/// A record for machines that put no signature into RDX: all CPUs give one digest, and one is named.
#[test]
fn equal_launches_are_told_once() {
    let mut inputs = inputs();
    inputs.profile = Profile::by_id("ec2").unwrap();
    let record = Record::new(inputs).unwrap();
    let digest = Made::with(|made| (made.profile, made.vcpus) = ("ec2", 3));
    let found = explain(&record, digest, &Candidates::default()).unwrap();
    assert_eq!(found.causes.len(), 1);
    assert_eq!(found.causes[0].changes, [Change::Vcpus(3)]);
    let digest = Made::with(|made| (made.profile, made.signature) = ("qemu", 0xa1_0f11));
    let found = explain(&record, digest, &Candidates::default()).unwrap();
    assert_eq!(
        found.causes[0].changes,
        [Change::Profile("qemu"), Change::Cpu(Signature(0xa1_0f11))]
    );
}

/// Equally simple causes stand side by side: of two images with the same pages, either is one.
#[test]
fn equally_simple_causes_are_all_told() {
    let mut inputs = inputs();
    inputs.firmware.sections.swap(1, 3);
    inputs.firmware.sections.swap(2, 3);
    let record = Record::new(inputs).unwrap();
    // The profile's own order and this change of order are the same pages; the vCPUs tell them
    // apart, before the first vCPU nothing does.
    let launch =
        Made { profile: "ec2-2023", firmware: record.firmware.clone(), ..Made::recorded() };
    let before = launch.launch().digest_before_vcpus();
    let found = explain(&record, before, &Candidates::default()).unwrap();
    let causes: Vec<_> = found.causes.iter().map(|cause| cause.changes.clone()).collect();
    let stop = Change::Stop(Stop::Vcpus);
    let changes =
        [Change::Profile("ec2"), Change::Profile("ec2-2023"), Change::Order(Order::CpuidLast)];
    assert_eq!(causes, changes.map(|change| vec![change, stop.clone()]));
}

#[test]
fn firmware_without_a_reset_block_has_one_vcpu() {
    let mut inputs = inputs();
    inputs.firmware.reset_eip = None;
    inputs.set =
        Set::new(vec![1], inputs.set.cpus().to_vec(), inputs.set.features().to_vec()).unwrap();
    let record = Record::new(inputs).unwrap();
    let digest = Made::with(|made| {
        made.firmware.reset_eip = None;
        (made.vcpus, made.signature, made.features) = (1, 0xa1_0f10, 0x21);
    });
    let found = explain(&record, digest, &Candidates::default()).unwrap();
    let changes = [Change::Cpu(Signature(0xa1_0f10)), Change::Features(SevFeatures(0x21))];
    assert_eq!(found.causes[0].changes, changes);
    assert_eq!(found.causes.len(), 1);
}

#[test]
fn never_found() {
    let record = record();
    let started = Instant::now();
    let found = explain(&record, Sha384::of("nothing near"), &candidates()).unwrap();
    let (searched, took) = (found.searched, started.elapsed());
    eprintln!("{searched} launches in {took:?}, record of {}", record.digests.len());
    assert_eq!((found.recorded, found.causes.as_slice(), found.complete), (None, &[][..], true));
    assert!(searched > 100_000, "{searched}");
}

/// The search has an end, whatever the record.
#[test]
fn a_large_record_ends_the_search_early() {
    let mut inputs = inputs();
    let cpus: Vec<Cpu> = (0..64).map(|n| Cpu::of(Signature(0x100 + n))).collect();
    let features: Vec<SevFeatures> = (0..16).map(|n| SevFeatures(1 | n << 40)).collect();
    inputs.set = Set::new(vec![1, 64], cpus, features).unwrap();
    let record = Record::new(inputs).unwrap();
    let started = Instant::now();
    let found = explain(&record, Sha384::of("nothing near"), &Candidates::default()).unwrap();
    let (searched, took) = (found.searched, started.elapsed());
    eprintln!("{searched} launches in {took:?}, record of {}", record.digests.len());
    assert!(!found.complete && found.causes.is_empty());
}

#[test]
fn every_change_has_a_name_and_a_sentence_of_its_own() {
    let record = record();
    let digest = |change: fn(&mut Made)| Made::with(change);
    let found = [
        digest(|made| made.vcpus = 3),
        digest(|made| made.signature = 0xa1_0f11),
        digest(|made| made.features = 0x21),
        digest(|made| made.profile = "gce"),
        digest(|made| made.hashes = None),
    ];
    let says = found.map(|digest| {
        let found = explain(&record, digest, &candidates()).unwrap();
        let change = &found.causes[0].changes[0];
        for text in [change.sentence(&record), change.advice(&record)] {
            assert!(!text.ends_with('.') && !text.is_empty(), "{text}");
        }
        (change.code(), change.sentence(&record))
    });
    let expected = [
        ("vcpus", "the machine was launched with 3 vCPUs, not with 1, 2 or 4"),
        (
            "cpu",
            "the machine was launched with CPU signature 0xa10f11 (the signature of Genoa itself, \
             as by `-cpu host`), not with EPYC-v4 or EPYC-Milan",
        ),
        ("sev-features", "SEV_FEATURES was 0x21 (SNP_ACTIVE, DEBUG_SWAP), not 0x1"),
        ("profile", "the machine was launched the way of profile `gce`, not `qemu`"),
        (
            "kernel-hashes-off",
            "the machine was launched with kernel-hashes=off: kernel, initrd and command line are \
             not in its digest, and can be anything",
        ),
    ];
    assert_eq!(says, expected.map(|(code, text)| (code, text.to_owned())));
}

fn report(version: u32, measurement: Sha384, cpuid: [u8; 3]) -> Vec<u8> {
    let mut report = vec![0; 1184];
    report[..4].copy_from_slice(&version.to_le_bytes());
    report[0x90..0xc0].copy_from_slice(&measurement.0);
    report[0x188..0x18b].copy_from_slice(&cpuid);
    report
}

/// A place with the record in it, and what `explain` says there.
fn place() -> Place {
    let place = Place::new();
    place.write("launch.json", record().to_json().unwrap());
    place
}

fn run(place: &Place, digest: &str, more: &[&str]) -> Ran {
    place.run(&[&["explain", digest, "--record", "launch.json"], more].concat())
}

#[test]
fn the_command_accepts_only_what_is_recorded() {
    let place = place();
    let recorded = Made::recorded().digest();
    let ran = run(&place, &recorded.to_string(), &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let text = "the digest is in the record: 2 vCPUs, EPYC-Milan, SEV_FEATURES 0x1, profile qemu\n";
    assert_eq!(ran.stdout, text);
    assert_eq!(run(&place, &recorded.to_string().to_uppercase(), &[]).code, 0);
    place.write("report.bin", report(3, recorded, [0x19, 1, 1]));
    let ran = run(&place, "report.bin", &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, text));
    assert_eq!(
        ran.stderr,
        "note: the signature of the report was not checked: `counterfoil verify` does\n"
    );
    // A release is as good as its record.
    place.write("release/launch.json", record().to_json().unwrap());
    assert_eq!(place.run(&["explain", &recorded.to_string(), "release"]).code, 0);
}

/// The cause is on standard output, and the exit code is that of a rejection all the same.
#[test]
fn a_found_cause_is_still_a_rejection() {
    let place = place();
    let digest = Made::with(|made| (made.hashes, made.vcpus) = (None, 3));
    let ran = run(&place, &digest.to_string(), &[]);
    assert_eq!(ran.code, 10);
    assert_eq!(ran.stderr, format!("error: digest `{digest}` is not in the record\n"));
    for words in [
        "the digest is not in the record; these changes together give it:\n",
        "  the machine was launched with kernel-hashes=off",
        "  the machine was launched with 3 vCPUs, not with 1, 2 or 4\n",
        "    what to do: do not trust this machine",
        "    the launch: 3 vCPUs, EPYC-Milan, SEV_FEATURES 0x1, profile qemu\n",
        "this is a diagnosis, not a verification",
    ] {
        assert!(ran.stdout.contains(words), "`{words}` is not in: {}", ran.stdout);
    }

    let ran = run(&place, &digest.to_string(), &["--format", "json"]);
    assert_eq!(ran.code, 10);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["verdict"], "explained");
    assert_eq!(answer["digest"], digest.to_string());
    assert_eq!(answer["row"], Value::Null);
    assert_eq!(answer["complete"], true);
    let cause = &answer["causes"][0];
    assert_eq!(cause["changes"][0]["reason"], "kernel-hashes-off");
    assert_eq!(cause["changes"][0]["value"], Value::Null);
    assert_eq!(cause["changes"][1]["reason"], "vcpus");
    assert_eq!(cause["changes"][1]["value"], "3");
    assert_eq!(cause["launch"]["vcpus"], 3);
    assert_eq!(cause["launch"]["sev_features"], "0x1");
}

#[test]
fn what_is_not_found_is_said_with_what_to_check() {
    let place = place();
    let digest = Sha384::of("nothing near").to_string();
    let ran = run(&place, &digest, &[]);
    assert_eq!(ran.code, 10);
    for words in ["no launch near to it gives it", "check by hand", "`--firmware FILE`", "searched"]
    {
        assert!(ran.stdout.contains(words), "`{words}` is not in: {}", ran.stdout);
    }
    let answer: Value =
        serde_json::from_str(&run(&place, &digest, &["--format", "json"]).stdout).unwrap();
    assert_eq!(answer["verdict"], "unexplained");
    assert_eq!(answer["causes"], Value::Array(Vec::new()));
    assert!(answer["searched"].as_u64().unwrap() > 100_000);
    assert_eq!(answer["check_by_hand"].as_array().unwrap().len(), 5);
}

#[test]
fn files_that_may_have_been_used() {
    let place = place();
    place.write("vmlinuz", "another kernel");
    let digest =
        Made::with(|made| made.hashes.as_mut().unwrap().kernel = Sha256::of("another kernel"));
    let ran = run(&place, &digest.to_string(), &["--kernel", "vmlinuz"]);
    assert!(ran.stdout.contains("the kernel was `vmlinuz`, not the recorded one"), "{ran:?}");
    assert_eq!(ran.code, 10);
    let digest = Made::with(|made| made.cmdline("-x y\0"));
    let ran = run(&place, &digest.to_string(), &["--append", "-x y"]);
    assert!(ran.stdout.contains("the command line was `-x y`"), "{ran:?}");
    place.write("bad.fd", vec![0; 4096]);
    let ran = run(&place, &digest.to_string(), &["--firmware", "bad.fd"]);
    ran.is_refusal(30, &["bad.fd"]);
}

/// Whoever has no record has the files, and the flags of the host's command line.
#[test]
fn files_in_place_of_a_record() {
    let place = Place::new();
    let image = image::Image::amdsev().bytes();
    place.write("ovmf.fd", &image);
    place.write("vmlinuz", "kernel");
    place.write("initrd", "initrd");
    let files =
        ["--firmware", "ovmf.fd", "--kernel", "vmlinuz", "--initrd", "initrd", "--append", "x=1"];
    let boot = Boot {
        kernel: Blob::of(b"kernel"),
        initrd: Some(Blob::of(b"initrd")),
        cmdline: "x=1".to_owned(),
    };
    let firmware = FirmwareRecord::of(&image).unwrap();
    let made = |profile: &'static str, vcpus| Made {
        profile,
        vcpus,
        signature: Cpu::named("EPYC-v4").unwrap().signature.0,
        firmware: firmware.clone(),
        hashes: Some(boot.hashes().unwrap()),
        ..Made::recorded()
    };
    let run = |digest: Sha384, more: &[&str]| {
        place.run(&[&["explain", &digest.to_string()], &files[..], more].concat())
    };
    let ran = run(made("qemu", 1).digest(), &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("the digest is in what these files give: 1 vCPUs, EPYC-v4"));
    let ran = run(made("gce", 6).digest(), &["--vcpus", "2"]);
    assert_eq!(ran.code, 10);
    assert!(ran.stdout.contains("6 vCPUs, not with 2") && ran.stdout.contains("`gce`"), "{ran:?}");
    // A second file of a kind is a candidate.
    place.write("other", "other");
    let digest = Made {
        hashes: Some(Boot { kernel: Blob::of(b"other"), ..boot.clone() }.hashes().unwrap()),
        ..made("qemu", 1)
    };
    let ran = run(digest.digest(), &["--kernel", "other"]);
    assert!(ran.stdout.contains("the kernel was `other`"), "{ran:?}");
    let digest = "0".repeat(96);
    place.refuses(
        &["explain", &digest, "--firmware", "ovmf.fd", "--append", "x"],
        2,
        &["--kernel"],
    );
    place.write("launch.json", record().to_json().unwrap());
    let record = ["explain", &digest, "--record", "launch.json", "--vcpus", "2"];
    place.refuses(&record, 2, &["go with files alone"]);
}

#[test]
fn what_is_no_digest_is_refused() {
    let place = place();
    place.write("short", vec![2; 48]);
    let record = ["--record", "launch.json"];
    let refuses = |digest: &str, code, words: &[&str]| {
        place.refuses(&[&["explain", digest], &record[..]].concat(), code, words);
    };
    refuses("abcdef", 2, &["cannot have 6 digits"]);
    refuses(&"0".repeat(97), 2, &["cannot have 97 digits"]);
    refuses("absent.bin", 1, &["absent.bin", "96 hex digits"]);
    refuses("short", 30, &["short", "48 bytes", "no report"]);
    let digest = "0".repeat(96);
    place.refuses(&["explain", &digest, "--record", "short"], 30, &["short"]);
    assert_eq!(place.run(&["explain", &digest]).code, 2);
    assert_eq!(place.run(&["explain", &digest, "release", "--record", "launch.json"]).code, 2);
    assert!(place.succeeds(&["explain", "--help"]).stdout.contains("Examples:"));
}
