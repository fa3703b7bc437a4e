//! `log witness`.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui, printable};
use crate::error::{Context as _, Error, Kind, Result, causes};
use crate::input::http::{self, Client};
use crate::log::directory::add_signatures;
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::tree::Tree;
use crate::log::witness::Witness;
use crate::log::{Checkpoint, Note, Signature, Signed, VerifierKey, prove};
use crate::report::Time;

const EXAMPLES: &str = "\
Examples:
  counterfoil log witness LOG --witness VKEY=https://witness.example.org/
  counterfoil log witness LOG --witness VKEY=URL --witness VKEY=URL";

/// Have witnesses cosign a log's checkpoint.
///
/// Each is asked by c2sp.org/tlog-witness, and what holds of what it answers is added to the log's checkpoint. Run it
/// after each append; or again when some witness could not be reached.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WitnessCommand {
    /// The log's directory.
    log: PathBuf,
    /// A witness: its key and the URL that it takes checkpoints at; may be repeated.
    #[arg(long, value_name = "VKEY=URL", value_parser = at, required = true)]
    witness: Vec<At>,
    /// For how many seconds a witness is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
}

/// A witness as it was named.
#[derive(Clone, Debug)]
struct At {
    name: String,
    key: VerifierKey,
    url: Option<String>,
}

impl WitnessCommand {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let reader = Reader::directory(&self.log);
        let note = reader.checkpoint()?;
        let checkpoint = super::tree_head(&note, &reader.name(CHECKPOINT))?;
        let asked = self.ask_all(&reader, &note, &checkpoint)?;

        let signatures: Vec<Signature> = asked
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().ok())
            .flatten()
            .cloned()
            .collect();
        if !signatures.is_empty() && !add_signatures(&self.log, &note.text, &signatures)? {
            let message =
                "the log has another checkpoint by now, and this one's cosignatures are of no use";
            return Err(Error::new(Kind::CannotDecide, message).hint("run the same command again"));
        }
        let mut cosigned = note;
        signatures.into_iter().for_each(|signature| cosigned.add(signature));
        self.tell(ui, &checkpoint, &cosigned, &asked)
    }

    /// Every witness by itself, so that one that is silent holds up no other.
    fn ask_all(&self, reader: &Reader, note: &Note, checkpoint: &Checkpoint) -> Result<Vec<Asked>> {
        let settings = http::Settings {
            attempts: 1,
            patience: Duration::from_secs(self.patience.max(1)),
            ..http::Settings::default()
        };
        let client =
            Client::new(&settings).context(Kind::Environment, || "no client".to_owned())?;
        // Two keys at one address are one witness, which signs with both at once.
        let mut witnesses: Vec<Witness> = Vec::new();
        for at in &self.witness {
            let Some(url) = &at.url else { continue };
            match witnesses.iter_mut().find(|witness| witness.url == *url) {
                Some(witness) => witness.keys.push(at.key.clone()),
                None => {
                    witnesses.push(Witness { url: url.clone(), keys: vec![at.key.clone()] });
                }
            }
        }
        let ask = |witness: &Witness| {
            witness.ask(&client, note, &mut |old| {
                prove::consistency(&mut Tree::open(reader, checkpoint)?, old)
            })
        };
        let answers = thread::scope(|scope| {
            let asking: Vec<_> =
                witnesses.iter().map(|witness| scope.spawn(|| ask(witness))).collect();
            let stopped = || Err(Error::new(Kind::Environment, "asking has stopped"));
            let join = asking.into_iter().map(|it| it.join().unwrap_or_else(|_| stopped()));
            join.collect::<Vec<_>>()
        });
        Ok(witnesses.into_iter().zip(answers).collect())
    }

    fn tell(&self, ui: &Ui, checkpoint: &Checkpoint, note: &Note, asked: &[Asked]) -> Result<()> {
        let error = |at: &At| {
            let asked = asked.iter().find(|(witness, _)| witness.keys.contains(&at.key));
            asked.and_then(|(_, answer)| answer.as_ref().err())
        };
        let reached = self.witness.iter().all(|at| at.key.verify(note).is_good());
        if ui.is_json() {
            let witnesses = self.witness.iter().map(|at| as_json(at, note, error(at)));
            ui.json(&json!({
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root,
                "witnesses": witnesses.collect::<Vec<_>>(),
                "quorum": reached,
            }))?;
        } else {
            let lines = self.witness.iter().map(|at| as_text(ui, at, note, error(at)));
            ui.answer(&lines.collect::<String>())?;
        }
        if reached {
            return Ok(());
        }
        let rejected = |answer: &Result<_>| {
            answer.as_ref().is_err_and(|error: &Error| error.kind() == Kind::Rejected)
        };
        let kind = match asked.iter().any(|(_, answer)| rejected(answer)) {
            true => Kind::Rejected,
            false => Kind::CannotDecide,
        };
        let message = "the checkpoint is not cosigned by all witnesses that were named";
        Err(Error::new(kind, message)
            .hint("cosignatures that were given are kept: run it again for the rest"))
    }
}

/// A witness and what it answered.
type Asked = (Witness, Result<Vec<Signature>>);

/// When a witness cosigned, if it did.
fn time(at: &At, note: &Note) -> Option<Time> {
    match at.key.verify(note) {
        Signed::Good { time } => time.map(Time::from_unix),
        Signed::Absent | Signed::Bad => None,
    }
}

fn as_json(at: &At, note: &Note, error: Option<&Error>) -> Value {
    let error = error.map(|error| {
        json!({ "message": error.to_string(), "causes": causes(error), "hints": error.hints() })
    });
    let url = at.url.as_deref().map(http::without_credentials);
    json!({
        "name": at.name,
        "url": url,
        "cosigned": at.key.verify(note).is_good(),
        "time": time(at, note),
        "error": error,
    })
}

fn as_text(ui: &Ui, at: &At, note: &Note, error: Option<&Error>) -> String {
    let name = printable(&at.name);
    let mut text = match (at.key.verify(note).is_good(), time(at, note)) {
        (true, Some(time)) => format!("{} {name} at {time}\n", ui.paint(Style::Green, "cosigned")),
        (true, None) => format!("{} {name}\n", ui.paint(Style::Green, "cosigned")),
        (false, _) => format!("{}  {name}\n", ui.paint(Style::Red, "missing")),
    };
    if let Some(error) = error {
        let all = std::iter::once(error.to_string()).chain(causes(error));
        all.for_each(|line| text += &format!("         {}\n", printable(&line)));
        error
            .hints()
            .iter()
            .for_each(|hint| text += &format!("         hint: {}\n", printable(hint)));
    }
    text
}

/// `VKEY=URL`. The base64 of a key may end with `=` itself.
fn at(text: &str) -> std::result::Result<At, String> {
    let split = text.find("=http://").or_else(|| text.find("=https://"));
    let (key, url) = split.map(|at| (&text[..at], &text[at + 1..])).ok_or_else(|| {
        "expected a verifier key, `=`, and a url that begins with http:// or https://".to_owned()
    })?;
    let key = super::verifier(key)?;
    if !key.algorithm().is_cosignature() {
        return Err(format!("`{}` is the key of a log: expected one of a witness", key.name()));
    }
    let url = url.trim_end_matches('/').to_owned();
    Ok(At { name: key.name().to_owned(), key, url: Some(url) })
}
