//! Reading an initrd back, as strictly as it is written: whoever says what is in one must not say less
//! than the kernel unpacks. What our writer would not have written is refused: another format, a second
//! archive behind the first, devices, and every way to have one path written by two members: twice, by
//! another spelling, through a symbolic link, as a hard link.

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::{DIRECTORY, MAGIC, REGULAR, SYMLINK, TRAILER};
use crate::names::GuestPath;

/// After the magic: thirteen fields of eight hexadecimal digits.
const FIELDS: usize = 13;

/// The longest name, with its NUL: the kernel's PATH_MAX.
const MAX_NAME: u32 = 4096;

/// The largest file whose contents are kept.
const MAX_KEPT: u32 = 64 << 20;

/// What stands in an initrd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, without the slash before it.
    pub path: String,
    /// `c_mode`: its type and its permission bits.
    pub mode: u32,
    /// The contents of a regular file that was asked for.
    pub contents: Option<Vec<u8>>,
}

impl Member {
    /// Whether it is a program that runs with its owner's or its group's rights.
    pub fn is_set_id(&self) -> bool {
        self.is_file() && self.mode & 0o6000 != 0 && self.mode & 0o111 != 0
    }

    fn is_file(&self) -> bool {
        kind(self.mode) == REGULAR
    }
}

/// An initrd that is not as `cpio/1` writes them.
#[derive(Debug, thiserror::Error)]
pub enum CpioReadError {
    /// It could not be read to its end.
    #[error("the initrd ends too early, or cannot be read")]
    Read(#[from] io::Error),
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
pub fn read(mut input: impl Read, wanted: &[&str]) -> Result<Vec<Member>, CpioReadError> {
    let mut members: Vec<Member> = Vec::new();
    let mut directories = BTreeSet::from([String::new()]);
    loop {
        let after = members.last().map_or("", |member| member.path.as_str());
        let other = |what| CpioReadError::Other { what, after: after.to_owned() };
        let header = Header::read(&mut input)?.ok_or_else(|| other("no header"))?;
        if !(2..=MAX_NAME).contains(&header.name_size) {
            return Err(other("a name of no possible length"));
        }
        let name = exactly(&mut input, header.name_size)?;
        let name = name.strip_suffix(&[0]).filter(|name| !name.contains(&0));
        let path = name.and_then(|name| String::from_utf8(name.to_vec()).ok());
        let path = path.ok_or_else(|| other("a name that is none"))?;
        // 110 bytes of header: with the name, a multiple of four.
        padding(&mut input, header.name_size.wrapping_add(2)).and_then(zero(&other))?;
        if path == TRAILER {
            return match (header.size, input.read(&mut [0])?) {
                (0, 0) => Ok(members),
                _ => Err(other("something behind the end")),
            };
        }
        if path.as_str() <= after {
            return Err(other("a path out of order"));
        }
        let plain = format!("/{path}").parse::<GuestPath>().is_ok();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !plain || !directories.contains(parent) {
            return Err(other("a path that is not below a directory of its own"));
        }
        match (kind(header.mode), header.links) {
            (DIRECTORY, 2) => drop(directories.insert(path.clone())),
            (REGULAR | SYMLINK, 1) => {}
            _ => return Err(other("neither a file, a directory nor a symbolic link")),
        }
        let mut member = Member { path, mode: header.mode, contents: None };
        let kept = member.is_file() && wanted.contains(&member.path.as_str());
        if kept && header.size > MAX_KEPT {
            return Err(other("a file that is too large to be ours"));
        }
        if kept {
            member.contents = Some(exactly(&mut input, header.size)?);
        } else {
            skip(&mut input, header.size)?;
        }
        padding(&mut input, header.size).and_then(zero(&other))?;
        members.push(member);
    }
}

/// The type in a `c_mode`.
fn kind(mode: u32) -> u32 {
    mode & 0o170_000
}

/// What of a header is looked at.
struct Header {
    mode: u32,
    links: u32,
    size: u32,
    name_size: u32,
}

impl Header {
    fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = [0; MAGIC.len() + FIELDS * 8];
        input.read_exact(&mut bytes)?;
        let Some(rest) = bytes.strip_prefix(MAGIC.as_bytes()) else { return Ok(None) };
        // `from_str_radix` takes a sign too.
        if !rest.iter().all(u8::is_ascii_hexdigit) {
            return Ok(None);
        }
        let field = |index: usize| {
            let digits = rest.get(index * 8..index * 8 + 8)?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let header = || {
            Some(Self { mode: field(1)?, links: field(4)?, size: field(6)?, name_size: field(11)? })
        };
        Ok(header())
    }
}

fn exactly(input: &mut impl Read, size: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // What is announced need not be there: memory is taken for what comes.
    match input.take(size.into()).read_to_end(&mut bytes)? == size as usize {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn skip(input: &mut impl Read, size: u32) -> io::Result<()> {
    match io::copy(&mut input.take(size.into()), &mut io::sink())? == u64::from(size) {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What follows `size` bytes up to a multiple of four.
fn padding(input: &mut impl Read, size: u32) -> Result<Vec<u8>, CpioReadError> {
    Ok(exactly(input, size.wrapping_neg() % 4)?)
}

fn zero(
    other: &impl Fn(&'static str) -> CpioReadError,
) -> impl FnOnce(Vec<u8>) -> Result<(), CpioReadError> {
    |padding| match padding.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(other("padding that is not zero")),
    }
}
