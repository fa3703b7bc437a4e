//! Where a release is in a registry: `HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256;

/// A place in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry's host, with its port where that is not the usual one.
    pub host: String,
    /// The repository (OCI Distribution Specification 1.1, "Pulling manifests", `<name>`).
    pub repository: String,
    /// What the manifest is called for now; somebody may move it.
    pub tag: Option<String>,
    /// Which manifest it must be.
    pub digest: Option<Sha256>,
}

/// Text that is no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names nothing in a registry: {problem}")]
pub struct ParseReferenceError {
    text: String,
    problem: &'static str,
}

impl Reference {
    /// Whether the registry is this machine, by its address alone (RFC 6890; RFC 6761, section 6.3).
    pub fn is_loopback(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(six) => six.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        };
        let address = name.parse::<std::net::IpAddr>();
        name == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The same place, by digest.
    #[must_use]
    pub fn at(&self, digest: Sha256) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem| ParseReferenceError { text: text.to_owned(), problem };
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let hex = digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
                let problem = "after the `@` stands `sha256:` and 64 lower-case hex digits";
                (rest, Some(hex.ok_or_else(|| wrong(problem))?))
            }
        };
        let no_host =
            "expected HOST[:PORT]/REPOSITORY[:TAG], such as registry.example.org/guests/llama:v1";
        let (host, rest) = rest.split_once('/').ok_or_else(|| wrong(no_host))?;
        // As everywhere, `a/b` would be somebody's default registry: we have none.
        let host_like = host == "localhost" || host.contains(['.', ':']);
        if !host_like || !is_host(host) {
            return Err(wrong(no_host));
        }
        let (repository, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
        };
        if !is_repository(repository) {
            return Err(wrong(
                "a repository is lower-case letters and digits, with single `.`, `_`, `-` or `/` between",
            ));
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong(
                "a tag is up to 128 letters, digits, `.`, `_` and `-`, and begins with none of the latter two",
            ));
        }
        Ok(Self { host: host.to_owned(), repository: repository.to_owned(), tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@sha256:{digest}"))
    }
}

/// What can stand in a URL between the slashes (RFC 3986, section 3.2), without a user's name.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(six) => match six.split_once(']') {
            Some((address, port)) => (address, port),
            None => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let six = text.starts_with('[');
    let name_fits = match six {
        true => name.parse::<std::net::Ipv6Addr>().is_ok(),
        false => {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
            !name.is_empty() && name.chars().all(fits)
        }
    };
    let port_fits = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    };
    name_fits && port_fits
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*` (OCI Distribution
/// Specification 1.1, "Pulling manifests").
fn is_repository(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |part: &str| {
        let ends = part.starts_with(alphanumeric) && part.ends_with(alphanumeric);
        let mut between = part.split(alphanumeric).filter(|between| !between.is_empty());
        ends && between.all(|it| matches!(it, "." | "_" | "__") || it.chars().all(|c| c == '-'))
    };
    text.len() <= 255 && text.split('/').all(part)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (the same section).
fn is_tag(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    first && text.len() <= 128 && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_read() {
        let digest = Sha256::of("x");
        for text in [
            "registry.example.org/llama",
            "registry.example.org/guests/llama:v1.2_3-4",
            "localhost/a",
            "127.0.0.1:5000/a__b/c---d.e:latest",
            "[::1]:5000/a",
            &format!("ghcr.io/a/b@sha256:{digest}"),
            &format!("ghcr.io/a/b:v1@sha256:{digest}"),
        ] {
            let parsed: Reference = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_place() {
        for text in [
            "",
            "llama",
            "guests/llama",
            "a.b/",
            "a.b/A",
            "a.b/a//b",
            "a.b/../x",
            "a.b/.a",
            "a.b/a-",
            "a.b/a___b",
            "a.b/a:",
            "a.b/a:.x",
            "a.b/a:b:c",
            "a.b/a:b/c",
            "u@a.b/a",
            "a.b:x/a",
            "a.b:70000/a",
            "a.b/a?x",
            "a b.c/a",
            "http://a.b/a",
            "a.b/a@sha256:12",
            "a.b/a@sha512:12",
            "[::1/a",
            "[x]:1/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn this_machine() {
        let is = |text: &str| text.parse::<Reference>().unwrap().is_loopback();
        assert!(
            is("localhost:5000/a")
                && is("127.0.0.1:5000/a")
                && is("[::1]:1/a")
                && is("127.9.9.9/a")
        );
        assert!(
            !is("example.org/a")
                && !is("127.0.0.1.example.org/a")
                && !is("localhost.example.org/a")
        );
    }
}
