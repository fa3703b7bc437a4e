//! A transparency log that anyone can host, as files: what it holds, who signed it, and what proves it.
//!
//! ```text
//! statement ──entry──▶ leaf ──merkle──▶ root ──checkpoint──▶ signed note ──cosignature──▶ witnessed
//!                        └────────────── proof ──────────────────────┘
//! ```
//!
//! The formats are C2SP's (signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof), so that
//! witnesses, monitors and web servers of others serve it.

pub mod entry;
