//! What went into a release, for provenance: every input that its lock pins, by digest, with the name that the
//! world has for it where it has one. A host is named only where the manifest itself fetches from it.

use crate::digest::Sha256;
use crate::manifest::Lock;
use crate::manifest::lock::{LockedEntry, LockedInput};
use crate::names::Suite;
use crate::release::sbom::VENDOR;
use crate::release::sbom::purl;
use crate::statement::intoto::Digests;
use crate::statement::provenance::Resource;

/// All of them, in the order of the lock. What is compiled is not among them: what it is compiled from is.
pub fn list(lock: &Lock) -> Vec<Resource> {
    let mut all = Vec::new();
    let mut push = |name: String, uri: Option<String>, sha256: Sha256| {
        let digest = Digests::sha256(sha256);
        all.push(Resource { name, uri, digest, media_type: None, content: None });
    };
    for (name, object) in &lock.builtin {
        push(format!("builtin/{name}"), None, object.sha256);
    }
    for (name, input) in &lock.inputs {
        match input {
            LockedInput::Deb(packages) => {
                for it in packages {
                    let vendor = vendor(lock, &it.suite);
                    let uri = purl::deb(
                        vendor,
                        &it.package,
                        &it.version,
                        &it.architecture,
                        it.suite.as_str(),
                    );
                    push(format!("{name}/{}", it.package), Some(uri), it.sha256);
                }
            }
            LockedInput::Source(source) => {
                let vendor = vendor(lock, &source.suite);
                let suite = source.suite.as_str();
                let uri = purl::deb(vendor, &source.package, &source.version, "source", suite);
                for (path, part) in &source.parts {
                    push(format!("{name}{path}"), Some(uri.clone()), part.sha256);
                }
            }
            LockedInput::File(object) => push(name.to_string(), None, object.sha256),
            LockedInput::Dir(entries) => {
                for (path, entry) in entries {
                    if let LockedEntry::File { sha256, .. } = entry {
                        push(format!("{name}{path}"), None, *sha256);
                    }
                }
            }
            LockedInput::Url(url) => push(name.to_string(), Some(url.url.to_string()), url.sha256),
            LockedInput::Tar(tar) => {
                push(name.to_string(), tar.url.as_ref().map(ToString::to_string), tar.sha256);
            }
            LockedInput::Sdist(sdist) => {
                let uri = purl::pypi(sdist.package.as_str(), sdist.version.as_str());
                push(name.to_string(), Some(uri), sdist.sha256);
            }
            LockedInput::Builtin(_) | LockedInput::Build(_) => {}
        }
    }
    all
}

fn vendor<'a>(lock: &'a Lock, suite: &Suite) -> &'a str {
    lock.archives.get(suite).map_or(VENDOR, |archive| archive.origin.as_str())
}
