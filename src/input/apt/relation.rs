//! Relations between packages, as in the `Depends` field (Debian Policy 7.1).

use std::cmp::Ordering;
use std::fmt;

use super::version;

/// One package of a relation, such as `libc6:any (>= 2.36)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The package asked for.
    pub name: &'a str,
    /// `any`, `native` or an architecture, when one is given.
    pub qualifier: Option<&'a str>,
    /// The version asked for.
    pub constraint: Option<(Operator, &'a str)>,
}

/// How a version must compare with the one given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`, and the obsolete `<`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the obsolete `>`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// A field's alternatives: all of the outer, any of the inner. What cannot be read is left out of
/// the inner list, so that a relation that nothing can satisfy stays one.
pub fn parse(field: &str) -> impl Iterator<Item = Vec<Relation<'_>>> {
    field.split(',').map(str::trim).filter(|group| !group.is_empty()).map(|group| {
        group.split('|').filter_map(|alternative| Relation::parse(alternative.trim())).collect()
    })
}

impl<'a> Relation<'a> {
    /// Reads one alternative, such as `foo:any (>= 1.0)`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (name, constraint) = match text.split_once('(') {
            Some((name, rest)) => (name.trim(), Some(parse_constraint(rest.strip_suffix(')')?)?)),
            None => (text, None),
        };
        let (name, qualifier) = match name.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (name, None),
        };
        // Lists of architectures and build profiles belong to source packages; they fail here too.
        let good = !name.is_empty() && !name.contains(char::is_whitespace);
        good.then_some(Self { name, qualifier, constraint })
    }

    /// Whether a package of this version will do.
    pub fn accepts(&self, candidate: &str) -> bool {
        self.constraint.is_none_or(|(operator, wanted)| {
            let order = version::compare(candidate, wanted);
            match operator {
                Operator::Earlier => order == Ordering::Less,
                Operator::EarlierOrEqual => order != Ordering::Greater,
                Operator::Equal => order == Ordering::Equal,
                Operator::LaterOrEqual => order != Ordering::Less,
                Operator::Later => order == Ordering::Greater,
            }
        })
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = self.constraint {
            let sign = OPERATORS.iter().find(|(_, known)| *known == operator).map_or("", |o| o.0);
            write!(f, " ({sign} {version})")?;
        }
        Ok(())
    }
}

fn parse_constraint(text: &str) -> Option<(Operator, &str)> {
    let text = text.trim();
    let (operator, version) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?.trim())))?;
    (!version.is_empty() && !version.contains(char::is_whitespace)).then_some((operator, version))
}

// The longer spellings first: `<` is a prefix of `<<`.
const OPERATORS: [(&str, Operator); 7] = [
    ("<<", Operator::Earlier),
    ("<=", Operator::EarlierOrEqual),
    (">>", Operator::Later),
    (">=", Operator::LaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::EarlierOrEqual),
    (">", Operator::LaterOrEqual),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_alternatives_versions_and_qualifiers() {
        let groups: Vec<_> =
            parse("kmod, python3:any (>= 3.9~) | b(<<2) , linux-base (= 4)").collect();
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0], [Relation { name: "kmod", qualifier: None, constraint: None }]);
        assert_eq!(
            groups[1],
            [
                Relation {
                    name: "python3",
                    qualifier: Some("any"),
                    constraint: Some((Operator::LaterOrEqual, "3.9~"))
                },
                Relation { name: "b", qualifier: None, constraint: Some((Operator::Earlier, "2")) },
            ]
        );
        assert!(groups[2][0].accepts("4") && !groups[2][0].accepts("4.1"));
    }

    #[test]
    fn what_cannot_be_read_satisfies_nothing() {
        for text in ["a (> )", "a (>= 1", "a (1)", "(>= 1)", "a b", "a [amd64]"] {
            assert_eq!(parse(text).next(), Some(Vec::new()), "{text}");
        }
        assert_eq!(parse(" , ,").next(), None);
    }
}
