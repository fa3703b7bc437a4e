//! What a block of a volume belongs to.

use crate::image::erofs::read::{ReadError, Reader, Type};

/// What a block belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lies {
    /// The superblock.
    Superblock,
    /// A file, directory or link, by its path.
    In(Vec<u8>),
    /// Inodes, and what stands beside them.
    Inodes,
}

/// What block `at` of an image belongs to. The image must be as it should be before that block.
///
/// # Errors
/// When the image is not understood.
pub fn locate(reader: &Reader<'_>, at: u64) -> Result<Lies, ReadError> {
    if at == 0 {
        return Ok(Lies::Superblock);
    }
    let mut found = Lies::Inodes;
    reader.walk(|path, inode| {
        let holds = |(start, count): (u64, u64)| (start..start + count).contains(&at);
        if inode.kind != Type::Special && reader.blocks_of(inode).is_some_and(holds) {
            found = Lies::In(path.to_vec());
        }
        Ok(())
    })?;
    Ok(found)
}
