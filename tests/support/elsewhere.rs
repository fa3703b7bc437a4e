//! The root file system of another Debian than this machine's, made by Debian's own `debootstrap` from
//! the archive, and a way to be in it as if the machine were that one. Needs root, on a Debian.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use counterfoil::input::apt::sources::Sources;

use super::place::Ran;
use super::real;

/// Whoever it is there: nobody that this machine or that one knows.
pub const USER: u32 = 4242;

/// Goes there: the root becomes the whole file system of processes of their own, without a network.
const ENTER: &str = r#"
cd "$1"
mount --bind . .
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
pivot_root . mnt
cd /work
umount -l /mnt
hostname elsewhere
umask 077
user=$2
shift 2
exec env -i HOME=/work PATH=/usr/bin:/bin TZ=Asia/Kathmandu LC_ALL=C.UTF-8 \
    setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"
"#;

/// Another Debian, with a directory `/work` of this test's own.
pub struct Elsewhere {
    pub suite: String,
    root: PathBuf,
}

impl Elsewhere {
    /// The next suite after this machine's: its C library is not older than the one that the program
    /// under test was linked with.
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "a root file system needs root to be made");
        let os = fs::read_to_string("/etc/os-release").unwrap();
        let suite = match os.lines().any(|line| line == "VERSION_CODENAME=bookworm") {
            true => "trixie",
            false => "sid",
        };
        let root = real::root().join(format!("debian-{suite}"));
        if !root.is_dir() {
            let new = root.with_extension("new");
            // What an interrupted test left is of no use.
            let _ = fs::remove_dir_all(&new);
            debootstrap(suite, &new);
            fs::rename(&new, &root).unwrap();
        }
        let this = Self { suite: suite.to_owned(), root };
        let _ = fs::remove_dir_all(this.work());
        fs::create_dir(this.work()).unwrap();
        this
    }

    /// `/work` there, as it is seen from here.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Runs a command there, in `/work`, which is then [`USER`]'s.
    pub fn run(&self, command: &[&str]) -> Ran {
        for entry in walkdir::WalkDir::new(self.work()) {
            lchown(entry.unwrap().path(), Some(USER), Some(USER)).unwrap();
        }
        let entered = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"])
            .args(["--uts", "--ipc", "--net", "sh", "-euc", ENTER, "sh"])
            .arg(&self.root)
            .arg(USER.to_string())
            .args(command)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::of(&entered)
    }
}

fn debootstrap(suite: &str, root: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let run = |command: &mut Command| {
        let output = command.current_dir(here).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    };
    // A shell script, which need not be installed.
    run(Command::new("apt-get").args(["download", "debootstrap"]));
    let packages = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path());
    let package = packages.into_iter().find(|path| path.extension().is_some_and(|it| it == "deb"));
    run(Command::new("dpkg").arg("-x").arg(package.unwrap()).arg("unpacked"));
    let scripts = here.join("unpacked/usr/share/debootstrap");
    run(Command::new("sh")
        .arg(here.join("unpacked/usr/sbin/debootstrap"))
        .args(["--variant=minbase", suite])
        .arg(root)
        .arg(mirror())
        .env("DEBOOTSTRAP_DIR", scripts));
}

/// Where this machine has its packages from.
fn mirror() -> String {
    if let Ok(mirrors) = std::env::var("COUNTERFOIL_MIRROR")
        && let Some(first) = mirrors.split_whitespace().next()
    {
        return first.to_owned();
    }
    let os = fs::read_to_string("/etc/os-release").unwrap();
    let codename = os.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let sources = Sources::read(Path::new("/etc/apt")).unwrap().sources;
    let has = |suites: &[String]| suites.iter().any(|suite| Some(suite.as_str()) == codename);
    sources.into_iter().find(|source| has(&source.suites)).expect("no mirror of Debian's").uri
}
