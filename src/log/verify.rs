//! Whether a log, or a proof from one, is to be believed: by whom it is signed, that it goes on from what was seen
//! before, and that every file is what was signed. All reasons are told, not only the first.

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::log::checkpoint::Checkpoint;
use crate::log::key::VerifierKey;
use crate::log::merkle;
use crate::log::note::Note;
use crate::log::proof::Proof;
use crate::log::prove;
use crate::log::quorum::Quorum;
use crate::log::reason::Reason;
use crate::log::signed::Signed;
use crate::log::tile::{Content, Tile};
use crate::log::tree::Tree;

/// Whose word counts.
#[derive(Clone, Debug)]
pub struct Signers {
    /// The keys of logs, each named after its log's origin. A log that changes its key has two for a while.
    pub logs: Vec<VerifierKey>,
    /// Witnesses, by the names that the quorum has for them.
    pub witnesses: Vec<(String, VerifierKey)>,
    /// Whose cosignatures a checkpoint needs.
    pub quorum: Quorum,
}

impl Signers {
    /// One log, and witnesses of which each must have cosigned.
    pub fn all_of(log: VerifierKey, witnesses: &[VerifierKey]) -> Self {
        let named = |key: &VerifierKey| (key.name().to_owned(), key.clone());
        let member = |key: &VerifierKey| Quorum::Member(key.name().to_owned());
        Self {
            logs: vec![log],
            witnesses: witnesses.iter().map(named).collect(),
            quorum: match witnesses {
                [] => Quorum::None,
                witnesses => Quorum::Group {
                    threshold: witnesses.len(),
                    members: witnesses.iter().map(member).collect(),
                },
            },
        }
    }

    /// The same logs, whoever watches them.
    #[must_use]
    pub fn unwitnessed(&self) -> Self {
        Self { logs: self.logs.clone(), witnesses: Vec::new(), quorum: Quorum::None }
    }

    /// What is wrong with the signature of the log whose origin this is.
    fn log(&self, note: &Note, origin: &str, name: &str) -> Option<Finding> {
        let own = || self.logs.iter().filter(|key| key.name() == origin);
        if let Some(key) = self.logs.iter().find(|key| key.verify(note) == Signed::Bad) {
            let message =
                format!("`{name}` has a signature that does not hold, by `{}`", key.name());
            return Some(Finding::new(Reason::Signature, message));
        }
        if own().next().is_none() {
            let asked: Vec<_> = self.logs.iter().map(|key| format!("`{}`", key.name())).collect();
            let asked = asked.join(", ");
            let message = format!("`{name}` is of the log `{origin}`, asked for is {asked}");
            return Some(Finding::new(Reason::Origin, message));
        }
        let signed = own().any(|key| key.verify(note).is_good());
        (!signed).then(|| {
            let message = format!("`{name}` has no signature by the key of `{origin}`");
            Finding::new(Reason::Unknown, message)
        })
    }

    /// What is wrong with the cosignatures.
    fn witnesses(&self, note: &Note, name: &str) -> Vec<Finding> {
        let signed = |(witness, key): &(String, VerifierKey)| (witness.clone(), key.verify(note));
        let signed: Vec<(String, Signed)> = self.witnesses.iter().map(signed).collect();
        let bad = signed.iter().filter(|(_, signed)| *signed == Signed::Bad);
        let bad = bad.map(|(witness, _)| {
            let message = format!("`{name}` has a cosignature that does not hold, by `{witness}`");
            Finding::new(Reason::WitnessSignature, message)
        });
        let mut findings: Vec<Finding> = bad.collect();
        // Two keys of one name are one witness only if both have signed.
        let holds = |asked: &str| {
            let mut named = signed.iter().filter(|(witness, _)| witness == asked).peekable();
            named.peek().is_some() && named.all(|(_, signed)| signed.is_good())
        };
        if findings.is_empty() && !self.quorum.is_reached(&holds) {
            let wanted = self.quorum.describe();
            let message = format!("`{name}` has too few cosignatures; wanted: {wanted}");
            findings.push(Finding::new(Reason::WitnessQuorum, message));
        }
        findings
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// By its stable name.
    pub reason: Reason,
    /// What it is, in this case.
    pub message: String,
}

impl Finding {
    /// This is wrong.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// A failure that has a reason is a finding; any other remains a failure.
    ///
    /// # Errors
    /// The failure itself.
    pub fn from(error: Error) -> Result<Self> {
        match Reason::of(&error) {
            Some(reason) => Ok(Self::new(reason, error.to_string())),
            None => Err(error),
        }
    }
}

/// The answer that findings amount to: nothing, or an error of the right kind.
///
/// # Errors
/// [`Kind::Rejected`] when something is wrong, [`Kind::CannotDecide`] when something is only missing.
pub fn verdict(findings: &[Finding], what: &str) -> Result<()> {
    let Some(worst) = findings.iter().find(|finding| finding.reason != Reason::Missing) else {
        return match findings.first() {
            None => Ok(()),
            Some(_) => Err(Error::new(Kind::CannotDecide, format!("`{what}` is not all there"))),
        };
    };
    let message = format!("`{what}` is rejected: {}", worst.reason);
    Err(Error::new(Kind::Rejected, message))
}

/// What is wrong with a checkpoint by itself. `name` is what to call it.
///
/// # Errors
/// [`Kind::Malformed`] when the note is no checkpoint.
pub fn checkpoint(
    note: &Note,
    signers: &Signers,
    name: &str,
) -> Result<(Checkpoint, Vec<Finding>)> {
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| {
        Error::caused(Kind::Malformed, format!("`{name}` is no checkpoint"), error)
    })?;
    let log = signers.log(note, &checkpoint.origin, name);
    let findings = log.into_iter().chain(signers.witnesses(note, name)).collect();
    Ok((checkpoint, findings))
}

/// What is wrong with a tree, if an older checkpoint was seen: a tree of a log goes on from all before it. `name`
/// is what to call the older one.
///
/// # Errors
/// When the log cannot be read.
pub fn goes_on(
    tree: &mut Tree<'_>,
    new: &Checkpoint,
    old: &Checkpoint,
    name: &str,
) -> Result<Option<Finding>> {
    if old.origin != new.origin {
        let message = format!("`{name}` is of the log `{}`", old.origin);
        return Ok(Some(Finding::new(Reason::Origin, message)));
    }
    if old.size > new.size {
        let message =
            format!("the log shows {} entries, and in `{name}` it signed {}", new.size, old.size);
        return Ok(Some(Finding::new(Reason::Rollback, message)));
    }
    let proof = match prove::consistency(tree, old.size) {
        Ok(proof) => proof,
        Err(error) => return Finding::from(error).map(Some),
    };
    if merkle::consistent(old.size, &old.root, new.size, &new.root, &proof) {
        return Ok(None);
    }
    let message = format!(
        "the tree of {} entries does not begin with the tree of {} entries that `{name}` is of",
        new.size, old.size
    );
    Ok(Some(Finding::new(Reason::SplitView, message)))
}

/// What is wrong with the files of a log: every entry is hashed, every tile is held against the ones above and
/// below. `progress` is told how many files were read.
///
/// # Errors
/// When the log cannot be read.
pub fn files(tree: &mut Tree<'_>, mut progress: impl FnMut(u64)) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = Vec::new();
    for (number, tile) in (1..).zip(Tile::all(tree.size())) {
        let read = match tile.content {
            Content::Entries => tree.entries(tile.index).map(drop),
            Content::Hashes(_) => tree.tile(tile).map(drop),
        };
        if let Err(error) = read {
            let finding = Finding::from(error)?;
            // One damaged tile is met once for the bundle and once for itself.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        progress(number);
    }
    Ok(findings)
}

/// What is wrong with a proof that this entry is in the log. `name` is what to call the proof.
///
/// # Errors
/// [`Kind::Malformed`] when its note is no checkpoint.
pub fn proof(
    proof: &Proof,
    entry: &[u8],
    signers: &Signers,
    name: &str,
) -> Result<(Checkpoint, Vec<Finding>)> {
    let (checkpoint, mut findings) = self::checkpoint(&proof.checkpoint, signers, name)?;
    let leaf = merkle::leaf(entry);
    let root = merkle::inclusion_root(proof.index, checkpoint.size, leaf, &proof.hashes);
    if root != Some(checkpoint.root) {
        let message = format!("`{name}` does not prove that the entry is entry {}", proof.index);
        findings.push(Finding::new(Reason::Inclusion, message));
    }
    Ok((checkpoint, findings))
}
