//! Directories on disk: blocks of entries, each block with its entries first and their names behind
//! (erofs.rst, "Directories").

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U64};

use super::BLOCK_SIZE;
use super::format::{DIRENT_SIZE, Dirent};
use super::members::{Kind, Member, Members};

/// The entries of every directory, sorted and divided into blocks.
#[derive(Debug)]
pub(super) struct Directories {
    /// Of all directories, one after another.
    entries: Vec<Target>,
    /// Of all directories, one after another.
    blocks: Vec<Packed>,
    /// By member: its entries and its blocks; empty for what is no directory.
    spans: Vec<Span>,
}

/// What an entry leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Own,
    Parent,
    Child(u32),
}

/// A block of a directory.
#[derive(Clone, Copy, Debug)]
struct Packed {
    /// Its first entry.
    first: usize,
    /// How many it has.
    count: usize,
    /// Its bytes in use.
    used: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    first: usize,
    count: usize,
    /// How many of the entries are directories, `.` and `..` left out.
    directories: u32,
}

impl Directories {
    pub(super) fn of(members: &Members) -> Self {
        let all = members.all();
        // Paths are in bytewise order, and so are the names below one parent.
        let mut children: Vec<(u32, u32)> = (1_u32..)
            .zip(1..all.len())
            .map(|(number, at)| (u32::try_from(members.parent(at)).unwrap_or(0), number))
            .collect();
        children.sort_unstable();
        let mut directories = Self {
            entries: Vec::with_capacity(children.len() + 2),
            blocks: Vec::new(),
            spans: Vec::with_capacity(all.len()),
        };
        let mut rest = children.as_slice();
        for (number, member) in all.iter().enumerate() {
            let count = rest.partition_point(|(parent, _)| *parent as usize <= number);
            let (own, others) = rest.split_at(count);
            rest = others;
            let span = match member.kind {
                Kind::Directory => directories.pack(all, own),
                _ => Span::default(),
            };
            directories.spans.push(span);
        }
        directories
    }

    /// Sorts `.` and `..` in among the children, and fills block after block.
    fn pack(&mut self, all: &[Member], children: &[(u32, u32)]) -> Span {
        let name = |number: u32| all[number as usize].name().as_bytes();
        let before = |dots: &[u8]| children.partition_point(|(_, child)| name(*child) < dots);
        let (own, parent) = (before(b"."), before(b".."));
        let start = self.entries.len();
        let children = children.iter().map(|(_, child)| Target::Child(*child));
        self.entries.extend(children.clone().take(own));
        self.entries.push(Target::Own);
        self.entries.extend(children.clone().take(parent).skip(own));
        self.entries.push(Target::Parent);
        self.entries.extend(children.skip(parent));

        let first = self.blocks.len();
        let mut block = Packed { first: start, count: 0, used: 0 };
        let mut directories = 0;
        for (at, target) in self.entries.iter().enumerate().skip(start) {
            let size = DIRENT_SIZE + target.name(all).len();
            if block.used + size > BLOCK_SIZE {
                self.blocks.push(block);
                block = Packed { first: at, count: 0, used: 0 };
            }
            block.count += 1;
            block.used += size;
            if let Target::Child(child) = target
                && matches!(all[*child as usize].kind, Kind::Directory)
            {
                directories += 1;
            }
        }
        self.blocks.push(block);
        Span { first, count: self.blocks.len() - first, directories }
    }

    /// `i_size` of a directory.
    pub(super) fn size(&self, number: usize) -> u64 {
        let full = self.spans[number].count.saturating_sub(1) as u64;
        full * BLOCK_SIZE as u64 + self.last(number) as u64
    }

    /// How many bytes of a directory's last block are in use.
    pub(super) fn last(&self, number: usize) -> usize {
        let Span { first, count, .. } = self.spans[number];
        self.blocks[first..first + count].last().map_or(0, |block| block.used)
    }

    /// The number of a directory's blocks.
    pub(super) fn blocks(&self, number: usize) -> usize {
        self.spans[number].count
    }

    /// `i_nlink` of a directory: its name, its `.`, and the `..` of each directory in it.
    pub(super) fn links(&self, number: usize) -> u32 {
        self.spans[number].directories.saturating_add(2)
    }

    /// Writes block `index` of directory `number` to the head of `out`. `nid` and `file_type` are told
    /// the number of a member.
    pub(super) fn write(
        &self,
        members: &Members,
        (number, index): (usize, usize),
        nid: impl Fn(usize) -> u64,
        file_type: impl Fn(usize) -> u8,
        out: &mut [u8],
    ) {
        let all = members.all();
        let Packed { first, count, .. } = self.blocks[self.spans[number].first + index];
        let mut name_at = count * DIRENT_SIZE;
        for (entry, target) in self.entries[first..first + count].iter().enumerate() {
            let leads_to = match target {
                Target::Own => number,
                Target::Parent => members.parent(number),
                Target::Child(child) => *child as usize,
            };
            let dirent = Dirent {
                nid: U64::new(nid(leads_to)),
                nameoff: U16::new(u16::try_from(name_at).unwrap_or(0)),
                file_type: file_type(leads_to),
                reserved: 0,
            };
            let at = entry * DIRENT_SIZE;
            out[at..at + DIRENT_SIZE].copy_from_slice(dirent.as_bytes());
            let name = target.name(all);
            out[name_at..name_at + name.len()].copy_from_slice(name);
            name_at += name.len();
        }
    }
}

impl Target {
    fn name(self, all: &[Member]) -> &[u8] {
        match self {
            Self::Own => b".",
            Self::Parent => b"..",
            Self::Child(child) => all[child as usize].name().as_bytes(),
        }
    }
}
