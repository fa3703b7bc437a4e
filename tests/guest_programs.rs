//! The programs of the guest: that they are the ones expected, that anyone gets the same bytes, and
//! that `hello` answers.
#![allow(clippy::disallowed_methods, reason = "cargo tells a test where it is by the environment")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use counterfoil::digest::Sha256;
use counterfoil::guest;
use object::{Object as _, ObjectSegment as _};
use walkdir::WalkDir;

#[path = "../build.rs"]
#[allow(clippy::print_stdout, dead_code, reason = "the build script's own `main`")]
mod build_script;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_programs_are_the_expected_ones() {
    let found: String = guest::PROGRAMS
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", Sha256::of(bytes)))
        .collect();
    assert_eq!(
        found,
        include_str!("../initrd/programs.sha256"),
        "\nthe programs of the guest are not those of `initrd/programs.sha256`.\n\
         hint: if you changed `initrd/`, `build.rs`, the toolchain or a dependency of the guest, \
         put the digests on the left into that file, and say in the commit why they changed: every \
         launch digest changes with them.\n\
         hint: if you did not, your build of them is not the one that everybody else has: is `rustc \
         --version` the one of `rust-toolchain.toml`, and `cargo` configured to change the profile \
         of a dependency?\n"
    );
}

#[test]
fn a_program_is_found_by_its_name() {
    assert_eq!(guest::program("init"), Some(guest::INIT));
    assert_eq!(guest::program("hello"), Some(guest::HELLO));
    assert_eq!(guest::program("evidence"), Some(guest::EVIDENCE));
    assert_eq!(guest::program("sh"), None);
}

#[test]
fn the_programs_are_static_and_say_nothing_of_where_they_were_built() {
    for (name, bytes) in guest::PROGRAMS {
        let elf = object::File::parse(bytes).unwrap();
        assert_eq!(elf.architecture(), object::Architecture::X86_64, "{name}");
        assert_eq!(elf.kind(), object::ObjectKind::Executable, "{name} is not at fixed addresses");
        assert!(elf.imports().unwrap().next().is_none() && elf.dynamic_symbols().next().is_none());
        assert_eq!(elf.build_id().unwrap(), None, "{name}");
        for segment in elf.segments() {
            let object::SegmentFlags::Elf { p_flags, .. } = segment.flags() else { panic!() };
            let has = |flag: object::elf::ProgramFlags| p_flags & flag == flag;
            let (writable, executable) = (has(object::elf::PF_W), has(object::elf::PF_X));
            assert!(!(writable && executable), "{name} has memory to write code to");
        }
        for path in [ROOT, "/.cargo", "/registry/", ".rs\0", "/rustc/", "/home/"] {
            let found = bytes.windows(path.len()).any(|window| window == path.as_bytes());
            assert!(!found, "{name} has `{path}` in it");
        }
    }
}

/// Another directory, deeper; another home, another `CARGO_HOME` with settings that would change
/// every byte; another umask; other variables; and, where that can be had, another user.
#[test]
fn anyone_gets_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("a/rather/deep/place, with a blank");
    copy_sources(Path::new(ROOT), &root);
    let home = place.path().join("home");
    let cargo_home = hostile_cargo_home(&home);

    let cargo = env::var_os("CARGO").unwrap();
    let rustc = Path::new(&cargo).with_file_name("rustc");
    let variable = |name: &str| match name {
        "HOME" => Some(home.clone().into_os_string()),
        "CARGO_HOME" => Some(cargo_home.clone().into_os_string()),
        "RUSTC" if rustc.exists() => Some(rustc.clone().into_os_string()),
        "RUSTUP_HOME" => env::var_os(name).or_else(rustup_home),
        name => env::var_os(name),
    };
    let build = |out: &str| {
        let out = place.path().join(out);
        fs::create_dir_all(&out).unwrap();
        let command = somebody_else(&cargo);
        build_script::build(&root, &out, command, variable).unwrap();
        guest::PROGRAMS.map(|(name, _)| Sha256::of(fs::read(out.join(name)).unwrap()))
    };
    let ours = guest::PROGRAMS.map(|(_, bytes)| Sha256::of(bytes));
    assert_eq!(build("out"), ours);

    // The comparison can fail: one letter elsewhere, and the program with it in differs.
    let source = root.join("initrd/src/bin/hello/main.rs");
    let changed = fs::read_to_string(&source).unwrap().replacen("hello from c", "hello from C", 1);
    fs::write(&source, changed).unwrap();
    let changed = build("out").into_iter().zip(ours).zip(guest::PROGRAMS);
    let differ: Vec<_> =
        changed.filter(|((now, then), _)| now != then).map(|(_, (name, _))| name).collect();
    assert_eq!(differ, ["hello"]);
}

/// Cargo, run with another umask and hostile variables, and as nobody where the system lets us have
/// a user namespace: there, every call that asks who we are says so, and yet the toolchain in
/// our home can be read.
fn somebody_else(cargo: &OsString) -> Command {
    const NOBODY: [&str; 2] = ["unshare", "--user"];
    let asked = Command::new(NOBODY[0]).args(&NOBODY[1..]).args(["id", "-u"]).output();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]);
    if asked.is_ok_and(|output| output.stdout == b"65534\n") {
        command.args(NOBODY);
    }
    command.arg(cargo);
    command.envs([
        ("RUSTFLAGS", "-g"),
        ("CARGO_PROFILE_GUEST_OPT_LEVEL", "3"),
        ("LC_ALL", "tr_TR"),
    ]);
    command
}

/// A `CARGO_HOME` of its own that finds the fetched crates under another path.
fn hostile_cargo_home(home: &Path) -> PathBuf {
    let cargo_home = home.join(".cargo-elsewhere");
    fs::create_dir_all(&cargo_home).unwrap();
    let real = env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_else(|| {
        let home = env::var_os("HOME").unwrap();
        Path::new(&home).join(".cargo")
    });
    std::os::unix::fs::symlink(real.join("registry"), cargo_home.join("registry")).unwrap();
    let mut config = String::from(
        "[build]\nrustflags = ['-g']\nrustc-wrapper = '/bin/false'\nbuild-dir = '/proc/nowhere'\n\
         [target.x86_64-unknown-linux-gnu]\nrustflags = ['-Copt-level=0']\n\
         [profile.release]\ndebug = true\ncodegen-units = 16\n\
         [profile.guest]\nopt-level = 0\noverflow-checks = false\ndebug-assertions = true\n",
    );
    // If crates come from a mirror, they must go on doing so.
    for name in ["config.toml", "config"] {
        if let Ok(real) = fs::read_to_string(real.join(name)) {
            let sources = real.find("[source").map_or("", |at| &real[at..]);
            config.push_str(sources);
            break;
        }
    }
    fs::write(cargo_home.join("config.toml"), config).unwrap();
    cargo_home
}

fn rustup_home() -> Option<OsString> {
    let home = env::var_os("HOME")?;
    Some(Path::new(&home).join(".rustup").into_os_string())
}

/// What cargo reads of a workspace: manifests, and the files that they name.
fn copy_sources(from: &Path, to: &Path) {
    let skipped = |name: &str| matches!(name, "target" | ".git" | "releases");
    let entries = WalkDir::new(from)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !skipped(entry.file_name().to_str().unwrap_or_default()));
    for entry in entries {
        let entry = entry.unwrap();
        let extension = entry.path().extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("rs" | "toml" | "lock")) {
            let copy = to.join(entry.path().strip_prefix(from).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}

/// `hello` as it is in the guest, running here.
struct Hello {
    child: Child,
    port: u16,
    _place: tempfile::TempDir,
}

impl Hello {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("hello");
        fs::write(&path, guest::HELLO).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(path).arg(port.to_string()).spawn().unwrap();
        let hello = Self { child, port, _place: place };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "hello does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        hello
    }

    fn ask(&self, request: &[u8]) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        connection.write_all(request).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hello_answers_whatever_it_is_sent() {
    let hello = Hello::start();
    let good = b"GET / HTTP/1.1\r\nHost: guest\r\n\r\n";
    assert!(hello.ask(good).ends_with("\r\n\r\nhello from counterfoil\n"));
    assert!(hello.ask(b"HEAD / HTTP/1.1\r\n\r\n").ends_with("Connection: close\r\n\r\n"));
    assert!(hello.ask(b"GET /etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    for bad in [&b""[..], b"\r\n\r\n", b"GET", &[0xff; 5000], &[b'\r'; 4096], b"\x16\x03\x01\x02"] {
        assert!(hello.ask(bad).starts_with("HTTP/1.1 400 "), "{}", bad.escape_ascii());
    }
    // Callers who say nothing, or leave in the middle.
    drop(TcpStream::connect(("127.0.0.1", hello.port)).unwrap());
    let silent = TcpStream::connect(("127.0.0.1", hello.port)).unwrap();
    assert!(hello.ask(good).ends_with("hello from counterfoil\n"), "a silent caller blocks others");
    drop(silent);
}

#[test]
fn init_does_nothing_when_it_is_not_pid_1() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("init");
    fs::write(&path, guest::INIT).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "counterfoil-init: not PID 1: this program runs in a guest only\n");
}
