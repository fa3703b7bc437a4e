//! Dates in release files: `Sat, 12 Sep 2026 07:55:41 UTC` (Debian Policy 4.4, RFC 5322, 3.3).

/// Unix seconds. The zone must be UTC, as DebianRepository/Format demands.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.split_once(',').map_or(text, |(_weekday, rest)| rest);
    let mut words = text.split_ascii_whitespace();
    let day = number(words.next()?, 1..=31)?;
    let name = words.next()?;
    let month = (1..).zip(MONTHS).find(|(_, month)| *month == name)?.0;
    let year = number(words.next()?, 1970..=9999)?;
    let mut time = words.next()?.split(':');
    let hour = number(time.next()?, 0..=23)?;
    let minute = number(time.next()?, 0..=59)?;
    let second = number(time.next()?, 0..=60)?;
    let zone = words.next()?;
    if time.next().is_some()
        || words.next().is_some()
        || !matches!(zone, "UTC" | "GMT" | "Z" | "+0000" | "-0000")
    {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

/// Days from 1970-01-01 in the Gregorian calendar. Years are taken to begin in March, so that the
/// leap day comes last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let to_year = |y: u64| y * 365 + y / 4 - y / 100 + y / 400;
    const MARCH_0000_TO_1970: u64 = 719_468;
    to_year(year) + day_of_year - MARCH_0000_TO_1970
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", 0),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Sat, 12 Sep 2026 07:55:41 UTC", 1_789_199_741),
            ("5 Nov 2026 08:08:01 +0000", 1_793_866_081),
            ("Fri, 31 Dec 9999 23:59:59 Z", 253_402_300_799),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "Sat, 12 Sep 2026 07:55:41",
            "12 sep 2026 07:55:41 UTC",
            "12 Sep 2026 07:55:41 CET",
            "12 Sep 1969 07:55:41 UTC",
            "32 Sep 2026 07:55:41 UTC",
            "12 Sep 2026 07:55 UTC",
            "12 Sep 2026 07:55:41:1 UTC",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
