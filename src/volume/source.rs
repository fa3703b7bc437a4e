//! What a volume is made of: a directory or a file of this machine, its bytes left where they are.

use std::fs::{self, File};
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, OFlags, fadvise, llistxattr, llistxattr_query};

use crate::error::{Context as _, Error, Kind as ErrorKind, Result};
use crate::image::erofs::{Kind, Member, Members};
use crate::input::local::{self, Local};
use crate::names::{GuestPath, Owner};
use crate::tree::Blob;
use crate::tree::held::Stamp;

/// Reads of so many bytes are of a large file, of which more will be wanted.
const AHEAD_OF: u64 = 1 << 18;

/// How many reads ahead a disk is told of.
const AHEAD_BY: u64 = 16;

/// What is made of what the machine says of its files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Whom everything belongs to.
    pub owner: Owner,
    /// Leave out the extended attributes that somebody has given to files (`user.`).
    pub drop_attributes: bool,
}

/// The members of a volume of what is at `path`: a directory with all that it holds, or a single file,
/// which then stands in the volume's root under its own name.
///
/// Modes are 0755 for directories and for files that their owner may execute, 0644 for others, as with
/// the inputs of a manifest. Hard links are files of their own. Extended attributes are the machine's
/// (labels, capabilities, access lists) and left out, but those of users are somebody's contents and
/// are not lost in silence.
///
/// # Errors
/// When something cannot be read, or is nothing that a volume holds.
pub fn members(path: &Path, rules: Rules) -> Result<Members> {
    let failed = || format!("failed reading `{}`", path.display());
    // Whoever names a link means what it leads to, by the name that was said; links within stay links.
    let root = path.canonicalize().context(ErrorKind::Environment, failed)?;
    let metadata = fs::metadata(&root).context(ErrorKind::Environment, failed)?;
    let mut members = vec![Member {
        path: GuestPath::root(),
        kind: Kind::Directory,
        mode: 0o755,
        owner: rules.owner,
    }];
    if metadata.is_file() {
        let name = path.file_name().or(root.file_name()).and_then(|name| name.to_str());
        let path: Option<GuestPath> = name.and_then(|name| format!("/{name}").parse().ok());
        let path = path.ok_or_else(|| {
            let message = format!("`{}` is not a plain UTF-8 name", root.display());
            Error::new(ErrorKind::Malformed, message)
        })?;
        members.push(file(&root, path, rules)?);
    } else if metadata.is_dir() {
        check_attributes(&root, &GuestPath::root(), rules)?;
        let what = format!("`{}`", path.display());
        for (path, local) in local::list(&root, &what)? {
            let at = root.join(path.relative());
            members.push(match local {
                Local::File { .. } => file(&at, path, rules)?,
                Local::Directory => {
                    check_attributes(&at, &path, rules)?;
                    Member { path, kind: Kind::Directory, mode: 0o755, owner: rules.owner }
                }
                Local::Symlink(target) => {
                    Member { path, kind: Kind::Symlink(target), mode: 0o777, owner: rules.owner }
                }
            });
        }
    } else {
        let message = format!("`{}` is neither a directory nor a file", path.display());
        return Err(Error::new(ErrorKind::Malformed, message));
    }
    Members::new(members).context(ErrorKind::Malformed, failed)
}

/// The links that lead to nothing in the volume, as those of a directory of links to a cache do. Links
/// on the way are not followed.
pub fn leading_out(members: &Members) -> impl Iterator<Item = &Member> {
    let all = members.all();
    let is_there = |path: &GuestPath| all.binary_search_by(|member| member.path.cmp(path)).is_ok();
    all.iter().filter(move |member| {
        let Kind::Symlink(target) = &member.kind else { return false };
        let target = target.as_str();
        // What is absolute means the guest's root, and nobody knows yet where the volume will be.
        let parent = member.path.parent();
        let leads_to = parent.and_then(|parent| parent.walk(target));
        !target.starts_with('/') && !leads_to.is_some_and(|path| is_there(&path))
    })
}

/// A file is opened when it is listed: one that may not be read is found before any work is done.
fn file(at: &Path, path: GuestPath, rules: Rules) -> Result<Member> {
    let failed = || format!("failed reading `{}`", at.display());
    let metadata =
        open(at).and_then(|file| file.metadata()).context(ErrorKind::Environment, failed)?;
    check_attributes(at, &path, rules)?;
    let mode = if metadata.mode() & 0o100 != 0 { 0o755 } else { 0o644 };
    let stamp = Stamp::of(&metadata);
    let blob = Arc::new(Listed { at: at.to_owned(), stamp });
    let kind = Kind::File { size: stamp.size(), blob };
    Ok(Member { path, kind, mode, owner: rules.owner })
}

fn open(at: &Path) -> io::Result<File> {
    // What was a file when it was listed may be a link or a FIFO now.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits());
    let flags = flags.map_err(io::Error::other)?;
    File::options().read(true).custom_flags(flags).open(at)
}

fn check_attributes(at: &Path, path: &GuestPath, rules: Rules) -> Result<()> {
    // Not every file system has any, and not every one says so.
    if rules.drop_attributes || llistxattr_query(at).unwrap_or(0) == 0 {
        return Ok(());
    }
    let mut names = vec![0; 1 << 16];
    let count = llistxattr(at, names.as_mut_slice()).unwrap_or(0);
    let mut names = names[..count].split(|byte| *byte == 0);
    let Some(name) = names.find(|name| name.starts_with(b"user.")) else { return Ok(()) };
    let name = String::from_utf8_lossy(name);
    let message =
        format!("`{path}` has the extended attribute `{name}`, which a volume does not hold");
    Err(Error::new(ErrorKind::Malformed, message)
        .hint("to leave such attributes out, say `--drop-xattrs`"))
}

/// A file as it was when it was listed. It is opened anew for each read: a volume may have more files
/// than a process may have open.
#[derive(Debug)]
struct Listed {
    at: PathBuf,
    stamp: Stamp,
}

impl Listed {
    fn open(&self) -> io::Result<File> {
        let file = open(&self.at)?;
        self.stamp.check(&file)?;
        Ok(file)
    }
}

impl Blob for Listed {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Self::open(self)?.take(self.stamp.size())))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let file = Self::open(self)?;
        let length = buffer.len() as u64;
        if length >= AHEAD_OF {
            // Several threads read here and there, and every time anew: the kernel sees no reader whom
            // it could be ahead of. Where it does not listen, nothing is lost.
            let ahead = offset.saturating_add(length * AHEAD_BY);
            let _ = fadvise(&file, ahead, NonZeroU64::new(length), Advice::WillNeed);
        }
        file.read_exact_at(buffer, offset)?;
        // What was read counts only if nobody wrote in the meantime.
        self.stamp.check(&file)
    }

    fn file(&self) -> io::Result<Option<(File, u64)>> {
        Ok(Some((Self::open(self)?, 0)))
    }
}
