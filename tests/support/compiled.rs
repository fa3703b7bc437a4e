//! What a release has compiled, and the digests that it is known by.

use std::fs;
use std::path::Path;

use counterfoil::digest::Object;
use counterfoil::input::store::Store;
use counterfoil::kernel::is_config;
use counterfoil::layout;
use counterfoil::manifest::Lock;
use counterfoil::manifest::lock::LockedInput;
use counterfoil::names::GuestPath;
use counterfoil::tree::archive::Archive;

use super::real;

pub fn lock(release: &Path) -> Lock {
    Lock::read(&release.join(layout::LOCK)).unwrap().unwrap()
}

/// What a recipe of the release gave.
pub fn result(release: &Path, input: &str) -> Archive {
    let lock = lock(release);
    let Some(LockedInput::Build(build)) = lock.inputs.get(&input.parse().unwrap()) else {
        panic!("`{input}` is compiled")
    };
    open(build.result)
}

pub fn open(object: Object) -> Archive {
    let store = Store::open(&real::root().join("store")).unwrap();
    Archive::index(store.need(object, "an archive").unwrap().held).unwrap()
}

pub fn read(archive: &Archive, path: &GuestPath) -> Vec<u8> {
    archive.file(path).unwrap().0.read().unwrap()
}

/// What Kconfig made of a kernel's fragment must be what the repository has in `committed`, to be read.
#[track_caller]
pub fn is_configured_as(release: &Path, committed: &str) {
    let kernel = result(release, "kernel");
    let (path, _) = kernel.iter().find(|(path, _)| is_config(path)).unwrap();
    let resolved = String::from_utf8(read(&kernel, path)).unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(committed);
    let committed = fs::read_to_string(committed).unwrap();
    // A later kernel has other options; the fragment holds for it all the same.
    let version = |text: &str| text.lines().nth(2).map(str::to_owned);
    if version(&resolved) == version(&committed) {
        assert!(resolved == committed, "the resolved configuration has changed");
    }
}

/// The results in the lock must be those of tests/golden/from-source.
#[track_caller]
pub fn is_what_it_was(name: &str) {
    let golden =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/from-source"))
            .unwrap();
    for (name, input) in &lock(&real::release(name)).inputs {
        let LockedInput::Build(build) = input else { continue };
        // A package that the archive has replaced makes another recipe, which has no digest here yet.
        match golden.lines().find_map(|line| line.strip_prefix(&format!("{} ", build.recipe))) {
            Some(result) => assert_eq!(result, build.result.sha256.to_string(), "{name}"),
            None => eprintln!("{name}: {} {} is new", build.recipe, build.result.sha256),
        }
    }
}

/// They must also be the same when they are compiled again by another user elsewhere, with another
/// number of processes.
#[track_caller]
pub fn is_the_same_elsewhere(name: &str) {
    is_what_it_was(name);
    let directory = real::manifests();
    let (manifest, checked) = (format!("manifests/{name}.yaml"), format!("checked-{name}"));
    let ran = real::run(&directory, &["build", &manifest, "--output", &checked, "--check"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("CPU count"), "{}", ran.stderr);
}
