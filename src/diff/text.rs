//! Two texts: the first line that is another.

use super::{Cause, Diff};

/// A line longer than this is cut when it is shown.
const SHOWN: usize = 120;

/// Compares texts and notes the first line that differs, and how many do.
pub(super) fn compare(diff: &mut Diff, cause: Cause, one: &str, two: &str) {
    if one == two {
        return;
    }
    let (first, second): (Vec<_>, Vec<_>) = (one.lines().collect(), two.lines().collect());
    let at = first.iter().zip(&second).take_while(|(one, two)| one == two).count();
    match (first.get(at), second.get(at)) {
        (Some(one), Some(two)) => {
            let end = first.len().min(second.len()) - at;
            let same_behind = first
                .iter()
                .rev()
                .zip(second.iter().rev())
                .take(end)
                .take_while(|(one, two)| one == two)
                .count();
            let lines = end - same_behind;
            let more = match lines {
                0 | 1 => String::new(),
                lines => format!(" (and up to line {})", at + lines),
            };
            diff.differs(cause, format!("line {}: `{}` → `{}`{more}", at + 1, cut(one), cut(two)));
        }
        (Some(line), None) => {
            diff.differs(cause, format!("line {}: `{}` is not in the second", at + 1, cut(line)));
        }
        (None, Some(line)) => {
            diff.differs(cause, format!("line {}: `{}` is not in the first", at + 1, cut(line)));
        }
        (None, None) => diff.differs(cause, "the same lines, with other ends of lines"),
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
