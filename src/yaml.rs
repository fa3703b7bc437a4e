//! YAML in, strictly; canonical YAML out.
//!
//! Everything that reads YAML goes through [`parse`]: duplicate keys, merge keys, unknown fields and
//! loosely spelt booleans are errors with a line, a column and the line's text. Everything that
//! writes YAML goes through [`emit`], whose bytes are ours and do not move with a library.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::{MergeKeyPolicy, Spanned};

use crate::error::{Error, Kind, Result};

/// A longer line is not shown with an error.
const MAX_SHOWN: usize = 500;

/// Where in a file a value stands: line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// A value that remembers where it was written, for errors found after parsing.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub position: Position,
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        let position =
            Position { line: spanned.referenced.line(), column: spanned.referenced.column() };
        Ok(Self { value: spanned.value, position })
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// One YAML document, with the name its errors carry.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// The file as the user named it.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl Document<'_> {
    /// Parses the document as a `T`.
    ///
    /// # Errors
    /// [`Kind::Malformed`], pointing at the line and column.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            strict_booleans: true,
            merge_keys: MergeKeyPolicy::Error,
        };
        serde_saphyr::from_str_with_options(self.text, options).map_err(|error| {
            let position = error
                .location()
                .map(|location| Position { line: location.line(), column: location.column() });
            let whole = error.to_string();
            self.error_at(position.unwrap_or_default(), plain_words(bare_message(&whole)))
        })
    }

    /// An error about this document that shows the line it is about.
    pub fn error_at(self, position: Position, message: impl AsRef<str>) -> Error {
        let message = message.as_ref();
        let Position { line, column } = position;
        if line == 0 {
            return Error::new(Kind::Malformed, format!("{}: {message}", self.name));
        }
        let mut text = format!("{}:{line}:{column}: {message}", self.name);
        let index = usize::try_from(line - 1).unwrap_or(usize::MAX);
        if let Some(source) = self.text.lines().nth(index).filter(|line| line.len() < MAX_SHOWN) {
            let margin = line.to_string().len();
            let caret = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            let before: String =
                source.chars().take(caret).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let _ =
                write!(text, "\n{:margin$} |\n{line} | {source}\n{:margin$} | {before}^", "", "");
        }
        Error::new(Kind::Malformed, text)
    }
}

/// The message without the `line L column C` that the parser puts around it; ours stands in front.
fn bare_message(message: &str) -> &str {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = match message.strip_prefix("line ") {
        Some(rest) => rest.split_once(": ").map_or(message, |(_, tail)| tail),
        None => message,
    };
    match message.rfind(" at line ") {
        Some(at) => &message[..at],
        None => message,
    }
}

/// What a person who writes a manifest understands.
fn plain_words(message: &str) -> String {
    let words = [
        ("invalid u16", "not a whole number from 0 to 65535"),
        ("invalid u32", "not a whole number from 0 to 4294967295"),
        ("invalid u64", "not a whole number"),
        ("expected sequence start", "expected a list: `[a, b]`, or lines that begin with `- `"),
        ("expected mapping start", "expected keys and values: `key: value`"),
        ("expected string scalar", "expected text"),
    ];
    let known = words.iter().find(|(jargon, _)| message.starts_with(jargon));
    match (known, message.split_once(", set DuplicateKeyPolicy")) {
        (Some((_, plain)), _) => (*plain).to_owned(),
        (None, Some((head, _))) => head.to_owned(),
        (None, None) => message.to_owned(),
    }
}

/// Writes `value` as YAML: block style, two spaces, keys in the order given, one spelling for
/// everything. The result is valid YAML 1.2 and parses back to the same value.
///
/// # Panics
/// When `value` does not serialize, which a manifest or lock always does: its maps have text for
/// keys, and it holds neither floats nor byte strings. A digest of nothing must not pass for one.
pub fn emit(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("maps with text for keys serialize");
    let mut out = String::new();
    block(&value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                pad(indent, out);
                out.push_str(&scalar(key));
                out.push(':');
                nested(value, indent, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                pad(indent, out);
                out.push('-');
                match item {
                    // The first key stands on the dash's line; the others line up under it.
                    Value::Object(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        block(item, indent + 2, &mut inner);
                        out.push(' ');
                        out.push_str(inner.trim_start_matches(' '));
                    }
                    _ => nested(item, indent, out),
                }
            }
        }
        _ => {
            out.push_str(&flow(value));
            out.push('\n');
        }
    }
}

fn nested(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        _ => {
            out.push(' ');
            out.push_str(&flow(value));
            out.push('\n');
        }
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Plain where no reader of YAML 1.1 or 1.2 can take it for anything but a string; else a JSON
/// string, which is a YAML double-quoted scalar.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._+-~@%,".contains(c))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "nan" | "inf"
        );
    if plain {
        return text.to_owned();
    }
    // JSON leaves some characters as they are that YAML does not print (YAML 1.2, 5.1).
    let mut quoted = String::new();
    for c in Value::String(text.to_owned()).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(text: &str) -> Document<'_> {
        Document { name: "image.yaml", text }
    }

    #[test]
    fn errors_point_at_line_and_column() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Image {
            #[allow(dead_code)]
            path: String,
        }
        let error = document("path: x\nsha257: ab\n").parse::<Image>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "image.yaml:2:1: unknown field `sha257`, expected one of path\n  |\n2 | sha257: ab\n  | ^"
        );
    }

    #[test]
    fn duplicate_and_merge_keys_are_refused() {
        for text in ["a: 1\na: 2\n", "x: &x {a: 1}\ny:\n  <<: *x\n"] {
            let error = document(text).parse::<Value>().unwrap_err();
            assert_eq!(error.kind(), Kind::Malformed, "{text}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z0-9:/ ~#-]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z0-9 :-]{1,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back(value in values()) {
            let text = emit(&value);
            let back: Value = document(&text).parse().unwrap();
            prop_assert_eq!(back, value, "{}", text);
        }
    }
}
