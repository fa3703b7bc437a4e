//! `log`: a transparency log as files, that any web server can serve.

mod append;
mod given;
mod init;
mod key;
mod lookup;
mod monitor;
mod prove;
mod serve;
mod staple;
mod trusted_root;
mod verify;
mod witness;

use std::path::Path;

use clap::{Args, Subcommand};

use crate::cli::settings::Settings;
use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::log::verify::Signers;
use crate::log::{Note, SignerKey, VerifierKey, note};
use crate::published::trust::{LARGEST, Trust};

const EXAMPLES: &str = "\
Examples:
  counterfoil log key --name log.example --type log --output log.key
  counterfoil log init LOG --key log.key                     an empty log, named as its key is
  counterfoil log append LOG --key log.key --entries FILE    an entry a line
  counterfoil log witness LOG --trust trust.policy           have its checkpoint cosigned
  counterfoil log prove LOG --index 7 -o 7.tlog-proof        what proves that an entry is in it
  counterfoil log verify LOG --log VKEY                      read all of it again
  counterfoil log verify 7.tlog-proof --entry FILE --log VKEY
  counterfoil log verify release/statement.sigstore.json --log VKEY
  counterfoil log lookup LOG MEASUREMENT                     the entries of a launch digest
  counterfoil log monitor LOG --log VKEY --state seen.json   what is new in it, and what of that to look at";

/// Keep, prove, verify and watch a transparency log that is nothing but files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Log {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Key(key::Key),
    Init(init::Init),
    Append(append::Append),
    Witness(witness::WitnessCommand),
    ServeWitness(serve::ServeWitness),
    Prove(prove::Prove),
    Staple(staple::Staple),
    TrustedRoot(trusted_root::TrustedRoot),
    Verify(verify::Verify),
    Lookup(lookup::Lookup),
    Monitor(monitor::Monitor),
}

impl Log {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        match self.command {
            Command::Key(command) => command.run(ui),
            Command::Init(command) => command.run(ui),
            Command::Append(command) => command.run(ui),
            Command::Witness(command) => command.run(ui),
            Command::ServeWitness(command) => command.run(ui, settings),
            Command::Prove(command) => command.run(ui),
            Command::Staple(command) => command.run(ui),
            Command::TrustedRoot(command) => command.run(ui),
            Command::Verify(command) => command.run(ui),
            Command::Lookup(command) => command.run(ui),
            Command::Monitor(command) => command.run(ui, settings),
        }
    }
}

/// A private key out of its file.
pub(super) fn read_signer(path: &Path) -> Result<SignerKey> {
    let bytes = bounded::at_most(path, MOST_KEY)?;
    let text = str::from_utf8(&bytes).unwrap_or_default();
    text.trim_end_matches('\n')
        .parse()
        .context(Kind::Malformed, || format!("`{}` is no private key of a log", path.display()))
}

/// A verifier key as it stands on the command line, or in a file.
pub(super) fn verifier(text: &str) -> std::result::Result<VerifierKey, String> {
    let parse = |text: &str| text.trim_end_matches('\n').parse::<VerifierKey>();
    parse(text).or_else(|error| {
        let bytes = bounded::at_most(Path::new(text), MOST_KEY).map_err(|_| error.to_string())?;
        parse(str::from_utf8(&bytes).unwrap_or_default()).map_err(|error| error.to_string())
    })
}

/// The directory of a log that is to be written.
pub(super) fn writable(log: &Path) -> Result<&Path> {
    match log.to_string_lossy().contains("://") {
        false => Ok(log),
        true => {
            Err(Error::new(Kind::Usage, "a log is written in its directory, and this is a URL")
                .hint("run this where the log is kept, and give the directory"))
        }
    }
}

/// The key of a log.
pub(super) fn of_log(text: &str) -> std::result::Result<VerifierKey, String> {
    let key = verifier(text)?;
    match key.algorithm().is_cosignature() {
        true => Err(format!("`{}` is the key of a witness: expected one of a log", key.name())),
        false => Ok(key),
    }
}

/// The key of a witness.
pub(super) fn of_witness(text: &str) -> std::result::Result<VerifierKey, String> {
    let key = verifier(text)?;
    match key.algorithm().is_cosignature() {
        true => Ok(key),
        false => Err(format!("`{}` is the key of a log: expected one of a witness", key.name())),
    }
}

/// The logs, witnesses and builders of a trust policy.
fn read_trust(path: &Path) -> Result<Trust> {
    let bytes = bounded::at_most(path, LARGEST as u64)?;
    Trust::of_logs(&path.display().to_string(), &bytes)
}

/// Whose word counts: that of one log with all these witnesses, or what a policy says.
fn signers(
    log: Option<&VerifierKey>,
    witnesses: &[VerifierKey],
    policy: Option<&Trust>,
) -> Result<Signers> {
    let of_policy = |policy: &Trust| Signers {
        logs: policy.logs.iter().map(|log| log.key.clone()).collect(),
        witnesses: policy
            .witnesses
            .iter()
            .map(|(name, witness)| (name.clone(), witness.key.clone()))
            .collect(),
        quorum: policy.quorum.clone(),
    };
    let signers = log.map(|log| Signers::all_of(log.clone(), witnesses));
    signers.or_else(|| policy.map(of_policy)).filter(|signers| !signers.logs.is_empty()).ok_or_else(
        || Error::new(Kind::Usage, "the policy names no log").hint("say it with a `log` line"),
    )
}

/// A checkpoint out of a file.
fn read_note(path: &Path) -> Result<Note> {
    let bytes = bounded::at_most(path, note::MAX_BYTES as u64)?;
    Note::from_bytes(&bytes)
        .context(Kind::Malformed, || format!("`{}` is no checkpoint", path.display()))
}

/// The tree head in a note of a log.
fn tree_head(note: &Note, name: &str) -> Result<crate::log::Checkpoint> {
    crate::log::Checkpoint::parse(&note.text).map_err(|error| {
        Error::caused(Kind::Malformed, format!("`{name}` is no checkpoint"), error)
    })
}

/// The largest key, of any kind, is some two kilobytes.
const MOST_KEY: u64 = 16 << 10;
