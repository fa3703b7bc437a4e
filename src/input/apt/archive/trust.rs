//! Whose signature counts for which archive.

use std::path::{Path, PathBuf};

use crate::input::apt::keyring::{Error, Keyring};
use crate::input::apt::sources::{SignedBy, Source};

/// The keyrings of a host.
///
/// A source that the host takes a suite from is believed as apt would believe it: by its own
/// `Signed-By`, or by the host's keyrings. For any other suite the host has not said whom it
/// trusts, so that only the distribution's own keys count, and only its own archives are asked:
/// somebody's extra repository must not be able to answer for `sid`.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    only: Option<Vec<PathBuf>>,
    distribution: Vec<PathBuf>,
    host: Vec<PathBuf>,
}

impl Trust {
    /// The keyrings in the places where Debian's packages put them, below `root`, usually `/`.
    pub fn of_host(root: &Path) -> Self {
        let below = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect();
        Self {
            only: None,
            distribution: below(&[
                "usr/share/keyrings/debian-archive-keyring.pgp",
                "usr/share/keyrings/debian-archive-keyring.gpg",
            ]),
            host: below(&["etc/apt/trusted.gpg", "etc/apt/trusted.gpg.d"]),
        }
    }

    /// These keyrings for everything, whatever the sources say.
    pub fn only(paths: Vec<PathBuf>) -> Self {
        Self { only: Some(paths), ..Self::default() }
    }

    /// The keyring for a suite of `source`, or `None` if it is not to be asked. `listed` is whether
    /// the host takes that suite from it.
    pub(super) fn keyring(&self, source: &Source, listed: bool) -> Result<Option<Keyring>, Error> {
        if let Some(paths) = &self.only {
            return Keyring::read(paths).map(Some);
        }
        if listed {
            return self.own_keyring(source).map(Some);
        }
        let distribution = Keyring::read(&self.distribution)?;
        let related = source.signed_by == SignedBy::Default
            || self.own_keyring(source).is_ok_and(|own| own.shares_a_key_with(&distribution));
        Ok(related.then_some(distribution))
    }

    fn own_keyring(&self, source: &Source) -> Result<Keyring, Error> {
        let default = || Keyring::read(self.host.iter().chain(&self.distribution));
        match &source.signed_by {
            SignedBy::Default => default(),
            SignedBy::Embedded(key) => {
                let mut keyring = Keyring::default();
                keyring.add(&format!("the key in the source of {}", source.uri), key.as_bytes())?;
                Ok(keyring)
            }
            SignedBy::Files { paths, fingerprints } => {
                let keyring = if paths.is_empty() { default()? } else { Keyring::read(paths)? };
                Ok(match fingerprints.as_slice() {
                    [] => keyring,
                    wanted => keyring.restricted_to(wanted),
                })
            }
        }
    }
}
