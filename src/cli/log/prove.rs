//! `log prove`.

use std::path::PathBuf;

use base64ct::{Base64, Encoding as _};
use clap::{ArgGroup, Args};
use serde_json::json;

use super::given::Entry;
use crate::cli::ui::Ui;
use crate::error::{Error, Kind, Result};
use crate::log::reader::{CHECKPOINT, Reader};
use crate::log::tree::Tree;
use crate::log::{merkle, prove};
use crate::whole;

const EXAMPLES: &str = "\
Examples:
  counterfoil log prove LOG --index 7 --output 7.tlog-proof
  counterfoil log prove https://log.example/ --entry FILE
  counterfoil log prove LOG --since 1000      that it goes on from the tree of 1000 entries";

/// Prove that an entry is in a log, in a file that needs no network to be checked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("what").required(true)))]
pub(super) struct Prove {
    /// The log's directory, or the URL that it is served at.
    log: String,
    /// The entry's index, counted from 0.
    #[arg(long, group = "what", value_name = "N")]
    index: Option<u64>,
    /// The entry itself, whole in a file, or the bundle whose entry it is; of several that are the same, the last one.
    #[arg(long, group = "what", value_name = "FILE")]
    entry: Option<PathBuf>,
    /// Prove that the log goes on from the tree of so many entries: hashes (RFC 6962, 2.1.2), one a line.
    #[arg(long, group = "what", value_name = "SIZE")]
    since: Option<u64>,
    /// Where to put the proof, in place of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Prove {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let reader = Reader::open(&self.log)?;
        let note = reader.checkpoint()?;
        let checkpoint = super::tree_head(&note, &reader.name(CHECKPOINT))?;
        let mut tree = Tree::open(&reader, &checkpoint)?;
        let (text, json) = if let Some(since) = self.since {
            let hashes = prove::consistency(&mut tree, since)?;
            let hashes: Vec<_> = hashes.iter().map(|hash| Base64::encode_string(&hash.0)).collect();
            let text: String = hashes.iter().map(|hash| format!("{hash}\n")).collect();
            let json = json!({
                "old": since,
                "new": checkpoint.size,
                "hashes": hashes,
                "checkpoint": note.to_string(),
            });
            (text, json)
        } else {
            let index = self.find(&mut tree)?;
            let proof = prove::inclusion(&mut tree, &note, index)?;
            let json = json!({
                "index": index,
                "size": checkpoint.size,
                "proof": proof.to_string(),
            });
            (proof.to_string(), json)
        };
        if let Some(output) = &self.output {
            whole::write(output, text.as_bytes())?;
            ui.done(&format!("`{}`", output.display()));
        }
        match &self.output {
            _ if ui.is_json() => ui.json(&json),
            None if !text.is_empty() => ui.answer(&text),
            _ => Ok(()),
        }
    }

    fn find(&self, tree: &mut Tree<'_>) -> Result<u64> {
        let Some(path) = &self.entry else { return Ok(self.index.unwrap_or_default()) };
        let entry = Entry::read(path)?;
        prove::find(tree, merkle::leaf(&entry.bytes))?.ok_or_else(|| {
            let message = format!("`{}` is no entry of the log", path.display());
            Error::new(Kind::CannotDecide, message).hint(match entry.looks_like {
                Some(what) => format!("it is {what}"),
                None => {
                    "an entry is every byte of the file: a newline at its end counts".to_owned()
                }
            })
        })
    }
}
