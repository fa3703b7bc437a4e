//! Patterns of package names: `*` is any text, `?` any one character.

/// Whether `name` matches as a whole.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go back to when what follows the last star does not fit: it takes one byte more.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                (p, n) = (after, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("linux-*", "linux-base"),
            ("*", ""),
            ("lib?i*", "libzip4"),
            ("*a*b*", "xxaxxabb"),
            ("a**", "a"),
            ("libc6", "libc6"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("linux-*", "linux"),
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("*b", "abc"),
            ("lib*z", "libzip"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
