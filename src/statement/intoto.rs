//! in-toto Statement v1 (in-toto Attestation Framework, `spec/v1/statement.md`): what is said (a predicate) of
//! which bytes (subjects, by their digests).
//!
//! The framework has readers ignore what they do not know. Statements read here are our own, which nobody has
//! reason to add to, so they are refused unless they are byte for byte what this program would write.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::dsse::MAX_PAYLOAD;
use super::json;
use crate::digest::{Sha256, Sha384};

/// `_type` of a statement.
pub const TYPE: &str = "https://in-toto.io/Statement/v1";

/// What a statement says.
pub trait Predicate: DeserializeOwned + Serialize {
    /// Its `predicateType`.
    const TYPE: &'static str;

    /// The largest statement that says so, in bytes.
    const MAX: usize = MAX_PAYLOAD;

    /// What is wrong with it although every field of it can be.
    ///
    /// # Errors
    /// What is not to be said.
    fn check(&self) -> Result<(), String>;
}

/// A statement with a predicate of the type `P`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement<P> {
    /// What it is about.
    pub subjects: Vec<Subject>,
    /// What it says.
    pub predicate: P,
}

/// Some bytes with a name (`spec/v1/resource_descriptor.md`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What they are called: in a release, the path.
    pub name: String,
    /// Which they are.
    pub digest: Digests,
}

/// Digests of the same bytes (`spec/v1/digest_set.md`). A launch digest is never here: it is no hash of any
/// file's bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// Their SHA-256.
    pub sha256: Sha256,
    /// Their SHA-384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha384: Option<Sha384>,
}

/// Bytes that are no such statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not JSON of this form.
    #[error("not an in-toto statement of the kind `{predicate}`")]
    Json {
        /// The expected predicate's type.
        predicate: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Another version of the framework.
    #[error("`_type` is `{0}`: expected `{TYPE}`")]
    Type(String),
    /// It says something else.
    #[error("`predicateType` is `{found}`: expected `{expected}`")]
    Predicate {
        /// What it says.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// The right values in another spelling.
    #[error(
        "statement differs from its canonical form: expected the bytes that `counterfoil` wrote"
    )]
    NotCanonical,
    /// About nothing.
    #[error("statement has no subject")]
    NoSubject,
    /// Two subjects of one name.
    #[error("statement has two subjects `{0}`")]
    Twice(String),
    /// Something that is not to be said.
    #[error("{0}")]
    Says(String),
    /// Too much.
    #[error("statement has {size} bytes: expected at most {max}")]
    Size {
        /// How many it has.
        size: usize,
        /// How many it may have.
        max: usize,
    },
}

/// The `predicateType` of a payload, to tell which [`Statement`] to read it as.
///
/// # Errors
/// When it is not an in-toto statement.
pub fn predicate_type(payload: &[u8]) -> Result<String, StatementError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(rename = "_type")]
        kind: String,
        predicate_type: String,
    }
    let typed: Typed =
        json::parse(payload).map_err(|source| StatementError::Json { predicate: "any", source })?;
    if typed.kind != TYPE {
        return Err(StatementError::Type(typed.kind));
    }
    Ok(typed.predicate_type)
}

impl<P: Predicate> Statement<P> {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is another kind of statement, or not written as [`Self::to_json`] writes it.
    pub fn from_json(payload: &[u8]) -> Result<Self, StatementError> {
        let found = predicate_type(payload)?;
        if found != P::TYPE {
            return Err(StatementError::Predicate { found, expected: P::TYPE });
        }
        let text: Text<P> = json::parse(payload).map_err(not::<P>)?;
        let statement = Self { subjects: text.subject, predicate: text.predicate };
        if statement.to_json()? != payload {
            return Err(StatementError::NotCanonical);
        }
        Ok(statement)
    }

    /// The payload: these bytes are signed.
    ///
    /// # Errors
    /// When it is about nothing, or about one name twice, or says what is not to be said, or too much.
    pub fn to_json(&self) -> Result<Vec<u8>, StatementError> {
        if self.subjects.is_empty() {
            return Err(StatementError::NoSubject);
        }
        let mut names: Vec<_> = self.subjects.iter().map(|subject| &subject.name).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(StatementError::Twice(pair[0].clone()));
        }
        self.predicate.check().map_err(StatementError::Says)?;
        let json = json::write(&TextOut {
            kind: TYPE,
            subject: &self.subjects,
            predicate_type: P::TYPE,
            predicate: &self.predicate,
        })
        .map_err(not::<P>)?;
        match json.len() {
            size if size > P::MAX => Err(StatementError::Size { size, max: P::MAX }),
            _ => Ok(json),
        }
    }

    /// The subject of this name.
    pub fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name)
    }
}

impl Digests {
    /// A SHA-256 alone.
    pub fn sha256(sha256: Sha256) -> Self {
        Self { sha256, sha384: None }
    }
}

impl Subject {
    /// Bytes that are at hand.
    pub fn of(name: impl Into<String>, bytes: &[u8]) -> Self {
        let digest = Digests { sha256: Sha256::of(bytes), sha384: Some(Sha384::of(bytes)) };
        Self { name: name.into(), digest }
    }
}

fn not<P: Predicate>(source: serde_json::Error) -> StatementError {
    StatementError::Json { predicate: P::TYPE, source }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Text<P> {
    #[serde(rename = "_type")]
    #[allow(dead_code, reason = "looked at before")]
    kind: String,
    subject: Vec<Subject>,
    #[allow(dead_code, reason = "looked at before")]
    predicate_type: String,
    predicate: P,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TextOut<'a, P> {
    #[serde(rename = "_type")]
    kind: &'a str,
    subject: &'a [Subject],
    predicate_type: &'a str,
    predicate: &'a P,
}
