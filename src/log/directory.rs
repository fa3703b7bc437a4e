//! A log's directory, for those who change it: one at a time, and never so that two trees are signed of which
//! neither begins with the other.
//!
//! What is signed is on the disk, as `.pending`, before it stands as `checkpoint`, and is published before anything
//! else is signed. So neither a killed process nor a lost disk cache makes a log forget what it has signed. A web
//! server is not to serve `.pending`, nor any other name that begins with a dot.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::log::checkpoint::Checkpoint;
use crate::log::edge::Edge;
use crate::log::key::{Algorithm, SignerKey};
use crate::log::merkle;
use crate::log::note::{self, Note, Signature};
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::reason::Reason;
use crate::log::signed::Signed;
use crate::log::staging::{Staging, failed, sync_directory};
use crate::log::tree::Tree;

/// Locked by whoever changes the log.
const LOCK: &str = ".lock";

/// A checkpoint that is signed and not yet published.
const PENDING: &str = ".pending";

/// A log that this process may add to, and nobody else meanwhile.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    key: SignerKey,
    edge: Edge,
    /// Held until this is dropped.
    _lock: File,
}

/// Makes an empty log, whose origin is the key's name.
///
/// # Errors
/// [`Kind::Usage`] when there is one, or the key is not one that a log signs with; [`Kind::Environment`] when it
/// cannot be written.
pub fn init(path: &Path, key: &SignerKey) -> Result<Note> {
    may_sign(key)?;
    fs::create_dir_all(path).map_err(|error| failed(path, error))?;
    let _lock = lock(path)?;
    for name in [CHECKPOINT, "tile", PENDING] {
        let there = path.join(name).symlink_metadata().is_ok();
        // An `init` that was killed has shown its log to nobody: that one may be made anew.
        if there && !(name == PENDING && is_of_init(path)) {
            let message = format!("there is a log in `{}`: it has a `{name}`", path.display());
            let hint = "a log is never made anew: whoever has seen the old one would see two";
            return Err(Error::new(Kind::Usage, message).hint(hint));
        }
    }
    let note = sign(key, 0, merkle::empty())?;
    publish(path, Staging::begin(path)?, &note)?;
    Ok(note)
}

/// Whether `.pending` is what an `init` leaves that is killed before it publishes: the checkpoint of an empty tree.
fn is_of_init(path: &Path) -> bool {
    let bytes = Reader::directory(path).get(PENDING, note::MAX_BYTES as u64).ok().flatten();
    let note = bytes.and_then(|bytes| Note::from_bytes(&bytes).ok());
    let checkpoint = note.and_then(|note| Checkpoint::parse(&note.text).ok());
    checkpoint.is_some_and(|checkpoint| checkpoint.size == 0)
}

/// Adds cosignatures to the checkpoint whose text they are of. Says whether it is still the log's checkpoint; when
/// not, nothing is changed.
///
/// # Errors
/// When the log cannot be read or written.
pub fn add_signatures(path: &Path, text: &str, signatures: &[Signature]) -> Result<bool> {
    let reader = Reader::directory(path);
    reader.checkpoint()?;
    let _lock = lock(path)?;
    let mut note = reader.checkpoint()?;
    if note.text != text {
        return Ok(false);
    }
    signatures.iter().cloned().for_each(|signature| note.add(signature));
    let note = note.to_string();
    // What nobody could read is not written.
    Note::parse(&note).context(Kind::Usage, || {
        format!("`{}` would have more cosignatures than a note can", reader.name(CHECKPOINT))
    })?;
    let mut staging = Staging::begin(path)?;
    staging.write(CHECKPOINT.to_owned(), note.as_bytes())?;
    staging.settle()?;
    Ok(true)
}

impl Directory {
    /// Waits for whoever else adds to the log, and makes sure that it is whole where it is added to: that the right
    /// edge of the tree gives the root that was signed with this key.
    ///
    /// # Errors
    /// [`Kind::Usage`] when the key is another log's, [`Kind::Rejected`] and which file is damaged.
    pub fn open(path: &Path, key: SignerKey) -> Result<Self> {
        may_sign(&key)?;
        let reader = Reader::directory(path);
        // Nothing is made, not even a lock, where there is no log.
        reader.checkpoint()?;
        let lock = lock(path)?;
        let mut note = reader.checkpoint()?;
        let checkpoint = own(&note, &key, &reader.name(CHECKPOINT))?;
        if let Some(pending) = pending(path, &key, &checkpoint)? {
            rename_checkpoint(path)?;
            note = pending;
        }
        let checkpoint = own(&note, &key, &reader.name(CHECKPOINT))?;
        let edge = Tree::open(&reader, &checkpoint)?.into_edge();
        let edge = match edge.bundle() {
            Some(_) => {
                let bundle = last_bundle(&reader, &checkpoint)?;
                edge.with_bundle(bundle)
            }
            None => edge,
        };
        Ok(Self { path: path.to_owned(), key, edge, _lock: lock })
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its right edge.
    pub(super) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Puts the files of the tree with this edge in their places, signs it, and publishes that. After this the
    /// entries are in the log whatever happens.
    pub(super) fn publish(&mut self, staging: Staging, edge: Edge) -> Result<Note> {
        let note = sign(&self.key, edge.size(), edge.root())?;
        publish(&self.path, staging, &note)?;
        self.edge = edge;
        Ok(note)
    }
}

/// The bundle at the right edge, of which each entry was logged.
fn last_bundle(reader: &Reader, checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let mut tree = Tree::open(reader, checkpoint)?;
    let entries = tree.entries(checkpoint.size / u64::from(super::tile::WIDTH))?;
    let mut bundle = Vec::new();
    for entry in entries {
        super::tile::push(&mut bundle, &entry)
            .context(Kind::Malformed, || "the last bundle".to_owned())?;
    }
    Ok(bundle)
}

/// What was signed and perhaps not published, of which the tree is there.
fn pending(path: &Path, key: &SignerKey, published: &Checkpoint) -> Result<Option<Note>> {
    let place = path.join(PENDING);
    if !place.exists() {
        return Ok(None);
    }
    let name = place.display().to_string();
    let bytes = bounded::at_most(&place, note::MAX_BYTES as u64)?;
    let found = Note::from_bytes(&bytes)
        .context(Kind::Malformed, || format!("`{name}` is no checkpoint"))?;
    let signed = own(&found, key, &name)?;
    let reader = Reader::directory(path);
    let context = || {
        format!("`{name}` was signed, by an append that was interrupted, and cannot be published")
    };
    let mut tree = Tree::open(&reader, &signed).map_err(|error| error.context(context()))?;
    let before = if published.size > signed.size {
        None
    } else {
        Some(merkle::root(&mut tree, published.size).map_err(|error| error.context(context()))?)
    };
    if before != Some(published.root) {
        let message = format!("{}: it does not go on from the published checkpoint", context());
        return Err(Error::caused(Kind::Rejected, message, Reason::SplitView)
            .hint("was an older copy of the log put in the place of a newer one?"));
    }
    Ok(Some(found))
}

/// The tree head of a note by this log's key, under the log's name.
fn own(note: &Note, key: &SignerKey, name: &str) -> Result<Checkpoint> {
    let verifier = key.verifier();
    let checkpoint = Checkpoint::parse(&note.text)
        .context(Kind::Malformed, || format!("`{name}` is no checkpoint"))?;
    if checkpoint.origin != verifier.name() {
        let message = format!(
            "`{name}` is of the log `{}`, and the key is named `{}`",
            checkpoint.origin,
            verifier.name()
        );
        return Err(Error::new(Kind::Usage, message)
            .hint("a log is signed with one key, whose name is the log's origin"));
    }
    match verifier.verify(note) {
        Signed::Good { .. } => Ok(checkpoint),
        Signed::Absent => {
            let message = format!("`{name}` is not signed by this key, which has the same name");
            Err(Error::new(Kind::Usage, message)
                .hint("give the key that the log was made with: nobody follows it to another"))
        }
        Signed::Bad => {
            let message = format!("`{name}` is damaged: its signature by this key does not hold");
            Err(Error::caused(Kind::Rejected, message, Reason::Signature).hint(
                "take the checkpoint from a backup or another copy of the log, never an older one",
            ))
        }
    }
}

fn may_sign(key: &SignerKey) -> Result<()> {
    let verifier = key.verifier();
    if verifier.algorithm() == Algorithm::Ed25519 {
        return Ok(());
    }
    let message =
        format!("the key `{}` is a witness's, and a log signs with another kind", verifier.name());
    Err(Error::new(Kind::Usage, message)
        .hint("a public log's checkpoint must have an Ed25519 signature: make a key for it with `counterfoil log key`"))
}

fn sign(key: &SignerKey, size: u64, root: Sha256) -> Result<Note> {
    let origin = key.verifier().name().to_owned();
    let checkpoint = Checkpoint { origin, size, root, extensions: Vec::new() };
    checkpoint
        .sign(key)
        .context(Kind::Usage, || "the checkpoint cannot be signed with this key".to_owned())
}

/// Puts the files of a tree in their places, and then its checkpoint: first where only the next append looks, then
/// where everybody does.
fn publish(path: &Path, mut staging: Staging, note: &Note) -> Result<()> {
    let checkpoint = staging.aside(note.to_string().as_bytes())?;
    staging.settle()?;
    let pending = path.join(PENDING);
    fs::rename(checkpoint, &pending).map_err(|error| failed(&pending, error))?;
    sync_directory(path)?;
    rename_checkpoint(path)
}

fn rename_checkpoint(path: &Path) -> Result<()> {
    let checkpoint = path.join(CHECKPOINT);
    fs::rename(path.join(PENDING), &checkpoint).map_err(|error| failed(&checkpoint, error))?;
    sync_directory(path)
}

fn lock(path: &Path) -> Result<File> {
    let path = path.join(LOCK);
    let lock = OpenOptions::new().create(true).append(true).open(&path);
    let lock = lock.map_err(|error| failed(&path, error))?;
    loop {
        match flock(&lock, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                let message = format!("failed locking `{}`", path.display());
                return Err(Error::caused(Kind::Environment, message, io::Error::from(error)));
            }
        }
    }
}
