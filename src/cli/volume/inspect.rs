//! `volume inspect`: what is in a volume, or in another EROFS image.

use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui, printable};
use crate::cli::volume::listing::{Counts, Listing};
use crate::cli::volume::{beside, read_record};
use crate::error::{Context as _, Error, Kind, Result};
use crate::image::erofs::read::{ReadError, Reader, SuperBlock};
use crate::image::verity::Salt;
use crate::tree::held::{FileRange, Held};
use crate::volume::{Record, RecordedSalt, Verity};

const EXAMPLES: &str = "\
Examples:
  counterfoil volume inspect model.img
  counterfoil volume inspect model.img --format json
  counterfoil volume inspect other.erofs        an image that mkfs.erofs has made

What is shown is what the image says; `counterfoil volume verify` holds it against a root hash.
Exit codes: 0 all is understood, 20 something is not, 30 it is damaged.";

/// Show what is in a volume: superblock, numbers, every path, and the parameters of dm-verity.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Inspect {
    /// The volume, or any EROFS image.
    image: PathBuf,
    /// Show the salt of a committed volume, which is a secret: whoever has it can check a guess at the
    /// contents against every record of the volume.
    #[arg(long)]
    show_salt: bool,
}

impl Inspect {
    /// Of this file.
    pub(in crate::cli) fn of(image: PathBuf) -> Self {
        Self { image, show_salt: false }
    }

    pub(in crate::cli) fn run(self, ui: &Ui) -> Result<()> {
        let named = || format!("`{}`", self.image.display());
        let held = File::open(&self.image)
            .and_then(Held::new)
            .context(Kind::Environment, || format!("failed reading {}", named()))?;
        let file = FileRange::whole(held);
        let judged = |error: ReadError| {
            let kind = match &error {
                ReadError::Unsupported(_) => Kind::CannotDecide,
                ReadError::Io(_) => Kind::Environment,
                _ => Kind::Malformed,
            };
            Error::caused(kind, named(), error)
        };
        let reader = Reader::new(&file, file.range.size).map_err(judged)?;
        let listing = Listing::of(&reader);
        // What is not of our making need not have a record, nor be the one of it.
        let record = read_record(&beside(&self.image)).ok().flatten();
        let record = record.filter(|record| {
            record.uuid == reader.superblock().uuid && record.size == file.range.size
        });
        // Whoever has the volume has the salt, and need not see it on every screen.
        let salt = record.as_ref().and_then(|record| match &record.verity.salt {
            RecordedSalt::Told(salt) => Some(salt.clone()),
            secret if self.show_salt => secret.of_volume(&file, record.verity.geometry()?).ok(),
            RecordedSalt::OnDisk => None,
        });
        let bound = record.as_ref().map(|record| (record, salt.as_ref()));
        let (listing, failure) = match listing {
            Ok(listing) => (Some(listing), None),
            Err(error) => (None, Some(judged(error))),
        };
        if ui.is_json() {
            ui.json(&as_json(reader.superblock(), listing.as_ref(), bound))?;
        } else {
            ui.answer(&as_text(ui, reader.superblock(), listing.as_ref(), bound))?;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if reader.superblock().checksum == Some(false) {
            let message = format!("{}: the superblock does not have its checksum", named());
            return Err(Error::new(Kind::Malformed, message));
        }
        match listing.map_or(0, |listing| listing.counts.not_understood) {
            0 => Ok(()),
            count => {
                let message = format!(
                    "{}: the contents of {count} files are compressed or in chunks, which are not \
                     understood; names, sizes and modes are",
                    named()
                );
                Err(Error::new(Kind::CannotDecide, message))
            }
        }
    }
}

/// A volume's record, and its salt where that is to be shown.
type Bound<'a> = Option<(&'a Record, Option<&'a Salt>)>;

fn as_json(superblock: &SuperBlock, listing: Option<&Listing>, bound: Bound<'_>) -> Value {
    json!({
        "superblock": {
            "block_size": superblock.block_size,
            "blocks": superblock.blocks,
            "inodes": superblock.inodes,
            "uuid": superblock.uuid,
            "name": String::from_utf8_lossy(&superblock.name),
            "build_time": superblock.build_time,
            "compatible": superblock.compatible.names(),
            "incompatible": superblock.incompatible.names(),
            "checksum": superblock.checksum,
        },
        "counts": listing.map(|listing| &listing.counts),
        "tree": listing.map(|listing| &listing.tree),
        "record": bound.map(|(record, _)| record),
        "salt": bound.and_then(|(_, salt)| salt),
    })
}

fn as_text(
    ui: &Ui,
    superblock: &SuperBlock,
    listing: Option<&Listing>,
    bound: Bound<'_>,
) -> String {
    let names = |names: Vec<String>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    };
    let mut text = format!("{}\n", ui.paint(Style::Bold, "EROFS file system"));
    let mut row = |label: &str, value: String| {
        let _ = writeln!(text, "  {label:18}{}", printable(&value));
    };
    row("UUID", superblock.uuid.to_string());
    if !superblock.name.is_empty() {
        row("name", String::from_utf8_lossy(&superblock.name).into_owned());
    }
    row("blocks", format!("{} of {} bytes", superblock.blocks, superblock.block_size));
    row("inodes", superblock.inodes.to_string());
    row("build time", superblock.build_time.to_string());
    row("features", names(superblock.compatible.names()));
    row("needs", names(superblock.incompatible.names()));
    let checksum = match superblock.checksum {
        Some(true) => "right",
        Some(false) => "wrong",
        None => "none",
    };
    row("checksum", checksum.to_owned());
    if let Some((record, salt)) = bound {
        text += &verity(ui, &record.verity, salt);
    }
    if let Some(Listing { counts, tree }) = listing {
        text += &numbers(ui, counts);
        let _ = writeln!(text, "\n{}", ui.paint(Style::Bold, "Tree"));
        for row in tree {
            let mark = match row.kind {
                "directory" => 'd',
                "symlink" => 'l',
                "special" => 's',
                _ => '-',
            };
            let target =
                row.target.as_ref().map_or(String::new(), |target| format!(" -> {target}"));
            let owner = row.owner.to_string();
            let name = printable(&format!("{}{target}", row.path)).replace('\n', "\u{fffd}");
            let _ = writeln!(text, "  {mark} {} {owner:>9} {:>14} {name}", row.mode, row.size);
        }
    }
    text
}

fn verity(ui: &Ui, verity: &Verity, salt: Option<&Salt>) -> String {
    let shown = match salt {
        Some(salt) => salt.to_string(),
        None => "in its last block; `--show-salt` shows it".to_owned(),
    };
    let mut text = format!(
        "\n{}\n  root hash         {}\n  salt              {shown}\n  data blocks       {}\n",
        ui.paint(Style::Bold, "dm-verity, as the record has it"),
        verity.root_hash,
        verity.data_blocks,
    );
    if let Some(salt) = salt {
        let _ = writeln!(text, "  table             {}", verity.table(salt));
    }
    text
}

fn numbers(ui: &Ui, counts: &Counts) -> String {
    let mut text = format!("\n{}\n", ui.paint(Style::Bold, "Contents"));
    let rows = [
        ("files", counts.files),
        ("bytes in files", counts.bytes),
        ("directories", counts.directories),
        ("symbolic links", counts.symlinks),
        ("special files", counts.special),
        ("64-byte inodes", counts.extended),
        ("with attributes", counts.with_attributes),
        ("not understood", counts.not_understood),
    ];
    for (label, count) in rows {
        let _ = writeln!(text, "  {label:18}{count}");
    }
    text
}
