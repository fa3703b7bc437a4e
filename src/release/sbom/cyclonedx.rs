//! As much of CycloneDX 1.6 (ECMA-424) as a release needs. The order of the fields is the order in the
//! file, and lists are sorted by whoever fills them in: the same release has the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::digest::Sha256;

/// A bill of materials. There is no time in it: that would be of the machine, not of the release.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bom {
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

/// What the bill is of, and what wrote it.
#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    pub(super) lifecycles: Vec<Lifecycle>,
    pub(super) tools: Tools,
    pub(super) component: Component,
    pub(super) properties: Vec<Property>,
}

#[derive(Debug, Serialize)]
pub(super) struct Lifecycle {
    pub(super) phase: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Tools {
    pub(super) components: Vec<Component>,
}

/// A part. Which parts a package has beyond its bytes is not known, and so not said.
#[derive(Debug, Default, Serialize)]
pub(super) struct Component {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "String::is_empty")]
    pub(super) reference: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<Scope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purl: Option<String>,
    #[serde(rename = "externalReferences", skip_serializing_if = "Vec::is_empty")]
    pub(super) places: Vec<Place>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) components: Vec<Self>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<Property>,
}

/// Whether something is in the image, the stronger first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// It is.
    Required,
    /// It only took part in making it.
    Excluded,
}

#[derive(Debug, Serialize)]
pub(super) struct Hash {
    alg: &'static str,
    content: Sha256,
}

/// Where something can be had.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    url: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Property {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    depends_on: BTreeSet<String>,
}

impl Bom {
    /// The bill's bytes. Its number is made from all the rest: the same bill has the same number, and
    /// another has another, so that others can refer to it.
    pub(super) fn to_json(
        metadata: Metadata,
        components: Vec<Component>,
        edges: BTreeMap<String, BTreeSet<String>>,
    ) -> serde_json::Result<Vec<u8>> {
        let edge = |(reference, depends_on)| Dependency { reference, depends_on };
        let mut bom = Self {
            bom_format: "CycloneDX",
            spec_version: "1.6",
            serial_number: String::new(),
            version: 1,
            metadata,
            components,
            dependencies: edges.into_iter().map(edge).collect(),
        };
        bom.serial_number = urn(Sha256::of(serde_json::to_vec(&bom)?));
        let mut json = serde_json::to_vec_pretty(&bom)?;
        json.push(b'\n');
        Ok(json)
    }
}

impl Hash {
    pub(super) fn sha256(content: Sha256) -> Self {
        Self { alg: "SHA-256", content }
    }
}

impl Place {
    /// An address that somebody wrote: what no address has in it is encoded.
    pub(super) fn distribution(url: &str) -> Self {
        let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
        Self { url: super::purl::encoded(url, plain), kind: "distribution" }
    }
}

impl Property {
    pub(super) fn new(name: &str, value: impl ToString) -> Self {
        Self { name: format!("counterfoil:{name}"), value: value.to_string() }
    }
}

/// A UUID of version 8, whose bits are of one's own making (RFC 9562, 5.8).
fn urn(digest: Sha256) -> String {
    let mut bytes = digest.0;
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = Sha256(bytes).to_string();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]];
    format!("urn:uuid:{}", parts.join("-"))
}
