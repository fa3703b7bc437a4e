//! SLSA Verification Summary Attestation v1 (<https://slsa.dev/spec/v1.2/verification_summary>): that a release was
//! looked at, by which policy, what was looked at, and what came of it.

use serde::{Deserialize, Serialize};

use super::intoto::{Digests, Predicate};
use super::provenance::{Tool, check_uri};
use crate::report::time::Time;

/// The `predicateType`.
pub const TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// Two or more builders that have nothing to do with one another made the same bytes. It is of the working draft
/// of SLSA ("Verified Properties"), which asks for just that.
pub const REPRODUCED: &str = "SLSA_BUILD_REPRODUCED";

/// The predicate. The order of the fields is the order in the statement.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Summary {
    /// Who looked.
    pub verifier: Verifier,
    /// When.
    pub time_verified: Time,
    /// Which release: `urn:counterfoil:release:` and the SHA-256 of its lock, from which everything else follows. The
    /// specification leaves the name to whoever writes and whoever reads.
    pub resource_uri: String,
    /// By which policy, with a URI.
    pub policy: Input,
    /// At what: every attestation that was used.
    pub input_attestations: Vec<Input>,
    /// What came of it.
    pub verification_result: VerificationResult,
    /// What it reaches: [`REPRODUCED`].
    pub verified_levels: Vec<String>,
}

/// Who looked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// The URI of who is answerable.
    pub id: String,
    /// With what.
    pub version: Tool,
}

/// A file by its digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where it is, or what it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Which bytes.
    pub digest: Digests,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum VerificationResult {
    /// It is as the policy asks.
    #[serde(rename = "PASSED")]
    Passed,
    /// It is not.
    #[serde(rename = "FAILED")]
    Failed,
}

impl Predicate for Summary {
    const TYPE: &'static str = TYPE;

    fn check(&self) -> Result<(), String> {
        check_uri("verifier.id", &self.verifier.id)?;
        check_uri("resourceUri", &self.resource_uri)?;
        check_uri("policy.uri", self.policy.uri.as_deref().unwrap_or_default())?;
        if let Some(other) = self.verified_levels.iter().find(|level| *level != REPRODUCED) {
            return Err(format!(
                "level `{other}` is not one that is looked for: expected {REPRODUCED}"
            ));
        }
        let passed = self.verification_result == VerificationResult::Passed;
        if passed == self.verified_levels.is_empty() {
            return Err("a summary has a level exactly if it passed".to_owned());
        }
        if passed && self.input_attestations.len() < 2 {
            return Err(format!("{REPRODUCED} is of two builders or more"));
        }
        Ok(())
    }
}
