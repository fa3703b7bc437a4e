//! The order of Debian version numbers.
//!
//! Debian Policy 5.6.12: `[epoch:]upstream[-revision]`, compared part by part; within a part,
//! runs of non-digits and of digits alternate, `~` sorts before the end, letters before the rest.

use std::cmp::Ordering;

/// Compares two version numbers. Any text has a place in the order, as in dpkg.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    compare_numbers(a.epoch, b.epoch)
        .then_with(|| compare_parts(a.upstream, b.upstream))
        .then_with(|| compare_parts(a.revision, b.revision))
}

struct Parts<'a> {
    epoch: &'a [u8],
    upstream: &'a [u8],
    revision: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        // No epoch is epoch 0, no revision sorts as revision 0; both fall out of empty text here.
        let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self {
            epoch: epoch.as_bytes(),
            upstream: upstream.as_bytes(),
            revision: revision.as_bytes(),
        }
    }
}

fn compare_parts(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (letters_a, rest_a) = split_while(a, |byte| !byte.is_ascii_digit());
        let (letters_b, rest_b) = split_while(b, |byte| !byte.is_ascii_digit());
        let (digits_a, rest_a) = split_while(rest_a, |byte| byte.is_ascii_digit());
        let (digits_b, rest_b) = split_while(rest_b, |byte| byte.is_ascii_digit());
        let order =
            compare_letters(letters_a, letters_b).then_with(|| compare_numbers(digits_a, digits_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn compare_letters(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |text: &[u8], i: usize| match text.get(i) {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|i| weight(a, i).cmp(&weight(b, i)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Compares runs of digits as numbers of any length.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().take_while(|byte| **byte == b'0').count();
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn split_while(text: &[u8], keep: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| keep(byte)).count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_of_policy_and_of_kernels() {
        let ascending = [
            "0",
            "1.0~~",
            "1.0~~a",
            "1.0~",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0a",
            "1.0+dfsg",
            "1.0.1",
            "1.9",
            "1.10",
            "6.12.95+deb12",
            "6.12.107-1~bpo12+1",
            "6.12.107-1",
            "6.12.107+deb13",
            "2024.1-1",
            "18446744073709551616",
            "1:0.1",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn different_spellings_of_the_same_version() {
        for (a, b) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("a0", "a"), ("", "0")]
        {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn is_a_total_order(a in VERSION, b in VERSION, c in VERSION) {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }

        #[test]
        fn a_tilde_comes_before_and_a_plus_after(a in VERSION) {
            prop_assert_eq!(compare(&format!("{a}~"), &a), Ordering::Less);
            prop_assert_eq!(compare(&format!("{a}+b1"), &a), Ordering::Greater);
        }
    }

    const VERSION: &str = "([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?";
}
