//! Starting a program, and knowing that it was started.

use core::fmt;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitStatus};
use rustix::thread::CapabilitySet;

use crate::console::{Failure, say};
use crate::start;
use crate::sys::{self, Strings};

/// Starts a program in a process that `prepare` makes its own.
///
/// When this returns the process, it runs its program: whatever keeps it from doing so is a failure here,
/// not an exit status there.
pub(crate) fn start<'p>(
    who: &str,
    program: &'p str,
    arguments: Option<Strings>,
    environment: Option<Strings>,
    prepare: impl FnOnce() -> Result<(), Failure<'p>>,
) -> Result<Pid, Failure<'p>> {
    let path = Strings::collect([program].into_iter());
    let (Some(arguments), Some(environment), Some(path)) = (arguments, environment, path) else {
        return Err(Failure::System("cannot start", program, Errno::TOOBIG));
    };

    // The write end closes when the program starts. If something comes through first, it did not.
    let (failed_or_started, failed) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| Failure::System("cannot make a pipe", "", errno))?;
    let child = sys::fork().map_err(|errno| Failure::System("cannot fork", "", errno))?;
    let Some(child) = child else {
        let failure = match prepare() {
            Ok(()) => {
                let errno = sys::execve(&path, &arguments, &environment);
                Failure::System("cannot execute", program, errno)
            }
            Err(failure) => failure,
        };
        let (what, errno) = match failure {
            Failure::System(what, _, errno) => (what, errno),
            _ => ("cannot prepare", Errno::INVAL),
        };
        let _ = rustix::io::write(&failed, &errno.raw_os_error().to_ne_bytes());
        let _ = rustix::io::write(&failed, what.as_bytes());
        start::exit(127);
    };
    drop(failed);
    started(&failed_or_started, who, program)?;
    Ok(child)
}

fn started<'p>(pipe: &rustix::fd::OwnedFd, who: &str, program: &'p str) -> Result<(), Failure<'p>> {
    let mut message = [0; 64];
    let mut length = 0;
    loop {
        match rustix::io::read(pipe, &mut message[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(errno) => return Err(Failure::System("cannot read from a pipe", "", errno)),
        }
    }
    let Some((errno, what)) = message[..length].split_first_chunk() else {
        return Ok(());
    };
    say!("{who}: {}", core::str::from_utf8(what).unwrap_or_default());
    let errno = Errno::from_raw_os_error(i32::from_ne_bytes(*errno));
    Err(Failure::System("cannot start", program, errno))
}

/// Takes every capability away for good, from programs with file capabilities too, and from root.
pub(crate) fn empty_bounding_set() -> Result<(), Errno> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first that this kernel does not have; there must have been some.
            Err(Errno::INVAL) if bit > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// How a program ended, in words.
pub(crate) struct Ending(pub(crate) WaitStatus);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.exit_status(), self.0.terminating_signal()) {
            (Some(status), _) => write!(f, "exited with status {status}"),
            (None, Some(signal)) => write!(f, "was killed by signal {signal}"),
            (None, None) => f.write_str("ended"),
        }
    }
}
