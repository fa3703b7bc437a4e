//! A registry, as far as releases need it (OCI Distribution Specification 1.1).

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use ureq::http::{Method, Request, Response};
use ureq::{Body, SendBody};

use crate::digest::{Object, Sha256};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::http::{self, Client, Stopped, without_credentials};
use crate::oci::challenge::{Challenge, Credentials, escaped, token};
use crate::oci::descriptor::Descriptor;
use crate::oci::manifest::{INDEX, Index, LARGEST, MANIFEST};
use crate::oci::reference::Reference;

/// A repository in a registry.
#[derive(Debug)]
pub struct Repository {
    client: Client,
    reference: Reference,
    /// Where the registry is, without a slash at the end.
    base: String,
    credentials: Option<Credentials>,
    authorization: RefCell<Option<String>>,
}

/// What refers to a manifest, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrers {
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Whether the registry cannot list them, so that an index under a tag does.
    pub by_tag: bool,
}

/// What a registry says that it has of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    No,
    /// All of it.
    Yes,
    /// Another number of bytes.
    Damaged,
}

/// A registry may take long to store what it got ("Pushing a blob monolithically"): gigabytes go to another
/// machine before it answers.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long a registry may take none of a blob's bytes. How long it may take for all of them, nobody knows.
const STALLED: Duration = Duration::from_secs(60);

/// How many pages of referrers are read.
const PAGES: usize = 64;

/// The most bytes of all pages: a thousand attachments, and others'.
const MOST_OF_LISTS: u64 = 8 << 20;

/// How often a blob is sent before it is given up.
const ATTEMPTS: u32 = 3;

impl Repository {
    /// The one of `reference`. Without encryption, which `plain` asks for, a loopback registry is spoken to
    /// anyway: that it is who it is, the machine itself says.
    pub fn new(
        client: Client,
        reference: &Reference,
        plain: bool,
        credentials: Option<Credentials>,
    ) -> Self {
        let scheme = if plain || reference.is_loopback() { "http" } else { "https" };
        Self {
            client,
            base: format!("{scheme}://{}", reference.host),
            reference: reference.clone(),
            credentials,
            authorization: RefCell::new(None),
        }
    }

    /// Which one it is.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The bytes of a manifest by tag or by digest; `None` when there is none.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the registry does not answer or refuses; [`Kind::Rejected`] when it gives
    /// another manifest than the one of that digest.
    pub fn manifest(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let url = self.url(&format!("manifests/{name}"));
        let accept = [("Accept", format!("{MANIFEST}, {INDEX}"))];
        let response = self.send(Method::GET, &url, &accept, &[])?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            _ => return Err(refused(&url, response)),
        }
        let bytes = read(&url, response, LARGEST)?;
        match name.strip_prefix("sha256:") {
            Some(digest) if digest != Sha256::of(&bytes).to_string() => {
                let message = format!(
                    "`{name}` in `{}` is not what was pushed: its bytes have another digest",
                    self.place()
                );
                Err(Error::new(Kind::Rejected, message)
                    .hint("the registry, or what it stores, was tampered with or damaged"))
            }
            _ => Ok(Some(bytes)),
        }
    }

    /// Puts a manifest there, by tag or by digest. Whether the registry noted what it refers to.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the registry does not answer or refuses.
    pub fn put_manifest(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<bool> {
        let url = self.url(&format!("manifests/{name}"));
        let response =
            self.send(Method::PUT, &url, &[("Content-Type", media_type.to_owned())], bytes)?;
        match response.status().as_u16() {
            200..=204 => Ok(response.headers().contains_key("oci-subject")),
            _ => Err(refused(&url, response)),
        }
    }

    /// Whether the registry has a blob already, as far as it says: "Checking if content exists in the registry"
    /// gives a size, which tells of a blob that was cut off. Other bytes of the right number are seen only by
    /// whoever gets them.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the registry does not answer or refuses.
    pub fn has(&self, object: Object) -> Result<Held> {
        let url = self.url(&format!("blobs/sha256:{}", object.sha256));
        let response = self.send(Method::HEAD, &url, &[], &[])?;
        match response.status().as_u16() {
            200 => {
                let size = response.headers().get("content-length").and_then(|it| it.to_str().ok());
                match size.is_none_or(|size| size == object.size.to_string()) {
                    true => Ok(Held::Yes),
                    false => Ok(Held::Damaged),
                }
            }
            404 => Ok(Held::No),
            _ => Err(refused(&url, response)),
        }
    }

    /// Sends a blob, which `open` gives from its beginning each time.
    ///
    /// # Errors
    /// [`Kind::Environment`] when it cannot be read, or the registry does not answer or refuses.
    pub fn put<R: Read>(
        &self,
        object: Object,
        mut open: impl FnMut() -> Result<R>,
        advance: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut attempt = 1;
        loop {
            let again = attempt < ATTEMPTS;
            match self.put_once(object, open()?, advance) {
                Ok(response) if matches!(response.status().as_u16(), 200..=204) => return Ok(()),
                // A token may have run out on the way; one that fits is got at the next beginning.
                Ok(response)
                    if again && matches!(response.status().as_u16(), 401 | 408 | 429 | 500..) =>
                {
                    self.authorization.replace(None);
                }
                Ok(response) => return Err(refused(&self.url("blobs/uploads/"), response)),
                Err(Sending::Broken(_)) if again => {}
                Err(Sending::Broken(error) | Sending::Final(error)) => return Err(error),
            }
            std::thread::sleep(Duration::from_millis(500) * attempt);
            attempt += 1;
        }
    }

    /// "Pushing a blob monolithically", by POST then PUT.
    fn put_once(
        &self,
        object: Object,
        blob: impl Read,
        advance: &mut dyn FnMut(u64),
    ) -> Result<Response<Body>, Sending> {
        let start = self.url("blobs/uploads/");
        let response = self.send(Method::POST, &start, &[], &[]).map_err(Sending::Broken)?;
        if response.status().as_u16() != 202 {
            return Err(Sending::Final(refused(&start, response)));
        }
        let location = response.headers().get("location").and_then(|it| it.to_str().ok());
        let location = location.and_then(|it| self.absolute(it)).ok_or_else(|| {
            let message = format!("`{}` does not say where to send a blob", self.base);
            Sending::Final(Error::new(Kind::Environment, message))
        })?;
        // The connection is to be used again.
        drop(read(&start, response, LARGEST));
        let mark = if location.contains('?') { '&' } else { '?' };
        let digest = escaped(&format!("sha256:{}", object.sha256));
        let url = format!("{location}{mark}digest={digest}");
        let mut request = self.request(Method::PUT, &url).map_err(Sending::Final)?;
        request = request.header("Content-Type", "application/octet-stream");
        request = request.header("Content-Length", object.size);
        let mut counted = Counted { reader: blob, done: 0, advance };
        let body = SendBody::from_reader(&mut counted);
        let request = request.body(body).map_err(|error| {
            Sending::Final(Error::caused(Kind::Environment, format!("`{}`", shown(&url)), error))
        })?;
        let agent = self.client.agent();
        let request = agent
            .configure_request(request)
            .timeout_send_body(None)
            .timeout_per_write(Some(STALLED))
            .timeout_recv_response(Some(PATIENCE))
            .build();
        agent.run(request).map_err(|error| Sending::Broken(unreachable(&url, error)))
    }

    /// Gets a blob into the file `part`, which then has exactly its bytes; what is there of it already is
    /// not got again.
    ///
    /// # Errors
    /// [`Kind::Rejected`] when the registry has other bytes; [`Kind::Environment`] when it does not answer.
    pub fn get(&self, object: Object, part: &Path, advance: &mut dyn FnMut(u64)) -> Result<()> {
        let url = self.url(&format!("blobs/sha256:{}", object.sha256));
        let mut fetch = || {
            let client = self.client.authorized(self.authorization.borrow().clone());
            client.download(&url, part, object, advance)
        };
        let result = match fetch() {
            Err(http::Error::Refused { status: 401, .. }) => {
                // Tokens run out; a request without a body gets another.
                self.has(object)?;
                fetch()
            }
            result => result,
        };
        result.map_err(|error| match &error {
            http::Error::Mismatch { .. } => Error::caused(
                Kind::Rejected,
                format!(
                    "the blob `sha256:{}` in `{}` is not what was pushed",
                    object.sha256,
                    self.place()
                ),
                error,
            )
            .hint("the registry, or what it stores, was tampered with or damaged"),
            http::Error::NotFound { .. } => Error::caused(
                Kind::CannotDecide,
                format!("`{}` lacks the blob `sha256:{}`", self.place(), object.sha256),
                error,
            ),
            _ => Error::caused(Kind::Environment, format!("failed getting `{url}`"), error),
        })
    }

    /// What refers to the manifest `subject` ("Listing Referrers"), or what an index under the "referrers
    /// tag" says that does.
    ///
    /// # Errors
    /// [`Kind::Environment`] when the registry does not answer or refuses; [`Kind::Malformed`] when what it
    /// lists is no list.
    pub fn referrers(&self, subject: Sha256) -> Result<Referrers> {
        let mut manifests = Vec::new();
        let mut left = MOST_OF_LISTS;
        let mut next = Some(self.url(&format!("referrers/sha256:{subject}")));
        for page in 0..PAGES {
            let Some(url) = next else { break };
            let response = self.send(Method::GET, &url, &[("Accept", INDEX.to_owned())], &[])?;
            match response.status().as_u16() {
                200 => {}
                404 if page == 0 => {
                    let manifests = self.index_by_tag(subject)?.manifests;
                    return Ok(Referrers { manifests, by_tag: true });
                }
                _ => return Err(refused(&url, response)),
            }
            let link = response.headers().get("link").and_then(|it| it.to_str().ok());
            next = link
                .and_then(next_page)
                .and_then(|it| self.absolute(it))
                .filter(|it| self.is_here(it));
            let bytes = read(&url, response, LARGEST.min(left))?;
            left -= bytes.len() as u64;
            let named = || format!("`{}` is no list of what refers to a manifest", shown(&url));
            manifests.extend(Index::parse(&bytes).context(Kind::Malformed, named)?.manifests);
        }
        Ok(Referrers { manifests, by_tag: false })
    }

    /// The index under the "referrers tag", empty where there is none.
    ///
    /// # Errors
    /// As [`Repository::referrers`].
    pub fn index_by_tag(&self, subject: Sha256) -> Result<Index> {
        let tag = referrers_tag(subject);
        let Some(bytes) = self.manifest(&tag)? else { return Ok(Index::empty()) };
        let named = || format!("`{}:{tag}` is no list of what refers to a manifest", self.place());
        Index::parse(&bytes).context(Kind::Malformed, named)
    }

    /// A request, whose answer is whatever it is, but for a question of who we are: that is answered once.
    fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Response<Body>> {
        let once = || {
            let mut request = self.request(method.clone(), url)?;
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let failed =
                |error| Error::caused(Kind::Environment, format!("`{}`", shown(url)), error);
            let agent = self.client.agent();
            let answer = match method == Method::PUT || method == Method::POST {
                true => agent.run(request.body(body).map_err(failed)?),
                false => agent.run(request.body(()).map_err(failed)?),
            };
            answer.map_err(|error| unreachable(url, error))
        };
        let response = once()?;
        if response.status().as_u16() != 401 || !self.is_here(url) {
            return Ok(response);
        }
        match self.authorize(&response)? {
            true => once(),
            false => Ok(response),
        }
    }

    fn request(&self, method: Method, url: &str) -> Result<ureq::http::request::Builder> {
        if url.starts_with("http://") && self.base.starts_with("https://") {
            let message =
                format!("`{}` leads to where nothing is encrypted: `{}`", self.base, shown(url));
            return Err(Error::new(Kind::Environment, message));
        }
        let request = Request::builder().method(method).uri(url);
        Ok(match &*self.authorization.borrow() {
            // Storage elsewhere, to which a registry sends us, must not learn who we are.
            Some(authorization) if self.is_here(url) => {
                request.header("Authorization", authorization)
            }
            _ => request,
        })
    }

    /// Does what the registry asks for; `false` when we cannot.
    fn authorize(&self, response: &Response<Body>) -> Result<bool> {
        let asked = response.headers().get_all("www-authenticate").iter();
        let asked = asked.filter_map(|it| Challenge::parse(it.to_str().ok()?)).next();
        let authorization = match (asked, &self.credentials) {
            (Some(Challenge::Basic), Some(credentials)) => credentials.basic(),
            (Some(challenge @ Challenge::Bearer { .. }), credentials) => {
                format!("Bearer {}", self.token(&challenge, credentials.as_ref())?)
            }
            _ => return Ok(false),
        };
        self.authorization.replace(Some(authorization));
        Ok(true)
    }

    fn token(&self, challenge: &Challenge, credentials: Option<&Credentials>) -> Result<String> {
        let url = challenge.url().unwrap_or_default();
        let plain = self.base.starts_with("http://") && url.starts_with("http://");
        if !url.starts_with("https://") && !plain {
            let message = format!(
                "`{}` sends us for a token to `{}`, where nothing is encrypted",
                self.base,
                shown(&url)
            );
            return Err(Error::new(Kind::Environment, message));
        }
        let client = self.client.authorized(credentials.map(Credentials::basic));
        let answer = client.get_small(&url, 1 << 20).map_err(|error| {
            Error::caused(Kind::Environment, format!("no token for `{}`", self.place()), error)
                .hint(who())
        })?;
        token(&answer).ok_or_else(|| {
            Error::new(Kind::Environment, format!("what `{}` answers is no token", shown(&url)))
        })
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.reference.repository)
    }

    /// Where a `Location` or a link leads, which may be without the registry's name.
    fn absolute(&self, location: &str) -> Option<String> {
        match location {
            _ if location.starts_with("//") => None,
            _ if location.starts_with('/') => Some(format!("{}{location}", self.base)),
            _ if location.starts_with("https://") || location.starts_with("http://") => {
                Some(location.to_owned())
            }
            _ => None,
        }
    }

    fn is_here(&self, url: &str) -> bool {
        url.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'))
    }

    /// For messages.
    fn place(&self) -> String {
        format!("{}/{}", self.reference.host, self.reference.repository)
    }
}

/// Why a blob was not sent.
enum Sending {
    /// The line broke off: it may hold the next time.
    Broken(Error),
    /// It would fail again.
    Final(Error),
}

/// Tells how much was read.
struct Counted<'a, R> {
    reader: R,
    done: u64,
    advance: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.done += count as u64;
        (self.advance)(self.done);
        Ok(count)
    }
}

/// "Referrers Tag Schema".
pub fn referrers_tag(subject: Sha256) -> String {
    format!("sha256-{subject}")
}

/// The target of `<URL>; rel="next"` (RFC 8288, section 3).
fn next_page(link: &str) -> Option<&str> {
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
    rest.split(';').any(next).then_some(url)
}

fn read(url: &str, response: Response<Body>, most: u64) -> Result<Vec<u8>> {
    let read = http::all_of(&mut response.into_body().into_reader(), most, STALLED);
    read.map_err(|stopped| match stopped {
        Stopped::TooLarge => {
            let message = format!("`{}` is larger than {most} bytes", shown(url));
            Error::new(Kind::Malformed, message)
        }
        Stopped::TooSlow => {
            let message = format!("`{}` comes too slowly to be waited for", shown(url));
            Error::new(Kind::Environment, message)
        }
        Stopped::Broken(error) => unreachable(url, error.into()),
    })
}

fn shown(url: &str) -> String {
    let url = without_credentials(url);
    // What comes after may be a secret that lets whoever has it write.
    url.split('?').next().unwrap_or_default().to_owned()
}

fn who() -> &'static str {
    "say who you are with `--username NAME --password-stdin`, or in Docker's config.json"
}

fn refused(url: &str, response: Response<Body>) -> Error {
    let status = response.status().as_u16();
    let mut message =
        format!("`{}` was refused: the registry answered with status {status}", shown(url));
    // "Error Codes": what it says, as far as it says it.
    let body = read(url, response, 64 << 10).unwrap_or_default();
    let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let first = said.as_ref().and_then(|it| it.get("errors")?.get(0));
    let field = |name: &str| first?.get(name)?.as_str();
    if let Some(code) = field("code") {
        message += &format!(": {code}");
        if let Some(text) = field("message") {
            message += &format!(", {text}");
        }
    }
    let error = Error::new(Kind::Environment, message);
    match status {
        401 | 403 => error.hint(who()),
        _ => error,
    }
}

fn unreachable(url: &str, error: ureq::Error) -> Error {
    let message = format!("`{}` cannot be reached", shown(url));
    let unencrypted = matches!(error, ureq::Error::Rustls(_));
    let error = Error::caused(Kind::Environment, message, error);
    match unencrypted {
        true => error.hint("a registry that does not encrypt is spoken to with `--plain-http`"),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        assert_eq!(
            next_page(r#"</v2/a/referrers/x?n=1>; rel="next""#),
            Some("/v2/a/referrers/x?n=1")
        );
        assert_eq!(next_page(r#"</v2/a>; rel="prev""#), None);
        assert_eq!(next_page("/v2/a"), None);
    }

    #[test]
    fn where_we_say_who_we_are() {
        let client = Client::new(&http::Settings::default()).unwrap();
        let reference = "registry.example/a".parse().unwrap();
        let there = Repository::new(client, &reference, false, None);
        assert!(there.is_here("https://registry.example/v2/a/blobs/uploads/1"));
        for other in [
            "https://registry.example.org/v2/",
            "http://registry.example/v2/",
            "https://registry.example",
        ] {
            assert!(!there.is_here(other), "{other}");
        }
        assert_eq!(there.absolute("//elsewhere.example/x"), None);
        assert!(there.request(Method::PUT, "http://storage.example/x").is_err());
    }
}
