//! The room: where programs from source are compiled. Its whole file system is unpacked from locked
//! packages; it has no network, no other process, and the same host name, user, path, environment and
//! umask everywhere. It needs no privileges: a user namespace makes whoever starts it root of the
//! room and of nothing else (user_namespaces(7)).
//!
//! What is the host's own in it: the processor, the kernel, the number of CPUs (in `JOBS`) and the
//! wall clock, which no namespace sets. A recipe must not let them show, and a lock pins what came
//! out, so that one that does is found out.

pub mod enter;
mod outputs;
mod root;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use enter::Privilege;

use crate::error::{Context as _, Error, Kind, Result};
use crate::names::{GuestPath, Line};
use crate::tree::Tree;

/// The rules of the room, in every recipe's digest.
///
/// # Changelog
/// `room/1`: namespaces for users, mounts, processes, network, IPC, host name and control groups; no
/// /proc, no /sys; results as ustar, sorted, times and owners zero.
pub const EPOCH: &str = "room/1";

/// Where a recipe's files are put and its results expected, in the room.
pub const BUILD: &str = "/build";

/// The directory of results, below [`BUILD`].
const OUT: &str = "build/out";

/// What a build finds in its environment, beside `JOBS`.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("HOME", BUILD),
    ("LC_ALL", "C"),
    ("LOGNAME", "root"),
    ("PATH", "/usr/bin:/usr/sbin"),
    ("SHELL", "/bin/sh"),
    ("SOURCE_DATE_EPOCH", "0"),
    ("TMPDIR", "/tmp"),
    ("TZ", "UTC"),
    ("USER", "root"),
];

/// A way into rooms.
#[derive(Clone, Debug)]
pub struct Room {
    /// This program, which enters in a process of its own.
    pub program: PathBuf,
    /// By whose leave.
    pub privilege: Privilege,
    /// How many processes a build may use at once.
    pub jobs: usize,
}

/// What is done in the room.
#[derive(Debug)]
pub struct Work<'a> {
    /// Everything in the room, `/build` with the recipe's files included.
    pub tree: &'a Tree,
    /// The program and its arguments, in `/build`.
    pub run: &'a [Line],
}

impl Room {
    /// Does `work` in a new room at `at`, an empty directory, and writes what is then in `/build/out`
    /// to `out` as a tar archive. What the build says goes to `log`.
    ///
    /// # Errors
    /// [`Kind::CannotDecide`] when this machine allows no room; [`Kind::Rejected`] when the build
    /// fails or leaves no result; [`Kind::Environment`] when something cannot be written.
    pub fn run(
        &self,
        work: &Work<'_>,
        at: &Path,
        log: &Path,
        out: &mut dyn io::Write,
    ) -> Result<()> {
        root::write(work.tree, at).context(Kind::Environment, || {
            format!("failed unpacking the room to `{}`", at.display())
        })?;
        for directory in [OUT, "dev/shm", "tmp"] {
            fs::create_dir_all(at.join(directory)).context(Kind::Environment, || {
                format!("failed making `{directory}` in the room")
            })?;
        }
        self.build(work.run, at, log)?;
        outputs::collect(&at.join(OUT), out)
    }

    fn build(&self, run: &[Line], at: &Path, log: &Path) -> Result<()> {
        let failed = || format!("failed writing `{}`", log.display());
        let file = File::create(log).context(Kind::Environment, failed)?;
        let again = file.try_clone().context(Kind::Environment, failed)?;
        let excuse = at.with_extension("excuse");
        let status = Command::new(&self.program)
            .arg("room")
            .args(["--parent", &std::process::id().to_string()])
            .args(["--privilege", self.privilege.name()])
            .arg("--excuse")
            .arg(&excuse)
            .arg(at)
            .arg("--")
            .args(run.iter().map(Line::as_str))
            .env_clear()
            .envs(ENVIRONMENT.iter().copied())
            .env("JOBS", self.jobs.to_string())
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(again)
            .status()
            .context(Kind::Environment, || "failed starting a process for the room".to_owned())?;
        if let Ok(reason) = fs::read_to_string(&excuse) {
            let _ = fs::remove_file(&excuse);
            return Err(enter::no_room(reason.trim_end(), self.privilege));
        }
        if status.success() {
            return Ok(());
        }
        // Then the log may be empty, too.
        if rustix::fs::statvfs(at).is_ok_and(|disk| disk.f_bavail == 0) {
            let message =
                format!("the disk under `{}` is full; the build failed on it", at.display());
            return Err(Error::new(Kind::Environment, message)
                .hint("make room there, or say another place with `--store DIR`"));
        }
        Err(Error::new(Kind::Rejected, format!("the build failed ({status})\n{}", last(log)))
            .hint(format!("everything it said is in `{}`", log.display())))
    }
}

/// The paths of the room where a recipe may put files.
pub fn is_for_recipes(path: &GuestPath) -> bool {
    path.as_str().strip_prefix(BUILD).is_some_and(|rest| rest.starts_with('/') && rest != "/out")
}

/// The end of a log, indented.
fn last(log: &Path) -> String {
    const LINES: usize = 12;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    let end = lines.get(from..).unwrap_or_default();
    end.iter().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}
