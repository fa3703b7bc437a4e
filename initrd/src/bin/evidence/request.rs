//! As much of an HTTP/1.1 request (RFC 9112) as there is to ask, and nothing that could be read in two ways.

use crate::answer::Refusal;

/// The longest request, head and body.
pub(crate) const LONGEST: usize = 4096;

/// The longest body that anything takes: REPORT_DATA.
const LONGEST_BODY: usize = 64;

/// The path of evidence, up to the nonce.
const EVIDENCE: &[u8] = b"/evidence?nonce=";

/// What evidence holds while nothing is bound.
const NOTHING: [u8; 32] = [0; 32];

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// The workload's socket.
    Local,
    /// A network, or another machine's vsock. It may bring a nonce and nothing else.
    Remote,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// A report over these bytes.
    Report([u8; 64]),
    /// A report over this nonce and what is bound.
    Evidence([u8; 32]),
    /// That this be bound from here on.
    Bind([u8; 32]),
}

/// What has come of a request so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// It is not all there yet.
    Unfinished,
    /// It is, and this is what becomes of it.
    Done(Result<Asked, Refusal>),
}

/// Looks at what has come so far.
pub(crate) fn judge(bytes: &[u8], side: Side) -> Progress {
    match read(bytes) {
        Ok(Some(request)) => Progress::Done(request.asks(side)),
        Ok(None) => Progress::Unfinished,
        Err(why) => Progress::Done(Err(Refusal::BadRequest(why))),
    }
}

struct Request<'r> {
    method: &'r [u8],
    target: &'r [u8],
    body: &'r [u8],
}

impl Request<'_> {
    fn asks(&self, side: Side) -> Result<Asked, Refusal> {
        let path = self.target.split(|byte| *byte == b'?').next().unwrap_or_default();
        match (side, path) {
            (_, b"/evidence") => {
                self.must_be(b"GET", "GET")?;
                if !self.body.is_empty() {
                    return Err(Refusal::BadRequest("GET takes no body"));
                }
                let nonce = self.target.strip_prefix(EVIDENCE).and_then(unhex);
                nonce.map(Asked::Evidence).ok_or(Refusal::BadRequest(
                    "evidence is asked for as /evidence?nonce= and 64 lower-case hexadecimal digits",
                ))
            }
            (Side::Local, b"/report") => {
                self.must_be(b"POST", "POST")?;
                self.body_alone("the body must be the 64 bytes of REPORT_DATA").map(Asked::Report)
            }
            (Side::Local, b"/binding") => {
                self.must_be(b"PUT", "PUT")?;
                match self.body_alone("the body must be the 32 bytes to bind")? {
                    NOTHING => Err(Refusal::BadRequest("32 zeros say that nothing is bound")),
                    binding => Ok(Asked::Bind(binding)),
                }
            }
            _ => Err(Refusal::NotFound),
        }
    }

    fn must_be(&self, method: &[u8], allowed: &'static str) -> Result<(), Refusal> {
        if self.method == method { Ok(()) } else { Err(Refusal::Method(allowed)) }
    }

    fn body_alone<const N: usize>(&self, why: &'static str) -> Result<[u8; N], Refusal> {
        if self.target.contains(&b'?') {
            return Err(Refusal::BadRequest("this path takes no query"));
        }
        self.body.try_into().map_err(|_| Refusal::BadRequest(why))
    }
}

/// A whole request, or none yet, or what is wrong with it.
fn read(bytes: &[u8]) -> Result<Option<Request<'_>>, &'static str> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() < LONGEST { Ok(None) } else { Err("the request is too long") };
    };
    let (line, mut rest) = split_line(&bytes[..end]);
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(b"HTTP/1.1" | b"HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the first line is not one of HTTP/1.1");
    };
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    if !is_method || target.first() != Some(&b'/') || !target.iter().all(u8::is_ascii_graphic) {
        return Err("the first line is not one of HTTP/1.1");
    }
    let mut length = None;
    while !rest.is_empty() {
        let (line, next) = split_line(rest);
        rest = next;
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a header without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // No blank before the colon, and no line that goes on with the one before (RFC 9112, 5.1 and 5.2).
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err("a header whose name is none");
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err("a header with control characters");
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err("a body must come with its length, and as it is");
        }
        if name.eq_ignore_ascii_case(b"content-length")
            && length.replace(number(value).ok_or("a length that is none")?).is_some()
        {
            return Err("two lengths");
        }
    }
    let length = length.unwrap_or(0);
    if length > LONGEST_BODY {
        return Err("a body longer than any that is taken");
    }
    match bytes[end + 4..].get(..length) {
        Some(body) => Ok(Some(Request { method, target, body })),
        None if bytes.len() < LONGEST => Ok(None),
        None => Err("the request is too long"),
    }
}

/// The first line, and what follows it. A line's end that stands alone is part of a line, and refused there.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(2).position(|window| window == b"\r\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[]),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// At most four digits: what is longer is too long whatever it says.
fn number(text: &[u8]) -> Option<usize> {
    if text.is_empty() || text.len() > 4 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

/// Exactly 64 lower-case digits.
fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn bad(bytes: &[u8]) -> bool {
        matches!(judge(bytes, Side::Local), Progress::Done(Err(Refusal::BadRequest(_))))
    }

    proptest! {
        /// From a remote side nothing comes but a nonce, whatever was sent and in how many pieces.
        #[test]
        fn no_bytes_ask_for_more_than_they_may(
            start in "(GET|POST|PUT|[A-Z]{0,5}) /(report|binding|evidence|evidence\\?nonce=[0-9a-f]{64})?",
            rest in prop_oneof![
                "( HTTP/1.[01]\r\n(Content-Length: (0|32|64)\r\n)?\r\n)?[ -~\r\n]{0,80}",
                "\\PC{0,200}",
            ],
            cut in 0_usize..400,
        ) {
            let text = [start.as_bytes(), rest.as_bytes()].concat();
            let text = &text[..cut.min(text.len())];
            let asked = judge(text, Side::Remote);
            let more = matches!(asked, Progress::Done(Ok(Asked::Report(_) | Asked::Bind(_))));
            prop_assert!(!more, "{}", text.escape_ascii());
            let _ = judge(text, Side::Local);
        }
    }

    #[test]
    fn what_may_be_asked() {
        let evidence = format!("GET /evidence?nonce={NONCE} HTTP/1.1\r\nHost: a\r\n\r\n");
        for side in [Side::Local, Side::Remote] {
            let Progress::Done(Ok(Asked::Evidence(nonce))) = judge(evidence.as_bytes(), side)
            else {
                panic!("{side:?}");
            };
            assert_eq!((nonce[0], nonce[1], nonce[31]), (0, 0x11, 0xff));
        }
        let report = [b"POST /report HTTP/1.1\r\ncontent-LENGTH:64 \r\n\r\n".as_slice(), &[7; 64]];
        let report = report.concat();
        let whole = Progress::Done(Ok(Asked::Report([7; 64])));
        assert_eq!(judge(&report, Side::Local), whole);
        assert_eq!(judge(&report, Side::Remote), Progress::Done(Err(Refusal::NotFound)));
        for end in 0..report.len() {
            assert_eq!(judge(&report[..end], Side::Local), Progress::Unfinished, "{end}");
        }
        let bind = [b"PUT /binding HTTP/1.0\r\nContent-Length: 32\r\n\r\n".as_slice(), &[8; 40]];
        let bind = bind.concat();
        assert_eq!(judge(&bind, Side::Local), Progress::Done(Ok(Asked::Bind([8; 32]))));
        assert_eq!(judge(&bind, Side::Remote), Progress::Done(Err(Refusal::NotFound)));
        let mut zeros = bind;
        zeros.iter_mut().rev().take(40).for_each(|byte| *byte = 0);
        assert!(bad(&zeros));
    }

    #[test]
    fn another_method_or_path() {
        let ask = |text: &str, side| judge(format!("{text} HTTP/1.1\r\n\r\n").as_bytes(), side);
        let local = |text| ask(text, Side::Local);
        assert_eq!(local("POST /evidence"), Progress::Done(Err(Refusal::Method("GET"))));
        assert_eq!(local("HEAD /evidence"), Progress::Done(Err(Refusal::Method("GET"))));
        assert_eq!(local("GET /report"), Progress::Done(Err(Refusal::Method("POST"))));
        assert_eq!(local("POST /binding"), Progress::Done(Err(Refusal::Method("PUT"))));
        for path in ["GET /", "GET /Evidence", "GET /evidence/", "PUT //binding", "OPTIONS /*"] {
            assert_eq!(local(path), Progress::Done(Err(Refusal::NotFound)), "{path}");
        }
        for path in ["GET /report", "POST /report", "PUT /binding", "GET /binding"] {
            assert_eq!(ask(path, Side::Remote), Progress::Done(Err(Refusal::NotFound)), "{path}");
        }
    }

    #[test]
    fn what_is_not_asked_right() {
        for target in [
            "/evidence".to_owned(),
            "/evidence?nonce=".to_owned(),
            format!("/evidence?nonce={}", &NONCE[1..]),
            format!("/evidence?nonce={NONCE}0"),
            format!("/evidence?nonce={NONCE}&nonce={NONCE}"),
            format!("/evidence?nonce={}", NONCE.to_uppercase()),
            format!("/evidence?Nonce={NONCE}"),
            format!("/evidence?x=1&nonce={NONCE}"),
            format!("/evidence?nonce={}%61", &NONCE[3..]),
        ] {
            assert!(bad(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()), "{target}");
        }
        let evidence =
            format!("GET /evidence?nonce={NONCE} HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
        assert!(bad(evidence.as_bytes()));
        for (head, body) in [
            ("POST /report HTTP/1.1\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nContent-Length: 63\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nContent-Length: 65\r\n\r\n", 0),
            ("POST /report HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", 0),
            ("POST /report HTTP/1.1\r\nContent-Length: 18446744073709551680\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nContent-Length: +64\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nContent-Length: 64, 64\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nContent-Length:\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nContent-Length: 64\r\nContent-Length: 64\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nContent-Length : 64\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nA: b\r\n Content-Length: 64\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nA: b\nContent-Length: 64\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\nA\r\nContent-Length: 64\r\n\r\n", 64),
            ("POST /report HTTP/1.1\r\n: b\r\nContent-Length: 64\r\n\r\n", 64),
            ("POST /report?x HTTP/1.1\r\nContent-Length: 64\r\n\r\n", 64),
            ("PUT /binding HTTP/1.1\r\nContent-Length: 64\r\n\r\n", 64),
            ("post /report HTTP/1.1\r\n\r\n", 0),
            ("POST  /report HTTP/1.1\r\n\r\n", 0),
            ("POST /report HTTP/2.0\r\n\r\n", 0),
            ("POST /report\r\n\r\n", 0),
            ("POST http://guest/report HTTP/1.1\r\n\r\n", 0),
            ("POST /re\tport HTTP/1.1\r\n\r\n", 0),
            ("\r\n\r\n", 0),
        ] {
            assert!(bad(&[head.as_bytes(), &vec![1; body]].concat()), "{head}");
        }
        assert!(bad(&[b'a'; LONGEST]));
        let long = [&[b'a'; LONGEST - 4][..], b"\r\n\r\n"].concat();
        assert!(bad(&long));
        let late = format!(
            "POST /report HTTP/1.1\r\nA: {}\r\nContent-Length: 64\r\n\r\n",
            "a".repeat(4022)
        );
        assert!(late.len() < LONGEST && late.len() + 64 > LONGEST);
        let mut late = late.into_bytes();
        late.resize(LONGEST, 1);
        assert!(bad(&late));
    }
}
