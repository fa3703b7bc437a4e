//! What a file is that was given as a proof or as an entry.

use std::path::Path;

use crate::cli::ui::printable_in_line;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::log::tile::LARGEST_ENTRY;
use crate::log::{Checkpoint, Note, Proof, VerifierKey};
use crate::statement::bundle::{self, Bundle, Logged};
use crate::statement::dsse::Envelope;

/// What proves something: a proof by itself, or a bundle with all that it is of.
pub(super) enum Given {
    Proof(Proof),
    Bundle(Box<Logged>),
}

/// An entry out of a file: that of a bundle, or else every byte of the file.
pub(super) struct Entry {
    pub(super) bytes: Vec<u8>,
    /// What the file is, if it is something that is known and is seldom an entry.
    pub(super) looks_like: Option<&'static str>,
}

impl Given {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = bounded::at_most(path, bundle::MAX_BYTES)?;
        let name = printable_in_line(&path.display().to_string());
        if bytes.trim_ascii_start().starts_with(b"{") && Envelope::from_json(&bytes).is_err() {
            let bundle = Bundle::from_json(&bytes).context(Kind::Malformed, || {
                format!("`{name}` is neither a tlog-proof nor a Sigstore bundle")
            })?;
            return match bundle.logged {
                Some(logged) => Ok(Self::Bundle(Box::new(logged))),
                None => Err(Error::new(Kind::CannotDecide, format!("`{name}` was never logged"))
                    .hint("`counterfoil log append` does")),
            };
        }
        match (Proof::from_bytes(&bytes), looks_like(&bytes)) {
            (Ok(proof), _) => Ok(Self::Proof(proof)),
            (Err(_), Some(what)) => Err(Error::new(
                Kind::Usage,
                format!("`{name}` is {what}, and proves no entry"),
            )
            .hint(
                "give a log, a `.tlog-proof`, or a `.sigstore.json` of something that was logged",
            )),
            (Err(error), None) => {
                let message = format!("`{name}` is neither a tlog-proof nor a Sigstore bundle");
                Err(Error::caused(Kind::Malformed, message, error))
            }
        }
    }
}

impl Entry {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = bounded::at_most(path, bundle::MAX_BYTES)?;
        let bundle = Bundle::from_json(&bytes).ok();
        if let Some(logged) = bundle.and_then(|bundle| bundle.logged) {
            let named = || format!("`{}`", path.display());
            let bytes = logged.entry.to_body().context(Kind::Malformed, named)?;
            return Ok(Self { bytes, looks_like: None });
        }
        let looks_like = looks_like(&bytes);
        if bytes.len() > LARGEST_ENTRY {
            let name = path.display();
            let message = match looks_like {
                Some(what) => format!("`{name}` is {what}, and no entry"),
                None => format!("`{name}` has more than {LARGEST_ENTRY} bytes, which no entry has"),
            };
            return Err(Error::new(Kind::Malformed, message));
        }
        Ok(Self { bytes, looks_like })
    }
}

fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    if Bundle::from_json(bytes).is_ok() {
        return Some("a Sigstore bundle of what was never logged");
    }
    if Envelope::from_json(bytes).is_ok() {
        return Some("a DSSE envelope, which does not say whose log entry it has");
    }
    let text = str::from_utf8(bytes).ok()?;
    if Proof::parse(text).is_ok() {
        return Some("a tlog-proof");
    }
    if Note::parse(text).is_ok_and(|note| Checkpoint::parse(&note.text).is_ok()) {
        return Some("a checkpoint");
    }
    let is_key = text.trim_end_matches('\n').parse::<VerifierKey>().is_ok();
    is_key.then_some("a verifier key")
}
