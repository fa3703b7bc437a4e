//! JSON (RFC 8259) that has one meaning: an object has no name twice (of which readers in other languages
//! take either), and numbers are integers.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess,
    Visitor,
};

/// Reads `json`, all of it.
///
/// # Errors
/// When it is not JSON, has a name twice or a number with a fraction, or is not a `T`.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice::<Plain>(json)?;
    serde_json::from_slice(json)
}

/// The one spelling of a value of ours: no spaces, fields in the order of the type.
///
/// # Errors
/// None that a type of ours can cause.
pub fn write(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(value)
}

/// A value that was looked at and is not kept.
struct Plain;

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        <Self as Deserialize>::deserialize(deserializer)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without fractions")
    }

    fn visit_unit<E: Error>(self) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Plain, A::Error> {
        while list.next_element_seed(Plain)?.is_some() {}
        Ok(Plain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            names.insert(name);
            map.next_value_seed(Plain)?;
        }
        Ok(Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_twice_is_refused_at_any_depth() {
        let read = |text: &str| parse::<serde_json::Value>(text.as_bytes());
        for good in [r#"{"a":[{"b":1},{"b":-2}],"c":null,"d":true}"#, "[]", "\"x\"", " {} "] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"[{"x":{"a":1,"\u0061":2}}]"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e2}"#,
            r#"{"a":18446744073709551616}"#,
            "{} {}",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(&deep).is_err());
    }
}
