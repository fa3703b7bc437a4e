//! What PID 1 does for the rest of the guest's life: waits.

use core::convert::Infallible;

use counterfoil_init::plan::{OnExit, Plan};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::console::{Failure, say};
use crate::evidence::Agent;
use crate::network::Network;
use crate::process::Ending;
use crate::shutdown::{Way, shutdown};
use crate::signals::{Signals, Wish};
use crate::{start, sys, workload};

const RESTART_AFTER: u64 = 1000;

/// Runs the workload until the guest ends.
pub(crate) fn run<'p>(
    plan: &Plan<'p>,
    signals: &Signals,
    mut network: Option<Network>,
    mut agent: Option<Agent<'p>>,
) -> Result<Infallible, Failure<'p>> {
    let mut state = State::Running(workload::start(plan)?);
    loop {
        match state {
            State::Stopping { by, .. } if by <= start::milliseconds() => {
                say!("the workload did not end in time");
                shutdown(Way::PowerOff)?;
            }
            State::Paused { until } if until <= start::milliseconds() => {
                state = State::Running(workload::start(plan)?);
            }
            _ => {}
        }
        if let Some(agent) = &mut agent {
            agent.tend();
        }
        wait(&state, signals, network.as_ref(), agent.as_ref())?;
        if let Some(network) = &mut network {
            network.tend()?;
        }
        while let Some(number) = signals.next() {
            match (Wish::of(number), state) {
                (Wish::Stop, State::Running(pid)) => {
                    say!("asked to stop");
                    // It may have ended just now; then there is nobody to tell.
                    let _ = rustix::process::kill_process(pid, Signal::TERM);
                    let by = start::milliseconds() + u64::from(plan.grace.as_u16()) * 1000;
                    state = State::Stopping { pid, by };
                }
                (Wish::Stop, State::Paused { .. }) => shutdown(Way::PowerOff)?,
                (Wish::Forward(signal), State::Running(pid) | State::Stopping { pid, .. }) => {
                    let _ = rustix::process::kill_process(pid, signal);
                }
                _ => {}
            }
        }
        while let Some((pid, status)) = reap() {
            if let Some(agent) = &mut agent {
                agent.ended(pid, status);
            }
            state = match state {
                State::Running(workload) if pid == workload => {
                    let state = ended(plan, status)?;
                    if let Some(agent) = &mut agent {
                        agent.workload_ended();
                    }
                    state
                }
                State::Stopping { pid: workload, .. } if pid == workload => {
                    say!("the workload {}", Ending(status));
                    shutdown(Way::PowerOff)?;
                    state
                }
                other => other,
            };
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    Running(Pid),
    /// Told to end, and killed with everything else if it has not by then.
    Stopping {
        pid: Pid,
        by: u64,
    },
    /// Ended, to be started again.
    Paused {
        until: u64,
    },
}

fn ended<'p>(plan: &Plan<'p>, status: WaitStatus) -> Result<State, Failure<'p>> {
    say!("the workload {}", Ending(status));
    match plan.on_exit {
        OnExit::Poweroff => shutdown(Way::PowerOff)?,
        OnExit::Reboot => shutdown(Way::Reboot)?,
        OnExit::Panic => shutdown(Way::Panic)?,
        // What it left behind would hold its ports. The evidence agent ends with it.
        OnExit::Restart => sys::kill_all(Signal::KILL.as_raw()),
    }
    Ok(State::Paused { until: start::milliseconds() + RESTART_AFTER })
}

/// Waits for a signal, a packet, or for something to be due.
fn wait(
    state: &State,
    signals: &Signals,
    network: Option<&Network>,
    agent: Option<&Agent<'_>>,
) -> Result<(), Failure<'static>> {
    let due = [
        network.and_then(Network::due),
        agent.and_then(Agent::due),
        match state {
            State::Running(_) => None,
            State::Stopping { by, .. } => Some(*by),
            State::Paused { until } => Some(*until),
        },
    ];
    let left = due.into_iter().flatten().min().map(|due| {
        let left = due.saturating_sub(start::milliseconds());
        // Both fit: the one is some years at most, the other below a billion.
        Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 }
    });
    let signals = PollFd::new(signals, PollFlags::IN);
    let polled = match network {
        Some(network) => {
            rustix::event::poll(&mut [signals, PollFd::new(network, PollFlags::IN)], left.as_ref())
        }
        None => rustix::event::poll(&mut [signals], left.as_ref()),
    };
    polled.map(|_| ()).map_err(|errno| Failure::System("cannot wait", "", errno))
}

/// The next process that has ended: the workload, an orphan of it, or the evidence agent.
fn reap() -> Option<(Pid, WaitStatus)> {
    rustix::process::wait(WaitOptions::NOHANG).ok().flatten()
}
