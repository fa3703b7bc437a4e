//! PID 1 of a counterfoil guest.
//!
//! It does what the plan says and nothing else. The plan is in the measured initrd; so is this
//! program. It takes no instruction from its arguments or its environment, from the kernel's
//! command line only which volumes the plan's names stand for, and from the network an address only.
//!
//! Whatever goes wrong before the workload runs ends PID 1, and with it the guest: the kernel
//! panics. There is no shell and no second try, because a guest that is half set up is not the
//! guest that was measured.
#![cfg_attr(counterfoil_guest, no_std, no_main)]
#![deny(unsafe_code)]

mod console;
mod disks;
mod evidence;
mod modules;
mod mounts;
mod network;
mod process;
mod scratch;
mod shutdown;
mod signals;
mod supervise;
mod sys;
mod sysctl;
mod volumes;
mod workload;

#[path = "../start.rs"]
mod start;

#[path = "../text.rs"]
mod text;

use counterfoil_init::plan::{self, Plan};
use rustix::fs::{Mode, OFlags};
use rustix::system::RebootCommand;

use console::{Failure, say};

const NAME: &str = "counterfoil-init";

#[cfg(not(counterfoil_guest))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(run(start::Args::NONE) as u8)
}

/// Ends only by failing. The kernel then panics; the line on the console says why.
fn run(_: start::Args) -> i32 {
    if !rustix::process::getpid().is_init() {
        say!("not PID 1: this program runs in a guest only");
        return 2;
    }
    // One byte longer than a plan may be, so that a longer one is seen and never cut to fit.
    let mut buffer = [0; plan::MAX_BYTES + 1];
    match boot(&mut buffer) {
        Ok(never) => match never {},
        Err(failure) => {
            say!("{failure}");
            1
        }
    }
}

fn boot(buffer: &mut [u8]) -> Result<core::convert::Infallible, Failure<'_>> {
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    // From here on a signal waits until it is asked for.
    let signals = signals::Signals::new()?;
    mounts::mount_all()?;
    console::open()?;
    // Ctrl-Alt-Del becomes SIGINT, which powers off in order.
    rustix::system::reboot(RebootCommand::CadOff)
        .map_err(|errno| Failure::System("cannot disable ctrl-alt-del", "", errno))?;

    let plan = read_plan(buffer)?;
    if let Some(name) = plan.hostname {
        rustix::system::sethostname(name.as_str().as_bytes())
            .map_err(|errno| Failure::System("cannot set the host name", "", errno))?;
    }
    modules::load_all(&plan)?;
    sysctl::apply_all(&plan)?;
    if plan.latch_modules {
        modules::latch()?;
    }
    volumes::mount_all(&plan)?;
    scratch::mount_all(&plan)?;
    let network = network::up(&plan)?;
    if plan.root_read_only {
        mounts::make_root_read_only()?;
    }
    let agent = evidence::Agent::start(&plan)?;
    supervise::run(&plan, &signals, network, agent)
}

fn read_plan(buffer: &mut [u8]) -> Result<Plan<'_>, Failure<'_>> {
    let failed = |errno| Failure::System("cannot read", plan::PATH, errno);
    let file = rustix::fs::open(plan::PATH, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed)?;
    let mut length = 0;
    loop {
        match rustix::io::read(&file, &mut buffer[length..]).map_err(failed)? {
            0 => break,
            count => length += count,
        }
    }
    let text = core::str::from_utf8(&buffer[..length]).map_err(|_| Failure::PlanNotText)?;
    Plan::parse(text).map_err(Failure::Plan)
}
