//! AMD's lists of revoked certificates (RFC 5280, section 5), in DER, signed by the root.

use der::Decode as _;
use x509_cert::crl::CertificateList;
use x509_cert::ext::Extension;
use x509_cert::spki::ObjectIdentifier;

use super::certificate::{Certificate, CertificateError, MAX, common_name, is_pss, split};
use super::time::Time;

/// A list, over its bytes as they were received.
#[derive(Clone, Debug)]
pub struct Crl {
    der: Vec<u8>,
    inner: CertificateList,
}

impl Crl {
    /// Takes one list in DER, with nothing behind it.
    ///
    /// # Errors
    /// When it is none, or is only a part of one.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX {
            return Err(CertificateError::Size(der.len()));
        }
        let wrong = |error: der::Error| CertificateError::Der(error.to_string());
        let inner = CertificateList::from_der(der).map_err(wrong)?;
        split(der).map_err(wrong)?;
        // A delta, or a list of certain certificates only, says so in a critical extension.
        let extensions = inner.tbs_cert_list.crl_extensions.as_deref().unwrap_or_default();
        let part = |extension: &&Extension| {
            let partial = [DELTA, DISTRIBUTION_POINT].contains(&extension.extn_id);
            partial || extension.critical && extension.extn_id != CRL_NUMBER
        };
        match extensions.iter().find(part) {
            Some(extension) => Err(CertificateError::Part(extension.extn_id)),
            None => Ok(Self { der: der.to_vec(), inner }),
        }
    }

    /// The bytes as they were received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// When it was made.
    pub fn this_update(&self) -> Time {
        self.inner.tbs_cert_list.this_update.into()
    }

    /// When the next one is due, if it says so.
    pub fn next_update(&self) -> Option<Time> {
        self.inner.tbs_cert_list.next_update.map(Time::from)
    }

    /// How many certificates it revokes.
    pub fn len(&self) -> usize {
        self.inner.tbs_cert_list.revoked_certificates.as_ref().map_or(0, Vec::len)
    }

    /// Whether it revokes none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it revokes `certificate`, which must be one of the list's issuer.
    pub(super) fn revokes(&self, certificate: &Certificate) -> bool {
        self.revokes_serial(certificate.serial())
    }

    /// Whether it revokes the certificate of the list's issuer that has this serial number. A list names
    /// nothing else of it.
    pub(super) fn revokes_serial(&self, serial: &[u8]) -> bool {
        let revoked = self.inner.tbs_cert_list.revoked_certificates.as_deref().unwrap_or_default();
        revoked.iter().any(|entry| number(entry.serial_number.as_bytes()) == number(serial))
    }

    /// The common name of whose it says that it is.
    pub fn issuer_name(&self) -> String {
        common_name(&self.inner.tbs_cert_list.issuer)
    }

    pub(super) fn is_pss(&self) -> bool {
        let Self { inner, .. } = self;
        inner.signature_algorithm == inner.tbs_cert_list.signature
            && is_pss(&inner.signature_algorithm)
    }

    pub(super) fn is_signed_by(&self, key: &rsa::RsaPublicKey) -> bool {
        split(&self.der).is_ok_and(|signed| signed.is_by(key))
    }
}

/// A number without the zeros that stand before it.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// RFC 5280, section 5.2.3: understood, in that nothing follows from it here.
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");

/// RFC 5280, sections 5.2.4 and 5.2.5: a list of changes, or of certain certificates.
const DELTA: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
