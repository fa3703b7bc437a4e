//! `diff`: why two releases, or two artifacts of anybody's making, are not the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::ui::{Style, Ui, printable};
use crate::diff::{Artifact, Cause, Diff, DiffError, Difference};
use crate::error::{Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::release::diff;

/// Lines that are shown without `--full`.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
Examples:
  counterfoil diff releases/llama other/llama       two releases, from the digest down
  counterfoil diff initrd.img other-initrd.img      plain or packed by gzip, xz or zstd
  counterfoil diff model.erofs other.erofs --full
  counterfoil diff launch.json other.json --format json

Artifacts: initrds, EROFS images with or without a hash tree, kernels, unified kernel images, OVMF
firmware, launch records, and any other file byte by byte.

Exit codes: 0 the same, 10 not the same, 30 one of them is damaged.";

/// Say why two releases or two artifacts differ: the cause first, in one line.
///
/// Releases are compared by what they are made of; what their records say of it is not believed. Each
/// difference has a class (a mode, a timestamp, a package's version, a compressor, …) and, in a release,
/// the input that it came from.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DiffCommand {
    /// A release or an artifact.
    one: PathBuf,
    /// Another of the same kind.
    two: PathBuf,
    /// Show every difference, and what each class of causes means.
    #[arg(long)]
    full: bool,
}

impl DiffCommand {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        for path in [&self.one, &self.two] {
            if !path.exists() {
                let message = format!("there is no `{}`", path.display());
                return Err(Error::new(Kind::Environment, message));
            }
        }
        let (diff, files) = match (self.one.is_dir(), self.two.is_dir()) {
            (true, true) => {
                let compared = diff::compare(&self.one, &self.two)?;
                (compared.diff, Some((compared.measured, compared.files)))
            }
            (false, false) => (artifacts(&self.one, &self.two)?, None),
            _ => {
                let message = "a release cannot be compared with a file";
                return Err(Error::new(Kind::Usage, message)
                    .hint("name two releases, or two files of the same kind"));
            }
        };
        let same = diff.is_same() && files.as_ref().is_none_or(|(_, files)| files.is_empty());
        if ui.is_json() {
            let (measured, files) = files.map_or((None, None), |(m, f)| (Some(m), Some(f)));
            ui.json(&json!({
                "same": same,
                "measured_same": measured,
                "files": files,
                "differences": diff.differences,
                "more": diff.more,
                "not_understood": diff.not_understood,
            }))?;
        } else if same {
            ui.answer("the same\n")?;
        } else {
            ui.answer(&text(ui, &diff, self.full, files.is_some()))?;
        }
        for what in &diff.not_understood {
            ui.warn(&printable(&format!("not looked into: {what}")));
        }
        match same {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Rejected,
                format!("`{}` and `{}` are not the same", self.one.display(), self.two.display()),
            )),
        }
    }
}

/// Compares two files.
fn artifacts(one: &Path, two: &Path) -> Result<Diff> {
    let failed = |error: DiffError| error.under("these cannot be compared");
    let (first, second) =
        (Artifact::open(one).map_err(failed)?, Artifact::open(two).map_err(failed)?);
    let mut diff = Diff::default();
    first.compare(&second, &mut diff).map_err(failed)?;
    diff.causes_first();
    Ok(diff)
}

/// What differs: a line for each cause, or with `full` for each difference.
/// Of releases, those in one artifact are put together.
pub(super) fn text(ui: &Ui, diff: &Diff, full: bool, releases: bool) -> String {
    let mut text = String::new();
    if full {
        for found in &diff.differences {
            text += &line(ui, found, 0);
        }
        if diff.more > 0 {
            text += &format!("and {} more\n", diff.more);
        }
        let causes: BTreeMap<&str, Cause> =
            diff.differences.iter().map(|found| (found.cause.code(), found.cause)).collect();
        text += "\n";
        for (code, cause) in causes {
            text += &format!("{code}: {}\n", cause.means());
        }
        return text;
    }
    let groups = grouped(diff, releases);
    for (found, more) in groups.iter().take(SHOWN) {
        text += &line(ui, found, *more);
    }
    if groups.len() > SHOWN || diff.more > 0 {
        text += "and more; `--full` shows all\n";
    }
    text
}

/// One of each cause, and of releases each artifact and input, with the number of others like it.
fn grouped(diff: &Diff, releases: bool) -> Vec<(&Difference, usize)> {
    let mut groups: Vec<(&Difference, usize)> = Vec::new();
    for found in &diff.differences {
        let alike = |(other, _): &&mut (&Difference, usize)| {
            other.cause == found.cause
                && other.from == found.from
                && (!releases || other.at.first() == found.at.first())
        };
        match groups.iter_mut().find(alike) {
            Some((_, more)) => *more += 1,
            None => groups.push((found, 0)),
        }
    }
    groups
}

/// A difference in one line.
pub(super) fn line(ui: &Ui, found: &Difference, more: usize) -> String {
    let place = found.place();
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    let from = match &found.from {
        Some(from) => format!(", from input `{from}`"),
        None => String::new(),
    };
    let more = match more {
        0 => String::new(),
        more => format!(", and {more} more like it"),
    };
    let cause = ui.paint(Style::Yellow, &format!("[{}]", found.cause.code()));
    let text = printable(&format!("{place}{}{from}{more}", found.what)).replace('\n', " ");
    format!("{cause} {text}\n")
}
