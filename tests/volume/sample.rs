//! Trees to write, and an image of them in memory.

use std::io::Read;
use std::sync::Arc;

use counterfoil::image::erofs::{Kind, Layout, Member, Members, Uuid};
use counterfoil::names::Owner;
use counterfoil::tree::Blob;

use crate::support::many_files::noise;

pub(crate) fn member(path: &str, kind: Kind, mode: u16) -> Member {
    Member { path: path.parse().unwrap(), kind, mode, owner: Owner::default() }
}

pub(crate) fn file(path: &str, bytes: impl Into<Vec<u8>>) -> Member {
    let bytes = bytes.into();
    let kind = Kind::File { size: bytes.len() as u64, blob: Arc::new(bytes) };
    member(path, kind, 0o644)
}

pub(crate) fn link(path: &str, target: &str) -> Member {
    member(path, Kind::Symlink(target.parse().unwrap()), 0o777)
}

pub(crate) fn directory(path: &str) -> Member {
    member(path, Kind::Directory, 0o755)
}

/// Sorts them, and puts the root first.
pub(crate) fn members(others: Vec<Member>) -> Members {
    let mut all = others;
    all.push(directory("/"));
    all.sort_by(|one, two| one.path.cmp(&two.path));
    Members::new(all).unwrap()
}

/// One of everything that the format treats in its own way.
pub(crate) fn sample() -> Members {
    let mut all = vec![
        file("/empty", ""),
        file("/inline", noise(1, 2048)),
        file("/plain", noise(2, 2049)),
        file("/block", noise(3, 4096)),
        file("/blocks", noise(4, 300_000)),
        file("/zeroes", vec![0; 20_000]),
        directory("/.dots"),
        file("/.-before-the-two-dots", "1"),
        file("/..behind-the-two-dots", "2"),
        file("/-before-the-dot", "3"),
        link("/link", "inline"),
        link("/long", &"x/".repeat(2000)),
        directory("/many"),
        directory("/some"),
    ];
    all.extend((0..300).map(|n| file(&format!("/many/{}{n}", "name-".repeat(n % 40)), "")));
    all.extend((0..40).map(|n| directory(&format!("/some/{n}"))));
    all.push(Member { owner: Owner { uid: 65536, gid: 7 }, ..file("/owned", "4") });
    all.push(Member { mode: 0o4711, ..file("/mode", "5") });
    members(all)
}

/// All of an image.
pub(crate) fn image(members: &Members, uuid: Uuid) -> Vec<u8> {
    let layout = Layout::of(members).unwrap();
    let mut blocks = vec![[0xaa; 4096]; layout.blocks() as usize];
    layout.fill(0, &mut blocks).unwrap();
    blocks[0] = *layout.superblock(uuid);
    blocks.into_flattened()
}

/// So many bytes, each the low part of the number of its block, without room for them.
#[derive(Debug)]
pub(crate) struct Numbered(pub(crate) u64);

impl Blob for Numbered {
    fn open(&self) -> std::io::Result<Box<dyn Read + '_>> {
        Err(std::io::Error::other("not from its beginning"))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        assert!(offset + buffer.len() as u64 <= self.0, "beyond the end");
        for (at, byte) in (offset..).zip(buffer) {
            *byte = (at / 4096).to_le_bytes()[0];
        }
        Ok(())
    }
}
