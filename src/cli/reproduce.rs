//! `reproduce`: make a release again, and say whether it is what it says.

use std::path::PathBuf;

use clap::Args;

use crate::cli::bundle;
use crate::cli::diff::{line, text};
use crate::cli::lock::Origin;
use crate::cli::settings::Settings;
use crate::cli::ui::{Style, Ui, printable};
use crate::diff::Cause;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::report::Report as _;
use crate::names::Name;
use crate::release::diff::Compared;
use crate::release::layout;
use crate::release::reproduce::{Outcome, Rebuilt, reproduce};
use crate::release::verdict::{Answer, VERSION, Verdict};
use crate::release::write;

const EXAMPLES: &str = "\
Examples:
  counterfoil reproduce releases/llama
  counterfoil reproduce releases/llama --bundle llama.bundle --offline
  counterfoil reproduce releases/llama --as example-rebuilder     a verdict in releases/llama/rebuilds
  counterfoil reproduce releases/llama --keep again               and leave what was built

Exit codes: 0 reproduced, 10 something differs, 20 something is missing.";

/// Make a release again from its own manifest and lock, and compare every byte.
///
/// The answer is one of three: reproduced; differs, with the first cause; or cannot be reproduced, with
/// what is missing. Two levels are compared: what is measured, recomputed from the bytes, and every other
/// file. Nothing that the release says of itself is believed. The verdict goes into the release, under
/// `rebuilds`, unless `--no-verdict` is said.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Reproduce {
    /// The release.
    release: PathBuf,
    /// A bundle with the release's inputs, which is brought into the store first.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Fetch nothing.
    #[arg(long)]
    offline: bool,
    /// Who rebuilds, as the verdict names them: lower-case letters, digits and hyphens.
    #[arg(long = "as", value_name = "NAME", default_value = "unnamed")]
    rebuilder: Name,
    /// Write no verdict into the release.
    #[arg(long)]
    no_verdict: bool,
    /// Leave what was built in this directory.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Show every difference.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    origin: Origin,
}

impl Reproduce {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        if let Some(keep) = &self.keep {
            write::check_target(keep)?;
        }
        let store = settings.store()?;
        if let Some(path) = &self.bundle {
            bundle::bring(path, &store, ui)?;
        }
        let origins =
            if self.offline { self.origin.nowhere()? } else { self.origin.read(settings)? };
        let scratch = tempfile::Builder::new()
            .prefix("counterfoil-reproduce-")
            .tempdir()
            .context(Kind::Environment, || "failed making a temporary directory".to_owned())?;
        let again = self.keep.clone().unwrap_or_else(|| scratch.path().join("release"));
        let rebuilt = reproduce(&self.release, &origins.fetcher(&store, ui), &again)?;
        let (verdict, failure) = self.judge(&rebuilt);
        if !self.no_verdict {
            let path = verdict.keep(&self.release)?;
            ui.note(&format!("the verdict is in `{}`", path.display()));
        }
        if ui.is_json() {
            ui.json(&verdict)?;
        } else {
            self.say(ui, &verdict, &rebuilt)?;
        }
        for name in &rebuilt.not_rebuilt {
            ui.note(&format!(
                "volume `{name}` was compared by its record: its contents are not in the release"
            ));
        }
        failure.map_or(Ok(()), Err)
    }

    /// The verdict, and the failure that it is where it is one.
    fn judge(&self, rebuilt: &Rebuilt) -> (Verdict, Option<Error>) {
        let release = self.release.display();
        let mut verdict = Verdict {
            version: VERSION,
            tool: concat!("counterfoil ", env!("CARGO_PKG_VERSION")).to_owned(),
            rebuilder: self.rebuilder.clone(),
            release: rebuilt.identity,
            verdict: Answer::Reproduced,
            sentence: "reproduced: every measured value and every file is the same".to_owned(),
            measured: None,
            files: Vec::new(),
            cause: None,
            missing: Vec::new(),
            not_rebuilt: rebuilt.not_rebuilt.clone(),
        };
        let compared = match &rebuilt.outcome {
            Outcome::Compared(compared) => compared,
            Outcome::Missing(error, missing) => {
                verdict.verdict = Answer::CannotReproduce;
                let rest = match missing.len() {
                    0 | 1 => String::new(),
                    count => format!(" ({count} inputs are missing in all)"),
                };
                verdict.missing = match missing.is_empty() {
                    true => vec![error.to_string()],
                    false => missing.clone(),
                };
                verdict.sentence = format!("cannot be reproduced: {error}{rest}");
                let failure = Error::new(
                    Kind::CannotDecide,
                    format!("`{release}` cannot be reproduced: {error}"),
                );
                let failure = match missing.is_empty() {
                    true => failure,
                    false => failure.hint(format!("missing: {}", missing.join("; "))),
                };
                let failure =
                    error.hints().iter().fold(failure, |failure, hint| failure.hint(hint.as_str()));
                return (verdict, Some(failure));
            }
        };
        verdict.measured = Some(compared.measured);
        verdict.files.clone_from(&compared.files);
        let Some(first) = counting(compared).next() else {
            if !compared.files.is_empty() {
                verdict.sentence =
                    "reproduced: every measured value and every artifact is the same; \
                                    texts are in the words of another version"
                        .to_owned();
            }
            return (verdict, None);
        };
        verdict.verdict = Answer::Differs;
        verdict.cause = Some(first.clone());
        let level = match compared.measured {
            true => "every measured value is the same",
            false => "what is measured is not the same",
        };
        let plain = format!("{}: {}", first.place(), first.what);
        verdict.sentence = format!("differs: [{}] {plain}; {level}", first.cause.code());
        let failure =
            Error::new(Kind::Rejected, format!("`{release}` is not what it is made from"));
        (verdict, Some(failure))
    }

    fn say(&self, ui: &Ui, verdict: &Verdict, rebuilt: &Rebuilt) -> Result<()> {
        let Outcome::Compared(compared) = &rebuilt.outcome else {
            return ui.answer(&format!("{}\n", printable(&verdict.sentence)));
        };
        let mut answer = match &verdict.cause {
            Some(first) => line(ui, first, 0),
            None => String::new(),
        };
        let level = |same: bool| match same {
            true => ui.paint(Style::Green, "the same"),
            false => ui.paint(Style::Red, "NOT THE SAME"),
        };
        answer += &format!("measured values   {}\n", level(compared.measured));
        answer += &format!("artifact bytes    {}\n", level(verdict.cause.is_none()));
        if !compared.files.is_empty() {
            answer += &format!("other bytes in    {}\n", compared.files.join(", "));
        }
        if self.full && verdict.cause.is_some() {
            answer += &text(ui, &compared.diff, true, true);
        }
        if verdict.cause.is_none() {
            answer += &format!("{}\n", verdict.sentence);
        }
        ui.answer(&answer)
    }
}

/// The differences that count: texts in the words of another version of this program do not.
fn counting(compared: &Compared) -> impl Iterator<Item = &crate::diff::Difference> {
    let differences = &compared.diff.differences;
    let other_tool = differences.iter().any(|found| found.cause == Cause::Tool);
    let worded = |at: &str| at == layout::THREAT_MODEL || at == layout::RECORD;
    differences.iter().filter(move |found| match found.cause {
        Cause::Tool => false,
        Cause::Document => !(other_tool && found.at.first().is_some_and(|at| worded(at))),
        _ => true,
    })
}
