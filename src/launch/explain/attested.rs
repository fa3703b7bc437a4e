//! The two fields of an attestation report that the search needs. Nothing here checks the report:
//! what is explained is what it claims.

use crate::digest::Sha384;
use crate::launch::cpu::Signature;

/// What a report claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attested {
    /// MEASUREMENT.
    pub measurement: Sha384,
    /// The CPU that made the report; reports before version 3 do not say.
    pub signature: Option<Signature>,
}

/// Bytes that are not a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Something around it, or something else.
    #[error("attestation report has {0} bytes: expected {SIZE}, without a header or certificates")]
    Size(usize),
    /// The first field is no version that has the measurement where it is looked for.
    #[error("attestation report has version {0}: expected 2 to 5")]
    Version(u32),
}

impl Attested {
    /// Reads a report as the AMD firmware writes it.
    pub fn of(report: &[u8]) -> Result<Self, ReportError> {
        let wrong = || ReportError::Size(report.len());
        let report: &[u8; SIZE] = report.try_into().map_err(|_| wrong())?;
        let version = u32::from_le_bytes(*field(report, 0).ok_or_else(wrong)?);
        if !(2..=5).contains(&version) {
            return Err(ReportError::Version(version));
        }
        let measurement = Sha384(*field(report, MEASUREMENT).ok_or_else(wrong)?);
        let [family, model, stepping]: [u8; 3] = *field(report, CPUID).ok_or_else(wrong)?;
        let signature = Signature::new(family.into(), model.into(), stepping.into()).ok();
        // CPUID_FAM_ID came with version 3; before it the bytes are reserved and zero.
        let signature = signature.filter(|_| version >= 3 && family != 0);
        Ok(Self { measurement, signature })
    }
}

fn field<const N: usize>(report: &[u8; SIZE], offset: usize) -> Option<&[u8; N]> {
    report.get(offset..)?.first_chunk()
}

/// SNP ABI, table "ATTESTATION_REPORT Structure".
const SIZE: usize = 0x4a0;

/// MEASUREMENT, 48 bytes.
const MEASUREMENT: usize = 0x90;

/// CPUID_FAM_ID, CPUID_MOD_ID and CPUID_STEP, a byte each; family and model with their extensions
/// added.
const CPUID: usize = 0x188;
