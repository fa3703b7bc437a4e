//! `volume build`: from a directory or a file to a volume.

use std::path::{Path, PathBuf};

use clap::Args;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::cli::ui::{Ui, quoted};
use crate::cli::volume::Jobs;
use crate::error::{Error, Kind, Result};
use crate::image::verity::{Salt, SecretSalt};
use crate::input::progress::Progress as _;
use crate::names::Owner;
use crate::volume::source::{Rules, leading_out, members};
use crate::volume::{Counts, Order, Salting, build, check_salt, check_target};

const EXAMPLES: &str = "\
Examples:
  counterfoil volume build model.gguf --output model.img
  counterfoil volume build weights/ --output weights.img --owner 65534:65534
  counterfoil volume build weights/ --output weights.img --committed     for weights that stay closed

The same contents give the same bytes on every machine. The root hash is printed; model.json beside
model.img has it, too, and the other parameters of the kernel's dm-verity.";

/// Make a volume of a directory or a file, and its record beside it.
///
/// Everything is read once, hashed on all cores while it is copied, and never held in memory. Files are
/// 0644, or 0755 if their owner may execute them; directories 0755; times are zero; hard links become
/// files of their own. Devices, sockets and FIFOs are refused, and so are extended attributes that a
/// user has set; those of the machine (labels, capabilities, access lists) are left out.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Build {
    /// A directory or a file.
    input: PathBuf,
    /// Where the volume goes; a volume that is there is replaced.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Hashed before every block, in hexadecimal (256 bytes at most), or `-` for none; a fixed one
    /// unless said.
    #[arg(long, value_name = "HEX")]
    salt: Option<Salt>,
    /// For contents that stay closed: the salt is drawn at random and kept in the volume alone, so
    /// that the record binds them and nobody can check a guess at them by it. With `--salt`, of 32
    /// bytes: the same volume again, for whom it was told.
    #[arg(long)]
    committed: bool,
    /// Whom all files belong to; 0:0 unless said.
    #[arg(long, value_name = "UID:GID")]
    owner: Option<Owner>,
    /// Leave out extended attributes that a user has set.
    #[arg(long)]
    drop_xattrs: bool,
    #[command(flatten)]
    jobs: Jobs,
}

impl Build {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        check_target(&self.output)?;
        self.check_elsewhere()?;
        let salting = self.salting()?;
        check_salt(&self.output, &salting)?;
        let rules =
            Rules { owner: self.owner.unwrap_or_default(), drop_attributes: self.drop_xattrs };
        let members = members(&self.input, rules)?;
        let mut links = leading_out(&members);
        if let Some(link) = links.next() {
            ui.warn(&format!(
                "links that lead to nothing in the volume: {}, the first is `{}`; links are not followed",
                1 + links.count(),
                link.path
            ));
        }
        let order = Order { salting, jobs: self.jobs.count() };
        let record = build(&members, &order, &self.output, ui)?;
        if ui.is_json() {
            return ui.json(&record);
        }
        ui.answer(&record.verity.root_hash.to_string())?;
        let counts = Counts::of(&members);
        ui.note(&format!(
            "{} files of {} bytes together, {} directories, {} links; UUID {}",
            counts.files, counts.bytes, counts.directories, counts.symlinks, record.uuid
        ));
        if record.contents.is_none() {
            ui.note(
                "its salt is in its last block and nowhere else: the record can be published, the \
                 volume cannot",
            );
        }
        ui.done(&format!("volume `{}`, {} bytes", self.output.display(), record.size));
        let output = quoted(&self.output.display().to_string());
        ui.next(&format!("counterfoil volume verify {output}"));
        Ok(())
    }

    fn salting(&self) -> Result<Salting> {
        if !self.committed {
            return Ok(Salting::Public(self.salt.clone().unwrap_or_default()));
        }
        if let Some(salt) = &self.salt {
            let salt = SecretSalt::try_from(salt).map_err(|size| {
                let message = format!("the salt has {size} bytes");
                Error::new(Kind::Usage, message).hint(format!(
                    "a committed volume has one of {} bytes; leave `--salt` out to have one drawn",
                    SecretSalt::SIZE
                ))
            })?;
            return Ok(Salting::Committed(salt));
        }
        let mut salt = [0; SecretSalt::SIZE];
        let drawn = getrandom(&mut salt, GetRandomFlags::empty());
        match drawn {
            Ok(SecretSalt::SIZE) => Ok(Salting::Committed(SecretSalt::new(salt))),
            _ => Err(Error::new(Kind::Environment, "the system has no random numbers for a salt")),
        }
    }

    /// A volume within the directory that it is made of would change it, and the next one.
    fn check_elsewhere(&self) -> Result<()> {
        // Directories that are not there yet are made.
        let parent = self.output.ancestors().skip(1).find_map(|above| {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            above.canonicalize().ok()
        });
        let (Some(parent), Ok(input)) = (parent, self.input.canonicalize()) else { return Ok(()) };
        let target = self.output.canonicalize();
        if !parent.starts_with(&input) && target.map_or(true, |target| target != input) {
            return Ok(());
        }
        let message = format!(
            "`{}` is within `{}`, which it is to be made of",
            self.output.display(),
            self.input.display()
        );
        Err(Error::new(Kind::Usage, message).hint("say another place with `--output`"))
    }
}
