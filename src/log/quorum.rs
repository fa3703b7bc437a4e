//! How many of whom are enough: the groups of C2SP's tlog-policy, for witnesses and rebuilders alike.

use std::collections::BTreeSet;

/// A rule over names. Each name stands in it at most once, so that nobody counts twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Quorum {
    /// Nobody is needed.
    None,
    /// This one.
    Member(String),
    /// So many of these.
    Group {
        /// At least one.
        threshold: usize,
        /// At least as many.
        members: Vec<Self>,
    },
}

impl Quorum {
    /// Whether those for whom `holds` are enough.
    pub fn is_reached(&self, holds: &dyn Fn(&str) -> bool) -> bool {
        self.is_reached_by(holds, &|names| names.len())
    }

    /// Whether those for whom `holds` are enough, if so many members of one group count for `count`.
    pub fn is_reached_by(
        &self,
        holds: &dyn Fn(&str) -> bool,
        count: &dyn Fn(&[&str]) -> usize,
    ) -> bool {
        match self {
            Self::None => true,
            Self::Member(name) => holds(name),
            Self::Group { threshold, members } => {
                let mut names = Vec::new();
                let mut groups = 0;
                for member in members.iter().filter(|it| it.is_reached_by(holds, count)) {
                    match member {
                        Self::Member(name) => names.push(name.as_str()),
                        Self::None | Self::Group { .. } => groups += 1,
                    }
                }
                groups + count(&names) >= *threshold
            }
        }
    }

    /// Everybody whom it names.
    pub fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::None => BTreeSet::new(),
            Self::Member(name) => BTreeSet::from([name.as_str()]),
            Self::Group { members, .. } => members.iter().flat_map(Self::names).collect(),
        }
    }

    /// In words, with what is in it: `2 of (W1, W2, any of (X, Y))`.
    pub fn describe(&self) -> String {
        match self {
            Self::None => "nobody".to_owned(),
            Self::Member(name) => name.clone(),
            Self::Group { threshold, members } => {
                let members: Vec<_> = members.iter().map(Self::describe).collect();
                format!("{threshold} of ({})", members.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(threshold: usize, members: &[&str]) -> Quorum {
        let members = members.iter().map(|name| Quorum::Member((*name).to_owned())).collect();
        Quorum::Group { threshold, members }
    }

    #[test]
    fn groups_count_their_members() {
        let inner = group(2, &["a", "b", "c"]);
        let outer = Quorum::Group { threshold: 2, members: vec![inner, group(1, &["d", "e"])] };
        let reached = |who: &[&str]| outer.is_reached(&|name| who.contains(&name));
        assert!(reached(&["a", "c", "e"]));
        assert!(!reached(&["a", "b", "c"]));
        assert!(!reached(&["a", "d", "e"]));
        assert!(Quorum::None.is_reached(&|_| false));
        assert_eq!(outer.describe(), "2 of (2 of (a, b, c), 1 of (d, e))");
    }
}
