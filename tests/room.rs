//! Rooms: what is in one, that nothing of the machine is, and that a build which fails leaves nothing.
//! Debian's busybox does the building.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use support::place::Ran;
use support::real;

/// A manifest whose `made` is what `script` leaves.
struct Place(tempfile::TempDir);

impl Place {
    fn new(script: &str) -> Self {
        // The archive is asked once, and not by every test.
        static LOCK: Mutex<Option<String>> = Mutex::new(None);
        let place = Self::unlocked(script);
        let mut lock = LOCK.lock().unwrap();
        let lock = lock.get_or_insert_with(|| {
            let place = Self::unlocked("echo x > out/x");
            let ran = real::run(place.path(), &["lock", "image.yaml"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            fs::read_to_string(place.lock_path()).unwrap()
        });
        fs::write(place.lock_path(), lock).unwrap();
        place
    }

    fn unlocked(script: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let recipe = real::manifests().join("kernels/debian-cloud.yaml");
        fs::copy(recipe, place.path().join("kernel.yaml")).unwrap();
        fs::write(place.path().join("image.yaml"), MANIFEST).unwrap();
        place.script(script);
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn script(&self, script: &str) {
        // Every test builds something of its own: a result that is known is not built again.
        let own = format!("# {}\nset -eu\n{script}\n", thread::current().name().unwrap());
        fs::write(self.path().join("build.sh"), own).unwrap();
    }

    fn lock(&self, arguments: &[&str]) -> Ran {
        real::run(self.path(), &[&["lock", "image.yaml", "--update", "script"], arguments].concat())
    }

    fn lock_path(&self) -> std::path::PathBuf {
        self.path().join("image.lock.yaml")
    }

    /// The digest of what was made, by the lock.
    fn result(&self) -> String {
        let lock = fs::read_to_string(self.lock_path()).unwrap();
        let (_, made) = lock.split_once("  made:\n").unwrap();
        let (_, result) = made.split_once("sha256: ").unwrap();
        result.trim_start_matches('"')[..64].to_owned()
    }
}

const MANIFEST: &str = r#"
version: 1
name: room
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  tools: {deb: {suite: trixie, packages: [busybox-static]}}
  script: {file: build.sh}
  made:
    build:
      room: [tools]
      links: {/usr/bin/sh: busybox}
      files:
        /build/build.sh: {from: script}
      run: [/bin/sh, build.sh]
  hello: {builtin: hello}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: kernel.yaml}
cmdline: console=ttyS0
files:
  - {path: /usr/bin/hello, from: hello, mode: "0755"}
  - {path: /made, from: made, source: /}
init: {exec: [/usr/bin/hello]}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
"#;

/// Whether this machine allows rooms. One that does not is what one of the tests is about; the others
/// have nothing to say there.
fn allowed(flags: &[&str]) -> bool {
    let all = [flags, &["--mount", "--pid", "--net", "--fork", "true"]].concat();
    let allowed = Command::new("unshare").args(all).stderr(Stdio::null()).status();
    let allowed = allowed.is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("skipped: no namespaces with {flags:?}");
    }
    allowed
}

const USER: &[&str] = &["--user", "--map-root-user"];

/// Everything that a build can see of where it is.
const LOOK: &str = r#"
b=busybox
{
    echo "$HOME $LC_ALL $PATH $SHELL $SOURCE_DATE_EPOCH $TMPDIR $TZ $USER $PWD"
    unset HOME LC_ALL PATH SHELL SOURCE_DATE_EPOCH TMPDIR TZ USER PWD LOGNAME SHLVL OLDPWD
    /bin/busybox env | /bin/busybox sed 's/=.*//'
    /bin/busybox id -u; /bin/busybox id -g; /bin/busybox uname -n; umask
    /bin/busybox ls -A / /dev /build /tmp
    /bin/busybox stat -c '%a %Y %n' /build/build.sh
    /bin/busybox ip -o link | /bin/busybox sed 's/ mtu.*//'
    /bin/busybox wget -T 3 -q -O - http://192.0.2.1/ 2>&1 || echo "no network"
    echo $$
} > out/seen
echo '#!' > out/program
/bin/busybox chmod 700 out/program
/bin/busybox mkdir -m 700 out/directory
echo x > out/directory/file
"#;

const SEEN: &str = "\
/build C /usr/bin:/usr/sbin /bin/sh 0 /tmp UTC root /build
JOBS
0
0
room
0022
/:
bin
build
dev
lib
lib64
sbin
tmp
usr

/build:
build.sh
out

/dev:
full
null
random
shm
urandom
zero

/tmp:
644 0 /build/build.sh
1: lo: <LOOPBACK>
wget: can't connect to remote host (192.0.2.1): Network is unreachable
no network
1
";

#[test]
fn nothing_of_the_machine_is_in_a_room() {
    if !allowed(USER) {
        return;
    }
    let place = Place::new(LOOK);
    assert_eq!(place.lock(&[]).code, 0);
    let ran = real::run(place.path(), &["build", "image.yaml", "--output", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let initrd = fs::read(place.path().join("out/image/initrd")).unwrap();
    let seen = initrd.windows(SEEN.len()).any(|window| window == SEEN.as_bytes());
    assert!(seen, "{}", String::from_utf8_lossy(&initrd[initrd.len() - 4096..]));
    // Again, by another store and another user in another place, from the same lock.
    let other = tempfile::tempdir().unwrap();
    for name in ["image.yaml", "kernel.yaml", "build.sh", "image.lock.yaml"] {
        fs::copy(place.path().join(name), other.path().join(name)).unwrap();
    }
    let ran = real::run(place.path(), &["build", "image.yaml", "--output", "out2", "--check"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("umask") && ran.stderr.contains("CPU count"), "{}", ran.stderr);
    if rustix::process::geteuid().is_root() && allowed(&[]) {
        let first = place.result();
        place.script(&format!("# and by root's leave\n{LOOK}"));
        let ran = place.lock(&["--room", "root"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(place.result(), first);
    }
}

#[test]
fn a_build_that_fails_says_why_and_leaves_nothing() {
    if !allowed(USER) {
        return;
    }
    let place = Place::new("echo first; echo the reason >&2; exit 3");
    let before = fs::read(place.lock_path()).unwrap();
    for _ in 0..2 {
        let ran = place.lock(&[]);
        let words = ["input `made` cannot be compiled", "exit status: 3", "| the reason", ".log"];
        ran.is_refusal(10, &words);
        assert_eq!(fs::read(place.lock_path()).unwrap(), before);
    }
    for (script, words) in [
        ("true", "left no file in `/build/out`"),
        ("busybox ln -s /etc/passwd out/link; echo x > out/x", "`link`"),
        ("busybox mkfifo out/pipe", "`pipe`"),
        ("/bin/nonesuch", "nonesuch: not found"),
    ] {
        place.script(script);
        place.lock(&[]).is_refusal(10, &[words]);
    }
    place.script("echo x > out/x");
    assert_eq!(place.lock(&[]).code, 0);
}

#[test]
fn a_lock_holds_what_was_built() {
    if !allowed(USER) {
        return;
    }
    let place = Place::new("echo right > out/x");
    assert_eq!(place.lock(&[]).code, 0);
    let lock = fs::read_to_string(place.lock_path()).unwrap();
    let result = place.result();
    let altered = lock.replace(&result, &"5".repeat(64));
    fs::write(place.lock_path(), altered).unwrap();
    let build = ["build", "image.yaml", "--output", "out"];
    let words = ["input `made`", "compiled here it is", &result, &"5".repeat(64)];
    real::run(place.path(), &build).is_refusal(10, &words);
    let (_, recipe) = lock.split_once("recipe: ").unwrap();
    let recipe = &recipe.trim_start_matches('"')[..64];
    fs::write(place.lock_path(), lock.replace(recipe, &"6".repeat(64))).unwrap();
    real::run(place.path(), &build).is_refusal(10, &["the lock's recipe is"]);
    assert!(!place.path().join("out").exists());
    // What shapes the result is what is locked: another script is another recipe.
    fs::write(place.lock_path(), &lock).unwrap();
    place.script("echo wrong > out/x");
    real::run(place.path(), &build).is_refusal(10, &["`script`", "has changed since"]);
}

#[test]
fn a_killed_build_is_gone_and_known_to_be_unfinished() {
    if !allowed(USER) {
        return;
    }
    let place = Place::new("echo begun > out/x; busybox sleep 98765");
    let mut child = real::command(place.path(), &["lock", "image.yaml", "--update", "script"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let runs = || {
        walkdir::WalkDir::new("/proc").max_depth(1).into_iter().flatten().any(|entry| {
            fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.windows(5).any(|word| word == b"98765"))
        })
    };
    while !runs() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "never began");
        thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while runs() {
        assert!(Instant::now() < deadline, "the build goes on");
        thread::sleep(Duration::from_millis(50));
    }
    place.script("echo whole > out/x");
    assert_eq!(place.lock(&[]).code, 0);
}

/// In a namespace of our own, where a small disk and a forbidding kernel can be had.
fn within(place: &Place, before: &str, store: &Path) -> Option<Ran> {
    let (program, store) = (env!("CARGO_BIN_EXE_counterfoil"), store.to_str().unwrap());
    let script =
        format!("{before} && exec {program} lock image.yaml --update script --store {store}");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(place.path())
        .output()
        .unwrap();
    let ran = Ran::of(&output);
    if ran.stderr.starts_with("unshare:") {
        eprintln!("skipped: {}", ran.stderr);
        return None;
    }
    Some(ran)
}

#[test]
fn a_full_disk_is_said_to_be_one() {
    if !allowed(USER) {
        return;
    }
    let place = Place::new("busybox dd if=/dev/zero of=out/x bs=1M count=1000");
    let store = place.path().join("store");
    fs::create_dir(&store).unwrap();
    let mount = format!("mount -t tmpfs -o size=300m none {}", store.to_str().unwrap());
    let Some(ran) = within(&place, &mount, &store) else { return };
    ran.is_refusal(1, &["is full", "input `made`", "--store"]);
}

#[test]
fn a_machine_that_allows_no_room_is_told_what_to_do() {
    if !allowed(USER) {
        return;
    }
    let place = Place::new("echo x > out/x");
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces";
    let Some(ran) = within(&place, forbid, &real::root().join("store")) else { return };
    ran.is_refusal(20, &["no room to build in", "kernel.unprivileged_userns_clone", "--room root"]);
}

#[test]
fn recipes_that_cannot_be() {
    let place = Place::unlocked("");
    for (from, to, words) in [
        ("room: [tools]", "room: []", "`room` is empty"),
        ("room: [tools]", "room: [hello]", "`hello` has none"),
        ("room: [tools]", "room: [nothing]", "no input is named `nothing`"),
        ("room: [tools]", "room: [tools, made]", "compiled from itself"),
        ("/build/build.sh: {", "/etc/build.sh: {", "files are put below `/build`"),
        ("/build/build.sh: {", "/build/out: {", "files are put below `/build`"),
        ("run: [/bin/sh, build.sh]", "run: []", "`run` is empty"),
        (
            "links: {/usr/bin/sh: busybox}",
            "links: {/usr/bin/busybox: sh}",
            "the room cannot be furnished",
        ),
    ] {
        fs::write(place.path().join("image.yaml"), MANIFEST.replace(from, to)).unwrap();
        place.lock(&[]).is_refusal(30, &[words]);
    }
}
