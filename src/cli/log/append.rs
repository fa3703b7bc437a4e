//! `log append`.

use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::logging::{bundle_path, bundles, proof_path, read};
use crate::cli::signing::read_public;
use crate::cli::ui::{Ui, printable};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::log::SignerKey;
use crate::log::append::{Appended, Entry};
use crate::log::directory::Directory;
use crate::log::submit::Submission;
use crate::log::tile::LARGEST_ENTRY;

const EXAMPLES: &str = "\
Examples:
  counterfoil log append LOG --key log.key --entries FILE      an entry a line
  counterfoil log append LOG --key log.key --entries - <FILE
  counterfoil log append LOG --key log.key --public-key pub.pem release/statement.sigstore.json
  counterfoil log append LOG --key log.key --public-key builder.pem rebuilds/me.sigstore.json";

/// Add entries to a log, and sign the tree that it then has.
///
/// A batch is in the log, on the disk, when its line is printed. Whatever happens before, the log is as it was.
/// Of a signed statement, the entry is what Sigstore's logs have of it; its bundle gets the proof, which is also
/// written beside it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Append {
    /// The log's directory.
    log: PathBuf,
    /// The file with the log's private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file with an entry a line, or `-` for standard input.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "statements",
        conflicts_with = "statements"
    )]
    entries: Option<PathBuf>,
    /// Signed statements: Sigstore bundles, or DSSE envelopes, which get a bundle beside them.
    #[arg(value_name = "BUNDLE|ENVELOPE")]
    statements: Vec<PathBuf>,
    /// The public key that signed them, in PEM or as one line of Base64; their entries name it.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// How many entries are signed at once.
    #[arg(long, value_name = "N", default_value = "65536")]
    batch: NonZeroUsize,
}

impl Append {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        super::writable(&self.log)?;
        if let (Some(statement), None) = (self.statements.first(), &self.public_key) {
            let message = format!(
                "which key signed `{}` was not said, and the log's entry names it",
                statement.display()
            );
            return Err(Error::new(Kind::Usage, message)
                .hint("give it by `--public-key FILE`: the signer's public key, in PEM")
                .hint("`openssl ec -in publisher.key -pubout -out publisher.pem` makes it of a private key"));
        }
        let key = super::read_signer(&self.key)?;
        // What is wrong with log or key is said before anything is read.
        drop(Directory::open(&self.log, key.clone())?);
        let entries = match (&self.entries, &self.public_key) {
            (Some(entries), _) => entries,
            (None, Some(public_key)) => return self.statements(&key, public_key, ui),
            (None, None) => return Err(Error::new(Kind::Usage, "there is nothing to append")),
        };
        let mut lines = Lines::open(entries)?;
        let mut all: Option<(u64, Appended)> = None;
        loop {
            let batch = lines.batch(self.batch.get())?;
            if batch.is_empty() && all.is_some() {
                break;
            }
            if batch.is_empty() {
                let message = format!("there is no entry in `{}`", entries.display());
                return Err(Error::new(Kind::Usage, message));
            }
            let appended = append(&self.log, &key, batch)?;
            if !ui.is_json() {
                ui.answer(&told(&appended))?;
            }
            all = Some((all.map_or(appended.first, |(first, _)| first), appended));
        }
        match all {
            Some((first, last)) if ui.is_json() => ui.json(&json!({
                "first": first,
                "size": last.first + last.count,
                "checkpoint": last.checkpoint.to_string(),
            })),
            _ => Ok(()),
        }
    }
}

impl Append {
    fn statements(&self, signer: &SignerKey, public_key: &Path, ui: &Ui) -> Result<()> {
        let key = read_public(public_key)?;
        let submission = |path: &PathBuf| {
            let (envelope, _) = read(path)?;
            envelope.verify(&key).context(Kind::Rejected, || format!("`{}`", path.display()))?;
            Ok(Submission { envelope, key, about: Vec::new() })
        };
        let submissions = self.statements.iter().map(submission).collect::<Result<Vec<_>>>()?;
        let log = (self.log.as_path(), signer.clone());
        let bundled = bundles(Some(&log), submissions)?;
        let mut lines = Vec::new();
        for (path, bundled) in self.statements.iter().zip(&bundled) {
            let target = bundle_path(path);
            bundled.write(&target)?;
            let index = bundled.proof.as_ref().map(|proof| proof.index);
            lines.push((index.unwrap_or_default(), target));
        }
        if ui.is_json() {
            let line = |(index, bundle): &(u64, PathBuf)| json!({ "index": index, "bundle": bundle, "proof": proof_path(bundle) });
            return ui.json(&lines.iter().map(line).collect::<Vec<_>>());
        }
        let line = |(index, bundle): &(u64, PathBuf)| {
            format!("entry {index}  {}\n", printable(&bundle.display().to_string()))
        };
        ui.answer(&lines.iter().map(line).collect::<String>())
    }
}

/// One batch. The log is locked for no longer, so that whoever waits for entries keeps nobody from adding some.
fn append(log: &Path, key: &SignerKey, batch: Vec<Entry>) -> Result<Appended> {
    Directory::open(log, key.clone())?.append(batch)
}

fn told(appended: &Appended) -> String {
    let Appended { first, count, .. } = appended;
    match count {
        1 => format!("entry {first}"),
        _ => format!("entries {first} to {}", first + count - 1),
    }
}

/// Entries out of a file.
struct Lines {
    reader: Box<dyn BufRead>,
    path: PathBuf,
    read: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let reader: Box<dyn BufRead> = match path == Path::new("-") {
            true => Box::new(io::stdin().lock()),
            false => Box::new(BufReader::with_capacity(BUFFER, bounded::open(path)?)),
        };
        Ok(Self { reader, path: path.to_owned(), read: 0 })
    }

    /// The next entries, of which there are no more than fit into memory.
    fn batch(&mut self, most: usize) -> Result<Vec<Entry>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < most && bytes < MOST_BYTES {
            let Some(line) = self.line()? else { break };
            bytes += line.len();
            batch.push(Entry { bytes: line, ..Entry::default() });
        }
        Ok(batch)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut bounded = self.reader.by_ref().take(LARGEST_ENTRY as u64 + 2);
        bounded
            .read_until(b'\n', &mut line)
            .context(Kind::Environment, || format!("failed reading `{}`", self.path.display()))?;
        if line.is_empty() {
            return Ok(None);
        }
        self.read += 1;
        let ended = line.pop_if(|byte| *byte == b'\n').is_some();
        let wrong = |how: &str| {
            let message = format!("line {} of `{}` {how}", self.read, self.path.display());
            Error::new(Kind::Malformed, message)
        };
        if line.len() > LARGEST_ENTRY {
            return Err(wrong("is longer than 65535 bytes, the most that an entry may have"));
        }
        if line.is_empty() && ended {
            return Err(wrong("is empty: each line is an entry"));
        }
        Ok(Some(line))
    }
}

/// How much of a batch is held in memory.
const MOST_BYTES: usize = 64 << 20;

const BUFFER: usize = 1 << 20;
