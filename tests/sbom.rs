//! The bill of materials of real releases: right by the official schema of CycloneDX, complete by the lock,
//! bound to the release beside it, and the same bytes for everybody (which tests/real.rs compares).

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use counterfoil::digest::Sha256;
use counterfoil::manifest::Lock;
use counterfoil::manifest::lock::LockedInput;
use counterfoil::release::layout;
use serde_json::Value;
use support::peer;
use support::place::Ran;
use support::real;

fn bill(release: &Path) -> Value {
    serde_json::from_slice(&fs::read(release.join(layout::SBOM)).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn property<'a>(component: &'a Value, name: &str) -> Vec<&'a str> {
    let all = component["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = all.iter().filter(|it| text(it, "name") == format!("counterfoil:{name}"));
    named.map(|it| text(it, "value")).collect()
}

fn component<'a>(bill: &'a Value, reference: &str) -> &'a Value {
    let all = bill["components"].as_array().unwrap();
    all.iter().find(|it| text(it, "bom-ref") == reference).unwrap_or_else(|| panic!("{reference}"))
}

fn leads_to(bill: &Value, reference: &str) -> BTreeSet<String> {
    let all = bill["dependencies"].as_array().unwrap();
    let edge = all.iter().find(|it| text(it, "ref") == reference).unwrap();
    edge["dependsOn"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// A copy of a release that may be changed.
fn copy(release: &Path) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("copy");
    let done = Command::new("cp").arg("-r").args([release, &to]).status().unwrap();
    assert!(done.success());
    (directory, to)
}

fn measure(release: &Path) -> Ran {
    real::run(release.parent().unwrap(), &["measure", release.to_str().unwrap()])
}

/// By the validator of the CycloneDX project and the schema that it carries, with every format checked.
#[test]
fn it_is_right_by_the_official_schema() {
    let Some(python) = peer::cyclonedx() else { return };
    for name in ["hello", "llama"] {
        let release = real::release(name);
        let script = "import sys\n\
            from cyclonedx.schema import SchemaVersion\n\
            from cyclonedx.validation.json import JsonStrictValidator\n\
            error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\n\
            sys.exit(str(error) if error else 0)";
        let valid = |path: &Path| {
            let output = Command::new(&python).args(["-c", script]).arg(path).output().unwrap();
            Ran::of(&output)
        };
        let ran = valid(&release.join(layout::SBOM));
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        // And it says no to what is not.
        let (_directory, other) = copy(&release);
        let wrong = fs::read_to_string(other.join(layout::SBOM)).unwrap();
        fs::write(other.join(layout::SBOM), wrong.replace("SHA-256", "SHA-257")).unwrap();
        assert_eq!(valid(&other.join(layout::SBOM)).code, 1);
    }
}

#[test]
fn it_is_bound_to_the_files_of_the_release() {
    let release = real::release("hello");
    let bill = bill(&release);
    let image = &bill["metadata"]["component"];
    assert_eq!((text(image, "name"), text(image, "bom-ref")), ("hello", "image"));
    let of = |name: &str| Sha256::of(fs::read(release.join(name)).unwrap()).to_string();
    for name in [layout::INVENTORY, layout::RECORD, layout::LOCK, layout::MANIFEST] {
        assert_eq!(property(image, &format!("sha256:{name}")), [of(name)], "{name}");
    }
    for name in [layout::FIRMWARE, layout::KERNEL, layout::INITRD, layout::CMDLINE] {
        assert_eq!(component(&bill, name)["hashes"][0]["content"], of(name), "{name}");
    }
    let record: Value =
        serde_json::from_slice(&fs::read(release.join(layout::RECORD)).unwrap()).unwrap();
    for digest in record["digests"].as_array().unwrap() {
        let (cpu, features) = (text(digest, "cpu"), text(digest, "sev_features"));
        let name = format!("launch-digest:{}:{cpu}:{features}", digest["vcpus"]);
        assert_eq!(property(image, &name), [text(digest, "digest")]);
    }
    let json = fs::read_to_string(release.join(layout::SBOM)).unwrap();
    assert!(json.ends_with("}\n") && !json.contains("timestamp"));
    let serial = text(&bill, "serialNumber");
    assert_eq!((&serial[..9], serial.len(), &serial[23..24]), ("urn:uuid:", 45, "8"));
}

/// Every package of the lock is there once, with its digest, and what it is part of.
#[test]
fn every_input_is_in_it() {
    let release = real::release("llama");
    let (bill, lock) = (bill(&release), Lock::read(&release.join(layout::LOCK)).unwrap().unwrap());
    let all = bill["components"].as_array().unwrap();
    let references: BTreeSet<_> = all.iter().map(|it| text(it, "bom-ref")).collect();
    assert_eq!(references.len(), all.len(), "a reference stands for one component");
    let inventory = fs::read_to_string(release.join(layout::INVENTORY)).unwrap();
    let mut packages = 0;
    for (name, input) in &lock.inputs {
        let LockedInput::Deb(locked) = input else {
            assert!(references.contains(format!("input/{name}").as_str()), "{name}");
            continue;
        };
        for package in locked {
            packages += 1;
            let found: Vec<_> = all
                .iter()
                .filter(|it| it["hashes"][0]["content"] == package.sha256.to_string())
                .collect();
            assert_eq!(found.len(), 1, "{}", package.package);
            assert!(property(found[0], "input").contains(&name.as_str()));
            let purl = text(found[0], "purl");
            assert!(purl.starts_with("pkg:deb/debian/"), "{purl}");
            assert!(purl.ends_with(&format!("&distro={}", package.suite)), "{purl}");
            let taken = inventory.contains(&format!("\"{name}/{}\"", package.package));
            if taken {
                assert_eq!(text(found[0], "scope"), "required", "{}", package.package);
                let initrd = leads_to(&bill, layout::INITRD);
                assert!(initrd.contains(text(found[0], "bom-ref")), "{}", package.package);
            }
        }
    }
    assert!(packages > 10, "{packages}");
    for edge in bill["dependencies"].as_array().unwrap() {
        for to in edge["dependsOn"].as_array().unwrap() {
            assert!(references.contains(to.as_str().unwrap()), "{to}");
        }
    }
    assert!(leads_to(&bill, layout::INITRD).contains("builtin/init"));
    assert!(leads_to(&bill, "image").contains(layout::KERNEL));
}

/// A bill, an inventory, a lock or a manifest of another release is found out.
#[test]
fn a_file_of_another_release_is_refused() {
    let release = real::release("hello");
    assert_eq!(measure(&release).code, 0);
    for name in [layout::SBOM, layout::INVENTORY, layout::LOCK, layout::MANIFEST] {
        let (_directory, other) = copy(&release);
        let path = other.join(name);
        // An owner, a digest, a mode: one letter of the last digest or mode.
        let mut text = fs::read_to_string(&path).unwrap();
        let (old, new) = match name {
            layout::SBOM => ("\"required\"", "\"excluded\""),
            layout::INVENTORY => ("\"0755\"", "\"0754\""),
            layout::LOCK => ("architecture: amd64", "architecture: arm64"),
            _ => ("memory: 512", "memory: 513"),
        };
        assert!(text.contains(old), "{name}");
        text = text.replacen(old, new, 1);
        fs::write(&path, text).unwrap();
        measure(&other).is_refusal(10, &[layout::SBOM, "is not of the manifest, lock, inventory"]);
        fs::remove_file(&path).unwrap();
        let code = if name == layout::MANIFEST { 1 } else { 20 };
        measure(&other).is_refusal(code, &[name]);
    }
    let (_directory, other) = copy(&release);
    let bill = fs::read_to_string(other.join(layout::SBOM)).unwrap();
    fs::write(other.join(layout::SBOM), bill.replace("sbom/1", "sbom/9")).unwrap();
    measure(&other).is_refusal(20, &["is not of `sbom/1`"]);
    let (_directory, other) = copy(&release);
    let lock = fs::read_to_string(other.join(layout::LOCK)).unwrap();
    fs::write(other.join(layout::LOCK), format!("{lock}# so\n")).unwrap();
    measure(&other).is_refusal(10, &[layout::LOCK, "is not as a build writes it"]);
}
