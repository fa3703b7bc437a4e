//! The workload: one program, as one user, with exactly the plan's arguments and environment.

use counterfoil_init::plan::{Output, Plan};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::process::Pid;

use crate::console::Failure;
use crate::{process, sys};

/// Starts the workload.
pub(crate) fn start<'p>(plan: &Plan<'p>) -> Result<Pid, Failure<'p>> {
    let arguments = sys::Strings::collect(plan.args().map(|text| text.as_str()));
    let environment = sys::Strings::collect(plan.env().map(|variable| variable.as_str()));
    let program = plan.exec.as_str();
    process::start("the workload", program, arguments, environment, || prepare(plan))
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
    // A workload that is to run as root is to have root's powers.
    if !uid.is_root() {
        process::empty_bounding_set().map_err(step("cannot empty the bounding set"))?;
    }
    rustix::thread::set_thread_groups(&[]).map_err(step("cannot drop groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(step("cannot set the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(step("cannot set the user"))?;
    // As the user, so that the directory must be one that the user may enter.
    rustix::process::chdir(plan.workdir.as_str()).map_err(step("cannot enter the workdir"))?;
    sys::block_signals(0);
    Ok(())
}
