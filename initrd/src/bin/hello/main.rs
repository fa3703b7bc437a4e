//! The smallest workload that shows a guest at work: it answers `GET /` with a line of text.
//!
//! One connection at a time, and none for longer than a few seconds.
#![cfg_attr(counterfoil_guest, no_std, no_main)]
#![deny(unsafe_code)]

mod request;

#[path = "../start.rs"]
mod start;

use core::ffi::CStr;
use core::net::{Ipv4Addr, SocketAddrV4};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};

use request::Verdict;

#[cfg(counterfoil_guest)]
const NAME: &str = "hello";

const DEFAULT_PORT: u16 = 8080;
/// How long one connection may take, all in all, in milliseconds.
const PATIENCE: u64 = 5000;

#[cfg(not(counterfoil_guest))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(run(start::Args::NONE) as u8)
}

fn run(args: start::Args) -> i32 {
    let Some(port) = args.nth(1).map_or(Some(DEFAULT_PORT), port) else {
        start::complain(b"usage: hello [PORT]\n");
        return 2;
    };
    match serve(port) {
        Ok(never) => match never {},
        Err(_) => {
            start::complain(b"hello: cannot listen\n");
            1
        }
    }
}

fn port(argument: &CStr) -> Option<u16> {
    argument.to_str().ok()?.parse().ok().filter(|port| *port != 0)
}

fn serve(port: u16) -> Result<core::convert::Infallible, Errno> {
    let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let listener = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    rustix::net::bind(&listener, &address)?;
    rustix::net::listen(&listener, 64)?;
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::accept_with(&listener, flags) {
            // What goes wrong with one connection is that connection's loss.
            Ok(connection) => {
                let _ = Connection { socket: connection, until: start::milliseconds() + PATIENCE }
                    .answer();
            }
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => pause(),
            Err(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => return Err(Errno::INVAL),
            // Whoever called is gone already.
            Err(_) => {}
        }
    }
}

/// Waits for the kernel to have memory again.
fn pause() {
    let _ = rustix::event::poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
}

struct Connection {
    socket: OwnedFd,
    until: u64,
}

impl Connection {
    fn answer(&self) -> Result<(), Errno> {
        let mut head = [0; request::LONGEST];
        let mut length = 0;
        let verdict = loop {
            match request::judge(&head[..length]) {
                Verdict::Unfinished => {}
                verdict => break verdict,
            }
            match self.receive(&mut head[length..])? {
                // Nothing more will come.
                0 => break Verdict::Bad,
                count => length += count,
            }
        };
        self.send(match verdict {
            Verdict::Hello => HELLO,
            Verdict::HelloHead => HELLO_HEAD,
            Verdict::NotFound => NOT_FOUND,
            Verdict::Bad | Verdict::Unfinished => BAD_REQUEST,
        })?;
        // To close with something unread would be a reset, which may overtake the answer.
        rustix::net::shutdown(&self.socket, Shutdown::Write)?;
        let mut rest = 0;
        while rest < 64 * 1024 {
            match self.receive(&mut head)? {
                0 => break,
                count => rest += count,
            }
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::AGAIN | Errno::INTR) => self.wait(PollFlags::IN)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    fn send(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => self.wait(PollFlags::OUT)?,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn wait(&self, flags: PollFlags) -> Result<(), Errno> {
        let left = self.until.saturating_sub(start::milliseconds());
        if left == 0 {
            return Err(Errno::TIMEDOUT);
        }
        // At most `PATIENCE`.
        let timeout =
            Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 };
        rustix::event::poll(&mut [PollFd::new(&self.socket, flags)], Some(&timeout)).map(|_| ())
    }
}

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 23\r\n\
    Connection: close\r\n\r\nhello from counterfoil\n";
const HELLO_HEAD: &[u8] = HELLO.split_at(HELLO.len() - 23).0;
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\
    Content-Length: 10\r\nConnection: close\r\n\r\nnot found\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 12\r\nConnection: close\r\n\r\nbad request\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_length_that_they_say() {
        for answer in [HELLO, NOT_FOUND, BAD_REQUEST] {
            let answer = str::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        }
        assert!(HELLO_HEAD.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_port_is_a_number_from_one() {
        assert_eq!(port(c"8081"), Some(8081));
        for bad in [c"", c"0", c"65536", c"-1", c"http"] {
            assert_eq!(port(bad), None, "{bad:?}");
        }
    }
}
