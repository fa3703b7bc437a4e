//! What is in an image, collected.

use serde::Serialize;

use crate::image::erofs::read::{Data, Inode, ReadError, Reader, Type};
use crate::names::Owner;

/// A link's target is at most this long.
const TARGET_MAX: u64 = 4096;

/// The paths of an image have at most so many bytes together.
const PATHS_MAX: usize = 1 << 28;

/// Everything in an image, in numbers and by name.
#[derive(Debug, Default, Serialize)]
pub(super) struct Listing {
    pub(super) counts: Counts,
    pub(super) tree: Vec<Row>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) directories: u64,
    pub(super) symlinks: u64,
    /// Devices, FIFOs and sockets.
    pub(super) special: u64,
    /// Of all these, such as have extended attributes.
    pub(super) with_attributes: u64,
    /// Such as have an inode of 64 bytes.
    pub(super) extended: u64,
    /// Such as are compressed or in chunks.
    pub(super) not_understood: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) mode: String,
    pub(super) owner: Owner,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
}

impl Listing {
    pub(super) fn of(reader: &Reader<'_>) -> Result<Self, ReadError> {
        let mut listing = Self::default();
        let mut room = PATHS_MAX;
        reader.walk(|path, inode| {
            // Deep directories make an image of some megabytes into gigabytes of paths.
            room = room.checked_sub(path.len()).ok_or_else(|| {
                ReadError::Unsupported(format!("more than {PATHS_MAX} bytes of paths"))
            })?;
            listing.counts.add(inode);
            let target = match inode.kind {
                Type::Symlink => target(reader, inode)?,
                _ => None,
            };
            listing.tree.push(Row {
                path: String::from_utf8_lossy(path).into_owned(),
                kind: kind(inode.kind),
                mode: format!("{:04o}", inode.mode),
                owner: inode.owner,
                size: inode.size,
                target,
            });
            Ok(())
        })?;
        Ok(listing)
    }
}

impl Counts {
    fn add(&mut self, inode: &Inode) {
        match inode.kind {
            Type::File => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(inode.size);
            }
            Type::Directory => self.directories += 1,
            Type::Symlink => self.symlinks += 1,
            Type::Special => self.special += 1,
        }
        self.with_attributes += u64::from(inode.attributes);
        self.extended += u64::from(inode.extended);
        let not_understood = matches!(inode.data, Data::Compressed | Data::Chunks);
        self.not_understood += u64::from(not_understood);
    }
}

fn kind(kind: Type) -> &'static str {
    match kind {
        Type::File => "file",
        Type::Directory => "directory",
        Type::Symlink => "symlink",
        Type::Special => "special",
    }
}

/// A link's target; `None` where it is compressed.
fn target(reader: &Reader<'_>, inode: &Inode) -> Result<Option<String>, ReadError> {
    if !matches!(inode.data, Data::Plain { .. } | Data::Inline { .. }) || inode.size > TARGET_MAX {
        return Ok(None);
    }
    let mut target = vec![0; usize::try_from(inode.size).unwrap_or(0)];
    reader.read_at(inode, &mut target, 0)?;
    Ok(Some(String::from_utf8_lossy(&target).into_owned()))
}
