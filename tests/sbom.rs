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
use counterfoil::launch::Record;
use counterfoil::layout;
use counterfoil::manifest::Lock;
use counterfoil::manifest::load::Loaded;
use counterfoil::manifest::lock::LockedInput;
use counterfoil::release::sbom;
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

/// A firmware compiled by a tool that is compiled, a closed volume, and an input of each other kind.
const MANIFEST: &str = "
version: 1
name: parts
inputs:
  edk2: {source: {suite: trixie, package: edk2}}
  firmware:
    build:
      room: [room, tool]
      files: {/build/edk2.tar.xz: {from: edk2, source: /orig.tar.xz}, /build/sdist: {from: python}}
      run: [/bin/sh]
  hello: {builtin: hello}
  kernel: {deb: {suite: trixie, packages: [linux-image]}}
  libraries: {deb: {suite: trixie, packages: [libc6, make]}}
  python:
    sdist: {package: Some_Project, version: '1.0', sha256: 1111111111111111111111111111111111111111111111111111111111111111}
  room: {deb: {suite: trixie, packages: [g++-14, libc6]}}
  script: {file: build.sh}
  tool:
    build: {room: [room], files: {/build/build.sh: {from: script}}, run: [/bin/sh]}
  url:
    url: {url: 'https://models.example/a b', sha256: 2222222222222222222222222222222222222222222222222222222222222222}
  weights: {file: weights.json}
firmware: {from: firmware, path: /OVMF.fd}
kernel: {from: kernel}
cmdline: console=ttyS0
files:
  - {path: /lib/libc.so.6, from: libraries}
  - {path: /hello, from: hello}
  - {path: /data, from: url}
volumes:
  model: {mount: /model, record: weights}
init: {exec: [/hello]}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
";

/// The bill of [`MANIFEST`], whatever it was launched as.
fn hand_made() -> Vec<u8> {
    let object = |digit: &str| format!("sha256: \"{}\", size: 1", digit.repeat(64));
    let package = |name: &str, version: &str, digit: &str| {
        let (deb, data) = (object(digit), object("0"));
        format!(
            "{{package: {name}, version: \"{version}\", architecture: amd64, suite: trixie, path: p, {deb}, data: {{{data}}}}}"
        )
    };
    let (gcc, libc) = (package("g++-14", "14.2.0-19", "4"), package("libc6", "1:2.41-12+b1", "5"));
    let (make, linux) = (package("make", "4", "6"), package("linux-image", "6", "7"));
    let archive = "origin: Debian, suite: stable, codename: trixie, date: \"2026-01-01T00:00:00Z\"";
    let lock = [
        "version: 1".to_owned(),
        format!("manifest: \"{}\"", "3".repeat(64)),
        format!("builtin: {{init: {{{}}}, hello: {{{}}}}}", object("8"), object("9")),
        format!(
            "archives: {{trixie: {{{archive}, sha256: \"{}\", signed-by: [A]}}}}",
            "3".repeat(64)
        ),
        "sources: {}".to_owned(),
        "inputs:".to_owned(),
        format!(
            "  edk2: {{source: {{package: edk2, version: \"2025-1\", suite: trixie, parts: {{/orig.tar.xz: {{path: p, {}}}}}}}}}",
            object("a")
        ),
        format!(
            "  firmware: {{build: {{recipe: \"{}\", result: {{{}}}}}}}",
            "3".repeat(64),
            object("b")
        ),
        "  hello: {builtin: hello}".to_owned(),
        format!("  kernel: {{deb: [{linux}]}}"),
        format!("  libraries: {{deb: [{libc}, {make}]}}"),
        format!(
            "  python: {{sdist: {{package: Some_Project, version: \"1.0\", file: some.tar.gz, {}, data: {{{}}}}}}}",
            object("1"),
            object("0")
        ),
        format!("  room: {{deb: [{gcc}, {libc}]}}"),
        format!("  script: {{file: {{{}}}}}", object("c")),
        format!(
            "  tool: {{build: {{recipe: \"{}\", result: {{{}}}}}}}",
            "d".repeat(64),
            object("e")
        ),
        format!("  url: {{url: {{url: 'https://models.example/a b', {}}}}}", object("2")),
        format!("  weights: {{file: {{{}}}}}\n", object("f")),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("parts.yaml"), MANIFEST).unwrap();
    fs::write(path("parts.lock.yaml"), lock.join("\n")).unwrap();
    let item = |path: &str, from: &str| {
        format!(
            r#"{{"path": "{path}", "type": "directory", "mode": "0755", "owner": "0:0", "from": "{from}"}}"#
        )
    };
    let items = [
        item("/init", "counterfoil"),
        item("/lib", "libraries/libc6"),
        item("/text", "manifest"),
        item("/url", "url"),
    ];
    let inventory = format!(r#"{{"version": 1, "initrd": [{}]}}"#, items.join(","));
    let record = include_bytes!("golden/launch/record.json");
    let digest = Sha256::of("");
    sbom::write(&sbom::Parts {
        manifest: &Loaded::read(&path("parts.yaml")).unwrap().manifest,
        lock: &Lock::read(&path("parts.lock.yaml")).unwrap().unwrap(),
        inventory: &serde_json::from_str(&inventory).unwrap(),
        inventory_sha256: digest,
        record: &Record::from_json(record).unwrap(),
        record_sha256: digest,
        igvm: None,
    })
    .unwrap()
}

/// What is in the image is told from what only made it, each thing from what it is of.
#[test]
fn every_kind_of_input_has_its_place() {
    let json = hand_made();
    assert_eq!(hand_made(), json);
    let bill: Value = serde_json::from_slice(&json).unwrap();
    let deb = |name: &str, version: &str, digit: &str| {
        format!("deb/trixie/{name}/{version}/amd64/{}", digit.repeat(64))
    };
    let gcc = deb("g++-14", "14.2.0-19", "4");
    let libc = deb("libc6", "1:2.41-12+b1", "5");
    let (make, linux) = (deb("make", "4", "6"), deb("linux-image", "6", "7"));
    for (reference, scope, purl) in [
        (gcc.as_str(), "excluded", "pkg:deb/debian/g%2B%2B-14@14.2.0-19?arch=amd64&distro=trixie"),
        // In a room too, and in the image all the same.
        (&libc, "required", "pkg:deb/debian/libc6@1:2.41-12%2Bb1?arch=amd64&distro=trixie"),
        // Asked for, and nothing of it was taken.
        (&make, "excluded", "pkg:deb/debian/make@4?arch=amd64&distro=trixie"),
        (&linux, "required", "pkg:deb/debian/linux-image@6?arch=amd64&distro=trixie"),
        ("input/edk2", "required", "pkg:deb/debian/edk2@2025-1?arch=source&distro=trixie"),
        ("input/python", "required", "pkg:pypi/some-project@1.0"),
        ("input/firmware", "required", ""),
        ("input/tool", "excluded", ""),
        ("input/script", "excluded", ""),
        ("input/url", "required", ""),
        ("input/hello", "required", ""),
        ("builtin/init", "required", ""),
    ] {
        let found = component(&bill, reference);
        assert_eq!((text(found, "scope"), text(found, "purl")), (scope, purl), "{reference}");
    }
    assert_eq!(property(component(&bill, &libc), "input"), ["libraries", "room"]);
    let parts = &component(&bill, "input/edk2")["components"][0];
    assert_eq!(
        (text(parts, "name"), text(&parts["hashes"][0], "content")),
        ("/orig.tar.xz", &*"a".repeat(64))
    );
    let place = &component(&bill, "input/url")["externalReferences"][0];
    assert_eq!(text(place, "url"), "https://models.example/a%20b");
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        leads_to(&bill, "input/firmware"),
        set(&[&gcc, &libc, "input/edk2", "input/python", "input/tool"])
    );
    assert_eq!(leads_to(&bill, "input/tool"), set(&[&gcc, &libc, "input/script"]));
    assert_eq!(leads_to(&bill, layout::FIRMWARE), set(&["input/firmware"]));
    assert_eq!(leads_to(&bill, layout::KERNEL), set(&[&linux]));
    assert_eq!(leads_to(&bill, layout::INITRD), set(&["builtin/init", &libc, "input/url"]));
    // Of a closed volume its name and root hash, and not even the digest of its record.
    let volume = component(&bill, "image/volumes/model");
    assert_eq!(property(volume, "root-hash"), [Sha256::of("root").to_string()]);
    assert_eq!(property(volume, "disclosure"), ["committed"]);
    assert!(volume["hashes"].is_null());
    let json = String::from_utf8(json).unwrap();
    assert!(!json.contains(&"f".repeat(64)) && !json.contains("input/weights"));
    assert!(leads_to(&bill, "image").contains("image/volumes/model"));
}

/// By the validator of the CycloneDX project and the schema that it carries, with every format checked.
#[test]
fn it_is_right_by_the_official_schema() {
    let Some(python) = peer::cyclonedx() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("parts"), hand_made()).unwrap();
    for name in ["hello", "llama"] {
        fs::copy(real::release(name).join(layout::SBOM), path(name)).unwrap();
    }
    for name in ["parts", "hello", "llama"] {
        let script = "import sys\n\
            from cyclonedx.schema import SchemaVersion\n\
            from cyclonedx.validation.json import JsonStrictValidator\n\
            error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\n\
            sys.exit(str(error) if error else 0)";
        let valid = |path: &Path| {
            let output = Command::new(&python).args(["-c", script]).arg(path).output().unwrap();
            Ran::of(&output)
        };
        let ran = valid(&path(name));
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        // And it says no to what is not.
        let wrong = fs::read_to_string(path(name)).unwrap().replace("SHA-256", "SHA-257");
        fs::write(path("wrong"), wrong).unwrap();
        assert_eq!(valid(&path("wrong")).code, 1);
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
