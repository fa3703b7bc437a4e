//! Building a release again under another environment, to show that nothing of it leaks in.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress;
use crate::input::store::{self, Store};
use crate::layout;
use crate::manifest::Lock;

/// Debian's `nobody` (Debian Policy 9.2.2), when there is another user to be.
const OTHER_USER: u32 = 65534;

/// The other order of files.
const SEED: &str = "12345";

/// Builds the release at `target` again from its own manifest and lock, in a child process whose
/// environment differs in everything that can be made to differ, and compares every file. Returns
/// what was varied.
///
/// # Errors
/// [`Kind::Rejected`] naming the first file that differs.
pub fn again(
    target: &Path,
    lock: &Lock,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<String>> {
    let failed = || "failed preparing the second build".to_owned();
    let scratch = tempfile::Builder::new()
        .prefix("counterfoil-check-")
        .tempdir()
        .context(Kind::Environment, failed)?;
    // The other user must be able to come where the second build is.
    let root = rustix::process::geteuid().is_root() && is_open_to_all(scratch.path());
    let deep = scratch.path().join("a/deeper/working/directory");
    let (other_store, manifest) = (scratch.path().join("store"), deep.join("manifest.yaml"));
    fs::create_dir_all(&deep).context(Kind::Environment, failed)?;
    progress.begin("copying the inputs to another store", None);
    let copied = Store::open(&other_store)?;
    for (what, object) in lock.objects() {
        if let Some(opened) = store.get(object, &what)? {
            copied.put(opened.held.reader(), &what)?;
        }
    }
    for (packed, data) in lock.archives_unpacked() {
        copied.note_unpacked(packed, data)?;
    }
    progress.end();
    fs::copy(target.join(layout::MANIFEST), &manifest).context(Kind::Environment, failed)?;
    fs::copy(target.join(layout::LOCK), Lock::path_for(&manifest))
        .context(Kind::Environment, failed)?;
    if root {
        give_away(scratch.path()).context(Kind::Environment, failed)?;
    }

    progress.begin("building again", None);
    let varied = build(&deep, &other_store, root);
    progress.end();
    let varied = varied?;
    compare(target, &deep.join("release"))?;
    Ok(varied)
}

fn build(directory: &Path, store: &Path, root: bool) -> Result<Vec<String>> {
    let failed = || "failed starting the second build".to_owned();
    // Not by its path: that may lead through directories that the other user may not enter.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["build", "manifest.yaml", "--output", "release", "--offline", "--quiet"])
        .args(["--shuffle", SEED, "--store"])
        .arg(store)
        .current_dir(directory)
        .env_clear()
        .env("TZ", "Pacific/Chatham")
        .env("LANG", "tr_TR.UTF-8")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("HOME", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut varied: Vec<_> = [
        "umask",
        "time zone",
        "locale",
        "environment",
        "working directory",
        "store",
        "order of files",
    ]
    .map(str::to_owned)
    .into();
    if root {
        command.uid(OTHER_USER).gid(OTHER_USER);
        varied.push("user".to_owned());
    }
    // The child inherits both; this process takes its own back at once.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o077));
    let cpus = sched_getaffinity(None).ok();
    if let Some(all) = &cpus
        && let Some(one) = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu))
        && all.count() > 1
    {
        let mut single = CpuSet::new();
        single.set(one);
        if sched_setaffinity(None, &single).is_ok() {
            varied.push("CPU count".to_owned());
        }
    }
    let child = command.spawn();
    rustix::process::umask(umask);
    if let Some(all) = &cpus {
        let _ = sched_setaffinity(None, all);
    }
    let output =
        child.and_then(|child| child.wait_with_output()).context(Kind::Environment, failed)?;
    if output.status.success() {
        return Ok(varied);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(Kind::Environment, format!("the second build failed: {said}")))
}

/// Whether anybody may enter `path` and what is above it, but for itself.
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.ancestors().skip(1).all(|directory| {
        fs::metadata(directory).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    })
}

/// Lets the other user read what was copied and write beside it.
fn give_away(root: &Path) -> std::io::Result<()> {
    for entry in walkdir::WalkDir::new(root) {
        std::os::unix::fs::lchown(entry?.path(), Some(OTHER_USER), Some(OTHER_USER))?;
    }
    Ok(())
}

/// Compares two releases file by file, what is measured first.
///
/// # Errors
/// [`Kind::Rejected`] naming the first file that differs, and where.
pub fn compare(one: &Path, two: &Path) -> Result<()> {
    compare_volumes(one, two)?;
    let has = |root: &Path, name: &str| root.join(name).exists();
    let asked = layout::IF_ASKED.iter().filter(|name| has(one, name) || has(two, name));
    for name in layout::ALL.iter().chain(asked) {
        let read = |root: &Path| {
            let path = root.join(name);
            fs::read(&path)
                .context(Kind::Environment, || format!("failed reading `{}`", path.display()))
        };
        let (first, second) = (read(one)?, read(two)?);
        if first != second {
            let at = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
            let message = format!("`{name}` differs between the two builds, first at byte {at}");
            return Err(Error::new(Kind::Rejected, message).hint(
                "this is a bug in counterfoil: something of the machine leaked into the release",
            ));
        }
    }
    Ok(())
}

/// By digest: a volume may be larger than memory.
fn compare_volumes(one: &Path, two: &Path) -> Result<()> {
    let names = |root: &Path| -> Result<BTreeSet<_>> {
        let folder = root.join(layout::VOLUMES);
        let failed = || format!("failed reading `{}`", folder.display());
        if !folder.exists() {
            return Ok(BTreeSet::new());
        }
        let walk = walkdir::WalkDir::new(&folder).min_depth(1).sort_by_file_name();
        let name = |entry: walkdir::Result<walkdir::DirEntry>| Ok(entry?.file_name().to_owned());
        walk.into_iter()
            .map(name)
            .collect::<walkdir::Result<_>>()
            .context(Kind::Environment, failed)
    };
    for name in names(one)?.union(&names(two)?) {
        let digest = |root: &Path| {
            let path = root.join(layout::VOLUMES).join(name);
            File::open(&path)
                .and_then(store::digest)
                .context(Kind::Environment, || format!("failed reading `{}`", path.display()))
        };
        if digest(one)? != digest(two)? {
            let message =
                format!("the volume file `{}` differs between the two builds", name.display());
            return Err(Error::new(Kind::Rejected, message));
        }
    }
    Ok(())
}
