//! `log append`.

use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::ui::Ui;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::log::SignerKey;
use crate::log::append::{Appended, Entry};
use crate::log::directory::Directory;
use crate::log::tile::LARGEST_ENTRY;

const EXAMPLES: &str = "\
Examples:
  counterfoil log append LOG --key log.key --entries FILE      an entry a line
  counterfoil log append LOG --key log.key --entries - <FILE";

/// Add entries to a log, and sign the tree that it then has.
///
/// A batch is in the log, on the disk, when its line is printed. Whatever happens before, the log is as it was.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Append {
    /// The log's directory.
    log: PathBuf,
    /// The file with the log's private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file with an entry a line, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    entries: PathBuf,
    /// How many entries are signed at once.
    #[arg(long, value_name = "N", default_value = "65536")]
    batch: NonZeroUsize,
}

impl Append {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let key = super::read_signer(&self.key)?;
        // What is wrong with log or key is said before anything is read.
        drop(Directory::open(&self.log, key.clone())?);
        let mut lines = Lines::open(&self.entries)?;
        let mut all: Option<(u64, Appended)> = None;
        loop {
            let batch = lines.batch(self.batch.get())?;
            if batch.is_empty() && all.is_some() {
                break;
            }
            if batch.is_empty() {
                let message = format!("there is no entry in `{}`", self.entries.display());
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
