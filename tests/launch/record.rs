//! The launch record: complete, canonical, and strict.

use std::collections::BTreeMap;

use counterfoil::digest::Sha256;
use counterfoil::launch::features::Policy;
use counterfoil::launch::record::{
    Blob, Boot, Disclosure, FirmwareRecord, Inputs, RecordError, VERSION, Volume,
};
use counterfoil::launch::{Cpu, Profile, Record, Set, SevFeatures, Signature};

use crate::image::{Image, driver, guid, utf16, volume};
use crate::oracle;

/// With the SHA-256 of `root`.
const CMDLINE: &str = "console=ttyS0 \"quoted\" \u{e9} \
     model=4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2";

/// An image with a verifier in it.
pub(crate) fn image() -> Image {
    let mut body = Vec::new();
    for name in ["kernel", "initrd", "cmdline"] {
        body.extend(utf16(name));
    }
    for entry in [
        "97d02dd8-bd20-4c94-aa78-e7714d36ab2a",
        "44baf731-3a2f-4bd7-9af1-41e29169781d",
        "4de79437-abd2-427f-b835-d5b172d2045b",
    ] {
        body.extend(guid(entry).bytes());
    }
    let mut image = Image::amdsev();
    image.volumes = volume(&[driver("806040ca-dad9-4978-a3b4-2d2ab0c8a48f", "Loader", &body)]);
    image
}

fn inputs(image: &[u8]) -> Inputs {
    let cpus = vec![Cpu::named("EPYC-Milan").unwrap(), Cpu::of(Signature(0xa1_0f10))];
    Inputs {
        profile: Profile::by_id("qemu").unwrap(),
        policy: Policy::QEMU_DEFAULT,
        firmware: FirmwareRecord::of(image).unwrap(),
        boot: Some(Boot {
            kernel: Blob::of(b"kernel"),
            initrd: Some(Blob::of(b"initrd")),
            cmdline: CMDLINE.to_owned(),
        }),
        volumes: vec![Volume {
            name: "model".to_owned(),
            root_hash: Some(Sha256::of("root")),
            disclosure: Disclosure::Committed,
        }],
        set: Set::new(vec![4, 1, 2], cpus, vec![SevFeatures(1)]).unwrap(),
        writers: BTreeMap::from([("cpio".to_owned(), "cpio/1".to_owned())]),
    }
}

pub(crate) fn record() -> Record {
    Record::new(inputs(&image().bytes())).unwrap()
}

fn changed(from: &str, to: &str) -> RecordError {
    let json = String::from_utf8(record().to_json().unwrap()).unwrap();
    assert!(json.contains(from), "{from} is not in the record");
    Record::from_json(json.replacen(from, to, 1).as_bytes()).unwrap_err()
}

#[test]
fn round_trip() {
    let record = record();
    let json = record.to_json().unwrap();
    assert_eq!(Record::from_json(&json).unwrap(), record);
    assert_eq!(json.last(), Some(&b'\n'));
    assert_eq!(record.version, VERSION);
    assert_eq!(record.digests.len(), 6);
    assert_eq!(record.writers["launch"], "launch/1");
}

/// The form of the file, byte for byte. A change here is a change of the version.
#[test]
fn golden() {
    let mut record = record();
    record.tool = "counterfoil 0.0.0".to_owned();
    let golden = include_str!("../golden/launch/record.json");
    assert_eq!(String::from_utf8(record.to_json().unwrap()).unwrap(), golden);
}

#[test]
fn holds_without_the_files() {
    let (record, image) = (record(), image().bytes());
    let blobs: oracle::Blobs<'_> = Some((b"kernel", Some(b"initrd"), CMDLINE));
    let milan = Cpu::named("EPYC-Milan").unwrap();
    let set = Set::new(vec![16], vec![milan.clone()], vec![SevFeatures(0x21)]).unwrap();
    let direct = oracle::launch("qemu", &image, blobs).digests(&set).unwrap()[0].digest;
    assert_eq!(record.digest(16, milan, SevFeatures(0x21)).unwrap(), direct);
    let (gpa, table) = record.hash_table().unwrap().unwrap();
    let (page_gpa, page) = record.hash_page().unwrap().unwrap();
    assert_eq!((gpa, page_gpa), (0x81_0c00, 0x81_0000));
    assert_eq!(page[0xc00..0xc00 + 176], table);
    let recomputed = record.recompute().unwrap();
    let recorded: Vec<_> = record.digests.iter().map(|digest| digest.digest).collect();
    assert_eq!(recomputed.iter().map(|digest| digest.digest).collect::<Vec<_>>(), recorded);
}

#[test]
fn direct_boot_needs_a_verifier() {
    let mut generic = image();
    generic.volumes = volume(&[driver("806040ca-dad9-4978-a3b4-2d2ab0c8a48f", "Loader", b"none")]);
    let error = Record::new(inputs(&generic.bytes())).unwrap_err();
    assert!(matches!(error, RecordError::NoVerifier(_)), "{error}");
    let bare = Image::amdsev().bytes();
    assert!(matches!(Record::new(inputs(&bare)).unwrap_err(), RecordError::NotExamined));
    let mut without_kernel = inputs(&bare);
    without_kernel.boot = None;
    without_kernel.volumes.clear();
    let record = Record::new(without_kernel).unwrap();
    assert_eq!(record.unmeasured[0].what, "boot");
    assert_eq!(record.hash_table().unwrap(), None);
    // Nor can the finding be taken out afterwards.
    let json = String::from_utf8(self::record().to_json().unwrap()).unwrap();
    let start = json.find("\"direct_boot\": {").unwrap();
    let end = start + json[start..].find("\n    }").unwrap() + "\n    }".len();
    let json = format!("{}\"direct_boot\": null{}", &json[..start], &json[end..]);
    let error = Record::from_json(json.as_bytes()).unwrap_err();
    assert!(matches!(error, RecordError::NotExamined), "{error}");
}

#[test]
fn only_one_spelling() {
    let of = |from: &str, to: &str| matches!(changed(from, to), RecordError::NotCanonical { .. });
    assert!(of("\n}\n", "\n}"), "no newline at the end");
    assert!(of("\"vcpus\": [", "\"vcpus\":  ["), "another space");
    assert!(
        of("\"cpio\": \"cpio/1\",", "\"cpio\": \"cpio/2\",\n    \"cpio\": \"cpio/1\","),
        "twice"
    );
    assert!(
        of("0xa10f10", "0xA10f10")
            || matches!(changed("0xa10f10", "0xA10f10"), RecordError::Json(_))
    );
    // Values that say the same as others.
    assert!(of("[\n    1,\n    2,", "[\n    2,\n    1,"), "another order");
    assert!(of("\"reset_eip\": \"0x80b004\"", "\"reset_eip\": \"0x0\""), "zero is none");
    assert!(of("\"gpa\": \"0x810c00\"", "\"gpa\": \"0x0\""), "zero is none");
    let said = changed("\n}\n", "\n}").to_string();
    assert!(said.contains("`build` wrote") && said.contains("get the record again"), "{said}");
    for (from, to) in [
        ("\"0x30000\"", "\"0x030000\""),
        ("\"0x30000\"", "\"+0x30000\""),
        ("\"0x30000\"", "196608"),
        ("\"sec-mem\"", "\"tdx-mem\""),
        ("\"policy\"", "\"polizei\""),
        ("\"volumes\": [", "\"extra\": 1,\n  \"volumes\": ["),
        ("\"version\": 1,", "\"version\": 1,\n  \"version\": 1,"),
    ] {
        assert!(matches!(changed(from, to), RecordError::Json(_)), "{to}");
    }
}

#[test]
fn later_records_are_named_as_such() {
    let error = changed("\"version\": 1,", "\"version\": 2,");
    assert!(matches!(error, RecordError::Version { found: 2, .. }), "{error}");
    let error = changed("\"launch\": \"launch/1\"", "\"launch\": \"launch/2\"");
    assert!(matches!(error, RecordError::Epoch { .. }), "{error}");
    let error = changed("\"profile\": \"qemu\"", "\"profile\": \"bochs\"");
    assert!(matches!(error, RecordError::Profile(_)), "{error}");
}

#[test]
fn what_does_not_hold_is_not_read() {
    let record = record();
    let digest = |index: usize| record.digests[index].digest.to_string();
    let error = changed(&digest(1), &digest(0));
    assert!(error.to_string().starts_with("digest for 1 vCPUs, 0xa10f10, 0x1 is recorded as"));
    let before = record.digest_before_vcpus.to_string();
    assert!(matches!(changed(&before, &digest(0)), RecordError::Digest { .. }));
    for (from, to) in [
        ("console=ttyS0", "console=ttyS1"),
        ("\"gpa\": \"0x80a000\"", "\"gpa\": \"0x80b000\""),
        ("\"gpa\": \"0x810c00\"", "\"gpa\": \"0x810c10\""),
    ] {
        let error = changed(from, to);
        let expected = matches!(error, RecordError::Digest { .. } | RecordError::Firmware(_));
        assert!(expected, "{to}: {error}");
    }
    let error = changed("\"size\": \"0x9000\"", "\"size\": \"0x0\"");
    assert!(matches!(error, RecordError::Firmware(_)), "{error}");
    let error = changed("\"vcpus\": 2,", "\"vcpus\": 3,");
    assert!(matches!(error, RecordError::DigestOrder { index: 2, .. }), "{error}");
    let error = changed("\"vcpus\": [\n    1,", "\"vcpus\": [\n    0,");
    assert!(matches!(error, RecordError::Set(_)), "{error}");
    let error = changed("\"signature\": \"0xa00f11\"", "\"signature\": \"0xa00f10\"");
    assert!(matches!(error, RecordError::Set(_)), "{error}");
}

#[test]
fn claims() {
    let mut unbound = inputs(&image().bytes());
    unbound.volumes[0].root_hash = Some(Sha256::of("another root"));
    let error = Record::new(unbound).unwrap_err();
    assert!(matches!(error, RecordError::Unbound { .. }), "{error}");
    // The hash inside a longer word is not the hash: no guest takes it out of there.
    let root = Sha256::of("root").to_string();
    for (cmdline, binds) in [
        (format!("model={root}"), true),
        (root.clone(), true),
        (format!("a=\"{root}\",b"), true),
        (format!("0{root} model={root}"), true),
        (format!("zz{root}ff"), false),
        (format!("model=0{root}"), false),
        (format!("model={root}0"), false),
        (format!("{root}\u{e9}"), false),
        (root[1..].to_owned(), false),
    ] {
        let mut inputs = inputs(&image().bytes());
        inputs.boot.as_mut().unwrap().cmdline = cmdline.clone();
        match Record::new(inputs) {
            Ok(_) => assert!(binds, "{cmdline}"),
            Err(error) => {
                assert!(matches!(error, RecordError::Unbound { .. }), "{error}");
                assert!(!binds, "{cmdline}");
            }
        }
    }
    // What the guest is told of a volume cannot be left out of the record, or told otherwise.
    let (other, salted) = (Sha256::of("other"), Disclosure::Committed);
    let word = |salt: &str| format!("counterfoil.volume.model=7,{root},{salt},panic");
    for (cmdline, name, root_hash, disclosure, holds) in [
        (word("disk"), "model", Sha256::of("root"), salted, true),
        (word("-"), "model", Sha256::of("root"), Disclosure::Public, true),
        (word("disk"), "model", Sha256::of("root"), Disclosure::Public, false),
        (word("-"), "model", Sha256::of("root"), salted, false),
        (word("disk"), "gpt5", Sha256::of("root"), salted, false),
        (format!("{} x={other}", word("disk")), "model", other, salted, false),
        (
            format!("x={root} counterfoil.volume.model=unverified"),
            "model",
            Sha256::of("root"),
            salted,
            false,
        ),
        (format!("{} {}", word("disk"), word("disk")), "model", Sha256::of("root"), salted, false),
        (format!("x={root} counterfoil.volume.Odd=1"), "model", Sha256::of("root"), salted, false),
    ] {
        let mut inputs = inputs(&image().bytes());
        inputs.boot.as_mut().unwrap().cmdline = cmdline.clone();
        inputs.volumes =
            vec![Volume { name: name.to_owned(), root_hash: Some(root_hash), disclosure }];
        let found = Record::new(inputs);
        assert_eq!(found.is_ok(), holds, "{cmdline}: {:?}", found.err());
    }
    let mut silent = inputs(&image().bytes());
    silent.boot.as_mut().unwrap().cmdline = "counterfoil.volume.model=unverified".to_owned();
    silent.volumes.clear();
    assert!(matches!(Record::new(silent).unwrap_err(), RecordError::Unbound { .. }));
    // What nothing binds is said to be so, in the record and on the command line alike.
    let said = "counterfoil.volume.model=unverified";
    let (root, none) = (Some(Sha256::of("root")), Disclosure::None);
    for (cmdline, root_hash, disclosure, holds) in [
        (said, None, none, true),
        (CMDLINE, None, none, false),
        ("counterfoil.volume.model=unverified,", None, none, false),
        ("counterfoil.volume.models=unverified", None, none, false),
        (said, None, Disclosure::Public, false),
        (CMDLINE, root, none, false),
        (said, root, Disclosure::Committed, false),
    ] {
        let mut inputs = inputs(&image().bytes());
        inputs.boot.as_mut().unwrap().cmdline = cmdline.to_owned();
        (inputs.volumes[0].root_hash, inputs.volumes[0].disclosure) = (root_hash, disclosure);
        match Record::new(inputs) {
            Ok(record) => {
                assert!(holds, "{cmdline}");
                let json = record.to_json().unwrap();
                assert_eq!(Record::from_json(&json).unwrap(), record);
                let text = String::from_utf8(json).unwrap();
                assert!(text.contains("\"what\": \"unverified-volumes\""), "{text}");
                let hidden = text.replace("\"unverified-volumes\"", "\"verified\"");
                let error = Record::from_json(hidden.as_bytes()).unwrap_err();
                assert!(matches!(error, RecordError::Unlisted { .. }), "{error}");
            }
            Err(error) => {
                assert!(matches!(error, RecordError::Unbound { .. }), "{error}");
                assert!(!holds, "{cmdline}");
            }
        }
    }
    let error = changed("\"acpi-tables\"", "\"nothing\"");
    assert!(matches!(error, RecordError::Unlisted { .. }), "{error}");
}

#[test]
fn says_what_it_does_not_cover() {
    let record = record();
    let whats: Vec<&str> = record.unmeasured.iter().map(|item| item.what.as_str()).collect();
    for what in ["acpi-tables", "disks", "fw-cfg-blobs", "memory-size", "network", "time"] {
        assert!(whats.contains(&what), "{what}");
    }
}
