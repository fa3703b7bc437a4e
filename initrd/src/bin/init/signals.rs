//! The signals that reach PID 1, as something to read. All are blocked, so none is lost and none
//! interrupts anything.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::Signal;

use crate::console::Failure;
use crate::sys;

pub(crate) struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks every signal and opens the queue.
    pub(crate) fn new() -> Result<Self, Failure<'static>> {
        sys::block_signals(u64::MAX);
        let fd = sys::signalfd(u64::MAX)
            .map_err(|errno| Failure::System("cannot wait for signals", "", errno))?;
        Ok(Self { fd })
    }

    /// The next signal that is waiting.
    pub(crate) fn next(&self) -> Option<i32> {
        // `struct signalfd_siginfo`: 128 bytes, the number first.
        let mut info = [0; 128];
        match rustix::io::read(&self.fd, &mut info) {
            Ok(128) => info.first_chunk().map(|number| i32::from_ne_bytes(*number)),
            _ => None,
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a signal to PID 1 asks for.
pub(crate) enum Wish {
    /// Hand it on to the workload.
    Forward(Signal),
    /// End the workload, then power off.
    Stop,
    /// Look around: a child has ended, or nothing that matters.
    Wake,
}

impl Wish {
    pub(crate) fn of(number: i32) -> Self {
        // SIGINT is what ctrl-alt-del has become; SIGPWR says that power fails.
        let stops = [Signal::TERM, Signal::INT, Signal::POWER];
        let forwards = [Signal::HUP, Signal::USR1, Signal::USR2];
        let same = |signal: &Signal| signal.as_raw() == number;
        match forwards.into_iter().find(same) {
            Some(signal) => Self::Forward(signal),
            None if stops.iter().any(same) => Self::Stop,
            None => Self::Wake,
        }
    }
}
