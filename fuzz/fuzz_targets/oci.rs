//! What a registry may answer: manifests, indexes, challenges and tokens. No name leads out of a directory.
#![no_main]

use std::path::{Component, Path};

use counterfoil::digest::Sha256;
use counterfoil::oci::challenge::{Challenge, Credentials, token};
use counterfoil::oci::descriptor::Descriptor;
use counterfoil::oci::manifest::{File, Index, Manifest};
use counterfoil::oci::reference::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(ours(Manifest::parse(&manifest.bytes()).unwrap()), ours(manifest.clone()));
        let files = manifest.files().unwrap_or_default();
        files.iter().for_each(stays);
        // What can be listed can be listed again, and nothing stands below a file.
        if !files.is_empty() {
            assert_eq!(Manifest::of_release(&files).files().unwrap().len(), files.len());
        }
        let subject = manifest.subject.as_ref().and_then(|subject| subject.digest.sha256());
        if let Ok(file) = manifest.said_about(subject.unwrap_or(Sha256::of(""))) {
            stays(&file);
        }
    }
    if let Ok(index) = Index::parse(bytes) {
        let again = Index::parse(&index.bytes()).unwrap();
        assert_eq!(again.manifests.len(), index.manifests.len());
        for (one, other) in again.manifests.into_iter().zip(index.manifests) {
            assert_eq!(bare(one), bare(other));
        }
    }
    let _ = Credentials::in_docker_config(bytes, "registry.example");
    let _ = token(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Challenge::parse(text).and_then(|challenge| challenge.url());
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
});

/// Without what others say: of a fraction there, the last digit may change.
fn bare(descriptor: Descriptor) -> Descriptor {
    Descriptor { more: Default::default(), ..descriptor }
}

fn ours(mut manifest: Manifest) -> Manifest {
    let subject = manifest.subject.as_mut();
    let all = manifest.layers.iter_mut().chain(subject).chain([&mut manifest.config]);
    all.for_each(|descriptor| descriptor.more.clear());
    manifest
}

fn stays(file: &File) {
    let path = Path::new(&file.path);
    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
    assert!(!file.path.is_empty() && !file.path.contains(['\0', '\n', '\\']));
}
