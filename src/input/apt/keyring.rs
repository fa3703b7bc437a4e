//! Keyrings: which OpenPGP keys (RFC 9580) an archive's signature may come from.
//!
//! A key in a keyring file is trusted because it is there. Its own signatures still say what it may
//! be used for: which subkeys belong to it, until when, and whether it was revoked.

mod certificate;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::packet::Signature;
use pgp::types::KeyDetails;
use walkdir::WalkDir;

pub use certificate::Refusal;

/// A set of trusted keys.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// By the fingerprint of the primary key.
    certificates: BTreeMap<String, SignedPublicKey>,
    /// The files that were read, for messages.
    names: Vec<String>,
}

/// Why there is no keyring, or why no signature counts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A keyring that cannot be read.
    #[error("cannot read the keyring `{}`", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that is not a keyring.
    #[error("`{name}` is not a keyring: expected openpgp keys, binary or armoured")]
    NotKeys {
        /// The file.
        name: String,
        /// What the OpenPGP reader said, if it came that far.
        #[source]
        source: Option<Box<pgp::errors::Error>>,
    },
    /// No keys at all.
    #[error(
        "no trusted key was found in {}: install the package debian-archive-keyring, \
         or name a keyring with --keyring",
        list(tried)
    )]
    Empty {
        /// The files and directories that were looked at.
        tried: Vec<String>,
    },
    /// No signature is by a trusted key and valid.
    #[error(
        "no valid signature by a trusted key: {}; the keyrings are {}; if these keys are \
         the archive's, install its newest keyring package or name the keyring with --keyring",
        list(refused),
        list(keyrings)
    )]
    Untrusted {
        /// Each signature: its key, and why it does not count.
        refused: Vec<String>,
        /// The keyrings tried.
        keyrings: Vec<String>,
    },
}

impl Keyring {
    /// Reads keyring files, and all `*.gpg`, `*.pgp` and `*.asc` files in directories. Paths that
    /// do not exist are passed over, but some key must be found in the end.
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        let mut keyring = Self::default();
        let mut tried = Vec::new();
        for path in paths {
            let path = path.as_ref();
            tried.push(path.display().to_string());
            if path.is_dir() {
                keyring.add_directory(path)?;
            } else if path.exists() {
                keyring.add_file(path)?;
            }
        }
        if keyring.certificates.is_empty() { Err(Error::Empty { tried }) } else { Ok(keyring) }
    }

    /// Adds the keys in `bytes`, binary or armoured. `name` is for messages.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let wrong = |source: Option<pgp::errors::Error>| Error::NotKeys {
            name: name.to_owned(),
            source: source.map(Box::new),
        };
        let mut found = Vec::new();
        if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
            let keys = SignedPublicKey::from_bytes_many(bytes).map_err(|e| wrong(Some(e)))?;
            found.extend(keys.take(MAX_KEYS));
        } else {
            let text = std::str::from_utf8(bytes).map_err(|_| wrong(None))?;
            for block in text.split_inclusive(END_KEY) {
                let Some(begin) = block.find(BEGIN_KEY) else { continue };
                let (keys, _) = SignedPublicKey::from_armor_many(&block.as_bytes()[begin..])
                    .map_err(|error| wrong(Some(error)))?;
                found.extend(keys.take(MAX_KEYS));
            }
        }
        // One key that cannot be read, an old or odd one, is no reason to do without the others.
        let mut problem = None;
        let before = self.certificates.len();
        let mut any = false;
        for key in found {
            match key {
                Ok(key) => {
                    any = true;
                    self.insert(key);
                }
                Err(error) => problem = Some(error),
            }
        }
        if !any && self.certificates.len() == before {
            return Err(wrong(problem));
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    /// The fingerprints of the primary keys, in upper-case hexadecimal.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.certificates.keys().map(String::as_str)
    }

    /// Whether some key is in both keyrings.
    pub fn shares_a_key_with(&self, other: &Self) -> bool {
        self.certificates.keys().any(|fingerprint| other.certificates.contains_key(fingerprint))
    }

    /// Leaves only the keys with one of these fingerprints, of a primary key or a subkey.
    #[must_use]
    pub fn restricted_to(mut self, wanted: &[String]) -> Self {
        self.certificates.retain(|primary, certificate| {
            wanted.contains(primary)
                || certificate
                    .public_subkeys
                    .iter()
                    .any(|subkey| wanted.contains(&hex(&subkey.fingerprint())))
        });
        self
    }

    /// Checks `signatures` over `signed`: one valid signature by a key here suffices. Returns the
    /// fingerprints of the primary keys that signed. `now`, in Unix seconds, matters only for a
    /// signature that itself expires: a key must have been good when it signed.
    pub fn verify(
        &self,
        signed: &[u8],
        signatures: &[Signature],
        now: u64,
    ) -> Result<BTreeSet<String>, Error> {
        let mut signers = BTreeSet::new();
        let mut refused = Vec::new();
        for signature in signatures {
            let mut why = Refusal::Unknown;
            for (fingerprint, certificate) in &self.certificates {
                match certificate::check(certificate, signature, signed, now) {
                    Ok(()) => {
                        signers.insert(fingerprint.clone());
                    }
                    Err(Refusal::Unknown) => {}
                    Err(refusal) => why = refusal,
                }
            }
            refused.push(format!("key {} {why}", certificate::issuer(signature)));
        }
        if signers.is_empty() {
            return Err(Error::Untrusted { refused, keyrings: self.names.clone() });
        }
        Ok(signers)
    }

    fn add_directory(&mut self, directory: &Path) -> Result<(), Error> {
        for entry in WalkDir::new(directory).min_depth(1).max_depth(1).sort_by_file_name() {
            let path = entry
                .map_err(|error| Error::Io { path: directory.to_owned(), source: error.into() })?
                .into_path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("gpg" | "pgp" | "asc")) && path.is_file() {
                self.add_file(&path)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size == 0 {
            return Ok(());
        }
        let name = path.display().to_string();
        if size > MAX_FILE {
            return Err(Error::NotKeys { name, source: None });
        }
        let bytes = std::fs::read(path).map_err(io)?;
        // GnuPG's own database format, which apt does not read either.
        if bytes.get(8..12) == Some(b"KBXf") {
            return Ok(());
        }
        self.add(&name, &bytes)
    }

    /// Adds a key. What two files say of the same key is put together: a revocation in one of them
    /// must not be undone by an older copy in another.
    fn insert(&mut self, key: SignedPublicKey) {
        use std::collections::btree_map::Entry;
        match self.certificates.entry(hex(&key.primary_key.fingerprint())) {
            Entry::Vacant(entry) => {
                entry.insert(key);
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.details.revocation_signatures.extend(key.details.revocation_signatures);
                known.details.direct_signatures.extend(key.details.direct_signatures);
                known.details.users.extend(key.details.users);
                known.public_subkeys.extend(key.public_subkeys);
            }
        }
    }
}

fn hex(fingerprint: &pgp::types::Fingerprint) -> String {
    fingerprint.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

const BEGIN_KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END_KEY: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Bounds on what is read as a keyring. Debian's has 10 keys in 56 kB.
const MAX_KEYS: usize = 10_000;
const MAX_FILE: u64 = 16 << 20;
