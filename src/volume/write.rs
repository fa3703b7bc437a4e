//! The one pass: every unit of 128 blocks is read, hashed and written by one thread; the threads take
//! unit after unit, and only the units' digests meet.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::build::Salting;
use super::output::{self, Output};
use super::record::salt_block;
use super::unit::Unit;
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::image::erofs::{FillError, Layout, Uuid};
use crate::image::verity::{self, Assembly, Block, Geometry, Hasher, PER_BLOCK, Placed};
use crate::input::progress::Progress;

/// What a volume came out as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Written {
    /// The shape of the hash tree.
    pub geometry: Geometry,
    /// The root hash.
    pub root: Sha256,
    /// The file system's UUID.
    pub uuid: Uuid,
}

/// Writes the volume of `layout` to a file that is to stand at `target`, with `jobs` threads.
///
/// # Errors
/// When contents cannot be read or change, or the disk does not take them.
pub(super) fn write(
    layout: &Layout<'_>,
    salting: &Salting,
    target: &Path,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<(Output, Written)> {
    let geometry = Geometry::new(layout.blocks().into())
        .ok_or_else(|| Error::new(Kind::Malformed, "a volume of no block"))?;
    let salt = match salting {
        Salting::Public(_) => None,
        Salting::Committed(salt) => Some(Placed { at: geometry.blocks(), block: salt_block(salt) }),
    };
    let size = geometry.size() + salt.as_ref().map_or(0, |_| verity::BLOCK_SIZE as u64);
    let output = Output::new(target, size)?;
    let hasher = Hasher::new(&salting.salt());
    let failed = |error| output::failed(target, size, error);
    let mut assembly = Assembly::new(geometry, hasher.clone());
    let mut first = None;
    let mut failure: Option<(u64, Failure)> = None;
    progress.begin("writing the volume", Some(geometry.data_blocks() * verity::BLOCK_SIZE as u64));
    let job = Job {
        layout,
        geometry,
        hasher: &hasher,
        output: &output,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let mut done = 0;
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(2 * jobs);
        for _ in 0..jobs {
            let (job, sender) = (&job, sender.clone());
            scope.spawn(move || job.work(&sender));
        }
        drop(sender);
        for (unit, result) in receiver {
            let result = result.and_then(|hashed| {
                done += geometry.entries(0, unit) * verity::BLOCK_SIZE as u64;
                progress.advance(done);
                match hashed {
                    Hashed::First(block) => {
                        first = Some(block);
                        Ok(())
                    }
                    Hashed::Digest(digest) => place(&output, assembly.add(unit, digest)),
                }
            });
            // Which of several is reported must not be a matter of luck: the first in the image.
            if let Err(error) = result
                && failure.as_ref().is_none_or(|(other, _)| unit < *other)
            {
                job.stop.store(true, Ordering::Relaxed);
                failure = Some((unit, error));
            }
        }
    });
    progress.end();
    match failure {
        None => {}
        Some((_, Failure::Write(error))) => return Err(failed(error)),
        Some((_, Failure::Read(error))) => {
            return Err(Error::caused(Kind::Environment, "the volume cannot be written", error)
                .hint("leave the input alone until the volume is written"));
        }
    }
    let unfinished = || Error::new(Kind::Environment, "the volume was not hashed whole");
    let first: Box<Block> = first.ok_or_else(unfinished)?;
    let seal = |uuid| {
        let superblock = layout.superblock(uuid);
        let mut first = first.clone();
        first[..verity::DIGEST_SIZE].copy_from_slice(&hasher.digest(&superblock).0);
        let (root, placed) = assembly.finish(first).map_err(|_| unfinished())?;
        Ok::<_, Error>((superblock, root, placed))
    };
    let uuid = Uuid::of_contents(seal(Uuid::NIL)?.1);
    let (superblock, root, placed) = seal(uuid)?;
    place(&output, placed.into_iter().chain(salt))
        .and_then(|()| output.write(0, &[*superblock]).map_err(Failure::Write))
        .map_err(|failure| match failure {
            Failure::Write(error) => failed(error),
            Failure::Read(_) => unfinished(),
        })?;
    Ok((output, Written { geometry, root, uuid }))
}

/// What all threads share.
struct Job<'a> {
    layout: &'a Layout<'a>,
    geometry: Geometry,
    hasher: &'a Hasher,
    output: &'a Output,
    /// The unit that nobody has taken yet.
    next: AtomicU64,
    stop: AtomicBool,
}

enum Hashed {
    /// The first block of level 0, whose first digest is not known before all others.
    First(Box<Block>),
    /// Of any other block of level 0.
    Digest(Sha256),
}

enum Failure {
    Read(FillError),
    Write(std::io::Error),
}

impl Job<'_> {
    fn work(&self, sender: &SyncSender<(u64, Result<Hashed, Failure>)>) {
        let mut buffer = Unit::new();
        while !self.stop.load(Ordering::Relaxed) {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            if unit >= self.geometry.units() {
                return;
            }
            if sender.send((unit, self.unit(unit, &mut buffer))).is_err() {
                return;
            }
        }
    }

    fn unit(&self, unit: u64, buffer: &mut Unit) -> Result<Hashed, Failure> {
        let at = unit * PER_BLOCK;
        let count = usize::try_from(self.geometry.entries(0, unit)).unwrap_or(0);
        let mut there = 0;
        for whole in self.layout.whole_blocks(at, count as u64) {
            if self.output.share(&whole) {
                there |= bits(whole.at - at, whole.count);
            }
        }
        let blocks = buffer.blocks(count);
        self.layout.fill(at, blocks).map_err(Failure::Read)?;
        let (digests, zeroes) = verity::digests(self.hasher, blocks);
        // What is all zeroes stays a hole.
        let is_there = |block: usize| (zeroes | there) >> block & 1 == 1;
        let mut start = 0;
        while start < count {
            let run = (start..count).take_while(|block| !is_there(*block)).count();
            if run > 0 {
                let blocks = &blocks[start..start + run];
                self.output.write(at + start as u64, blocks).map_err(Failure::Write)?;
            }
            start += run.max(1);
        }
        if unit == 0 {
            return Ok(Hashed::First(digests));
        }
        let digest = self.hasher.digest(&digests);
        let at = self.geometry.level(0).first + unit;
        self.output.write(at, &[*digests]).map_err(Failure::Write)?;
        Ok(Hashed::Digest(digest))
    }
}

/// `count` bits, the lowest of them number `first`.
fn bits(first: u64, count: u64) -> u128 {
    let ones = if count >= PER_BLOCK { u128::MAX } else { (1 << count) - 1 };
    ones.checked_shl(u32::try_from(first).unwrap_or(u32::MAX)).unwrap_or(0)
}

fn place(output: &Output, placed: impl IntoIterator<Item = Placed>) -> Result<(), Failure> {
    placed
        .into_iter()
        .try_for_each(|Placed { at, block }| output.write(at, &[*block]))
        .map_err(Failure::Write)
}
