//! A minimal HTTP/1.1 server for one directory, on the loopback interface.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How the server misbehaves, once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Promises the whole body, closes the connection after so many bytes of it.
    Cut(usize),
    /// Does not say how long the body is, and ends it after so many bytes.
    CutWithoutLength(usize),
    /// Sends the whole file whatever range is asked for.
    IgnoreRange,
    /// Answers a range with the bytes from another place.
    ShiftedRange,
    /// Another status, and no file.
    Status(u16),
    /// Status 429, and when to come again, in seconds.
    Throttle(u64),
    /// Sends to another path.
    Redirect(String),
    /// Another body than the file.
    Body(Vec<u8>),
    /// Promises the whole body, and falls silent after so many bytes of it.
    Stall(usize),
    /// Sends the body a byte at a time, with so much time between them.
    Drip(Duration),
    /// Closes the connection without an answer.
    Hang,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
    pub user_agent: Option<String>,
}

/// Stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    root: PathBuf,
    faults: Mutex<BTreeMap<String, VecDeque<Fault>>>,
    requests: Mutex<Vec<Request>>,
    stop: AtomicBool,
}

impl Server {
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.stop.load(Ordering::SeqCst) {
                        break;
                    }
                    // A client that goes away in the middle is part of the tests.
                    let _ = stream.and_then(|stream| shared.answer(&stream));
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.address, path.trim_start_matches('/'))
    }

    /// The archive's URI, for a server at the root of an archive.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Misbehaves at the next request for `path`; several calls, at several requests.
    pub fn fault(&self, path: &str, fault: Fault) {
        let path = format!("/{}", path.trim_start_matches('/'));
        self.shared.faults.lock().unwrap().entry(path).or_default().push_back(fault);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some(path) = line.split(' ').nth(1).map(str::to_owned) else { return Ok(()) };
        let mut request = Request { path, range: None, user_agent: None };
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                    request.range = Some(value.to_owned());
                }
                Some((name, value)) if name.eq_ignore_ascii_case("user-agent") => {
                    request.user_agent = Some(value.to_owned());
                }
                Some(_) => {}
            }
        }
        self.requests.lock().unwrap().push(request.clone());
        let fault =
            self.faults.lock().unwrap().get_mut(&request.path).and_then(VecDeque::pop_front);
        self.respond(stream, &request, fault)
    }

    fn respond(
        &self,
        mut stream: &TcpStream,
        request: &Request,
        fault: Option<Fault>,
    ) -> std::io::Result<()> {
        let mut file = self.root.join(request.path.trim_start_matches('/'));
        if request.path.ends_with('/') {
            file.push("index.html");
        }
        let mut body = match &fault {
            Some(Fault::Hang) => return Ok(()),
            Some(Fault::Status(status)) => {
                let head = format!(
                    "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                return stream.write_all(head.as_bytes());
            }
            Some(Fault::Throttle(seconds)) => {
                let head = format!(
                    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\
                     Connection: close\r\n\r\n"
                );
                return stream.write_all(head.as_bytes());
            }
            Some(Fault::Redirect(to)) => {
                let head = format!(
                    "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                return stream.write_all(head.as_bytes());
            }
            Some(Fault::Body(body)) => body.clone(),
            _ => match std::fs::read(file) {
                Ok(body) => body,
                Err(_) => return self.respond(stream, request, Some(Fault::Status(404))),
            },
        };
        let total = body.len();
        let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
        let start = request.range.as_deref().and_then(|range| {
            range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        if let Some(start) = start.filter(|_| !matches!(fault, Some(Fault::IgnoreRange))) {
            if start >= total {
                return self.respond(stream, request, Some(Fault::Status(416)));
            }
            let start = if matches!(fault, Some(Fault::ShiftedRange)) { start - 1 } else { start };
            body.drain(..start);
            head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            );
        }
        if !matches!(fault, Some(Fault::CutWithoutLength(_))) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let stalls = matches!(fault, Some(Fault::Stall(_)));
        if let Some(Fault::Cut(length) | Fault::CutWithoutLength(length) | Fault::Stall(length)) =
            &fault
        {
            body.truncate(*length);
        }
        head.push_str("Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        if let Some(Fault::Drip(pause)) = fault {
            return body.chunks(1).try_for_each(|byte| {
                thread::sleep(pause);
                stream.write_all(byte)
            });
        }
        stream.write_all(&body)?;
        if stalls {
            // Until the client goes away.
            let _ = stream.read(&mut [0]);
        }
        Ok(())
    }
}
