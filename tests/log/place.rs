//! A place with a log's key in it.

use std::path::PathBuf;

use counterfoil::log::append::{Appended, Entry};
use counterfoil::log::directory::{self, Directory};
use counterfoil::log::{Algorithm, SignerKey};

use crate::support::place::Place;

pub(crate) const ORIGIN: &str = "log.example.org/test";

pub(crate) struct Keeper {
    pub(crate) place: Place,
}

pub(crate) fn key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, [7; 32]).unwrap()
}

impl Keeper {
    /// A place with an empty log in `LOG`, its private key in `key` and its public one in `vkey`.
    pub(crate) fn new() -> Self {
        let place = Place::new();
        place.write("key", format!("{}\n", key().to_text()));
        place.write("vkey", format!("{}\n", key().verifier()));
        directory::init(&place.path("LOG"), &key()).unwrap();
        Self { place }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.place.path("LOG")
    }

    pub(crate) fn append(&self, entries: impl IntoIterator<Item = Vec<u8>>) -> Appended {
        let entries = entries.into_iter().map(|bytes| Entry { bytes, ..Entry::default() });
        Directory::open(&self.log(), key()).unwrap().append(entries).unwrap()
    }
}

/// Entry `index` of the logs in these tests.
pub(crate) fn entry(index: usize) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}
