//! Going through all directories.

use std::collections::BTreeSet;

use zerocopy::FromBytes as _;

use super::super::format::{DIRENT_SIZE, Dirent, FT_DIRECTORY, FT_REGULAR, FT_SYMLINK, NAME_MAX};
use super::{Data, Inode, ReadError, Reader, Type};

/// The kernel's PATH_MAX: nothing can be opened by a longer path.
const PATH_MAX: usize = 4096;

/// An entry of a directory, `.` and `..` left out.
struct Entry {
    name: Vec<u8>,
    nid: u64,
    file_type: u8,
}

impl Reader<'_> {
    /// Shows every path with its inode to `visit`, the root first as `/`, a directory before what is
    /// in it, names in bytewise order.
    ///
    /// # Errors
    /// When the image is not understood, wrong, or `visit` says so.
    pub fn walk(
        &self,
        mut visit: impl FnMut(&[u8], &Inode) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let in_the_way = self.superblock.incompatible.in_the_way();
        if !in_the_way.is_empty() {
            let what = format!("file systems with {}", in_the_way.join(", "));
            return Err(ReadError::Unsupported(what));
        }
        let root = self.inode(self.superblock.root)?;
        if root.kind != Type::Directory {
            return Err(ReadError::malformed(root.nid, "it is the root and no directory"));
        }
        visit(b"/", &root)?;
        let mut walk = Walk {
            reader: self,
            // An entry takes a byte for its name at least, and no two share theirs.
            entries_left: self.size / (DIRENT_SIZE as u64 + 1),
            seen: BTreeSet::from([root.nid]),
        };
        let mut path = Vec::new();
        let mut open = vec![(root.nid, 0, walk.entries(&root, root.nid)?.into_iter())];
        while let Some((parent, length, entries)) = open.last_mut() {
            let (parent, length) = (*parent, *length);
            path.truncate(length);
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            if path.len() >= PATH_MAX {
                let what = format!("a path in it has more than {PATH_MAX} bytes");
                return Err(ReadError::malformed(parent, what));
            }
            let inode = walk.inode(&entry)?;
            visit(&path, &inode)?;
            if inode.kind == Type::Directory {
                let entries = walk.entries(&inode, parent)?;
                open.push((inode.nid, path.len(), entries.into_iter()));
            }
        }
        Ok(())
    }
}

struct Walk<'a> {
    reader: &'a Reader<'a>,
    entries_left: u64,
    seen: BTreeSet<u64>,
}

impl Walk<'_> {
    fn inode(&mut self, entry: &Entry) -> Result<Inode, ReadError> {
        let inode = self.reader.inode(entry.nid)?;
        let wanted = match inode.kind {
            Type::File => FT_REGULAR,
            Type::Directory => FT_DIRECTORY,
            Type::Symlink => FT_SYMLINK,
            Type::Special => entry.file_type,
        };
        if entry.file_type != wanted {
            return Err(ReadError::malformed(entry.nid, "its directory says it is something else"));
        }
        if inode.kind == Type::Directory && !self.seen.insert(inode.nid) {
            return Err(ReadError::malformed(entry.nid, "it is a directory with two names"));
        }
        Ok(inode)
    }

    /// The entries of a directory, which must be sorted and have `.` and `..`.
    fn entries(&mut self, directory: &Inode, parent: u64) -> Result<Vec<Entry>, ReadError> {
        let nid = directory.nid;
        match directory.data {
            Data::Plain { .. } | Data::Inline { .. } => {}
            _ => return Err(ReadError::unsupported("directories that are not plain")),
        }
        let size = self.reader.superblock.block_size;
        let mut entries = Vec::new();
        let mut before: Vec<u8> = Vec::new();
        let mut dots = [false; 2];
        let mut offset = 0;
        while offset < directory.size {
            let count = size.min(directory.size - offset);
            let mut block = vec![0; usize::try_from(count).unwrap_or(0)];
            self.reader.read_at(directory, &mut block, offset)?;
            offset += count;
            for entry in parse(&block).map_err(|what| ReadError::malformed(nid, what))? {
                if entry.name <= before {
                    return Err(ReadError::malformed(nid, "its entries are not sorted"));
                }
                before.clone_from(&entry.name);
                self.entries_left = self.entries_left.checked_sub(1).ok_or_else(|| {
                    ReadError::malformed(nid, "more entries than the image has room for")
                })?;
                let dot = match entry.name.as_slice() {
                    b"." => Some((0, nid)),
                    b".." => Some((1, parent)),
                    _ => None,
                };
                match dot {
                    Some((dot, leads_to)) if leads_to == entry.nid => dots[dot] = true,
                    Some(_) => {
                        return Err(ReadError::malformed(nid, "its `.` or `..` leads elsewhere"));
                    }
                    None => entries.push(entry),
                }
            }
        }
        match dots {
            [true, true] => Ok(entries),
            _ => Err(ReadError::malformed(nid, "it is a directory without `.` or `..`")),
        }
    }
}

/// The entries in a block of a directory.
fn parse(block: &[u8]) -> Result<Vec<Entry>, &'static str> {
    const DAMAGED: &str = "its entries and their names do not fit together";
    let dirent = |at: usize| {
        let bytes = block.get(at..).ok_or(DAMAGED)?;
        Dirent::read_from_prefix(bytes).map(|(dirent, _)| dirent).map_err(|_| DAMAGED)
    };
    // The first name begins where the entries end (erofs.rst, "Directories").
    let names = usize::from(dirent(0)?.nameoff.get());
    if names == 0 || names % DIRENT_SIZE != 0 || names > block.len() {
        return Err(DAMAGED);
    }
    let count = names / DIRENT_SIZE;
    let mut entries = Vec::with_capacity(count);
    let mut at = names;
    for number in 0..count {
        let entry = dirent(number * DIRENT_SIZE)?;
        if usize::from(entry.nameoff.get()) != at {
            return Err(DAMAGED);
        }
        let end = match number + 1 == count {
            true => {
                let rest = block.get(at..).ok_or(DAMAGED)?;
                at + rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len())
            }
            false => usize::from(dirent((number + 1) * DIRENT_SIZE)?.nameoff.get()),
        };
        let name = block.get(at..end).ok_or(DAMAGED)?;
        if name.is_empty() || name.len() > NAME_MAX || name.iter().any(|b| matches!(b, 0 | b'/')) {
            return Err("a name in it is empty, too long, or holds a slash or NUL");
        }
        entries.push(Entry {
            name: name.to_vec(),
            nid: entry.nid.get(),
            file_type: entry.file_type,
        });
        at = end;
    }
    Ok(entries)
}
