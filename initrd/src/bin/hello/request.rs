//! As much of an HTTP/1.1 request (RFC 9112) as it takes to answer it.

/// The longest request head.
pub(crate) const LONGEST: usize = 4096;

/// What is to be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Hello,
    /// As `Hello`, without the body.
    HelloHead,
    NotFound,
    Bad,
    /// The head is not all there yet.
    Unfinished,
}

/// Looks at what has come so far.
pub(crate) fn judge(bytes: &[u8]) -> Verdict {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() < LONGEST { Verdict::Unfinished } else { Verdict::Bad };
    };
    let line = bytes[..end].split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next();
    match (method, words.next(), words.next(), words.next()) {
        (_, _, Some(version), _) if version != b"HTTP/1.1" && version != b"HTTP/1.0" => {
            Verdict::Bad
        }
        (Some(b"GET"), Some(b"/"), Some(_), None) => Verdict::Hello,
        (Some(b"HEAD"), Some(b"/"), Some(_), None) => Verdict::HelloHead,
        (Some(b"GET" | b"HEAD"), Some([b'/', ..]), Some(_), None) => Verdict::NotFound,
        _ => Verdict::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_judged() {
        let cases: &[(&[u8], Verdict)] = &[
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Hello),
            (b"GET / HTTP/1.0\r\n\r\nmore", Verdict::Hello),
            (b"HEAD / HTTP/1.1\r\n\r\n", Verdict::HelloHead),
            (b"GET /x HTTP/1.1\r\n\r\n", Verdict::NotFound),
            (b"GET // HTTP/1.1\r\n\r\n", Verdict::NotFound),
            (b"POST / HTTP/1.1\r\n\r\n", Verdict::Bad),
            (b"GET  / HTTP/1.1\r\n\r\n", Verdict::Bad),
            (b"GET / HTTP/1.1 \r\n\r\n", Verdict::Bad),
            (b"GET / HTTP/2.0\r\n\r\n", Verdict::Bad),
            (b"GET /\r\n\r\n", Verdict::Bad),
            (b"get / HTTP/1.1\r\n\r\n", Verdict::Bad),
            (b"\r\n\r\n", Verdict::Bad),
            (b"GET / HTTP/1.1\n\n", Verdict::Unfinished),
            (b"GET / HTTP/1.1\r\nHost", Verdict::Unfinished),
            (b"", Verdict::Unfinished),
            (&[0; LONGEST], Verdict::Bad),
        ];
        for (bytes, verdict) in cases {
            assert_eq!(judge(bytes), *verdict, "{:?}", bytes.escape_ascii().to_string());
        }
    }
}
