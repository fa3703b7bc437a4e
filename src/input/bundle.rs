//! Bundles: every input of one lock in one file, so that a release can be rebuilt when no archive has its
//! packages any more.
//!
//! A bundle is a tar archive of the manifest, the lock, and the inputs as they were received, each by its
//! digest. It vouches for nothing: what comes out of it is held against the lock, like a download.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use crate::digest::{Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress;
use crate::input::store::Store;
use crate::layout;
use crate::manifest::load::Loaded;
use crate::manifest::lock::{LockedEntry, LockedInput};
use crate::manifest::{Lock, Manifest};
use crate::names::Name;

/// The writer's epoch.
///
/// # Changelog
/// ## bundle/1
/// A tar archive (GNU, as large files need): `manifest.yaml`, `lock.yaml`, and `objects/SHA256` for each
/// input as received, ascending. Modes 0644, everything else zero.
pub const EPOCH: &str = "bundle/1";

/// The largest manifest or lock that is believed.
const MAX_TEXT: u64 = 64 << 20;

const OBJECTS: &str = "objects/";

/// What a bundle is of.
#[derive(Debug)]
pub struct Contents {
    /// The manifest.
    pub manifest: Manifest,
    /// Its lock.
    pub lock: Lock,
    /// The inputs that were there.
    pub objects: BTreeSet<Sha256>,
}

/// Something that comes from outside, as it was received.
#[derive(Clone, Debug)]
pub struct External<'a> {
    /// The input that it belongs to; nothing for the programs that counterfoil carries.
    pub input: Option<&'a Name>,
    /// What it is, for messages.
    pub what: String,
    /// Its bytes.
    pub object: Object,
}

/// Everything of a lock that comes from outside, as it is received: packages packed, sources in their
/// parts. What is compiled is not among them, since everyone compiles it again.
pub fn externals(lock: &Lock) -> Vec<External<'_>> {
    let mut all = Vec::new();
    for (name, object) in &lock.builtin {
        all.push(External { input: None, what: format!("builtin `{name}`"), object: *object });
    }
    for (name, input) in &lock.inputs {
        let mut push = |what: String, object| {
            let what = format!("input `{name}`{what}");
            all.push(External { input: Some(name), what, object });
        };
        match input {
            LockedInput::Deb(packages) => {
                for package in packages {
                    push(
                        format!(", package `{}` {}", package.package, package.version),
                        package.deb(),
                    );
                }
            }
            LockedInput::Source(source) => {
                for (path, part) in &source.parts {
                    push(
                        format!(", `{path}` of {} {}", source.package, source.version),
                        part.object(),
                    );
                }
            }
            LockedInput::File(object) => push(String::new(), *object),
            LockedInput::Dir(entries) => {
                for (path, entry) in entries {
                    if let LockedEntry::File { sha256, size, .. } = entry {
                        push(format!(", `{path}`"), Object { sha256: *sha256, size: *size });
                    }
                }
            }
            LockedInput::Url(url) => push(String::new(), url.object()),
            LockedInput::Tar(tar) => push(String::new(), tar.packed()),
            LockedInput::Sdist(sdist) => push(format!(", `{}`", sdist.file), sdist.packed()),
            LockedInput::Builtin(_) | LockedInput::Build(_) => {}
        }
    }
    all
}

/// Writes the bundle of `lock` to `out`, from a store that holds all of it.
///
/// # Errors
/// [`Kind::CannotDecide`] naming the first input that the store does not hold.
pub fn write(
    manifest: &Manifest,
    lock: &Lock,
    store: &Store,
    out: impl Write,
    progress: &dyn Progress,
) -> Result<()> {
    // The same bytes may be an input twice.
    let objects: BTreeMap<Sha256, External<'_>> =
        externals(lock).into_iter().map(|external| (external.object.sha256, external)).collect();
    let failed = || "failed writing the bundle".to_owned();
    let mut tar = tar::Builder::new(out);
    for (name, text) in [(layout::MANIFEST, manifest.canonical()), (layout::LOCK, lock.canonical())]
    {
        append(&mut tar, name, text.len() as u64, text.as_bytes())
            .context(Kind::Environment, failed)?;
    }
    let total = objects.values().map(|external| external.object.size).sum();
    progress.begin("writing the bundle", Some(total));
    let mut done = 0;
    for External { what, object, .. } in objects.values() {
        let opened = store.need(*object, what)?;
        append(&mut tar, &format!("{OBJECTS}{}", object.sha256), object.size, opened.held.reader())
            .context(Kind::Environment, failed)?;
        done += object.size;
        progress.advance(done);
    }
    progress.end();
    tar.into_inner().and_then(|mut out| out.flush()).context(Kind::Environment, failed)
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    data: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    tar.append(&header, data)
}

/// Reads a bundle. Each input is handed to `take` with what it must be; one that the lock does not name
/// is refused.
///
/// # Errors
/// [`Kind::Malformed`] when it is no bundle; what `take` says.
pub fn read(
    bundle: impl Read,
    mut take: impl FnMut(&External<'_>, &mut dyn Read) -> Result<()>,
) -> Result<Contents> {
    let mut archive = tar::Archive::new(bundle);
    let malformed = |message: String| {
        Error::new(Kind::Malformed, format!("not a bundle: {message}"))
            .hint("a bundle is written by `counterfoil bundle create`")
    };
    // Raw: a header that speaks for the next one has no place here, and could be of any size.
    let entries = archive.entries().map(|entries| entries.raw(true));
    let mut entries =
        entries.context(Kind::Malformed, || "not a bundle: not a tar archive".to_owned())?;
    let mut text = |expected: &str| -> Result<String> {
        let entry = entries.next().transpose();
        let entry =
            entry.context(Kind::Malformed, || "not a bundle: not a tar archive".to_owned())?;
        let mut entry = entry
            .filter(|entry| is(entry, expected))
            .ok_or_else(|| malformed(format!("no `{expected}` where it should be")))?;
        if entry.size() > MAX_TEXT {
            return Err(malformed(format!("a `{expected}` of {} bytes", entry.size())));
        }
        let mut text = String::new();
        entry
            .read_to_string(&mut text)
            .context(Kind::Malformed, || format!("the bundle's `{expected}`"))?;
        Ok(text)
    };
    let manifest = Loaded::released(&text(layout::MANIFEST)?, "the bundle's `manifest.yaml`")?;
    let lock = Lock::released(&text(layout::LOCK)?, "the bundle's `lock.yaml`")?;
    lock.check_manifest(&manifest)?;
    let named: BTreeMap<Sha256, External<'_>> =
        externals(&lock).into_iter().map(|external| (external.object.sha256, external)).collect();
    let mut objects = BTreeSet::new();
    for entry in entries {
        let mut entry =
            entry.context(Kind::Malformed, || "the bundle is damaged, or cut off".to_owned())?;
        let path = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&path).into_owned();
        let external = name
            .strip_prefix(OBJECTS)
            .and_then(|digest| digest.parse::<Sha256>().ok())
            .and_then(|digest| named.get(&digest))
            .filter(|_| is(&entry, &name))
            .ok_or_else(|| malformed(format!("`{name}` is nothing that its lock names")))?;
        if entry.size() != external.object.size {
            return Err(malformed(format!(
                "{}: {} bytes, the lock says {}",
                external.what,
                entry.size(),
                external.object.size
            )));
        }
        if !objects.insert(external.object.sha256) {
            return Err(malformed(format!("`{name}` is there twice")));
        }
        let left = external.object.size;
        let mut data = Whole { entry: &mut entry, left, cut: false };
        let taken = take(external, &mut data);
        if data.cut {
            return Err(Error::new(Kind::Malformed, "the bundle is damaged, or cut off"));
        }
        taken?;
    }
    drop(named);
    Ok(Contents { manifest, lock, objects })
}

/// An entry that ends where its header says, or is noticed: the crate takes the end of a file for its end.
struct Whole<R> {
    entry: R,
    left: u64,
    cut: bool,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.entry.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        self.cut |= count == 0 && self.left > 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// Whether an entry is a file of this name.
fn is(entry: &tar::Entry<'_, impl Read>, name: &str) -> bool {
    entry.header().entry_type() == tar::EntryType::Regular
        && *entry.path_bytes() == *name.as_bytes()
}

/// Brings what is in a bundle into the store, each input held against the bundle's lock.
///
/// # Errors
/// As [`read`]; [`Kind::Rejected`] when an input is not what the lock says.
pub fn import(bundle: impl Read, store: &Store, progress: &dyn Progress) -> Result<Contents> {
    read(bundle, |external, data| {
        progress.detail(&external.what);
        store.put_checked(external.object, data, &external.what)
    })
}

/// Whether a file begins as a tar archive does (POSIX.1-1988, `magic` of `ustar`), and so may be a bundle.
pub fn looks_like_one(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}
