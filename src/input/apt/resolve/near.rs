//! Names that someone who wrote another may have meant.

use crate::input::apt::index::Packages;

/// Up to three names in the index that are like `name`, the likest first.
pub(super) fn names(packages: &Packages, name: &str) -> Vec<String> {
    let mut near: Vec<(usize, &str)> = packages
        .iter()
        .map(|package| package.name())
        .filter_map(|known| Some((distance(name, known)?, known)))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect()
}

/// How the names read in a message.
pub(super) fn hint(near: &[String]) -> String {
    if near.is_empty() {
        return ": correct the name, or add the component that has it".to_owned();
    }
    let quoted: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("; did you mean {}?", quoted.join(" or "))
}

/// The number of insertions, deletions and replacements between two names, if they are few for
/// their length. One name that begins with the other counts as near.
fn distance(a: &str, b: &str) -> Option<usize> {
    const EXTENDED: usize = 3;
    if a.len() >= 4 && b.len() >= 4 && (b.starts_with(a) || a.starts_with(b)) {
        return Some(EXTENDED + a.len().abs_diff(b.len()));
    }
    let allowed = (a.len() / 4).clamp(1, 3);
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("ovmf-amdsev", "ovmf-amdsve"), Some(2));
        assert_eq!(distance("kmod", "kmodd"), Some(4));
        assert_eq!(distance("llama.cp", "llama.cpp"), Some(4));
        assert_eq!(distance("bash", "dash"), Some(1));
        assert_eq!(distance("bash", "lisp"), None);
        assert_eq!(distance("", "a"), Some(1));
    }
}
