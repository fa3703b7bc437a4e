//! Who signed.

use std::collections::BTreeMap;

use crate::statement::bundle::{Bundle, hint};
use crate::statement::key::PublicKey;

/// Who signed, among those who are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer<'a> {
    /// This one.
    Known(&'a str, &'a PublicKey),
    /// The bundle names this one's key, and it did not.
    Forged(&'a str),
    /// Somebody else.
    Unknown,
}

/// Who of `known` signed. What a bundle says of its signer is a hint: it makes nothing hold that does not, but
/// whoever claims a known key must have it (as signed-note says of the lines of a note).
pub(super) fn signer<'a>(
    bundle: &Bundle,
    known: impl IntoIterator<Item = (&'a str, &'a PublicKey)>,
) -> Signer<'a> {
    let known: BTreeMap<&str, &PublicKey> = known.into_iter().collect();
    let signed = known.iter().find(|(_, key)| bundle.envelope.verify(key).is_ok());
    if let Some((name, key)) = signed {
        return Signer::Known(name, key);
    }
    let entered = bundle.logged.as_ref().map(|logged| logged.entry.key);
    let claimed = |key: &PublicKey| bundle.hint == hint(key) || entered == Some(*key);
    match known.iter().find(|(_, key)| claimed(key)) {
        Some((name, _)) => Signer::Forged(name),
        None => Signer::Unknown,
    }
}
