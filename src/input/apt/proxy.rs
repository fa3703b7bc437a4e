//! The proxy that apt is told to use (apt.conf(5)).

use std::io;
use std::path::Path;

use walkdir::WalkDir;

/// `Acquire::http::Proxy` from `apt.conf.d/` and `apt.conf` in the directory `etc_apt`. A proxy for
/// one host only, and one that a program is to find, are not looked at.
pub fn read(etc_apt: &Path) -> io::Result<Option<String>> {
    let mut proxy = None;
    let parts = etc_apt.join("apt.conf.d");
    if parts.exists() {
        for entry in WalkDir::new(parts).min_depth(1).max_depth(1).sort_by_file_name() {
            let path = entry?.into_path();
            if counts(&path) && path.is_file() {
                parse(&String::from_utf8_lossy(&std::fs::read(path)?), &mut proxy);
            }
        }
    }
    let main = etc_apt.join("apt.conf");
    if main.is_file() {
        parse(&String::from_utf8_lossy(&std::fs::read(main)?), &mut proxy);
    }
    Ok(proxy)
}

/// Follows `text` as far as it sets the proxy; the last word counts, and `DIRECT` takes it back.
fn parse(text: &str, proxy: &mut Option<String>) {
    // The scopes that are open, each with the names it was opened by.
    let mut scopes: Vec<String> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text) {
        match token.as_str() {
            "{" => scopes.push(words.drain(..).next().unwrap_or_default()),
            "}" => {
                scopes.pop();
                words.clear();
            }
            ";" => {
                if let [name, value] = words.as_slice() {
                    let scope: String = scopes.iter().map(|scope| format!("{scope}::")).collect();
                    if format!("{scope}{name}").eq_ignore_ascii_case("Acquire::http::Proxy") {
                        let direct = matches!(value.as_str(), "DIRECT" | "false" | "");
                        *proxy = (!direct).then(|| value.clone());
                    }
                }
                words.clear();
            }
            _ => words.push(token),
        }
    }
}

/// Words, quoted words without their quotes, and `{`, `}`, `;`. Comments are dropped.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") || first == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            tokens.push(quoted[..end].to_owned());
            (end + 2).min(rest.len())
        } else if matches!(first, '{' | '}' | ';') {
            tokens.push(first.to_string());
            1
        } else {
            let stop = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"');
            let end = rest.find(stop).unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        };
        rest = rest[taken..].trim_start();
    }
    tokens
}

fn counts(path: &Path) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => name.strip_suffix(".conf").unwrap_or(name).bytes().all(plain),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_proxy_in_either_spelling() {
        let url = Some("http://proxy.example.org:3128".to_owned());
        for text in [
            "Acquire::http::Proxy \"http://proxy.example.org:3128\";",
            "acquire { Retries 3; http { proxy \"http://proxy.example.org:3128\"; }; };",
            "// x\n/* Acquire::http::Proxy \"no\"; */ # y\n\
             Acquire { http::Proxy http://proxy.example.org:3128; }",
        ] {
            let mut proxy = None;
            parse(text, &mut proxy);
            assert_eq!(proxy, url, "{text}");
        }
    }

    #[test]
    fn other_settings_are_not_it() {
        for text in [
            "Acquire::http::Proxy::host.example.org \"http://a\";",
            "Acquire::http::Proxy \"http://a\"; Acquire::http::Proxy \"DIRECT\";",
            "Acquire { ftp { Proxy \"x\"; } } Proxy \"y\"; \"",
            "}}} ;;; { \"",
        ] {
            let mut proxy = None;
            parse(text, &mut proxy);
            assert_eq!(proxy, None, "{text}");
        }
    }
}
