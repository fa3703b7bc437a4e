//! An initrd that must be one of ours: whoever says what is in it must not say less than the kernel
//! unpacks. What our writer would not have written is refused: a second archive behind the first, devices,
//! and every way to have one path written by two members: twice, by another spelling, through a symbolic
//! link, as a hard link.

use std::collections::BTreeSet;
use std::io::Read;

use super::read::{self, ReadError, Reader, Type};
use crate::names::GuestPath;

/// The largest file whose contents are kept.
const MAX_KEPT: u32 = 64 << 20;

/// What stands in an initrd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, without the slash before it.
    pub path: String,
    /// `c_mode`: its type and its permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: Type,
    /// The contents of a regular file that was asked for.
    pub contents: Option<Vec<u8>>,
}

impl Member {
    /// Whether it is a program that runs with its owner's or its group's rights.
    pub fn is_set_id(&self) -> bool {
        self.kind == Type::File && self.mode & 0o6000 != 0 && self.mode & 0o111 != 0
    }
}

/// An initrd that is not as `cpio/1` writes them.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// No archive, or a damaged one.
    #[error("the initrd cannot be read")]
    Read(#[from] ReadError),
    /// Something else than what is written.
    #[error("the initrd is not as counterfoil writes them: {what} after `{after}`")]
    Other {
        /// What it is.
        what: &'static str,
        /// The path before it; empty at the start.
        after: String,
    },
}

/// Reads the members of an initrd, with the contents of those at the paths `wanted`.
///
/// # Errors
/// When it is not as [`write`](super::write) would have written it.
pub fn read(input: impl Read, wanted: &[&str]) -> Result<Vec<Member>, NotOurs> {
    let mut reader = Reader::new(input);
    let mut members: Vec<Member> = Vec::new();
    let mut directories = BTreeSet::from([String::new()]);
    while let Some(found) = reader.next_member()? {
        let after = members.last().map_or("", |member| member.path.as_str());
        let other = |what| NotOurs::Other { what, after: after.to_owned() };
        let path = path(&found, after, &mut directories).map_err(other)?;
        let (kind, mode) = (found.kind(), found.mode);
        let kept = kind == Type::File && wanted.contains(&path.as_str());
        if kept && found.size > MAX_KEPT {
            return Err(other("a file that is too large to be ours"));
        }
        let contents = match kept {
            true => {
                let mut contents = Vec::new();
                let (at, what) = (found.data.start, "a member's data");
                let read = reader.data().read_to_end(&mut contents);
                read.map_err(|_| ReadError::Short { at, what })?;
                Some(contents)
            }
            false => None,
        };
        members.push(Member { path, mode, kind, contents });
    }
    match reader.archives() {
        1 => Ok(members),
        count => {
            let after = members.last().map_or(String::new(), |member| member.path.clone());
            let what = if count == 0 { "no archive" } else { "another archive" };
            Err(NotOurs::Other { what, after })
        }
    }
}

/// The path of a member, if our writer could have put it behind `after`.
fn path(
    member: &read::Member,
    after: &str,
    directories: &mut BTreeSet<String>,
) -> Result<String, &'static str> {
    if member.summed {
        return Err("a member with a checksum");
    }
    let path = String::from_utf8(member.name.clone()).map_err(|_| "a name that is none")?;
    if path.as_str() <= after {
        return Err("a path out of order");
    }
    let plain = format!("/{path}").parse::<GuestPath>().is_ok();
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if !plain || !directories.contains(parent) {
        return Err("a path that is not below a directory of its own");
    }
    match (member.kind(), member.nlink) {
        (Type::Directory, 2) => drop(directories.insert(path.clone())),
        (Type::File | Type::Symlink, 1) => {}
        _ => return Err("neither a file, a directory nor a symbolic link"),
    }
    Ok(path)
}
