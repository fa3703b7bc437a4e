//! The command line. One small file a subcommand: arguments in, library call, output out.

mod audit;
mod bound;
mod build;
mod bundle;
mod collateral;
mod diff;
mod explain;
mod id_block;
mod inspect;
mod inventory;
mod lock;
mod log;
mod logging;
mod measure;
mod publish;
mod pull;
mod push;
mod registry;
mod reproduce;
mod room;
mod run;
mod schema;
mod settings;
mod shell;
mod signing;
mod ui;
mod verify;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::error::{Kind, Result};
use settings::Settings;
use ui::Ui;

const EXAMPLES: &str = "\
Examples:
  counterfoil build manifests/llama.yaml      make a release from a manifest
  counterfoil run releases/llama              boot it
  counterfoil measure releases/llama          recompute its launch digests
  counterfoil verify --report report.bin --release releases/llama     what a machine attested
  counterfoil explain DIGEST releases/llama   why a machine attests another digest
  counterfoil inspect vmlinuz                 what a kernel has and lacks
  counterfoil volume build model.gguf --output model.img

Exit codes, the same for every command:
  0 done, accepted     1 the machine did not let us   2 wrong usage
  10 rejected, differs  20 something needed is missing  30 malformed input";

/// Build deterministic AMD SEV-SNP guest images, compute the launch digest that they must attest,
/// and let anyone rebuild and compare.
#[derive(Debug, Parser)]
#[command(name = "counterfoil", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// How results are printed: `text` for people, `json` for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Say only what went wrong.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more of what is done.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// When to use colour; `auto` is on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Where inputs are kept; by default `counterfoil` under XDG_CACHE_HOME or ~/.cache.
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Lock(lock::Lock),
    Build(build::Build),
    Run(run::Run),
    Measure(Box<measure::Measure>),
    Diff(diff::DiffCommand),
    Explain(explain::Explain),
    IdBlock(Box<id_block::IdBlock>),
    Inspect(inspect::Inspect),
    Audit(audit::Audit),
    Inventory(inventory::Inventory),
    Volume(volume::Volume),
    Bundle(bundle::Bundle),
    Reproduce(Box<reproduce::Reproduce>),
    Publish(Box<publish::Publish>),
    Push(push::Push),
    Pull(pull::Pull),
    Verify(Box<verify::Verify>),
    Collateral(collateral::CollateralCommand),
    Log(log::Log),
    Schema(schema::Schema),
    #[command(hide = true)]
    Bound(bound::Bound),
    #[command(hide = true)]
    Room(room::Room),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// Parses the command line, runs the command, and tells how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not failures.
            let code = if error.use_stderr() { Kind::Usage.exit_code() } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let ui = Ui::new(&cli.global);
    let settings = Settings::new(&cli.global);
    match cli.command.run(&ui, &settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.failure(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

impl Command {
    fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        match self {
            Self::Lock(command) => command.run(ui, settings),
            Self::Build(command) => command.run(ui, settings),
            Self::Run(command) => command.run(ui, settings),
            Self::Measure(command) => command.run(ui),
            Self::Diff(command) => command.run(ui),
            Self::Explain(command) => command.run(ui),
            Self::IdBlock(command) => command.run(ui),
            Self::Inspect(command) => command.run(ui),
            Self::Audit(command) => command.run(ui),
            Self::Inventory(command) => command.run(ui),
            Self::Volume(command) => command.run(ui),
            Self::Bundle(command) => command.run(ui, settings),
            Self::Push(command) => command.run(ui, settings),
            Self::Pull(command) => command.run(ui, settings),
            Self::Reproduce(command) => command.run(ui, settings),
            Self::Publish(command) => command.run(ui, settings),
            Self::Verify(command) => command.run(ui, settings),
            Self::Collateral(command) => command.run(ui, settings),
            Self::Log(command) => command.run(ui, settings),
            Self::Schema(command) => command.run(ui),
            Self::Bound(command) => command.run(),
            Self::Room(command) => command.run(),
            Self::Completions(command) => command.run(ui, Cli::command()),
            Self::Man(command) => command.run(ui, Cli::command()),
        }
    }
}

impl Kind {
    /// The name of this answer, for programs.
    fn code(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Usage => "usage",
            Self::Rejected => "rejected",
            Self::CannotDecide => "cannot-decide",
            Self::Malformed => "malformed",
        }
    }

    /// The exit code of this answer.
    fn exit_code(self) -> u8 {
        match self {
            Self::Environment => 1,
            Self::Usage => 2,
            Self::Rejected => 10,
            Self::CannotDecide => 20,
            Self::Malformed => 30,
        }
    }
}
