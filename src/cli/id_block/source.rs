//! The launches that an ID block may be for.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::measure::parameters::Parameters;
use crate::cli::measure::subject::Subject;
use crate::cli::ui::Ui;
use crate::digest::Sha384;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::launch::features::Policy;
use crate::release::measure as measuring;

#[derive(Debug, Args)]
pub(super) struct Source {
    /// A release; its artifacts are checked against its launch record.
    #[arg(conflicts_with_all = ["record", "digest"])]
    release: Option<PathBuf>,
    /// A launch record.
    #[arg(long, value_name = "FILE", conflicts_with = "digest")]
    record: Option<PathBuf>,
    /// A launch digest, as 96 hex digits.
    #[arg(long, value_name = "HEX", value_parser = digest, conflicts_with = "Parameters")]
    digest: Option<Sha384>,
    #[command(flatten)]
    parameters: Parameters,
}

/// Where launch digests come from.
pub(super) enum Launches {
    Digest(Sha384),
    Subject(Box<Subject>),
}

impl Source {
    /// `None` if nothing is named.
    pub(super) fn read(&self) -> Result<Option<Launches>> {
        let subject = match (&self.release, &self.record, self.digest) {
            (Some(root), ..) => Subject::of_release(root)?,
            (_, Some(path), _) => Subject::of_record(path)?,
            (.., Some(digest)) => return Ok(Some(Launches::Digest(digest))),
            (None, None, None) if self.parameters.are_given() => {
                let message = "`--vcpus`, `--cpu` and their like choose a launch of a release or a \
                               record: expected one";
                return Err(Error::new(Kind::Usage, message));
            }
            (None, None, None) => return Ok(None),
        };
        let subject = self.parameters.apply(subject)?;
        Ok(Some(Launches::Subject(Box::new(subject))))
    }
}

impl Launches {
    /// The only digest, and what is known of its launch.
    pub(super) fn one(&self) -> Result<(Sha384, Option<Value>)> {
        let subject = match self {
            Self::Digest(digest) => return Ok((*digest, None)),
            Self::Subject(subject) => subject,
        };
        let (vcpus, cpu, features) = subject.one("an ID block")?;
        let digests = self.digests()?;
        let none = || Error::new(Kind::Rejected, "this launch has no digest");
        let launch = json!({
            "profile": subject.profile.id,
            "vcpus": vcpus,
            "cpu": cpu.label(),
            "sev_features": features,
        });
        Ok((*digests.first().ok_or_else(none)?, Some(launch)))
    }

    /// Checks that one of these launches has this digest.
    pub(super) fn contain(&self, found: &Sha384) -> Result<()> {
        let digests = self.digests()?;
        if digests.contains(found) {
            return Ok(());
        }
        let expected = match digests.as_slice() {
            [one] => format!("expected {one}"),
            many => format!("expected one of the {} launches", many.len()),
        };
        let message = format!("ID block is for launch digest {found}: {expected}");
        let hint = "`counterfoil explain` says how the launch with this digest differs";
        Err(Error::new(Kind::Rejected, message).hint(hint))
    }

    /// The policy in the record.
    pub(super) fn policy(&self) -> Option<Policy> {
        match self {
            Self::Digest(_) => None,
            Self::Subject(subject) => subject.record.as_ref().map(|record| record.policy),
        }
    }

    /// Says under which digest unmeasured code can run: whoever signs it should know.
    pub(super) fn warn_about(&self, ui: &Ui) {
        let Self::Subject(subject) = self else { return };
        let warnings = subject.record.as_ref().map(measuring::warnings);
        for warning in warnings.iter().flatten() {
            ui.warn(warning);
        }
    }

    fn digests(&self) -> Result<Vec<Sha384>> {
        match self {
            Self::Digest(digest) => Ok(vec![*digest]),
            Self::Subject(subject) => {
                let digests = subject.launch()?.digests(&subject.set);
                let digests = digests
                    .context(Kind::Rejected, || "these launches cannot be measured".to_owned())?;
                Ok(digests.into_iter().map(|digest| digest.digest).collect())
            }
        }
    }
}

fn digest(text: &str) -> Result<Sha384, String> {
    text.to_ascii_lowercase().parse().map_err(|_| "expected 96 hex digits".to_owned())
}
