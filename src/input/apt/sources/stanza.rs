//! `Types:`, `URIs:`, `Suites:` …, the format of `*.sources`.

use super::{Entry, Problem, SignedBy};
use crate::input::apt::deb822::{self, Field, Stanza};

pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Problem> {
    deb822::stanzas(text)
        .map_err(|stray| (stray.line, "expected `Field: value`".to_owned()))?
        .iter()
        .map(parse_stanza)
        .collect()
}

fn parse_stanza(stanza: &Stanza<'_>) -> Result<Entry, Problem> {
    let line = stanza.first().map_or(1, |field| field.line);
    let find = |name: &str| stanza.iter().find(|field| field.is(name));
    let optional = |name: &str| -> Vec<String> {
        find(name).map(|field| field.words().map(str::to_owned).collect()).unwrap_or_default()
    };
    let needed = |name: &str| match optional(name) {
        words if words.is_empty() => Err((line, format!("the stanza has no `{name}`"))),
        words => Ok(words),
    };
    Ok(Entry {
        enabled: !find("Enabled").is_some_and(is_no),
        types: needed("Types")?,
        uris: needed("URIs")?,
        suites: needed("Suites")?,
        components: optional("Components"),
        architectures: optional("Architectures"),
        not_architectures: optional("Architectures-Remove"),
        signed_by: match find("Signed-By") {
            Some(field) => signed_by(field).map_err(|problem| (field.line, problem))?,
            None => SignedBy::Default,
        },
    })
}

fn is_no(field: &Field<'_>) -> bool {
    let value = field.lines.first().map(|value| value.to_ascii_lowercase());
    matches!(value.as_deref(), Some("no" | "false" | "without" | "off" | "disable" | "0"))
}

/// Paths and fingerprints, or an armoured key whose empty lines are written ` .`.
fn signed_by(field: &Field<'_>) -> Result<SignedBy, String> {
    if !field.lines.iter().any(|line| line.starts_with("-----BEGIN PGP")) {
        return SignedBy::from_words(field.words().flat_map(|word| word.split(',')));
    }
    let mut key = String::new();
    for line in field.lines.iter().skip_while(|line| line.is_empty()) {
        key.push_str(if *line == "." { "" } else { line });
        key.push('\n');
    }
    Ok(SignedBy::Embedded(key))
}
