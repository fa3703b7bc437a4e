//! The digests that sev-snp-measure's own tests expect, recorded with their inputs. The vectors are
//! not part of the repository: they are looked for beside it.

use std::fs;
use std::path::PathBuf;

use counterfoil::digest::{Sha256, Sha384};
use counterfoil::launch::page::image_digest;
use counterfoil::launch::{Cpu, Firmware, HashTable, Launch, Profile, Set, SevFeatures, Signature};
use serde_json::Value;

#[test]
fn published_digests() {
    let folder = folder();
    let Some(expected) = vectors("expected.json") else { return };
    let mut checked = 0;
    for case in expected["cases"].as_array().unwrap() {
        let (name, input) = (&case["test"], &case["in"]);
        if input["mode"] != "SEV_SNP" {
            continue;
        }
        let profile = input["vmm_type"].as_str().unwrap_or("qemu");
        let profile = Profile::by_id(profile).unwrap();
        let file = PathBuf::from(input["ovmf_file"].as_str().unwrap());
        let image = fs::read(folder.join("fixtures").join(file.file_name().unwrap())).unwrap();
        match (measure(profile, &image, input), case["digest"].as_str()) {
            (Ok(digest), Some(expected)) => assert_eq!(digest.to_string(), expected, "{name}"),
            (Err(error), None) => assert!(error.contains("kernel-hashes section"), "{error}"),
            (got, expected) => panic!("{name}: {got:?}, expected {expected:?}"),
        }
        checked += 1;
    }
    assert!(checked >= 18, "{checked} cases");
}

/// EC2 before 2026, from the tests of the `sev` crate.
#[test]
fn published_digests_of_ec2_before_2026() {
    let Some(expected) = vectors("expected_ec2_pre2026.json") else { return };
    let image = fs::read(folder().join("fixtures/ovmf_AmdSev_suffix.bin")).unwrap();
    for case in expected["cases"].as_array().unwrap() {
        let mut input = case.clone();
        (input["kernel"], input["initrd"]) = ("/dev/null".into(), "/dev/null".into());
        let profile = Profile::by_id("ec2-2023").unwrap();
        let digest = measure(profile, &image, &input).unwrap();
        assert_eq!(digest.to_string(), case["digest"]);
    }
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/launch")
}

#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
pub(crate) fn vectors(name: &str) -> Option<Value> {
    let Ok(json) = fs::read(folder().join(name)) else {
        eprintln!("skipped: no `{name}` in {}", folder().display());
        return None;
    };
    Some(serde_json::from_slice(&json).unwrap())
}

fn measure(profile: &'static Profile, image: &[u8], input: &Value) -> Result<Sha384, String> {
    let firmware = Firmware::parse(image).unwrap();
    let given = input["snp_ovmf_hash_str"].as_str();
    let pages = given.map_or_else(|| image_digest(image), |hash| hash.parse().unwrap());
    // Every file of the vectors is empty.
    let empty = Sha256::of([]);
    let initrd = input["initrd"].is_string().then_some(empty);
    let append = input["append"].as_str().unwrap_or_default();
    let hashes = HashTable::new(empty, initrd, append).unwrap();
    let hashes = input["kernel"].is_string().then_some(&hashes);
    let launch = Launch::new(profile, &firmware, pages, hashes).map_err(|e| e.to_string())?;
    let signature = input["vcpu_sig"].as_u64().unwrap_or_default() as u32;
    let set = Set::new(
        vec![input["vcpus"].as_u64().unwrap() as u32],
        vec![Cpu::of(Signature(signature))],
        vec![SevFeatures(input["guest_features"].as_u64().unwrap())],
    );
    Ok(launch.digests(&set.unwrap()).unwrap()[0].digest)
}
