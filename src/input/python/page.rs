//! A project's page of a simple index (PEP 503): which files it links to. Pure: text in, links out.
//!
//! Of HTML it reads what such pages are made of: tags with attributes, character references, comments.
//! Whatever else a page may be, what comes out is only where bytes may be had; a digest says which.

use crate::digest::Sha256;
use crate::input::http::percent_decoded;

/// A file that a page links to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its address, absolute, without fragment.
    pub url: String,
    /// Its name: the last part of the address's path.
    pub file: String,
    /// What the page says that its bytes hash to, where it says so by SHA-256.
    pub sha256: Option<Sha256>,
}

/// Every file that `page`, which was fetched from `address`, links to. Links that are no addresses of
/// files are left out, as pip does.
pub fn links(page: &str, address: &str) -> Vec<Link> {
    let Anchors { base, hrefs } = Anchors::of(page);
    let base = base.and_then(|base| join(address, &base)).unwrap_or_else(|| address.to_owned());
    hrefs.iter().filter_map(|href| link(&base, href)).collect()
}

/// The project and the version that a source distribution's file name says (PEP 625; before it, names
/// had dashes too), if it is one.
pub fn sdist(file: &str) -> Option<(&str, &str)> {
    file.strip_suffix(".tar.gz")?.rsplit_once('-')
}

/// A project's name as an index has it (PEP 503, "Normalized Names").
pub fn normalized(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

fn link(base: &str, href: &str) -> Option<Link> {
    let (reference, fragment) = href.split_once('#').unwrap_or((href, ""));
    let url = join(base, reference)?;
    let path = url.split('?').next()?;
    let file = percent_decoded(path.rsplit_once('/')?.1)?;
    if file.is_empty() || file.contains(['/', '\n', '\r']) {
        return None;
    }
    let said = fragment.split('&').find_map(|part| part.strip_prefix("sha256="));
    let sha256 = said.and_then(|digest| digest.to_ascii_lowercase().parse().ok());
    Some(Link { url, file, sha256 })
}

/// What `reference` means on a page at `base` (RFC 3986, section 5.2.2). `None` when `base` is no
/// absolute URL with an authority.
fn join(base: &str, reference: &str) -> Option<String> {
    let reference = reference.trim_matches(|c: char| c.is_ascii_whitespace());
    let (scheme, rest) = base.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = path.split('#').next()?;
    let (before_query, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    if has_scheme(reference) {
        return Some(reference.to_owned());
    }
    if reference.starts_with("//") {
        return Some(format!("{scheme}:{reference}"));
    }
    let (target, asked) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
    let (target, asked) = match target {
        "" if asked.is_empty() => (before_query.to_owned(), query),
        "" => (before_query.to_owned(), asked),
        absolute if absolute.starts_with('/') => (absolute.to_owned(), asked),
        relative => {
            let directory = before_query.rsplit_once('/').map_or("", |(directory, _)| directory);
            (format!("{directory}/{relative}"), asked)
        }
    };
    Some(format!("{scheme}://{authority}{}{asked}", without_dots(&target)))
}

/// RFC 3986, section 3.1.
fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// RFC 3986, section 5.2.4, of a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

/// What the anchors of a page refer to, and what that is relative to.
#[derive(Debug, Default)]
struct Anchors {
    base: Option<String>,
    hrefs: Vec<String>,
}

impl Anchors {
    fn of(page: &str) -> Self {
        let mut found = Self::default();
        let mut rest = page;
        while let Some((_, after)) = rest.split_once('<') {
            rest = after;
            if let Some(comment) = rest.strip_prefix("!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let name = rest[..end].to_ascii_lowercase();
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                // An end tag, a declaration, or a lone sign: it has no links.
                continue;
            }
            let Some((href, after)) = href_of(&rest[end..]) else { break };
            rest = after;
            match (name.as_str(), href) {
                ("a", Some(href)) => found.hrefs.push(href),
                ("base", Some(href)) => found.base = found.base.or(Some(href)),
                // What looks like a tag in these is none.
                ("script" | "style" | "title" | "textarea", _) => {
                    let end = format!("</{name}");
                    rest = rest.find_ignoring_case(&end).map_or("", |at| &rest[at..]);
                }
                _ => {}
            }
        }
        found
    }
}

trait FindIgnoringCase {
    fn find_ignoring_case(&self, lower: &str) -> Option<usize>;
}

impl FindIgnoringCase for str {
    /// Where `lower`, which is ASCII, first stands in any spelling.
    fn find_ignoring_case(&self, lower: &str) -> Option<usize> {
        let windows = self.as_bytes().windows(lower.len());
        windows
            .enumerate()
            .find(|(_, at)| at.eq_ignore_ascii_case(lower.as_bytes()))
            .map(|(n, _)| n)
    }
}

/// The first `href` among the attributes at the beginning of `rest`, and what follows the tag; `None`
/// when the tag does not end.
fn href_of(mut rest: &str) -> Option<(Option<String>, &str)> {
    let mut href = None;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((href, after));
        }
        // An equals sign in the first place belongs to the name (HTML, 13.2.5.32).
        let first = rest.chars().next()?.len_utf8();
        let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '=');
        let end = first + rest[first..].find(ends)?;
        let name = &rest[..end];
        rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_whitespace());
        let Some(after) = rest.strip_prefix('=') else { continue };
        rest = after.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let value;
        match rest.chars().next()? {
            quote @ ('"' | '\'') => (value, rest) = rest[1..].split_once(quote)?,
            '>' => value = "",
            _ => {
                let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>')?;
                (value, rest) = rest.split_at(end);
            }
        }
        if name.eq_ignore_ascii_case("href") && href.is_none() {
            href = Some(with_characters(value));
        }
    }
}

/// Text with its character references resolved, as far as addresses have any.
fn with_characters(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let character = after.split_once(';').and_then(|(name, after)| {
            let character = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => {
                    let number = name.strip_prefix('#')?;
                    let code = match number.strip_prefix(['x', 'X']) {
                        Some(hex) => u32::from_str_radix(hex, 16),
                        None => number.parse(),
                    };
                    char::from_u32(code.ok()?)?
                }
            };
            Some((character, after))
        });
        (rest, _) = match character {
            Some((character, after)) => (after, out.push(character)),
            None => (after, out.push('&')),
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "https://index.example/simple/a-b/";

    fn urls(page: &str) -> Vec<String> {
        links(page, ADDRESS).into_iter().map(|link| link.url).collect()
    }

    #[test]
    fn a_page_as_indexes_write_it() {
        let digest = "11".repeat(32);
        let page = format!(
            "<!DOCTYPE html>\n<html><head><meta name=\"pypi:repository-version\" content=\"1.3\">\
             <title>Links for a-b</title></head><body><h1>Links for a-b</h1>\n\
             <a href=\"https://files.example/x/a_b-1.0.tar.gz#sha256={digest}\" \
             data-requires-python=\"&gt;=3.8\" >a_b-1.0.tar.gz</a><br />\n\
             <a href='../../packages/a_b-2.0.tar.gz'>a_b-2.0.tar.gz</a>\n</body></html>"
        );
        let found = links(&page, ADDRESS);
        assert_eq!(
            found,
            [
                Link {
                    url: "https://files.example/x/a_b-1.0.tar.gz".to_owned(),
                    file: "a_b-1.0.tar.gz".to_owned(),
                    sha256: Some(digest.parse().unwrap()),
                },
                Link {
                    url: "https://index.example/packages/a_b-2.0.tar.gz".to_owned(),
                    file: "a_b-2.0.tar.gz".to_owned(),
                    sha256: None,
                },
            ]
        );
    }

    #[test]
    fn spellings_of_an_anchor() {
        for page in [
            "<a href=x.tar.gz>",
            "<A HREF = 'x.tar.gz' >",
            "<a\nclass=\"<a href='no'>\"\thref=\"x.tar.gz\"/>",
            "<a disabled href=x.tar.gz href=y>",
            "<!-- <a href=no> --><a href=x.tar.gz>",
            "<script>'<a href=no>'</SCRIPT><a href=x.tar.gz>",
            "< a href=no><a href=x.tar.gz>",
            "</a href=no><a href=x.tar.gz>",
            "<a =href=no href=x.tar.gz>",
            "<a href=\"&#120;.tar&#x2e;gz\">",
            "<base href=/simple/a-b/><a href=x.tar.gz>",
            "<a name=top><a href=x.tar.gz>",
            "<a href=''></a><a href=x.tar.gz><a href=y",
        ] {
            assert_eq!(urls(page), ["https://index.example/simple/a-b/x.tar.gz"], "{page}");
        }
        for page in
            ["", "nothing", "<a>", "<a href", "<a href=\"x", "<abbr href=x>", "<a href='..'>"]
        {
            assert!(urls(page).is_empty(), "{page}");
        }
    }

    #[test]
    fn file_names_are_decoded() {
        let page = "<a href=\"x-1.0%2Blocal.tar.gz?a=b&amp;c=d#egg=x&amp;sha256=zz\">";
        let found = links(page, ADDRESS);
        assert_eq!(found[0].file, "x-1.0+local.tar.gz");
        assert_eq!(found[0].sha256, None);
        assert!(found[0].url.ends_with("?a=b&c=d"));
        assert!(links("<a href=%2f>", ADDRESS).is_empty());
    }

    /// RFC 3986, section 5.4, without what no index has (parameters, bare fragments).
    #[test]
    fn references_as_the_standard_resolves_them() {
        for (reference, url) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
        ] {
            assert_eq!(join("http://a/b/c/d;p?q", reference).unwrap(), url, "{reference}");
        }
        assert_eq!(join("http://a", "g").unwrap(), "http://a/g");
        assert_eq!(join("file:///a/b/index.html", "../c").unwrap(), "file:///a/c");
        assert_eq!(join("nowhere", "g"), None);
    }

    #[test]
    fn names_and_versions() {
        assert_eq!(normalized("Llama_.cpp--Python"), "llama-cpp-python");
        assert_eq!(sdist("llama_cpp_python-0.3.36.tar.gz"), Some(("llama_cpp_python", "0.3.36")));
        assert_eq!(sdist("a-b-1.0.tar.gz"), Some(("a-b", "1.0")));
        assert_eq!(sdist("a-1.0-py3-none-any.whl"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_page(page in "[<>a-z/='\"&#;!\\- \u{e9}]{0,80}") {
            for link in links(&page, ADDRESS) {
                prop_assert!(!link.file.is_empty() && !link.file.contains('/'));
            }
        }

        #[test]
        fn what_is_written_is_read(names in prop::collection::vec("[a-z]{1,8}-[0-9.]{1,5}", 0..5)) {
            let page: String = names.iter().map(|name| format!("<a href=\"{name}.tar.gz\">{name}</a>\n")).collect();
            let read: Vec<_> = links(&page, ADDRESS).into_iter().map(|link| link.file).collect();
            let wanted: Vec<_> = names.iter().map(|name| format!("{name}.tar.gz")).collect();
            prop_assert_eq!(read, wanted);
        }
    }
}
