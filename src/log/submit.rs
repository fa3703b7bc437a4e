//! Signed statements into a log: the entry of each, the statement beside the log, and the launch digests by which it
//! is to be found.

use std::collections::BTreeSet;
use std::path::Path;

use crate::digest::{Sha256, Sha384};
use crate::error::{Context as _, Kind, Result};
use crate::log::append;
use crate::log::directory::Directory;
use crate::log::entry::Entry;
use crate::log::merkle;
use crate::log::prove;
use crate::log::reader::Reader;
use crate::log::tile::WIDTH;
use crate::log::tree::Tree;
use crate::log::{Checkpoint, Note, Proof, SignerKey};
use crate::statement::dsse::Envelope;
use crate::statement::intoto::Statement;
use crate::statement::key::PublicKey;
use crate::statement::launch::{self, Launch};
use crate::statement::provenance::Provenance;

/// A signed statement to be logged.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The statement, signed.
    pub envelope: Envelope,
    /// By whom.
    pub key: PublicKey,
    /// Launch digests that it is about, beside those that it says itself.
    pub about: Vec<Sha384>,
}

/// Logs them in one batch, in their order. When this returns, they are in the log.
///
/// # Errors
/// [`Kind::Rejected`] when one is not signed by its key; when the log does not take them.
pub fn submit(log: &Path, signer: &SignerKey, submissions: &[Submission]) -> Result<Vec<Proof>> {
    let entries = submissions.iter().map(Submission::entry).collect::<Result<Vec<_>>>()?;
    let appended = Directory::open(log, signer.clone())?.append(entries)?;
    let reader = Reader::directory(log);
    let mut tree = open(&reader, &appended.checkpoint)?;
    let indices = appended.first..appended.first + appended.count;
    indices.map(|index| prove::inclusion(&mut tree, &appended.checkpoint, index)).collect()
}

/// The proof, by the log's newest checkpoint and the cosignatures that it has by now, that the log has this entry;
/// `None` when it does not.
///
/// # Errors
/// When the log cannot be read or is not what was signed.
pub fn prove_again(reader: &Reader, entry: &Entry) -> Result<Option<Proof>> {
    let note = reader.checkpoint()?;
    let mut tree = open(reader, &note)?;
    match prove::find(&mut tree, merkle::leaf(&body(entry)?))? {
        Some(index) => prove::inclusion(&mut tree, &note, index).map(Some),
        None => Ok(None),
    }
}

/// The highest number that this key has given a statement on this release in the log, and the entry that has it.
/// Statements that the log does not show are passed over.
///
/// # Errors
/// When the log cannot be read or is not what was signed.
pub fn last_sequence(log: &Path, key: PublicKey, release: &str) -> Result<Option<(u64, u64)>> {
    let reader = Reader::directory(log);
    let mut tree = open(&reader, &reader.checkpoint()?)?;
    let mut last = None;
    for bundle in 0..tree.size().div_ceil(u64::from(WIDTH)) {
        for (index, body) in (bundle * u64::from(WIDTH)..).zip(tree.entries(bundle)?) {
            let Some(entry) = Entry::from_body(&body).ok().filter(|entry| entry.key == key) else {
                continue;
            };
            let payload = reader.get(&statement_path(&entry.digest), launch::MAX as u64);
            let statement = payload.ok().flatten().map(|it| Statement::<Launch>::from_json(&it));
            if let Some(Ok(statement)) = statement
                && statement.predicate.release == release
            {
                last = last.max(Some((statement.predicate.sequence, index)));
            }
        }
    }
    Ok(last)
}

fn open<'a>(reader: &'a Reader, note: &Note) -> Result<Tree<'a>> {
    let head = Checkpoint::parse(&note.text)
        .context(Kind::Malformed, || "the log's checkpoint".to_owned())?;
    Tree::open(reader, &head)
}

impl Submission {
    fn entry(&self) -> Result<append::Entry> {
        let Self { envelope, key, about } = self;
        let entry = Entry::of(envelope, *key).context(Kind::Rejected, || {
            "a statement that is not signed cannot be logged".to_owned()
        })?;
        let measurements: BTreeSet<Sha384> =
            said(&envelope.payload).into_iter().chain(about.iter().copied()).collect();
        Ok(append::Entry {
            bytes: body(&entry)?,
            statement: Some((entry.digest, envelope.payload.clone())),
            measurements: measurements.into_iter().collect(),
        })
    }
}

fn body(entry: &Entry) -> Result<Vec<u8>> {
    entry.to_body().context(Kind::Environment, || "the log's entry".to_owned())
}

/// The launch digests that a statement of ours says.
fn said(payload: &[u8]) -> Vec<Sha384> {
    if let Ok(statement) = Statement::<Launch>::from_json(payload) {
        return statement.predicate.digests().map(|(_, row)| row.launch_digest).collect();
    }
    let provenance = Statement::<Provenance>::from_json(payload).ok();
    let verdict = provenance.and_then(|statement| statement.predicate.verdict().ok().flatten());
    let groups = verdict.into_iter().flat_map(|verdict| verdict.measurements);
    groups.flat_map(|group| group.launches).map(|row| row.launch_digest).collect()
}

/// How a statement is named beside a log.
pub fn statement_path(digest: &Sha256) -> String {
    format!("{}/{digest}", append::STATEMENTS)
}
