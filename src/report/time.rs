//! Points in time, as certificates and people write them. Whoever asks says which time it is: nothing
//! here knows.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use der::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A second, in UTC.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Time(u64);

/// Text that is no time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a time such as `2026-11-22T12:00:00Z`, in UTC and from 1970 to 9999")]
pub struct TimeError(String);

impl Time {
    /// The last second that certificates can name (RFC 5280, section 4.1.2.5).
    const LAST: u64 = 253_402_300_799;

    /// So many seconds after 1970-01-01T00:00:00Z; the last second of 9999 for all later ones.
    pub fn from_unix(seconds: u64) -> Self {
        Self(seconds.min(Self::LAST))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn as_unix(self) -> u64 {
        self.0
    }

    /// So many days later.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        Self::from_unix(self.0.saturating_add(u64::from(days) * 86400))
    }
}

impl From<x509_cert::time::Time> for Time {
    fn from(time: x509_cert::time::Time) -> Self {
        Self::from_unix(time.to_unix_duration().as_secs())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(time) => write!(f, "{time}"),
            // `from_unix` lets none through.
            Err(_) => write!(f, "{} s after 1970", self.0),
        }
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        // A day alone is its first second.
        let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
        let time = whole.parse::<DateTime>().map_err(|_| TimeError(text.to_owned()))?;
        Ok(Self::from_unix(time.unix_duration().as_secs()))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-22T12:34:56Z", 1_795_350_896),
            ("9999-12-31T23:59:59Z", Time::LAST),
        ] {
            let time: Time = text.parse().unwrap();
            assert_eq!((time.as_unix(), time.to_string()), (unix, text.to_owned()));
        }
        assert_eq!("2026-11-22".parse::<Time>().unwrap().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(Time::from_unix(u64::MAX).as_unix(), Time::LAST);
        assert_eq!(Time::from_unix(u64::MAX).plus_days(u32::MAX).as_unix(), Time::LAST);
        for bad in
            ["", "now", "2026-11-22T12:34:56", "2026-13-01T00:00:00Z", "2026-02-30", "+2026-11-2"]
        {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }
}
