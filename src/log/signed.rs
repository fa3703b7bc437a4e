//! What one known key says about a note.
//!
//! Lines by unknown keys are passed over, those of a known key must hold (signed-note, "Signatures"). A key is
//! known by name and id together: who shares only one of them is somebody else.

use super::cosignature::{TIME_SIZE, message};
use super::key::{Algorithm, VerifierKey};
use super::note::{Note, Signature};

/// What one known key says about a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// No line is its.
    Absent,
    /// Its signature holds.
    Good {
        /// When it was made, in seconds since 1970, if it says so; the latest of several.
        time: Option<u64>,
    },
    /// A line claims to be its and does not hold: the whole note is to be rejected.
    Bad,
}

impl Signed {
    /// Whether the key signed.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Good { .. })
    }
}

impl VerifierKey {
    /// Whether this key signed the note. Of several lines by it, all must hold.
    pub fn verify(&self, note: &Note) -> Signed {
        let mut found = Signed::Absent;
        for line in note.signatures.iter().filter(|line| self.is_named_by(line)) {
            found = match (found, self.check(&note.text, &line.bytes)) {
                (_, None) => return Signed::Bad,
                (Signed::Good { time: old }, Some(new)) => Signed::Good { time: old.max(new) },
                (_, Some(time)) => Signed::Good { time },
            };
        }
        found
    }

    /// Whether a line claims to be by this key.
    pub fn is_named_by(&self, line: &Signature) -> bool {
        line.name == self.name() && line.id == self.id()
    }

    /// The time of a signature that holds. Zero is an ML-DSA-44 cosigner's way to say none.
    fn check(&self, text: &str, bytes: &[u8]) -> Option<Option<u64>> {
        if !self.algorithm().is_cosignature() {
            return self.holds(text.as_bytes(), bytes).then_some(None);
        }
        let (time, signature) = bytes.split_first_chunk::<TIME_SIZE>()?;
        let time = u64::from_be_bytes(*time);
        if time == 0 && self.algorithm() == Algorithm::Ed25519Cosignature {
            return None;
        }
        let message = message(self.algorithm(), self.name(), text, time).ok()?;
        self.holds(&message, signature).then_some((time != 0).then_some(time))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests;
