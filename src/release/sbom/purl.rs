//! Package URLs (ECMA-427): how others' tools name a package.

/// A package of a Debian archive; `architecture` is `source` for a source package.
pub(in crate::release) fn deb(
    vendor: &str,
    name: &str,
    version: &str,
    architecture: &str,
    suite: &str,
) -> String {
    let (vendor, name) = (vendor.to_lowercase(), name.to_lowercase());
    let (vendor, name, version) = (component(&vendor), component(&name), component(version));
    let (architecture, suite) = (component(architecture), component(suite));
    format!("pkg:deb/{vendor}/{name}@{version}?arch={architecture}&distro={suite}")
}

/// A project of a Python package index.
pub(in crate::release) fn pypi(name: &str, version: &str) -> String {
    let name = name.to_lowercase().replace('_', "-");
    format!("pkg:pypi/{}@{}", component(&name), component(version))
}

/// All but letters, digits, `.-_~` and the colon is encoded.
fn component(text: &str) -> String {
    encoded(text, |c| c.is_ascii_alphanumeric() || ".-_~:".contains(c))
}

/// `text`, in which the bytes of what is not plain are written as `%XX` (RFC 3986, 2.1).
pub(super) fn encoded(text: &str, plain: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    let mut bytes = [0; 4];
    for c in text.chars() {
        if plain(c) {
            out.push(c);
        } else {
            let bytes = c.encode_utf8(&mut bytes).bytes();
            out.extend(bytes.map(|byte| format!("%{byte:02X}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{deb, encoded, pypi};

    #[test]
    fn names_and_versions_are_encoded() {
        assert_eq!(
            deb("Debian", "g++-14", "1:14.2.0~rc1+b1", "amd64", "trixie"),
            "pkg:deb/debian/g%2B%2B-14@1:14.2.0~rc1%2Bb1?arch=amd64&distro=trixie"
        );
        assert_eq!(
            deb("An Archive", "a", "1", "source", "x+y"),
            "pkg:deb/an%20archive/a@1?arch=source&distro=x%2By"
        );
        assert_eq!(
            pypi("Llama_Cpp.Python", "1!0.3+cu1"),
            "pkg:pypi/llama-cpp.python@1%210.3%2Bcu1"
        );
        assert_eq!(encoded("ü%", |c| c.is_ascii_alphanumeric()), "%C3%BC%25");
    }
}
