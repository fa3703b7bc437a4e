//! A signature that needs no private key, after Contrast (edgelesssys/contrast 19cd56d,
//! internal/idblock/idblock.go): r and s are fixed, and the public key is what they make it for this
//! message. Whoever has the message finds the same key, and nobody has the private half of it. So
//! the digest of the key, which a report carries, stands for the message.

use p384::ecdsa::VerifyingKey;
use p384::elliptic_curve::ops::Reduce as _;
use p384::elliptic_curve::point::DecompressPoint as _;
use p384::elliptic_curve::subtle::Choice;
use p384::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};

use super::key::PublicKey;
use super::signature::Signature;
use crate::digest::Sha384;

/// The key for `message`, and the signature. `None` for a message that has none, which is one in
/// 2^383.
pub(super) fn sign(message: &[u8]) -> Option<(PublicKey, Signature)> {
    let [r, s] = [number(R), number(S)];
    let inverse = Option::<Scalar>::from(Scalar::from(R).invert())?;
    let digest = FieldBytes::from(Sha384::of(message).0);
    let sum = ProjectivePoint::GENERATOR * Scalar::reduce_bytes(&digest);
    // SEC 1, version 2.0, section 4.1.6: two points have the x coordinate r, and each gives a key.
    let key = |odd| {
        let point = Option::<AffinePoint>::from(AffinePoint::decompress(&r, Choice::from(odd)))?;
        let key = (ProjectivePoint::from(point) * Scalar::from(S) - sum) * inverse;
        VerifyingKey::from_affine(key.to_affine()).ok()
    };
    // The key with the lower x, and of two with one x the one with the lower y.
    let key = [key(0)?, key(1)?].into_iter().min_by_key(|key| key.to_encoded_point(false))?;
    Some((PublicKey(key), Signature::new(r.into(), s.into())?))
}

/// The least number above zero that is the x coordinate of points of P-384.
const R: u64 = 2;

/// Any number would do.
const S: u64 = 1;

/// Big-endian.
fn number(value: u64) -> FieldBytes {
    let mut bytes = FieldBytes::default();
    for (to, from) in bytes.iter_mut().rev().zip(value.to_le_bytes()) {
        *to = from;
    }
    bytes
}
