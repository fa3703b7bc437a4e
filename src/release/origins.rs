//! Every input that comes from outside: what it is, where it may be had, and how another can check or make
//! it. From the lock alone.

use serde::Serialize;

use crate::digest::Object;
use crate::input::bundle::{External, externals};
use crate::manifest::Lock;
use crate::manifest::lock::{LockedInput, LockedPackage};
use crate::names::Name;

/// One input as it is received.
#[derive(Debug, Serialize)]
pub struct Origin<'a> {
    /// The input's name in the manifest; none for the programs that counterfoil carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<&'a Name>,
    /// What it is.
    pub what: String,
    /// Its bytes.
    #[serde(flatten)]
    pub object: Object,
    /// Where it may be had.
    pub from: String,
    /// How another can check it, or make it.
    pub check: String,
}

/// All of them, in the order of the lock.
pub fn list(lock: &Lock) -> Vec<Origin<'_>> {
    externals(lock).into_iter().map(|external| origin(lock, external)).collect()
}

fn origin<'a>(lock: &Lock, external: External<'a>) -> Origin<'a> {
    let External { input, what, object } = external;
    let locked = input.and_then(|name| lock.inputs.get(name));
    let (from, check) = match locked {
        Some(LockedInput::Deb(packages)) => {
            let package = packages.iter().find(|package| package.deb() == object);
            (package.map_or(String::new(), |package| pool(lock, package)), PACKAGE.to_owned())
        }
        Some(LockedInput::Source(source)) => {
            let part = source.parts.values().find(|part| part.object() == object);
            let path = part.map_or("", |part| part.path.as_str());
            (archive(lock, &source.suite, path), SOURCE.to_owned())
        }
        Some(LockedInput::Url(url)) => (url.url.to_string(), FETCH.to_owned()),
        Some(LockedInput::Tar(tar)) => match &tar.url {
            Some(url) => (url.to_string(), FETCH.to_owned()),
            None => (BESIDE.to_owned(), ASK.to_owned()),
        },
        Some(LockedInput::Sdist(sdist)) => (
            format!("a Python package index: {} {}", sdist.package, sdist.version),
            "its SHA-256 stands in the manifest; any index that has the file will do".to_owned(),
        ),
        Some(LockedInput::File(_) | LockedInput::Dir(_)) => (BESIDE.to_owned(), ASK.to_owned()),
        Some(LockedInput::Builtin(_) | LockedInput::Build(_)) | None => (
            "carried by counterfoil".to_owned(),
            "compile counterfoil: `initrd/programs.sha256` in its source has this digest"
                .to_owned(),
        ),
    };
    Origin { input, what, object, from, check }
}

const PACKAGE: &str = "by the lock, the archive's signed release file leads to this digest: look it up there; \
     the vendor's reproducible builds make it again from its source package";
const SOURCE: &str = "by the lock, the archive's signed release file leads to this digest: look it up there; it is \
     the source itself";
const FETCH: &str = "fetch it and compare";
const BESIDE: &str = "beside the manifest: whoever publishes the release";
const ASK: &str = "nobody else has it: from a bundle, or from the publisher";

fn pool(lock: &Lock, package: &LockedPackage) -> String {
    archive(lock, &package.suite, &package.path)
}

fn archive(lock: &Lock, suite: &crate::names::Suite, path: &str) -> String {
    match lock.archives.get(suite) {
        Some(archive) => format!("{} {suite} of {}: {path}", archive.origin, archive.date),
        None => format!("{suite}: {path}"),
    }
}
