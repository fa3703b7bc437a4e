//! From members to a volume and its record.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::output::Output;
use super::record::{Record, RecordedSalt, record_path};
use super::write::write;
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::erofs::{Layout, Members};
use crate::image::verity::{Salt, SecretSalt};
use crate::input::progress::Progress;
use crate::tree::held::{FileRange, Held};

/// How a volume is to be written.
#[derive(Clone, Debug)]
pub struct Order {
    /// What the tree's digests begin with.
    pub salting: Salting,
    /// How many threads read, hash and write.
    pub jobs: usize,
}

/// Who is to know a volume's salt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Salting {
    /// Everyone: whoever has the contents can make the volume and compare.
    Public(Salt),
    /// Whoever has the volume: its root hash binds the contents and tells nobody else which they are.
    Committed(SecretSalt),
}

impl Salting {
    /// The salt that is hashed.
    pub fn salt(&self) -> Salt {
        match self {
            Self::Public(salt) => salt.clone(),
            Self::Committed(salt) => salt.reveal(),
        }
    }
}

/// Writes the volume `target` and its record beside it, the record last.
///
/// # Errors
/// When `target` is something else, contents cannot be read or change, or the disk does not take
/// them. Then neither file is there, or both are as they were.
pub fn build(
    members: &Members,
    order: &Order,
    target: &Path,
    progress: &dyn Progress,
) -> Result<Record> {
    check_target(target)?;
    check_salt(target, &order.salting)?;
    let named = || format!("the volume `{}`", target.display());
    let layout = Layout::of(members).context(Kind::Malformed, named)?;
    let (volume, written) = write(&layout, &order.salting, target, order.jobs, progress)?;
    let record = Record::new(members, &order.salting, &written);
    let json = record.to_json().context(Kind::Environment, named)?;
    let beside = record_path(target);
    let text = Output::text(&beside, &json)?;
    progress.begin("waiting for the disk", None);
    let synced = volume.sync(target).and_then(|()| text.sync(&beside));
    progress.end();
    synced?;
    // Whoever is interrupted from here on leaves a volume without a record, never one with another's.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error)
            .context(Kind::Environment, || format!("failed replacing `{}`", beside.display()));
    }
    volume.persist(target)?;
    text.persist(&beside)?;
    Ok(record)
}

/// Refuses to write over anything that is no volume and no record of one.
///
/// # Errors
/// [`Kind::Usage`] when something else is in the way.
pub fn check_target(target: &Path) -> Result<()> {
    let remedy = "move it away, or say another file with `--output`";
    let refuse = |path: &Path, what: &str| {
        let message = format!("`{}` is there and is {what}", path.display());
        Err(Error::new(Kind::Usage, message).hint(remedy))
    };
    let record = record_path(target);
    if record == target || target.file_name().is_none() {
        let message = format!("`{}` is no name for a volume", target.display());
        return Err(Error::new(Kind::Usage, message).hint(
            "its record stands beside it and ends in `.json`; take a name such as `model.img`",
        ));
    }
    if fs::symlink_metadata(target).is_ok() && !is_erofs(target) {
        return refuse(target, "not a volume");
    }
    if fs::symlink_metadata(&record).is_ok() {
        let text = fs::read(&record).ok();
        let read = text.and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        if read.is_none() {
            return refuse(&record, "not a volume's record");
        }
    }
    Ok(())
}

/// Refuses to write over the only copy of a salt: records with its root hash may have been published, and no
/// volume made anew would be theirs.
///
/// # Errors
/// [`Kind::Usage`] when a committed volume of another salt is in the way.
pub fn check_salt(target: &Path, salting: &Salting) -> Result<()> {
    let Ok(text) = fs::read(record_path(target)) else { return Ok(()) };
    let Ok(record) = serde_json::from_slice::<Record>(&text) else { return Ok(()) };
    if record.verity.salt != RecordedSalt::OnDisk {
        return Ok(());
    }
    let salt = File::open(target).and_then(Held::new).ok().and_then(|held| {
        let geometry = record.verity.geometry()?;
        record.verity.salt.of_volume(&FileRange::whole(held), geometry).ok()
    });
    if salt == Some(salting.salt()) {
        return Ok(());
    }
    let message = format!("`{}` is a committed volume: its salt is nowhere else", target.display());
    Err(Error::new(Kind::Usage, message).hint(
        "whatever was built with its record needs it; move it away, or say another `--output`",
    ))
}

fn is_erofs(path: &Path) -> bool {
    let mut magic = [0; 4];
    path.is_file()
        && File::open(path).and_then(|file| file.read_exact_at(&mut magic, 1024)).is_ok()
        // `EROFS_SUPER_MAGIC_V1` (Linux `include/uapi/linux/magic.h`).
        && magic == 0xe0f5_e1e2_u32.to_le_bytes()
}
