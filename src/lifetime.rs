//! Not outliving the process that asked for this one.

use std::io;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Has this process killed when its parent ends. (What it becomes by exec(2) is bound, too, unless
/// that gains rights: prctl(2), PR_SET_PDEATHSIG.)
///
/// # Errors
/// prctl(2)'s.
pub(crate) fn bind() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// The same, if the parent is still the process `parent`, who asked for this one: it may have died
/// before.
///
/// # Errors
/// Also when it is gone.
pub(crate) fn bind_to(parent: u32) -> io::Result<()> {
    bind()?;
    match getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) == Some(parent) {
        true => Ok(()),
        false => Err(io::Error::other("the process that asked for this one is gone")),
    }
}
