//! The digests in the forms that verifiers take reference values in.
//!
//! - Trustee: a message for its Reference Value Provider Service (confidential-containers/trustee
//!   78962cd, rvps/README.md, and rvps/src/extractors/sample), with the names that its default
//!   policy asks for (attestation-service/src/ear_token/ear_default_policy_cpu.rego).
//! - CoRIM: draft-ietf-rats-corim, with the profile of draft-deeglaze-amd-sev-snp-corim-profile-02,
//!   as Veraison reads it.
//!
//! Neither is signed. What a digest does not cover is not in them either: see `unmeasured` of the
//! record.

mod cbor;

use serde::Serialize;

use super::features::Policy;
use crate::digest::Sha384;
use cbor::Encoder;

/// Reference values for Trustee, of which `snp_launch_measurement` holds any number; the others are
/// what a report says of the guest policy.
#[derive(Clone, Debug, Serialize)]
pub struct Trustee {
    /// The digests, one of which must be attested.
    pub snp_launch_measurement: Vec<Sha384>,
    /// POLICY.ABI_MAJOR.
    pub snp_guest_abi_major: u64,
    /// POLICY.ABI_MINOR.
    pub snp_guest_abi_minor: u64,
    /// POLICY.SINGLE_SOCKET.
    pub snp_single_socket: bool,
    /// POLICY.SMT.
    pub snp_smt_allowed: bool,
}

impl Trustee {
    /// For guests that attest one of `digests` under `policy`.
    pub fn new(digests: Vec<Sha384>, Policy(policy): Policy) -> Self {
        Self {
            snp_launch_measurement: digests,
            snp_guest_abi_major: policy >> 8 & 0xff,
            snp_guest_abi_minor: policy & 0xff,
            snp_single_socket: policy >> 20 & 1 == 1,
            snp_smt_allowed: policy >> 16 & 1 == 1,
        }
    }
}

/// An unsigned CoRIM: a reference value for each digest, for guests whose report is signed by a
/// chip's key and for those whose report is signed by a provider's. Digests of one list would be
/// the same bytes under several algorithms; alternatives are triples of their own.
pub fn corim(id: &str, digests: &[Sha384]) -> Vec<u8> {
    let mut comid = Encoder::default();
    comid.map(2);
    // tag-identity: tag-id
    comid.uint(1).map(1).uint(0).text(id);
    // triples: reference-triples
    comid.uint(4).map(1).uint(0).array(CLASSES.len() * digests.len());
    for class in CLASSES {
        for digest in digests {
            comid.array(2);
            // environment-map: class: class-id, a tagged OID (RFC 9090)
            comid.map(1).uint(0).map(1).uint(0).tag(111).bytes(class);
            // measurement-map: mkey, and mval with digests
            comid.array(1).map(2).uint(0).uint(MEASUREMENT).uint(1);
            comid.map(1).uint(2).array(1).array(2).uint(SHA_384).bytes(&digest.0);
        }
    }
    let mut corim = Encoder::default();
    corim.tag(501).map(3);
    corim.uint(0).text(id);
    corim.uint(1).array(1).tag(506).bytes(&comid.finish());
    corim.uint(3).tag(32).text(PROFILE);
    corim.finish()
}

/// The profile's name in Veraison (services, scheme/sevsnp).
const PROFILE: &str = "tag:amd.com,2024:snp-corim-profile";

/// The profile, section 3.1.1: 1.3.6.1.4.1.3704.3.1, reports by a chip's key, and
/// 1.3.6.1.4.1.3704.3.2, reports by a provider's, in BER.
const CLASSES: [&[u8]; 2] = [
    &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x03, 0x01],
    &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x03, 0x02],
];

/// The profile's key of the report's MEASUREMENT.
const MEASUREMENT: u64 = 641;

/// IANA, "Named Information Hash Algorithm Registry".
const SHA_384: u64 = 7;
