//! A compiler for browsers: the toolchain's own where it has the target, or Debian's, unpacked below the target
//! directory and started through its own dynamic linker. Nothing is installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use counterfoil::digest::Sha256;
use counterfoil::input::store::Store;
use counterfoil::manifest::types::Deb;
use counterfoil::tree::archive::Archive;

use crate::compile::Tools;
use crate::support::{real, tools};

/// The suite whose compiler is new enough for this workspace. Stable ones are not.
const SUITE: &str = "sid";

/// The compiler, the target, and a linker for it.
const PACKAGES: [&str; 4] = ["libc6", "libstd-rust-dev-wasm32", "lld", "rustc"];

/// What of that which they depend on they load or read. The rest is for linking programs of the host, which
/// is done with the host's own.
const DEPENDS: [&str; 15] = [
    "libbsd0",
    "libedit2",
    "libffi8",
    "libgcc-s1",
    "libicu*",
    "libllvm*",
    "liblzma5",
    "libmd0",
    "libstd-rust-*",
    "libstdc++6",
    "libtinfo6",
    "libxml2*",
    "libzstd1",
    "lld-*",
    "zlib1g",
];

/// What compiles for WebAssembly here. A machine that cannot have it skips the test by name, unless it is the
/// one that decides. With `COUNTERFOIL_TEST_WASM=debian` it is Debian's whatever the toolchain has.
pub(crate) fn tools() -> Option<Tools> {
    let debian = env::var_os("COUNTERFOIL_TEST_WASM").is_some_and(|value| value == "debian");
    if !debian && has_target() {
        return Some(Tools::default());
    }
    match root() {
        Ok(root) => Some(wrapped(&root)),
        Err(error) => {
            let missing = format!("no compiler for `wasm32-unknown-unknown`: {error}");
            assert!(env::var_os("CI").is_none(), "{missing}");
            eprintln!("skipped: {missing}");
            None
        }
    }
}

/// Whether the toolchain that runs these tests has the target.
fn has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
    Command::new(rustc).args(asked).output().is_ok_and(|output| {
        let directory = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(directory.trim()).is_dir()
    })
}

/// Debian's packages of the day, unpacked once. They are gone from the archive within days, so nothing here
/// says which they are.
fn root() -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let tools = real::root().join("store/tools");
    // Another list of packages is another place.
    let list = Sha256::of([&PACKAGES[..], &DEPENDS[..]].concat().join(" ")).to_string();
    let target = tools.join(format!("rust-{}", &list[..16]));
    if target.is_dir() {
        return Ok(target);
    }
    let deb = Deb {
        suite: SUITE.parse().unwrap(),
        component: "main".parse().unwrap(),
        packages: PACKAGES.iter().map(|name| name.parse().unwrap()).collect(),
        depends: DEPENDS.iter().map(|name| name.parse().unwrap()).collect(),
    };
    let store = Store::open(&real::root().join("store")).unwrap();
    let packages = real::with_resolver(&store, |resolver| resolver.packages(&deb));
    let packages = packages.map_err(|error| error.to_string())?;
    fs::create_dir_all(&tools).unwrap();
    let staging = tempfile::Builder::new().prefix(".rust-").tempdir_in(&tools).unwrap();
    for package in packages {
        let archive = Archive::index(store.need(package.data, &package.package).unwrap().held);
        tools::unpack(&archive.unwrap(), &staging.path().join("root"));
    }
    // Another process may have been quicker.
    let _ = fs::rename(staging.path().join("root"), &target);
    Ok(target)
}

/// Scripts in the place of both programs, since cargo and rustc start theirs by a path alone. The linker's
/// name tells rustc how to speak to it.
fn wrapped(root: &Path) -> Tools {
    let library = root.join("usr/lib/x86_64-linux-gnu");
    let loader = root.join("usr/lib64/ld-linux-x86-64.so.2");
    let start = |program: &Path, arguments: &str| {
        format!(
            "#!/bin/sh\nexec '{}' --inhibit-cache --library-path '{}' '{}' {arguments} \"$@\"\n",
            loader.display(),
            library.display(),
            program.display(),
        )
    };
    let llvm = fs::read_dir(root.join("usr/lib")).unwrap().map(Result::unwrap);
    let linker = llvm
        .map(|entry| entry.path().join("bin/wasm-ld"))
        .find(|path| path.exists())
        .expect("`lld` has a linker for WebAssembly");
    let sysroot = format!("--sysroot '{}'", root.join("usr").display());
    let rustc = root.join("rustc");
    script(&rustc, &start(&root.join("usr/bin/rustc"), &sysroot));
    let wasm_ld = root.join("wasm-ld");
    script(&wasm_ld, &start(&linker, ""));
    Tools { rustc: Some(rustc), linker: Some(wasm_ld) }
}

fn script(path: &Path, text: &str) {
    if fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        return;
    }
    // A rename, since another test may be starting it.
    let new = path.with_extension(std::process::id().to_string());
    fs::write(&new, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&new, mode).unwrap();
    fs::rename(new, path).unwrap();
}
