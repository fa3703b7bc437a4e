//! Why a log is not believed, by stable names. A name never changes its meaning and is never used for anything
//! else.

use std::error::Error;
use std::fmt;

use serde::{Serialize, Serializer};

/// Why a log, or a proof from one, is not believed; or what a monitor has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Signed: two trees of which neither begins with the other.
    SplitView,
    /// Signed: a tree that is smaller than one that was signed before.
    Rollback,
    /// A proof, or an entry, that does not lead to the signed root.
    Inclusion,
    /// No signature by the log's key.
    Unknown,
    /// A signature by the log's key that does not hold.
    Signature,
    /// A cosignature by a known witness that does not hold.
    WitnessSignature,
    /// Too few cosignatures.
    WitnessQuorum,
    /// Another log than the one that was asked for.
    Origin,
    /// A file of the log is not what the signed root says.
    Damaged,
    /// A file of the log is not there.
    Missing,
    /// An entry is signed by my key, and I did not make it.
    NotMine,
    /// A measurement that nobody rebuilt in time.
    NotRebuilt,
    /// A rebuilder came to something else.
    Disagreement,
    /// A statement whose signer counts, and which cannot be read.
    Unread,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::SplitView,
        Self::Rollback,
        Self::Inclusion,
        Self::Unknown,
        Self::Signature,
        Self::WitnessSignature,
        Self::WitnessQuorum,
        Self::Origin,
        Self::Damaged,
        Self::Missing,
        Self::NotMine,
        Self::NotRebuilt,
        Self::Disagreement,
        Self::Unread,
    ];

    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::SplitView => "log-split-view",
            Self::Rollback => "log-rollback",
            Self::Inclusion => "log-inclusion",
            Self::Unknown => "log-unknown",
            Self::Signature => "log-signature",
            Self::WitnessSignature => "witness-signature",
            Self::WitnessQuorum => "witness-quorum",
            Self::Origin => "log-origin",
            Self::Damaged => "log-damaged",
            Self::Missing => "log-missing",
            Self::NotMine => "log-not-mine",
            Self::NotRebuilt => "log-not-rebuilt",
            Self::Disagreement => "log-disagreement",
            Self::Unread => "log-unread",
        }
    }

    /// What it means.
    pub fn means(self) -> &'static str {
        match self {
            Self::SplitView => {
                "the log has signed two trees of which neither begins with the other"
            }
            Self::Rollback => "the log shows a smaller tree than one that it has signed before",
            Self::Inclusion => {
                "the entry is not in the tree that was signed, or not where the proof says"
            }
            Self::Unknown => "no key that counts has signed the checkpoint",
            Self::Signature => "the checkpoint names the log's key, and that key did not sign it",
            Self::WitnessSignature => {
                "the checkpoint names a witness's key, and that key did not sign it"
            }
            Self::WitnessQuorum => "too few witnesses have signed the checkpoint",
            Self::Origin => "the checkpoint is of another log",
            Self::Damaged => "a file of the log is not what the signed root says",
            Self::Missing => "a file that the checkpoint promises is not there",
            Self::NotMine => "an entry is signed by your key and is not among those that you made",
            Self::NotRebuilt => "a measurement was rebuilt by nobody in time",
            Self::Disagreement => "a rebuilder came to something else",
            Self::Unread => {
                "somebody whose word counts has logged a statement that this program cannot read"
            }
        }
    }

    /// The reason beneath an error, if it has one.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut beneath = std::iter::successors(Some(error), |error| (*error).source());
        beneath.find_map(|error| error.downcast_ref().copied())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.means(), self.code())
    }
}

impl Error for Reason {}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
