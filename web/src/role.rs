//! What a file is, told by what is in it and, where that does not say, by its name. A guess: the page shows
//! it and lets a person say otherwise, and whatever reads the file then is as strict as ever.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a file is taken for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `launch.json` of a release.
    LaunchRecord,
    /// `igvm.json` of a release.
    IgvmRecord,
    /// What a machine attested, in whatever it came.
    Report,
    /// Certificates and lists of revoked ones.
    Collateral,
    /// What the person who checks demands.
    Policy,
    /// The certificate of another root than AMD's, for trying things out. No file is taken for one unless
    /// a person says so.
    Root,
}

impl Role {
    /// What a file of this name looks like.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let json: Option<Value> = serde_json::from_str(text).ok();
        let has = |key: &str| json.as_ref().is_some_and(|json| json.get(key).is_some());
        let named = |ends: &[&str]| ends.iter().any(|end| name.to_ascii_lowercase().ends_with(end));
        if has("digest_before_vcpus") {
            return if has("digests") { Self::LaunchRecord } else { Self::IgvmRecord };
        }
        // A certificate or a list in DER is a SEQUENCE with a length of two bytes.
        if has("crls") || text.contains("-----BEGIN ") || bytes.starts_with(&[0x30, 0x82]) {
            return Self::Collateral;
        }
        // What configfs-tsm calls the certificates that a host handed to its guest.
        if named(&["auxblob", "certs", "certs.bin"]) {
            return Self::Collateral;
        }
        match named(&[".yaml", ".yml"]) {
            true => Self::Policy,
            false => Self::Report,
        }
    }

    /// With an article, for sentences.
    pub fn words(self) -> &'static str {
        match self {
            Self::LaunchRecord => "a launch record",
            Self::IgvmRecord => "a record of an IGVM file",
            Self::Report => "an attestation report",
            Self::Collateral => "certificates",
            Self::Policy => "a policy",
            Self::Root => "another root",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_what_is_in_them() {
        for (name, bytes, role) in [
            ("x", br#"{"digest_before_vcpus": "", "digests": []}"#.as_slice(), Role::LaunchRecord),
            ("x", br#"{"digest_before_vcpus": "", "digest": ""}"#, Role::IgvmRecord),
            ("x", br#"{"version": 1, "certificates": [], "crls": []}"#, Role::Collateral),
            ("chain", b"-----BEGIN CERTIFICATE-----\n", Role::Collateral),
            ("vcek.bin", b"\x30\x82\x05\x00", Role::Collateral),
            ("auxblob", b"\x00", Role::Collateral),
            ("mine.YAML", b"vmpl: 0\n", Role::Policy),
            ("report.bin", &[2, 0, 0, 0], Role::Report),
            ("evidence.json", br#"{"report": ""}"#, Role::Report),
        ] {
            assert_eq!(Role::of(name, bytes), role, "{name}");
        }
    }
}
