//! Where signed statements go: into a bundle, and into a log if there is one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::log::{read_signer, writable};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::log::directory::Directory;
use crate::log::submit::{Submission, submit};
use crate::log::{Proof, SignerKey};
use crate::statement::bundle::{self, Bundle};
use crate::statement::dsse::Envelope;
use crate::whole;

/// The log that statements go to.
#[derive(Debug, Args)]
pub(super) struct LogTo {
    /// Also append it to the log in this directory.
    #[arg(long, value_name = "LOG", requires = "log_key")]
    log: Option<PathBuf>,
    /// The file with the log's private key.
    #[arg(long, value_name = "FILE", requires = "log")]
    log_key: Option<PathBuf>,
}

/// A signed statement and what a log says of it.
#[derive(Debug)]
pub(super) struct Bundled {
    /// The bundle.
    pub(super) bundle: Bundle,
    /// That a log has it.
    pub(super) proof: Option<Proof>,
}

impl LogTo {
    /// The log's key, read before anything is signed. What is wrong with log or key is said before anything is done.
    pub(super) fn open(&self) -> Result<Option<(&Path, SignerKey)>> {
        let (Some(log), Some(key)) = (&self.log, &self.log_key) else { return Ok(None) };
        writable(log)?;
        let key = read_signer(key)?;
        drop(Directory::open(log, key.clone())?);
        Ok(Some((log, key)))
    }
}

/// Bundles of signed statements, in their order, with proofs if there is a log.
pub(super) fn bundles(
    log: Option<&(&Path, SignerKey)>,
    submissions: Vec<Submission>,
) -> Result<Vec<Bundled>> {
    let Some((path, signer)) = log else {
        let bundled =
            |it: Submission| Bundled { bundle: Bundle::new(it.envelope, &it.key), proof: None };
        return Ok(submissions.into_iter().map(bundled).collect());
    };
    let proofs = submit(path, signer, &submissions)?;
    let bundled = |(it, proof): (Submission, Proof)| {
        let bundle = Bundle::new(it.envelope, &it.key);
        let bundle = bundle.with_proof(it.key, signer.verifier(), proof.clone());
        let bundle = bundle.context(Kind::Rejected, || "the log's proof".to_owned())?;
        Ok(Bundled { bundle, proof: Some(proof) })
    };
    submissions.into_iter().zip(proofs).map(bundled).collect()
}

/// Writes what was just signed to its paths, logged if there is a log, and says which files that were. What is in a
/// log stays there: that it can be written is seen before.
pub(super) fn publish(
    log: Option<&(&Path, SignerKey)>,
    signed: Vec<(Submission, PathBuf)>,
) -> Result<Vec<(Bundled, Vec<PathBuf>)>> {
    let (submissions, paths): (Vec<Submission>, Vec<PathBuf>) = signed.into_iter().unzip();
    if log.is_some() {
        for (bundled, path) in bundles(None, submissions.clone())?.iter().zip(&paths) {
            bundled.write(path)?;
        }
    }
    let bundled = bundles(log, submissions).map_err(|error| {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        error.hint(format!(
            "it is signed, and not logged: `counterfoil log append` logs {}",
            names.join(", ")
        ))
    })?;
    let write = |(bundled, path): (Bundled, PathBuf)| {
        let files = bundled.write(&path)?;
        Ok((bundled, files))
    };
    bundled.into_iter().zip(paths).map(write).collect()
}

impl Bundled {
    /// Writes the bundle to `path` and the proof beside it, and says which files that were.
    pub(super) fn write(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let named = || format!("`{}`", path.display());
        let json = self.bundle.to_json().context(Kind::Environment, named)?;
        whole::write(path, &json)?;
        let proof = proof_path(path);
        let Some(text) = &self.proof else {
            // A proof of something else must not stand there.
            return match fs::remove_file(&proof) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let message = format!("failed removing `{}`", proof.display());
                    Err(Error::caused(Kind::Environment, message, error))
                }
                _ => Ok(vec![path.to_owned()]),
            };
        };
        whole::write(&proof, text.to_string().as_bytes())?;
        Ok(vec![path.to_owned(), proof])
    }
}

/// Where the proof of a bundle stands: `NAME.tlog-proof` for `NAME.sigstore.json`.
pub(super) fn proof_path(bundle: &Path) -> PathBuf {
    sibling(bundle, "tlog-proof")
}

/// Where the bundle of an envelope stands.
pub(super) fn bundle_path(file: &Path) -> PathBuf {
    sibling(file, "sigstore.json")
}

fn sibling(file: &Path, ending: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".json").unwrap_or(&name);
    let stem = stem.strip_suffix(".sigstore").unwrap_or(stem);
    file.with_file_name(format!("{stem}.{ending}"))
}

/// Reads a bundle, or an envelope by itself.
pub(super) fn read(path: &Path) -> Result<(Envelope, Option<Bundle>)> {
    let bytes = bounded::at_most(path, bundle::MAX_BYTES)?;
    let named = || format!("`{}`", path.display());
    match Envelope::from_json(&bytes) {
        Ok(envelope) => Ok((envelope, None)),
        Err(_) => {
            let bundle = Bundle::from_json(&bytes).context(Kind::Malformed, named)?;
            Ok((bundle.envelope.clone(), Some(bundle)))
        }
    }
}
