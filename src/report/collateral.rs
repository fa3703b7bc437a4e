//! What is needed beside a report to decide about it: certificates and lists of revoked ones, in one file
//! that can be carried to where no network is.
//!
//! Nothing in it needs to be believed. Everything is signed, and whatever does not lead to a pinned root is
//! of no use to whoever put it there.

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use super::certificate::{Certificate, CertificateError, Kind};
use super::crl::Crl;
use super::time::Time;
use super::wrapper::{table, unpack};

/// The version of the file's form.
///
/// # Changelog
/// 1: certificates and lists in DER, each as base64, sorted.
pub const VERSION: u32 = 1;

/// How many certificates, and how many lists, are taken from whoever asks: a fleet has one for each chip.
pub const MOST: usize = 4096;

/// How many of each are taken from the machine that is asked about. A chain has three, and there are two kinds.
pub(super) const MOST_IN_EVIDENCE: usize = 64;

/// Certificates and lists.
#[derive(Clone, Debug, Default)]
pub struct Collateral {
    /// In the order in which they came.
    pub certificates: Vec<Certificate>,
    /// In the order in which they came.
    pub crls: Vec<Crl>,
    /// When they were fetched, as whoever fetched them says.
    pub fetched: Option<Time>,
    /// What was given for a certificate or a list and cannot be read, in words. It is not passed over.
    pub damaged: Vec<String>,
}

/// Bytes that are no collateral.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CollateralError {
    /// Neither of the forms that are known.
    #[error(
        "neither a collateral file, nor certificates or lists in PEM or DER, nor a certificate table of an \
         extended report"
    )]
    Unknown,
    /// JSON that is not a collateral file.
    #[error("not the JSON of a collateral file: {0}")]
    Json(String),
    /// DER of something else.
    #[error("neither a certificate ({certificate}) nor a list of revoked ones ({list})")]
    Neither {
        /// Why it is no certificate.
        certificate: CertificateError,
        /// Why it is no list.
        list: CertificateError,
    },
    /// Version of the file.
    #[error("the collateral file has version {0}: known is {VERSION}")]
    Version(u32),
    /// One of the certificates.
    #[error("certificate {index}: {error}")]
    Certificate {
        /// Which, from 1.
        index: usize,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// One of the lists.
    #[error("list of revoked certificates {index}: {error}")]
    Crl {
        /// Which, from 1.
        index: usize,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// A line of base64, or what stands around it.
    #[error("entry {0} is not base64")]
    Base64(usize),
    /// More than anyone needs.
    #[error("more than {MOST} certificates or lists")]
    TooMany,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fetched: Option<Time>,
    certificates: Vec<String>,
    crls: Vec<String>,
}

#[derive(Deserialize)]
struct Thim {
    #[serde(rename = "vcekCert")]
    vcek: String,
    #[serde(rename = "certificateChain")]
    chain: String,
}

impl Collateral {
    /// Reads whatever people have certificates in: our own file, PEM (also several, also lists), one
    /// certificate or list in DER, the certificate table of an extended report (GHCB specification, section
    /// 4.1.8.1), which is what configfs-tsm has in `auxblob`.
    ///
    /// # Errors
    /// When it is none of these, or one of them and damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, CollateralError> {
        match Self::read_plain(bytes) {
            Err(CollateralError::Unknown) => {}
            read => return read,
        }
        // In what a machine's answer was taken from, too.
        let packed = unpack(bytes).ok_or(CollateralError::Unknown)?;
        Self::read_plain(&packed)
    }

    /// The same, of what is in nothing.
    pub(super) fn read_plain(bytes: &[u8]) -> Result<Self, CollateralError> {
        // What stands beside PEM need not be UTF-8.
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start();
        if text.starts_with('{') {
            return Self::read_json(text);
        }
        if text.contains("-----BEGIN ") {
            return Self::read_pem(text);
        }
        if let Some(entries) = table(bytes) {
            let mut found = Self::default();
            for entry in entries {
                match entry.starts_with(b"-----BEGIN ") {
                    true => found.merge(&Self::read_pem(&String::from_utf8_lossy(&entry))?)?,
                    false => found.take_der(&entry)?,
                }
            }
            return Ok(found);
        }
        // A SEQUENCE with a length of two bytes, as all of them have.
        if bytes.starts_with(&[0x30, 0x82]) {
            let mut found = Self::default();
            found.take_der(bytes)?;
            return Ok(found);
        }
        Err(CollateralError::Unknown)
    }

    fn read_json(text: &str) -> Result<Self, CollateralError> {
        // What Azure's instance metadata service gives at `/metadata/THIM/amd/certification`.
        if let Ok(Thim { vcek, chain }) = serde_json::from_str(text) {
            let mut found = Self::read_pem(&vcek)?;
            found.merge(&Self::read_pem(&chain)?)?;
            return Ok(found);
        }
        let wrong = |error: serde_json::Error| CollateralError::Json(error.to_string());
        let file: File = serde_json::from_str(text).map_err(wrong)?;
        if file.version != VERSION {
            return Err(CollateralError::Version(file.version));
        }
        let mut found = Self { fetched: file.fetched, ..Self::default() };
        for (index, text) in file.certificates.iter().enumerate() {
            let der = Base64::decode_vec(text).map_err(|_| CollateralError::Base64(index + 1))?;
            found.add_certificate(&der)?;
        }
        for (index, text) in file.crls.iter().enumerate() {
            let der = Base64::decode_vec(text).map_err(|_| CollateralError::Base64(index + 1))?;
            found.add_crl(&der)?;
        }
        Ok(found)
    }

    /// PEM (RFC 7468) as people have it: lines of any length, indented, with words between the blocks and
    /// keys among them.
    fn read_pem(text: &str) -> Result<Self, CollateralError> {
        let mut found = Self::default();
        let mut blocks = text.split("-----BEGIN ");
        // An end without its beginning is of a block that would be passed over.
        if blocks.next().is_some_and(|before| before.contains(END)) {
            return Err(CollateralError::Base64(1));
        }
        for (index, block) in blocks.enumerate() {
            let wrong = || CollateralError::Base64(index + 1);
            let (label, rest) = block.split_once("-----").ok_or_else(wrong)?;
            let (body, end) = rest.split_once(END).ok_or_else(wrong)?;
            if !end.starts_with(label) || end.contains(END) {
                return Err(wrong());
            }
            let digits: String = body.split_ascii_whitespace().collect();
            let der = || Base64::decode_vec(&digits).map_err(|_| wrong());
            match label {
                "CERTIFICATE" => found.add_certificate(&der()?)?,
                "X509 CRL" => found.add_crl(&der()?)?,
                _ => {}
            }
        }
        match found.certificates.is_empty() && found.crls.is_empty() {
            true => Err(CollateralError::Unknown),
            false => Ok(found),
        }
    }

    fn take_der(&mut self, der: &[u8]) -> Result<(), CollateralError> {
        let list = match Crl::parse(der) {
            Ok(crl) => return self.push_crl(crl),
            Err(error @ CertificateError::Part(_)) => {
                return Err(CollateralError::Crl { index: self.crls.len() + 1, error });
            }
            Err(error) => error,
        };
        let found = Certificate::parse(der);
        let found = found.map_err(|certificate| CollateralError::Neither { certificate, list })?;
        self.push_certificate(found)
    }

    /// Takes one certificate in DER.
    ///
    /// # Errors
    /// When it is none, or one too many.
    pub fn add_certificate(&mut self, der: &[u8]) -> Result<(), CollateralError> {
        let index = self.certificates.len() + 1;
        let certificate = Certificate::parse(der)
            .map_err(|error| CollateralError::Certificate { index, error })?;
        self.push_certificate(certificate)
    }

    fn push_certificate(&mut self, certificate: Certificate) -> Result<(), CollateralError> {
        if self.certificates.iter().any(|known| known.der() == certificate.der()) {
            return Ok(());
        }
        if self.certificates.len() == MOST {
            return Err(CollateralError::TooMany);
        }
        self.certificates.push(certificate);
        Ok(())
    }

    /// Takes one list in DER.
    ///
    /// # Errors
    /// When it is none, or one too many.
    pub fn add_crl(&mut self, der: &[u8]) -> Result<(), CollateralError> {
        let index = self.crls.len() + 1;
        self.push_crl(Crl::parse(der).map_err(|error| CollateralError::Crl { index, error })?)
    }

    fn push_crl(&mut self, crl: Crl) -> Result<(), CollateralError> {
        if self.crls.iter().any(|known| known.der() == crl.der()) {
            return Ok(());
        }
        if self.crls.len() == MOST {
            return Err(CollateralError::TooMany);
        }
        self.crls.push(crl);
        Ok(())
    }

    /// Takes what another has; the same twice is once.
    ///
    /// # Errors
    /// When there is too much.
    pub fn merge(&mut self, other: &Self) -> Result<(), CollateralError> {
        for certificate in &other.certificates {
            self.push_certificate(certificate.clone())?;
        }
        for crl in &other.crls {
            self.push_crl(crl.clone())?;
        }
        self.damaged.extend(other.damaged.iter().cloned());
        self.fetched = self.fetched.or(other.fetched);
        Ok(())
    }

    /// Both together, however many that is: each was counted when it was read.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        let unknown =
            |found: &&Certificate| self.certificates.iter().all(|it| it.der() != found.der());
        all.certificates.extend(other.certificates.iter().filter(unknown).cloned());
        let unknown = |found: &&Crl| self.crls.iter().all(|it| it.der() != found.der());
        all.crls.extend(other.crls.iter().filter(unknown).cloned());
        all
    }

    /// Whether bytes call themselves a certificate or a list, whether or not they can be read as some.
    pub fn is_claimed(bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let labels = ["CERTIFICATE-----", "X509 CRL-----", "\"crls\"", "\"certificateChain\""];
        labels.iter().any(|label| text.contains(label))
    }

    /// The certificates that are of no chain of AMD's by their names.
    pub fn strangers(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|certificate| certificate.kind().is_none())
    }

    /// The certificates of one kind.
    pub fn of_kind(&self, wanted: impl Fn(Kind) -> bool) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(move |certificate| certificate.kind().is_some_and(&wanted))
    }

    /// The file: the same for the same contents, whatever their order.
    ///
    /// # Errors
    /// None that is known: JSON of strings.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let sorted = |ders: Vec<&[u8]>| {
            let mut texts: Vec<String> = ders.into_iter().map(Base64::encode_string).collect();
            texts.sort();
            texts
        };
        let file = File {
            version: VERSION,
            fetched: self.fetched,
            certificates: sorted(self.certificates.iter().map(Certificate::der).collect()),
            crls: sorted(self.crls.iter().map(Crl::der).collect()),
        };
        let mut json = serde_json::to_vec_pretty(&file)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// RFC 7468, section 3.
const END: &str = "-----END ";
