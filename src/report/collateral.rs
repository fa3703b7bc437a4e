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
use super::wrapper::table;

/// The version of the file's form.
///
/// # Changelog
/// 1: certificates and lists in DER, each as base64, sorted.
pub const VERSION: u32 = 1;

/// How many certificates, and how many lists, are looked at. A chain has three, and there are two kinds.
pub const MOST: usize = 64;

/// Certificates and lists.
#[derive(Clone, Debug, Default)]
pub struct Collateral {
    /// In the order in which they came.
    pub certificates: Vec<Certificate>,
    /// In the order in which they came.
    pub crls: Vec<Crl>,
    /// When they were fetched, as whoever fetched them says.
    pub fetched: Option<Time>,
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
        let file: File = serde_json::from_str(text).map_err(|_| CollateralError::Unknown)?;
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
        for (index, block) in text.split("-----BEGIN ").skip(1).enumerate() {
            let wrong = || CollateralError::Base64(index + 1);
            let (label, rest) = block.split_once("-----").ok_or_else(wrong)?;
            let (body, end) = rest.split_once("-----END ").ok_or_else(wrong)?;
            if !end.starts_with(label) {
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
        // Which of the two it is can be told by which it parses as; what is wrong with one that is neither,
        // by the one that it is nearer to: a certificate.
        match Crl::parse(der) {
            Ok(crl) => self.push_crl(crl),
            Err(_) => self.add_certificate(der),
        }
    }

    /// Takes one certificate in DER.
    ///
    /// # Errors
    /// When it is none, or one too many.
    pub fn add_certificate(&mut self, der: &[u8]) -> Result<(), CollateralError> {
        let index = self.certificates.len() + 1;
        let certificate = Certificate::parse(der)
            .map_err(|error| CollateralError::Certificate { index, error })?;
        if self.certificates.len() == MOST {
            return Err(CollateralError::TooMany);
        }
        if self.certificates.iter().all(|known| known.der() != der) {
            self.certificates.push(certificate);
        }
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
        if self.crls.len() == MOST {
            return Err(CollateralError::TooMany);
        }
        if self.crls.iter().all(|known| known.der() != crl.der()) {
            self.crls.push(crl);
        }
        Ok(())
    }

    /// Takes what another has; the same twice is once.
    ///
    /// # Errors
    /// When there is too much.
    pub fn merge(&mut self, other: &Self) -> Result<(), CollateralError> {
        for certificate in &other.certificates {
            self.add_certificate(certificate.der())?;
        }
        for crl in &other.crls {
            self.push_crl(crl.clone())?;
        }
        self.fetched = self.fetched.or(other.fetched);
        Ok(())
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
