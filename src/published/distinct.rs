//! How many voters count, where those that are alike count once.

use std::collections::{BTreeMap, BTreeSet};

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
