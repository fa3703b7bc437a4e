//! `volume`: what a guest reads and cannot be given another of.

mod build;
pub(super) mod inspect;
mod listing;
mod verify;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::volume::{Record, VERSION, cores};

const EXAMPLES: &str = "\
Examples:
  counterfoil volume build model.gguf --output model.img    a volume of one file, and model.json beside it
  counterfoil volume build weights/ --output weights.img    of a directory
  counterfoil volume verify model.img                       read all of it again
  counterfoil volume inspect model.img                      what is in it";

/// Make, look into and check volumes: read-only file systems that a root hash stands for.
///
/// A volume is one file: an EROFS file system, and right behind it a dm-verity hash tree. A guest that
/// has the root hash on its measured command line reads this volume or gets errors.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Volume {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Build),
    Inspect(inspect::Inspect),
    Verify(verify::Verify),
}

impl Volume {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        match self.command {
            Command::Build(command) => command.run(ui),
            Command::Inspect(command) => command.run(ui),
            Command::Verify(command) => command.run(ui),
        }
    }
}

#[derive(Debug, Args)]
struct Jobs {
    /// How many threads read and hash; as many as there are cores unless said. No byte depends on it.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

impl Jobs {
    fn count(&self) -> usize {
        self.jobs.map_or_else(cores, |jobs| jobs.get().min(256))
    }
}

/// Reads a record; `None` if there is no such file.
fn read_record(path: &Path) -> Result<Option<Record>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = bounded::whole(path)?;
    let malformed = || format!("`{}` is not a volume's record", path.display());
    let record: Record = serde_json::from_slice(&text).context(Kind::Malformed, malformed)?;
    if record.version != VERSION {
        let message = format!(
            "`{}` is a record of version {}; this program knows version {VERSION}",
            path.display(),
            record.version
        );
        return Err(Error::new(Kind::CannotDecide, message));
    }
    if !record.fits_together() {
        let message = format!("{}: size, blocks and parameters do not fit together", malformed());
        return Err(Error::new(Kind::Malformed, message));
    }
    Ok(Some(record))
}

/// Where a volume's record is looked for.
fn beside(image: &Path) -> PathBuf {
    crate::volume::record_path(image)
}
