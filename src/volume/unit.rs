//! What a thread works on: the blocks of one block of digests.

use crate::image::verity::{BLOCK_SIZE, Block, PER_BLOCK};

/// Half a megabyte whose blocks are where a disk takes them from without a copy.
pub(super) struct Unit {
    bytes: Vec<u8>,
    start: usize,
}

impl Unit {
    pub(super) fn new() -> Self {
        let size = BLOCK_SIZE * usize::try_from(PER_BLOCK).unwrap_or(0);
        let bytes = vec![0; size + BLOCK_SIZE];
        // Where alignment cannot be had, the copy is made.
        let start = Some(bytes.as_ptr().align_offset(BLOCK_SIZE)).filter(|at| *at < BLOCK_SIZE);
        Self { bytes, start: start.unwrap_or(0) }
    }

    /// The first so many blocks.
    pub(super) fn blocks(&mut self, count: usize) -> &mut [Block] {
        let (blocks, _) = self.bytes[self.start..].as_chunks_mut();
        let count = count.min(blocks.len());
        &mut blocks[..count]
    }
}
