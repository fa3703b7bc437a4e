//! `room`: enter a room. Not for people: a build from source starts it, twice.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use clap::Args;

use crate::error::{Error, Kind, Result};
use crate::room::Privilege;
use crate::room::enter;

/// Become a program in a room.
#[derive(Debug, Args)]
pub(super) struct Room {
    /// The parent as it was when this was asked for; without it, this is the second step.
    #[arg(long)]
    parent: Option<u32>,
    /// `user` or `root`.
    #[arg(long, value_parser = super::lock::privilege, default_value = "user")]
    privilege: Privilege,
    /// Where to say why there is no room.
    #[arg(long)]
    excuse: PathBuf,
    /// The room.
    root: PathBuf,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Ends this process the way the build did.
#[allow(clippy::exit, reason = "an error would say something in the build's place")]
fn end_as(status: ExitStatus) -> Result<()> {
    let killed = || 128 + status.signal().unwrap_or_default();
    std::process::exit(status.code().unwrap_or_else(killed))
}

impl Room {
    pub(super) fn run(self) -> Result<()> {
        let entered = match self.parent {
            Some(parent) => {
                let mut second = Command::new("/proc/self/exe");
                second.arg("room").arg("--excuse").arg(&self.excuse).arg(&self.root).arg("--");
                second.args(&self.command);
                enter::leave(parent, self.privilege, second)
            }
            None => enter::become_build(&self.root, &self.command).map(|never| match never {}),
        };
        match entered {
            // What it had to say is in its log already.
            Ok(status) => end_as(status),
            Err(error) => {
                let _ = fs::write(&self.excuse, error.to_string());
                Err(Error::new(Kind::Environment, error.to_string()))
            }
        }
    }
}
