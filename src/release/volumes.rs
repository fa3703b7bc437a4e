//! The volumes of a release: each is made with the image, or known by its record, and is bound by a word
//! of its own on the command line.

use std::collections::BTreeMap;
use std::path::Path;

use counterfoil_init::volume::{self as word, Binding, Salt};

use crate::error::{Context as _, Error, Kind, Result};
use crate::image::erofs::Members;
use crate::image::verity;
use crate::input::bounded;
use crate::input::progress::Progress;
use crate::launch::record::{self as launch, Disclosure};
use crate::layout;
use crate::manifest::Manifest;
use crate::manifest::volume::{OnCorruption, Volume};
use crate::names::{Cmdline, VolumeName};
use crate::tree::Tree;
use crate::volume::{self, Order, Record, RecordedSalt, Salting};

/// A volume as far as it is known before it is written.
#[derive(Debug)]
pub enum Contents {
    /// What is in it.
    Tree(Tree),
    /// The record of one that was made before.
    Record(Record),
    /// Nothing: the host chooses.
    Unverified,
}

/// The records of the volumes of a release, but for those that nothing binds.
pub type Records = BTreeMap<VolumeName, Record>;

/// Writes the volumes below `root`, with their records.
///
/// # Errors
/// When contents cannot be read or change, or the disk does not take them.
pub fn write(
    root: &Path,
    volumes: &BTreeMap<VolumeName, Contents>,
    progress: &dyn Progress,
) -> Result<Records> {
    let mut records = Records::new();
    for (name, contents) in volumes {
        let named = || format!("volume `{name}`");
        let target = root.join(layout::volume(name));
        let record = match contents {
            Contents::Tree(tree) => {
                let members = Members::of_tree(tree).context(Kind::Malformed, named)?;
                let salting = Salting::Public(verity::Salt::default());
                let order = Order { salting, jobs: volume::cores() };
                volume::build(&members, &order, &target, progress)
                    .map_err(|error| error.context(named()))?
            }
            Contents::Record(record) => {
                let json = record.to_json().context(Kind::Environment, named)?;
                let path = root.join(layout::volume_record(name));
                std::fs::create_dir_all(crate::manifest::directory_of(&path))
                    .and_then(|()| std::fs::write(path, json))
                    .context(Kind::Environment, named)?;
                record.clone()
            }
            Contents::Unverified => continue,
        };
        records.insert(name.clone(), record);
    }
    Ok(records)
}

/// Reads a record that an input or a release holds.
///
/// # Errors
/// [`Kind::Malformed`] when it is none of ours.
pub fn read_record(json: &[u8], what: &str) -> Result<Record> {
    let record: Record = serde_json::from_slice(json)
        .context(Kind::Malformed, || format!("{what}: not a volume's record"))?;
    let ours = record.version == volume::VERSION
        && record.fits_together()
        && record.writers == volume::writers();
    let same = record.to_json().is_ok_and(|text| text == json);
    if ours && same {
        return Ok(record);
    }
    let message =
        format!("{what}: not a volume's record as `counterfoil volume build` writes them");
    Err(Error::new(Kind::Malformed, message))
}

/// Checks the volumes of the release at `root` as far as that takes no reading of their data: that each
/// has a record, that the records are what the command line says, and the sizes of the data that are
/// there.
///
/// # Errors
/// [`Kind::Rejected`] naming the first that is not; [`Kind::CannotDecide`] when a record is missing.
pub fn check(root: &Path, manifest: &Manifest, launch: &launch::Record) -> Result<()> {
    let mut records = Records::new();
    for (name, volume) in &manifest.volumes {
        if volume.is_unverified() {
            continue;
        }
        let path = root.join(layout::volume_record(name));
        if !path.exists() {
            let message = format!("`{}` is missing", path.display());
            return Err(Error::new(Kind::CannotDecide, message)
                .hint("build the release again, or fetch it again"));
        }
        let record = read_record(&bounded::whole(&path)?, &format!("`{}`", path.display()))?;
        let image = root.join(layout::volume(name));
        if let Ok(metadata) = std::fs::metadata(&image)
            && metadata.len() != record.size
        {
            let message = format!(
                "`{}` has {} bytes, its record says {}",
                image.display(),
                metadata.len(),
                record.size
            );
            return Err(Error::new(Kind::Rejected, message));
        }
        records.insert(name.clone(), record);
    }
    let expected = cmdline(manifest, &records)?;
    let same = launch.boot.as_ref().is_some_and(|boot| boot.cmdline == expected.as_str());
    if same && launch.volumes == listed(manifest, &records) {
        return Ok(());
    }
    let message = format!(
        "the records below `{}` are not of the volumes that the command line binds",
        root.join(layout::VOLUMES).display()
    );
    Err(Error::new(Kind::Rejected, message).hint("build the release again, or fetch it again"))
}

/// The manifest's command line with a word for each volume.
///
/// # Errors
/// [`Kind::Malformed`] when it becomes longer than a kernel takes.
pub fn cmdline(manifest: &Manifest, records: &Records) -> Result<Cmdline> {
    let mut line = manifest.cmdline.to_string();
    for (name, volume) in &manifest.volumes {
        line.push(' ');
        line.push_str(&word_of(name, volume, records)?);
    }
    line.trim_start()
        .parse()
        .context(Kind::Malformed, || "the command line, with what binds its volumes".to_owned())
}

/// The volumes as a launch record lists them.
pub fn listed(manifest: &Manifest, records: &Records) -> Vec<launch::Volume> {
    let volume = |name: &VolumeName| {
        let record = records.get(name);
        launch::Volume {
            name: name.to_string(),
            root_hash: record.map(|record| record.verity.root_hash),
            disclosure: record.map_or(Disclosure::None, disclosure),
        }
    };
    manifest.volumes.keys().map(volume).collect()
}

/// What a record tells.
fn disclosure(record: &Record) -> Disclosure {
    match record.verity.salt {
        RecordedSalt::Told(_) => Disclosure::Public,
        RecordedSalt::OnDisk => Disclosure::Committed,
    }
}

/// Holds what the manifest says of a volume against what its record tells.
///
/// # Errors
/// [`Kind::Malformed`] when it tells more, or less.
pub fn check_disclosure(name: &VolumeName, volume: &Volume, record: &Record) -> Result<()> {
    let (said, hint) = match (volume.disclosure, disclosure(record)) {
        (Some(Disclosure::Committed), Disclosure::Public) => {
            ("committed", "it tells its salt; make the volume with `--committed`")
        }
        (Some(Disclosure::Public), Disclosure::Committed) => {
            ("public", "it keeps its salt; make the volume without `--committed`")
        }
        _ => return Ok(()),
    };
    let message = format!("volume `{name}` is said to be {said}, and by its record it is not");
    Err(Error::new(Kind::Malformed, message).hint(hint))
}

/// What the guest is told of a volume, in the words by which PID 1 reads it.
fn word_of(name: &VolumeName, volume: &Volume, records: &Records) -> Result<String> {
    if volume.is_unverified() {
        return Ok(format!("{}{name}={}", word::PREFIX, word::UNVERIFIED));
    }
    let record = records.get(name).ok_or_else(|| missing(name))?;
    let wrong = |error: word::VolumeError| {
        Error::new(Kind::Malformed, format!("volume `{name}` cannot be bound: {error}"))
    };
    let (root, salt) = (record.verity.root_hash.to_string(), record.verity.salt.to_string());
    let salt = match record.verity.salt {
        RecordedSalt::Told(_) => Salt::Said(&salt),
        RecordedSalt::OnDisk => Salt::OnDisk,
    };
    let volume = word::Volume {
        name: word::VolumeName::new(name.as_str()).map_err(wrong)?,
        data_blocks: record.verity.data_blocks,
        root: &root,
        salt,
        on_corruption: match volume.on_corruption {
            OnCorruption::Panic => word::OnCorruption::Panic,
            OnCorruption::Restart => word::OnCorruption::Restart,
        },
    };
    let text = volume.to_string();
    // As PID 1 will.
    match Binding::find(&text, volume.name).map_err(wrong)? == Binding::Verified(volume) {
        true => Ok(text),
        false => Err(wrong(word::VolumeError::Form)),
    }
}

fn missing(name: &VolumeName) -> Error {
    Error::new(Kind::Malformed, format!("volume `{name}` has no record"))
}
