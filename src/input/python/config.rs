//! The index that pip is told to use on this machine (pip's documentation, "Configuration").

use std::path::PathBuf;

/// `index-url` of `[global]` in the last of `files` that has one. What cannot be read counts nothing, as
/// with pip.
pub fn index_url(files: &[PathBuf]) -> Option<String> {
    let read = |path: &PathBuf| parse(&String::from_utf8_lossy(&std::fs::read(path).ok()?));
    files.iter().rev().find_map(read)
}

/// The format is that of Python's configparser: sections, `key = value` or `key: value`, whole lines of
/// comment, and values that go on in indented lines. pip takes `_` in a key for `-`.
fn parse(text: &str) -> Option<String> {
    let (mut in_global, mut ours) = (false, false);
    let mut value: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with(char::is_whitespace) {
            // One address is one word: what goes on after it is not of it.
            if let Some(value) = value.as_mut().filter(|value| ours && value.is_empty()) {
                *value = trimmed.to_owned();
            }
            continue;
        }
        ours = false;
        if let Some(section) = trimmed.strip_prefix('[') {
            in_global = section.strip_suffix(']') == Some("global");
        } else if let Some((key, said)) = trimmed.split_once(['=', ':']).filter(|_| in_global) {
            ours = key.trim().to_ascii_lowercase().replace('_', "-") == "index-url";
            if ours {
                value = Some(said.trim().to_owned());
            }
        }
    }
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pip_reads() {
        for text in [
            "[global]\nindex-url = https://index.example/simple\n",
            "[global]\nINDEX_URL: https://index.example/simple",
            "; a comment\n[install]\nindex-url = https://other.example\n[global]\ntimeout = 3\nindex-url=https://index.example/simple\n[list]\nx = y",
            "[global]\nindex-url =\n  https://index.example/simple\n  more\n",
            "[global]\nindex-url = https://other.example\nindex-url = https://index.example/simple\n",
        ] {
            assert_eq!(parse(text).as_deref(), Some("https://index.example/simple"), "{text}");
        }
        for text in [
            "",
            "index-url = x",
            "[install]\nindex-url = x",
            "[global]\nextra-index-url = x",
            "[global]\nindex-url =",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_file_counts() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, url: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("[global]\nindex-url = {url}\n")).unwrap();
            path
        };
        let (one, two) = (file("one", "https://one.example"), file("two", "https://two.example"));
        let missing = directory.path().join("none");
        assert_eq!(
            index_url(&[one.clone(), two.clone(), missing.clone()]).unwrap(),
            "https://two.example"
        );
        assert_eq!(index_url(&[two, one]).unwrap(), "https://one.example");
        assert_eq!(index_url(&[missing]), None);
        assert_eq!(index_url(&[directory.path().to_owned()]), None);
    }
}
