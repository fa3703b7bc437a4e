//! The initrd: a plain `newc` cpio archive, as the kernel unpacks it.
//!
//! Format: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`. Written in one pass,
//! hashed on the way; memory does not grow with the size of the files.

pub mod read;

use std::io::{self, Read, Write};

use crate::digest::{Hashing, Object};
use crate::names::GuestPath;
use crate::tree::{Content, Entry, Node, Tree};

/// The writer's epoch: it changes when the bytes made from a tree change, and old ones are kept.
///
/// # Changelog
/// ## cpio/1
/// Members in the bytewise order of their paths, without a leading slash, the root left out. Inode
/// numbers count from 1 in that order; no hard links; device numbers 0; `mtime` 0; `nlink` 2 for
/// directories and 1 for the rest; check 0. Ends with `TRAILER!!!`, padded to four bytes.
pub const EPOCH: &str = "cpio/1";

/// `c_magic` of a member without checksum.
const MAGIC: &str = "070701";

/// `c_mode` file types (stat(2), as in `buffer-format.rst`).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// The last member's name.
const TRAILER: &str = "TRAILER!!!";

/// The kernel's PATH_MAX, less the NUL.
const MAX_TARGET: usize = 4095;

/// Bytes copied at a time: more than a buffered writer holds, so that they are not copied twice.
const CHUNK: usize = 1 << 18;

/// A tree that cannot be written as an initrd.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// `c_filesize` has eight hexadecimal digits.
    #[error(
        "`{path}` has {size} bytes; a file in an initrd holds at most 4294967295, put it on a volume"
    )]
    TooLarge {
        /// The file.
        path: GuestPath,
        /// Its size.
        size: u64,
    },
    /// The kernel takes it for the archive's end, or leaves it out (Linux `init/initramfs.c`).
    #[error("`{path}`: {reason}; the kernel would leave it out of the guest")]
    Dropped {
        /// The path.
        path: GuestPath,
        /// Why.
        reason: &'static str,
    },
    /// The contents were not as long as the tree says.
    #[error("`{path}` ended after {read} of {size} bytes; it changed while it was read")]
    Changed {
        /// The file.
        path: GuestPath,
        /// Bytes read.
        read: u64,
        /// Bytes announced.
        size: u64,
    },
    /// Contents that could not be read.
    #[error("failed reading the contents of `{path}`")]
    Read {
        /// The file.
        path: GuestPath,
        /// Why.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("failed writing the initrd")]
    Write(#[source] io::Error),
}

/// Writes `tree` to `out` and says what was written.
///
/// # Errors
/// When a file is too large for the format, or reading or writing fails.
pub fn write(tree: &Tree, out: impl Write) -> Result<Object, CpioError> {
    let mut out = Hashing::new(out);
    let mut chunk = vec![0; CHUNK];
    for ((path, node), inode) in tree.iter().filter(|(path, _)| path.as_str() != "/").zip(1_u32..) {
        member(path, node, inode, &mut chunk, &mut out)?;
    }
    let end = Header { name: TRAILER, links: 1, ..Header::default() };
    end.write(&mut out).map_err(CpioError::Write)?;
    Ok(out.finish())
}

fn member(
    path: &GuestPath,
    node: &Node,
    inode: u32,
    chunk: &mut [u8],
    out: &mut Hashing<impl Write>,
) -> Result<(), CpioError> {
    if path.relative() == TRAILER {
        return Err(CpioError::Dropped {
            path: path.clone(),
            reason: "the name marks the archive's end",
        });
    }
    let header = Header {
        name: path.relative(),
        inode,
        mode: u32::from(node.mode),
        uid: node.owner.uid,
        gid: node.owner.gid,
        links: 1,
        size: 0,
    };
    match &node.entry {
        Entry::Directory => Header { mode: header.mode | DIRECTORY, links: 2, ..header }
            .write(out)
            .map_err(CpioError::Write),
        Entry::Symlink(target) => {
            let target = target.as_str().as_bytes();
            if target.is_empty() || target.len() > MAX_TARGET {
                let reason = "the link's target is empty or longer than 4095 bytes";
                return Err(CpioError::Dropped { path: path.clone(), reason });
            }
            let size = u32::try_from(target.len()).unwrap_or(u32::MAX);
            Header { mode: header.mode | SYMLINK, size, ..header }
                .write(out)
                .and_then(|()| out.write_all(target))
                .and_then(|()| pad(out))
                .map_err(CpioError::Write)
        }
        Entry::File(content) => {
            let size = u32::try_from(content.size)
                .map_err(|_| CpioError::TooLarge { path: path.clone(), size: content.size })?;
            Header { mode: header.mode | REGULAR, size, ..header }
                .write(out)
                .map_err(CpioError::Write)?;
            copy(path, content, chunk, out)?;
            pad(out).map_err(CpioError::Write)
        }
    }
}

fn copy(
    path: &GuestPath,
    content: &Content,
    chunk: &mut [u8],
    out: &mut impl Write,
) -> Result<(), CpioError> {
    let failed = |source| CpioError::Read { path: path.clone(), source };
    let mut reader = content.blob.open().map_err(failed)?.take(content.size);
    let mut read = 0;
    while read < content.size {
        let count = match reader.read(chunk) {
            Ok(0) => {
                return Err(CpioError::Changed { path: path.clone(), read, size: content.size });
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        out.write_all(&chunk[..count]).map_err(CpioError::Write)?;
        read += count as u64;
    }
    Ok(())
}

#[derive(Default)]
struct Header<'a> {
    name: &'a str,
    inode: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    size: u32,
}

impl Header<'_> {
    fn write(&self, out: &mut Hashing<impl Write>) -> io::Result<()> {
        let Header { name, inode, mode, uid, gid, links, size } = self;
        let name_size = name.len() + 1;
        // mtime, then after the size: devmajor, devminor, rdevmajor, rdevminor; last, the check.
        write!(
            out,
            "{MAGIC}{inode:08x}{mode:08x}{uid:08x}{gid:08x}{links:08x}{:08x}{size:08x}\
             {:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}{name}\0",
            0, 0, 0, 0, 0, 0
        )?;
        pad(out)
    }
}

/// Zeroes up to a multiple of four bytes.
fn pad(out: &mut Hashing<impl Write>) -> io::Result<()> {
    let excess = usize::try_from(out.size() % 4).unwrap_or(0);
    if excess == 0 { Ok(()) } else { out.write_all(&[0; 4][excess..]) }
}
