//! `log witness`.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::error::{Context as _, Error, Kind, Result, causes};
use crate::input::http::{self, Client};
use crate::input::progress::Progress as _;
use crate::log::directory::add_signatures;
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::tree::Tree;
use crate::log::witness::Witness;
use crate::log::{Checkpoint, Note, Signature, Signed, VerifierKey, prove};
use crate::published::Trust;
use crate::report::Time;

const EXAMPLES: &str = "\
Examples:
  counterfoil log witness LOG --trust trust.policy
  counterfoil log witness LOG --trust trust.policy --witness W1       this one of them
  counterfoil log witness LOG --witness VKEY=https://witness.example.org/";

/// Have witnesses cosign a log's checkpoint.
///
/// Each is asked by c2sp.org/tlog-witness, and what holds of what it answers is added to the log's checkpoint. Run it
/// after each append; or again when some witness could not be reached.
///
/// It is done when the policy's quorum has cosigned; without a policy, when all witnesses have that were named.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WitnessCommand {
    /// The log's directory.
    log: PathBuf,
    /// A trust policy, whose witnesses with URLs are asked.
    #[arg(
        long = "trust",
        alias = "policy",
        value_name = "FILE",
        required_unless_present = "witness"
    )]
    policy: Option<PathBuf>,
    /// One of the policy's witnesses, to ask it and not all; or the key of a witness and the URL that it takes
    /// checkpoints at; may be repeated.
    #[arg(long, value_name = "NAME|URL|VKEY=URL", value_parser = which)]
    witness: Vec<Which>,
    /// For how many seconds a witness is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
}

/// What `--witness` says.
#[derive(Clone, Debug)]
enum Which {
    /// A name or a URL of the policy.
    OfPolicy(String),
    At(At),
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
        let reader = Reader::directory(super::writable(&self.log)?);
        let note = reader.checkpoint()?;
        let checkpoint = super::tree_head(&note, &reader.name(CHECKPOINT))?;
        let policy = self.policy.as_deref().map(super::read_trust).transpose()?;
        if policy.as_ref().is_some_and(|policy| !knows(policy, &note)) {
            ui.warn("no log of the policy has signed this checkpoint: whoever goes by it believes none of it");
        }
        let witnesses = self.witnesses(policy.as_ref())?;
        let asked = self.ask_all(&witnesses, &reader, &note, &checkpoint)?;

        let good = asked.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        let signatures: Vec<Signature> = good.flatten().cloned().collect();
        if !signatures.is_empty() && !add_signatures(&self.log, &note.text, &signatures)? {
            let message =
                "the log has another checkpoint by now, and this one's cosignatures are of no use";
            return Err(Error::new(Kind::CannotDecide, message).hint("run the same command again"));
        }
        let mut cosigned = note;
        signatures.into_iter().for_each(|signature| cosigned.add(signature));
        let reached = match &policy {
            Some(policy) => policy.quorum.is_reached(&|name| {
                let witness = policy.witnesses.get(name);
                witness.is_some_and(|witness| witness.key.verify(&cosigned).is_good())
            }),
            None => witnesses.iter().all(|at| at.key.verify(&cosigned).is_good()),
        };
        tell(ui, &witnesses, &checkpoint, &cosigned, &asked, reached)?;
        if reached {
            return Ok(());
        }
        let rejects = |error: &Error| error.kind() == Kind::Rejected;
        let kind = match asked.iter().any(|(_, answer)| answer.as_ref().is_err_and(rejects)) {
            true => Kind::Rejected,
            false => Kind::CannotDecide,
        };
        let message = match &policy {
            Some(policy) => format!(
                "the checkpoint is not cosigned as the policy asks for: {}",
                policy.quorum.describe()
            ),
            None => "the checkpoint is not cosigned by all witnesses that were named".to_owned(),
        };
        let error = Error::new(kind, message);
        Err(match kind {
            // No witness signs another past, however often it is asked.
            Kind::Rejected => error,
            _ => error.hint("cosignatures that were given are kept: run it again for the rest"),
        })
    }

    /// Those that are told about: the ones that were named, or all of the policy's.
    fn witnesses(&self, policy: Option<&Trust>) -> Result<Vec<At>> {
        let of_policy =
            policy.iter().flat_map(|policy| &policy.witnesses).map(|(name, witness)| At {
                name: name.clone(),
                key: witness.key.clone(),
                url: witness.url.as_deref().map(|url| url.trim_end_matches('/').to_owned()),
            });
        let of_policy: Vec<_> = of_policy.collect();
        let mut all: Vec<At> = Vec::new();
        for which in &self.witness {
            match which {
                Which::At(at) => all.push(at.clone()),
                Which::OfPolicy(text) => {
                    let url = text.trim_end_matches('/');
                    let fits = |at: &&At| at.name == *text || at.url.as_deref() == Some(url);
                    let before = all.len();
                    all.extend(of_policy.iter().filter(fits).cloned());
                    if all.len() == before {
                        let message = match policy {
                            Some(_) => format!("the policy has no witness `{text}`"),
                            None => format!("the witness `{text}` is of no `--trust`"),
                        };
                        return Err(Error::new(Kind::Usage, message)
                            .hint("give its name, its URL, or a verifier key, `=` and a URL"));
                    }
                }
            }
        }
        if self.witness.is_empty() {
            all = of_policy;
        }
        match all.iter().find(|at| at.url.is_none()).filter(|_| !self.witness.is_empty()) {
            Some(at) => {
                let message = format!("the policy has no url for the witness `{}`", at.name);
                Err(Error::new(Kind::Usage, message))
            }
            None => Ok(all),
        }
    }

    /// Asks every witness by itself, so that one that is silent holds up no other.
    fn ask_all(
        &self,
        named: &[At],
        reader: &Reader,
        note: &Note,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<Asked>> {
        let settings = http::Settings {
            attempts: 1,
            patience: Duration::from_secs(self.patience.max(1)),
            ..http::Settings::default()
        };
        let client =
            Client::new(&settings).context(Kind::Environment, || "no client".to_owned())?;
        // Two keys at one address are one witness, which signs with both at once.
        let mut witnesses: Vec<Witness> = Vec::new();
        for at in named {
            let Some(url) = &at.url else { continue };
            match witnesses.iter_mut().find(|witness| witness.url == *url) {
                Some(witness) => witness.keys.push(at.key.clone()),
                None => witnesses.push(Witness { url: url.clone(), keys: vec![at.key.clone()] }),
            }
        }
        let ask = |witness: &Witness| {
            witness.ask(&client, note, &mut |old| {
                prove::consistency(&mut Tree::open(reader, checkpoint)?, old)
            })
        };
        let answers: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> =
                witnesses.iter().map(|witness| scope.spawn(|| ask(witness))).collect();
            let stopped = || Err(Error::new(Kind::Environment, "asking has stopped"));
            asking.into_iter().map(|it| it.join().unwrap_or_else(|_| stopped())).collect()
        });
        Ok(witnesses.into_iter().zip(answers).collect())
    }
}

/// Prints who has cosigned, and what those say who have not.
fn tell(
    ui: &Ui,
    witnesses: &[At],
    checkpoint: &Checkpoint,
    note: &Note,
    asked: &[Asked],
    reached: bool,
) -> Result<()> {
    let error = |at: &At| {
        let asked = asked.iter().find(|(witness, _)| witness.keys.contains(&at.key));
        asked.and_then(|(_, answer)| answer.as_ref().err())
    };
    if ui.is_json() {
        let witnesses = witnesses.iter().map(|at| as_json(at, note, error(at)));
        return ui.json(&json!({
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root,
            "witnesses": witnesses.collect::<Vec<_>>(),
            "quorum": reached,
        }));
    }
    let lines = witnesses.iter().map(|at| as_text(ui, at, note, error(at)));
    ui.answer(&lines.collect::<String>())
}

/// Whether a log of the policy has signed. A policy without logs is for whoever knows them from elsewhere.
fn knows(policy: &Trust, note: &Note) -> bool {
    policy.logs.is_empty() || policy.logs.iter().any(|log| log.key.verify(note).is_good())
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
    let name = printable_in_line(&at.name);
    let mut text = match (at.key.verify(note).is_good(), time(at, note)) {
        (true, Some(time)) => format!("{} {name} at {time}\n", ui.paint(Style::Green, "cosigned")),
        (true, None) => format!("{} {name}\n", ui.paint(Style::Green, "cosigned")),
        (false, _) => format!("{}  {name}\n", ui.paint(Style::Red, "missing")),
    };
    if let Some(error) = error {
        let all = std::iter::once(error.to_string()).chain(causes(error));
        all.for_each(|line| text += &format!("         {}\n", printable_in_line(&line)));
        error
            .hints()
            .iter()
            .for_each(|hint| text += &format!("         hint: {}\n", printable_in_line(hint)));
    }
    text
}

/// A name, a URL, or `VKEY=URL`; the base64 of a key may end with `=` itself.
fn which(text: &str) -> std::result::Result<Which, String> {
    let split = text.find("=http://").or_else(|| text.find("=https://"));
    let Some(split) = split else { return Ok(Which::OfPolicy(text.to_owned())) };
    let (key, url) = (&text[..split], &text[split + 1..]);
    let key = super::of_witness(key)?;
    let url = url.trim_end_matches('/').to_owned();
    Ok(Which::At(At { name: key.name().to_owned(), key, url: Some(url) }))
}
