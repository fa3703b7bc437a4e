//! The ends of a guest that PID 1 chooses.

use rustix::process::Signal;
use rustix::system::RebootCommand;

use crate::console::{Failure, say};
use crate::{start, sys};

/// How to end.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    PowerOff,
    Reboot,
    Panic,
}

/// Kills what still runs, writes what is to be written, and ends the guest.
///
/// Returns only if the kernel will not.
pub(crate) fn shutdown(way: Way) -> Result<(), Failure<'static>> {
    sys::kill_all(Signal::KILL.as_raw());
    rustix::fs::sync();
    let (what, command) = match way {
        Way::PowerOff => ("powering off", RebootCommand::PowerOff),
        Way::Reboot => ("rebooting", RebootCommand::Restart),
        Way::Panic => {
            say!("ending, so that the kernel panics");
            start::exit(1)
        }
    };
    say!("{what}");
    rustix::system::reboot(command).map_err(|errno| Failure::System("failed", what, errno))
}
