//! The console: the only place where PID 1 says anything. The host reads it.

use core::fmt;

use counterfoil_init::plan::PlanError;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::disks;

/// Prints one line, in one write, after the program's name.
macro_rules! say {
    ($($argument:tt)*) => { $crate::console::line(format_args!($($argument)*)) };
}
pub(crate) use say;

/// Why the guest cannot go on.
#[derive(Clone, Copy)]
pub(crate) enum Failure<'a> {
    NoInterface,
    NoLease,
    Plan(PlanError),
    PlanNotText,
    /// What could not be done, to which thing (empty if there is but one), and why.
    System(&'static str, &'a str, Errno),
    /// Which volume, and why it is not there.
    Volume(&'a str, disks::Fault),
    /// Which scratch disk.
    Scratch(&'a str, disks::Fault),
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface => f.write_str("no network interface appeared"),
            Self::NoLease => f.write_str("no address by DHCP"),
            Self::Plan(error) => write!(f, "{error}"),
            Self::PlanNotText => f.write_str("the plan is not UTF-8"),
            Self::Volume(name, fault) => write!(f, "volume `{name}`: {fault}"),
            Self::Scratch(name, fault) => write!(f, "scratch `{name}`: {fault}"),
            Self::System(what, "", errno) => write!(f, "{what}: {}", Reason(*errno)),
            Self::System(what, which, errno) => write!(f, "{what} `{which}`: {}", Reason(*errno)),
        }
    }
}

/// An error number in words, for those that people meet.
struct Reason(Errno);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            Errno::ACCESS => "permission denied",
            Errno::BUSY => "busy",
            Errno::INVAL => "invalid argument",
            Errno::ISDIR => "is a directory",
            Errno::NOENT => "no such file",
            Errno::NOEXEC => "not a program or module for this kernel",
            Errno::NOTDIR => "not a directory",
            Errno::PERM => "not permitted",
            Errno::ROFS => "read-only file system",
            Errno::TOOBIG => "argument list too long",
            errno => return write!(f, "error {}", errno.raw_os_error()),
        };
        write!(f, "{words} (error {})", self.0.raw_os_error())
    }
}

/// Makes `/dev/console` the standard output and error, and `/dev/null` the standard input, of
/// PID 1. The kernel opens a console for PID 1 only if the initrd brings the device node.
pub(crate) fn open() -> Result<(), Failure<'static>> {
    let open = |path, flags| {
        rustix::fs::open(path, flags | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Failure::System("cannot open", path, errno))
    };
    let null = open("/dev/null", OFlags::RDONLY)?;
    let console = open("/dev/console", OFlags::WRONLY)?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&console))
        .and_then(|()| rustix::stdio::dup2_stderr(&console))
        .map_err(|errno| Failure::System("cannot use the console", "", errno))
}

pub(crate) fn line(message: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 512], length: 0 };
    let _ = fmt::write(&mut line, format_args!("{}: {message}", crate::NAME));
    line.bytes[line.length] = b'\n';
    crate::start::complain(&line.bytes[..=line.length]);
}

/// A line of at most 511 bytes and its end. What does not fit is dropped.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes().take(self.bytes.len() - 1 - self.length) {
            // A path or a name must not be able to draw on the reader's terminal.
            self.bytes[self.length] = if byte.is_ascii_control() { b'?' } else { byte };
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;

    use super::*;

    #[test]
    fn a_line_is_cut_and_cleaned() {
        let mut line = Line { bytes: [0; 512], length: 0 };
        line.write_str("a\x1b[2J\n").unwrap();
        assert_eq!(&line.bytes[..line.length], b"a?[2J?");
        for _ in 0..100 {
            line.write_str("0123456789").unwrap();
        }
        assert_eq!(line.length, 511);
    }

    #[test]
    fn a_failure_says_what_which_and_why() {
        let failure = Failure::System("cannot load module", "/lib/a.ko", Errno::NOENT);
        assert_eq!(failure.to_string(), "cannot load module `/lib/a.ko`: no such file (error 2)");
        let failure = Failure::System("cannot fork", "", Errno::AGAIN);
        assert_eq!(failure.to_string(), "cannot fork: error 11");
    }
}
