//! A transparency log that anyone can host, as files: what it holds, who signed it, and what proves it.
//!
//! ```text
//! statement ──entry──▶ leaf ──merkle──▶ root ──checkpoint──▶ signed note ──cosignature──▶ witnessed
//!                        └────────────── proof ──────────────────────┘
//! ```
//!
//! The formats are C2SP's (signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof, tlog-witness), so
//! that witnesses, monitors and web servers of others serve it. Whom to ask and to believe is said in tlog-policy,
//! which [`published::trust`](crate::published::trust) reads.

#[cfg(feature = "host")]
pub mod append;
pub mod checkpoint;
pub mod cosignature;
#[cfg(feature = "host")]
pub mod directory;
pub mod edge;
pub mod entry;
pub mod key;
#[cfg(feature = "host")]
pub mod lookup;
pub mod merkle;
#[cfg(feature = "host")]
pub mod monitor;
pub mod note;
pub mod proof;
#[cfg(feature = "host")]
pub mod prove;
pub mod quorum;
#[cfg(feature = "host")]
pub mod reader;
pub mod reason;
pub mod signed;
#[cfg(feature = "host")]
mod staging;
#[cfg(feature = "host")]
pub mod submit;
pub mod tile;
#[cfg(feature = "host")]
pub mod tree;
#[cfg(feature = "host")]
pub mod verify;
#[cfg(feature = "host")]
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use cosignature::{CosignError, cosign};
pub use key::{Algorithm, KeyError, SignerKey, VerifierKey};
pub use note::{Note, NoteError, Signature};
pub use proof::{Proof, ProofError};
pub use quorum::Quorum;
pub use signed::Signed;
