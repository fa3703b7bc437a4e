//! A witness on a port. TLS is for whatever stands in front of it.

use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::book::{Book, Refusal};
use super::http::{Reply, Request, TEXT, exchange};
use super::{CALL, SIZE};
use crate::error::{Context as _, Kind, Result};

/// How many are served at once. Others wait in the system's queue.
const AT_ONCE: usize = 8;

/// A socket that fails this often in a row will not come back.
const FAILURES: usize = 100;

/// Answers on `listener` until the process ends. `now` is asked for the time, in seconds since 1970; `tell` is told
/// of each checkpoint that was decided about.
///
/// # Errors
/// [`Kind::Environment`] when no more connections can be taken.
pub fn serve(
    listener: &TcpListener,
    book: &Book,
    now: &(dyn Fn() -> u64 + Sync),
    tell: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let work = || {
        let mut failures = 0;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    failures = 0;
                    // One who goes away in the middle is nobody's loss but his own.
                    drop(exchange(&stream, |request| respond(&request, book, now, tell)));
                }
                Err(error) if failures == FAILURES => return error,
                // Too many files are open, or the client has gone already.
                Err(_) => {
                    failures += 1;
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    };
    let error = thread::scope(|scope| {
        (1..AT_ONCE).for_each(|_| drop(scope.spawn(work)));
        work()
    });
    Err::<(), io::Error>(error)
        .context(Kind::Environment, || "no more connections can be taken".to_owned())
}

fn respond(request: &Request, book: &Book, now: &dyn Fn() -> u64, tell: &dyn Fn(&str)) -> Reply {
    let path = request.path.strip_prefix('/').unwrap_or_default();
    let origin = path.strip_suffix("/checkpoint").and_then(|origin| origin.parse().ok());
    match (request.method.as_str(), path == CALL, origin) {
        ("POST", true, _) => add_checkpoint(&request.body, book, now, tell),
        ("GET", _, Some(origin)) => match book.latest(&origin) {
            Ok(Some(body)) => Reply { status: 200, media_type: TEXT, body },
            Ok(None) => Reply::line(404, "no checkpoint of this log was cosigned here"),
            Err(_) => Reply::line(500, "the witness cannot read its records"),
        },
        (_, true, _) => Reply::line(405, "a checkpoint is sent by POST"),
        (_, _, Some(_)) => Reply::line(405, "a checkpoint is fetched by GET"),
        _ => Reply::line(404, "there is nothing here"),
    }
}

fn add_checkpoint(body: &[u8], book: &Book, now: &dyn Fn() -> u64, tell: &dyn Fn(&str)) -> Reply {
    match book.add_checkpoint(body, now()) {
        Ok(cosigned) => {
            tell(&format!("cosigned: {} entries of `{}`", cosigned.size, cosigned.origin));
            let lines = cosigned.signatures.iter().map(|line| format!("{line}\n"));
            Reply { status: 200, media_type: TEXT, body: lines.collect::<String>().into_bytes() }
        }
        Err(refusal) => {
            let status = refusal.status();
            match &refusal {
                Refusal::Broken(why) => tell(&format!("failed: {why}")),
                Refusal::Conflict(size) => tell(&format!("not from {size} entries: told so")),
                refusal => tell(&format!("refused with status {status}: {refusal}")),
            }
            let reply = Reply::line(status, &refusal.to_string());
            match refusal {
                Refusal::Conflict(_) => Reply { media_type: SIZE, ..reply },
                _ => reply,
            }
        }
    }
}
