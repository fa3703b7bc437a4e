//! A suite of an archive, opened: its release file checked, its package indexes read.

mod trust;

use std::io;
use std::path::{Path, PathBuf};

use super::index::{self, Compression, Packages};
use super::keyring::{self, Keyring};
use super::release::{self, Listed, Release};
use super::source_package::{self, SourcePackage};
use super::sources::{Source, Sources};
use crate::digest::{Object, Sha256};
use crate::input::http::{self, Client};

pub use trust::Trust;

/// Where and how to look for suites.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The archives, in the order they are to be tried.
    pub sources: &'a Sources,
    /// Whose signatures count.
    pub trust: &'a Trust,
    /// Fetches.
    pub client: &'a Client,
    /// An existing directory that indexes are kept in, by their digest, for the next time.
    pub cache: &'a Path,
    /// The time, in Unix seconds.
    pub now: u64,
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being fetched, relative to the archive.
    pub path: &'a str,
    /// The bytes that are there.
    pub done: u64,
    /// The bytes that there will be.
    pub total: u64,
}

/// A suite: what it says of itself, and its packages.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The archive that it came from.
    pub uri: String,
    /// The release file. Whether it is still [fresh](Release::freshness) is for the caller to say.
    pub release: Release,
    /// The packages of the components asked for.
    pub packages: Packages,
}

/// An archive that did not have the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The archive.
    pub uri: String,
    /// Why not.
    pub reason: String,
}

/// Why a suite cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file in the cache could not be read or written.
    #[error("cannot use the cache directory `{}`", path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The suite has no such component.
    #[error("suite `{suite}` has no component `{component}` for amd64; it has {}", known.join(", "))]
    Component {
        /// The suite.
        suite: String,
        /// The component asked for.
        component: String,
        /// The components it has.
        known: Vec<String>,
    },
    /// A package index could not be fetched, or is not the one that the release file lists.
    #[error(
        "the package index of suite `{suite}` cannot be had from {uri}; if the mirror is in the \
         middle of an update, try again later, or pass another one with --mirror"
    )]
    Fetch {
        /// The suite.
        suite: String,
        /// The archive.
        uri: String,
        /// What happened.
        #[source]
        source: http::Error,
    },
    /// A package index could not be read.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// There is no keyring to check signatures with.
    #[error(
        "nothing can vouch for suite `{suite}` of {uri}; if that is no Debian archive, pass \
         --mirror with the url of one, or set COUNTERFOIL_MIRROR"
    )]
    Keyring {
        /// The suite.
        suite: String,
        /// The archive.
        uri: String,
        /// What is the matter.
        #[source]
        source: keyring::Error,
    },
    /// There is nowhere to look.
    #[error(
        "no package archive is configured: pass --mirror with the url of a Debian mirror, \
         or set COUNTERFOIL_MIRROR"
    )]
    NoSource,
    /// All archives answered, and none has the suite.
    #[error(
        "no archive has suite `{suite}`: {}; pass --mirror with the url of a Debian mirror that \
         has it, or set COUNTERFOIL_MIRROR",
        tried_list(tried)
    )]
    NoSuite {
        /// The suite.
        suite: String,
        /// The archives asked.
        tried: Vec<Tried>,
    },
    /// A release file that cannot be trusted. No other archive is tried after that.
    #[error("`{url}` cannot be trusted")]
    Release {
        /// Where it came from.
        url: String,
        /// What is the matter.
        #[source]
        source: release::Error,
    },
    /// Some archive could not be reached, and no other has the suite.
    #[error(
        "suite `{suite}` cannot be had: {}; check the network, or pass --mirror with the url of \
         another Debian mirror, or set COUNTERFOIL_MIRROR",
        tried_list(tried)
    )]
    Unreachable {
        /// The suite.
        suite: String,
        /// The archives asked.
        tried: Vec<Tried>,
    },
}

impl Archive {
    /// Opens `suite` in the first archive that has it, and reads these components' indexes.
    pub fn open<S: AsRef<str>>(
        search: &Search<'_>,
        suite: &str,
        components: &[S],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, Error> {
        let (uri, release) = find_release(search, suite)?;
        let mut archive = Self { uri, release, packages: Packages::new(suite) };
        for component in components {
            archive.add_component(search, component.as_ref(), progress)?;
        }
        Ok(archive)
    }

    /// The highest version of a source package in this component.
    pub fn source_package(
        &self,
        search: &Search<'_>,
        component: &str,
        package: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<SourcePackage>, Error> {
        let directory = format!("{component}/source");
        let plain = format!("{directory}/Sources");
        let limit = self.release.files.get(&plain).map_or(MAX_INDEX, |f| f.size.min(MAX_INDEX));
        let forms = self.forms(&plain);
        if forms.is_empty() {
            return Err(self.no_component(component));
        }
        let (path, bytes, compression) = self.fetch_index(search, &directory, &forms, progress)?;
        let name = format!("{}/{path}", self.packages.suite());
        Ok(source_package::find(&name, &bytes, compression, limit, package)?)
    }

    /// The forms of an index that the release file lists, the smallest first.
    fn forms(&self, plain: &str) -> Vec<(String, Listed, Compression)> {
        let form = |(extension, compression): &(&str, Compression)| {
            let path = format!("{plain}{extension}");
            self.release.files.get(&path).map(|listed| (path, *listed, *compression))
        };
        FORMS.iter().filter_map(form).collect()
    }

    fn no_component(&self, component: &str) -> Error {
        Error::Component {
            suite: self.packages.suite().to_owned(),
            component: component.to_owned(),
            known: self.release.components.clone(),
        }
    }

    fn add_component(
        &mut self,
        search: &Search<'_>,
        component: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        let mut architectures = vec!["amd64"];
        if !self.release.merged_all && self.release.architectures.iter().any(|word| word == "all") {
            architectures.push("all");
        }
        let mut any = false;
        for architecture in architectures {
            let directory = format!("{component}/binary-{architecture}");
            let plain = format!("{directory}/Packages");
            // The plain form's size is known even where only compressed ones can be fetched.
            let limit = self.release.files.get(&plain).map_or(MAX_INDEX, |f| f.size.min(MAX_INDEX));
            let forms = self.forms(&plain);
            if forms.is_empty() {
                continue;
            }
            any = true;
            let (path, bytes, compression) =
                self.fetch_index(search, &directory, &forms, progress)?;
            let name = format!("{}/{path}", self.packages.suite());
            self.packages.add(&name, component, &bytes, compression, limit)?;
        }
        if any {
            return Ok(());
        }
        Err(self.no_component(component))
    }

    /// The first of an index's forms that can be had.
    fn fetch_index(
        &self,
        search: &Search<'_>,
        directory: &str,
        forms: &[(String, Listed, Compression)],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(String, Vec<u8>, Compression), Error> {
        let suite = self.packages.suite();
        let mut missing = None;
        for (path, listed, compression) in forms {
            let cached = search.cache.join(listed.sha256.to_string());
            if let Some(bytes) = read_checked(&cached, listed) {
                return Ok((path.clone(), bytes, *compression));
            }
            // By its digest first: that stays right while the mirror goes on to the next release.
            let by_hash = format!("{directory}/by-hash/SHA256/{}", listed.sha256);
            let names = [self.release.acquire_by_hash.then_some(&by_hash), Some(path)];
            for name in names.into_iter().flatten() {
                let url = url(&self.uri, &format!("dists/{suite}/{name}"));
                let mut report = |done| progress(Progress { path, done, total: listed.size });
                match download(search, &url, &cached, listed, &mut report)? {
                    Ok(bytes) => return Ok((path.clone(), bytes, *compression)),
                    Err(error @ http::Error::NotFound { .. }) => missing = Some(error),
                    Err(source) => return Err(self.fetch_error(source)),
                }
            }
        }
        let url = url(&self.uri, &format!("dists/{suite}/{directory}/Packages"));
        Err(self.fetch_error(missing.unwrap_or(http::Error::NotFound { url })))
    }

    fn fetch_error(&self, source: http::Error) -> Error {
        let uri = http::without_credentials(&self.uri);
        Error::Fetch { suite: self.packages.suite().to_owned(), uri, source }
    }
}

/// The URL of `path` in the archive at `uri`.
pub fn url(uri: &str, path: &str) -> String {
    let mut url = format!("{}/", uri.trim_end_matches('/'));
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'/'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'+'
            | b':' => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// Asks one archive after another for the suite's release file. Those that the host takes this very
/// suite from come first.
fn find_release(search: &Search<'_>, suite: &str) -> Result<(String, Release), Error> {
    let sources = &search.sources.sources;
    let (listing, others): (Vec<_>, Vec<_>) = sources.iter().partition(|s| lists(s, suite));
    if sources.is_empty() {
        return Err(Error::NoSource);
    }
    let mut tried = Vec::new();
    let mut all_answered = true;
    for source in listing.into_iter().chain(others) {
        let uri = http::without_credentials(&source.uri);
        let keyring = search.trust.keyring(source, lists(source, suite)).map_err(|source| {
            Error::Keyring { suite: suite.to_owned(), uri: uri.clone(), source }
        })?;
        let Some(keyring) = keyring else {
            let reason = "its keys are not those of the distribution".to_owned();
            tried.push(Tried { uri, reason });
            continue;
        };
        match fetch_release(search, source, suite, &keyring)? {
            Ok(release) => return Ok((source.uri.clone(), release)),
            Err(error) => {
                all_answered &= matches!(error, http::Error::NotFound { .. });
                tried.push(Tried { uri, reason: brief(&error) });
            }
        }
    }
    let suite = suite.to_owned();
    Err(if all_answered {
        Error::NoSuite { suite, tried }
    } else {
        Error::Unreachable { suite, tried }
    })
}

/// The inner error is one that another archive may make up for.
fn fetch_release(
    search: &Search<'_>,
    source: &Source,
    suite: &str,
    keyring: &Keyring,
) -> Result<Result<Release, http::Error>, Error> {
    let url = |name: &str| url(&source.uri, &format!("dists/{suite}/{name}"));
    let get = |name: &str| search.client.get_small(&url(name), MAX_RELEASE);
    let (name, release) = match get("InRelease") {
        Ok(bytes) => ("InRelease", Release::from_inrelease(&bytes, keyring, search.now)),
        Err(http::Error::NotFound { .. }) => {
            let parts = get("Release").and_then(|text| Ok((text, get("Release.gpg")?)));
            let (text, signature) = match parts {
                Ok(parts) => parts,
                Err(error) => return Ok(Err(error)),
            };
            ("Release", Release::from_detached(&text, &signature, keyring, search.now))
        }
        Err(error) => return Ok(Err(error)),
    };
    let checked = release.and_then(|release| release.check_suite(suite).map(|()| release));
    let url = http::without_credentials(&url(name));
    checked.map(Ok).map_err(|source| Error::Release { url, source })
}

/// Downloads into the cache. Each process has its own part, so that several can do this at once.
fn download(
    search: &Search<'_>,
    url: &str,
    cached: &Path,
    listed: &Listed,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<Vec<u8>, http::Error>, Error> {
    let io = |source| Error::Cache { path: search.cache.to_owned(), source };
    let part = tempfile::Builder::new()
        .prefix("index-")
        .suffix(".part")
        .tempfile_in(search.cache)
        .map_err(io)?
        .into_temp_path();
    let expected = Object { sha256: listed.sha256, size: listed.size };
    if let Err(error) = search.client.download(url, &part, expected, progress) {
        return Ok(Err(error));
    }
    let bytes = read_checked(&part, listed)
        .ok_or_else(|| io(io::Error::other("a file in it changed while it was written")))?;
    part.persist(cached).map_err(|error| io(error.error))?;
    Ok(Ok(bytes))
}

/// The bytes of the file, if it is there and is what is listed.
fn read_checked(path: &Path, listed: &Listed) -> Option<Vec<u8>> {
    let right_size = std::fs::metadata(path).ok()?.len() == listed.size;
    let bytes = right_size.then(|| std::fs::read(path).ok())??;
    (Sha256::of(&bytes) == listed.sha256).then_some(bytes)
}

fn lists(source: &Source, suite: &str) -> bool {
    source.suites.iter().any(|known| known == suite)
}

/// An error and what is behind it, in one line.
fn brief(error: &http::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(" ({cause})"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn tried_list(tried: &[Tried]) -> String {
    let items: Vec<_> = tried.iter().map(|t| format!("{}: {}", t.uri, t.reason)).collect();
    items.join("; ")
}

const FORMS: [(&str, Compression); 3] =
    [(".xz", Compression::Xz), (".gz", Compression::Gzip), ("", Compression::None)];

/// Debian's release files have up to 200 kB, its largest index 65 MB.
const MAX_RELEASE: u64 = 16 << 20;
const MAX_INDEX: u64 = 1 << 30;
