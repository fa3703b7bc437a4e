//! AMD's certificates (publication 57230, "VCEK Certificate and KDS Interface Specification"; RFC 5280),
//! in DER. A signature is over the bytes as they were received.

use std::fmt;

use der::asn1::{Ia5StringRef, OctetStringRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use rsa::pkcs1::RsaPssParams;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::sha2::Sha384;
use rsa::signature::Verifier as _;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier};

use super::fields::Signer;
use super::product::Product;
use super::time::Time;

/// The longest certificate or list that is looked at. AMD's have less than two kilobytes.
pub const MAX: usize = 64 * 1024;

/// A certificate, over its bytes as they were received.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    inner: x509_cert::Certificate,
}

/// Something signed, apart: what is signed, by which algorithm, and the signature.
#[derive(Clone, Debug)]
pub(super) struct Signed<'a> {
    pub(super) tbs: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Bytes that are no certificate of AMD's form.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// No DER, or not of a certificate.
    #[error("not a certificate in DER: {0}")]
    Der(String),
    /// Larger than any.
    #[error("{0} bytes are more than a certificate has")]
    Size(usize),
    /// A list of revoked certificates that is not a whole one.
    #[error("extension {0} is not known, or makes it a part of a list")]
    Part(ObjectIdentifier),
}

/// What a certificate of a signing key says beyond the key (publication 57230, table 8).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endorsement {
    /// The product, without the stepping.
    pub product: Option<Product>,
    /// The product's name as it stands there, such as `Milan-B0`.
    pub product_name: String,
    /// FMC; Turin and later.
    pub fmc: Option<u8>,
    /// The security processor's boot loader.
    pub bootloader: u8,
    /// Its operating system.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
    /// The chip, in a certificate for a VCEK.
    pub hw_id: Option<Vec<u8>>,
    /// The cloud's operator, in a certificate for a VLEK.
    pub csp_id: Option<String>,
}

/// An extension that is not as AMD writes it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExtensionError {
    /// Not there.
    #[error("extension {0} is missing")]
    Missing(&'static str),
    /// Twice.
    #[error("extension {0} is there twice")]
    Twice(ObjectIdentifier),
    /// Its value is of another type, or out of range.
    #[error("extension {0} has a value that it cannot have")]
    Value(&'static str),
    /// Something that must be understood and is not (RFC 5280, section 4.2).
    #[error("critical extension {0} is not known")]
    Critical(ObjectIdentifier),
}

impl Certificate {
    /// Takes one certificate in DER, with nothing behind it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX {
            return Err(CertificateError::Size(der.len()));
        }
        let wrong = |error: der::Error| CertificateError::Der(error.to_string());
        let inner = x509_cert::Certificate::from_der(der).map_err(wrong)?;
        split(der).map_err(wrong)?;
        Ok(Self { der: der.to_vec(), inner })
    }

    /// The bytes as they were received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whom it is for, as one line.
    pub fn subject(&self) -> String {
        self.inner.tbs_certificate.subject.to_string()
    }

    /// The common name of whom it is for.
    pub fn name(&self) -> String {
        common_name(&self.inner.tbs_certificate.subject)
    }

    /// The common name of whom it says that it is by.
    pub fn issuer_name(&self) -> String {
        common_name(&self.inner.tbs_certificate.issuer)
    }

    /// What a certificate by its name is for; none if no chain of AMD's has such a one.
    pub fn kind(&self) -> Option<Kind> {
        Kind::named(&self.name())
    }

    /// Whether it says that it is for somebody of AMD's.
    pub fn is_amds_in_word(&self) -> bool {
        self.subject().contains("Advanced Micro Devices")
    }

    /// Its serial number, as bytes.
    pub fn serial(&self) -> &[u8] {
        self.inner.tbs_certificate.serial_number.as_bytes()
    }

    /// From when to when it is valid, both included.
    pub fn validity(&self) -> (Time, Time) {
        let validity = &self.inner.tbs_certificate.validity;
        (validity.not_before.into(), validity.not_after.into())
    }

    /// Whether its issuer's name is the subject of `issuer`.
    pub(super) fn names(&self, issuer: &Self) -> bool {
        self.inner.tbs_certificate.issuer == issuer.inner.tbs_certificate.subject
    }

    /// Whether both signature algorithms in it are the one that AMD signs by.
    pub(super) fn is_pss(&self) -> bool {
        let Self { inner, .. } = self;
        inner.signature_algorithm == inner.tbs_certificate.signature
            && is_pss(&inner.signature_algorithm)
    }

    /// Whether `key` signed it.
    pub(super) fn is_signed_by(&self, key: &rsa::RsaPublicKey) -> bool {
        split(&self.der).is_ok_and(|signed| signed.is_by(key))
    }

    /// Its key, if that is an RSA key.
    pub(super) fn rsa_key(&self) -> Option<rsa::RsaPublicKey> {
        let spki = self.inner.tbs_certificate.subject_public_key_info.to_der().ok()?;
        rsa::RsaPublicKey::from_public_key_der(&spki).ok()
    }

    /// Its key, if that is one on P-384.
    pub(super) fn p384_key(&self) -> Option<p384::ecdsa::VerifyingKey> {
        let spki = self.inner.tbs_certificate.subject_public_key_info.to_der().ok()?;
        let key = p384::PublicKey::from_public_key_der(&spki).ok()?;
        Some(key.into())
    }

    /// Its SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> Option<Vec<u8>> {
        self.inner.tbs_certificate.subject_public_key_info.to_der().ok()
    }

    /// Whether it may sign certificates (RFC 5280, sections 4.2.1.3 and 4.2.1.9).
    pub(super) fn is_ca(&self) -> bool {
        let tbs = &self.inner.tbs_certificate;
        let known = |extension: &Extension| {
            let known = [BASIC_CONSTRAINTS, KEY_USAGE].contains(&extension.extn_id);
            known || !extension.critical
        };
        let extensions = tbs.extensions.as_deref().unwrap_or_default();
        let Ok(Some((_, constraints))) = tbs.get::<BasicConstraints>() else { return false };
        let Ok(Some((_, usage))) = tbs.get::<KeyUsage>() else { return false };
        constraints.ca && usage.key_cert_sign() && extensions.iter().all(known)
    }

    /// Whether it may sign certificates that themselves sign some.
    pub(super) fn is_ca_of_cas(&self) -> bool {
        let constraints = self.inner.tbs_certificate.get::<BasicConstraints>();
        let alone = |length: Option<u8>| length == Some(0);
        self.is_ca()
            && constraints.is_ok_and(|found| {
                found.is_some_and(|(_, found)| !alone(found.path_len_constraint))
            })
    }

    /// Whether it says that it is by whom it is for.
    pub(super) fn names_itself(&self) -> bool {
        self.inner.tbs_certificate.issuer == self.inner.tbs_certificate.subject
    }

    /// What it says of the signing key that it is for.
    ///
    /// # Errors
    /// When it is not as AMD writes it.
    pub fn endorsement(&self) -> Result<Endorsement, ExtensionError> {
        let extensions = self.inner.tbs_certificate.extensions.as_deref().unwrap_or_default();
        for (index, extension) in extensions.iter().enumerate() {
            if extensions[..index].iter().any(|before| before.extn_id == extension.extn_id) {
                return Err(ExtensionError::Twice(extension.extn_id));
            }
            if extension.critical && !amd(extension.extn_id) {
                return Err(ExtensionError::Critical(extension.extn_id));
            }
        }
        let find = |oid: ObjectIdentifier| {
            let found = extensions.iter().find(|extension| extension.extn_id == oid);
            found.map(|extension| extension.extn_value.as_bytes())
        };
        let level = |(oid, name): (ObjectIdentifier, &'static str)| {
            find(oid)
                .map(|value| u8::from_der(value).map_err(|_| ExtensionError::Value(name)))
                .transpose()
        };
        let needed = |entry: (ObjectIdentifier, &'static str)| {
            level(entry)?.ok_or(ExtensionError::Missing(entry.1))
        };
        let text = |oid, name| {
            let text =
                |value| Ia5StringRef::from_der(value).map_err(|_| ExtensionError::Value(name));
            find(oid).map(|value| Ok(text(value)?.to_string())).transpose()
        };
        // Levels that no product has a use for: set, they would be a version of something unknown.
        for unused in UNUSED {
            if level(unused)?.is_some_and(|level| level != 0) {
                return Err(ExtensionError::Value(unused.1));
            }
        }
        match level((STRUCT_VERSION, "structVersion"))? {
            Some(0 | 1) => {}
            Some(_) => return Err(ExtensionError::Value("structVersion")),
            None => return Err(ExtensionError::Missing("structVersion")),
        }
        let product_name =
            text(PRODUCT_NAME, "productName")?.ok_or(ExtensionError::Missing("productName"))?;
        Ok(Endorsement {
            product: Product::of_certificate(&product_name),
            product_name,
            fmc: level((FMC_SPL, "fmcSPL"))?,
            bootloader: needed((BL_SPL, "blSPL"))?,
            tee: needed((TEE_SPL, "teeSPL"))?,
            snp: needed((SNP_SPL, "snpSPL"))?,
            microcode: needed((UCODE_SPL, "ucodeSPL"))?,
            hw_id: find(HW_ID).map(hw_id),
            csp_id: text(CSP_ID, "cspID")?,
        })
    }
}

/// The certificates of AMD's chains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Of a key that signs reports.
    Vek(Signer),
    /// Of the key that signs those: ASK over VCEKs, ASVK over VLEKs.
    Ask(Signer),
    /// AMD's root.
    Ark,
}

impl Kind {
    /// The kind by the common name: `SEV-VCEK`, `SEV-VLEK`, `SEV-Milan`, `SEV-VLEK-Milan`, `ARK-Milan`.
    fn named(name: &str) -> Option<Self> {
        let product = |name: &str| Product::named(name).is_some();
        match name {
            "SEV-VCEK" => return Some(Self::Vek(Signer::Vcek)),
            "SEV-VLEK" => return Some(Self::Vek(Signer::Vlek)),
            _ => {}
        }
        if let Some(rest) = name.strip_prefix("ARK-") {
            return product(rest).then_some(Self::Ark);
        }
        let rest = name.strip_prefix("SEV-")?;
        match rest.strip_prefix("VLEK-") {
            Some(rest) => product(rest).then_some(Self::Ask(Signer::Vlek)),
            None => product(rest).then_some(Self::Ask(Signer::Vcek)),
        }
    }
}

impl Signed<'_> {
    /// Whether `key` signed it: RSASSA-PSS (RFC 8017, section 8.1.2) with SHA-384 and a salt as long.
    pub(super) fn is_by(&self, key: &rsa::RsaPublicKey) -> bool {
        let Ok(signature) = rsa::pss::Signature::try_from(self.signature) else { return false };
        rsa::pss::VerifyingKey::<Sha384>::new(key.clone()).verify(self.tbs, &signature).is_ok()
    }
}

/// Takes apart what RFC 5280 calls a certificate or a list: a sequence of what is signed, the algorithm, and
/// the signature.
pub(super) fn split(der: &[u8]) -> der::Result<Signed<'_>> {
    let mut reader = SliceReader::new(der)?;
    let signed = reader.sequence(|reader| {
        let tbs = reader.tlv_bytes()?;
        reader.tlv_bytes()?;
        let signature = der::asn1::BitStringRef::decode(reader)?;
        let signature = signature.as_bytes().ok_or_else(|| der::Tag::BitString.value_error())?;
        Ok(Signed { tbs, signature })
    })?;
    reader.finish(signed)
}

/// Whether an algorithm is RSASSA-PSS with SHA-384, MGF1 with SHA-384, and 48 bytes of salt.
pub(super) fn is_pss(algorithm: &AlgorithmIdentifierOwned) -> bool {
    let Some(parameters) = &algorithm.parameters else { return false };
    let Ok(parameters) = parameters.to_der() else { return false };
    let Ok(parameters) = RsaPssParams::from_der(&parameters) else { return false };
    let mask = parameters.mask_gen.parameters.map(|hash| hash.oid);
    algorithm.oid == RSASSA_PSS
        && parameters.hash.oid == SHA_384
        && parameters.mask_gen.oid == MGF1
        && mask == Some(SHA_384)
        && parameters.salt_len == 48
}

/// The chip's identity stands there as it is, or in an OCTET STRING of its own: both are in use.
fn hw_id(value: &[u8]) -> Vec<u8> {
    match OctetStringRef::from_der(value) {
        Ok(inner) if [8, 64].contains(&inner.as_bytes().len()) => inner.as_bytes().to_vec(),
        _ => value.to_vec(),
    }
}

pub(super) fn common_name(name: &x509_cert::name::Name) -> String {
    let parts = name.0.iter().flat_map(|part| part.0.iter());
    let names = parts.filter(|part| part.oid == COMMON_NAME);
    let mut texts = names.map(|part| String::from_utf8_lossy(part.value.value()).into_owned());
    match (texts.next(), texts.next()) {
        (Some(name), None) => name,
        _ => String::new(),
    }
}

fn amd(oid: ObjectIdentifier) -> bool {
    let known =
        [BL_SPL, TEE_SPL, SNP_SPL, UCODE_SPL, FMC_SPL, HW_ID, CSP_ID, STRUCT_VERSION, PRODUCT_NAME];
    known.contains(&oid)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vek(signer) => signer.name(),
            Self::Ask(Signer::Vcek) => "ASK",
            Self::Ask(Signer::Vlek) => "ASVK",
            Self::Ark => "ARK",
        })
    }
}

// RFC 5280 and RFC 8017.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");

// Publication 57230, table 8.
const STRUCT_VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.1");
const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const BL_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const UCODE_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HW_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
const CSP_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");
const UNUSED: [(ObjectIdentifier, &str); 4] = [
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.4"), "spl_4"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.5"), "spl_5"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.6"), "spl_6"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.7"), "spl_7"),
];
