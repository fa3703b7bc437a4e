//! What the command line says of other statements, and of time.

use std::path::Path;

use crate::cli::logging;
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::input::bounded;
use crate::statement::dsse::MAX_PAYLOAD;
use crate::statement::intoto::predicate_type;
use crate::statement::launch::Revoked;

/// The SHA-256 of a statement: said, or of a file that is one or has one.
pub(super) fn statement_digest(text: &str) -> Result<Sha256> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let path = Path::new(text);
    let bytes = bounded::at_most(path, MAX_PAYLOAD as u64)?;
    if predicate_type(&bytes).is_ok() {
        return Ok(Sha256::of(bytes));
    }
    match logging::read(path) {
        Ok((envelope, _)) => Ok(Sha256::of(envelope.payload)),
        Err(_) => Err(Error::new(Kind::Malformed, format!("`{text}` is no statement"))
            .hint("give a `statement.json`, its bundle, or its SHA-256 in hex")),
    }
}

/// `FILE=REASON`.
pub(super) fn revoked(text: &str) -> Result<Revoked> {
    // A file's name can have the sign in it, a digest cannot: the first one that leaves a file counts.
    let splits = text.match_indices('=').map(|(at, _)| text.split_at(at));
    let mut named =
        splits.filter(|(file, _)| file.parse::<Sha256>().is_ok() || Path::new(file).exists());
    let (file, reason) = named.next().ok_or_else(|| {
        Error::new(Kind::Usage, format!("`--revokes {text}` names no statement and a reason"))
            .hint("say `--revokes FILE=REASON`, where FILE is there")
    })?;
    let reason = reason.trim_start_matches('=').trim().to_owned();
    Ok(Revoked { statement: statement_digest(file)?, reason })
}

/// A number of days, such as `90d`.
pub(super) fn valid_for(text: &str) -> std::result::Result<u32, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    days.filter(|days| *days > 0)
        .ok_or_else(|| format!("`{text}` is no number of days such as `90d`"))
}
