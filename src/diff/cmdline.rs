//! Two command lines, word by word.

use super::{Cause, Diff};

/// Compares command lines; words with quotes in them are told apart as the kernel does.
pub(super) fn compare(diff: &mut Diff, one: &str, two: &str) {
    if one == two {
        return;
    }
    let (first, second) = (words(one), words(two));
    let (mut only_one, mut only_two) = (first.clone(), second.clone());
    for word in &first {
        if let Some(at) = only_two.iter().position(|other| other == word) {
            only_two.remove(at);
            if let Some(at) = only_one.iter().position(|other| other == word) {
                only_one.remove(at);
            }
        }
    }
    if only_one.is_empty() && only_two.is_empty() {
        let (cause, what) = match first == second {
            true => (Cause::Cmdline, "other spaces between the same words".to_owned()),
            false => {
                let at = first.iter().zip(&second).take_while(|(one, two)| one == two).count();
                let word =
                    |words: &[&str]| words.get(at).map_or(String::new(), |word| (*word).to_owned());
                let what = format!(
                    "the same words in another order, word {}: `{}` → `{}`",
                    at + 1,
                    word(&first),
                    word(&second)
                );
                (Cause::Order, what)
            }
        };
        return diff.differs(cause, what);
    }
    // A word that has the same key on both sides is one that changed.
    for word in &only_one {
        let changed = key(word)
            .and_then(|wanted| only_two.iter().position(|other| key(other) == Some(wanted)));
        match changed {
            Some(at) => {
                let other = only_two.remove(at);
                diff.differs(Cause::Cmdline, format!("`{word}` → `{other}`"));
            }
            None => diff.differs(Cause::Cmdline, format!("`{word}` is not in the second")),
        }
    }
    for word in &only_two {
        diff.differs(Cause::Cmdline, format!("`{word}` is not in the first"));
    }
}

fn key(word: &str) -> Option<&str> {
    word.split_once('=').map(|(key, _)| key)
}

/// Words, with spaces in quotes kept together (Linux `lib/cmdline.c`, `next_arg`).
fn words(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(one: &str, two: &str) -> Vec<(Cause, String)> {
        let mut diff = Diff::default();
        compare(&mut diff, one, two);
        diff.differences.into_iter().map(|found| (found.cause, found.what)).collect()
    }

    #[test]
    fn words_that_differ() {
        assert!(compared("a b", "a b").is_empty());
        assert_eq!(compared("a b=1 c", "a c b=2"), [(Cause::Cmdline, "`b=1` → `b=2`".to_owned())]);
        assert_eq!(
            compared("a", "a quiet"),
            [(Cause::Cmdline, "`quiet` is not in the first".into())]
        );
        assert_eq!(compared("a a", "a"), [(Cause::Cmdline, "`a` is not in the second".into())]);
        assert_eq!(compared("a b", "b a")[0].0, Cause::Order);
        assert_eq!(compared("a  b", "a b")[0].1, "other spaces between the same words");
        assert_eq!(
            compared("x=\"a b\"", "x=\"a c\""),
            [(Cause::Cmdline, "`x=\"a b\"` → `x=\"a c\"`".to_owned())]
        );
    }
}
