//! Answers: one line of JSON (RFC 8259), and the head of HTTP that goes before it.

use core::fmt::{self, Write};

use rustix::io::Errno;

use crate::reports::{Fault, Report};
use crate::text::Text;

/// Room for two blobs of the largest kind in base64, and what stands around them.
pub(crate) const LONGEST: usize = 96 * 1024;

/// What is answered: the JSON, and how HTTP calls it.
pub(crate) struct Answer {
    status: &'static str,
    /// The method to take in place of the one that was.
    allow: Option<&'static str>,
    body: Text<LONGEST>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    BadRequest(&'static str),
    NotFound,
    /// The one method that the path takes.
    Method(&'static str),
    /// Something else is bound.
    BindingSet,
    /// Too many others wait for reports.
    Busy,
    Report(Fault),
}

impl Answer {
    /// The report, as it was asked for.
    pub(crate) fn report(
        report: &Report,
        report_data: &[u8; 64],
        nonce: Option<&[u8; 32]>,
        binding: Option<&[u8; 32]>,
    ) -> Self {
        Self::of("200 OK", None, |out| {
            write!(out, "{{\"version\":1,\"provider\":\"{}\"", report.provider())?;
            write!(out, ",\"report\":\"{}\"", Base64(report.report()))?;
            let certificates = report.certificates().unwrap_or_default();
            write!(out, ",\"certificates\":\"{}\"", Base64(certificates))?;
            write!(out, ",\"report_data\":\"{}\"", Hex(report_data))?;
            writeln!(out, ",\"nonce\":{},\"binding\":{}}}", OrNull(nonce), OrNull(binding))
        })
    }

    /// What is bound now.
    pub(crate) fn bound(binding: &[u8; 32]) -> Self {
        Self::of("200 OK", None, |out| {
            writeln!(out, "{{\"version\":1,\"binding\":\"{}\"}}", Hex(binding))
        })
    }

    pub(crate) fn refusal(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::BadRequest(_) => ("400 Bad Request", "bad-request"),
            Refusal::NotFound => ("404 Not Found", "not-found"),
            Refusal::Method(_) => ("405 Method Not Allowed", "method-not-allowed"),
            Refusal::BindingSet => ("409 Conflict", "binding-set"),
            Refusal::Busy => ("503 Service Unavailable", "busy"),
            Refusal::Report(fault) => ("503 Service Unavailable", fault.code()),
        };
        let allow = match refusal {
            Refusal::Method(allowed) => Some(allowed),
            _ => None,
        };
        Self::of(status, allow, |out| {
            writeln!(out, "{{\"version\":1,\"error\":\"{code}\",\"message\":\"{refusal}\"}}")
        })
    }

    fn of(
        status: &'static str,
        allow: Option<&'static str>,
        body: impl FnOnce(&mut Text<LONGEST>) -> fmt::Result,
    ) -> Self {
        let mut answer = Self { status, allow, body: Text::new() };
        if body(&mut answer.body).is_err() {
            // No report is so long; half of an answer would be worse than none.
            answer = Self { status: "500 Internal Server Error", allow: None, body: Text::new() };
        }
        answer
    }

    /// What goes before the body.
    pub(crate) fn head(&self) -> Text<256> {
        let mut head = Text::new();
        let length = self.body.as_str().len();
        let _ = write!(head, "HTTP/1.1 {}\r\nContent-Type: application/json\r\n", self.status);
        if let Some(allow) = self.allow {
            let _ = write!(head, "Allow: {allow}\r\n");
        }
        let _ = write!(head, "Content-Length: {length}\r\nConnection: close\r\n\r\n");
        head
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.body.as_str().as_bytes()
    }
}

/// A sentence, of characters that JSON takes as they are.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(why) => f.write_str(why),
            Self::NotFound => f.write_str("there is nothing here to ask for"),
            Self::Method(allowed) => write!(f, "only {allowed} is answered here"),
            Self::BindingSet => f.write_str("something else is bound already, and stays so"),
            Self::Busy => f.write_str("too many ask for evidence: ask again later"),
            Self::Report(Fault::NoProvider) => f.write_str(
                "this kernel offers no attestation provider: is this an SEV-SNP guest, and are the \
                 modules configfs, tsm_report and sev_guest there?",
            ),
            Self::Report(Fault::Conflict) => f.write_str(
                "somebody else asked for a report at the same time in the same place: ask again",
            ),
            Self::Report(Fault::Failed(what, errno)) => write!(f, "{what}: {}", Reason(*errno)),
        }
    }
}

/// An error number in words, for those that reports fail with.
struct Reason(Errno);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            Errno::ACCESS | Errno::PERM => "not permitted",
            // Linux, drivers/virt/coco/sev-guest: the host lets so many requests through and no more.
            Errno::AGAIN | Errno::BUSY | Errno::TIMEDOUT => "busy, ask again later",
            Errno::FBIG => "longer than any that is known",
            Errno::INVAL => "not as the kernel documents it",
            Errno::IO => "the security processor or the host refused",
            Errno::NODATA => "empty",
            errno => return write!(f, "error {}", errno.raw_os_error()),
        };
        write!(f, "{words} (error {})", self.0.raw_os_error())
    }
}

struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Digits, or `null`.
struct OrNull<'b>(Option<&'b [u8; 32]>);

impl fmt::Display for OrNull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "\"{}\"", Hex(bytes)),
            None => f.write_str("null"),
        }
    }
}

/// RFC 4648, section 4, with padding.
struct Base64<'b>(&'b [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for chunk in self.0.chunks(3) {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                f.write_char(match at <= chunk.len() {
                    true => DIGITS[(bits >> (18 - 6 * at) & 63) as usize].into(),
                    false => '=',
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]
            .into_iter()
            .enumerate();
        for (length, expected) in cases {
            assert_eq!(Base64(&b"foobar"[..length]).to_string(), expected);
        }
        assert_eq!(Base64(&[0xfb, 0xff, 0xbf]).to_string(), "+/+/");
    }

    #[test]
    fn the_largest_report_has_room() {
        let answer = Answer::report(&Report::full(), &[1; 64], Some(&[2; 32]), Some(&[3; 32]));
        let (head, body) = (answer.head(), answer.body());
        assert!(head.as_str().starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(head.as_str().contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.ends_with(b"\"}\n"));
    }

    #[test]
    fn refusals_are_json_with_a_code() {
        for refusal in [
            Refusal::BadRequest("why"),
            Refusal::NotFound,
            Refusal::Method("GET"),
            Refusal::BindingSet,
            Refusal::Busy,
            Refusal::Report(Fault::NoProvider),
            Refusal::Report(Fault::Conflict),
            Refusal::Report(Fault::Failed("what", Errno::TIMEDOUT)),
            Refusal::Report(Fault::Failed("what", Errno::NOSYS)),
        ] {
            let answer = Answer::refusal(refusal);
            let body = str::from_utf8(answer.body()).unwrap();
            let message = refusal.to_string();
            assert!(!message.contains(['"', '\\', '\n']), "{message}");
            assert!(body.starts_with("{\"version\":1,\"error\":\""), "{body}");
            assert!(body.ends_with(&format!(",\"message\":\"{message}\"}}\n")), "{body}");
            let head = answer.head();
            assert!(head.as_str().ends_with("Connection: close\r\n\r\n"));
            assert_eq!(head.as_str().contains("Allow: GET\r\n"), refusal == Refusal::Method("GET"));
        }
    }
}
