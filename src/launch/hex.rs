//! Addresses and bit sets in JSON: `"0x810000"`, because a JSON number is a double to many readers
//! and an address is read in hex. For `#[serde(with = "hex")]`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(super) fn serialize<T: fmt::LowerHex, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<u64>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    let value = text
        .strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        // `from_str_radix` takes `+1`, `0A` and `01`; a record has one spelling for one value.
        .filter(|value| format!("{value:#x}") == text)
        .and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| D::Error::custom(format!("`{text}` is not a hex number such as `0x1f`")))
}
