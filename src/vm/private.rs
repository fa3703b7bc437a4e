//! Debian's QEMU in a directory of its own, for machines whose own is too old or not there.
//! Nothing is installed, and nobody needs to be root.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Kind, Result};
use crate::input::resolve::Resolver;
use crate::manifest::types::Deb;
use crate::names::GuestPath;
use crate::tree::archive::{Archive, Member};

/// The suite whose QEMU is taken: the oldest stable release that has a new enough one.
const SUITE: &str = "trixie";

/// QEMU and every library that it loads in that suite.
const PACKAGES: [&str; 47] = [
    "libaio1t64",
    "libatomic1",
    "libblkid1",
    "libbpf1",
    "libc6",
    "libcap2",
    "libcapstone5",
    "libdaxctl1",
    "libelf1t64",
    "libfdt1",
    "libffi8",
    "libfuse3-4",
    "libglib2.0-0t64",
    "libgmp10",
    "libgnutls30t64",
    "libhogweed6t64",
    "libibverbs1",
    "libidn2-0",
    "libjpeg62-turbo",
    "libkmod2",
    "libmount1",
    "libndctl6",
    "libnettle8t64",
    "libnl-3-200",
    "libnl-route-3-200",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libpixman-1-0",
    "libpmem1",
    "libpng16-16t64",
    "librdmacm1t64",
    "libsasl2-2",
    "libseccomp2",
    "libselinux1",
    "libslirp0",
    "libssl3t64",
    "libtasn1-6",
    "libudev1",
    "libunistring5",
    "liburing2",
    "libuuid1",
    "libvdeplug2t64",
    "libzstd1",
    "qemu-system-data",
    "qemu-system-x86",
    "zlib1g",
];

/// What of the packages is unpacked: programs, libraries and the two images that direct boot reads.
const WANTED: [&str; 5] = [
    "/usr/bin/qemu-system-x86_64",
    "/usr/lib/x86_64-linux-gnu/",
    "/usr/lib64/",
    "/usr/share/qemu/linuxboot_dma.bin",
    "/usr/share/qemu/kvmvapic.bin",
];

/// The directory of Debian's QEMU below `tools`, unpacked if it is not there yet.
///
/// # Errors
/// When the packages cannot be had or unpacked.
pub fn root(tools: &Path, resolver: &Resolver<'_>) -> Result<PathBuf> {
    let target = tools.join("qemu");
    if target.is_dir() {
        return Ok(target);
    }
    resolver.fetcher.progress.note(
        "this machine has no QEMU 10 or newer; fetching Debian's into the cache (27 MB, once)",
    );
    let named = || "Debian's QEMU".to_owned();
    let names = PACKAGES.iter().map(|name| name.parse());
    let deb = Deb {
        suite: SUITE.parse().context(Kind::Malformed, named)?,
        component: crate::names::Suite::main(),
        packages: names.collect::<Result<_, _>>().context(Kind::Malformed, named)?,
        depends: Vec::new(),
    };
    let packages = resolver.packages(&deb)?;
    let failed = || format!("failed unpacking QEMU below `{}`", tools.display());
    fs::create_dir_all(tools).context(Kind::Environment, failed)?;
    let staging = tempfile::Builder::new()
        .prefix(".qemu-")
        .tempdir_in(tools)
        .context(Kind::Environment, failed)?;
    let new = staging.path().join("root");
    for package in packages {
        let what = format!("package `{}`", package.package);
        let opened = resolver.fetcher.store.need(package.data, &what)?;
        let archive = Archive::index(opened.held).context(Kind::Malformed, || what)?;
        for (path, indexed) in archive.iter().filter(|(path, _)| is_wanted(path)) {
            unpack(&archive, path, &indexed.member, indexed.mode, &new)
                .context(Kind::Environment, failed)?;
        }
    }
    match fs::rename(&new, &target) {
        // Another process was quicker.
        Err(_) if target.is_dir() => Ok(target),
        result => result.map(|()| target).context(Kind::Environment, failed),
    }
}

fn is_wanted(path: &GuestPath) -> bool {
    WANTED.iter().any(|wanted| path.as_str().starts_with(wanted))
}

fn unpack(
    archive: &Archive,
    path: &GuestPath,
    member: &Member,
    mode: u16,
    root: &Path,
) -> io::Result<()> {
    let at = root.join(path.relative());
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    match member {
        Member::Directory => fs::create_dir_all(&at),
        Member::Symlink(target) => symlink(target, &at),
        Member::File(_) | Member::HardLink(_) => {
            let (range, _) = archive.file(path).map_err(io::Error::other)?;
            fs::write(&at, range.read()?)?;
            fs::set_permissions(&at, fs::Permissions::from_mode(u32::from(mode & 0o755) | 0o600))
        }
        Member::Other(_) => Ok(()),
    }
}
