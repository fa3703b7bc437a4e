//! The workload: one program, as one user, with exactly the plan's arguments and environment.

use core::fmt;

use counterfoil_init::plan::{Output, Plan};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitStatus};
use rustix::thread::CapabilitySet;

use crate::console::{Failure, say};
use crate::{start, sys};

/// Starts the workload.
///
/// When this returns its process, it runs its program: whatever keeps it from doing so is a
/// failure here, not an exit status there.
pub(crate) fn start<'p>(plan: &Plan<'p>) -> Result<Pid, Failure<'p>> {
    let arguments = sys::Strings::collect(plan.args().map(|text| text.as_str()));
    let environment = sys::Strings::collect(plan.env().map(|variable| variable.as_str()));
    let path = sys::Strings::collect([plan.exec.as_str()].into_iter());
    let (Some(arguments), Some(environment), Some(path)) = (arguments, environment, path) else {
        return Err(Failure::System("cannot start", plan.exec.as_str(), Errno::TOOBIG));
    };

    // The write end closes when the program starts. If something comes through first, it did not.
    let (failed_or_started, failed) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| Failure::System("cannot make a pipe", "", errno))?;
    let child = sys::fork().map_err(|errno| Failure::System("cannot fork", "", errno))?;
    let Some(child) = child else {
        let failure = match prepare(plan) {
            Ok(()) => {
                let errno = sys::execve(&path, &arguments, &environment);
                Failure::System("cannot execute", plan.exec.as_str(), errno)
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
    started(&failed_or_started, plan)?;
    Ok(child)
}

fn started<'p>(pipe: &rustix::fd::OwnedFd, plan: &Plan<'p>) -> Result<(), Failure<'p>> {
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
    say!("the workload: {}", core::str::from_utf8(what).unwrap_or_default());
    let errno = Errno::from_raw_os_error(i32::from_ne_bytes(*errno));
    Err(Failure::System("cannot start", plan.exec.as_str(), errno))
}

/// In the child: makes it the workload's process, with nothing of PID 1 left to it.
fn prepare<'p>(plan: &Plan<'p>) -> Result<(), Failure<'p>> {
    let step = |what| move |errno| Failure::System(what, "", errno);
    rustix::process::setsid().map_err(step("cannot start a session"))?;
    if plan.output == Output::Discard {
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(step("cannot open /dev/null"))?;
        rustix::stdio::dup2_stdout(&null)
            .and_then(|()| rustix::stdio::dup2_stderr(&null))
            .map_err(step("cannot use /dev/null"))?;
    }
    let (uid, gid) = (Uid::from_raw(plan.uid.as_u32()), Gid::from_raw(plan.gid.as_u32()));
    rustix::thread::set_no_new_privs(true).map_err(step("cannot set no_new_privs"))?;
    if !uid.is_root() {
        empty_bounding_set().map_err(step("cannot empty the bounding set"))?;
    }
    rustix::thread::set_thread_groups(&[]).map_err(step("cannot drop groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(step("cannot set the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(step("cannot set the user"))?;
    // As the user, so that the directory must be one that the user may enter.
    rustix::process::chdir(plan.workdir.as_str()).map_err(step("cannot enter the workdir"))?;
    sys::block_signals(0);
    Ok(())
}

/// Takes every capability away for good, from programs with file capabilities too. Not from root:
/// a workload that is to run as root is to have root's powers.
fn empty_bounding_set() -> Result<(), Errno> {
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

/// How the workload ended, in words.
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
