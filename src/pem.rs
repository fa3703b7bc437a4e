//! Keys as other programs write them (RFC 7468): a private key in PKCS #8 or SEC 1, a public key
//! in SubjectPublicKeyInfo. One reader for both curves: P-384 is what the AMD firmware knows, and P-256
//! what statements are signed with.

use p384::elliptic_curve::generic_array::typenum::Unsigned as _;
use p384::elliptic_curve::sec1::{
    FromEncodedPoint, ModulusSize, ToEncodedPoint, ValidatePublicKey,
};
use p384::elliptic_curve::zeroize::Zeroizing;
use p384::elliptic_curve::{self, ALGORITHM_OID, CurveArithmetic, PublicKey, SecretKey};
use p384::pkcs8::der::asn1::{OctetStringRef, SequenceRef};
use p384::pkcs8::der::{self, Decode as _, Header, Reader as _, SliceReader, pem};
use p384::pkcs8::der::{TagMode, TagNumber};
use p384::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use p384::pkcs8::{AssociatedOid, ObjectIdentifier, PrivateKeyInfo};
use sec1::{EcParameters, EcPrivateKey};

/// A curve as people name it.
pub(crate) trait Curve:
    elliptic_curve::Curve<FieldBytesSize: ModulusSize>
    + CurveArithmetic<AffinePoint: FromEncodedPoint<Self> + ToEncodedPoint<Self>>
    + AssociatedOid
    + ValidatePublicKey
{
    /// Its names: in FIPS 186, and in SEC 2 as `openssl ecparam` has it.
    const NAMES: Names;
}

/// What one curve is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Names {
    /// In FIPS 186-5.
    pub nist: &'static str,
    /// What `openssl ecparam -name` takes.
    pub openssl: &'static str,
}

impl Curve for p384::NistP384 {
    const NAMES: Names = Names { nist: "P-384", openssl: "secp384r1" };
}

impl Curve for p256::NistP256 {
    const NAMES: Names = Names { nist: "P-256", openssl: "prime256v1" };
}

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
    #[error("key is {found}: expected ECDSA on {} ({})", expected.nist, expected.openssl)]
    Algorithm {
        /// What it is.
        found: String,
        /// What it should be.
        expected: Names,
    },
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
    #[error("numbers of the key do not make one of {0}")]
    Numbers(&'static str),
}

/// Reads a private key. Its text is overwritten.
pub(crate) fn private<C: Curve>(pem: Vec<u8>) -> Result<SecretKey<C>, KeyError> {
    let pem = Zeroizing::new(pem);
    let block = Block::first(&pem, "PRIVATE KEY")?;
    match block.label.as_str() {
        "PRIVATE KEY" => {
            let info = PrivateKeyInfo::from_der(&block.der).map_err(|e| block.damaged(e))?;
            check_algorithm::<C>(&info.algorithm)?;
            block.secret(info.private_key)
        }
        "EC PRIVATE KEY" => block.secret(&block.der),
        _ => Err(block.unexpected("PRIVATE KEY` or `EC PRIVATE KEY")),
    }
}

/// Reads a public key.
pub(crate) fn public<C: Curve>(pem: &[u8]) -> Result<PublicKey<C>, KeyError> {
    let block = Block::first(pem, PUBLIC)?;
    match block.label.as_str() {
        PUBLIC => public_der(&block.der),
        _ => Err(block.unexpected(PUBLIC)),
    }
}

/// Reads a public key without its PEM.
pub(crate) fn public_der<C: Curve>(der: &[u8]) -> Result<PublicKey<C>, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der)
        .map_err(|source| KeyError::Damaged { label: PUBLIC.to_owned(), source })?;
    check_algorithm::<C>(&info.algorithm)?;
    let key = PublicKey::from_sec1_bytes(info.subject_public_key.raw_bytes());
    key.map_err(|_| KeyError::Numbers(C::NAMES.nist))
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
    fn secret<C: Curve>(&self, der: &[u8]) -> Result<SecretKey<C>, KeyError> {
        let key = EcPrivateKey::from_der(der).map_err(|error| match has_unnamed_curve(der) {
            Ok(true) => other::<C>(UNNAMED.to_owned()),
            _ => self.damaged(error),
        })?;
        match key.parameters {
            Some(EcParameters::NamedCurve(curve)) => check_curve::<C>(curve)?,
            // In PKCS #8 the curve stands outside; by itself, the size tells P-384 from its kin.
            None if key.private_key.len() == C::FieldBytesSize::USIZE => {}
            None => {
                return Err(other::<C>(format!("a number of {} bytes", key.private_key.len())));
            }
        }
        SecretKey::try_from(key).map_err(|_| KeyError::Numbers(C::NAMES.nist))
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

fn check_algorithm<C: Curve>(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), KeyError> {
    if algorithm.oid != ALGORITHM_OID {
        return Err(other::<C>(name(algorithm.oid)));
    }
    match algorithm.parameters_oid() {
        Ok(curve) => check_curve::<C>(curve),
        Err(_) => Err(other::<C>(UNNAMED.to_owned())),
    }
}

fn check_curve<C: Curve>(curve: ObjectIdentifier) -> Result<(), KeyError> {
    if curve == C::OID { Ok(()) } else { Err(other::<C>(name(curve))) }
}

fn other<C: Curve>(found: String) -> KeyError {
    KeyError::Algorithm { found, expected: C::NAMES }
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
const PUBLIC: &str = "PUBLIC KEY";
const UNNAMED: &str = "on a curve without a name";

/// What else people have: RFC 8017, appendix C; RFC 5480, section 2.1.1.1; RFC 8410, section 3;
/// SEC 2, version 2.0, appendix A.2.1; RFC 5639, section 4.1.
const NAMES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.1", "RSA"),
    ("1.2.840.10045.3.1.7", "ECDSA on P-256"),
    ("1.3.132.0.34", "ECDSA on P-384"),
    ("1.3.132.0.35", "ECDSA on P-521"),
    ("1.3.132.0.10", "ECDSA on secp256k1"),
    ("1.3.36.3.3.2.8.1.1.11", "ECDSA on brainpoolP384r1"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
];
