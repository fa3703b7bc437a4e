//! The real thing: Debian's packages, fetched once into a store below the target directory, and the
//! example releases made of them by the program itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use counterfoil::digest::Sha256;
use counterfoil::input::apt::archive::Trust;
use counterfoil::input::apt::sources::Sources;
use counterfoil::input::fetch::Fetcher;
use counterfoil::input::http::{Client, Settings};
use counterfoil::input::progress::Silent;
use counterfoil::input::resolve::Resolver;
use counterfoil::input::store::Store;
use counterfoil::room::{Privilege, Room};
use counterfoil::vm::{Qemu, private};

use super::place::Ran;

/// Below the target directory, so that it is there the next time.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("real")
}

/// The program, with the real store, in `directory`.
pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.args(arguments).arg("--store").arg(root().join("store")).current_dir(directory);
    if let Some(index) = python_index() {
        command.env("COUNTERFOIL_PYTHON_INDEX", index);
    }
    command
}

/// The Python package index that pip uses on this machine, its built-in one included: the program itself
/// takes only what is configured.
fn python_index() -> Option<String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let built_in = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";
    let ask = |arguments: &[&str]| {
        let output = Command::new("python3").args(arguments).output().ok()?;
        let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !said.is_empty()).then_some(said)
    };
    FOUND
        .get_or_init(|| {
            let said = ["COUNTERFOIL_PYTHON_INDEX", "PIP_INDEX_URL"];
            said.into_iter()
                .find_map(|name| std::env::var(name).ok())
                .or_else(|| ask(&["-m", "pip", "config", "get", "global.index-url"]))
                .or_else(|| ask(&["-c", built_in]))
        })
        .clone()
}

pub fn run(directory: &Path, arguments: &[&str]) -> Ran {
    Ran::of(&command(directory, arguments).output().unwrap())
}

/// A copy of the example manifests, so that no lock is left among the originals.
pub fn manifests() -> PathBuf {
    static COPIED: OnceLock<PathBuf> = OnceLock::new();
    COPIED
        .get_or_init(|| {
            // What test programs that have ended left there; a fresh clone has no such directory yet.
            for entry in fs::read_dir(root()).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let process = name.strip_prefix("manifests-").map(|id| Path::new("/proc").join(id));
                if process.is_some_and(|process| !process.exists()) {
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
            let to = root().join(format!("manifests-{}", std::process::id()));
            for directory in ["manifests", "kernels", "firmware", "servers"] {
                let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
                for entry in walkdir::WalkDir::new(&from) {
                    let entry = entry.unwrap();
                    let place = to.join(directory).join(entry.path().strip_prefix(&from).unwrap());
                    if entry.file_type().is_dir() {
                        fs::create_dir_all(place).unwrap();
                    } else if !entry.path().to_str().unwrap().ends_with(".lock.yaml") {
                        fs::copy(entry.path(), place).unwrap();
                    }
                }
            }
            to
        })
        .clone()
}

/// The release of an example, built once a test run from what the archive has now.
pub fn release(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock();
    let target = manifests().join(name);
    if !target.exists() {
        let manifest = format!("manifests/{name}.yaml");
        lock(name);
        let ran = run(&manifests(), &["build", &manifest, "--output", name]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    target
}

/// Locks a manifest, from the lock that an earlier test made of it or of another: an input that is pinned
/// there stays as it is, and an archive's whole index is read once and not in every test.
fn lock(name: &str) {
    // A lock keeps PID 1 as it was, too.
    let programs = Sha256::of(include_bytes!("../../initrd/programs.sha256")).to_string();
    let kept = root().join(format!("locks-{}", &programs[..16]));
    fs::create_dir_all(&kept).unwrap();
    let (mine, any) = (kept.join(format!("{name}.yaml")), kept.join("any.yaml"));
    let lock = manifests().join(format!("manifests/{name}.lock.yaml"));
    let earlier = [&lock, &mine, &any].into_iter().find(|path| path.is_file());
    if let Some(earlier) = earlier.filter(|path| **path != lock) {
        fs::copy(earlier, &lock).unwrap();
    }
    let manifest = format!("manifests/{name}.yaml");
    let ran = run(&manifests(), &["lock", &manifest]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // A rename, since other tests may be reading.
    for to in [mine, any] {
        let new = to.with_extension(std::process::id().to_string());
        fs::copy(&lock, &new).unwrap();
        fs::rename(new, to).unwrap();
    }
}

/// A QEMU that can do it: this machine's, or Debian's unpacked below the target directory.
pub fn qemu() -> Qemu {
    static FOUND: Mutex<Option<Qemu>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap();
    found
        .get_or_insert_with(|| {
            if let Ok(qemu) = Qemu::at(Path::new("qemu-system-x86_64")) {
                return qemu;
            }
            let store = Store::open(&root().join("store")).unwrap();
            let tools = root().join("store/tools");
            with_resolver(&store, |resolver| {
                Qemu::in_root(&private::root(&tools, resolver).unwrap())
            })
        })
        .clone()
}

/// Something that finds packages where this machine has them from.
pub fn with_resolver<T>(store: &Store, work: impl FnOnce(&Resolver<'_>) -> T) -> T {
    let sources = match std::env::var("COUNTERFOIL_MIRROR") {
        Ok(mirrors) => Sources::mirrors(mirrors.split_whitespace()),
        Err(_) => Sources::read(Path::new("/etc/apt")),
    };
    let (sources, trust) = (sources.unwrap(), Trust::of_host(Path::new("/")));
    let client = Client::new(&Settings::default()).unwrap();
    let fetcher = Fetcher {
        store,
        sources: &sources,
        trust: &trust,
        client: &client,
        progress: &Silent,
        python_index: None,
        offline: false,
        room: &Room {
            program: env!("CARGO_BIN_EXE_counterfoil").into(),
            privilege: Privilege::User,
            jobs: 1,
        },
    };
    work(&Resolver { fetcher: &fetcher, now: 0 })
}
