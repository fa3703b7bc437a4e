//! `reproduce`: make a release again, and say whether it is what it says.

mod signed;

use std::path::PathBuf;

use clap::Args;

use crate::cli::bundle;
use crate::cli::diff::{line, text};
use crate::cli::lock::Origin;
use crate::cli::settings::Settings;
use crate::cli::ui::{Style, Ui, printable};
use crate::diff::{Cause, Difference};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::names::Name;
use crate::release::reproduce::{Outcome, Rebuilt, reproduce};
use crate::release::verdict::{Answer, VERSION, Verdict};
use crate::release::write;
use crate::report::Time;

const EXAMPLES: &str = "\
Examples:
  counterfoil reproduce releases/llama
  counterfoil reproduce releases/llama --bundle llama.bundle --offline
  counterfoil reproduce releases/llama --as example-rebuilder     a verdict in releases/llama/rebuilds
  counterfoil reproduce releases/llama --keep again               and leave what was built
  counterfoil reproduce releases/llama --as example-rebuilder --sign rebuilder.key \\
      --builder-id https://rebuilder.example/counterfoil --log LOG --log-key log.key

Exit codes: 0 reproduced, 10 something differs, 20 something is missing.";

/// Make a release again from its own manifest and lock, and compare every byte.
///
/// The answer is one of three: reproduced; differs, with the first cause; or cannot be reproduced, with
/// what is missing. Two levels are compared: what is measured, recomputed from the bytes, and every other
/// file. Nothing that the release says of itself is believed. The verdict goes into the release, under
/// `rebuilds`, unless `--no-verdict` is said; signed with `--sign`, agreement and disagreement alike.
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
    /// Who rebuilds, as the verdict names them: a name such as inputs have. Whoever signs has to say one.
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
    signature: signed::Signature,
    #[command(flatten)]
    origin: Origin,
}

impl Reproduce {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        if let Some(keep) = &self.keep {
            let release = self.release.canonicalize().ok();
            let within = keep
                .ancestors()
                .any(|above| !above.as_os_str().is_empty() && above.canonicalize().ok() == release);
            let taken = keep.read_dir().is_ok_and(|mut entries| entries.next().is_some());
            if (release.is_some() && within) || taken || keep.is_file() {
                let message = format!("`{}` is no place for the rebuild", keep.display());
                return Err(Error::new(Kind::Usage, message)
                    .hint("say a directory that is not there yet, outside of the release"));
            }
            write::check_target(keep)?;
        }
        let signing = self.signature.open(&self.release)?;
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
        if let Some(signing) = &signing {
            let time = Time::from_unix(settings.now());
            match signing.sign(&self.release, &again, &rebuilt, &verdict, time)? {
                Some(files) => {
                    for path in files {
                        ui.note(&format!("signed, in `{}`", path.display()));
                    }
                }
                None => ui.warn("nothing was built, so that there is nothing to sign"),
            }
        }
        if ui.is_json() {
            ui.json(&verdict)?;
        } else {
            self.say(ui, &verdict, &rebuilt)?;
        }
        for name in &rebuilt.not_rebuilt {
            ui.note(&format!(
                "volume `{name}` was not made again: its contents are not in the release; it was compared by \
                 its record, if it has one"
            ));
        }
        for name in &rebuilt.other_programs {
            ui.warn(&format!(
                "the lock names a program `{name}` of the guest that this version does not carry: it was \
                 built into the image again, and what it does is known to whoever wrote it"
            ));
        }
        if !verdict.extra.is_empty() {
            ui.note(&format!("no part of the release: {}", printable(&verdict.extra.join(", "))));
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
            not_compared: Vec::new(),
            extra: Vec::new(),
            other_programs: rebuilt.other_programs.clone(),
            not_rebuilt: rebuilt.not_rebuilt.clone(),
        };
        let compared = match &rebuilt.outcome {
            Outcome::Compared(compared) => compared,
            Outcome::Missing(error, missing) => {
                verdict.verdict = Answer::CannotReproduce;
                // What an error says may be of this machine: a path, a mirror. What is missing is not.
                verdict.missing = match missing.is_empty() {
                    true => vec!["something of the rebuilder's machine".to_owned()],
                    false => missing.clone(),
                };
                let (first, more) = (&verdict.missing[0], verdict.missing.len() - 1);
                let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
                verdict.sentence = format!("cannot be reproduced: {first}{rest} could not be had");
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
        verdict.not_compared.clone_from(&compared.not_compared);
        verdict.extra.clone_from(&compared.extra);
        let counts = |found: &&Difference| found.cause != Cause::Tool;
        let Some(first) = compared.diff.differences.iter().find(counts) else {
            verdict.sentence = reproduced(&verdict);
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
            Some(first) => {
                line(ui, first, 0) + "(the first is the release, the second what it is made into)\n"
            }
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
        if !compared.not_compared.is_empty() {
            answer += &format!("not compared      {}\n", compared.not_compared.join(", "));
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

/// That it was reproduced, and what that does not say.
fn reproduced(verdict: &Verdict) -> String {
    let mut sentence = "reproduced: every measured value and every file is the same".to_owned();
    if !verdict.not_compared.is_empty() {
        sentence = format!(
            "reproduced: every measured value is the same, and every file that was compared; not compared: {}",
            verdict.not_compared.join(", ")
        );
    }
    if !verdict.other_programs.is_empty() {
        let names: Vec<_> = verdict.other_programs.iter().map(ToString::to_string).collect();
        sentence += &format!(
            "; the lock brings programs of the guest that this version does not carry: {}",
            names.join(", ")
        );
    }
    sentence
}
