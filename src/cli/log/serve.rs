//! `log serve-witness`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use clap::Args;
use serde_json::json;

use crate::cli::settings::Settings;
use crate::cli::ui::{Ui, printable};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::log::VerifierKey;
use crate::log::witness::book::Book;
use crate::log::witness::server::serve;

const EXAMPLES: &str = "\
Examples:
  counterfoil log serve-witness --listen 127.0.0.1:8080 --key witness.key --log VKEY --state DIR
  counterfoil log serve-witness --key ed25519.key --key ml-dsa.key --log a.vkey --log b.vkey --state DIR";

/// Be a witness: cosign the checkpoints of logs that only ever grow.
///
/// It speaks c2sp.org/tlog-witness, without TLS: put a web server in front of it. What it has signed is in `--state`,
/// which must never go back to an earlier state, from a backup or by a snapshot: then make a new key. Below it lies for
/// each log what monitors look for, `<SHA-256 of the origin>/checkpoint`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeWitness {
    /// The address and port to listen at; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A file with a private key of the witness; may be repeated, and then every checkpoint is signed by each.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// A log's key (a vkey, or a file with one), whose name is the log's origin; may be repeated.
    #[arg(long, value_name = "VKEY", required = true, value_parser = super::verifier)]
    log: Vec<VerifierKey>,
    /// The directory with what it has signed; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
}

impl ServeWitness {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let keys =
            self.key.iter().map(|file| super::read_signer(file)).collect::<Result<Vec<_>>>()?;
        let vkeys: Vec<_> = keys.iter().map(|key| key.verifier().to_string()).collect();
        let book = Book::open(&self.state, keys, self.log)?;
        let failed = || format!("failed listening at {}", self.listen);
        let listener = TcpListener::bind(self.listen).context(Kind::Environment, failed)?;
        let address = listener.local_addr().context(Kind::Environment, failed)?;
        let url = format!("http://{address}");
        match ui.is_json() {
            true => ui.json(&json!({ "url": url, "vkeys": vkeys }))?,
            false => ui.answer(&format!("{url}\n{}", vkeys.join("\n")))?,
        }
        // Threads answer, and this one says what they did.
        let (sender, receiver) = mpsc::channel();
        let now = || settings.now();
        let tell = move |line: &str| drop(sender.send(line.to_owned()));
        thread::scope(|scope| {
            let (listener, book, now) = (&listener, &book, &now);
            let server = scope.spawn(move || serve(listener, book, now, &tell));
            receiver.into_iter().for_each(|line| ui.note(&printable(&line)));
            let stopped = || Err(Error::new(Kind::Environment, "the witness has stopped"));
            server.join().unwrap_or_else(|_| stopped())
        })
    }
}
