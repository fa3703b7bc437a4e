//! The structures as the firmware reads them, and the ways in which bytes fail to be one.

use p384::FieldBytes;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The ID block (SNP ABI, SNP_LAUNCH_FINISH, table "Structure of the ID Block").
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawBlock {
    pub(super) launch_digest: [u8; 48],
    pub(super) family_id: [u8; 16],
    pub(super) image_id: [u8; 16],
    pub(super) version: U32,
    pub(super) guest_svn: U32,
    pub(super) policy: U64,
}

/// The ID authentication information (SNP ABI, SNP_LAUNCH_FINISH, table "Structure of the ID
/// Authentication Information Structure").
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawAuth {
    pub(super) id_key_algorithm: U32,
    pub(super) author_key_algorithm: U32,
    pub(super) reserved_1: [u8; 0x38],
    pub(super) block_signature: RawSignature,
    pub(super) id_key: RawKey,
    pub(super) reserved_2: [u8; 0x3c],
    pub(super) id_key_signature: RawSignature,
    pub(super) author_key: RawKey,
    pub(super) reserved_3: [u8; 0x37c],
}

/// An ECDSA signature (SNP ABI, chapter 10, "Format of an ECDSA P-384 with SHA-384 Signature").
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawSignature {
    pub(super) r: Component,
    pub(super) s: Component,
    pub(super) reserved: [u8; 0x170],
}

/// A public key (SNP ABI, chapter 10, "Format of an ECDSA P-384 Public Key").
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawKey {
    pub(super) curve: U32,
    pub(super) x: Component,
    pub(super) y: Component,
    pub(super) reserved: [u8; 0x370],
}

/// A number of up to 576 bits, little-endian; one of P-384 leaves the last 24 bytes zero.
pub(super) type Component = [u8; 72];

const _: () = assert!(size_of::<RawBlock>() == 0x60);
const _: () = assert!(size_of::<RawSignature>() == 0x200);
const _: () = assert!(size_of::<RawKey>() == 0x404);
const _: () = assert!(size_of::<RawAuth>() == 0x1000);
const _: () = assert!(std::mem::offset_of!(RawAuth, block_signature) == 0x40);
const _: () = assert!(std::mem::offset_of!(RawAuth, id_key) == 0x240);
const _: () = assert!(std::mem::offset_of!(RawAuth, id_key_signature) == 0x680);
const _: () = assert!(std::mem::offset_of!(RawAuth, author_key) == 0x880);

/// ECDSA P-384 with SHA-384 (SNP ABI, chapter 10, table of algorithms).
pub(super) const ALGORITHM: u32 = 1;

/// P-384 (SNP ABI, chapter 10, the field CURVE of a public key).
pub(super) const CURVE: u32 = 2;

/// The version of the ID block (SNP ABI, SNP_LAUNCH_FINISH, VERSION).
pub(super) const VERSION: u32 = 1;

/// Bytes that are not the structure that they should be. Offsets are from its beginning.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// The wrong number of bytes.
    #[error("{what} has {found} bytes: expected {expected}")]
    Size {
        /// The structure.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// The bytes that it must have.
        expected: usize,
    },
    /// A field has a value that it cannot have.
    #[error("{field} at offset {offset:#x} is {found:#x}: expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Where it is.
        offset: usize,
        /// What it holds.
        found: u32,
        /// What it must hold, and what that is.
        expected: &'static str,
    },
    /// A byte that must be zero.
    #[error("byte at offset {offset:#x} is {found:#04x}: expected 0x00, since it is reserved")]
    Reserved {
        /// Where it is.
        offset: usize,
        /// What it is.
        found: u8,
    },
    /// No public key.
    #[error("{field} at offset {offset:#x} is not a point of P-384: expected a public key")]
    Point {
        /// Which key.
        field: &'static str,
        /// Where it is.
        offset: usize,
    },
    /// No signature.
    #[error(
        "{field} at offset {offset:#x} is not a signature: expected r and s above zero and below \
         the order of P-384"
    )]
    Scalar {
        /// Which signature.
        field: &'static str,
        /// Where it is.
        offset: usize,
    },
}

/// `bytes` as a structure of exactly their size.
pub(super) fn read<T: FromBytes + KnownLayout + Immutable>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, FormatError> {
    T::read_from_bytes(bytes).map_err(|_| FormatError::Size {
        what,
        found: bytes.len(),
        expected: size_of::<T>(),
    })
}

/// Checks that `bytes`, which begin at `offset`, are zero.
pub(super) fn reserved(bytes: &[u8], offset: usize) -> Result<(), FormatError> {
    match bytes.iter().enumerate().find(|(_, byte)| **byte != 0) {
        Some((at, &found)) => Err(FormatError::Reserved { offset: offset + at, found }),
        None => Ok(()),
    }
}

/// Checks that a field has the one value that it can have.
pub(super) fn is(
    field: &'static str,
    offset: usize,
    found: U32,
    value: u32,
    expected: &'static str,
) -> Result<(), FormatError> {
    match found.get() {
        found if found == value => Ok(()),
        found => Err(FormatError::Value { field, offset, found, expected }),
    }
}

/// A number of P-384, which elsewhere is big-endian, as a component.
pub(super) fn component(number: &FieldBytes) -> Component {
    let mut component = [0; 72];
    for (to, from) in component.iter_mut().zip(number.iter().rev()) {
        *to = *from;
    }
    component
}

/// The number in a component that begins at `offset`.
pub(super) fn number(component: &Component, offset: usize) -> Result<FieldBytes, FormatError> {
    let mut number = FieldBytes::default();
    let (value, padding) = component.split_at(number.len());
    reserved(padding, offset + value.len())?;
    for (to, from) in number.iter_mut().zip(value.iter().rev()) {
        *to = *from;
    }
    Ok(number)
}
