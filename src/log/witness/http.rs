//! As much of HTTP/1.1 (RFC 9112) as a witness needs, with bounds on everything that a stranger sends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// The largest request line and fields.
const MAX_HEAD: usize = 8 << 10;

/// The largest body: a proof, and a checkpoint with as many ML-DSA-44 signatures as a note may have.
const MAX_BODY: u64 = 288 << 10;

/// How long a request may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the rest of a request is read that was answered before it was there.
const LINGER: Duration = Duration::from_secs(1);

/// What a body is unless it is said.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// A request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// What is said to it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) media_type: &'static str,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// One line of text.
    pub(super) fn line(status: u16, line: &str) -> Self {
        Self { status, media_type: TEXT, body: format!("{line}\n").into_bytes() }
    }

    fn head(&self) -> String {
        // RFC 9110, section 15.
        let (reason, more) = match self.status {
            200 => ("OK", ""),
            400 => ("Bad Request", ""),
            403 => ("Forbidden", ""),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: GET, POST\r\n"),
            409 => ("Conflict", ""),
            411 => ("Length Required", ""),
            413 => ("Content Too Large", ""),
            422 => ("Unprocessable Content", ""),
            431 => ("Request Header Fields Too Large", ""),
            _ => ("Internal Server Error", ""),
        };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
            self.status,
            self.media_type,
            self.body.len()
        )
    }
}

/// Reads one request, lets `respond` answer it, and closes the connection.
///
/// # Errors
/// When the client goes away, or is slow.
pub(super) fn exchange(
    stream: &TcpStream,
    respond: impl FnOnce(Request) -> Reply,
) -> io::Result<()> {
    let mut timed = Timed { stream, until: Instant::now() + PATIENCE };
    let reply = match receive(&mut timed)? {
        Ok(request) => respond(request),
        Err(reply) => reply,
    };
    timed.until = Instant::now() + PATIENCE;
    timed.write_all(reply.head().as_bytes())?;
    timed.write_all(&reply.body)?;
    // To close on bytes that were not read is to reset the connection, and the answer with it.
    stream.shutdown(Shutdown::Write)?;
    timed.until = Instant::now() + LINGER;
    io::copy(&mut timed.take(4 * MAX_BODY), &mut io::sink()).map(drop)
}

/// A request, or why there is none.
fn receive(from: &mut impl Read) -> io::Result<Result<Request, Reply>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if bytes.len() > MAX_HEAD {
            return Ok(Err(Reply::line(431, "the request's head is too large")));
        }
        let mut piece = [0; 4096];
        match from.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    };
    let body = bytes.split_off(end + 4);
    bytes.truncate(end);
    let head = String::from_utf8(bytes).ok();
    let Some((mut request, length)) = head.as_deref().and_then(parse) else {
        return Ok(Err(Reply::line(400, "this is no request of HTTP/1.1")));
    };
    let length = match length {
        Length::None => 0,
        // Chunks would need a parser of their own, and no client of this protocol has need of them.
        Length::Chunked => return Ok(Err(Reply::line(411, "expected a Content-Length"))),
        Length::Is(length) if length > MAX_BODY => {
            return Ok(Err(Reply::line(413, &format!("a request has at most {MAX_BODY} bytes"))));
        }
        Length::Is(length) => length,
    };
    let have = body.len() as u64;
    request.body = body;
    if have > length {
        return Ok(Err(Reply::line(400, "the request is longer than it says")));
    }
    from.take(length - have).read_to_end(&mut request.body)?;
    match request.body.len() as u64 == length {
        true => Ok(Ok(request)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// How long a body is.
enum Length {
    None,
    Is(u64),
    Chunked,
}

/// A request line and fields. Two lengths that differ, or a length beside an encoding, are how one request is
/// smuggled behind another (RFC 9112, section 6.3).
fn parse(head: &str) -> Option<(Request, Length)> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return None;
    }
    let mut length = Length::None;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim_matches([' ', '\t']);
        if name.is_empty() || name.contains([' ', '\t']) {
            return None;
        }
        if name.eq_ignore_ascii_case("content-length") {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let said = value.parse().ok().filter(|_| digits)?;
            length = match length {
                Length::None => Length::Is(said),
                _ => return None,
            };
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            length = match length {
                Length::Is(_) => return None,
                _ => Length::Chunked,
            };
        }
    }
    let request =
        Request { method: method.to_owned(), path: path.to_owned(), ..Request::default() };
    Some((request, length))
}

/// A connection with an end, however slowly its bytes come.
struct Timed<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
