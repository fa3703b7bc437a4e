//! Programs that others wrote for the same formats, as Debian's unstable suite has them today: resolved by
//! our own reader of apt's archives (signatures checked, a suite that expired is taken), unpacked below the
//! target directory, never installed into the system. What was once unpacked there is used again.
//!
//! ```ignore
//! let Some(cosign) = debian::program("cosign") else { return };     // says `skipped: …` itself
//! let output = debian::offline(&cosign).args(["version"]).output();  // without any network
//! let Some(mut witness) = debian::litewitness() else { return };         // compiled once, by Debian's Go
//! let server = debian::Running::start(witness.args(…), port);            // ended when it is dropped
//! ```
//!
//! What a program cannot be had for is a failure where `CI` is set, and a skipped test elsewhere.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use counterfoil::digest::Sha256;
use counterfoil::error::in_one_line;
use counterfoil::input::store::Store;
use counterfoil::manifest::types::Deb;
use counterfoil::tree::archive::Archive;

use super::real;
use super::tools::unpack;

/// Which package has a program. None of them needs anything but a C library of 2022.
const PACKAGES: [(&str, &[&str]); 6] = [
    ("cosign", &["cosign"]),
    ("docker-registry", &["docker-registry"]),
    ("oras", &["oras"]),
    ("sigstore-go", &["sigstore-go-verification"]),
    (
        "sigsum-go",
        &[
            "sigsum-key",
            "sigsum-monitor",
            "sigsum-policy",
            "sigsum-submit",
            "sigsum-verify",
            "sigsum-witness",
        ],
    ),
    ("sigsum-log-go", &["sigsum-log-primary", "sigsum-mktree"]),
];

/// torchwood, and the 16 of its 244 dependencies that its witness is compiled from.
const TORCHWOOD: [&str; 17] = [
    "golang-filippo-torchwood-dev",
    "golang-github-cznic-mathutil-dev",
    "golang-github-dustin-go-humanize-dev",
    "golang-github-google-uuid-dev",
    "golang-github-remyoudompheng-bigfft-dev",
    "golang-github-zombiezen-go-sqlite-dev",
    "golang-golang-x-crypto-dev",
    "golang-golang-x-exp-dev",
    "golang-golang-x-mod-dev",
    "golang-golang-x-net-dev",
    "golang-golang-x-sync-dev",
    "golang-golang-x-sys-dev",
    "golang-golang-x-text-dev",
    "golang-modernc-libc-dev",
    "golang-modernc-memory-dev",
    "golang-modernc-sqlite-dev",
    "golang-sigsum-sigsum-go-dev",
];

/// The versions of Go, 1.N, that may compile it: unstable has two or three at a time.
const GO: std::ops::Range<u32> = 27..40;

/// One of the programs in [`PACKAGES`].
pub fn program(name: &str) -> Option<Command> {
    let package = PACKAGES.iter().find(|(_, programs)| programs.contains(&name));
    let (package, _) = package.unwrap_or_else(|| panic!("no package is known to have `{name}`"));
    let had = unpacked(package, &[package]).map(|root| command(&root.join("usr/bin").join(name)));
    or_skip(name, had)
}

/// torchwood's witness, which speaks C2SP's tlog-witness.
pub fn litewitness() -> Option<Command> {
    or_skip(
        "litewitness",
        compiled("litewitness", "filippo.io/torchwood/cmd/litewitness").map(|it| command(&it)),
    )
}

/// What tells that witness which logs it is to witness.
pub fn witnessctl() -> Option<Command> {
    let had = compiled("witnessctl", "filippo.io/torchwood/cmd/witnessctl");
    or_skip("witnessctl", had.map(|it| command(&it)))
}

/// A Go program of ours (one file), compiled against torchwood: its own word about our files.
pub fn with_torchwood(name: &str, source: &Path) -> Option<Command> {
    or_skip(name, compiled(name, source.to_str().unwrap()).map(|it| command(&it)))
}

/// The same command, without any network. Needs to be root, or a system that lets everyone have namespaces.
pub fn offline(command: &Command) -> Command {
    let mut alone = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        alone.arg("--map-root-user");
    }
    alone.args(["--net", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| alone.env(name, value));
    }
    if let Some(directory) = command.get_current_dir() {
        alone.current_dir(directory);
    }
    alone
}

/// A port of the loopback interface that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A server that was started, and ends with this value.
pub struct Running(Child);

impl Running {
    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(command: &mut Command, port: u16) -> Self {
        let name = format!("{command:?}");
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut this = Self(child);
        let patience = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = this.0.try_wait().unwrap() {
                panic!("{name} ended: {status}");
            }
            assert!(Instant::now() < patience, "{name} does not listen on {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        this
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    // Debian compiles Go without modules, for which the language's defaults are those of 2012: a pattern such
    // as "GET /path" would be a path with a space, and every request not found.
    command.env("GODEBUG", "httpmuxgo121=0");
    command.env("HOME", home());
    command
}

/// For what they keep in a home directory.
fn home() -> PathBuf {
    let home = place().join("home");
    fs::create_dir_all(&home).unwrap();
    home
}

fn place() -> PathBuf {
    real::root().join("debian-unstable")
}

fn or_skip<T>(name: &str, had: Result<T, String>) -> Option<T> {
    match had {
        Ok(had) => Some(had),
        Err(why) => {
            let ci = std::env::var_os("CI").is_some();
            assert!(!ci, "{name} cannot be had: {why}");
            eprintln!("skipped: {name} cannot be had: {why}");
            None
        }
    }
}

/// A root with these packages and nothing else in it.
fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Another list of packages is another place.
    let list = Sha256::of(packages.join(" ")).to_string();
    let target = place().join(format!("{name}-{}", &list[..8]));
    if target.is_dir() {
        return Ok(target);
    }
    let deb = Deb {
        suite: "sid".parse().unwrap(),
        component: "main".parse().unwrap(),
        packages: packages.iter().map(|name| name.parse().unwrap()).collect(),
        depends: Vec::new(),
    };
    let store = Store::open(&real::root().join("store")).unwrap();
    let found = real::with_resolver(&store, |resolver| resolver.packages(&deb));
    let found = found.map_err(|error| in_one_line(&error))?;
    fs::create_dir_all(place()).unwrap();
    let staging = tempfile::Builder::new().prefix(".new-").tempdir_in(place()).unwrap();
    let root = staging.path().join("root");
    for package in found {
        let archive = Archive::index(store.need(package.data, &package.package).unwrap().held);
        unpack(&archive.unwrap(), &root);
    }
    // Another process may have been quicker.
    let _ = fs::rename(root, &target);
    Ok(target)
}

/// A program compiled by Debian's Go from Debian's packages of sources, once: a minute of a processor's time.
fn compiled(name: &str, source: &str) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = place().join(format!("go-{name}"));
    let stale = |source: &Path| {
        let time = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
        source.is_file() && time(source) > time(&target)
    };
    if target.is_file() && !stale(Path::new(source)) {
        return Ok(target);
    }
    let sources = unpacked("torchwood", &TORCHWOOD)?;
    let go = go()?;
    let new = target.with_extension(std::process::id().to_string());
    let output = Command::new(go.join("bin/go"))
        .args(["build", "-o"])
        .arg(&new)
        .arg(source)
        .env_clear()
        .envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOTOOLCHAIN", "local")])
        .envs([("GOROOT", go), ("GOPATH", sources.join("usr/share/gocode"))])
        .envs([("GOCACHE", place().join("go-cache")), ("HOME", home())])
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    fs::rename(new, &target).unwrap();
    Ok(target)
}

/// The root of the oldest Go there is.
fn go() -> Result<PathBuf, String> {
    let mut why = String::new();
    for minor in GO {
        let packages = [format!("golang-1.{minor}-go"), format!("golang-1.{minor}-src")];
        match unpacked(&format!("go-1.{minor}"), &packages.each_ref().map(String::as_str)) {
            Ok(root) => return Ok(root.join(format!("usr/lib/go-1.{minor}"))),
            Err(error) if why.is_empty() => why = error,
            Err(_) => {}
        }
    }
    Err(why)
}
