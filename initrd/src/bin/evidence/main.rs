//! The evidence agent: it asks the kernel for attestation reports, for the workload and for whoever wants
//! to know what runs here.
//!
//! The workload asks on a socket of its own, over bytes that it chooses, and says there what evidence is to
//! be bound to. Others bring a nonce; what is then reported over is computed here, so that nobody else's
//! binding comes into a report of this guest.
//!
//! PID 1 makes the sockets, the entry among the kernel's requests and a file for the binding, which outlive
//! this program: it runs as a user of its own, without any other right. It keeps nothing, and opens nothing but
//! that entry. Callers take turns: one who is slow to ask holds up nobody, the workload comes first, and for
//! others a report is made now and then only.
#![cfg_attr(counterfoil_guest, no_std, no_main)]
#![deny(unsafe_code)]

mod answer;
mod binding;
mod connection;
mod door;
mod pace;
mod reports;
mod request;

#[path = "../start.rs"]
mod start;

#[path = "../text.rs"]
mod text;

use core::convert::Infallible;
use core::ffi::CStr;
use core::fmt::Write as _;

use counterfoil_init::evidence::report_data;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use answer::{Answer, Refusal};
use binding::Binding;
use connection::after;
use door::Door;
use pace::Pace;
use reports::Reports;
use request::{Asked, Side};
use text::Text;

const NAME: &str = "counterfoil-evidence";

/// The most sockets for remote callers: TCP and vsock.
const MOST_REMOTES: usize = 2;

#[cfg(not(counterfoil_guest))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(run(start::Args::NONE) as u8)
}

/// The arguments: the agent's entry among the kernel's requests for reports, the number of the file that holds
/// what is bound, and those of the sockets that listen, first the workload's.
fn run(args: start::Args) -> i32 {
    let binding = args.nth(2).and_then(inherited).and_then(Binding::of);
    let local = args.nth(3).and_then(listener);
    let (Some(entry), Some(binding), Some(local)) = (args.nth(1), binding, local) else {
        start::complain(b"usage: evidence ENTRY BINDING LOCAL [REMOTE] [REMOTE]\n");
        return 2;
    };
    let mut remotes = [const { None }; MOST_REMOTES];
    for (at, remote) in remotes.iter_mut().enumerate() {
        let Some(argument) = args.nth(4 + at) else { break };
        let Some(socket) = listener(argument) else {
            start::complain(b"evidence: not a socket that listens\n");
            return 2;
        };
        *remote = Some(Door::new(socket, Side::Remote));
    }
    let mut agent = Agent { reports: Reports { entry }, binding, without_certificates: false };
    agent.say_who_reports();
    match serve(&mut agent, &mut Door::new(local, Side::Local), &mut remotes) {
        Ok(never) => match never {},
        Err(_) => {
            start::complain(b"evidence: cannot listen\n");
            1
        }
    }
}

/// A descriptor, by its number.
fn inherited(argument: &CStr) -> Option<BorrowedFd<'static>> {
    start::inherited(argument.to_str().ok()?.parse().ok()?)
}

/// A socket that listens, by its number. It must not hold the agent up when a caller leaves before it is
/// accepted.
fn listener(argument: &CStr) -> Option<BorrowedFd<'static>> {
    let socket = inherited(argument)?;
    let listens = rustix::net::sockopt::socket_acceptconn(socket).ok()?;
    rustix::io::ioctl_fionbio(socket, true).ok()?;
    listens.then_some(socket)
}

/// Everyone asks as it comes; answers are given one after another, of which some take a report's time. The
/// workload waits for one of each remote side at most.
fn serve(
    agent: &mut Agent,
    local: &mut Door,
    remotes: &mut [Option<Door>; MOST_REMOTES],
) -> Result<Infallible, Errno> {
    let mut pace = Pace::new();
    loop {
        for door in remotes.iter_mut().flatten().chain([&mut *local]) {
            door.turn(&mut pace);
            door.accept()?;
        }
        local.answer(|asked| agent.answer(asked));
        for door in remotes.iter_mut().flatten() {
            door.answer(|asked| {
                let started = start::milliseconds();
                let answer = agent.answer(asked);
                pace.took(start::milliseconds() - started);
                answer
            });
        }
        wait(local, remotes)?;
    }
}

/// Until somebody calls or says something, or it is time for an answer or for somebody to leave.
fn wait(local: &Door, remotes: &[Option<Door>; MOST_REMOTES]) -> Result<(), Errno> {
    const DOORS: usize = 1 + MOST_REMOTES;
    // What is not there is watched as the workload's socket, for nothing.
    let nothing = || PollFd::from_borrowed_fd(local.listener(), PollFlags::empty());
    let mut watched: [PollFd<'_>; DOORS * (1 + Door::PLACES)] = core::array::from_fn(|_| nothing());
    let mut places = watched.iter_mut();
    let now = start::milliseconds();
    let mut due = None;
    let mut sooner = |time: u64| due = Some(due.map_or(time, |due: u64| due.min(time)));
    for door in remotes.iter().flatten().chain([local]) {
        let listener = match door.room() {
            Some(room) if room <= now => {
                Some(PollFd::from_borrowed_fd(door.listener(), PollFlags::IN))
            }
            room => {
                room.into_iter().for_each(&mut sooner);
                None
            }
        };
        let callers = door.connections().filter_map(|connection| {
            sooner(connection.due());
            connection.watched()
        });
        for (place, descriptor) in places.by_ref().zip(listener.into_iter().chain(callers)) {
            *place = descriptor;
        }
    }
    let left = due.map(|due| after(due.saturating_sub(now)));
    match rustix::event::poll(&mut watched, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

struct Agent {
    reports: Reports,
    binding: Binding,
    /// Whether the console has it that they do not fit.
    without_certificates: bool,
}

impl Agent {
    /// On the console, once: whoever reads it sees why there is no evidence.
    fn say_who_reports(&self) {
        match self.reports.provider() {
            Ok(provider) => say(format_args!("reports are made by `{}`", provider.as_str())),
            Err(fault) => say(format_args!("no reports: {}", Refusal::Report(fault))),
        }
    }

    fn answer(&mut self, asked: Asked) -> Answer {
        let answered = match asked {
            Asked::Bind(binding) => self.binding.set(binding).map(|()| Answer::bound(&binding)),
            Asked::Report(data) => self.report(&data, None, None),
            Asked::Evidence(nonce) => self.binding.get().and_then(|binding| {
                let data = report_data(&nonce, &binding.unwrap_or_default());
                self.report(&data, Some(&nonce), binding.as_ref())
            }),
        };
        answered.unwrap_or_else(Answer::refusal)
    }

    fn report(
        &mut self,
        data: &[u8; 64],
        nonce: Option<&[u8; 32]>,
        binding: Option<&[u8; 32]>,
    ) -> Result<Answer, Refusal> {
        let report = self.reports.get(data).map_err(Refusal::Report)?;
        if report.certificates().is_none() && !self.without_certificates {
            say(format_args!("the host's certificates are too long, and are left out of answers"));
            self.without_certificates = true;
        }
        Ok(Answer::report(&report, data, nonce, binding))
    }
}

fn say(what: core::fmt::Arguments<'_>) {
    let mut line = Text::<512>::new();
    if writeln!(line, "{NAME}: {what}").is_ok() {
        start::complain(line.as_str().as_bytes());
    }
}
