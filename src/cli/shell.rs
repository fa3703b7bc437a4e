//! `completions` and `man`: what shells and manuals want to know of the command line.

use clap::Args;
use clap_complete::Shell;

use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};

/// Print shell completions to standard output.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  counterfoil completions bash > ~/.local/share/bash-completion/completions/counterfoil"
)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Print a manual page to standard output.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  counterfoil man > counterfoil.1 && man ./counterfoil.1\n  counterfoil man build | man -l -"
)]
pub(super) struct Man {
    /// The command whose page is wanted, such as `build` or `volume build`; the whole program's
    /// unless said.
    command: Vec<String>,
}

impl Completions {
    pub(super) fn run(self, ui: &Ui, mut command: clap::Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "counterfoil", &mut script);
        ui.answer(&String::from_utf8_lossy(&script))
    }
}

impl Man {
    pub(super) fn run(self, ui: &Ui, mut command: clap::Command) -> Result<()> {
        command.build();
        for name in &self.command {
            command = command.find_subcommand(name).cloned().ok_or_else(|| {
                Error::new(Kind::Usage, format!("there is no command `{name}`"))
                    .hint("`counterfoil --help` lists them")
            })?;
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .context(Kind::Environment, || "failed writing the manual page".to_owned())?;
        ui.answer(&String::from_utf8_lossy(&page))
    }
}
