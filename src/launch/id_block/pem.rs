//! Keys as other programs write them (RFC 7468): a private key in PKCS #8 or SEC 1, a public key
//! in SubjectPublicKeyInfo.

use p384::ecdsa::{SigningKey, VerifyingKey};
use p384::elliptic_curve::ALGORITHM_OID;
use p384::elliptic_curve::zeroize::Zeroizing;
use p384::pkcs8::der::asn1::{OctetStringRef, SequenceRef};
use p384::pkcs8::der::{self, Decode as _, Header, Reader as _, SliceReader, pem};
use p384::pkcs8::der::{TagMode, TagNumber};
use p384::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use p384::pkcs8::{AssociatedOid as _, ObjectIdentifier, PrivateKeyInfo};
use p384::{NistP384, SecretKey};
use sec1::{EcParameters, EcPrivateKey};

use super::key::{PrivateKey, PublicKey};

/// A file that is not the key that it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM.
    #[error("no PEM block: expected a line such as `-----BEGIN {0}-----`")]
    NoBlock(&'static str),
    /// Another kind of PEM.
    #[error("PEM block is a `{found}`: expected a `{expected}`")]
    Label {
        /// What it says it is.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A password is needed.
    #[error("private key is encrypted: expected it in the clear")]
    Encrypted,
    /// Another kind of key.
    #[error("key is {0}: expected ECDSA on P-384 (secp384r1)")]
    Algorithm(String),
    /// The block is not text as it should be.
    #[error(
        "PEM block `{0}` is damaged: expected Base64 in lines of 64 characters, and a line \
         `-----END {0}-----`"
    )]
    Text(String),
    /// Not what the PEM block says.
    #[error("PEM block `{label}` does not hold what its name says")]
    Damaged {
        /// What it says it is.
        label: String,
        /// What is wrong with it.
        source: der::Error,
    },
    /// A private key of zero, or above the order, or that does not go with its public half; or a
    /// public key that is not on the curve.
    #[error("numbers of the key do not make one of P-384")]
    Numbers,
}

impl PrivateKey {
    /// Reads a private key. Its text is overwritten.
    pub fn from_pem(pem: Vec<u8>) -> Result<Self, KeyError> {
        let pem = Zeroizing::new(pem);
        let block = Block::first(&pem, "PRIVATE KEY")?;
        let secret = match block.label.as_str() {
            "PRIVATE KEY" => {
                let info = PrivateKeyInfo::from_der(&block.der).map_err(|e| block.damaged(e))?;
                check_algorithm(&info.algorithm)?;
                block.secret(info.private_key)?
            }
            "EC PRIVATE KEY" => block.secret(&block.der)?,
            _ => return Err(block.unexpected("PRIVATE KEY` or `EC PRIVATE KEY")),
        };
        Ok(Self(SigningKey::from(secret)))
    }
}

impl PublicKey {
    /// Reads a public key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let block = Block::first(pem, "PUBLIC KEY")?;
        if block.label != "PUBLIC KEY" {
            return Err(block.unexpected("PUBLIC KEY"));
        }
        let info = SubjectPublicKeyInfoRef::from_der(&block.der).map_err(|e| block.damaged(e))?;
        check_algorithm(&info.algorithm)?;
        let key = VerifyingKey::from_sec1_bytes(info.subject_public_key.raw_bytes());
        key.map(Self).map_err(|_| KeyError::Numbers)
    }
}

/// One PEM block, decoded.
struct Block {
    label: String,
    der: Zeroizing<Vec<u8>>,
}

impl Block {
    /// The first block that is not the name of a curve, which `openssl ecparam -genkey` writes before
    /// the key.
    fn first(pem: &[u8], expected: &'static str) -> Result<Self, KeyError> {
        let mut text = std::str::from_utf8(pem).unwrap_or_default();
        while let Some((_, begun)) = text.find(BEGIN).and_then(|at| text.split_at_checked(at)) {
            let label = begun.get(BEGIN.len()..).and_then(|rest| rest.split_once(DASHES));
            let Some((label, _)) = label else { break };
            let end = format!("-----END {label}-----");
            let size = begun.find(&end).map_or(begun.len(), |at| at + end.len());
            let (block, rest) = begun.split_at_checked(size).unwrap_or((begun, ""));
            if label != "EC PARAMETERS" {
                return Self::decode(label, block);
            }
            text = rest;
        }
        Err(KeyError::NoBlock(expected))
    }

    fn decode(label: &str, block: &str) -> Result<Self, KeyError> {
        // The second is of RFC 1421, section 4.6.1.1, and has no place in RFC 7468.
        if label == "ENCRYPTED PRIVATE KEY" || block.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let label = label.to_owned();
        match pem::decode_vec(block.as_bytes()) {
            Ok((_, der)) => Ok(Self { label, der: Zeroizing::new(der) }),
            Err(_) => Err(KeyError::Text(label)),
        }
    }

    fn damaged(&self, source: der::Error) -> KeyError {
        KeyError::Damaged { label: self.label.clone(), source }
    }

    fn unexpected(&self, expected: &'static str) -> KeyError {
        KeyError::Label { found: self.label.clone(), expected }
    }

    /// The private key in `der`, which is in this block or is all of it.
    fn secret(&self, der: &[u8]) -> Result<SecretKey, KeyError> {
        let key = EcPrivateKey::from_der(der).map_err(|error| match has_unnamed_curve(der) {
            Ok(true) => KeyError::Algorithm(UNNAMED.to_owned()),
            _ => self.damaged(error),
        })?;
        match key.parameters {
            Some(EcParameters::NamedCurve(curve)) => check_curve(curve)?,
            // In PKCS #8 the curve stands outside; by itself, the size tells P-384 from its kin.
            None if key.private_key.len() == 48 => {}
            None => {
                let found = format!("a number of {} bytes", key.private_key.len());
                return Err(KeyError::Algorithm(found));
            }
        }
        SecretKey::try_from(key).map_err(|_| KeyError::Numbers)
    }
}

/// Whether a private key of SEC 1 (RFC 5915, section 3) spells its curve out (SEC 1, version 2.0,
/// appendix C.2, `SpecifiedECDomain`), which no reader here takes apart.
fn has_unnamed_curve(der: &[u8]) -> der::Result<bool> {
    let mut reader = SliceReader::new(der)?;
    let length = Header::decode(&mut reader)?.length;
    reader.read_nested(length, |reader| {
        u8::decode(reader)?;
        OctetStringRef::decode(reader)?;
        let found = reader.context_specific::<SequenceRef<'_>>(TagNumber::N0, TagMode::Explicit)?;
        reader.read_slice(reader.remaining_len())?;
        Ok(found.is_some())
    })
}

fn check_algorithm(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), KeyError> {
    if algorithm.oid != ALGORITHM_OID {
        return Err(KeyError::Algorithm(name(algorithm.oid)));
    }
    match algorithm.parameters_oid() {
        Ok(curve) => check_curve(curve),
        Err(_) => Err(KeyError::Algorithm(UNNAMED.to_owned())),
    }
}

fn check_curve(curve: ObjectIdentifier) -> Result<(), KeyError> {
    if curve == NistP384::OID { Ok(()) } else { Err(KeyError::Algorithm(name(curve))) }
}

fn name(oid: ObjectIdentifier) -> String {
    let text = oid.to_string();
    match NAMES.iter().find(|(known, _)| *known == text) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("of the kind {text}"),
    }
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const UNNAMED: &str = "on a curve without a name";

/// What else people have: RFC 8017, appendix C; RFC 5480, section 2.1.1.1; RFC 8410, section 3;
/// SEC 2, version 2.0, appendix A.2.1; RFC 5639, section 4.1.
const NAMES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.1", "RSA"),
    ("1.2.840.10045.3.1.7", "ECDSA on P-256"),
    ("1.3.132.0.35", "ECDSA on P-521"),
    ("1.3.132.0.10", "ECDSA on secp256k1"),
    ("1.3.36.3.3.2.8.1.1.11", "ECDSA on brainpoolP384r1"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
];
