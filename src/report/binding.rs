//! What a guest puts into REPORT_DATA, by named schemes. There is no common one: a report that is checked
//! by another scheme than it was made by says nothing.
//!
//! | scheme | REPORT_DATA |
//! |---|---|
//! | `raw` | 64 bytes, of which the verifier knows what they are |
//! | `sha256-spki` | SHA-256 of the public key (SubjectPublicKeyInfo in DER) that the guest's TLS has, then 32 zeros; no nonce, so a session with that key is what is fresh |
//! | `labelled` | SHA-512 of a label, a nonce, and what the guest has bound: what counterfoil's agent answers, see [`report_data`] |

use der::{Decode as _, Encode as _};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

pub use counterfoil_init::evidence::report_data;

/// The SubjectPublicKeyInfo in DER of a public key or a certificate, each in PEM or DER. Of several in PEM the
/// first counts: a chain begins with whom it is about.
pub fn spki(bytes: &[u8]) -> Option<Vec<u8>> {
    let der = match first_pem(bytes) {
        Some(block) => match der::pem::decode_vec(block.as_bytes()) {
            Ok(("PUBLIC KEY" | "CERTIFICATE", der)) => der,
            _ => return None,
        },
        None => bytes.to_vec(),
    };
    let certificate = x509_cert::Certificate::from_der(&der);
    match certificate {
        Ok(certificate) => certificate.tbs_certificate.subject_public_key_info.to_der().ok(),
        Err(_) => SubjectPublicKeyInfoOwned::from_der(&der).ok()?.to_der().ok(),
    }
}

/// The first block of PEM, of what may have words around it (RFC 7468, section 5.2).
fn first_pem(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let block = &text[text.find("-----BEGIN ")?..];
    let (body, end) = block.split_once("-----END ")?;
    let (label, _) = end.split_once("-----")?;
    let length = body.len() + "-----END ".len() + label.len() + "-----".len();
    block.get(..length)
}
