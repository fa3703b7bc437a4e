//! Stanzas of `Field: value` lines, the format of apt's sources and release files (deb822(5)).

/// One field. Its name is compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    /// The text after the colon, then each continuation line, all trimmed.
    pub(super) lines: Vec<&'a str>,
    /// Where the field begins, counted from 1.
    pub(super) line: usize,
}

/// A stanza: its fields in order.
pub(super) type Stanza<'a> = Vec<Field<'a>>;

/// A line that belongs to no field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) line: usize,
}

impl Field<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The words of the value, over all its lines.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flat_map(|line| line.split_ascii_whitespace())
    }
}

/// The stanzas of `text`. Lines that begin with `#` are comments, also between continuation lines.
pub(super) fn stanzas(text: &str) -> Result<Vec<Stanza<'_>>, Stray> {
    let mut stanzas = Vec::new();
    let mut stanza = Stanza::new();
    for (line, content) in (1..).zip(text.lines()) {
        if content.starts_with('#') {
            continue;
        }
        let trimmed = content.trim();
        if trimmed.is_empty() {
            if !stanza.is_empty() {
                stanzas.push(std::mem::take(&mut stanza));
            }
            continue;
        }
        if content.starts_with([' ', '\t']) {
            stanza.last_mut().ok_or(Stray { line })?.lines.push(trimmed);
            continue;
        }
        let (name, value) = content.split_once(':').ok_or(Stray { line })?;
        if name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace) {
            return Err(Stray { line });
        }
        stanza.push(Field { name, lines: vec![value.trim()], line });
    }
    if !stanza.is_empty() {
        stanzas.push(stanza);
    }
    Ok(stanzas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_continuations() {
        let text = "# top\nA: 1\n# inside\n 2 3\n\t4\nB:\n\n\n# between\nC: x: y\n";
        let stanzas = stanzas(text).unwrap();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0][0].words().collect::<Vec<_>>(), ["1", "2", "3", "4"]);
        assert_eq!(stanzas[0][1], Field { name: "B", lines: vec![""], line: 6 });
        assert!(stanzas[1][0].is("c"));
        assert_eq!(stanzas[1][0].lines, ["x: y"]);
    }

    #[test]
    fn stray_lines_are_named() {
        for (text, line) in [(" a", 1), ("A: 1\nb\n", 2), (": x", 1), ("a b: c", 1), ("-A: 1", 1)] {
            assert_eq!(stanzas(text), Err(Stray { line }), "{text}");
        }
    }
}
