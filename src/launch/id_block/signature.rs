//! A signature: two numbers.

use std::mem::offset_of;

use p384::ecdsa;

use super::layout::{self, FormatError, RawSignature};

/// An ECDSA signature of P-384 with SHA-384; r and s are above zero and below the order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signature(pub(super) ecdsa::Signature);

/// A file that is not a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// Not two integers.
    #[error(
        "expected the DER of a P-384 signature, which is a SEQUENCE of two INTEGERs of at most 48 \
         bytes (RFC 3279, section 2.2.3), and nothing after it"
    )]
    Der,
    /// Integers that no key gives.
    #[error("expected r and s above zero and below the order of P-384")]
    Range,
}

impl Signature {
    /// The signature of these numbers, big-endian; `None` if one is out of range.
    pub fn new(r: [u8; 48], s: [u8; 48]) -> Option<Self> {
        ecdsa::Signature::from_scalars(r, s).ok().map(Self)
    }

    /// Reads what `openssl dgst -sign` writes.
    pub fn from_der(der: &[u8]) -> Result<Self, SignatureError> {
        let der = ecdsa::DerSignature::from_bytes(der).map_err(|_| SignatureError::Der)?;
        der.try_into().map(Self).map_err(|_| SignatureError::Range)
    }

    /// The bytes that the firmware reads.
    pub fn bytes(&self) -> [u8; size_of::<RawSignature>()] {
        zerocopy::transmute!(self.raw())
    }

    pub(super) fn raw(&self) -> RawSignature {
        let (r, s) = self.0.split_bytes();
        RawSignature { r: layout::component(&r), s: layout::component(&s), reserved: [0; 0x170] }
    }

    /// Reads the signature that begins at `offset`.
    pub(super) fn of(
        raw: &RawSignature,
        field: &'static str,
        offset: usize,
    ) -> Result<Self, FormatError> {
        let r = layout::number(&raw.r, offset + offset_of!(RawSignature, r))?;
        let s = layout::number(&raw.s, offset + offset_of!(RawSignature, s))?;
        layout::reserved(&raw.reserved, offset + offset_of!(RawSignature, reserved))?;
        Self::new(r.into(), s.into()).ok_or(FormatError::Scalar { field, offset })
    }
}
