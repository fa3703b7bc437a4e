//! The few words of the QEMU Machine Protocol that are needed (QEMU `docs/interop/qmp-spec.rst`).

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take. The monitor answers between instructions of the guest.
const PATIENCE: Duration = Duration::from_secs(10);

/// A monitor connection.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
    /// What has come of a line so far; a time-out may fall within one.
    line: Vec<u8>,
    events: VecDeque<Value>,
}

impl Monitor {
    /// Connects to the monitor at `socket` and leaves negotiation behind.
    ///
    /// # Errors
    /// When nobody listens yet, or it is no monitor.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor =
            Self { stream: BufReader::new(stream), line: Vec::new(), events: VecDeque::new() };
        monitor.read()?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Runs a command and returns what it returns.
    ///
    /// # Errors
    /// When the connection breaks or the command fails.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> io::Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        loop {
            let mut answer = self.read()?;
            if answer.get("event").is_some() {
                self.events.push_back(answer);
            } else if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            } else {
                return Err(io::Error::other(answer.to_string()));
            }
        }
    }

    /// Runs a command of the human monitor and returns its text.
    ///
    /// # Errors
    /// As [`Monitor::execute`].
    pub fn human(&mut self, line: &str) -> io::Result<String> {
        let value = self.execute("human-monitor-command", &json!({ "command-line": line }))?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// The next event, if one comes within `patience`; `None` at the end of the connection or when
    /// none came.
    pub fn event(&mut self, patience: Duration) -> Option<Value> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.stream.get_ref().set_read_timeout(Some(patience)).ok()?;
        let event = self.read();
        self.stream.get_ref().set_read_timeout(Some(PATIENCE)).ok()?;
        event.ok().filter(|value| value.get("event").is_some())
    }

    fn read(&mut self) -> io::Result<Value> {
        self.stream.read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = std::mem::take(&mut self.line);
        serde_json::from_slice(&line).map_err(io::Error::other)
    }
}
