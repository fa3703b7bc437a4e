//! What a witness remembers and what it decides: for each log one tree head, which only ever grows.
//!
//! Each is a file with the whole cosigned checkpoint, where tlog-witness has monitors look for it: below the
//! directory at `<SHA-256 of the origin>/checkpoint`. So any web server can serve them as they are.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use super::request::Request;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result, in_one_line};
use crate::input::bounded;
use crate::log::checkpoint::Checkpoint;
use crate::log::cosignature::cosign;
use crate::log::key::{Algorithm, SignerKey, VerifierKey};
use crate::log::merkle;
use crate::log::note::{MAX_BYTES, Note, Signature};
use crate::log::signed::Signed;

/// A witness: its keys, the logs that it knows, and its memory.
#[derive(Debug)]
pub struct Book {
    keys: Vec<SignerKey>,
    /// The keys of each log, by its origin.
    logs: BTreeMap<String, Vec<VerifierKey>>,
    directory: PathBuf,
    /// Held from the look at what is known until the new tree head is on the disk.
    turn: Mutex<()>,
    /// Keeps other processes out for as long as this one lives.
    _lock: File,
}

/// What was cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The log.
    pub origin: String,
    /// The number of its leaves.
    pub size: u64,
    /// One signature by each of the witness's keys.
    pub signatures: Vec<Signature>,
}

/// Why a checkpoint is not cosigned, each with its status (tlog-witness, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: not a request.
    #[error("{0}")]
    Malformed(String),
    /// 403: no signature by a key of the log, or one that does not hold.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: another log.
    #[error("this log is not known here")]
    Unknown,
    /// 409: the request is on from another size than this one, which is known.
    #[error("{0}")]
    Conflict(u64),
    /// 422: the tree is not how it was.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// 500: it would be cosigned, but could not be remembered.
    #[error("the witness cannot keep its records")]
    Broken(String),
}

impl Book {
    /// Opens a witness's memory, and keeps it from others.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is no key of a witness, no log, or a key that is not for this;
    /// [`Kind::Environment`] when the directory cannot be had for oneself.
    pub fn open(directory: &Path, keys: Vec<SignerKey>, logs: Vec<VerifierKey>) -> Result<Self> {
        check(&keys, &logs)?;
        let failed = || format!("failed opening `{}`", directory.display());
        fs::create_dir_all(directory).context(Kind::Environment, failed)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(directory.join(".lock"));
        let lock = lock.context(Kind::Environment, failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let message = format!("`{}` is another witness's at this time", directory.display());
            Error::caused(Kind::Environment, message, io::Error::from(error))
                .hint("two processes must not sign by one memory: stop the other, or say another directory")
        })?;
        let mut by_origin: BTreeMap<String, Vec<VerifierKey>> = BTreeMap::new();
        for log in logs {
            by_origin.entry(log.name().to_owned()).or_default().push(log);
        }
        let directory = directory.to_owned();
        let book = Self { keys, logs: by_origin, directory, turn: Mutex::default(), _lock: lock };
        // Better now than when a log asks.
        book.logs.keys().try_for_each(|origin| book.known(origin).map(drop))?;
        Ok(book)
    }

    /// Decides about a request's body at `now`, in seconds since 1970. The signatures are returned when the
    /// checkpoint is on the disk.
    ///
    /// # Errors
    /// Why not.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Result<Cosigned, Refusal> {
        let text = str::from_utf8(body);
        let text = text.map_err(|_| Refusal::Malformed("the request is not UTF-8".to_owned()))?;
        let request =
            Request::parse(text).map_err(|error| Refusal::Malformed(in_one_line(&error)))?;
        let new = Checkpoint::parse(&request.checkpoint.text)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let keys = self.logs.get(&new.origin).ok_or(Refusal::Unknown)?;
        let trusted = trusted(keys, &request.checkpoint)?;
        if request.old > new.size {
            return Err(Refusal::Malformed("the old size is larger than the new one".to_owned()));
        }
        let broken = |error: Error| Refusal::Broken(in_one_line(&error));

        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, root) = match self.known(&new.origin).map_err(broken)? {
            Some(known) => (known.size, known.root),
            None => (0, merkle::empty()),
        };
        if request.old != size {
            return Err(Refusal::Conflict(size));
        }
        if new.size == 0 && new.root != merkle::empty() {
            return Err(Refusal::Inconsistent("a tree without leaves has another root"));
        }
        if !merkle::consistent(size, &root, new.size, &new.root, &request.proof) {
            return Err(Refusal::Inconsistent(
                "the consistency proof does not lead from the known tree to this one",
            ));
        }
        let signed = self.keys.iter().map(|key| cosign(&request.checkpoint, key, now));
        let signatures: Vec<_> = signed
            .collect::<Result<_, _>>()
            .map_err(|error| Refusal::Broken(in_one_line(&error)))?;
        // What unknown keys signed is not passed on.
        let all = trusted.into_iter().chain(signatures.iter().cloned()).collect();
        let kept = Note { text: request.checkpoint.text, signatures: all };
        self.remember(&new.origin, &kept).map_err(broken)?;
        Ok(Cosigned { origin: new.origin, size: new.size, signatures })
    }

    /// The latest cosigned checkpoint of the log whose origin has this SHA-256.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn latest(&self, origin: &Sha256) -> Result<Option<Vec<u8>>> {
        read(&self.file(origin))
    }

    /// The tree head that is remembered of a log.
    fn known(&self, origin: &str) -> Result<Option<Checkpoint>> {
        let file = self.file(&Sha256::of(origin));
        let Some(bytes) = read(&file)? else { return Ok(None) };
        let note = Note::from_bytes(&bytes).ok();
        // A record that cannot be read is not the same as none: it would let the log begin anew.
        let ours =
            |note: &Note| self.keys.iter().all(|key| key.verifier().verify(note) != Signed::Bad);
        let known = note.filter(ours).and_then(|note| Checkpoint::parse(&note.text).ok());
        known.filter(|known| known.origin == origin).map(Some).ok_or_else(|| {
            let message = format!("`{}` is not what this witness has signed", file.display());
            Error::new(Kind::Malformed, message).hint(
                "bring it back from a backup that is no older, or begin anew with a new key: who signs what it has \
                 forgotten is no witness",
            )
        })
    }

    /// Puts a tree head in the place of the last one, so that not even a power cut brings that back.
    fn remember(&self, origin: &str, note: &Note) -> Result<()> {
        let file = self.file(&Sha256::of(origin));
        let directory = file.parent().unwrap_or(&self.directory);
        let write = || {
            if !directory.is_dir() {
                fs::create_dir(directory)?;
                File::open(&self.directory)?.sync_all()?;
            }
            let mut builder = tempfile::Builder::new();
            // Everyone may read it, a web server too.
            let builder = builder.prefix(".new-").permissions(Permissions::from_mode(0o666));
            let mut new = builder.tempfile_in(directory)?;
            new.write_all(note.to_string().as_bytes())?;
            new.as_file().sync_all()?;
            new.persist(&file).map_err(|error| error.error)?;
            File::open(directory)?.sync_all()
        };
        write().context(Kind::Environment, || format!("failed writing `{}`", file.display()))
    }

    fn file(&self, origin: &Sha256) -> PathBuf {
        self.directory.join(origin.to_string()).join("checkpoint")
    }
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Forbidden(_) => 403,
            Self::Unknown => 404,
            Self::Conflict(_) => 409,
            Self::Inconsistent(_) => 422,
            Self::Broken(_) => 500,
        }
    }
}

/// The log's own signatures on a checkpoint.
fn trusted(keys: &[VerifierKey], note: &Note) -> Result<Vec<Signature>, Refusal> {
    let verdicts: Vec<_> = keys.iter().map(|key| key.verify(note)).collect();
    if verdicts.contains(&Signed::Bad) {
        return Err(Refusal::Forbidden("a signature by a key of the log does not hold"));
    }
    if !verdicts.iter().any(|signed| signed.is_good()) {
        return Err(Refusal::Forbidden("no key of the log has signed"));
    }
    let ours = |line: &&Signature| keys.iter().any(|key| key.is_named_by(line));
    Ok(note.signatures.iter().filter(ours).cloned().collect())
}

fn check(keys: &[SignerKey], logs: &[VerifierKey]) -> Result<()> {
    let wrong = |message: String| Err(Error::new(Kind::Usage, message));
    if keys.is_empty() {
        return wrong("a witness has at least one key".to_owned());
    }
    if logs.is_empty() {
        return wrong("a witness knows at least one log".to_owned());
    }
    if let Some(key) = keys.iter().find(|key| !key.verifier().algorithm().is_cosignature()) {
        return wrong(format!(
            "`{}` is the key of a log: expected one of a witness",
            key.verifier().name()
        ));
    }
    if let Some(log) = logs.iter().find(|log| log.algorithm() == Algorithm::Ed25519Cosignature) {
        return wrong(format!("`{}` is the key of a witness: expected one of a log", log.name()));
    }
    let public = |at: usize| keys[at].verifier();
    for at in 0..keys.len() {
        let twice = (0..at).any(|before| public(before).same_key(public(at)));
        // An Ed25519 cosignature does not say whose it is: by a log's key it could be passed off as the log's.
        if twice || logs.iter().any(|log| log.same_key(public(at))) {
            return wrong(format!("the key `{}` is there twice", public(at).name()));
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => bounded::at_most(file, MAX_BYTES as u64).map(Some),
    }
}
