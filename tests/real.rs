//! Releases of Debian's real packages: the same bytes for everyone, the digests that others compute,
//! and the packages that must be refused.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use counterfoil::launch::Record;
use counterfoil::layout;
use support::peer::sev_snp_measure;
use support::place::Ran;
use support::real;

#[test]
fn a_release_is_the_same_under_any_environment() {
    let directory = real::manifests();
    for name in ["hello", "llama"] {
        let manifest = format!("manifests/{name}.yaml");
        drop(real::release(name));
        let target = format!("checked-{name}");
        let ran = real::run(&directory, &["build", &manifest, "--output", &target, "--check"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        for varied in
            ["umask", "time zone", "locale", "working directory", "store", "order of files"]
        {
            assert!(ran.stderr.contains(varied), "{varied}: {}", ran.stderr);
        }
        if rustix::process::geteuid().is_root() {
            assert!(ran.stderr.contains("user"), "{}", ran.stderr);
        }
    }
}

/// With a full store a build needs no network: this one has none.
#[test]
fn a_second_build_needs_no_network() {
    let directory = real::manifests();
    let first = real::release("llama");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(env!("CARGO_BIN_EXE_counterfoil"))
        .args(["build", "manifests/llama.yaml", "--output", "offline", "--store"])
        .arg(real::root().join("store"))
        .current_dir(&directory)
        .output()
        .unwrap();
    let ran = Ran::of(&output);
    if ran.stderr.starts_with("unshare:") {
        return eprintln!("skipped: no network namespace: {}", ran.stderr);
    }
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("launch digest"), "{}", ran.stdout);
    assert!(ran.stderr.contains("next: counterfoil run offline"), "{}", ran.stderr);
    for name in layout::ALL {
        let same = fs::read(first.join(name)).unwrap()
            == fs::read(directory.join("offline").join(name)).unwrap();
        assert!(same, "{name}");
    }
}

/// A release is all that is needed to make it again.
#[test]
fn a_release_is_built_again_from_its_own_files() {
    let first = real::release("llama");
    let other = tempfile::tempdir().unwrap();
    let again = other.path().join("again");
    let manifest = first.join(layout::MANIFEST);
    let arguments =
        ["build", manifest.to_str().unwrap(), "--locked", "--output", again.to_str().unwrap()];
    let ran = real::run(other.path(), &arguments);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for name in layout::ALL {
        assert!(
            fs::read(first.join(name)).unwrap() == fs::read(again.join(name)).unwrap(),
            "{name}"
        );
    }
}

/// Nothing of this machine is in a lock or a record.
#[test]
fn nothing_of_the_host_is_written_down() {
    let release = real::release("hello");
    for name in layout::ALL.into_iter().filter(|name| !name.starts_with("image/")) {
        let text = fs::read_to_string(release.join(name)).unwrap();
        for word in
            ["http://", "https://", "file://", env!("CARGO_MANIFEST_DIR"), "/home/", "/tmp/."]
        {
            assert!(!text.contains(word), "`{word}` is in {name}");
        }
    }
}

/// An independent calculator, from the Python package index, over the same artifacts.
#[test]
fn sev_snp_measure_computes_the_same_digests() {
    let Some(tool) = sev_snp_measure() else { return };
    let release = real::release("llama");
    let path = |name: &str| release.join(name).to_str().unwrap().to_owned();
    let cmdline = fs::read_to_string(release.join(layout::CMDLINE)).unwrap();
    let mut theirs = BTreeMap::new();
    let (counts, cpus) =
        (["1", "2", "4", "8", "64"], ["EPYC-v4", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"]);
    for vcpus in counts {
        for cpu in cpus {
            let output = Command::new(&tool)
                .args(["--mode", "snp", "--vcpus", vcpus, "--vcpu-type", cpu])
                .args(["--guest-features", "0x1", "--ovmf", &path(layout::FIRMWARE)])
                .args(["--kernel", &path(layout::KERNEL), "--initrd", &path(layout::INITRD)])
                .args(["--append", &cmdline])
                .output()
                .unwrap();
            let ran = Ran::of(&output);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            theirs.insert((vcpus.to_owned(), cpu.to_owned()), ran.stdout.trim().to_owned());
        }
    }
    let arguments = [
        "measure",
        release.to_str().unwrap(),
        "--vcpus",
        &counts.join(","),
        "--cpu",
        &cpus.join(","),
        "--format",
        "json",
    ];
    let ran =
        Ran::of(&Command::new(env!("CARGO_BIN_EXE_counterfoil")).args(arguments).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let ours: BTreeMap<_, _> = json["digests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            ((row["vcpus"].to_string(), text("cpu")), text("digest"))
        })
        .collect();
    assert_eq!(ours.len(), 20);
    assert_eq!(ours, theirs);
}

/// The record alone is enough, also for a vCPU count that was not published.
#[test]
fn a_record_alone_gives_any_digest() {
    let release = real::release("llama");
    let alone = tempfile::tempdir().unwrap();
    let record = alone.path().join("launch.json");
    fs::copy(release.join(layout::RECORD), &record).unwrap();
    let measure = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
        let ran = Ran::of(&command.arg("measure").args(arguments).output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    let record_path = record.to_str().unwrap();
    let (image, name) =
        (|name| release.join(name), |path: PathBuf| path.to_str().unwrap().to_owned());
    let of_files = measure(&[
        "--firmware",
        &name(image(layout::FIRMWARE)),
        "--kernel",
        &name(image(layout::KERNEL)),
        "--initrd",
        &name(image(layout::INITRD)),
        "--append",
        "console=ttyS0 panic=-1",
        "--vcpus",
        "3",
        "--cpu",
        "EPYC-Rome",
    ]);
    assert_eq!(
        measure(&[
            "--record",
            record_path,
            "--vcpus",
            "3",
            "--cpu",
            "EPYC-Rome",
            "--features",
            "1"
        ]),
        of_files
    );
    assert_eq!(of_files.trim().len(), 96, "one digest is printed bare");
    let parsed = Record::from_json(&fs::read(&record).unwrap()).unwrap();
    assert_eq!(parsed.digests.len(), 16);
}

#[test]
fn the_finding_about_the_firmware_cannot_be_overlooked() {
    let release = real::release("hello");
    let record = fs::read_to_string(release.join(layout::RECORD)).unwrap();
    let model = fs::read_to_string(release.join(layout::THREAT_MODEL)).unwrap();
    if !record.contains(r#""state": "run""#) {
        return eprintln!("skipped: the archive's firmware has no hole any more");
    }
    assert!(model.contains("WARNING") && model.contains("does **not** prove"), "{model}");
    // Under the codes of the record, and by the program that says more of each.
    let said = real::run(&release, &["inspect", layout::FIRMWARE]).stdout;
    let measured = real::run(&release, &["measure", "."]).stderr;
    for code in ["boot-fallback", "option-roms", "s3-resume"] {
        assert!(record.contains(&format!(r#""what": "{code}""#)), "{code}: {record}");
        assert!(model.contains(&format!("- **{code}**: ")), "{code}: {model}");
        assert!(said.contains(&format!("warning {code}")), "{code}: {said}");
        assert!(measured.contains(code), "{code}: {measured}");
    }
    let denied = edited("hello", "denied", |text| {
        text.replace("  path: /usr/share/ovmf", "  named-blobs: deny\n  path: /usr/share/ovmf")
    });
    let ran = real::run(&real::manifests(), &["build", &denied, "--output", "denied"]);
    ran.is_refusal(10, &["input `firmware`", "`shim`", "named-blobs: deny"]);
    assert!(!real::manifests().join("denied").exists());
}

/// Packages are taken on somebody's word, and the release says on whose; and what its kernel offers.
#[test]
fn whose_word_packages_are_taken_on_is_said() {
    let model = fs::read_to_string(real::release("llama").join(layout::THREAT_MODEL)).unwrap();
    for words in [
        "| Firmware | a package, as it is | Debian's build machines |",
        "| Kernel | packages, as they are | Debian's build machines |",
        "| Input `model` | a file, as it is | whoever made it |",
        "No part of this image is compiled from source under its lock",
        "- package `ovmf-amdsev` ",
        "such as `recipe: firmware/amdsev.yaml`",
        "- **kernel-kexec**: ",
        "- **kernel-modules**: ",
        "To root, whose rights the program of this image does not have",
    ] {
        assert!(model.contains(words), "`{words}` is not in: {model}");
    }
    assert!(!model.contains("Trust that went away"), "{model}");
}

#[test]
fn a_firmware_without_verifier_is_refused() {
    let generic = edited("hello", "generic", |text| {
        text.replace("[ovmf-amdsev]", "[ovmf-generic]")
            .replace("/usr/share/ovmf/OVMF.amdsev.fd", "/usr/share/ovmf/OVMF.fd")
    });
    let ran = real::run(&real::manifests(), &["build", &generic, "--output", "generic"]);
    ran.is_refusal(
        10,
        &["input `firmware`", "no verifier", "whatever the host gives it", "ovmf-amdsev"],
    );
    assert!(!real::manifests().join("generic").exists());
}

#[test]
fn a_kernel_that_cannot_attest_is_refused() {
    let recipe = real::manifests().join("kernels/bookworm.yaml");
    let text = fs::read_to_string(real::manifests().join("kernels/debian-cloud.yaml")).unwrap();
    fs::write(&recipe, text.replace("suite: trixie", "suite: bookworm")).unwrap();
    let old =
        edited("hello", "bookworm", |text| text.replace("debian-cloud.yaml", "bookworm.yaml"));
    let ran = real::run(&real::manifests(), &["build", &old, "--output", "bookworm"]);
    ran.is_refusal(10, &["input `kernel`", "6.1", "CONFIG_SEV_GUEST", "6.12", "inspect"]);
}

#[test]
fn inspect_tells_what_a_kernel_and_a_firmware_are() {
    let release = real::release("hello");
    let firmware = real::run(&release, &["inspect", layout::FIRMWARE]);
    assert_eq!(firmware.code, 0, "{}", firmware.stderr);
    for words in ["SEV hash table    0x810c00", "kernel-hashes", "QemuKernelLoaderFsDxe"] {
        assert!(firmware.stdout.contains(words), "{words}: {}", firmware.stdout);
    }
    let kernel = real::run(&release, &["inspect", layout::KERNEL]);
    assert_eq!(kernel.code, 20, "no configuration stands beside it: {}", kernel.stderr);
    assert!(kernel.stdout.contains("Linux 6."), "{}", kernel.stdout);
    let package = fs::read_to_string(release.join(layout::LOCK)).unwrap();
    let digest = package
        .split("linux-image-6.12")
        .nth(1)
        .and_then(|rest| rest.split("sha256: \"").nth(1))
        .map(|rest| rest[..64].to_owned());
    if let Some(digest) = digest {
        let deb = real::root().join("store/objects").join(&digest[..2]).join(&digest);
        let ran = real::run(&release, &["inspect", deb.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(
            ran.stdout.contains("SEV_GUEST") && !ran.stdout.contains("missing"),
            "{}",
            ran.stdout
        );
    }
}

/// An example, changed, beside the others.
fn edited(name: &str, new: &str, change: impl Fn(&str) -> String) -> String {
    let directory = real::manifests().join("manifests");
    let text = fs::read_to_string(directory.join(format!("{name}.yaml"))).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    fs::write(directory.join(format!("{new}.yaml")), changed).unwrap();
    format!("manifests/{new}.yaml")
}

/// A copy of a release that somebody may change.
fn copy_of(release: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in walkdir::WalkDir::new(release) {
        let entry = entry.unwrap();
        let place = copy.path().join(entry.path().strip_prefix(release).unwrap());
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(place).unwrap(),
            false => drop(fs::copy(entry.path(), place).unwrap()),
        }
    }
    copy
}

fn measured(release: &Path) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    Ran::of(&command.arg("measure").arg(release).output().unwrap())
}

/// A record that holds together and is not of these artifacts.
#[test]
fn a_record_of_another_firmware_is_found_out() {
    let copy = copy_of(&real::release("llama-volume"));
    assert_eq!(measured(copy.path()).code, 0);
    let path = copy.path().join(layout::RECORD);
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("\"state\": \"run\"").unwrap();
    // What the modules do is in no digest.
    let at = after.find("\"offset\": ").unwrap() + 10;
    let forged = format!("{before}\"state\": \"run\"{}1{}", &after[..at], &after[at..]);
    fs::write(&path, forged).unwrap();
    measured(copy.path()).is_refusal(10, &["says of", "firmware.fd", "what is not so"]);
}

#[test]
fn the_volumes_of_a_release_are_its_own() {
    let release = real::release("llama-volume");
    let model = "model".parse().unwrap();
    let (data, record) = (layout::volume(&model), layout::volume_record(&model));

    let copy = copy_of(&release);
    fs::write(copy.path().join(&data), [0; 4096]).unwrap();
    measured(copy.path()).is_refusal(10, &["model.img", "4096 bytes, its record says"]);
    // Data need not be there, and what others have put there is theirs.
    fs::remove_file(copy.path().join(&data)).unwrap();
    assert_eq!(measured(copy.path()).code, 0);
    fs::write(copy.path().join(layout::VOLUMES).join("notes"), "mine").unwrap();
    let arguments =
        ["build", "manifest.yaml", "--locked", "--output", copy.path().to_str().unwrap()];
    real::run(copy.path(), &arguments).is_refusal(2, &["holds `image/volumes/notes`"]);

    let copy = copy_of(&release);
    let path = copy.path().join(&record);
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find("\"root_hash\": \"").unwrap() + 14;
    let other = format!("{}{}{}", &text[..at], "00".repeat(32), &text[at + 64..]);
    fs::write(&path, other).unwrap();
    measured(copy.path()).is_refusal(10, &["not of the volumes that the command line binds"]);
    fs::write(&path, text.replace("erofs/1", "erofs/9")).unwrap();
    measured(copy.path()).is_refusal(30, &["model.json", "not a volume's record"]);
    fs::remove_file(&path).unwrap();
    measured(copy.path()).is_refusal(20, &["model.json", "missing"]);
}

/// What a guest could not open, or would hide, is found before it boots.
#[test]
fn volumes_that_no_guest_could_use() {
    let directory = real::manifests();
    let manifest = fs::read_to_string(directory.join("manifests/llama-volume.yaml")).unwrap();
    let refused = |name: &str, text: String, words: &[&str]| {
        fs::write(directory.join(format!("manifests/{name}.yaml")), text).unwrap();
        let manifest = format!("manifests/{name}.yaml");
        real::run(&directory, &["build", &manifest, "--output", name]).is_refusal(30, words);
    };
    refused(
        "hides",
        manifest.replace("mount: /models", "mount: /usr"),
        &["disk `model`", "would hide `/usr/"],
    );
    let recipe = fs::read_to_string(directory.join("kernels/debian-cloud.yaml")).unwrap();
    fs::write(directory.join("kernels/no-verity.yaml"), recipe.replace("    - dm_verity\n", ""))
        .unwrap();
    // The modules that open a volume need not be named.
    let text = manifest.replace("debian-cloud.yaml", "no-verity.yaml");
    fs::write(directory.join("manifests/no-verity.yaml"), text).unwrap();
    let inventory = fs::read_to_string(real::release("no-verity").join("inventory.json")).unwrap();
    assert!(inventory.contains("/dm_verity.ko"), "{inventory}");
}
