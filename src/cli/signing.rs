//! Who signs a statement: a key in a file, or a command that has one.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::cli::ui::printable;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::statement::dsse::{Envelope, PAYLOAD_TYPE, pae};
use crate::statement::key::{KeyError, PrivateKey, PublicKey, Signature};

/// The largest key or signature that is read.
const MOST: u64 = 1 << 16;

/// How much of what a signer says of itself is repeated.
const MOST_SAID: usize = 2000;

/// Who signs.
#[derive(Debug)]
pub(super) enum Signer {
    /// A key at hand.
    Key(PrivateKey),
    /// A command, and the key that it must sign with.
    Command(String, PublicKey),
}

impl Signer {
    /// The signer that the command line names: `key`, or `command` and `public_key`.
    pub(super) fn of(
        key: Option<&Path>,
        command: Option<&str>,
        public_key: Option<&Path>,
    ) -> Result<Self> {
        match (key, command, public_key) {
            (Some(path), None, _) => {
                let key = PrivateKey::from_pem(bounded::at_most(path, MOST)?);
                let key = key.map_err(|error| refused(path, error))?;
                if let Some(path) = public_key
                    && read_public(path)? != key.public()
                {
                    let message = format!("`{}` is not the public half of the key", path.display());
                    return Err(Error::new(Kind::Rejected, message));
                }
                Ok(Self::Key(key))
            }
            (None, Some(command), Some(path)) => {
                Ok(Self::Command(command.to_owned(), read_public(path)?))
            }
            _ => Err(Error::new(Kind::Usage, "nothing says who signs")
                .hint("give a key in a file, or `--signer COMMAND` and `--public-key FILE`")),
        }
    }

    /// Whose signatures these are.
    pub(super) fn public(&self) -> PublicKey {
        match self {
            Self::Key(key) => key.public(),
            Self::Command(_, key) => *key,
        }
    }

    /// Signs a statement.
    pub(super) fn sign(&self, payload: Vec<u8>) -> Result<Envelope> {
        match self {
            Self::Key(key) => Envelope::sign(payload, key)
                .context(Kind::CannotDecide, || "the statement cannot be signed".to_owned()),
            Self::Command(command, key) => {
                let signature = run(command, &pae(PAYLOAD_TYPE, &payload))?;
                Envelope::signed(payload, signature, key).map_err(|error| {
                    let message = format!("the signer `{command}` signed something else, or with another key");
                    Error::caused(Kind::Rejected, message, error).hint(
                        "it has to sign what is on its standard input, hashed with SHA-256, with the key of \
                         `--public-key`",
                    )
                })
            }
        }
    }
}

/// Reads a public key.
pub(super) fn read_public(path: &Path) -> Result<PublicKey> {
    let bytes = bounded::at_most(path, MOST)?;
    if bytes.starts_with(b"-----BEGIN ") {
        return PublicKey::from_pem(&bytes).map_err(|error| refused(path, error));
    }
    let text = String::from_utf8_lossy(&bytes);
    text.trim().parse().map_err(|error| {
        let message = format!("`{}` is not a public key", path.display());
        Error::caused(Kind::Malformed, message, error)
    })
}

/// What a command answers to these bytes.
fn run(command: &str, bytes: &[u8]) -> Result<Signature> {
    let failed = || format!("failed running the signer `{command}`");
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(Kind::Environment, failed)?;
    let input = child.stdin.take();
    // While it is written to, it may already be writing.
    let (written, output) = thread::scope(|scope| {
        let writer = scope.spawn(move || match input {
            Some(mut input) => input.write_all(bytes),
            None => Ok(()),
        });
        let output = child.wait_with_output();
        (writer.join(), output)
    });
    let output = output.context(Kind::Environment, failed)?;
    let said = said(&output.stderr);
    if !output.status.success() {
        let message = format!("the signer `{command}` failed: {}{said}", output.status);
        return Err(Error::new(Kind::Environment, message));
    }
    match written {
        // One that needs not all of it to sign is found out by its signature.
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context(Kind::Environment, failed);
        }
        _ => {}
    }
    Signature::from_der(&output.stdout).map_err(|error| {
        let message = format!(
            "the signer `{command}` ended with {} and answered {} bytes that are no signature{said}",
            output.status,
            output.stdout.len()
        );
        Error::caused(Kind::Rejected, message, error)
            .hint("`openssl dgst -sha256 -sign KEY` answers as it should")
    })
}

/// What a command wrote to its standard error, for the end of a sentence.
fn said(bytes: &[u8]) -> String {
    let text = printable(String::from_utf8_lossy(bytes).trim());
    match text.char_indices().nth(MOST_SAID) {
        _ if text.is_empty() => ", and it said nothing".to_owned(),
        Some((end, _)) => format!("; it said: {}…", &text[..end]),
        None => format!("; it said: {text}"),
    }
}

/// A key that is not taken.
fn refused(path: &Path, error: KeyError) -> Error {
    let (kind, hint) = match &error {
        KeyError::Algorithm { .. } => (
            Kind::Rejected,
            "statements are signed with P-256; `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` \
             makes such a key",
        ),
        KeyError::Label { expected: "PUBLIC KEY", .. } => {
            (Kind::Rejected, "`openssl pkey -in key.pem -pubout` writes the public half of a key")
        }
        KeyError::Label { .. } => {
            (Kind::Rejected, "to sign elsewhere, give `--signer` and `--public-key`")
        }
        KeyError::Encrypted => (
            Kind::CannotDecide,
            "`openssl pkey -in FILE` decrypts it; or let openssl sign: `--signer 'openssl dgst -sha256 -sign \
             FILE'` and `--public-key`",
        ),
        KeyError::NoBlock(_) => {
            (Kind::Malformed, "`openssl pkey -inform DER -in FILE` makes PEM of DER")
        }
        KeyError::Text(_) | KeyError::Damaged { .. } | KeyError::Numbers(_) => {
            (Kind::Malformed, "`openssl pkey -check -noout -in FILE` says more of a private key")
        }
    };
    Error::caused(kind, format!("`{}` is not a key to use", path.display()), error).hint(hint)
}
