//! erofs-utils, veritysetup, e2fsck and mkfs.btrfs of Debian 12, unpacked below the target directory and started through
//! their own dynamic linker: what the volumes are held against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use counterfoil::digest::Sha256;
use counterfoil::input::store::Store;
use counterfoil::manifest::types::Deb;
use counterfoil::tree::archive::{Archive, Member};

use super::real;

/// The programs' packages and every library that they load there.
const PACKAGES: [&str; 25] = [
    "btrfs-progs",
    "cryptsetup-bin",
    "e2fsprogs",
    "erofs-utils",
    "libargon2-1",
    "libblkid1",
    "libc6",
    "libcom-err2",
    "libcryptsetup12",
    "libdevmapper1.02.1",
    "libext2fs2",
    "libjson-c5",
    "liblz4-1",
    "liblzma5",
    "liblzo2-2",
    "libpcre2-8-0",
    "libpopt0",
    "libselinux1",
    "libssl3",
    "libudev1",
    "libuuid1",
    "libzstd1",
    "systemd-boot-efi",
    "zlib1g",
    "zstd",
];

/// A command of one of the programs, such as `mkfs.erofs`, `veritysetup` or `e2fsck`.
pub fn tool(name: &str) -> Command {
    let root = root();
    let libraries: Vec<_> = ["lib", "usr/lib"]
        .map(|at| root.join(at).join("x86_64-linux-gnu").to_str().unwrap().to_owned())
        .into();
    let mut command = Command::new(root.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
    let program = ["usr/bin", "usr/sbin", "sbin"].map(|at| root.join(at).join(name));
    command.args(["--inhibit-cache", "--library-path", &libraries.join(":")]);
    command.arg(program.iter().find(|path| path.is_file()).unwrap());
    command
}

/// A file of one of the packages.
pub fn file(path: &str) -> PathBuf {
    root().join(path)
}

/// Runs one, which must succeed, and returns what it said.
#[track_caller]
pub fn succeeds(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{command:?}: {said}");
    said
}

fn root() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let tools = real::root().join("store/tools");
    // Another list of packages is another place.
    let list = Sha256::of(PACKAGES.join(" ")).to_string();
    let target = tools.join(format!("volumes-{}", &list[..16]));
    if target.is_dir() {
        return target;
    }
    let deb = Deb {
        suite: "bookworm".parse().unwrap(),
        component: "main".parse().unwrap(),
        packages: PACKAGES.iter().map(|name| name.parse().unwrap()).collect(),
        depends: Vec::new(),
    };
    let store = Store::open(&real::root().join("store")).unwrap();
    let packages = real::with_resolver(&store, |resolver| resolver.packages(&deb).unwrap());
    fs::create_dir_all(&tools).unwrap();
    let staging = tempfile::Builder::new().prefix(".volumes-").tempdir_in(&tools).unwrap();
    for package in packages {
        let archive = Archive::index(store.need(package.data, &package.package).unwrap().held);
        unpack(&archive.unwrap(), &staging.path().join("root"));
    }
    // Another process may have been quicker.
    let _ = fs::rename(staging.path().join("root"), &target);
    target
}

/// Everything in a package, below a root of one's own.
pub fn unpack(archive: &Archive, root: &Path) {
    for (path, indexed) in archive.iter() {
        let at = root.join(path.relative());
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match &indexed.member {
            Member::Directory => fs::create_dir_all(&at).unwrap(),
            Member::Symlink(target) => {
                let _ = std::os::unix::fs::symlink(target, &at);
            }
            Member::File(_) | Member::HardLink(_) => {
                fs::write(&at, archive.file(path).unwrap().0.read().unwrap()).unwrap();
                let mode = u32::from(indexed.mode & 0o755) | 0o600;
                let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
                fs::set_permissions(&at, mode).unwrap();
            }
            Member::Other(_) => {}
        }
    }
}
