//! The 4096 bytes that say who signed an ID block.

use std::mem::offset_of;

use super::block::IdBlock;
use super::key::{PrivateKey, PublicKey};
use super::keyless;
use super::layout::{self, ALGORITHM, FormatError, RawAuth, RawKey, RawSignature};
use super::signature::Signature;

/// The keys and signatures of one ID block. There is no value of which they do not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdAuth {
    id: Signed,
    author: Option<Signed>,
}

/// Where a signature comes from.
#[derive(Clone, Debug)]
pub enum Signer {
    /// This key, by RFC 6979.
    Key(PrivateKey),
    /// No key: the public one is computed from what is signed.
    Keyless,
    /// It was made elsewhere.
    Given {
        /// The key that made it.
        key: PublicKey,
        /// The signature.
        signature: Signature,
    },
}

/// Why an ID block is not authenticated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// The bytes are malformed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The ID key signed something else, or another key signed.
    #[error(
        "signature of the ID block does not hold: expected one by the ID key, with SHA-384, over \
         the 96 bytes of this ID block"
    )]
    Block,
    /// The author key signed something else, or another key signed.
    #[error(
        "signature of the ID key does not hold: expected one by the author key, with SHA-384, over \
         the 1028 bytes of this ID key"
    )]
    Key,
    /// Arithmetic has exceptions that nobody will see.
    #[error("the bytes to sign have no signature by this key: sign with another one")]
    Unsignable,
}

/// A signature that holds, and its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Signed {
    key: PublicKey,
    signature: Signature,
}

impl IdAuth {
    /// Signs `block` with the ID key, and the ID key with the author key.
    pub fn new(block: &IdBlock, id: &Signer, author: Option<&Signer>) -> Result<Self, AuthError> {
        let id = id.sign(&block.bytes(), AuthError::Block)?;
        let author = author.map(|author| author.sign(&id.key.bytes(), AuthError::Key));
        Ok(Self { id, author: author.transpose()? })
    }

    /// Reads what authenticates `block`, and checks that it does.
    pub fn parse(bytes: &[u8], block: &IdBlock) -> Result<Self, AuthError> {
        let raw: RawAuth = layout::read("ID authentication information", bytes)?;
        let expected = "0x1, which is ECDSA P-384 with SHA-384";
        layout::is("ID_KEY_ALGO", 0, raw.id_key_algorithm, ALGORITHM, expected)?;
        layout::reserved(&raw.reserved_1, offset_of!(RawAuth, reserved_1))?;
        let offset = offset_of!(RawAuth, block_signature);
        let signature = Signature::of(&raw.block_signature, "ID_BLOCK_SIG", offset)?;
        let key = PublicKey::of(&raw.id_key, "ID_KEY", offset_of!(RawAuth, id_key))?;
        layout::reserved(&raw.reserved_2, offset_of!(RawAuth, reserved_2))?;
        let author = author(&raw)?;
        layout::reserved(&raw.reserved_3, offset_of!(RawAuth, reserved_3))?;
        Self::new(block, &Signer::Given { key, signature }, author.as_ref())
    }

    /// The bytes that the firmware reads.
    pub fn bytes(&self) -> [u8; size_of::<RawAuth>()] {
        let author = self.author.as_ref();
        let raw = RawAuth {
            id_key_algorithm: ALGORITHM.into(),
            // The firmware ignores the field without an author key. AMD's own tool then leaves all of
            // the author's fields zero (AMDESE/sev-guest dfbc6d7, src/id-block.c), as openvmm does;
            // Contrast has written both (0 in 9edad59, 1 in 19cd56d, internal/idblock/idblock.go).
            author_key_algorithm: author.map_or(0, |_| ALGORITHM).into(),
            reserved_1: [0; 0x38],
            block_signature: self.id.signature.raw(),
            id_key: self.id.key.raw(),
            reserved_2: [0; 0x3c],
            id_key_signature: author.map_or(NO_SIGNATURE, |author| author.signature.raw()),
            author_key: author.map_or(NO_KEY, |author| author.key.raw()),
            reserved_3: [0; 0x37c],
        };
        zerocopy::transmute!(raw)
    }

    /// The key that signed the ID block.
    pub fn id_key(&self) -> &PublicKey {
        &self.id.key
    }

    /// The key that signed the ID key.
    pub fn author_key(&self) -> Option<&PublicKey> {
        self.author.as_ref().map(|author| &author.key)
    }

    /// Whether the ID key is the one that [`Signer::Keyless`] finds for `block`, so that nobody
    /// can sign another with it.
    pub fn is_keyless(&self, block: &IdBlock) -> bool {
        Signer::Keyless.sign(&block.bytes(), AuthError::Block).as_ref() == Ok(&self.id)
    }
}

impl Signer {
    fn sign(&self, message: &[u8], wrong: AuthError) -> Result<Signed, AuthError> {
        let signed = match self {
            Self::Key(private) => private.sign(message).map(|made| (private.public(), made)),
            Self::Keyless => keyless::sign(message),
            Self::Given { key, signature } => Some((*key, *signature)),
        };
        // Also where it was made here: a fault must not leave this module.
        match signed.ok_or(AuthError::Unsignable)? {
            (key, signature) if key.verifies(message, &signature) => Ok(Signed { key, signature }),
            _ => Err(wrong),
        }
    }
}

/// The author's part. It is absent where the key and the signature are zero.
fn author(raw: &RawAuth) -> Result<Option<Signer>, FormatError> {
    let (field, offset) = ("AUTH_KEY_ALGO", offset_of!(RawAuth, author_key_algorithm));
    let key = zerocopy::IntoBytes::as_bytes(&raw.author_key);
    let signature = zerocopy::IntoBytes::as_bytes(&raw.id_key_signature);
    if key.iter().chain(signature).all(|byte| *byte == 0) {
        return match raw.author_key_algorithm.get() {
            0 | ALGORITHM => Ok(None),
            found => {
                let expected = "0x0 or 0x1, since there is no author key";
                Err(FormatError::Value { field, offset, found, expected })
            }
        };
    }
    let expected = "0x1, which is ECDSA P-384 with SHA-384";
    layout::is(field, offset, raw.author_key_algorithm, ALGORITHM, expected)?;
    let offset = offset_of!(RawAuth, id_key_signature);
    let signature = Signature::of(&raw.id_key_signature, "ID_KEY_SIG", offset)?;
    let key = PublicKey::of(&raw.author_key, "AUTHOR_KEY", offset_of!(RawAuth, author_key))?;
    Ok(Some(Signer::Given { key, signature }))
}

const NO_SIGNATURE: RawSignature = RawSignature { r: [0; 72], s: [0; 72], reserved: [0; 0x170] };

const NO_KEY: RawKey = RawKey {
    curve: zerocopy::little_endian::U32::ZERO,
    x: [0; 72],
    y: [0; 72],
    reserved: [0; 0x370],
};
