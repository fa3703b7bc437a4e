//! How many of whom are enough: the groups of C2SP's tlog-policy, for witnesses and rebuilders alike.

use std::collections::{BTreeMap, BTreeSet};

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
    pub(super) fn is_reached_by(
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

/// One of two things in which voters have to differ.
type Trait<'a> = &'a str;

/// The largest number of voters of whom no two are alike in either of two things: a largest matching between
/// the values of the first and those of the second (a voter is an edge). `None` is a voter's own value, which
/// no other has.
pub(super) fn distinct(voters: &[(Option<Trait<'_>>, Option<Trait<'_>>)]) -> usize {
    // What is missing gets a value of its own.
    let of = |index: usize, value: Option<Trait<'_>>| match value {
        Some(value) => format!("={value}"),
        None => format!("#{index}"),
    };
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (index, (first, second)) in voters.iter().enumerate() {
        edges.entry(of(index, *first)).or_default().insert(of(index, *second));
    }
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    edges.keys().filter(|first| augment(first, &edges, &mut taken, &mut BTreeSet::new())).count()
}

/// Finds a place for `first`, moving others if need be (Kuhn's algorithm).
fn augment<'a>(
    first: &'a str,
    edges: &'a BTreeMap<String, BTreeSet<String>>,
    taken: &mut BTreeMap<&'a str, &'a str>,
    tried: &mut BTreeSet<&'a str>,
) -> bool {
    let Some(seconds) = edges.get(first) else { return false };
    for second in seconds {
        if !tried.insert(second) {
            continue;
        }
        let holder = taken.get(second.as_str()).copied();
        if holder.is_none_or(|holder| augment(holder, edges, taken, tried)) {
            taken.insert(second, first);
            return true;
        }
    }
    false
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

    #[test]
    fn voters_that_are_alike_count_once() {
        let count = |voters: &[(&str, &str)]| {
            let voters: Vec<_> = voters.iter().map(|(a, b)| (Some(*a), Some(*b))).collect();
            distinct(&voters)
        };
        assert_eq!(count(&[("A", "x"), ("A", "y")]), 1);
        assert_eq!(count(&[("A", "x"), ("A", "y"), ("B", "x")]), 2);
        // Three organisations and three tools, and no three voters that differ in both.
        assert_eq!(count(&[("A", "x"), ("A", "y"), ("A", "z"), ("B", "x"), ("C", "x")]), 2);
        assert_eq!(distinct(&[(Some("A"), None), (Some("B"), None), (None, None)]), 3);
    }
}
