//! The image as one IGVM file: what the firmware will find in memory, and the digest, which Microsoft's
//! own crate has to find in the file too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::image::igvm::{EPOCH, IgvmWriteError, Image as Parts, Written, write};
use counterfoil::launch::igvm::IgvmRecord;
use counterfoil::launch::igvm::record::{self, IgvmRecordError, PROFILE, vcpus};
use counterfoil::launch::measured_image::{MEASURED_IMAGE, MeasuredImage};
use counterfoil::launch::record::{Address, Blob, Boot};
use counterfoil::launch::{Firmware, HashTable, Igvm, Policy, SevFeatures};
use igvm::measurement::generate_snp_measurement;
use igvm::{IgvmDirectiveHeader as Directive, IgvmFile};
use proptest::prelude::*;

use crate::image::{Image, words};

const AREA: &str = "e028cf17-1c78-4955-a77e-53206f8dca5d";

/// The layout of the firmware that is compiled from source.
fn firmware() -> Image {
    let mut image = Image::amdsev();
    image.set(AREA, &words(&[0x81_0000, 0xc00]));
    image
}

fn hashes(kernel: &[u8], initrd: &[u8], cmdline: &str) -> HashTable {
    HashTable::new(Sha256::of(kernel), Some(Sha256::of(initrd)), cmdline).unwrap()
}

fn written(
    image: &Image,
    kernel: &[u8],
    initrd: &[u8],
    cmdline: &str,
    count: u32,
) -> Result<(Vec<u8>, Written), IgvmWriteError> {
    let firmware = image.bytes();
    let layout = Firmware::parse(&firmware).unwrap();
    let vmsas = vcpus(&layout, count, SevFeatures(1)).unwrap();
    let parts = Parts {
        firmware: &firmware,
        kernel,
        initrd: initrd.len() as u64,
        cmdline,
        hashes: hashes(kernel, initrd, cmdline),
        policy: Policy(0x3_0000),
        vmsas: &vmsas,
    };
    let mut file = Vec::new();
    let written = write(parts, &layout, &mut &initrd[..], &mut file)?;
    Ok((file, written))
}

/// What the guest has in its memory, by page, on the platform of this mask.
fn memory(file: &[u8], mask: u32) -> BTreeMap<u64, Vec<u8>> {
    let file = IgvmFile::new_from_binary(file, None).unwrap();
    let mut memory = BTreeMap::new();
    for directive in file.directives() {
        if let Directive::PageData { gpa, compatibility_mask, data, .. } = directive
            && compatibility_mask & mask != 0
        {
            let mut page = data.clone();
            page.resize(4096, 0);
            assert!(memory.insert(*gpa, page).is_none(), "{gpa:#x} twice");
        }
    }
    memory
}

fn at(memory: &BTreeMap<u64, Vec<u8>>, gpa: u64, size: usize) -> Vec<u8> {
    let first = gpa / 4096 * 4096;
    let pages = (first..gpa + size as u64).step_by(4096).flat_map(|page| memory[&page].clone());
    pages.skip((gpa - first) as usize).take(size).collect()
}

fn number(memory: &BTreeMap<u64, Vec<u8>>, gpa: u64) -> u64 {
    u64::from_le_bytes(at(memory, gpa, 8).try_into().unwrap())
}

/// Reads as the firmware does: the description, and from there the three blobs.
fn holds(file: &[u8], written: &Written, kernel: &[u8], initrd: &[u8], cmdline: &str) {
    let expected = [kernel, initrd, &[cmdline.as_bytes(), b"\0"].concat()];
    for mask in [1, 2] {
        let memory = memory(file, mask);
        assert_eq!(at(&memory, 0x81_0000, 16), MEASURED_IMAGE.bytes());
        let (start, end) = (number(&memory, 0x81_0010), number(&memory, 0x81_0018));
        for (index, bytes) in expected.iter().enumerate() {
            let entry = 0x81_0020 + index as u64 * 16;
            let (base, size) = (number(&memory, entry), number(&memory, entry + 8));
            assert!(start <= base && base + size <= end && base % 4096 == 0);
            assert_eq!(size, bytes.len() as u64);
            assert!(at(&memory, base, bytes.len()) == *bytes);
        }
        assert!(
            memory.keys().all(|gpa| *gpa < start || *gpa >= (1 << 32) - 0x1_0000 || *gpa < end)
        );
        let table = hashes(kernel, initrd, cmdline).bytes();
        assert_eq!(at(&memory, 0x81_0c00, table.len()), table);
    }
    let ours = Igvm::parse(file.to_vec()).unwrap();
    assert_eq!(ours.policy(), Some(Policy(0x3_0000)));
    assert_eq!(ours.digest(PROFILE).unwrap(), written.digest);
    let theirs = IgvmFile::new_from_binary(file, None).unwrap();
    let theirs = generate_snp_measurement(theirs.initializations(), theirs.directives(), 1);
    assert_eq!(Sha384(theirs.unwrap()), written.digest);
    assert_eq!(written.object.sha256, Sha256::of(file));
    assert_eq!(written.object.size, file.len() as u64);
}

#[test]
fn the_firmware_finds_all_of_it() {
    let (kernel, initrd) = (vec![7; 10_000], vec![0; 8192]);
    let (file, written) = written(&firmware(), &kernel, &initrd, "console=ttyS0", 3).unwrap();
    holds(&file, &written, &kernel, &initrd, "console=ttyS0");
    // Pinned: a change to the bytes needs another epoch.
    assert_eq!(EPOCH, "igvm/1");
    let pinned = format!("{}\n{}\n", written.object.sha256, written.digest);
    assert_eq!(pinned, include_str!("../golden/launch/igvm-image"));
}

#[test]
fn what_cannot_be_one_file() {
    let refused = |image: &Image, words: &str| {
        let error = written(image, b"kernel", b"", "", 1).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(&Image::amdsev(), "does not look for a measured image");
    let mut unset = firmware();
    unset.set(AREA, &words(&[0, 0]));
    refused(&unset, "does not look for a measured image");
    let mut high = firmware();
    high.sections.push((1, 0x200_0000, 0x1000));
    refused(&high, "sec-mem section at 0x2000000");
    let error = MeasuredImage::place(1 << 31, 0, 1).unwrap_err().to_string();
    assert!(error.contains("2147487744 bytes of guest memory"), "{error}");
    assert!(MeasuredImage::place(u64::MAX, u64::MAX, 1).is_err());
    let firmware = Firmware::parse(&firmware().bytes()).unwrap();
    assert!(matches!(vcpus(&firmware, 0, SevFeatures(1)), Err(IgvmRecordError::Vcpus(0))));
}

/// An initrd that is shorter than it was is not one that was measured.
#[test]
fn an_initrd_that_changes() {
    let firmware = firmware().bytes();
    let layout = Firmware::parse(&firmware).unwrap();
    let parts = Parts {
        firmware: &firmware,
        kernel: b"kernel",
        initrd: 5000,
        cmdline: "",
        hashes: hashes(b"kernel", b"", ""),
        policy: Policy(0x3_0000),
        vmsas: &[],
    };
    let error = write(parts, &layout, &mut &[0; 4999][..], Vec::new()).unwrap_err();
    assert!(matches!(error, IgvmWriteError::Read(_)), "{error}");
}

#[test]
fn where_it_may_be_described() {
    let place = |gpa: u32, size: u32| {
        let mut image = firmware();
        image.set(AREA, &words(&[gpa, size]));
        Firmware::parse(&image.bytes()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(place(0x81_0bb0, 80), Ok(()));
    assert_eq!(place(0x81_0cb0, 0x100), Ok(()));
    for (gpa, size) in [
        (0x81_0000, 79),
        (0x81_0bb1, 80),
        (0x81_0c00, 80),
        (0x81_0caf, 80),
        (0x81_0fb1, 80),
        (0x80_fff0, 80),
        (0x81_1000, 80),
        (0xffff_fff0, 80),
    ] {
        let error = place(gpa, size).unwrap_err();
        assert!(error.contains("in the page of the SEV hash table"), "{gpa:#x}: {error}");
        assert!(error.starts_with("offset 0x"), "{error}");
    }
}

fn record_of(written: &Written) -> IgvmRecord {
    let boot = Boot { kernel: Blob::of(b"kernel"), initrd: None, cmdline: "quiet".to_owned() };
    IgvmRecord {
        version: record::VERSION,
        tool: "test".to_owned(),
        writers: BTreeMap::from([("igvm".to_owned(), EPOCH.to_owned())]),
        profile: PROFILE.id.to_owned(),
        policy: Policy(0x3_0000),
        file: Blob { sha256: written.object.sha256, size: written.object.size },
        firmware: Sha256::of(b"firmware"),
        boot,
        reset_eip: Some(Address(0x0080_b004)),
        vcpus: 2,
        sev_features: SevFeatures(1),
        digest_before_vcpus: written.digest_before_vcpus,
        digest: written.digest,
    }
}

#[test]
fn its_record_is_computed_again() {
    let (_, written) = written(&firmware(), b"kernel", b"initrd", "quiet", 2).unwrap();
    let record = record_of(&written);
    let json = record.to_json().unwrap();
    assert_eq!(IgvmRecord::from_json(&json).unwrap(), record);
    let spoiled = |change: &dyn Fn(&mut IgvmRecord), words: &str| {
        let mut record = record.clone();
        change(&mut record);
        let error = IgvmRecord::from_json(&record.to_json().unwrap()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    spoiled(&|record| record.vcpus = 3, "the record's vCPUs give");
    spoiled(&|record| record.vcpus = 0, "0 vCPUs");
    spoiled(&|record| record.vcpus = 65_537, "65537 vCPUs");
    spoiled(&|record| record.reset_eip = None, "2 vCPUs cannot");
    spoiled(&|record| record.sev_features = SevFeatures(0x21), "the record's vCPUs give");
    spoiled(&|record| record.digest = Sha384::ZERO, "the record's vCPUs give");
    spoiled(&|record| record.version = 2, "version 2");
    spoiled(&|record| record.profile = "igvm".to_owned(), "profile `igvm`");
    let text = String::from_utf8(json).unwrap();
    let error = IgvmRecord::from_json(text.replace("  ", " ").as_bytes()).unwrap_err();
    assert!(matches!(error, IgvmRecordError::NotCanonical), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn of_any_size(
        kernel in prop::collection::vec(any::<u8>(), 0..9000),
        initrd in prop::collection::vec(any::<u8>(), 0..20_000),
        cmdline in "[a-z=0-9 ]{0,5000}",
        count in 1u32..5,
    ) {
        let (file, written) = written(&firmware(), &kernel, &initrd, &cmdline, count).unwrap();
        holds(&file, &written, &kernel, &initrd, &cmdline);
    }
}

/// A release with an IGVM file, made by the program of files that are none of anybody's.
fn release() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(place.path().join(name), bytes).unwrap();
    let mut firmware = crate::record::image();
    firmware.set(AREA, &words(&[0x81_0000, 0xc00]));
    put("firmware.fd", &firmware.bytes());
    // A setup header (Linux, Documentation/arch/x86/boot.rst): protocol 2.15, 64 bits, loaded high.
    let mut kernel = vec![0; 4096];
    kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    kernel[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    (kernel[0x211], kernel[0x236]) = (1, 1);
    put("vmlinuz", &kernel);
    let options = [
        "AMD_MEM_ENCRYPT",
        "EFI_STUB",
        "BLK_DEV_INITRD",
        "DEVTMPFS",
        "TMPFS",
        "SEV_GUEST",
        "TSM_REPORTS",
        "CONFIGFS_FS",
        "X86_X2APIC",
        "X86_PAT",
    ];
    put("config", options.map(|option| format!("CONFIG_{option}=y\n")).concat().as_bytes());
    put("program", b"#!");
    put(
        "image.yaml",
        b"version: 1\nname: image\ninputs:\n  firmware: {file: firmware.fd}\n  kernel: {file: vmlinuz}\n\
          \x20 config: {file: config}\n  program: {file: program}\nfirmware: {from: firmware}\n\
          kernel: {from: kernel, config: config}\ncmdline: console=ttyS0\nfiles:\n\
          \x20 - {path: /bin/program, from: program, mode: \"0755\"}\ninit: {exec: [/bin/program]}\n\
          launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4], igvm: {vcpus: 2}}\n",
    );
    let built = counterfoil(place.path(), &["build", "image.yaml", "--output", "release"]);
    assert!(built.1.is_empty() && built.0 == 0, "{}", built.1);
    place
}

/// The exit code, and what is wrong.
fn counterfoil(place: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.args(arguments).current_dir(place).env("XDG_CACHE_HOME", place.join("cache"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let errors = said.lines().filter(|line| line.starts_with("error")).collect();
    (output.status.code().unwrap(), errors)
}

/// An IGVM file and a record of it that agree with one another, and not with the release.
#[test]
fn a_release_is_held_against_its_igvm_file() {
    let place = release();
    let at = |name: &str| place.path().join("release").join(name);
    let measured = || counterfoil(place.path(), &["measure", "release"]);
    assert_eq!(measured(), (0, String::new()));
    let (file, record) =
        (fs::read(at("image/guest.igvm")).unwrap(), fs::read(at("igvm.json")).unwrap());
    let own = IgvmRecord::from_json(&record).unwrap();
    assert_eq!(Igvm::parse(file.clone()).unwrap().digest(PROFILE).unwrap(), own.digest);

    let explained = counterfoil(place.path(), &["explain", &own.digest.to_string(), "release"]);
    assert_eq!(explained, (0, String::new()));

    // Another command line in the file, where the hash table in it says so, too.
    let firmware = fs::read(at("image/firmware.fd")).unwrap();
    let layout = Firmware::parse(&firmware).unwrap();
    let (kernel, initrd) =
        (fs::read(at("image/kernel")).unwrap(), fs::read(at("image/initrd")).unwrap());
    let vmsas = vcpus(&layout, 2, SevFeatures(1)).unwrap();
    for (cmdline, policy) in [("console=ttyS0 evil", 0x3_0000), ("console=ttyS0", 0xb_0000)] {
        let parts = Parts {
            firmware: &firmware,
            kernel: &kernel,
            initrd: initrd.len() as u64,
            cmdline,
            hashes: hashes(&kernel, &initrd, cmdline),
            policy: Policy(policy),
            vmsas: &vmsas,
        };
        let mut other = Vec::new();
        let written = write(parts, &layout, &mut &initrd[..], &mut other).unwrap();
        let forged = IgvmRecord {
            policy: Policy(policy),
            file: Blob { sha256: written.object.sha256, size: written.object.size },
            digest_before_vcpus: written.digest_before_vcpus,
            digest: written.digest,
            ..own.clone()
        };
        fs::write(at("image/guest.igvm"), other).unwrap();
        fs::write(at("igvm.json"), forged.to_json().unwrap()).unwrap();
        let (code, error) = measured();
        assert_eq!(code, 10, "{error}");
        assert!(error.contains("is not of the firmware, kernel, initrd"), "{error}");
    }
    fs::write(at("igvm.json"), &record).unwrap();
    let (code, error) = measured();
    assert_eq!(code, 10, "{error}");
    assert!(error.contains("guest.igvm") && error.contains("`igvm.json` says"), "{error}");
    fs::write(at("image/guest.igvm"), &file).unwrap();
    fs::remove_file(at("igvm.json")).unwrap();
    let (code, error) = measured();
    assert_eq!(code, 20, "{error}");
    assert!(error.contains("igvm.json` is missing"), "{error}");
}
