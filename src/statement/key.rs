//! Who signs a statement: ECDSA on P-256 with SHA-256 (FIPS 186-5), which is what Sigstore's verifiers
//! take by default. The same message has the same signature every time (RFC 6979, section 3.2).

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding as _};
use p256::NistP256;
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::ecdsa::{self, SigningKey, VerifyingKey};
use p256::pkcs8::{EncodePublicKey as _, LineEnding};

use crate::digest::Sha256;
use crate::pem;
pub use crate::pem::KeyError;

/// A point of P-256 that is a public key. As text, the Base64 of its SubjectPublicKeyInfo in DER.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PublicKey(VerifyingKey);

/// A key to sign with. It is not shown, and is overwritten when it is dropped.
#[derive(Clone, Debug)]
pub struct PrivateKey(SigningKey);

/// A signature: two numbers, in DER (RFC 3279, section 2.2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signature(ecdsa::Signature);

/// Text that is no public key in one line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseKeyError {
    /// Not Base64.
    #[error(
        "`{0}` is not a public key: expected the Base64 of its SubjectPublicKeyInfo, as the lines between BEGIN and END of a PEM file put together"
    )]
    Base64(String),
    /// Base64 of something else.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Bytes that are no signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected the DER of a P-256 signature, which is a SEQUENCE of two INTEGERs above zero and below the \
     order of the curve, and nothing after it"
)]
pub struct SignatureError;

impl PublicKey {
    /// Reads a key in PEM.
    ///
    /// # Errors
    /// When it is no public key, or one of another kind.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        pem::public::<NistP256>(text).map(|key| Self(key.into()))
    }

    /// Reads a SubjectPublicKeyInfo in DER, in the one form in which [`Self::to_der`] writes it.
    ///
    /// # Errors
    /// When it is no public key, one of another kind, or in another form.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = Self(pem::public_der::<NistP256>(der)?.into());
        // The point can be compressed too. A log's entry has the bytes of the key, which must not vary.
        if key.to_der() == der { Ok(key) } else { Err(KeyError::Numbers("P-256, uncompressed")) }
    }

    /// The SubjectPublicKeyInfo in DER (RFC 5480), with the point uncompressed.
    pub fn to_der(&self) -> Vec<u8> {
        // Of a point on the curve there is one: the encoder can only fail for want of memory.
        self.0.to_public_key_der().map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    }

    /// The key in PEM.
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// The SHA-256 of [`Self::to_der`]: a name for the key.
    pub fn id(&self) -> Sha256 {
        Sha256::of(self.to_der())
    }

    /// Whether `signature` is one of `message` by this key.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.verifies_digest(Sha256::of(message), signature)
    }

    /// Whether `signature` is one, by this key, of the message with this SHA-256.
    pub fn verifies_digest(&self, digest: Sha256, signature: &Signature) -> bool {
        self.0.verify_prehash(&digest.0, &signature.0).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let der = Base64::decode_vec(text);
        let der = der.map_err(|_| ParseKeyError::Base64(text.to_owned()))?;
        Ok(Self::from_der(&der)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode_string(&self.to_der()))
    }
}

impl PrivateKey {
    /// Reads a private key in PEM, PKCS #8 or SEC 1. Its text is overwritten.
    ///
    /// # Errors
    /// When it is no private key, an encrypted one, or one of another kind.
    pub fn from_pem(text: Vec<u8>) -> Result<Self, KeyError> {
        pem::private::<NistP256>(text).map(|key| Self(key.into()))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// The signature of `message`. `None` for a message that has none, which is one in 2^255.
    pub fn sign(&self, message: &[u8]) -> Option<Signature> {
        self.0.sign_prehash(&Sha256::of(message).0).ok().map(Signature)
    }
}

impl Signature {
    /// Reads what `openssl dgst -sha256 -sign` writes.
    ///
    /// # Errors
    /// When it is something else, or in another spelling than [`Self::to_der`]'s.
    pub fn from_der(der: &[u8]) -> Result<Self, SignatureError> {
        let signature = ecdsa::Signature::from_der(der).map(Self).map_err(|_| SignatureError)?;
        if signature.to_der() == der { Ok(signature) } else { Err(SignatureError) }
    }

    /// In DER.
    pub fn to_der(&self) -> Vec<u8> {
        self.0.to_der().as_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::parse_hex;

    /// RFC 6979, appendix A.2.5.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        let secret: [u8; 32] =
            parse_hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
        let key = PrivateKey(SigningKey::from_bytes(&secret.into()).unwrap());
        for (message, r, s) in [
            (
                "sample",
                "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
                "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
            ),
            (
                "test",
                "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
                "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
            ),
        ] {
            let signature = key.sign(message.as_bytes()).unwrap();
            let (found_r, found_s) = signature.0.split_bytes();
            assert_eq!(<[u8; 32]>::from(found_r), parse_hex(r).unwrap());
            assert_eq!(<[u8; 32]>::from(found_s), parse_hex(s).unwrap());
            assert!(key.public().verifies(message.as_bytes(), &signature));
            assert!(!key.public().verifies(b"other", &signature));
            let der = signature.to_der();
            assert_eq!(Signature::from_der(&der), Ok(signature));
            assert_eq!(Signature::from_der(&[&der[..], &[0]].concat()), Err(SignatureError));
        }
    }

    #[test]
    fn a_key_is_written_in_one_way() {
        let key = PrivateKey(SigningKey::from_bytes(&[7; 32].into()).unwrap()).public();
        assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
        assert_eq!(PublicKey::from_pem(key.to_pem().as_bytes()), Ok(key));
        assert_eq!(PublicKey::from_der(&key.to_der()), Ok(key));
        // The compressed point (SEC 1, section 2.3.3) is the same key in other bytes.
        let point = key.0.to_encoded_point(true);
        let mut compressed = key.to_der()[..26].to_vec();
        (compressed[1], compressed[24]) = (0x39, 0x22);
        compressed.extend_from_slice(point.as_bytes());
        assert!(pem::public_der::<NistP256>(&compressed).is_ok());
        assert!(PublicKey::from_der(&compressed).is_err());
        for bad in ["", "AAAA", "MFkw", &key.to_string()[1..]] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }
}
