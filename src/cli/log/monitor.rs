//! `log monitor`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use walkdir::WalkDir;

use crate::cli::settings::Settings;
use crate::cli::signing::read_public;
use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::digest::Sha256;
use crate::error::{Context as _, Kind, Result};
use crate::input::bounded;
use crate::input::progress::Progress as _;
use crate::log::VerifierKey;
use crate::log::monitor::{self, Known, Seen, State, Watch};
use crate::log::reader::Reader;
use crate::log::verify::{self, Finding};
use crate::published::Trust;
use crate::statement::bundle::Bundle;
use crate::statement::dsse::{Envelope, MAX_PAYLOAD, PAYLOAD_TYPE, pae};
use crate::whole;

const EXAMPLES: &str = "\
Examples:
  counterfoil log monitor LOG --log VKEY --state seen.json
  counterfoil log monitor https://log.example/ --log VKEY --state seen.json --key pub.pem --mine releases --days 14";

/// Watch a log: its past, your key in it, and who rebuilt what.
///
/// Tells what is new since the last look: entries by your key that you did not make, rebuilders who came to something
/// else, and what cannot be read of those who count; each once. And, each time, a past that has changed, statements
/// that are not there, and what nobody rebuilt in so many days.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Monitor {
    /// The log's directory, or the URL that it is served at.
    what: String,
    /// The log's key (a vkey, or a file with one).
    #[arg(long, value_name = "VKEY", value_parser = super::of_log, required_unless_present = "trust")]
    log: Option<VerifierKey>,
    /// A witness that must have cosigned; may be repeated.
    #[arg(long, value_name = "VKEY", value_parser = super::of_witness)]
    witness: Vec<VerifierKey>,
    /// Where what was seen is kept; made at the first look.
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Your public key, whose entries must all be among `--mine`.
    #[arg(long, value_name = "FILE", requires = "mine")]
    key: Option<PathBuf>,
    /// A directory with the bundles or statements that you signed.
    #[arg(long, value_name = "DIR", requires = "key")]
    mine: Option<PathBuf>,
    /// Tell releases (yours, if `--key` is given) that nobody else rebuilt in so many days, from when they are valid,
    /// or were first seen here if that is earlier.
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// A trust policy: its logs count, its quorum of witnesses must have cosigned, and only its builders count as
    /// those who rebuild.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["log", "witness"])]
    trust: Option<PathBuf>,
}

impl Monitor {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let name = self.state.display().to_string();
        let state = match self.state.exists() {
            true => State::from_json(&bounded::at_most(&self.state, MOST_STATE)?, &name)?,
            false => State::default(),
        };
        let mine = match (&self.key, &self.mine) {
            (Some(key), Some(mine)) => Some((read_public(key)?, made(mine)?)),
            _ => None,
        };
        let policy = self.trust.as_deref().map(super::read_trust).transpose()?;
        let signers = super::signers(self.log.as_ref(), &self.witness, policy.as_ref())?;
        let days = self.days.map(u64::from);
        let watch = Watch {
            signers,
            mine,
            known: policy.map(known),
            patience: days.map(|days| days * 24 * 60 * 60),
            now: settings.now(),
        };
        if state.checkpoint.is_some() && state.read == 0 {
            ui.note("the state was written by an older version: the log is read again from its first entry");
        }
        let seen = monitor::look(&Reader::open(&self.what)?, state, &watch)?;
        let json = serde_json::to_vec_pretty(&seen.state)
            .context(Kind::Environment, || "failed writing JSON".to_owned())?;
        // What was told and not kept is told again; what was kept and not told would be lost.
        tell(ui, &seen)?;
        whole::write(&self.state, &json)?;
        let left = seen.checkpoint.size.saturating_sub(seen.state.read);
        if left > 0 && seen.new.end > seen.new.start {
            ui.warn(&format!("{left} entries are left to be read: run it again"));
        }
        verify::verdict(&seen.findings, &self.what)
    }
}

/// Whom the policy knows, by their keys.
fn known(trust: Trust) -> Known {
    let publishers = trust.publishers.into_iter().map(|(name, key)| (key.to_string(), name));
    let builders = trust.builders.into_iter().map(|(name, it)| (it.key.to_string(), name));
    Known { publishers: publishers.collect(), builders: builders.collect() }
}

fn tell(ui: &Ui, seen: &Seen) -> Result<()> {
    let new = seen.new.end - seen.new.start;
    if ui.is_json() {
        return ui.json(&json!({
            "origin": seen.checkpoint.origin,
            "size": seen.checkpoint.size,
            "root": seen.checkpoint.root,
            "new": new,
            "reasons": seen.findings,
        }));
    }
    let size = seen.checkpoint.size;
    let mut text =
        format!("{}: {size} entries, {new} new\n", printable_in_line(&seen.checkpoint.origin));
    for Finding { reason, message } in &seen.findings {
        let code = ui.paint(Style::Red, reason.code());
        text += &format!("{code}: {}\n", printable_in_line(message));
    }
    ui.answer(&text)
}

/// The digests of all that was signed: of bundles and envelopes what is in them, of other files what they would be
/// as statements.
fn made(directory: &Path) -> Result<BTreeSet<Sha256>> {
    let mut made = BTreeSet::new();
    for entry in WalkDir::new(directory).sort_by_file_name() {
        let entry = entry
            .context(Kind::Environment, || format!("failed reading `{}`", directory.display()))?;
        let largest = 2 * MAX_PAYLOAD as u64;
        let small = entry.metadata().is_ok_and(|metadata| metadata.len() <= largest);
        if !entry.file_type().is_file() || !small {
            continue;
        }
        let bytes = bounded::at_most(entry.path(), largest)?;
        let envelope = Bundle::from_json(&bytes).map(|bundle| bundle.envelope);
        made.insert(match envelope.ok().or_else(|| Envelope::from_json(&bytes).ok()) {
            Some(envelope) => envelope.digest(),
            None => Sha256::of(pae(PAYLOAD_TYPE, &bytes)),
        });
    }
    Ok(made)
}

/// A release takes some 300 bytes.
const MOST_STATE: u64 = 64 << 20;
