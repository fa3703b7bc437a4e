//! What a pipeline refuses: findings by their codes, or by their severity and above.

use super::{Finding, Severity, rules};

/// The findings that are refused.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Deny {
    codes: Vec<&'static str>,
    from: Option<Severity>,
}

/// A word that is neither a code nor a severity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no finding has the code `{word}`")]
pub struct UnknownCode {
    /// The word.
    pub word: String,
}

impl Deny {
    /// Reads codes and severities; of severities the least counts.
    ///
    /// # Errors
    /// At the first word that is neither: what is misspelt must not pass for denied.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownCode> {
        let mut deny = Self::default();
        let rules = rules();
        for word in words {
            let severity = Severity::ALL.into_iter().find(|severity| severity.name() == word);
            let rule = rules.iter().find(|rule| rule.code == word);
            match (severity, rule) {
                (Some(severity), _) => {
                    deny.from = Some(deny.from.map_or(severity, |from| from.min(severity)));
                }
                (None, Some(rule)) => deny.codes.push(rule.code),
                (None, None) => return Err(UnknownCode { word: word.to_owned() }),
            }
        }
        Ok(deny)
    }

    /// Whether a finding is refused.
    pub fn refuses(&self, finding: &Finding) -> bool {
        self.codes.contains(&finding.rule.code)
            || self.from.is_some_and(|from| finding.rule.severity >= from)
    }
}
