//! The attestation report, field by field: SEV-SNP firmware ABI (AMD publication 56860), table
//! "ATTESTATION_REPORT Structure". Every multi-byte number is little-endian.

use super::product::{Product, Tcb};
use super::reason::Reason;
use crate::digest::Sha384;
use crate::launch::{Policy, Signature};

/// The size of a report in bytes.
pub const SIZE: usize = 0x4a0;

/// How much of it is signed: everything before the signature.
pub const SIGNED: usize = 0x2a0;

/// VMPL in a report that the host asked for (SNP_HV_REPORT_REQ).
pub const HOST_VMPL: u32 = 0xffff_ffff;

/// A report, over its bytes as they were received. Nothing of it has been checked but its form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    bytes: Box<[u8; SIZE]>,
    version: Version,
}

/// The versions that are described in public.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// The first that machines in service write.
    V2,
    /// With the processor's family, model and stepping.
    V3,
    /// With the mitigation vectors.
    V5,
}

/// Who signed a report (KEY_INFO, SIGNING_KEY).
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signer {
    /// The chip's own key, of one TCB version.
    Vcek,
    /// A key that AMD gives to a cloud's operator.
    Vlek,
}

/// Bytes that are no report.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReportError {
    /// Too few, or too many.
    #[error("an attestation report has {SIZE} bytes, not {0}")]
    Size(usize),
    /// A version that nobody has described.
    #[error(
        "the report has version {0}: known are 2, 3 and 5, and 4 is described nowhere in public"
    )]
    Version(u32),
}

impl ReportError {
    /// The reason that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Size(_) => Reason::ReportSize,
            Self::Version(4) => Reason::ReportVersion4,
            Self::Version(_) => Reason::ReportVersion,
        }
    }
}

impl Report {
    /// Takes the bytes of a report.
    ///
    /// # Errors
    /// When they are too few or too many, or of a version that is not described.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        let bytes: Box<[u8; SIZE]> =
            Box::new(bytes.try_into().map_err(|_| ReportError::Size(bytes.len()))?);
        let version = match u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) {
            2 => Version::V2,
            3 => Version::V3,
            5 => Version::V5,
            other => return Err(ReportError::Version(other)),
        };
        Ok(Self { bytes, version })
    }

    /// The bytes as they were received.
    pub fn bytes(&self) -> &[u8; SIZE] {
        &self.bytes
    }

    /// The part that the signature is over.
    pub fn signed(&self) -> &[u8] {
        &self.bytes[..SIGNED]
    }

    /// R and S of the signature, each as 48 bytes, big-endian; none if one of them is longer, or if
    /// something stands behind them.
    pub fn signature(&self) -> Option<([u8; 48], [u8; 48])> {
        let component = |offset: usize| {
            let bytes: [u8; 72] = self.array(offset);
            let (low, high) = bytes.split_at(48);
            let mut number: [u8; 48] = low.try_into().ok()?;
            number.reverse();
            high.iter().all(|byte| *byte == 0).then_some(number)
        };
        let rest = self.bytes[SIGNED + 144..].iter().all(|byte| *byte == 0);
        Some((component(SIGNED)?, component(SIGNED + 72)?)).filter(|_| rest)
    }

    /// VERSION.
    pub fn version(&self) -> Version {
        self.version
    }

    /// GUEST_SVN: what the ID block says of the guest's security version.
    pub fn guest_svn(&self) -> u32 {
        self.u32(0x04)
    }

    /// POLICY: what the guest was launched to allow.
    pub fn policy(&self) -> Policy {
        Policy(self.u64(0x08))
    }

    /// FAMILY_ID, from the ID block.
    pub fn family_id(&self) -> [u8; 16] {
        self.array(0x10)
    }

    /// IMAGE_ID, from the ID block.
    pub fn image_id(&self) -> [u8; 16] {
        self.array(0x20)
    }

    /// VMPL at which the report was asked for; [`HOST_VMPL`] when the host did.
    pub fn vmpl(&self) -> u32 {
        self.u32(0x30)
    }

    /// SIGNATURE_ALGO; 1 is ECDSA on P-384 with SHA-384.
    pub fn signature_algo(&self) -> u32 {
        self.u32(0x34)
    }

    /// CURRENT_TCB, as it stands in the report.
    pub fn current_tcb(&self) -> [u8; 8] {
        self.array(0x38)
    }

    /// PLATFORM_INFO.
    pub fn platform_info(&self) -> u64 {
        self.u64(0x40)
    }

    /// KEY_INFO.
    pub fn key_info(&self) -> u32 {
        self.u32(0x48)
    }

    /// AUTHOR_KEY_EN: whether there is a digest of an author key.
    pub fn author_key(&self) -> bool {
        self.key_info() & 1 != 0
    }

    /// MASK_CHIP_KEY: whether the host keeps the chip's key from signing.
    pub fn mask_chip_key(&self) -> bool {
        self.key_info() & 2 != 0
    }

    /// SIGNING_KEY.
    ///
    /// # Errors
    /// The reason, when it names no key.
    pub fn signer(&self) -> Result<Signer, Reason> {
        match self.key_info() >> 2 & 7 {
            0 => Ok(Signer::Vcek),
            1 => Ok(Signer::Vlek),
            7 => Err(Reason::ReportUnsigned),
            _ => Err(Reason::ReportSigningKey),
        }
    }

    /// REPORT_DATA: what the guest gave to be signed.
    pub fn report_data(&self) -> [u8; 64] {
        self.array(0x50)
    }

    /// MEASUREMENT: the launch digest.
    pub fn measurement(&self) -> Sha384 {
        Sha384(self.array(0x90))
    }

    /// HOST_DATA: what the host gave at launch.
    pub fn host_data(&self) -> [u8; 32] {
        self.array(0xc0)
    }

    /// ID_KEY_DIGEST: of the key that signed the ID block; zero without one.
    pub fn id_key_digest(&self) -> Sha384 {
        Sha384(self.array(0xe0))
    }

    /// AUTHOR_KEY_DIGEST: of the key that signed the ID key; zero without one.
    pub fn author_key_digest(&self) -> Sha384 {
        Sha384(self.array(0x110))
    }

    /// REPORT_ID: of this guest.
    pub fn report_id(&self) -> [u8; 32] {
        self.array(0x140)
    }

    /// REPORT_ID_MA: of the guest's migration agent; all ones without one.
    pub fn report_id_ma(&self) -> [u8; 32] {
        self.array(0x160)
    }

    /// REPORTED_TCB, as it stands in the report: the version that the signing key is of.
    pub fn reported_tcb(&self) -> [u8; 8] {
        self.array(0x180)
    }

    /// The processor, which versions before 3 do not say.
    pub fn cpu(&self) -> Option<Signature> {
        let [family, model, stepping]: [u8; 3] = self.array(0x188);
        let said = self.version >= Version::V3;
        Signature::new(family.into(), model.into(), stepping.into())
            .ok()
            .filter(|_| said && family != 0)
    }

    /// CPUID_FAM_ID, CPUID_MOD_ID and CPUID_STEP, whether or not there is such a processor; versions before 3 have
    /// none.
    pub fn cpuid(&self) -> Option<[u8; 3]> {
        (self.version >= Version::V3).then(|| self.array(0x188))
    }

    /// CHIP_ID; zero where the host masks it, and under a VLEK.
    pub fn chip_id(&self) -> [u8; 64] {
        self.array(0x1a0)
    }

    /// Whether CHIP_ID says which chip it is.
    pub fn has_chip_id(&self) -> bool {
        self.chip_id() != [0; 64]
    }

    /// COMMITTED_TCB, as it stands in the report: what the host can no longer go back behind.
    pub fn committed_tcb(&self) -> [u8; 8] {
        self.array(0x1e0)
    }

    /// CURRENT_MAJOR, CURRENT_MINOR and CURRENT_BUILD of the SNP firmware.
    pub fn current_version(&self) -> (u8, u8, u8) {
        self.firmware_version(0x1e8)
    }

    /// COMMITTED_MAJOR, COMMITTED_MINOR and COMMITTED_BUILD of the SNP firmware.
    pub fn committed_version(&self) -> (u8, u8, u8) {
        self.firmware_version(0x1ec)
    }

    /// LAUNCH_TCB, as it stands in the report: of when the guest was launched, or came in.
    pub fn launch_tcb(&self) -> [u8; 8] {
        self.array(0x1f0)
    }

    /// LAUNCH_MIT_VECTOR, which versions before 5 do not have.
    pub fn launch_mitigations(&self) -> Option<u64> {
        (self.version >= Version::V5).then(|| self.u64(0x1f8))
    }

    /// CURRENT_MIT_VECTOR, which versions before 5 do not have.
    pub fn current_mitigations(&self) -> Option<u64> {
        (self.version >= Version::V5).then(|| self.u64(0x200))
    }

    /// The first byte that is set although this version reserves it. They are signed, so that only the
    /// firmware can have set them; what it means by them is not known.
    pub fn reserved(&self, product: Option<Product>) -> Option<usize> {
        let set = |(from, to): (usize, usize)| (from..to).find(|at| self.bytes[*at] != 0);
        // KEY_INFO has a meaning for its lowest five bits.
        let key_info = (self.key_info() >> 5 != 0).then_some(0x48);
        let tcb = [0x38, 0x180, 0x1e0, 0x1f0].into_iter().find(|at| {
            product.is_some_and(|product| !Tcb::reserved_is_zero(product, self.array(*at)))
        });
        let chip_id = product.and_then(|product| set((0x1a0 + product.chip_id_size(), 0x1e0)));
        self.unused().iter().copied().find_map(set).or(key_info).or(tcb).or(chip_id)
    }

    /// What the version reserves between the fields and is not zero: where, and the bytes.
    pub fn reserved_bytes(&self) -> Vec<(usize, &[u8])> {
        let part = |(from, to): &(usize, usize)| (*from, &self.bytes[*from..*to]);
        let set = |(_, bytes): &(usize, &[u8])| bytes.iter().any(|byte| *byte != 0);
        self.unused().iter().map(part).filter(set).collect()
    }

    /// Where the version has no field.
    fn unused(&self) -> &'static [(usize, usize)] {
        match self.version {
            Version::V2 => {
                &[(0x4c, 0x50), (0x188, 0x1a0), (0x1eb, 0x1ec), (0x1ef, 0x1f0), (0x1f8, SIGNED)]
            }
            Version::V3 => {
                &[(0x4c, 0x50), (0x18b, 0x1a0), (0x1eb, 0x1ec), (0x1ef, 0x1f0), (0x1f8, SIGNED)]
            }
            Version::V5 => {
                &[(0x4c, 0x50), (0x18b, 0x1a0), (0x1eb, 0x1ec), (0x1ef, 0x1f0), (0x208, SIGNED)]
            }
        }
    }

    fn firmware_version(&self, offset: usize) -> (u8, u8, u8) {
        let [build, minor, major]: [u8; 3] = self.array(offset);
        (major, minor, build)
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }

    /// `offset` is a constant of this file, and within.
    fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        std::array::from_fn(|index| self.bytes[offset + index])
    }
}

impl Version {
    /// The number in the report.
    pub fn number(self) -> u32 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V5 => 5,
        }
    }
}

impl Signer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        }
    }
}

/// PLATFORM_INFO: what each bit says (SNP ABI, revision 1.58, table "PLATFORM_INFO Field"), by the name that policies use.
pub const PLATFORM: &[(u32, &str, &str)] = &[
    (0, "smt", "simultaneous multithreading is on"),
    (1, "tsme", "all memory is encrypted, also that of no guest"),
    (2, "ecc", "the memory corrects errors"),
    (3, "rapl-disabled", "nobody can read the power consumption, which tells of what is computed"),
    (4, "ciphertext-hiding", "the host cannot read the guest's encrypted memory"),
    (
        5,
        "alias-check",
        "memory was checked for two addresses of one cell (CVE-2024-21944), since the last reset",
    ),
    (7, "tio", "trusted devices (SEV-TIO) are on"),
];

/// The guest policy's bits, by the name that policies use (SNP ABI, table "Guest Policy Structure"); what
/// one allows the host, or takes from it.
pub const GUEST_POLICY: &[(u32, &str, Effect)] = &[
    (16, "smt", Effect::Allows),
    (18, "migrate-ma", Effect::Allows),
    (19, "debug", Effect::Allows),
    (20, "single-socket", Effect::Requires),
    (21, "cxl", Effect::Allows),
    (22, "mem-aes-256-xts", Effect::Requires),
    (23, "rapl-disabled", Effect::Requires),
    (24, "ciphertext-hiding", Effect::Requires),
    (25, "page-swap-disabled", Effect::Requires),
];

/// Which way a bit of the guest policy goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Set, it allows something that weakens the guest.
    Allows,
    /// Set, it asks for something that protects the guest.
    Requires,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(version: u8) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        bytes[0] = version;
        bytes
    }

    #[test]
    fn only_described_versions_are_taken() {
        for version in [0, 1, 4, 6, 255] {
            let error = Report::parse(&report(version)).unwrap_err();
            assert_eq!(error, ReportError::Version(version.into()));
        }
        assert_eq!(ReportError::Version(4).reason(), Reason::ReportVersion4);
        assert_eq!(Report::parse(&[2; 1183]), Err(ReportError::Size(1183)));
        assert_eq!(Report::parse(&report(5)).unwrap().version(), Version::V5);
    }

    #[test]
    fn what_a_version_reserves_is_seen() {
        for (version, offset, reserved) in [
            (2, 0x188, true),
            (3, 0x188, false),
            (3, 0x18b, true),
            (3, 0x1f8, true),
            (5, 0x1f8, false),
            (5, 0x207, false),
            (5, 0x208, true),
            (5, 0x29f, true),
            (5, 0x4c, true),
            (5, 0x49, true),
            (5, 0x50, false),
        ] {
            let mut bytes = report(version);
            bytes[offset] = 1;
            let found = Report::parse(&bytes).unwrap().reserved(None);
            assert_eq!(found.is_some(), reserved, "version {version}, {offset:#x}: {found:?}");
        }
        let mut bytes = report(5);
        bytes[0x1a8] = 1;
        let report = Report::parse(&bytes).unwrap();
        assert_eq!(report.reserved(Some(Product::Turin)), Some(0x1a8));
        assert_eq!(report.reserved(Some(Product::Genoa)), None);
    }

    #[test]
    fn a_signature_has_nothing_around_it() {
        for offset in [SIGNED + 48, SIGNED + 71, SIGNED + 72 + 48, SIGNED + 144, SIZE - 1] {
            let mut bytes = report(5);
            bytes[offset] = 1;
            assert_eq!(Report::parse(&bytes).unwrap().signature(), None, "{offset:#x}");
        }
        let mut bytes = report(5);
        bytes[SIGNED] = 7;
        let (r, s) = Report::parse(&bytes).unwrap().signature().unwrap();
        assert_eq!((r[47], s), (7, [0; 48]));
    }
}
