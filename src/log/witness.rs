//! Witnesses (C2SP tlog-witness): others who remember a log's last tree head, and sign the next one only if it
//! goes on from that. Here is who asks them; [`server`] is one.

pub mod book;
mod http;
pub mod request;
pub mod server;

use std::fmt;

use super::checkpoint::{Checkpoint, decimal};
use super::key::VerifierKey;
use super::note::{Note, Signature};
use super::signed::Signed;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::http::{Answer, Client, without_credentials};
use request::Request;

/// Where checkpoints are sent, below a witness's submission prefix.
const CALL: &str = "add-checkpoint";

/// The media type of an answer with status 409: the size that the witness knows.
const SIZE: &str = "text/x.tlog.size";

/// The largest answer: more than as many signatures as a note may have.
const MAX_ANSWER: u64 = 256 << 10;

/// A witness that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The submission prefix.
    pub url: String,
    /// The keys by which its cosignatures are known.
    pub keys: Vec<VerifierKey>,
}

impl Witness {
    /// Asks for cosignatures of a checkpoint. `prove` gives the proof that the tree of a size that the witness names
    /// is how this one began.
    ///
    /// What is returned holds: one signature for each of the witness's keys that signed, at least one, with its time.
    ///
    /// # Errors
    /// [`Kind::Environment`] when it cannot be asked; [`Kind::Rejected`] when it says that the log is not what it was,
    /// or answers with a signature that does not hold; [`Kind::CannotDecide`] when it does not know the log, or
    /// answers something else; those of `prove`.
    pub fn ask(
        &self,
        client: &Client,
        note: &Note,
        prove: &mut dyn FnMut(u64) -> Result<Vec<Sha256>>,
    ) -> Result<Vec<Signature>> {
        let checkpoint = Checkpoint::parse(&note.text)
            .context(Kind::Malformed, || "what is to be witnessed is no checkpoint".to_owned())?;
        // A witness says by itself what it knows, so that nothing has to be kept about it here.
        let first = self.send(client, &Request { old: 0, proof: Vec::new(), checkpoint: note })?;
        let old = match first.status {
            409 => self.size(&first)?,
            _ => return self.taken(&first, note, &checkpoint),
        };
        if old > checkpoint.size {
            let message = format!(
                "{self} has seen {old} entries of `{}`, and this checkpoint has {}",
                checkpoint.origin, checkpoint.size
            );
            return Err(Error::new(Kind::Rejected, message).hint(
                "this is an old copy of the log, or entries were taken out of it: find the copy that has them all, \
                 and never append to this one",
            ));
        }
        let proof = prove(old)?;
        let second = self.send(client, &Request { old, proof, checkpoint: note })?;
        self.taken(&second, note, &checkpoint)
    }

    fn send(&self, client: &Client, request: &Request<&Note>) -> Result<Answer> {
        let url = format!("{}/{CALL}", self.url.trim_end_matches('/'));
        let body = request.to_string();
        client.post(&url, body.as_bytes(), MAX_ANSWER).map_err(|error| {
            Error::caused(Kind::Environment, format!("{self} cannot be asked"), error)
                .hint("the url of a witness is its submission prefix, without `/add-checkpoint`")
        })
    }

    /// The size that the witness says it knows.
    fn size(&self, answer: &Answer) -> Result<u64> {
        let text = str::from_utf8(&answer.body).ok().and_then(|text| text.strip_suffix('\n'));
        let right_type = answer.media_type.as_deref() == Some(SIZE);
        text.filter(|_| right_type).and_then(decimal).ok_or_else(|| {
            let message =
                format!("{self} answers with status 409, but not with the size that it knows");
            Error::new(Kind::CannotDecide, message)
        })
    }

    /// The signatures of an answer, if it is one with signatures.
    fn taken(
        &self,
        answer: &Answer,
        note: &Note,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<Signature>> {
        if answer.status != 200 {
            return Err(self.refused(answer, checkpoint));
        }
        let text = str::from_utf8(&answer.body);
        let text = text.context(Kind::CannotDecide, || format!("{self} answers no text"))?;
        let lines = Signature::parse_lines(text)
            .context(Kind::CannotDecide, || format!("{self} answers no signature lines"))?;
        let answered = Note { text: note.text.clone(), signatures: lines };
        let mut good = Vec::new();
        for key in &self.keys {
            match key.verify(&answered) {
                Signed::Good { time: Some(_) } => {
                    let line = answered.signatures.iter().find(|line| key.is_named_by(line));
                    good.extend(line.cloned());
                }
                Signed::Absent => {}
                Signed::Good { time: None } | Signed::Bad => {
                    let message = format!(
                        "{self} answers with a signature by `{}` that does not hold, or has no time",
                        key.name()
                    );
                    return Err(Error::new(Kind::Rejected, message)
                        .hint("see that the verifier key is the one that its operator publishes"));
                }
            }
        }
        if good.is_empty() {
            let message = format!("{self} signed, but by no key that is known as its");
            return Err(Error::new(Kind::CannotDecide, message)
                .hint("see that the verifier key is the one that its operator publishes"));
        }
        Ok(good)
    }

    fn refused(&self, answer: &Answer, checkpoint: &Checkpoint) -> Error {
        let (origin, size) = (&checkpoint.origin, checkpoint.size);
        let (kind, what, hint) = match answer.status {
            403 => (
                Kind::Rejected,
                format!("does not accept the log's signature of `{origin}`"),
                "the witness knows another key for this origin: give its operator the log's verifier key",
            ),
            404 => (
                Kind::CannotDecide,
                format!("does not know the log `{origin}`"),
                "ask its operator to witness the log, giving the log's verifier key; see that the url is its \
                 submission prefix",
            ),
            409 => (
                Kind::CannotDecide,
                format!("was given another checkpoint of `{origin}` meanwhile"),
                "submit again",
            ),
            422 => (
                Kind::Rejected,
                format!(
                    "says that {size} entries of `{origin}` do not go on from what it has seen"
                ),
                "the log was changed, not only appended to: compare it with a copy from before, and tell those who \
                 use it",
            ),
            429 | 500.. => {
                (Kind::Environment, "cannot answer now".to_owned(), "submit again later")
            }
            _ => (
                Kind::CannotDecide,
                "does not understand the request".to_owned(),
                "see that the url is the submission prefix of a c2sp.org/tlog-witness",
            ),
        };
        let body = String::from_utf8_lossy(&answer.body);
        let said = body.lines().next().unwrap_or_default().trim();
        let said: String = said.chars().take(SHOWN).collect();
        let says = if said.is_empty() { String::new() } else { format!(": {said}") };
        let message = format!("{self} {what} (status {}{says})", answer.status);
        Error::new(kind, message).hint(hint)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = without_credentials(&self.url);
        match self.keys.first() {
            Some(key) => write!(f, "witness `{}` at `{url}`", key.name()),
            None => write!(f, "witness at `{url}`"),
        }
    }
}

/// How much of an error's text is repeated.
const SHOWN: usize = 120;
