//! A volume's record: what a guest and a verifier need to know of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::image::erofs::{self, Kind, Members, Uuid};
use crate::image::verity::{self, Geometry, Salt};
use crate::volume::Written;

/// The version of the record's form.
///
/// # Changelog
/// 1: EROFS with a dm-verity tree behind it.
pub const VERSION: u32 = 1;

/// Everything that is known of a volume but its contents. The order of the fields is the order in the
/// file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The rules by which the volume was written.
    pub writers: BTreeMap<String, String>,
    /// The file's size in bytes, file system and tree together.
    pub size: u64,
    /// The file system's UUID.
    pub uuid: Uuid,
    /// What is in it.
    pub contents: Counts,
    /// What the kernel is told, by which it believes nothing else.
    pub verity: Verity,
}

/// What a volume holds, in numbers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Regular files.
    pub files: u64,
    /// Their sizes in bytes, together.
    pub bytes: u64,
    /// Directories, the root among them.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
}

/// The parameters of the device-mapper target (Linux `verity.rst`, "Construction Parameters").
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verity {
    /// The hash type.
    pub hash_type: u32,
    /// The algorithm, by the kernel's name.
    pub algorithm: String,
    /// Bytes in a block of data and in a block of the tree.
    pub block_size: u32,
    /// Blocks of data, which the file begins with.
    pub data_blocks: u64,
    /// The block of the file that the tree begins with.
    pub hash_start_block: u64,
    /// The salt.
    pub salt: Salt,
    /// The root hash.
    pub root_hash: Sha256,
}

impl Record {
    /// The record of a volume.
    pub fn new(members: &Members, salt: &Salt, written: &Written) -> Self {
        let Written { geometry, root, uuid } = *written;
        Self {
            version: VERSION,
            writers: writers(),
            size: geometry.size(),
            uuid,
            contents: Counts::of(members),
            verity: Verity::new(geometry, salt.clone(), root),
        }
    }

    /// Whether size, blocks and parameters are those of one volume.
    pub fn fits_together(&self) -> bool {
        self.verity.geometry().is_some_and(|geometry| geometry.size() == self.size)
    }

    /// The record as it stands in its file.
    ///
    /// # Errors
    /// None that a record can cause.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// The rules by which volumes are written, as records have them.
pub fn writers() -> BTreeMap<String, String> {
    let writers = [("erofs", erofs::EPOCH), ("verity", verity::EPOCH)];
    writers.map(|(kind, epoch)| (kind.to_owned(), epoch.to_owned())).into()
}

impl Counts {
    fn of(members: &Members) -> Self {
        let mut counts = Self::default();
        for member in members.all() {
            match member.kind {
                Kind::Directory => counts.directories += 1,
                Kind::Symlink(_) => counts.symlinks += 1,
                Kind::File { size, .. } => {
                    counts.files += 1;
                    counts.bytes = counts.bytes.saturating_add(size);
                }
            }
        }
        counts
    }
}

impl Verity {
    /// The parameters of a tree right behind its data.
    pub fn new(geometry: Geometry, salt: Salt, root_hash: Sha256) -> Self {
        Self {
            hash_type: verity::HASH_TYPE,
            algorithm: "sha256".to_owned(),
            block_size: u32::try_from(verity::BLOCK_SIZE).unwrap_or(0),
            data_blocks: geometry.data_blocks(),
            hash_start_block: geometry.data_blocks(),
            salt,
            root_hash,
        }
    }

    /// The shape of the tree; `None` when these are not parameters by which we write.
    pub fn geometry(&self) -> Option<Geometry> {
        let geometry = Geometry::new(self.data_blocks)?;
        let same = Self::new(geometry, self.salt.clone(), self.root_hash) == *self;
        same.then_some(geometry)
    }

    /// The device-mapper table, `DEVICE` in the place of the device: sectors, target, parameters.
    pub fn table(&self) -> String {
        let Self { hash_type, algorithm, block_size, data_blocks, salt, root_hash, .. } = self;
        let sectors = data_blocks.saturating_mul(u64::from(*block_size) / 512);
        format!(
            "0 {sectors} verity {hash_type} DEVICE DEVICE {block_size} {block_size} {data_blocks} {} \
             {algorithm} {root_hash} {salt}",
            self.hash_start_block
        )
    }
}

/// Where the record of a volume stands: beside it, `model.json` for `model.img`.
pub fn record_path(image: &Path) -> PathBuf {
    image.with_extension("json")
}
