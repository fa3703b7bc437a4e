//! Reading tar archives and Debian packages: an index of paths, contents left where they are.
//!
//! Nothing is unpacked to disk. An archive that holds a path with `..`, an absolute path, the same
//! file twice or a size beyond its end is refused whole; links, devices and sparse files are refused
//! when they are asked for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Seek as _, Write};
use std::sync::Arc;

use object::read::ReadCache;
use object::read::archive::ArchiveFile;
use tar::EntryType;

use crate::names::GuestPath;
use crate::tree::Blob as _;
use crate::tree::held::{FileRange, Held, Range};

/// How many symbolic links a path may lead through, as in the kernel (path_resolution(7)).
pub const MAX_LINKS: usize = 40;

/// An archive that cannot be read, or a path in it that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not an `ar` archive with the members of a package (deb(5)).
    #[error("not a Debian package: {0}")]
    NotDeb(String),
    /// A compression that is not read.
    #[error("`{0}` is compressed in a way that is not read; expected none, gzip, xz or zstd")]
    Compression(String),
    /// A path that is not relative and normalised.
    #[error("the archive holds the path `{0}`, which leaves its root or is not a plain path")]
    Path(String),
    /// The same path twice.
    #[error("the archive holds `{0}` twice")]
    Twice(GuestPath),
    /// An entry that does not fit into the archive.
    #[error(
        "the archive is cut short: `{path}` should end at byte {end}, the archive ends at {length}"
    )]
    Short {
        /// The entry.
        path: GuestPath,
        /// Where its bytes should end.
        end: u64,
        /// Where the archive ends.
        length: u64,
    },
    /// More bytes than allowed.
    #[error("unpacks to more than the {0} bytes allowed")]
    TooLarge(u64),
    /// No such path.
    #[error("holds no `{path}`{near}")]
    Missing {
        /// The path asked for.
        path: GuestPath,
        /// What it holds that is spelt alike, as the end of the sentence.
        near: String,
    },
    /// Something that is not a file, a directory or a link.
    #[error("`{path}` is a {kind}, which a guest image does not take from a package")]
    Kind {
        /// The path.
        path: GuestPath,
        /// What it is.
        kind: &'static str,
    },
    /// A link that leads nowhere, in a circle, or out of the archive.
    #[error("`{path}` is a link to `{target}`, which the archive does not hold")]
    Link {
        /// The path.
        path: GuestPath,
        /// Its target.
        target: String,
    },
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an archive holds at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A directory.
    Directory,
    /// A file: where its bytes are.
    File(Range),
    /// A symbolic link to a target.
    Symlink(String),
    /// A hard link to another path of the archive.
    HardLink(GuestPath),
    /// A device, FIFO or sparse file, by name.
    Other(&'static str),
}

/// A member and its permission bits.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// What it is.
    pub member: Member,
    /// Permission bits.
    pub mode: u16,
}

/// An uncompressed tar archive and the index of its paths.
#[derive(Clone, Debug)]
pub struct Archive {
    file: Arc<Held>,
    members: BTreeMap<GuestPath, Indexed>,
}

impl Archive {
    /// Indexes the uncompressed tar archive in `file`.
    ///
    /// # Errors
    /// When it is not one, or holds a path that no honest package holds.
    pub fn index(held: Held) -> Result<Self, ArchiveError> {
        let length = held.size();
        let file = Arc::new(held);
        let mut members = BTreeMap::new();
        file.file().rewind()?;
        let mut reader = tar::Archive::new(file.file());
        for entry in reader.entries_with_seek()? {
            let entry = entry?;
            let Some(path) = normal_path(&entry.path_bytes())? else { continue };
            let range = Range { offset: entry.raw_file_position(), size: entry.size() };
            let mode = u16::try_from(entry.header().mode()? & 0o7777).unwrap_or(0);
            let member = match entry.header().entry_type() {
                EntryType::Directory => Member::Directory,
                EntryType::Regular | EntryType::Continuous => {
                    let end = range.offset.saturating_add(range.size);
                    if end > length {
                        return Err(ArchiveError::Short { path, end, length });
                    }
                    Member::File(range)
                }
                EntryType::Symlink => Member::Symlink(link_target(&entry)?),
                EntryType::Link => {
                    let target = link_target(&entry)?;
                    let normal = normal_path(target.as_bytes())?;
                    Member::HardLink(normal.ok_or(ArchiveError::Path(target))?)
                }
                EntryType::Block => Member::Other("block device"),
                EntryType::Char => Member::Other("character device"),
                EntryType::Fifo => Member::Other("FIFO"),
                EntryType::GNUSparse => Member::Other("sparse file"),
                _ => Member::Other("file of an unknown type"),
            };
            let directory = member == Member::Directory;
            let before = members.insert(path.clone(), Indexed { member, mode });
            if before.is_some_and(|before| !directory || before.member != Member::Directory) {
                return Err(ArchiveError::Twice(path));
            }
        }
        // Many archives hold files without the directories above them.
        let mut implied: Vec<_> = members.keys().filter_map(GuestPath::parent).collect();
        while let Some(path) = implied.pop() {
            if let Entry::Vacant(entry) = members.entry(path) {
                implied.extend(entry.key().parent());
                entry.insert(Indexed { member: Member::Directory, mode: 0o755 });
            }
        }
        let root = Indexed { member: Member::Directory, mode: 0o755 };
        members.entry(GuestPath::root()).or_insert(root);
        Ok(Self { file, members })
    }

    /// Every path with what stands there, in bytewise order.
    pub fn iter(&self) -> impl Iterator<Item = (&GuestPath, &Indexed)> {
        self.members.iter()
    }

    /// What `path` means: links are followed within the archive, never out of it. The path returned
    /// is the one that finally holds it.
    ///
    /// # Errors
    /// When there is nothing there, or a link leads nowhere.
    pub fn resolve(&self, path: &GuestPath) -> Result<(GuestPath, &Indexed), ArchiveError> {
        let mut at = path.clone();
        for _ in 0..MAX_LINKS {
            let Some(found) = self.members.get(&at) else {
                if let Some(through) = self.through_linked_parent(&at) {
                    at = through;
                    continue;
                }
                return Err(match at == *path {
                    true => self.missing(path),
                    false => ArchiveError::Link { path: path.clone(), target: at.to_string() },
                });
            };
            match &found.member {
                Member::Symlink(target) => {
                    at = follow(&at, target).ok_or_else(|| ArchiveError::Link {
                        path: path.clone(),
                        target: target.clone(),
                    })?;
                }
                Member::HardLink(target) => at = target.clone(),
                _ => return Ok((at, found)),
            }
        }
        Err(ArchiveError::Link { path: path.clone(), target: at.to_string() })
    }

    /// The bytes of the file that `path` means.
    ///
    /// # Errors
    /// As [`Archive::resolve`], and when it is not a file.
    pub fn file(&self, path: &GuestPath) -> Result<(FileRange, u16), ArchiveError> {
        let (at, found) = self.resolve(path)?;
        match &found.member {
            Member::File(range) => {
                Ok((FileRange { file: self.file.clone(), range: *range }, found.mode))
            }
            Member::Other(kind) => Err(ArchiveError::Kind { path: at, kind }),
            _ => Err(ArchiveError::Kind { path: at, kind: "directory where a file is expected" }),
        }
    }

    /// `/lib64/x` where `/lib64` is a link to `usr/lib64` is `/usr/lib64/x`.
    fn through_linked_parent(&self, path: &GuestPath) -> Option<GuestPath> {
        let mut parent = path.parent();
        while let Some(directory) = parent {
            if let Some(Indexed { member: Member::Symlink(target), .. }) =
                self.members.get(&directory)
            {
                let rest = &path.as_str()[directory.as_str().len() + 1..];
                return follow(&directory, target)?.join(rest).ok();
            }
            parent = directory.parent();
        }
        None
    }

    fn missing(&self, path: &GuestPath) -> ArchiveError {
        let name = path.as_str().rsplit('/').next().unwrap_or_default();
        let near = self
            .members
            .keys()
            .find(|held| held.as_str().rsplit('/').next() == Some(name))
            .map(|held| format!("; it holds `{held}`"))
            .unwrap_or_default();
        ArchiveError::Missing { path: path.clone(), near }
    }
}

/// Writes the uncompressed `data.tar` of the package in `deb` to `out` (deb(5)).
///
/// # Errors
/// When it is not a package, or unpacks to more than `limit` bytes.
pub fn unpack_deb(deb: &Arc<Held>, limit: u64, out: impl Write) -> Result<(), ArchiveError> {
    let not_deb = |error: object::Error| ArchiveError::NotDeb(error.to_string());
    let cache = ReadCache::new(deb.file());
    let archive = ArchiveFile::parse(&cache).map_err(not_deb)?;
    let mut members = Vec::new();
    for member in archive.members() {
        let member = member.map_err(not_deb)?;
        let name = String::from_utf8_lossy(member.name()).trim_end_matches('/').to_owned();
        let (offset, size) = member.file_range();
        members.push((name, Range { offset, size }));
    }
    if members.first().is_none_or(|(name, _)| name != "debian-binary") {
        let reason = "its first member is not `debian-binary`";
        return Err(ArchiveError::NotDeb(reason.to_owned()));
    }
    let Some((name, range)) = members.iter().find(|(name, _)| name.starts_with("data.tar")) else {
        return Err(ArchiveError::NotDeb("it has no member `data.tar`".to_owned()));
    };
    if range.offset.saturating_add(range.size) > deb.size() {
        return Err(ArchiveError::NotDeb(format!("it is cut short inside `{name}`")));
    }
    decompress(FileRange { file: deb.clone(), range: *range }.open()?, name, limit, out)
}

/// Writes what `reader` holds, uncompressed, to `out`. The compression is told by the first bytes.
///
/// # Errors
/// When the compressed data is damaged, or unpacks to more than `limit` bytes.
pub fn decompress(
    mut reader: impl Read,
    name: &str,
    limit: u64,
    mut out: impl Write,
) -> Result<(), ArchiveError> {
    let mut magic = Vec::with_capacity(6);
    reader.by_ref().take(6).read_to_end(&mut magic)?;
    let whole = io::Cursor::new(magic.clone()).chain(reader);
    let mut plain: Box<dyn Read + '_> = match magic.as_slice() {
        // RFC 1952 2.3.1; the .xz format 2.1.1.1; RFC 8878 3.1.1.
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(whole, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(
            ruzstd::decoding::StreamingDecoder::new(whole)
                .map_err(|error| io::Error::other(error.to_string()))?,
        ),
        [b'B', b'Z', b'h', ..] => return Err(ArchiveError::Compression(name.to_owned())),
        _ if name.ends_with(".tar") || !name.contains(".tar.") => Box::new(whole),
        _ => return Err(ArchiveError::Compression(name.to_owned())),
    };
    let mut limited = plain.by_ref().take(limit);
    io::copy(&mut limited, &mut out)?;
    if limited.limit() == 0 && plain.read(&mut [0])? != 0 {
        return Err(ArchiveError::TooLarge(limit));
    }
    Ok(())
}

/// The absolute guest path of an archive's member; `None` for the archive's root.
fn normal_path(bytes: &[u8]) -> Result<Option<GuestPath>, ArchiveError> {
    let refuse = || ArchiveError::Path(String::from_utf8_lossy(bytes).into_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| refuse())?;
    let text = text.strip_prefix("./").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() || text == "." {
        return Ok(None);
    }
    format!("/{text}").parse().map(Some).map_err(|_| refuse())
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>) -> Result<String, ArchiveError> {
    let bytes = entry.link_name_bytes().unwrap_or_default();
    String::from_utf8(bytes.into_owned())
        .map_err(|error| ArchiveError::Path(String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Where the link at `at` leads.
fn follow(at: &GuestPath, target: &str) -> Option<GuestPath> {
    at.parent()?.walk(target)
}

/// Copies a tar archive to `out` uncompressed, as [`decompress`].
///
/// # Errors
/// As [`decompress`].
pub fn unpack_tar(held: &Held, limit: u64, out: impl Write) -> Result<(), ArchiveError> {
    decompress(held.reader(), "archive.tar", limit, out)
}
