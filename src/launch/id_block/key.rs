//! The two halves of a key. Messages are hashed here and not by the ECDSA crate, which is of an
//! earlier generation than our SHA-384.

use std::mem::offset_of;

use p384::EncodedPoint;
use p384::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p384::ecdsa::{SigningKey, VerifyingKey};

use super::layout::{self, CURVE, FormatError, RawKey};
use super::signature::Signature;
use crate::digest::Sha384;
use crate::pem::{self, KeyError};

/// A point of P-384 that is a public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKey(pub(super) VerifyingKey);

/// A key to sign with. It is not shown, and is overwritten when it is dropped.
#[derive(Clone, Debug)]
pub struct PrivateKey(pub(super) SigningKey);

impl PublicKey {
    /// Reads a public key in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        pem::public(pem).map(|key| Self(key.into()))
    }

    /// The bytes that the firmware reads, and that an author key signs.
    pub fn bytes(&self) -> [u8; size_of::<RawKey>()] {
        zerocopy::transmute!(self.raw())
    }

    /// What a report calls ID_KEY_DIGEST or AUTHOR_KEY_DIGEST: the SHA-384 of all the bytes.
    pub fn digest(&self) -> Sha384 {
        Sha384::of(self.bytes())
    }

    /// Whether `signature` is one of `message` by this key.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify_prehash(&Sha384::of(message).0, &signature.0).is_ok()
    }

    pub(super) fn raw(&self) -> RawKey {
        let point = self.0.to_encoded_point(false);
        // A public key is not the point at infinity, so both coordinates are there.
        let [x, y] = [point.x(), point.y()].map(|it| it.copied().unwrap_or_default());
        RawKey {
            curve: CURVE.into(),
            x: layout::component(&x),
            y: layout::component(&y),
            reserved: [0; 0x370],
        }
    }

    /// Reads the key that begins at `offset`.
    pub(super) fn of(
        raw: &RawKey,
        field: &'static str,
        offset: usize,
    ) -> Result<Self, FormatError> {
        layout::is("CURVE", offset, raw.curve, CURVE, "0x2, which is P-384")?;
        let x = layout::number(&raw.x, offset + offset_of!(RawKey, x))?;
        let y = layout::number(&raw.y, offset + offset_of!(RawKey, y))?;
        layout::reserved(&raw.reserved, offset + offset_of!(RawKey, reserved))?;
        let point = EncodedPoint::from_affine_coordinates(&x, &y, false);
        let key = VerifyingKey::from_encoded_point(&point);
        key.map(Self).map_err(|_| FormatError::Point { field, offset })
    }
}

impl PrivateKey {
    /// Reads a private key in PEM, PKCS #8 or SEC 1. Its text is overwritten.
    pub fn from_pem(pem: Vec<u8>) -> Result<Self, KeyError> {
        pem::private(pem).map(|key| Self(key.into()))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// The signature of `message`, the same every time (RFC 6979, section 3.2). `None` for a message
    /// that has none, which is one in 2^383.
    pub fn sign(&self, message: &[u8]) -> Option<Signature> {
        self.0.sign_prehash(&Sha384::of(message).0).ok().map(Signature)
    }
}
