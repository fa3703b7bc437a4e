//! Talking to the example in a machine.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// What the example's model of noise says, greedily, to this prompt: tests/tiny_gguf.rs holds the
/// model's bytes, and the lead of each token is wide enough for every back-end.
pub const PROMPT: &str = r#"{"prompt": "counterfoil", "max_tokens": 32, "temperature": 0}"#;
pub const ANSWER: &str = r#""text":"nlnxjzkmxemmmmmmgexjsshsjktsnjkm""#;

pub fn post(port: u16, path: &str, body: &str) -> Option<String> {
    let length = body.len();
    exchange(
        port,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// `None` while nobody answers: QEMU's forwarded port resets until the guest listens.
pub fn exchange(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}
