//! Holding an inventory against what is really in the artifacts. Whoever makes a release writes its
//! inventory too: nothing that it says is to be believed before every path of the initrd and of the
//! volumes was read, in order, and found to be what it says. Which input a path came from is in no artifact:
//! that such an input is locked is all that can be checked without a rebuild.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};

use crate::digest::{Hashing, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::cpio::read as cpio;
use crate::image::erofs::read::{Data, Inode, ReadError, Reader, Type};
use crate::input::progress::Progress;
use crate::input::{bounded, store};
use crate::layout;
use crate::manifest::Lock;
use crate::manifest::lock::LockedInput;
use crate::names::{GuestPath, Mode, Owner, VolumeName};
use crate::release::inventory::{Inventory, Item, Unlisted};
use crate::release::open::Release;
use crate::release::volumes;
use crate::tree::Blob;
use crate::tree::held::{FileRange, Held};
use crate::volume;

/// Bytes of a file that are read at a time.
const CHUNK: usize = 1 << 18;

/// A link's target is at most this long (PATH_MAX).
const TARGET_MAX: u64 = 4096;

/// The paths of a volume have at most so many bytes together, as in `volume inspect`.
const PATHS_MAX: usize = 1 << 28;

/// A release's paths, each of them read; and what could not be.
#[derive(Debug)]
pub struct Contents {
    /// The inventory.
    pub inventory: Inventory,
    /// The volumes whose paths are not known, and why.
    pub unseen: BTreeMap<VolumeName, Unseen>,
}

/// Why nothing can be said of what is on a volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unseen {
    /// It was made before; its root hash binds it.
    MadeBefore,
    /// Its salt is secret: what is on it is not to be known.
    Closed,
    /// Nothing binds it.
    Unverified,
    /// Its data are not here, so that nobody can hold the inventory against them.
    Absent,
}

impl Unseen {
    /// The reason, behind the volume's name.
    pub fn reason(self) -> &'static str {
        match self {
            Self::MadeBefore => "was made before, and no inventory lists it",
            Self::Closed => "is closed: its root hash binds it, and what is on it is not told",
            Self::Unverified => "is not verified: the host chooses what is on it",
            Self::Absent => "is not in the release, so that its inventory cannot be checked",
        }
    }
}

/// What was found at a path, for an item of an inventory to be.
struct Found<'a> {
    path: &'a [u8],
    kind: &'static str,
    mode: u16,
    owner: Owner,
    size: Option<u64>,
    sha256: Option<Sha256>,
    target: Option<Vec<u8>>,
}

impl Contents {
    /// Reads the artifacts of a release, which must already be those of its launch record, and holds its
    /// inventory against them.
    ///
    /// # Errors
    /// [`Kind::Rejected`] naming the first path that is not as the inventory says.
    pub fn read(release: &Release, progress: &dyn Progress) -> Result<Self> {
        let mut inventory = release.inventory()?;
        check_origins(&inventory, &release.lock()?)?;
        let path = release.path(layout::INITRD);
        let file = File::open(&path)
            .context(Kind::Environment, || format!("failed reading `{}`", path.display()))?;
        progress.begin("reading the initrd", None);
        let checked = initrd(BufReader::with_capacity(CHUNK, file), &inventory.initrd);
        progress.end();
        checked?;
        let mut unseen = BTreeMap::new();
        let manifest = release.manifest()?;
        for (name, volume) in &manifest.volumes {
            let why = match (inventory.volumes.get(name), inventory.unlisted.get(name)) {
                (Some(_), None) if !release.path(&layout::volume(name)).exists() => Unseen::Absent,
                (Some(items), None) => {
                    check_volume(release, name, items, progress)?;
                    continue;
                }
                (None, Some(Unlisted::Unverified)) if volume.is_unverified() => Unseen::Unverified,
                (None, Some(Unlisted::MadeBefore)) if volume.record.is_some() => {
                    match record(release, name)?.contents {
                        Some(_) => Unseen::MadeBefore,
                        None => Unseen::Closed,
                    }
                }
                _ => return Err(rejected(format!("of volume `{name}` it says what is not so"))),
            };
            unseen.insert(name.clone(), why);
        }
        let known = |name: &VolumeName| manifest.volumes.contains_key(name);
        let all = inventory.volumes.keys().chain(inventory.unlisted.keys());
        if let Some(name) = all.into_iter().find(|name| !known(name)) {
            return Err(rejected(format!("it lists a volume `{name}`, which there is not")));
        }
        inventory.volumes.retain(|name, _| !unseen.contains_key(name));
        Ok(Self { inventory, unseen })
    }
}

/// What paths are said to have come from must be there.
fn check_origins(inventory: &Inventory, lock: &Lock) -> Result<()> {
    let mut known: BTreeSet<String> = ["counterfoil", "manifest"].map(str::to_owned).into();
    for (name, input) in &lock.inputs {
        known.insert(name.to_string());
        if let LockedInput::Deb(packages) = input {
            known.extend(packages.iter().map(|package| format!("{name}/{}", package.package)));
        }
    }
    let mut items = inventory.volumes.values().chain([&inventory.initrd]).flatten();
    match items.find(|item| !known.contains(&item.from)) {
        Some(Item { path, from, .. }) => {
            Err(rejected(format!("`{path}` is said to be from `{from}`, which is not locked")))
        }
        None => Ok(()),
    }
}

/// Holds the items of an inventory against an initrd. It must be one archive as we write them, in which
/// nothing stands twice and no two names share their data: the kernel would go by the last.
///
/// # Errors
/// [`Kind::Rejected`] naming the first path that differs.
pub fn initrd(input: impl Read, items: &[Item]) -> Result<()> {
    let mut reader = cpio::Reader::new(input);
    let wrong = |error: cpio::ReadError| {
        let kind = match &error {
            cpio::ReadError::Io { .. } => Kind::Environment,
            _ => Kind::Malformed,
        };
        Error::caused(kind, "the initrd cannot be read", error)
    };
    let mut compare = Compare::new("the initrd", items);
    while let Some(member) = reader.next_member().map_err(wrong)? {
        let shown = shown(&member.name);
        if member.archive > 0 {
            return Err(rejected(format!("behind the initrd there is another, with `{shown}`")));
        }
        let path = [b"/", member.name.as_slice()].concat();
        let (kind, links) = match member.kind() {
            cpio::Type::Directory => ("directory", 2),
            cpio::Type::File => ("file", 1),
            cpio::Type::Symlink => ("symlink", 1),
            cpio::Type::Special => ("device", 1),
        };
        if member.nlink != links || member.mtime != 0 {
            let what = format!("the initrd has `{shown}` with other names, or a time");
            return Err(rejected(what));
        }
        let mut found = Found {
            path: &path,
            kind,
            mode: member.permissions(),
            owner: Owner { uid: member.uid, gid: member.gid },
            size: None,
            sha256: None,
            target: None,
        };
        let failed = || format!("failed reading `{shown}` of the initrd");
        match member.kind() {
            cpio::Type::File => {
                let object = store::digest(reader.data()).context(Kind::Malformed, failed)?;
                (found.size, found.sha256) = (Some(object.size), Some(object.sha256));
            }
            cpio::Type::Symlink => {
                let mut target = Vec::new();
                let mut data = reader.data().take(TARGET_MAX + 1);
                data.read_to_end(&mut target).context(Kind::Malformed, failed)?;
                found.target = Some(target);
            }
            _ => {}
        }
        compare.next(&found)?;
    }
    compare.end()
}

/// Holds the items of an inventory against a volume, whose root hash is checked first.
fn check_volume(
    release: &Release,
    name: &VolumeName,
    items: &[Item],
    progress: &dyn Progress,
) -> Result<()> {
    let path = release.path(&layout::volume(name));
    let named = || format!("`{}`", path.display());
    let record = record(release, name)?;
    let held = File::open(&path).and_then(Held::new).context(Kind::Environment, named)?;
    let file = FileRange::whole(held);
    let geometry = record.verity.geometry().ok_or_else(|| Error::new(Kind::Malformed, named()))?;
    let salt = record.verity.salt.of_volume(&file, geometry)?;
    let root = record.verity.root_hash;
    let jobs = volume::cores();
    if volume::verify(&file, geometry, &salt, root, jobs, progress)?.is_some() {
        let message = format!("{} is not the volume of root hash {root}", named());
        return Err(Error::new(Kind::Rejected, message)
            .hint("`counterfoil volume verify` says where it differs"));
    }
    progress.begin("reading the volume", None);
    let checked = erofs(&file, file.range.size, &format!("volume `{name}`"), items);
    progress.end();
    checked
}

/// Holds the items of an inventory against a file system.
fn erofs(file: &dyn Blob, size: u64, what: &str, items: &[Item]) -> Result<()> {
    let wrong = |error: ReadError| {
        let kind = match &error {
            ReadError::Unsupported(_) => Kind::CannotDecide,
            ReadError::Io(_) => Kind::Environment,
            _ => Kind::Malformed,
        };
        Error::caused(kind, format!("{what} cannot be read"), error)
    };
    let reader = Reader::new(file, size).map_err(wrong)?;
    // In the inventory's order, which is not that of directories: `/a-b` comes before `/a/c`.
    let mut inodes: BTreeMap<Vec<u8>, Inode> = BTreeMap::new();
    let mut room = PATHS_MAX;
    let walked = reader.walk(|path, inode| {
        room = room.checked_sub(path.len()).ok_or_else(|| {
            ReadError::Unsupported(format!("more than {PATHS_MAX} bytes of paths"))
        })?;
        if path != b"/" {
            inodes.insert(path.to_vec(), inode.clone());
        }
        Ok(())
    });
    walked.map_err(wrong)?;
    let mut compare = Compare::new(what, items);
    for (path, inode) in &inodes {
        if inode.attributes {
            return Err(rejected(format!("{what} has attributes on `{}`", shown(path))));
        }
        let mut found = Found {
            path,
            kind: "device",
            mode: inode.mode,
            owner: inode.owner,
            size: None,
            sha256: None,
            target: None,
        };
        match inode.kind {
            Type::Directory => found.kind = "directory",
            Type::File => {
                found.kind = "file";
                found.size = Some(inode.size);
                found.sha256 = Some(digest(&reader, inode).map_err(wrong)?);
            }
            Type::Symlink => {
                found.kind = "symlink";
                let size = inode.size.min(TARGET_MAX + 1);
                let mut target = vec![0; usize::try_from(size).unwrap_or(0)];
                reader.read_at(inode, &mut target, 0).map_err(wrong)?;
                found.target = Some(target);
            }
            Type::Special => {}
        }
        compare.next(&found)?;
    }
    compare.end()
}

/// SHA-256 of a file of a volume.
fn digest(reader: &Reader<'_>, inode: &Inode) -> std::result::Result<Sha256, ReadError> {
    if !matches!(inode.data, Data::Plain { .. } | Data::Inline { .. }) {
        return Err(ReadError::Unsupported("contents that are not plain".to_owned()));
    }
    let mut hashing = Hashing::new(io::sink());
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < inode.size {
        let count = usize::try_from(inode.size - at).unwrap_or(CHUNK).min(CHUNK);
        reader.read_at(inode, &mut chunk[..count], at)?;
        io::Write::write_all(&mut hashing, &chunk[..count]).map_err(ReadError::Io)?;
        at += count as u64;
    }
    Ok(hashing.finish().sha256)
}

/// The items of an inventory, one after another.
struct Compare<'a> {
    what: &'a str,
    items: std::slice::Iter<'a, Item>,
    before: Option<&'a GuestPath>,
}

impl<'a> Compare<'a> {
    fn new(what: &'a str, items: &'a [Item]) -> Self {
        Self { what, items: items.iter(), before: None }
    }

    fn next(&mut self, found: &Found<'_>) -> Result<()> {
        let (what, path) = (self.what, shown(found.path));
        let Some(item) = self.items.next() else {
            return Err(rejected(format!("{what} has `{path}`, which it does not list")));
        };
        if self.before.is_some_and(|before| *before >= item.path) {
            return Err(rejected(format!("it lists `{}` twice, or not in order", item.path)));
        }
        self.before = Some(&item.path);
        if item.path.as_str().as_bytes() != found.path {
            return Err(rejected(format!("where it lists `{}`, {what} has `{path}`", item.path)));
        }
        let target = item.target.as_ref().map(|target| target.as_bytes());
        let differs = [
            ("type", item.kind != found.kind),
            ("mode", item.mode != Mode(found.mode)),
            ("owner", item.owner != found.owner),
            ("size", item.size != found.size),
            ("contents", item.sha256 != found.sha256),
            ("target", target != found.target.as_deref()),
        ];
        match differs.into_iter().find(|(_, differs)| *differs) {
            Some((part, _)) => {
                Err(rejected(format!("`{path}` of {what} has another {part} than it says")))
            }
            None => Ok(()),
        }
    }

    fn end(mut self) -> Result<()> {
        match self.items.next() {
            Some(item) => {
                Err(rejected(format!("it lists `{}`, which is not in {}", item.path, self.what)))
            }
            None => Ok(()),
        }
    }
}

fn record(release: &Release, name: &VolumeName) -> Result<volume::Record> {
    let path = release.path(&layout::volume_record(name));
    volumes::read_record(&bounded::whole(&path)?, &format!("`{}`", path.display()))
}

fn rejected(what: String) -> Error {
    Error::new(Kind::Rejected, format!("`{}` is not of the artifacts: {what}", layout::INVENTORY))
        .hint("do not believe this inventory; rebuild the release, and compare")
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
