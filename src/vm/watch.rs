//! Watching a machine: its console, its end, and whether its firmware refused what it was handed.
//!
//! A refusal is silent: the firmware spins in `CpuDeadLoop` (edk2
//! `MdePkg/Library/BaseLib/CpuDeadLoop.c`) and says nothing. So the machine is stopped now and then
//! and the code at its instruction pointer looked at. The loop's compiled form holds the bytes
//! `f3 90 eb` (`pause`, then a short jump back); other code comes by such a place, so only several
//! sightings in a row count.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::vm::machine::MONITOR;
use crate::vm::qmp::Monitor;
use crate::vm::{Machine, Mode, Qemu};

/// Between two looks at the machine.
const INTERVAL: Duration = Duration::from_millis(300);

/// Sightings of the dead loop in a row that count as one.
const SIGHTINGS: u32 = 5;

/// `pause; jmp short`.
const SPIN: &str = "0xf3 0x90 0xeb";

/// The first words that a started kernel prints.
const KERNEL: &str = "Linux version";

/// What the firmware prints when it finds nothing to start (edk2 `BdsDxe`).
const NOTHING: &str = "No bootable option";

/// What the firmware prints when it crashes (edk2 `CpuExceptionHandlerLib`).
const EXCEPTION: &str = "!!!! X64 Exception";

/// Bytes of console kept to look for words in.
const KEPT: usize = 1 << 16;

/// How a machine ended, or where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest restarted itself, as a panicking kernel does.
    Reset,
    /// The firmware stopped without a word: what it was handed is not what the table names.
    Refused,
    /// The firmware found nothing that it may start.
    NothingToBoot,
    /// The firmware crashed, and said so.
    FirmwareCrashed,
    /// The time was up.
    TimedOut,
    /// Somebody asked for an end.
    Stopped,
    /// QEMU ended by itself.
    QemuFailed(String),
}

/// A running machine.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    console: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    monitor: Option<Monitor>,
    socket: PathBuf,
    emulated: bool,
    sightings: u32,
}

impl Watch {
    /// Starts `machine` in `qemu`. `directory` is the machine's own and outlives it.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(qemu: &Qemu, machine: &Machine, directory: &Path) -> io::Result<Self> {
        machine.prepare(directory)?;
        let mut words = qemu.command.iter();
        let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(words)
            .args(machine.arguments(directory))
            // QEMU looks for its images in the working directory first.
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, console) = mpsc::channel();
        if let Some(mut pipe) = child.stdout.take() {
            thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                    if sender.send(chunk[..count].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self {
            child,
            console,
            seen: Vec::new(),
            monitor: None,
            socket: directory.join(MONITOR),
            emulated: matches!(machine.mode, Mode::Emulated { .. }),
            sightings: 0,
        })
    }

    /// Waits until the machine ends, is refused, `stop` says so, or `deadline` has passed; what its
    /// console says goes to `out`.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn wait(
        &mut self,
        stop: impl Fn() -> bool,
        deadline: Option<Instant>,
        out: &mut dyn Write,
    ) -> io::Result<Outcome> {
        loop {
            let outcome = self.step(out)?;
            if stop() {
                return Ok(Outcome::Stopped);
            }
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Outcome::TimedOut);
            }
        }
    }

    /// Looks once, for about a third of a second. `None` while the machine runs.
    ///
    /// # Errors
    /// When `out` does not take what the console says.
    pub fn step(&mut self, out: &mut dyn Write) -> io::Result<Option<Outcome>> {
        let next = Instant::now() + INTERVAL;
        while let Ok(bytes) =
            self.console.recv_timeout(next.saturating_duration_since(Instant::now()))
        {
            self.take(&bytes, out)?;
        }
        if self.monitor.is_none() {
            self.monitor = Monitor::connect(&self.socket).ok();
        }
        let ended = self.child.try_wait()?;
        let reason = self.monitor.as_mut().and_then(shutdown_reason);
        if ended.is_some() || reason.is_some() {
            return self.end(reason.as_deref(), out).map(Some);
        }
        // A channel without sender returns at once; do not spin on it.
        thread::sleep(next.saturating_duration_since(Instant::now()));
        Ok(if self.emulated && !self.has_started() { self.look() } else { None })
    }

    /// Whether the kernel has said its first words.
    pub fn has_started(&self) -> bool {
        contains(&self.seen, KERNEL)
    }

    /// What the console has said, as far as it is kept.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn take(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        // Whoever read the console has enough of it; the machine runs on.
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
        let room = KEPT.saturating_sub(self.seen.len());
        self.seen.extend(bytes.iter().take(room));
        Ok(())
    }

    fn end(&mut self, reason: Option<&str>, out: &mut dyn Write) -> io::Result<Outcome> {
        // QEMU ends by itself after a shutdown event: `-no-reboot`.
        let status = self.child.wait()?;
        while let Ok(bytes) = self.console.recv_timeout(INTERVAL) {
            self.take(&bytes, out)?;
        }
        let reason = match reason {
            Some(reason) => Some(reason.to_owned()),
            None => self.monitor.as_mut().and_then(shutdown_reason),
        };
        Ok(match reason.as_deref() {
            Some("guest-shutdown") => Outcome::PoweredOff,
            Some("guest-reset" | "guest-panic") => Outcome::Reset,
            _ => {
                let mut said = String::new();
                if let Some(mut pipe) = self.child.stderr.take() {
                    let _ = pipe.read_to_string(&mut said);
                }
                let said = said.trim();
                let reason = reason.map(|reason| format!("{reason}, ")).unwrap_or_default();
                Outcome::QemuFailed(format!(
                    "{reason}{status}{}{said}",
                    if said.is_empty() { "" } else { ": " }
                ))
            }
        })
    }

    /// One look at the code under the instruction pointer.
    fn look(&mut self) -> Option<Outcome> {
        let spins =
            self.monitor.as_mut().is_some_and(|monitor| is_spinning(monitor).unwrap_or(false));
        self.sightings = if spins { self.sightings + 1 } else { 0 };
        if self.sightings < SIGHTINGS {
            return None;
        }
        Some(match () {
            () if contains(&self.seen, EXCEPTION) => Outcome::FirmwareCrashed,
            () if contains(&self.seen, NOTHING) => Outcome::NothingToBoot,
            () => Outcome::Refused,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn contains(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

fn shutdown_reason(monitor: &mut Monitor) -> Option<String> {
    while let Some(event) = monitor.event(Duration::from_millis(1)) {
        if event["event"] == "SHUTDOWN" {
            return Some(event["data"]["reason"].as_str().unwrap_or_default().to_owned());
        }
    }
    None
}

fn is_spinning(monitor: &mut Monitor) -> io::Result<bool> {
    monitor.execute("stop", &json!({}))?;
    let spinning = spinning_at_stop(monitor);
    monitor.execute("cont", &json!({}))?;
    spinning
}

fn spinning_at_stop(monitor: &mut Monitor) -> io::Result<bool> {
    let registers = monitor.human("info registers")?;
    let pointer = registers
        .split_once("RIP=")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let Some(pointer) = pointer else { return Ok(false) };
    let code = monitor.human(&format!("x/40xb {:#x}", pointer.saturating_sub(16)))?;
    // Each line is `address: byte byte …`.
    let bytes: Vec<&str> = code
        .lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, bytes)| bytes.split_whitespace())
        .collect();
    Ok(bytes.join(" ").contains(SPIN))
}
