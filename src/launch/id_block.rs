//! The ID block: what the owner of a guest says that a launch must be, and who says so. The AMD
//! firmware compares it with the launch before the guest's first instruction (SNP ABI,
//! SNP_LAUNCH_FINISH), and every report of the guest then carries its IDs, its security version
//! and the digests of the keys that signed it.
//!
//! Nothing here asks for randomness: a signature is made as RFC 6979 says, or by no key at all
//! ([`Signer::Keyless`]), or elsewhere and checked here. The same input is the same bytes.

mod auth;
mod block;
mod key;
mod keyless;
mod layout;
mod signature;

pub use crate::pem::KeyError;
pub use auth::{AuthError, IdAuth, Signer};
pub use block::{Id, IdBlock};
pub use key::{PrivateKey, PublicKey};
pub use layout::FormatError;
pub use signature::{Signature, SignatureError};
