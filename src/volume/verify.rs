//! Whether a volume is the one of a root hash, and if not, where it first differs.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::unit::Unit;
use crate::digest::Sha256;
use crate::error::{Context as _, Kind, Result};
use crate::image::verity::{
    self, BLOCK_SIZE, Block, DIGEST_SIZE, Geometry, Hasher, PER_BLOCK, Salt,
};
use crate::input::progress::Progress;
use crate::tree::Blob;

/// The first block that is not what the root hash says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Difference {
    /// The tree's first block does not have the root hash: it is another volume.
    Root,
    /// A block of the tree: what the data below it should be is not known.
    Tree {
        /// Number of the block in the file.
        at: u64,
        /// The data blocks below it: the first, and the one behind the last.
        below: (u64, u64),
    },
    /// A block of data.
    Data {
        /// Number of the block.
        at: u64,
    },
}

/// Checks all of a volume, from the root hash down: no block of the tree is believed before its digest
/// is. `None` when all is as it should be.
///
/// # Errors
/// When the file cannot be read.
pub fn verify(
    file: &dyn Blob,
    geometry: Geometry,
    salt: &Salt,
    root: Sha256,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<Option<Difference>> {
    let job = Job { file, geometry, hasher: Hasher::new(salt), root };
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut first: Option<(u64, io::Result<Difference>)> = None;
    progress.begin("checking the volume", Some(geometry.data_blocks() * BLOCK_SIZE as u64));
    let mut done = 0;
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(2 * jobs);
        for _ in 0..jobs {
            let (job, next, stop, sender) = (&job, &next, &stop, sender.clone());
            scope.spawn(move || {
                let mut buffer = Unit::new();
                while !stop.load(Ordering::Relaxed) {
                    let unit = next.fetch_add(1, Ordering::Relaxed);
                    if unit >= geometry.units()
                        || sender.send((unit, job.unit(unit, &mut buffer))).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (unit, result) in receiver {
            done += geometry.entries(0, unit) * BLOCK_SIZE as u64;
            progress.advance(done);
            // Units are taken in order, so all before a bad one are looked at, too.
            if let Some(found) = result.transpose()
                && first.as_ref().is_none_or(|(other, _)| unit < *other)
            {
                stop.store(true, Ordering::Relaxed);
                first = Some((unit, found));
            }
        }
    });
    progress.end();
    let found = first.map(|(_, found)| found).transpose();
    found.context(Kind::Environment, || "failed reading the volume".to_owned())
}

struct Job<'a> {
    file: &'a dyn Blob,
    geometry: Geometry,
    hasher: Hasher,
    root: Sha256,
}

impl Job<'_> {
    fn unit(&self, unit: u64, buffer: &mut Unit) -> io::Result<Option<Difference>> {
        let mut expected = self.root;
        let mut block: Block = [0; BLOCK_SIZE];
        for level in (0..self.geometry.levels()).rev() {
            let width = PER_BLOCK.pow(u32::try_from(level).unwrap_or(0));
            let index = unit / width;
            let at = self.geometry.level(level).first + index;
            self.read(at, std::slice::from_mut(&mut block))?;
            if self.hasher.digest(&block) != expected {
                if level + 1 == self.geometry.levels() {
                    return Ok(Some(Difference::Root));
                }
                let width = width * PER_BLOCK;
                let end = ((index + 1) * width).min(self.geometry.data_blocks());
                return Ok(Some(Difference::Tree { at, below: (index * width, end) }));
            }
            if level > 0 {
                expected = entry(&block, unit / (width / PER_BLOCK) % PER_BLOCK);
            }
        }
        let at = unit * PER_BLOCK;
        let count = usize::try_from(self.geometry.entries(0, unit)).unwrap_or(0);
        let blocks = buffer.blocks(count);
        self.read(at, blocks)?;
        if self.geometry.levels() == 0 {
            let same = blocks.iter().all(|block| self.hasher.digest(block) == expected);
            return Ok((!same).then_some(Difference::Data { at }));
        }
        let (digests, _) = verity::digests(&self.hasher, blocks);
        if digests[..] == block[..] {
            return Ok(None);
        }
        let differs = (0..count as u64).find(|at| entry(&digests, *at) != entry(&block, *at));
        Ok(differs.map(|block| Difference::Data { at: at + block }))
    }

    fn read(&self, at: u64, blocks: &mut [Block]) -> io::Result<()> {
        self.file.read_exact_at(blocks.as_flattened_mut(), at * BLOCK_SIZE as u64)
    }
}

/// A digest in a block of the tree.
fn entry(block: &Block, index: u64) -> Sha256 {
    let mut digest = [0; DIGEST_SIZE];
    let index = usize::try_from(index).unwrap_or(0);
    if let Some(bytes) = block.chunks_exact(DIGEST_SIZE).nth(index) {
        digest.copy_from_slice(bytes);
    }
    Sha256(digest)
}
