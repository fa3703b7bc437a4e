//! `urn:counterfoil:revocation:v1`: statements that are not to be believed any more, said without a release in
//! whose place they were. The subjects are the statements.

use serde::{Deserialize, Serialize};

use super::intoto::{Digests, Predicate, Statement, Subject};
use super::launch::{MAX, Revoked, check_revoked};
use crate::report::time::Time;

/// The `predicateType`.
pub const TYPE: &str = "urn:counterfoil:revocation:v1";

/// The predicate. The order of the fields is the order in the statement.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// When it was said.
    pub issued: Time,
    /// What is revoked, and why.
    pub revokes: Vec<Revoked>,
}

impl Predicate for Revocation {
    const TYPE: &'static str = TYPE;
    const MAX: usize = MAX;

    fn check(&self) -> Result<(), String> {
        match self.revokes.is_empty() {
            true => Err("statement revokes nothing".to_owned()),
            false => check_revoked(&self.revokes),
        }
    }
}

impl Revocation {
    /// The statement that says so.
    pub fn statement(self) -> Statement<Self> {
        let subject = |revoked: &Revoked| Subject {
            name: format!("statement:{}", revoked.statement),
            digest: Digests::sha256(revoked.statement),
        };
        Statement { subjects: self.revokes.iter().map(subject).collect(), predicate: self }
    }
}
