//! SLSA Provenance v1 (<https://slsa.dev/spec/v1.2/build-provenance>): how a release was made, said by who made it,
//! and how it was made again, said by a rebuilder. A rebuilder's subjects are what the rebuilder got, and whether
//! that is the release stands in a by-product, so that disagreement is said in the same words as agreement.

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use super::intoto::{Digests, Predicate};
use super::json;
use super::launch::{Measurements, Recipe};
use crate::digest::Sha256;
use crate::report::time::Time;

/// The `predicateType`.
pub const TYPE: &str = "https://slsa.dev/provenance/v1";

/// How a release is made from its manifest and lock.
pub const BUILD: &str = "urn:counterfoil:build:v1";

/// How it is made again and compared.
pub const REBUILD: &str = "urn:counterfoil:rebuild:v1";

/// The by-product that has the verdict.
pub const VERDICT: &str = "verdict.json";

/// The predicate. The order of the fields is the order in the statement.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provenance {
    /// What was done.
    pub build_definition: BuildDefinition,
    /// Who did it.
    pub run_details: RunDetails,
}

/// What was done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`BUILD`] or [`REBUILD`].
    pub build_type: String,
    /// What was asked for.
    pub external_parameters: Parameters,
    /// Every input, by digest.
    pub resolved_dependencies: Vec<Resource>,
}

/// What was asked for: all that shapes the result.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// What to build.
    pub recipe: Recipe,
    /// Of a rebuild, what to compare it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// A release that was made again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// Its `launch.json`.
    pub launch_record: Digests,
    /// Its `statement.json`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Digests>,
}

/// Some bytes that went in or came out (in-toto Attestation Framework, `spec/v1/resource_descriptor.md`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resource {
    /// What this release calls it.
    pub name: String,
    /// What the world calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Which bytes.
    pub digest: Digests,
    /// Their media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The bytes themselves, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// Who did it, and what came of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RunDetails {
    /// Who.
    pub builder: Builder,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What came out beside the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<Resource>,
}

/// Who.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    /// The URI of who is answerable for how it was done.
    pub id: String,
    /// With what.
    pub version: Tool,
}

/// The program that did it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tool {
    /// Its version.
    pub counterfoil: String,
    /// SHA-256 of the program.
    pub tool_digest: String,
}

/// When.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// When it was done.
    pub finished_on: Time,
}

/// What a rebuilder found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Verdict {
    /// Whether every byte that could be compared is the same.
    #[serde(rename = "match")]
    pub matches: bool,
    /// Whether everything is the same that a launch digest covers or a launch is described by.
    pub measured: bool,
    /// The launch digests of what was rebuilt.
    pub measurements: Vec<Measurements>,
    /// The files that have other bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Files that were not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// What differs first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_difference: Option<FirstDifference>,
}

/// What differs first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FirstDifference {
    /// Its class.
    pub cause: String,
    /// Where.
    pub place: String,
    /// What.
    pub what: String,
}

impl Predicate for Provenance {
    const TYPE: &'static str = TYPE;

    fn check(&self) -> Result<(), String> {
        let (definition, run) = (&self.build_definition, &self.run_details);
        check_uri("builder.id", &run.builder.id)?;
        let is_rebuild = match definition.build_type.as_str() {
            BUILD => false,
            REBUILD => true,
            other => {
                return Err(format!("`buildType` is `{other}`: expected {BUILD} or {REBUILD}"));
            }
        };
        if definition.external_parameters.target.is_some() != is_rebuild {
            return Err("a rebuild has a target, and nothing else has".to_owned());
        }
        if run.metadata.is_none() && is_rebuild {
            return Err("a rebuild has a time".to_owned());
        }
        match (is_rebuild, self.verdict()?) {
            (true, None) => Err("a rebuild has a verdict".to_owned()),
            (false, Some(_)) => Err("only a rebuild has a verdict".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Provenance {
    /// What a rebuilder found; none of a publisher's.
    ///
    /// # Errors
    /// When there is something else in its place.
    pub fn verdict(&self) -> Result<Option<Verdict>, String> {
        let mut named = self.run_details.byproducts.iter().filter(|it| it.name == VERDICT);
        let (Some(found), None) = (named.next(), named.next()) else {
            return match self.run_details.byproducts.is_empty() {
                true => Ok(None),
                false => Err("expected one by-product, the verdict".to_owned()),
            };
        };
        let bytes = found.content.as_deref().and_then(|text| Base64::decode_vec(text).ok());
        let bytes = bytes.ok_or("the verdict has no content in Base64")?;
        if Sha256::of(&bytes) != found.digest.sha256 {
            return Err("the verdict has another digest than its content".to_owned());
        }
        let verdict: Verdict =
            json::parse(&bytes).map_err(|error| format!("the verdict is none: {error}"))?;
        match json::write(&verdict).is_ok_and(|again| again == bytes) {
            true => Ok(Some(verdict)),
            false => Err("the verdict differs from its canonical form".to_owned()),
        }
    }
}

impl Verdict {
    /// The by-product that says so.
    ///
    /// # Errors
    /// None that a verdict can cause.
    pub fn resource(&self) -> serde_json::Result<Resource> {
        let bytes = json::write(self)?;
        Ok(Resource {
            name: VERDICT.to_owned(),
            uri: None,
            digest: Digests::sha256(Sha256::of(&bytes)),
            media_type: Some("application/json".to_owned()),
            content: Some(Base64::encode_string(&bytes)),
        })
    }
}

/// Whether a name of somebody is a URI (RFC 3986): a scheme, a colon, and no spaces.
pub fn check_uri(field: &str, text: &str) -> Result<(), String> {
    let scheme = text.split_once(':').filter(|(_, rest)| !rest.is_empty());
    let good = scheme.is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    match good && text.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(format!(
            "`{field}` is `{text}`: expected a URI, such as `https://builder.example/counterfoil`"
        )),
    }
}
