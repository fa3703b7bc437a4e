//! `bound`: become another program that does not outlive the one that started it. Not for people:
//! `run` starts QEMU this way, so that even a kill leaves no machine behind.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::error::{Context as _, Error, Kind, Result};

/// Become PROGRAM, bound to the life of the parent process.
#[derive(Debug, Args)]
pub(super) struct Bound {
    /// The parent as it was when this was asked for.
    parent: i32,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    program: Vec<OsString>,
}

impl Bound {
    pub(super) fn run(self) -> Result<()> {
        let failed = || "failed binding a program to its parent".to_owned();
        set_parent_process_death_signal(Some(Signal::KILL)).context(Kind::Environment, failed)?;
        // The parent may have died before the line above.
        if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(self.parent) {
            return Err(Error::new(Kind::Environment, failed()));
        }
        let mut words = self.program.iter();
        let Some(program) = words.next() else { return Ok(()) };
        let error = Command::new(program).args(words).exec();
        Err(error).context(Kind::Environment, || {
            format!("`{}` cannot be started", program.to_string_lossy())
        })
    }
}
