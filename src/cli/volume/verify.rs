//! `volume verify`: whether a volume is the one of a root hash.

use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::ui::Ui;
use crate::cli::volume::{Jobs, beside, read_record};
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::erofs::read::Reader;
use crate::image::verity::{BLOCK_SIZE, Geometry, Salt};
use crate::tree::held::{FileRange, Held};
use crate::volume::{Difference, Lies, Record, RecordedSalt, locate, verify};

const EXAMPLES: &str = "\
Examples:
  counterfoil volume verify model.img                        by model.json beside it
  counterfoil volume verify model.img --record model.json
  counterfoil volume verify model.img --root-hash 5a3f…      by a root hash alone

Exit codes: 0 it is the volume, 10 it is not, 20 there is nothing to hold it against.";

/// Read all of a volume and hold it against a root hash; say where it first differs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// The volume.
    image: PathBuf,
    /// Its record; the one beside it unless said.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root_hash", "salt", "committed"])]
    record: Option<PathBuf>,
    /// The root hash, in place of a record.
    #[arg(long, value_name = "HEX")]
    root_hash: Option<Sha256>,
    /// The salt, in hexadecimal or `-` for none; the fixed one unless said.
    #[arg(long, value_name = "HEX", requires = "root_hash", conflicts_with = "committed")]
    salt: Option<Salt>,
    /// The salt is the one in the volume's last block.
    #[arg(long, requires = "root_hash")]
    committed: bool,
    #[command(flatten)]
    jobs: Jobs,
}

/// What helps with volumes that keep their salt.
const COMMITTED: &str = "if it was made with `--committed`, say so here, too";

/// What the volume is held against.
struct Wanted {
    geometry: Geometry,
    /// The whole file's, in bytes.
    size: u64,
    salt: RecordedSalt,
    root: Sha256,
}

impl Verify {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let failed = || format!("failed reading `{}`", self.image.display());
        // A pipe would be waited for, and has no size.
        if std::fs::metadata(&self.image).is_ok_and(|found| !found.is_file()) {
            let message = format!("`{}` is no file", self.image.display());
            return Err(Error::new(Kind::Usage, message));
        }
        let held =
            File::open(&self.image).and_then(Held::new).context(Kind::Environment, failed)?;
        let file = FileRange::whole(held);
        let size = file.range.size;
        let Wanted { geometry, size: expected, salt, root } = self.wanted(size)?;
        if expected != size {
            let (message, hint) = (
                format!("`{}` has {size} bytes, the volume {expected}", self.image.display()),
                if size < expected { "it was cut off" } else { "something was put behind it" },
            );
            self.answer(ui, root, Some(json!({ "size": size })))?;
            return Err(Error::new(Kind::Rejected, message).hint(hint));
        }
        let salted = salt == RecordedSalt::OnDisk;
        let salt = match salt.of_volume(&file, geometry) {
            Ok(salt) => salt,
            Err(error) => {
                let detail = json!({ "block": geometry.blocks(), "of": "the salt" });
                self.answer(ui, root, Some(detail))?;
                return Err(error.context(format!("`{}`", self.image.display())));
            }
        };
        let found = verify(&file, geometry, &salt, root, self.jobs.count(), ui)?;
        let Some(difference) = found else {
            self.answer(ui, root, None)?;
            ui.done(&format!("`{}` is the volume of this root hash", self.image.display()));
            return Ok(());
        };
        let image = self.image.display();
        let (message, detail) = match difference {
            Difference::Root => {
                let or = if salted { ", or its salt is not the one" } else { "" };
                let message = format!("`{image}` is not the volume of root hash {root}{or}");
                (message, json!({ "root_hash": root }))
            }
            Difference::Tree { at, below: (first, end) } => (
                format!(
                    "`{image}` differs in block {at}, which is of the hash tree; what blocks {first} to {} \
                     should be cannot be told",
                    end - 1
                ),
                json!({ "block": at, "below": [first, end - 1] }),
            ),
            Difference::Data { at } => {
                let size = BLOCK_SIZE as u64;
                let place = place(&file, at);
                let message = format!(
                    "`{image}` differs in block {at} (bytes {} to {}), which is of {place}",
                    at * size,
                    (at + 1) * size - 1,
                );
                (message, json!({ "block": at, "of": place }))
            }
        };
        self.answer(ui, root, Some(detail))?;
        let failure = Error::new(Kind::Rejected, message);
        // With a root hash alone nothing says where the salt is.
        let untold = self.root_hash.is_some() && self.salt.is_none() && !salted;
        Err(match difference == Difference::Root && untold {
            true => failure.hint(COMMITTED),
            false => failure,
        })
    }

    fn wanted(&self, size: u64) -> Result<Wanted> {
        if let Some(root) = self.root_hash {
            let whole = size.is_multiple_of(BLOCK_SIZE as u64);
            let blocks = Some(size / BLOCK_SIZE as u64).filter(|_| whole);
            let geometry = match self.committed {
                true => blocks.and_then(|blocks| blocks.checked_sub(1)),
                false => blocks,
            };
            let geometry = geometry.and_then(Geometry::of_file).ok_or_else(|| {
                let message = format!(
                    "`{}` has {size} bytes; no data with its hash tree behind it has so many",
                    self.image.display()
                );
                Error::new(Kind::Rejected, message).hint("was it cut off?").hint(COMMITTED)
            })?;
            let salt = match self.committed {
                true => RecordedSalt::OnDisk,
                false => RecordedSalt::Told(self.salt.clone().unwrap_or_default()),
            };
            return Ok(Wanted { geometry, size, salt, root });
        }
        let path = self.record.clone().unwrap_or_else(|| beside(&self.image));
        let record = read_record(&path)?.ok_or_else(|| {
            let message = format!("there is no record `{}`", path.display());
            Error::new(Kind::CannotDecide, message)
                .hint("name one with `--record FILE`, or say the root hash with `--root-hash HEX`")
        })?;
        let malformed = || Error::new(Kind::Malformed, format!("`{}`", path.display()));
        let geometry = record.verity.geometry().ok_or_else(malformed)?;
        let Record { size, verity, .. } = record;
        Ok(Wanted { geometry, size, salt: verity.salt, root: verity.root_hash })
    }

    fn answer(&self, ui: &Ui, root: Sha256, difference: Option<Value>) -> Result<()> {
        if ui.is_json() {
            return ui.json(&json!({
                "verified": difference.is_none(),
                "root_hash": root,
                "difference": difference,
            }));
        }
        if difference.is_none() { ui.answer(&root.to_string()) } else { Ok(()) }
    }
}

/// What a block is of, in words.
fn place(file: &FileRange, at: u64) -> String {
    let found = Reader::new(file, file.range.size).and_then(|reader| locate(&reader, at));
    match found {
        Ok(Lies::Superblock) => "the superblock".to_owned(),
        Ok(Lies::In(path)) => format!("`{}`", String::from_utf8_lossy(&path)),
        // All before the block is as it should be: what cannot be read is in it or behind it.
        Ok(Lies::Inodes) | Err(_) => "the inodes, directories and small files".to_owned(),
    }
}
