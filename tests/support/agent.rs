//! The evidence agent as it is in a guest, running here over a directory of the test's, and a client for it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use counterfoil::guest;
use serde_json::Value;

/// An agent with a TCP port and a socket for the workload. It ends with this value.
pub struct Agent {
    child: Child,
    place: tempfile::TempDir,
    address: SocketAddr,
    arguments: Vec<OsString>,
    /// What PID 1 keeps while one agent follows another.
    _given: (File, UnixListener, TcpListener),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Agent {
    /// Starts the agent as PID 1 does, over a directory such as
    /// `/sys/kernel/config/tsm/report/counterfoil`.
    pub fn start(entry: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("evidence");
        fs::write(&program, guest::EVIDENCE).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let local = UnixListener::bind(place.path().join("socket")).unwrap();
        let remote = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = remote.local_addr().unwrap();
        let binding = place.path().join("binding");
        fs::write(&binding, [0; 32]).unwrap();
        let binding = File::options().read(true).write(true).open(binding).unwrap();
        let given = [binding.as_fd(), local.as_fd(), remote.as_fd()];
        let mut arguments = vec![entry.into()];
        for descriptor in given {
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()).unwrap();
            arguments.push(descriptor.as_raw_fd().to_string().into());
        }
        let child = spawn(place.path(), &arguments);
        Self { child, place, address, arguments, _given: (binding, local, remote) }
    }

    /// Another in its place, as when PID 1 finds that it has ended.
    pub fn again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.place.path(), &self.arguments);
    }

    /// The file that holds what is bound.
    pub fn binding(&self) -> PathBuf {
        self.place.path().join("binding")
    }

    /// Where anyone may ask.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the workload asks.
    pub fn socket(&self) -> PathBuf {
        self.place.path().join("socket")
    }

    /// What it said on its console so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("said")).unwrap()
    }

    /// What it says at its start.
    pub fn first_line(&self) -> String {
        let started = Instant::now();
        loop {
            let said = self.said();
            if let Some((line, _)) = said.split_once('\n') {
                return line.to_owned();
            }
            assert!(started.elapsed() < Duration::from_secs(10), "the agent says nothing");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What a remote caller gets.
    pub fn remote(&self, request: impl AsRef<[u8]>) -> Answer {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        exchange(stream, |stream| stream.shutdown(Shutdown::Write), request.as_ref())
    }

    /// What the workload gets.
    pub fn local(&self, request: impl AsRef<[u8]>) -> Answer {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        exchange(stream, |stream| stream.shutdown(Shutdown::Write), request.as_ref())
    }

    /// Binds, as the workload does.
    pub fn bind(&self, binding: &[u8]) -> Answer {
        self.local(with_body("PUT", "/binding", binding))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// The body, which must be JSON, as long as the head says, and one line.
    #[track_caller]
    pub fn json(&self) -> Value {
        let length = format!("Content-Length: {}\r\n", self.body.len());
        assert!(self.head.contains(&length), "{self:?}");
        assert!(self.head.contains("Content-Type: application/json\r\n"), "{self:?}");
        assert!(self.body.ends_with('\n') && self.body.lines().count() == 1, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// That it is this refusal.
    #[track_caller]
    pub fn is_refused(&self, status: u16, code: &str) {
        let json = self.json();
        assert_eq!((self.status, json["error"].as_str()), (status, Some(code)), "{self:?}");
    }
}

/// A request for evidence under this nonce, in hexadecimal digits.
pub fn evidence(nonce: &str) -> String {
    format!("GET /evidence?nonce={nonce} HTTP/1.1\r\nHost: guest\r\n\r\n")
}

/// A request with a body.
pub fn with_body(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: guest\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn spawn(place: &Path, arguments: &[OsString]) -> Child {
    let mut command = Command::new(place.join("evidence"));
    command.args(arguments);
    command.stderr(File::create(place.join("said")).unwrap());
    // While another test forks, its child holds what is open here, the program too.
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(10));
            }
            spawned => break spawned.unwrap(),
        }
    }
}

fn exchange<S: Read + Write>(
    mut stream: S,
    shutdown: impl FnOnce(&S) -> std::io::Result<()>,
    request: &[u8],
) -> Answer {
    // Of a request that is refused, not all may be taken.
    let _ = stream.write_all(request);
    let _ = shutdown(&stream);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
}
