//! A volume's record: what a guest and a verifier need to know of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use counterfoil_init::volume::ON_DISK;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Sha256;
use crate::error::{self, Context as _, Error};
use crate::image::erofs::{self, Kind, Members, Uuid};
use crate::image::verity::{self, BLOCK_SIZE, Block, Geometry, Salt, SecretSalt};
use crate::tree::Blob;
use crate::volume::{Salting, Written};

/// The version of the record's form.
///
/// # Changelog
/// 1: EROFS with a dm-verity tree behind it, and behind that the salt where the record does not tell it.
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
    /// The file's size in bytes: file system, tree, and the block of a salt that is not told.
    pub size: u64,
    /// The file system's UUID.
    pub uuid: Uuid,
    /// What is in it, where the salt is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<Counts>,
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
    /// The salt, or where it is.
    pub salt: RecordedSalt,
    /// The root hash.
    pub root_hash: Sha256,
}

/// What a record tells of the salt. In the file `disk`, or the salt as a device-mapper table has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordedSalt {
    /// The salt: anyone who has the contents can make the volume.
    Told(Salt),
    /// That it is in the volume's last block: the root hash is a commitment.
    OnDisk,
}

impl Record {
    /// The record of a volume.
    pub fn new(members: &Members, salting: &Salting, written: &Written) -> Self {
        let Written { geometry, root, uuid } = *written;
        let (salt, contents) = match salting {
            Salting::Public(salt) => (RecordedSalt::Told(salt.clone()), Some(Counts::of(members))),
            Salting::Committed(_) => (RecordedSalt::OnDisk, None),
        };
        let verity = Verity::new(geometry, salt, root);
        Self {
            version: VERSION,
            writers: writers(),
            size: verity.size(geometry),
            uuid,
            contents,
            verity,
        }
    }

    /// Whether size, blocks and parameters are those of one volume, and nothing is told of one whose
    /// salt is not.
    pub fn fits_together(&self) -> bool {
        let told = matches!(self.verity.salt, RecordedSalt::Told(_));
        let size = self.verity.geometry().map(|geometry| self.verity.size(geometry));
        size == Some(self.size) && told == self.contents.is_some()
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
    /// Counts.
    pub fn of(members: &Members) -> Self {
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
    pub fn new(geometry: Geometry, salt: RecordedSalt, root_hash: Sha256) -> Self {
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

    /// The size in bytes of a volume with these parameters, whose tree has this shape.
    fn size(&self, geometry: Geometry) -> u64 {
        match self.salt {
            RecordedSalt::Told(_) => geometry.size(),
            RecordedSalt::OnDisk => geometry.size() + BLOCK_SIZE as u64,
        }
    }

    /// The device-mapper table, `DEVICE` in the place of the device: sectors, target, parameters.
    pub fn table(&self, salt: &Salt) -> String {
        let Self { hash_type, algorithm, block_size, data_blocks, root_hash, .. } = self;
        let sectors = data_blocks.saturating_mul(u64::from(*block_size) / 512);
        format!(
            "0 {sectors} verity {hash_type} DEVICE DEVICE {block_size} {block_size} {data_blocks} {} \
             {algorithm} {root_hash} {salt}",
            self.hash_start_block
        )
    }
}

impl RecordedSalt {
    /// The salt, which for a committed volume is read from `image`, whose tree has this shape.
    ///
    /// # Errors
    /// When it cannot be read, or does not stand there.
    pub fn of_volume(&self, image: &dyn Blob, geometry: Geometry) -> error::Result<Salt> {
        match self {
            Self::Told(salt) => Ok(salt.clone()),
            Self::OnDisk => read_salt(image, geometry).map(|salt| salt.reveal()),
        }
    }
}

/// The block behind a tree: a salt, and zeroes.
pub(super) fn salt_block(salt: &SecretSalt) -> Box<Block> {
    let mut block = Box::new([0; BLOCK_SIZE]);
    block[..SecretSalt::SIZE].copy_from_slice(salt.bytes());
    block
}

fn read_salt(image: &dyn Blob, geometry: Geometry) -> error::Result<SecretSalt> {
    let mut block = [0; BLOCK_SIZE];
    image
        .read_exact_at(&mut block, geometry.size())
        .context(error::Kind::Environment, || "failed reading the volume's salt".to_owned())?;
    let mut salt = [0; SecretSalt::SIZE];
    salt.copy_from_slice(&block[..SecretSalt::SIZE]);
    let salt = SecretSalt::new(salt);
    match *salt_block(&salt) == block {
        true => Ok(salt),
        false => Err(Error::new(
            error::Kind::Rejected,
            "the volume's last block is more than a salt: it is no committed volume",
        )),
    }
}

impl fmt::Display for RecordedSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(salt) => salt.fmt(f),
            Self::OnDisk => f.write_str(ON_DISK),
        }
    }
}

impl Serialize for RecordedSalt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordedSalt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            ON_DISK => Ok(Self::OnDisk),
            _ => text.parse().map(Self::Told).map_err(serde::de::Error::custom),
        }
    }
}

/// Where the record of a volume stands: beside it, `model.json` for `model.img`.
pub fn record_path(image: &Path) -> PathBuf {
    image.with_extension("json")
}
