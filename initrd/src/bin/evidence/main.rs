//! The evidence agent: it asks the kernel for attestation reports, for the workload and for whoever wants
//! to know what runs here.
//!
//! The workload asks on a socket of its own, over bytes that it chooses, and says there what evidence is to
//! be bound to. Others bring a nonce; what is then reported over is computed here, so that nobody else's
//! binding comes into a report of this guest.
//!
//! PID 1 makes the sockets and the entry among the kernel's requests, which outlive this program: it runs as a
//! user of its own, without any other right. It keeps nothing but the binding, opens nothing but that entry,
//! and serves one connection at a time, none for longer than a few seconds. A remote caller who is slow does
//! not hold up the workload.
#![cfg_attr(counterfoil_guest, no_std, no_main)]
#![deny(unsafe_code)]

mod answer;
mod reports;
mod request;

#[path = "../start.rs"]
mod start;

#[path = "../text.rs"]
mod text;

use core::cell::Cell;
use core::convert::Infallible;
use core::ffi::CStr;
use core::fmt::Write as _;

use counterfoil_init::evidence::report_data;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};

use answer::{Answer, Refusal};
use reports::Reports;
use request::{Asked, Progress, Side};
use text::Text;

const NAME: &str = "counterfoil-evidence";

/// How long a caller may take to ask, and again to take the answer, in milliseconds.
const PATIENCE: u64 = 3000;

/// The most sockets for remote callers: TCP and vsock.
const MOST_REMOTES: usize = 2;

#[cfg(not(counterfoil_guest))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(run(start::Args::NONE) as u8)
}

/// The arguments: the agent's entry among the kernel's requests for reports, and the numbers of the sockets
/// that listen, first the workload's.
fn run(args: start::Args) -> i32 {
    let (Some(entry), Some(local)) = (args.nth(1), args.nth(2).and_then(listener)) else {
        start::complain(b"usage: evidence ENTRY LOCAL [REMOTE] [REMOTE]\n");
        return 2;
    };
    let mut remotes = [None; MOST_REMOTES];
    for (at, remote) in remotes.iter_mut().enumerate() {
        let Some(argument) = args.nth(3 + at) else { break };
        *remote = listener(argument);
        if remote.is_none() {
            start::complain(b"evidence: not a socket that listens\n");
            return 2;
        }
    }
    let agent = Agent { reports: Reports { entry }, local, remotes, binding: Cell::new(None) };
    agent.say_who_reports();
    match agent.serve() {
        Ok(never) => match never {},
        Err(_) => {
            start::complain(b"evidence: cannot listen\n");
            1
        }
    }
}

/// A socket that listens, by its number. It must not hold the agent up when a caller leaves before it is
/// accepted.
fn listener(argument: &CStr) -> Option<BorrowedFd<'static>> {
    let socket = start::inherited(argument.to_str().ok()?.parse().ok()?)?;
    let listens = rustix::net::sockopt::socket_acceptconn(socket).ok()?;
    rustix::io::ioctl_fionbio(socket, true).ok()?;
    listens.then_some(socket)
}

struct Agent {
    reports: Reports,
    local: BorrowedFd<'static>,
    remotes: [Option<BorrowedFd<'static>>; MOST_REMOTES],
    /// What the workload has bound.
    binding: Cell<Option<[u8; 32]>>,
}

impl Agent {
    /// On the console, once: whoever reads it sees why there is no evidence.
    fn say_who_reports(&self) {
        let mut line = Text::<512>::new();
        let written = match self.reports.provider() {
            Ok(provider) => writeln!(line, "{NAME}: reports are made by `{}`", provider.as_str()),
            Err(fault) => writeln!(line, "{NAME}: no reports: {}", Refusal::Report(fault)),
        };
        if written.is_ok() {
            start::complain(line.as_str().as_bytes());
        }
    }

    fn serve(&self) -> Result<Infallible, Errno> {
        loop {
            // A socket that is not there is watched as the workload's once more.
            let of = |remote: Option<BorrowedFd<'static>>| remote.unwrap_or(self.local);
            let [one, two] = self.remotes;
            let mut sockets = [self.local, of(one), of(two)]
                .map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN));
            match rustix::event::poll(&mut sockets, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            self.accept(self.local, Side::Local)?;
            for remote in self.remotes.into_iter().flatten() {
                self.accept(remote, Side::Remote)?;
            }
        }
    }

    /// Serves one connection, if there is one.
    fn accept(&self, listener: BorrowedFd<'_>, side: Side) -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::accept_with(listener, flags) {
            // What goes wrong with one connection is that connection's loss.
            Ok(socket) => {
                let _ = Connection { agent: self, socket, side }.serve();
            }
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => pause(),
            Err(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => return Err(Errno::INVAL),
            // Nobody calls, or whoever did is gone already.
            Err(_) => {}
        }
        Ok(())
    }

    fn answer(&self, asked: Asked) -> Result<Answer, Refusal> {
        let (data, nonce, binding) = match asked {
            Asked::Bind(binding) => return self.bind(binding),
            Asked::Report(data) => (data, None, None),
            Asked::Evidence(nonce) => {
                let binding = self.binding.get();
                (report_data(&nonce, &binding.unwrap_or_default()), Some(nonce), binding)
            }
        };
        let report = self.reports.get(&data).map_err(Refusal::Report)?;
        Ok(Answer::report(&report, &data, nonce.as_ref(), binding.as_ref()))
    }

    /// Once, so that evidence stays true that was given. The same again is no change, and a workload that is
    /// started again has an agent that knows of nothing.
    fn bind(&self, binding: [u8; 32]) -> Result<Answer, Refusal> {
        match self.binding.get() {
            Some(bound) if bound != binding => Err(Refusal::BindingSet),
            _ => {
                self.binding.set(Some(binding));
                Ok(Answer::bound(&binding))
            }
        }
    }
}

/// Waits for the kernel to have memory again.
fn pause() {
    let _ = rustix::event::poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
}

struct Connection<'a> {
    agent: &'a Agent,
    socket: OwnedFd,
    side: Side,
}

impl Connection<'_> {
    fn serve(&self) -> Result<(), Errno> {
        let until = start::milliseconds() + PATIENCE;
        let mut bytes = [0; request::LONGEST];
        let mut length = 0;
        let asked = loop {
            if let Progress::Done(asked) = request::judge(&bytes[..length], self.side) {
                break asked;
            }
            match self.receive(&mut bytes[length..], until)? {
                0 => break Err(Refusal::BadRequest("the request ends before its end")),
                count => length += count,
            }
        };
        let answered = asked.and_then(|asked| self.agent.answer(asked));
        let answer = answered.unwrap_or_else(Answer::refusal);
        // A report takes as long as the security processor takes, which is not the caller's fault.
        let until = start::milliseconds() + PATIENCE;
        self.send(answer.head().as_str().as_bytes(), until)?;
        self.send(answer.body(), until)?;
        // To close with something unread would be a reset, which may overtake the answer.
        rustix::net::shutdown(&self.socket, Shutdown::Write)?;
        let mut rest = 0;
        while rest < 64 * 1024 {
            match self.receive(&mut bytes, until)? {
                0 => break,
                count => rest += count,
            }
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8], until: u64) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::AGAIN | Errno::INTR) => self.wait(PollFlags::IN, until)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    fn send(&self, mut bytes: &[u8], until: u64) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => self.wait(PollFlags::OUT, until)?,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Waits for the caller. While a remote one is waited for, the workload is served.
    fn wait(&self, flags: PollFlags, until: u64) -> Result<(), Errno> {
        let left = until.saturating_sub(start::milliseconds());
        if left == 0 {
            return Err(Errno::TIMEDOUT);
        }
        // At most `PATIENCE`.
        let timeout =
            Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 };
        let caller = PollFd::new(&self.socket, flags);
        if self.side == Side::Local {
            return rustix::event::poll(&mut [caller], Some(&timeout)).map(drop);
        }
        let local = self.agent.local;
        let workload = PollFd::from_borrowed_fd(local, PollFlags::IN);
        rustix::event::poll(&mut [caller, workload], Some(&timeout))?;
        // No request for a report is half done while a caller is waited for, so another fits in between.
        self.agent.accept(local, Side::Local)
    }
}
