//! The evidence agent: a program beside the workload, which asks the kernel for attestation reports.
//!
//! Its sockets are PID 1's, so that they are there before the workload starts, stay while the agent is started
//! again, and need no right of the agent's. So is its entry among the kernel's requests for reports, of which
//! the one file to write to is given to the agent: it is a user of its own, who owns nothing else. And so is
//! the file that holds what the workload has bound: another agent finds it there, another workload does not.
//!
//! A kernel or a host that makes no evidence is no reason not to run the workload: the agent then says so to
//! whoever asks.

use core::fmt::Write as _;
use core::net::{Ipv4Addr, SocketAddrV4};

use counterfoil_init::evidence::{ENTRY, SOCKET, USER};
use counterfoil_init::plan::{self, Plan};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid};
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

/// As many descriptors as an agent may be given.
const MOST_GIVEN: usize = 4;

pub(crate) struct Agent<'p> {
    plan: plan::Evidence<'p>,
    given: Given,
    /// That what is bound is to be forgotten before the next agent starts.
    forget: bool,
    state: State,
}

/// What is handed to each agent.
struct Given {
    /// 32 bytes; zeros while nothing is bound.
    binding: OwnedFd,
    local: OwnedFd,
    http: Option<OwnedFd>,
    vsock: Option<OwnedFd>,
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
        if let Err(failure) = mounts::mount_configfs().and_then(|()| make_entry()) {
            say!("no evidence: {failure}");
        }
        let http = evidence.http.map(|port| listen_tcp(port.as_u16())).transpose();
        let http =
            http.map_err(|errno| Failure::System("cannot listen", "evidence-http", errno))?;
        let vsock = match evidence.vsock.map(|port| listen_vsock(port.as_u32())).transpose() {
            Ok(vsock) => vsock,
            Err(Errno::AFNOSUPPORT) => {
                say!("no evidence-vsock: this kernel has no vsock");
                None
            }
            Err(errno) => return Err(Failure::System("cannot listen", "evidence-vsock", errno)),
        };
        let local =
            listen_local(plan).map_err(|errno| Failure::System("cannot listen", SOCKET, errno))?;
        let binding =
            make_binding().map_err(|errno| Failure::System("cannot make a file", "/run", errno))?;
        let given = Given { binding, local, http, vsock };
        let pid = run(&evidence, &given)?;
        Ok(Some(Self { plan: evidence, given, forget: false, state: State::Running(pid) }))
    }

    /// Starts the agent again, when that is due. The workload goes on without it.
    pub(crate) fn tend(&mut self) {
        match self.state {
            State::Paused { until } if until <= start::milliseconds() => {
                self.state = match self.run() {
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

    fn run(&mut self) -> Result<Pid, Failure<'p>> {
        if self.forget {
            bind_nothing(&self.given.binding)
                .map_err(|errno| Failure::System("cannot forget what is bound", "", errno))?;
            self.forget = false;
        }
        run(&self.plan, &self.given)
    }

    pub(crate) fn due(&self) -> Option<u64> {
        match self.state {
            State::Running(_) => None,
            State::Paused { until } => Some(until),
        }
    }

    /// That the workload has ended, and everything with it. What it bound is forgotten when there is no agent
    /// left who could bind, and what it asked for last is not done.
    pub(crate) fn workload_ended(&mut self) {
        self.forget = true;
        while rustix::net::accept_with(&self.given.local, SocketFlags::CLOEXEC).is_ok() {}
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

impl Given {
    /// In the order of the agent's arguments.
    fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.binding, &self.local].into_iter().chain(&self.http).chain(&self.vsock)
    }
}

fn run<'p>(evidence: &plan::Evidence<'p>, given: &Given) -> Result<Pid, Failure<'p>> {
    let program = evidence.program.as_str();
    let mut numbers = [const { Text::<12>::new() }; MOST_GIVEN];
    let mut count = 0;
    for (number, descriptor) in numbers.iter_mut().zip(given.all()) {
        write!(number, "{}", descriptor.as_raw_fd())
            .map_err(|_| Failure::System("cannot start", program, Errno::TOOBIG))?;
        count += 1;
    }
    let arguments =
        ["evidence", ENTRY].into_iter().chain(numbers[..count].iter().map(Text::as_str));
    let arguments = sys::Strings::collect(arguments);
    let environment = sys::Strings::collect(core::iter::empty());
    process::start("the evidence agent", program, arguments, environment, || prepare(given))
}

/// In the child: leaves it what it is given, and nothing of root.
fn prepare<'p>(given: &Given) -> Result<(), Failure<'p>> {
    let step = |what| move |errno| Failure::System(what, "", errno);
    rustix::process::setsid().map_err(step("cannot start a session"))?;
    for descriptor in given.all() {
        rustix::io::fcntl_setfd(descriptor, FdFlags::empty())
            .map_err(step("cannot hand a descriptor over"))?;
    }
    spare();
    rustix::thread::set_no_new_privs(true).map_err(step("cannot set no_new_privs"))?;
    process::empty_bounding_set().map_err(step("cannot empty the bounding set"))?;
    rustix::thread::set_thread_groups(&[]).map_err(step("cannot drop groups"))?;
    let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(step("cannot set the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(step("cannot set the user"))?;
    sys::block_signals(0);
    Ok(())
}

/// When memory is short, others end first. If the kernel will not have it, the agent runs all the same.
fn spare() {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty()) {
        let _ = rustix::io::write(&file, b"-500");
    }
}

/// A file for what is bound, which has no name. It has its room from the beginning.
fn make_binding() -> Result<OwnedFd, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open("/run", flags, Mode::empty())?;
    bind_nothing(&file)?;
    Ok(file)
}

fn bind_nothing(file: &OwnedFd) -> Result<(), Errno> {
    match rustix::io::pwrite(file, &[0; 32], 0)? {
        32 => Ok(()),
        _ => Err(Errno::NOSPC),
    }
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
    match rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)) {
        // Something is mounted there.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
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
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}
