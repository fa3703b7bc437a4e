//! `deb [option=value …] uri suite [component …]`, the format of `*.list`.

use super::{Entry, Problem, SignedBy};

pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            entries.push(parse_line(line).map_err(|problem| (number, problem))?);
        }
    }
    Ok(entries)
}

fn parse_line(line: &str) -> Result<Entry, String> {
    let (kind, rest) = word(line);
    if kind != "deb" && kind != "deb-src" {
        return Err(format!("`{kind}` is not a type of source, expected `deb` or `deb-src`"));
    }
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("`[` without `]`")?,
        None => ("", rest),
    };
    let (uri, rest) = uri(rest.trim());
    let mut words = rest.split_ascii_whitespace().map(str::to_owned);
    let mut entry = Entry {
        enabled: true,
        types: vec![kind.to_owned()],
        uris: vec![uri.to_owned()],
        suites: vec![words.next().ok_or("expected a uri and then a suite")?],
        components: words.collect(),
        architectures: Vec::new(),
        not_architectures: Vec::new(),
        signed_by: SignedBy::Default,
    };
    for option in options.split_ascii_whitespace() {
        let (name, value) =
            option.split_once('=').ok_or_else(|| format!("option `{option}` has no `=`"))?;
        let values = || value.split(',');
        match name.to_ascii_lowercase().as_str() {
            "arch" | "arch+" => entry.architectures.extend(values().map(str::to_owned)),
            "arch-" => entry.not_architectures.extend(values().map(str::to_owned)),
            "signed-by" => entry.signed_by = SignedBy::from_words(values())?,
            // Options that loosen apt's checks loosen nothing here; the others do not matter.
            _ => {}
        }
    }
    Ok(entry)
}

fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// The URI, which may have spaces inside brackets: `cdrom:[Debian 13 …]/`.
fn uri(text: &str) -> (&str, &str) {
    let mut depth = 0u32;
    let end = text.find(|c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && c.is_whitespace()
    });
    text.split_at(end.unwrap_or(text.len()))
}
