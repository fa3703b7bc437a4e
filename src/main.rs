//! The command line: parse, call one command, print the error chain, map it to an exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    counterfoil::cli::main()
}
