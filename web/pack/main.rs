//! Writes the verifier as one page: `cargo run -p counterfoil-web -- verify.html`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program with one line to say")]
#![allow(clippy::disallowed_methods, reason = "cargo says where things are by the environment")]

mod compile;
mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use sha2::{Digest as _, Sha256};

fn main() -> ExitCode {
    match run() {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let mut arguments = env::args_os().skip(1);
    let (Some(output), None) = (arguments.next(), arguments.next()) else {
        return Err("which file? (`cargo run -p counterfoil-web -- verify.html`)".to_owned());
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let tools = compile::Tools::default();
    let wasm = compile::wasm(&root, &target.join("web"), cargo, &tools, |name| env::var_os(name))?;
    let page = page::page(&wasm)?;
    fs::write(&output, &page).map_err(|error| format!("cannot write the page: {error}"))?;
    let digest: String = Sha256::digest(&page).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{digest}  {}", Path::new(&output).display()))
}
