//! Attestation reports: what a machine attested, who vouches for it, and whether it is this release.
//!
//! ```text
//! received bytes ──wrapper──▶ evidence ──fields──▶ report ──chain──▶ AMD's root ──verify──▶ verdict
//!                                          collateral ──┘      policy, release ──┘
//! ```
//!
//! Bytes in, values out: nothing here opens a file, asks a network or looks at a clock, so that the same
//! code runs in a browser. Whatever is signed is checked over the bytes as they were received, and never
//! over what a parser made of them.

pub mod binding;
mod bound;
pub mod certificate;
mod chain;
pub mod collateral;
pub mod crl;
pub mod describe;
pub mod fields;
mod machine;
mod measurement;
pub mod policy;
pub mod product;
pub mod reason;
pub mod roots;
pub mod time;
pub mod verdict;
pub mod verify;
pub mod wrapper;

pub use collateral::Collateral;
pub use fields::Report;
pub use policy::Policy;
pub use product::{Product, Tcb};
pub use reason::Reason;
pub use roots::Roots;
pub use time::Time;
pub use verdict::Verdict;
pub use verify::{Expected, Question, verify};
pub use wrapper::Evidence;
