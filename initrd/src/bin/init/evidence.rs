//! The evidence agent: a program beside the workload, which asks the kernel for attestation reports.
//!
//! Its sockets are PID 1's, so that they are there before the workload starts, stay while the agent is started
//! again, and need no right of the agent's. So is its entry among the kernel's requests for reports, of which
//! the one file to write to is given to the agent: it is a user of its own, who owns nothing else.

use core::fmt::Write as _;
use core::net::{Ipv4Addr, SocketAddrV4};

use counterfoil_init::evidence::{ENTRY, SOCKET, USER};
use counterfoil_init::plan::{self, Plan};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, WaitStatus};

use crate::console::{Failure, say};
use crate::process::{self, Ending};
use crate::text::Text;
use crate::{mounts, start, sys};

const RESTART_AFTER: u64 = 1000;

/// How many callers may wait.
const BACKLOG: i32 = 64;

/// As many as an agent may have: for the workload, TCP and vsock.
const MOST_SOCKETS: usize = 3;

pub(crate) struct Agent<'p> {
    plan: plan::Evidence<'p>,
    /// The workload's first.
    sockets: [Option<OwnedFd>; MOST_SOCKETS],
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Running(Pid),
    Paused { until: u64 },
}

impl<'p> Agent<'p> {
    /// Makes what the agent needs, and starts it, if the plan has one.
    pub(crate) fn start(plan: &Plan<'p>) -> Result<Option<Self>, Failure<'p>> {
        let Some(evidence) = plan.evidence else { return Ok(None) };
        mounts::mount_configfs()?;
        make_entry()?;
        let http = evidence.http.map(|port| listen_tcp(port.as_u16())).transpose();
        let http =
            http.map_err(|errno| Failure::System("cannot listen", "evidence-http", errno))?;
        let vsock = evidence.vsock.map(|port| listen_vsock(port.as_u32())).transpose();
        let vsock =
            vsock.map_err(|errno| Failure::System("cannot listen", "evidence-vsock", errno))?;
        let local =
            listen_local(plan).map_err(|errno| Failure::System("cannot listen", SOCKET, errno))?;
        let sockets = [Some(local), http, vsock];
        let pid = run(&evidence, &sockets)?;
        Ok(Some(Self { plan: evidence, sockets, state: State::Running(pid) }))
    }

    /// Starts the agent again, when that is due. The workload goes on without it.
    pub(crate) fn tend(&mut self) {
        match self.state {
            State::Paused { until } if until <= start::milliseconds() => {
                self.state = match run(&self.plan, &self.sockets) {
                    Ok(pid) => State::Running(pid),
                    Err(failure) => {
                        say!("{failure}");
                        paused()
                    }
                };
            }
            _ => {}
        }
    }

    pub(crate) fn due(&self) -> Option<u64> {
        match self.state {
            State::Running(_) => None,
            State::Paused { until } => Some(until),
        }
    }

    /// That a process has ended, which may have been the agent's.
    pub(crate) fn ended(&mut self, pid: Pid, status: WaitStatus) {
        match self.state {
            State::Running(agent) if agent == pid => {
                say!("the evidence agent {}, and is started again", Ending(status));
                self.state = paused();
            }
            _ => {}
        }
    }
}

fn paused() -> State {
    State::Paused { until: start::milliseconds() + RESTART_AFTER }
}

fn run<'p>(
    evidence: &plan::Evidence<'p>,
    sockets: &[Option<OwnedFd>; MOST_SOCKETS],
) -> Result<Pid, Failure<'p>> {
    let program = evidence.program.as_str();
    let mut numbers = [const { Text::<12>::new() }; MOST_SOCKETS];
    let mut given = 0;
    for socket in sockets.iter().flatten() {
        write!(numbers[given], "{}", socket.as_raw_fd())
            .map_err(|_| Failure::System("cannot start", program, Errno::TOOBIG))?;
        given += 1;
    }
    let arguments =
        ["evidence", ENTRY].into_iter().chain(numbers[..given].iter().map(Text::as_str));
    let arguments = sys::Strings::collect(arguments);
    let environment = sys::Strings::collect(core::iter::empty());
    process::start("the evidence agent", program, arguments, environment, || prepare(sockets))
}

/// In the child: leaves it the sockets, and nothing of root.
fn prepare<'p>(sockets: &[Option<OwnedFd>; MOST_SOCKETS]) -> Result<(), Failure<'p>> {
    let step = |what| move |errno| Failure::System(what, "", errno);
    rustix::process::setsid().map_err(step("cannot start a session"))?;
    for socket in sockets.iter().flatten() {
        rustix::io::fcntl_setfd(socket, FdFlags::empty())
            .map_err(step("cannot hand a socket over"))?;
    }
    rustix::thread::set_no_new_privs(true).map_err(step("cannot set no_new_privs"))?;
    process::empty_bounding_set().map_err(step("cannot empty the bounding set"))?;
    rustix::thread::set_thread_groups(&[]).map_err(step("cannot drop groups"))?;
    let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(step("cannot set the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(step("cannot set the user"))?;
    sys::block_signals(0);
    Ok(())
}

/// Makes the agent's entry, if there is anybody to make reports, and gives it what is to be reported over. All
/// else in the entry that the agent needs is for everyone to read.
fn make_entry() -> Result<(), Failure<'static>> {
    let failed = |errno| Failure::System("cannot make", ENTRY, errno);
    match rustix::fs::mkdir(ENTRY, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        // Linux, drivers/virt/coco/tsm.c: no directory without the module, no entry without a provider. The
        // host could always withhold the device; the agent says that there is none.
        Err(Errno::NOENT | Errno::NXIO) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    }
    let mut inblob = Text::<64>::new();
    write!(inblob, "{ENTRY}/inblob").map_err(|_| failed(Errno::NAMETOOLONG))?;
    rustix::fs::chown(inblob.as_str(), Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))
        .map_err(failed)
}

/// The workload's socket: to connect takes the right to write to it, which its user alone has.
fn listen_local(plan: &Plan<'_>) -> Result<OwnedFd, Errno> {
    let directory = SOCKET.rsplit_once('/').map_or("/", |(directory, _)| directory);
    rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755))?;
    let socket = socket(AddressFamily::UNIX)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(SOCKET)?)?;
    let (uid, gid) = (Uid::from_raw(plan.uid.as_u32()), Gid::from_raw(plan.gid.as_u32()));
    rustix::fs::chmod(SOCKET, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::chown(SOCKET, Some(uid), Some(gid))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn listen_tcp(port: u16) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::INET)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn listen_vsock(port: u32) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::VSOCK)?;
    sys::bind_vsock(&socket, port)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}
