//! A small HTTP client: whole small files, and large ones that resume where they were cut off.
//!
//! A URL is only where bytes may be had. What they must be is said by a digest, so redirects,
//! mirrors and proxies need no trust. `file:` URLs are read from the disk by the same rules.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sha2::Digest as _;
use ureq::ResponseExt as _;
use ureq::http::HeaderMap;
use ureq::tls::{RootCerts, TlsConfig};

use crate::digest::{Object, Sha256};

/// How patient a [`Client`] is, and which proxy it goes through.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The proxy's URL. `None` leaves it to `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    pub proxy: Option<String>,
    /// How often a request is made before its failure is final.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles before each further one.
    pub pause: Duration,
    /// How long a connection, an answer, or the next bytes of a body may take; and a body altogether, with a second
    /// more for every [`SLOWEST`] bytes.
    pub patience: Duration,
}

/// An HTTP client.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    attempts: u32,
    pause: Duration,
    patience: Duration,
    /// What every request says about who asks (RFC 9110, section 11.6.2); a redirection is not told.
    authorization: Option<Hidden>,
}

/// What no message may show.
#[derive(Clone)]
struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What a server says to a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body, without its parameters.
    pub media_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why something could not be fetched. URLs are shown without their user name and password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a URL that this client can fetch.
    #[error(
        "`{url}` cannot be fetched: expected a url that begins with http://, https:// or file:///"
    )]
    BadUrl {
        /// The text given.
        url: String,
    },
    /// The proxy's address is not a URL.
    #[error("the proxy `{proxy}` is not a url: expected one such as http://proxy.example.org:3128")]
    BadProxy {
        /// The text given.
        proxy: String,
    },
    /// A local file could not be read or written; the disk may be full.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bytes are not the promised ones.
    #[error("`{url}` is not what was promised: expected {expected}, got {got}; try another mirror")]
    Mismatch {
        /// Where the bytes came from.
        url: String,
        /// The promised size or digest.
        expected: String,
        /// What was there.
        got: String,
    },
    /// The server has no such file: status 404 or 410, or no such local file.
    #[error("`{url}` was not found")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The server answered, but not with the file.
    #[error("`{url}` was refused: the server answered with status {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// For how many seconds the server asks to be left alone (RFC 9110, section 10.2.3).
        retry_after: Option<u64>,
    },
    /// A file that should be small is not.
    #[error("`{url}` is larger than {max} bytes, the most that such a file may be")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The bound.
        max: u64,
    },
    /// A small file comes in small pieces.
    #[error("`{url}` comes too slowly to be waited for")]
    TooSlow {
        /// What was asked for.
        url: String,
    },
    /// No answer, or the answer broke off, as often as was tried.
    #[error("`{url}` cannot be reached: check the network, the proxy and the address")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the last attempt said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            proxy: None,
            attempts: 4,
            pause: Duration::from_millis(500),
            patience: Duration::from_secs(30),
        }
    }
}

impl Client {
    /// A client with these settings.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let patience = Some(settings.patience);
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(5)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_send_body(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            // A transparently unpacked body would have neither the promised size nor ranges.
            .accept_encoding("identity")
            .user_agent(concat!("counterfoil/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls);
        if let Some(proxy) = &settings.proxy {
            let parsed = ureq::Proxy::new(proxy)
                .map_err(|_| Error::BadProxy { proxy: without_credentials(proxy) })?;
            config = config.proxy(Some(parsed));
        }
        Ok(Self {
            agent: config.build().new_agent(),
            attempts: settings.attempts.max(1),
            pause: settings.pause,
            patience: settings.patience,
            authorization: None,
        })
    }

    /// The same client, asking in somebody's name.
    #[must_use]
    pub fn authorized(&self, authorization: Option<String>) -> Self {
        Self { authorization: authorization.map(Hidden), ..self.clone() }
    }

    /// Makes a request of any kind, once.
    pub(crate) fn agent(&self) -> &ureq::Agent {
        &self.agent
    }

    /// The whole of a file that may have at most `max_bytes`.
    pub fn get_small(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>, Error> {
        Ok(self.get_page(url, max_bytes)?.1)
    }

    /// The same, and where redirections led: what links in it are relative to.
    pub fn get_page(&self, url: &str, max_bytes: u64) -> Result<(String, Vec<u8>), Error> {
        let mut attempt = 1;
        loop {
            match self.get_once(url, max_bytes) {
                Err(error) if attempt < self.attempts && error.is_transient() => {
                    self.wait(attempt);
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Sends `body` by POST, once, and returns whatever the server answers with at most `max_bytes`. No redirection
    /// is followed: what is sent is for this server alone.
    pub fn post(&self, url: &str, body: &[u8], max_bytes: u64) -> Result<Answer, Error> {
        if local_path(url)?.is_some() {
            return Err(Error::BadUrl { url: without_credentials(url) });
        }
        let request = self.agent.post(url).config().max_redirects(0).build();
        let request = request.content_type("text/plain; charset=utf-8");
        let response = request.send(body).map_err(|error| unreachable(url, error))?;
        let (status, headers) = (response.status().as_u16(), response.headers());
        let media_type = header(headers, "content-type")
            .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let body = self.at_most(response.into_body().into_reader(), url, max_bytes)?;
        Ok(Answer { status, media_type, body })
    }

    /// How many bytes `url` leads to, as the server announces it.
    pub fn size(&self, url: &str) -> Result<u64, Error> {
        if let Some(path) = local_path(url)? {
            let metadata = open_local(url, &path)?.metadata();
            return metadata.map(|m| m.len()).map_err(|source| Error::Io { path, source });
        }
        // Not HEAD: servers that sign or redirect by method answer it otherwise.
        let response = self.get(url).call().map_err(|error| unreachable(url, error))?;
        match response.status().as_u16() {
            200 => response.body().content_length().ok_or_else(|| Error::Unreachable {
                url: without_credentials(url),
                source: "the server does not say how large the file is".into(),
            }),
            status => Err(refused(url, status, response.headers())),
        }
    }

    /// Fetches `url` into the file `part`, going on from what an earlier attempt left there.
    ///
    /// Returns when `part` holds exactly the expected bytes. `progress` is told how many are there.
    /// After [`Error::Mismatch`] no part is left; after any other error it is kept for next time.
    /// The caller sees to it that nobody else writes to `part` meanwhile.
    pub fn download(
        &self,
        url: &str,
        part: &Path,
        expected: Object,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let mut part = Part::open(part, expected.size)?;
        // A part of unknown origin gets one fresh start before its url is blamed.
        let mut inherited = part.len > 0;
        let mut attempt = 1;
        loop {
            progress(part.len);
            let before = part.len;
            match self.fetch(url, &mut part, expected.size, progress) {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    if part.len >= before.saturating_add(WORTHWHILE) {
                        attempt = 1;
                    }
                    if attempt >= self.attempts {
                        return Err(error);
                    }
                    self.wait(attempt);
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(part.abandon_if_wrong(error)),
            }
            let got = part.digest();
            if got == expected.sha256 {
                return Ok(());
            }
            if !inherited {
                return Err(part.abandon_if_wrong(mismatch(
                    url,
                    format!("sha256 {}", expected.sha256),
                    format!("sha256 {got}"),
                )));
            }
            inherited = false;
            part.restart()?;
        }
    }

    fn get(&self, url: &str) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let request = self.agent.get(url);
        match &self.authorization {
            Some(Hidden(authorization)) => request.header("Authorization", authorization),
            None => request,
        }
    }

    fn get_once(&self, url: &str, max: u64) -> Result<(String, Vec<u8>), Error> {
        let mut at = url.to_owned();
        let body: Box<dyn Read> = if let Some(path) = local_path(url)? {
            Box::new(open_local(url, &path)?)
        } else {
            let response = self.get(url).call().map_err(|error| unreachable(url, error))?;
            match response.status().as_u16() {
                200 => {
                    at = response.get_uri().to_string();
                    Box::new(response.into_body().into_reader())
                }
                status => return Err(refused(url, status, response.headers())),
            }
        };
        Ok((at, self.at_most(body, url, max)?))
    }

    /// One attempt to make `part` complete. `Ok` means that it has exactly `size` bytes.
    fn fetch(
        &self,
        url: &str,
        part: &mut Part<'_>,
        size: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        if part.len == size {
            return Ok(());
        }
        if let Some(path) = local_path(url)? {
            let mut file = open_local(url, &path)?;
            let offered = file.metadata().map_err(|source| Error::Io { path, source })?.len();
            if offered != size {
                return Err(mismatch(url, format!("{size} bytes"), format!("{offered} bytes")));
            }
            part.restart()?;
            return part.fill(url, &mut file, size, self.patience, progress);
        }
        let mut request = self.get(url);
        if part.len > 0 {
            request = request.header("Range", format!("bytes={}-", part.len));
        }
        let response = request.call().map_err(|error| unreachable(url, error))?;
        let offered = match response.status().as_u16() {
            200 => {
                // Either nothing was there yet, or the server does not do ranges.
                part.restart()?;
                header(response.headers(), "content-length").and_then(|text| text.parse().ok())
            }
            206 if part.len > 0 => match content_range(response.headers()) {
                Some((start, total)) if start == part.len => total,
                _ => {
                    part.restart()?;
                    return self.fetch(url, part, size, progress);
                }
            },
            416 if part.len > 0 => {
                part.restart()?;
                return self.fetch(url, part, size, progress);
            }
            status => return Err(refused(url, status, response.headers())),
        };
        if let Some(offered) = offered.filter(|offered| *offered != size) {
            return Err(mismatch(url, format!("{size} bytes"), format!("{offered} bytes")));
        }
        part.fill(url, &mut response.into_body().into_reader(), size, self.patience, progress)
    }

    /// All of a body that has at most `max` bytes.
    fn at_most(&self, mut body: impl Read, url: &str, max: u64) -> Result<Vec<u8>, Error> {
        all_of(&mut body, max, self.patience).map_err(|stopped| match stopped {
            Stopped::TooLarge => Error::TooLarge { url: without_credentials(url), max },
            Stopped::TooSlow => Error::TooSlow { url: without_credentials(url) },
            Stopped::Broken(error) => unreachable(url, error),
        })
    }

    fn wait(&self, attempt: u32) {
        thread::sleep(self.pause.saturating_mul(1 << attempt.saturating_sub(1).min(6)));
    }
}

impl Error {
    /// Whether the same request may well succeed a little later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Unreachable { source, .. } => match source.downcast_ref::<ureq::Error>() {
                Some(ureq::Error::Io(error)) => error.kind() != io::ErrorKind::ConnectionRefused,
                // A host that does not answer at all is not waited for again and again.
                Some(ureq::Error::Timeout(phase)) => {
                    !matches!(phase, ureq::Timeout::Resolve | ureq::Timeout::Connect)
                }
                Some(ureq::Error::Protocol(_)) => true,
                Some(_) => false,
                None => true,
            },
            _ => false,
        }
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It has more bytes than it may.
    TooLarge,
    /// It comes in small pieces.
    TooSlow,
    /// It broke off.
    Broken(io::Error),
}

/// All of a body that has at most `max` bytes, and comes at some pace.
pub(crate) fn all_of(
    body: &mut dyn Read,
    max: u64,
    patience: Duration,
) -> Result<Vec<u8>, Stopped> {
    let pace = Pace::begin(patience);
    let mut bytes = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stopped::Broken(error)),
        }
        if bytes.len() as u64 > max {
            return Err(Stopped::TooLarge);
        }
        if pace.is_too_slow(bytes.len() as u64) {
            return Err(Stopped::TooSlow);
        }
    }
}

/// How fast something comes. That each byte comes in time is not enough: they may come one by one.
#[derive(Clone, Copy, Debug)]
struct Pace {
    since: Instant,
    patience: Duration,
}

impl Pace {
    /// Begins to wait: for so long, and longer for what has come.
    fn begin(patience: Duration) -> Self {
        Self { since: Instant::now(), patience }
    }

    /// Whether it is too slow to be waited for, after so many bytes.
    fn is_too_slow(&self, bytes: u64) -> bool {
        self.since.elapsed() > self.patience + Duration::from_secs(bytes / SLOWEST)
    }
}

/// The file that a download grows in, and the digest of what is in it so far.
struct Part<'a> {
    path: &'a Path,
    file: File,
    hasher: sha2::Sha256,
    len: u64,
}

impl<'a> Part<'a> {
    fn open(path: &'a Path, size: u64) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let mut part = Self { path, file, hasher: sha2::Sha256::default(), len: 0 };
        if part.file.metadata().map_err(io)?.len() > size {
            part.restart()?;
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            match part.file.read(&mut buffer).map_err(io)? {
                0 => return Ok(part),
                // It was measured just now: either somebody else writes to it, or it is a device.
                n if part.len + n as u64 > size => {
                    part.restart()?;
                    return Ok(part);
                }
                n => {
                    part.hasher.update(&buffer[..n]);
                    part.len += n as u64;
                }
            }
        }
    }

    fn restart(&mut self) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.to_owned(), source };
        self.file.set_len(0).map_err(io)?;
        self.file.seek(SeekFrom::Start(0)).map_err(io)?;
        self.hasher = sha2::Sha256::default();
        self.len = 0;
        Ok(())
    }

    fn fill(
        &mut self,
        url: &str,
        body: &mut dyn Read,
        size: u64,
        patience: Duration,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let (pace, before) = (Pace::begin(patience), self.len);
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = match body.read(&mut buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreachable(url, error)),
            };
            if n == 0 && self.len == size {
                return Ok(());
            }
            if n == 0 {
                return Err(unreachable(
                    url,
                    io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("it ended after {} of {size} bytes", self.len),
                    ),
                ));
            }
            let len = self.len + n as u64;
            if len > size {
                return Err(mismatch(url, format!("{size} bytes"), "more than that".to_owned()));
            }
            self.file
                .write_all(&buffer[..n])
                .map_err(|source| Error::Io { path: self.path.to_owned(), source })?;
            self.hasher.update(&buffer[..n]);
            self.len = len;
            progress(len);
            if pace.is_too_slow(len - before) {
                let slow = io::Error::new(io::ErrorKind::TimedOut, "it comes too slowly");
                return Err(unreachable(url, slow));
            }
        }
    }

    fn digest(&self) -> Sha256 {
        Sha256(self.hasher.clone().finalize().into())
    }

    /// Wrong bytes are not worth keeping: the next run would only find them wrong again.
    fn abandon_if_wrong(&self, error: Error) -> Error {
        if matches!(error, Error::Mismatch { .. })
            && let Err(source) = std::fs::remove_file(self.path)
        {
            return Error::Io { path: self.path.to_owned(), source };
        }
        error
    }
}

/// `url` without the user name and password it may carry, for messages and records.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// The path of a `file:` URL (RFC 8089), `None` for HTTP, an error for anything else.
fn local_path(url: &str) -> Result<Option<PathBuf>, Error> {
    let bad = || Error::BadUrl { url: without_credentials(url) };
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => Ok(None),
        Some("file") => {
            let rest = &url["file:".len()..];
            let path = rest.strip_prefix("//localhost").or(rest.strip_prefix("//")).unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(bad());
            }
            percent_decoded(path).map(|path| Some(PathBuf::from(path))).ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}

/// `text` with its escapes resolved (RFC 3986, section 2.1); `None` when they are none, or no text.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn open_local(url: &str, path: &Path) -> Result<File, Error> {
    // A pipe or a device would block, or never end.
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => File::open(path),
        Ok(_) => Err(io::ErrorKind::NotFound.into()),
        Err(error) => Err(error),
    }
    .map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::NotFound { url: url.to_owned() }
        }
        _ => Error::Unreachable { url: url.to_owned(), source: source.into() },
    })
}

fn refused(url: &str, status: u16, headers: &HeaderMap) -> Error {
    let url = without_credentials(url);
    let seconds = || headers.get("retry-after")?.to_str().ok()?.trim().parse().ok();
    match status {
        404 | 410 => Error::NotFound { url },
        status => Error::Refused { url, status, retry_after: seconds() },
    }
}

fn unreachable(url: &str, error: impl Into<ureq::Error>) -> Error {
    Error::Unreachable { url: without_credentials(url), source: Box::new(error.into()) }
}

fn mismatch(url: &str, expected: String, got: String) -> Error {
    Error::Mismatch { url: without_credentials(url), expected, got }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The first byte and the total of `Content-Range: bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = header(headers, "content-range")?.strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    match total.trim() {
        "*" => Some((start, None)),
        total => Some((start, Some(total.parse().ok()?))),
    }
}

const BUFFER: usize = 64 << 10;

/// The slowest line, in bytes a second, on which something is waited for to its end.
pub const SLOWEST: u64 = 8 << 10;

/// An attempt that brought this much further is no failure: it resets the count of attempts, so a
/// shaky line gets there, while a server that sends a byte at a time does not hold us for ever.
const WORTHWHILE: u64 = 1 << 20;
