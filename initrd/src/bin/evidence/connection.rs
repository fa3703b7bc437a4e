//! Connections, which take turns: nothing here waits for a caller who is slow to ask.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

use crate::answer::{self, Answer, Refusal};
use crate::pace::Pace;
use crate::request::{self, Asked, Progress, Side};
use crate::start;

/// How long a caller may take to ask, and again to leave after the answer, in milliseconds.
const PATIENCE: u64 = 3000;

/// As long as that, if others wait for the place.
const HURRY: u64 = 500;

/// How long a socket may take an answer that does not fit it, in milliseconds.
const SENDING: u64 = 500;

/// The most that is read of what comes after a request.
const MOST_REST: usize = 64 * 1024;

pub(crate) struct Connection {
    socket: OwnedFd,
    side: Side,
    stage: Stage,
    /// When the stage began.
    since: u64,
    bytes: [u8; request::LONGEST],
    length: usize,
}

#[derive(Clone, Copy)]
enum Stage {
    Asking,
    /// For the time at which a report may be made for it.
    Waiting {
        asked: Asked,
        at: u64,
    },
    /// It has its answer. To close with something unread would be a reset, which may overtake the answer.
    Leaving {
        rest: usize,
    },
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd, side: Side) -> Self {
        // So that an answer is taken whole, whether it is read or not.
        let _ = sockopt::set_socket_send_buffer_size(&socket, 2 * answer::LONGEST);
        let since = start::milliseconds();
        Self { socket, side, stage: Stage::Asking, since, bytes: [0; request::LONGEST], length: 0 }
    }

    /// Goes as far as it can without waiting for the caller, or for a report.
    pub(crate) fn turn(&mut self, pace: &mut Pace) -> Result<(), Errno> {
        loop {
            match self.stage {
                Stage::Asking => match request::judge(&self.bytes[..self.length], self.side) {
                    Progress::Done(Ok(asked)) => {
                        let at = match self.side {
                            Side::Local => Some(0),
                            Side::Remote => pace.next(start::milliseconds()),
                        };
                        match at {
                            Some(at) => self.enter(Stage::Waiting { asked, at }),
                            None => self.answer(&Answer::refusal(Refusal::Busy))?,
                        }
                    }
                    Progress::Done(Err(refusal)) => self.answer(&Answer::refusal(refusal))?,
                    Progress::Unfinished => match self.receive(self.length)? {
                        None => return self.patience(),
                        Some(0) => {
                            let why = "the request ends before its end";
                            self.answer(&Answer::refusal(Refusal::BadRequest(why)))?;
                        }
                        Some(count) => self.length += count,
                    },
                },
                Stage::Waiting { .. } => return Ok(()),
                Stage::Leaving { rest } => match self.receive(0)? {
                    None => return self.patience(),
                    Some(0) => return Err(Errno::PIPE),
                    Some(count) if rest + count > MOST_REST => return Err(Errno::MSGSIZE),
                    Some(count) => self.stage = Stage::Leaving { rest: rest + count },
                },
            }
        }
    }

    /// What it waits for an answer to, if that may be given now.
    pub(crate) fn asks(&self) -> Option<Asked> {
        match self.stage {
            Stage::Waiting { asked, at } if at <= start::milliseconds() => Some(asked),
            _ => None,
        }
    }

    pub(crate) fn answer(&mut self, answer: &Answer) -> Result<(), Errno> {
        let until = start::milliseconds() + SENDING;
        self.send(answer.head().as_str().as_bytes(), until)?;
        self.send(answer.body(), until)?;
        rustix::net::shutdown(&self.socket, Shutdown::Write)?;
        self.enter(Stage::Leaving { rest: 0 });
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = start::milliseconds();
    }

    /// Nothing has come. That is in order for a while.
    fn patience(&self) -> Result<(), Errno> {
        if self.due() <= start::milliseconds() { Err(Errno::TIMEDOUT) } else { Ok(()) }
    }

    /// From when on another may have its place: never while a report is due to it.
    pub(crate) fn yields(&self) -> Option<u64> {
        match self.stage {
            Stage::Asking | Stage::Leaving { .. } => Some(self.since + HURRY),
            Stage::Waiting { .. } => None,
        }
    }

    /// When its next turn is, if the caller does nothing.
    pub(crate) fn due(&self) -> u64 {
        match self.stage {
            Stage::Asking | Stage::Leaving { .. } => self.since + PATIENCE,
            Stage::Waiting { at, .. } => at,
        }
    }

    /// What is to be watched, if anything that comes is a turn.
    pub(crate) fn watched(&self) -> Option<PollFd<'_>> {
        match self.stage {
            Stage::Asking | Stage::Leaving { .. } => Some(PollFd::new(&self.socket, PollFlags::IN)),
            Stage::Waiting { .. } => None,
        }
    }

    /// How much has come, or `None` while nothing has.
    fn receive(&mut self, at: usize) -> Result<Option<usize>, Errno> {
        loop {
            match rustix::net::recv(&self.socket, &mut self.bytes[at..], RecvFlags::empty()) {
                Ok((count, _)) => return Ok(Some(count)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn send(&self, mut bytes: &[u8], until: u64) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {
                    let left = until.saturating_sub(start::milliseconds());
                    if left == 0 {
                        return Err(Errno::TIMEDOUT);
                    }
                    let mut room = [PollFd::new(&self.socket, PollFlags::OUT)];
                    match rustix::event::poll(&mut room, Some(&after(left))) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// So many milliseconds.
pub(crate) fn after(milliseconds: u64) -> Timespec {
    // Both fit: the one is some seconds at most, the other below a billion.
    Timespec {
        tv_sec: (milliseconds / 1000) as i64,
        tv_nsec: (milliseconds % 1000 * 1_000_000) as i64,
    }
}
