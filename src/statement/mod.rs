//! What is said of a release, and by whom: in-toto statements in DSSE envelopes, and the bundles in which they travel.
//!
//! ```text
//! release ──▶ statement (JSON) ──PAE──▶ signature ──▶ envelope ──▶ bundle ◀── entry of a log, proof
//! ```
//!
//! What is written here is written in one way only, so that it is read in one way only: a payload that is not
//! byte for byte what this module would write is refused. All of it is pure.

pub mod bundle;
pub mod constraints;
pub mod dsse;
pub mod intoto;
pub mod json;
pub mod key;
pub mod launch;
pub mod provenance;
pub mod revocation;
pub mod trusted_root;
pub mod vsa;
