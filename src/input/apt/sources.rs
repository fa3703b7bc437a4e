//! Where the host's apt gets its packages from (sources.list(5)), and what it trusts for each.

mod one_line;
mod stanza;

use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// An archive: the directory that has `dists/` and `pool/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its URI, without a slash at the end.
    pub uri: String,
    /// The suites that the host takes from it. Others may be there as well.
    pub suites: Vec<String>,
    /// The components that the host takes, such as `main`.
    pub components: Vec<String>,
    /// Whose signature counts.
    pub signed_by: SignedBy,
}

/// Whose signature over a release file counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SignedBy {
    /// The source does not say: whatever the host trusts by default.
    #[default]
    Default,
    /// Keyring files, and fingerprints that narrow them (or the default keyrings) down.
    Files {
        /// Absolute paths.
        paths: Vec<PathBuf>,
        /// Upper-case hexadecimal fingerprints, without the `!` that may follow them.
        fingerprints: Vec<String>,
    },
    /// An armoured key in the source itself.
    Embedded(String),
}

/// A source that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What was left out: a URI or a file.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The archives in the order of the configuration, each once.
    pub sources: Vec<Source>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line that is not what sources.list(5) describes.
    #[error("`{}` line {line}: {problem}; correct it, or name a mirror with --mirror", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// A mirror that is not an archive's URL.
    #[error(
        "the mirror `{uri}` is not an archive's url: expected one such as \
         https://mirror.example.org/debian, the directory that has dists/ and pool/"
    )]
    Mirror {
        /// The text given.
        uri: String,
    },
}

impl Sources {
    /// Reads `sources.list` and `sources.list.d/` in the directory `etc_apt`, in apt's order.
    /// Neither needs to exist. Only sources of binary packages for amd64 count.
    pub fn read(etc_apt: &Path) -> Result<Self, Error> {
        let mut sources = Self::default();
        let list = etc_apt.join("sources.list");
        if list.exists() {
            sources.add_file(&list)?;
        }
        let parts = etc_apt.join("sources.list.d");
        if parts.exists() {
            for entry in WalkDir::new(&parts).min_depth(1).max_depth(1).sort_by_file_name() {
                let entry = entry
                    .map_err(|error| Error::Io { path: parts.clone(), source: error.into() })?;
                if counts(entry.path()) && entry.path().is_file() {
                    sources.add_file(entry.path())?;
                }
            }
        }
        Ok(sources)
    }

    /// The archives at these URLs, trusted by the default keyrings.
    pub fn mirrors<S: AsRef<str>>(uris: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let mut sources = Self::default();
        for uri in uris {
            let uri = uri.as_ref().trim();
            if unusable(uri).is_some() {
                return Err(Error::Mirror { uri: uri.to_owned() });
            }
            sources.add(Source {
                uri: uri.trim_end_matches('/').to_owned(),
                suites: Vec::new(),
                components: Vec::new(),
                signed_by: SignedBy::Default,
            });
        }
        Ok(sources)
    }

    /// Adds what `text` says, the contents of the file `path`; its name tells the format.
    pub fn add_text(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let found = if path.extension().is_some_and(|extension| extension == "sources") {
            stanza::parse(text)
        } else {
            one_line::parse(text)
        };
        let entries = found.map_err(|(line, problem)| Error::Malformed {
            path: path.to_owned(),
            line,
            problem,
        })?;
        for entry in entries {
            self.add_entry(entry);
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let text =
            std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        // Names and comments may be in any encoding; what matters here is ASCII.
        self.add_text(path, &String::from_utf8_lossy(&text))
    }

    fn add_entry(&mut self, entry: Entry) {
        for uri in &entry.uris {
            let reason = if !entry.enabled {
                Some("it is disabled".to_owned())
            } else if !entry.types.iter().any(|word| word == "deb") {
                Some("it has no binary packages".to_owned())
            } else if !entry.takes_amd64() {
                Some("it is not for amd64".to_owned())
            } else {
                unusable(uri)
            };
            let flat = |suite: &&String| suite.ends_with('/');
            let reason = reason.or_else(|| {
                entry.suites.iter().any(|suite| flat(&suite)).then(|| {
                    "it has no suites: a directory of packages cannot be pinned by suite".to_owned()
                })
            });
            match reason {
                Some(reason) => {
                    let what = crate::input::http::without_credentials(uri);
                    self.skipped.push(Skipped { what, reason });
                }
                None => self.add(Source {
                    uri: uri.trim_end_matches('/').to_owned(),
                    suites: entry.suites.iter().map(|s| s.replace("$(ARCH)", "amd64")).collect(),
                    components: entry.components.clone(),
                    signed_by: entry.signed_by.clone(),
                }),
            }
        }
    }

    fn add(&mut self, source: Source) {
        let same =
            |known: &&mut Source| known.uri == source.uri && known.signed_by == source.signed_by;
        let Some(known) = self.sources.iter_mut().find(same) else {
            return self.sources.push(source);
        };
        for (all, more) in
            [(&mut known.suites, source.suites), (&mut known.components, source.components)]
        {
            for word in more {
                if !all.contains(&word) {
                    all.push(word);
                }
            }
        }
    }
}

impl SignedBy {
    /// The value of `signed-by`: paths and fingerprints.
    fn from_words<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let (mut paths, mut fingerprints) = (Vec::new(), Vec::new());
        for word in words.filter(|word| !word.is_empty()) {
            let hex = word.strip_suffix('!').unwrap_or(word);
            if word.starts_with('/') {
                paths.push(PathBuf::from(word));
            } else if hex.len() >= 40 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                fingerprints.push(hex.to_ascii_uppercase());
            } else {
                return Err(format!(
                    "signed-by has `{word}`, expected an absolute path or a fingerprint"
                ));
            }
        }
        if paths.is_empty() && fingerprints.is_empty() {
            return Ok(Self::Default);
        }
        Ok(Self::Files { paths, fingerprints })
    }
}

/// One line or stanza, of either format.
#[derive(Debug)]
struct Entry {
    enabled: bool,
    types: Vec<String>,
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    architectures: Vec<String>,
    not_architectures: Vec<String>,
    signed_by: SignedBy,
}

impl Entry {
    fn takes_amd64(&self) -> bool {
        let amd64 = |word: &String| word == "amd64";
        (self.architectures.is_empty() || self.architectures.iter().any(amd64))
            && !self.not_architectures.iter().any(amd64)
    }
}

/// A line, and what is wrong with it.
type Problem = (usize, String);

/// apt reads only `*.list` and `*.sources` with plain names, so that backups do not count.
fn counts(path: &Path) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    path.extension().is_some_and(|extension| extension == "list" || extension == "sources")
        && path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| !name.starts_with('.') && name.bytes().all(plain))
}

/// Why nothing can be fetched from `uri`, if so.
fn unusable(uri: &str) -> Option<String> {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "http" | "https" if uri[scheme.len()..].strip_prefix("://").is_some_and(has_host) => None,
        "file" if uri[scheme.len() + 1..].starts_with('/') => None,
        "http" | "https" | "file" | "" => Some("it is not a url".to_owned()),
        "cdrom" => Some("a disc is not an archive that others have".to_owned()),
        scheme => Some(format!("`{scheme}:` is not supported, expected http, https or file")),
    }
}

fn has_host(rest: &str) -> bool {
    !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace)
}
