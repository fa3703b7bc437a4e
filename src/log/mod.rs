//! A transparency log that anyone can host, as files: what it holds, who signed it, and what proves it.
//!
//! ```text
//! statement ──entry──▶ leaf ──merkle──▶ root ──checkpoint──▶ signed note ──cosignature──▶ witnessed
//!                        └────────────── proof ──────────────────────┘
//! ```
//!
//! The formats are C2SP's (signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof), so that
//! witnesses, monitors and web servers of others serve it.

#[cfg(feature = "host")]
pub mod append;
#[cfg(feature = "host")]
pub mod directory;
pub mod edge;
#[cfg(feature = "host")]
pub mod lookup;
pub mod merkle;
#[cfg(feature = "host")]
pub mod prove;
#[cfg(feature = "host")]
pub mod reader;
pub mod reason;
#[cfg(feature = "host")]
mod staging;
pub mod tile;
#[cfg(feature = "host")]
pub mod tree;
