//! `bound`: become another program that does not outlive the one that started it. Not for people:
//! `run` starts QEMU this way, so that even a kill leaves no machine behind.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;

use crate::error::{Context as _, Kind, Result};
use crate::lifetime;

/// Become PROGRAM, bound to the life of the parent process.
#[derive(Debug, Args)]
pub(super) struct Bound {
    /// The parent as it was when this was asked for.
    parent: u32,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    program: Vec<OsString>,
}

impl Bound {
    pub(super) fn run(self) -> Result<()> {
        lifetime::bind_to(self.parent)
            .context(Kind::Environment, || "failed binding a program to its parent".to_owned())?;
        let mut words = self.program.iter();
        let Some(program) = words.next() else { return Ok(()) };
        let error = Command::new(program).args(words).exec();
        Err(error).context(Kind::Environment, || {
            format!("`{}` cannot be started", program.to_string_lossy())
        })
    }
}
