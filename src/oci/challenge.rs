//! What a registry asks for before it answers: a password (RFC 7617), or a token that another server gives
//! for one (RFC 6750; Distribution's "Token Authentication Specification").

use std::fmt;

use base64ct::{Base64, Encoding as _};
use serde_json::Value;

/// Somebody's name and password at a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password, or a token that stands for one.
    pub password: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// The name and the password.
    Basic,
    /// A token.
    Bearer {
        /// Where it is given.
        realm: String,
        /// What for, as the registry says it.
        service: Option<String>,
        /// And for which acts.
        scope: Option<String>,
    },
}

impl Credentials {
    /// The value of `Authorization` (RFC 7617, section 2).
    pub fn basic(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", Base64::encode_string(pair.as_bytes()))
    }

    /// Those for `host` in Docker's `config.json`, where they are written out there. A helper program that
    /// has them is not asked.
    pub fn in_docker_config(json: &[u8], host: &str) -> Option<Self> {
        let config: Value = serde_json::from_slice(json).ok()?;
        let auths = config.get("auths")?.as_object()?;
        let bare = |key: &str| {
            let key = key.split_once("://").map_or(key, |(_, rest)| rest);
            key.split('/').next().unwrap_or_default().to_owned()
        };
        let (_, entry) = auths.iter().find(|(key, _)| bare(key) == host)?;
        let pair = Base64::decode_vec(entry.get("auth")?.as_str()?.trim()).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (username, password) = pair.split_once(':')?;
        Some(Self {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Challenge {
    /// What one value of `WWW-Authenticate` asks for (RFC 9110, section 11.6.1); `None` for what we cannot
    /// give.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim_start();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = parameter(after)?;
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
            rest = after.trim_start().trim_start_matches(',').trim_start();
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }

    /// Where the token is asked for ("Requesting a Token").
    pub fn url(&self) -> Option<String> {
        let Self::Bearer { realm, service, scope } = self else { return None };
        let mut url = realm.clone();
        let parameters = [("service", service), ("scope", scope)];
        for (name, value) in parameters {
            let Some(value) = value else { continue };
            // A scope may be several, each of them a parameter.
            for value in value.split(' ').filter(|value| !value.is_empty()) {
                let mark = if url.contains('?') { '&' } else { '?' };
                url.push_str(&format!("{mark}{name}={}", escaped(value)));
            }
        }
        Some(url)
    }
}

/// The token in the answer ("Token Response Fields": two names for one thing).
pub fn token(json: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(json).ok()?;
    let field = |name: &str| answer.get(name)?.as_str().filter(|text| !text.is_empty());
    let token = field("token").or_else(|| field("access_token"))?;
    // It goes into a header.
    token.bytes().all(|byte| byte.is_ascii_graphic()).then(|| token.to_owned())
}

/// A token or a quoted string (RFC 9110, section 5.6), and what comes after it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// As a value in a URL's query (RFC 3986, section 2.1).
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="reg,istry",scope="repository:a/b:pull,push repository:c:pull""#;
        let parsed = Challenge::parse(bearer).unwrap();
        assert_eq!(
            parsed.url().unwrap(),
            "https://auth.example/token?service=reg%2Cistry&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull"
        );
        let plain = Challenge::parse("bearer realm=https://a.example/t?x=1, service=s").unwrap();
        assert_eq!(plain.url().unwrap(), "https://a.example/t?x=1&service=s");
        assert_eq!(Challenge::parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        for other in ["", "Negotiate", "Bearer", r#"Bearer service="x""#, r#"Bearer realm="x"#] {
            assert_eq!(Challenge::parse(other), None, "{other}");
        }
    }

    #[test]
    fn passwords() {
        let config = br#"{"auths":{"https://ghcr.io/v2/":{"auth":"YTpiOmM="},"x.example":{}}}"#;
        let found = Credentials::in_docker_config(config, "ghcr.io").unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("a", "b:c"));
        assert_eq!(found.basic(), "Basic YTpiOmM=");
        assert!(!format!("{found:?}").contains("b:c"));
        assert_eq!(Credentials::in_docker_config(config, "x.example"), None);
        assert_eq!(Credentials::in_docker_config(config, "example"), None);
    }

    #[test]
    fn tokens() {
        assert_eq!(token(br#"{"token":"a"}"#).as_deref(), Some("a"));
        assert_eq!(token(br#"{"token":"","access_token":"b"}"#).as_deref(), Some("b"));
        assert_eq!(token(b"{\"token\":\"a\\r\\nX: y\"}"), None);
        assert_eq!(token(b"[]"), None);
    }
}
