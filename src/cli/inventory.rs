//! `inventory`: what is in a release, and whether something is in the thing that attested.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui, printable, quoted};
use crate::error::{Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::launch::Record;
use crate::release::contents::{Contents, Unseen};
use crate::release::inventory::Item;
use crate::release::measure as measuring;
use crate::release::open::Release;
use crate::release::search::{Found, Hit, Searched, What};

const EXAMPLES: &str = "\
Examples:
  counterfoil inventory releases/llama                          every path, and where it came from
  counterfoil inventory releases/llama --find libssl.so         a path, or a part of one
  counterfoil inventory releases/llama --find 5e884898da28      a SHA-256, or 8 of its digits and more
  counterfoil inventory releases/llama --find libc6             a package
  counterfoil inventory releases/llama --find libc6@2.41-12     one version of it

Every path is read from the initrd and the volumes before anything is said of it. Which input it came
from is the word of whoever made the release, until somebody rebuilds it.
Exit codes: 0 listed or found, 10 not in it, or the inventory is not of the artifacts,
20 cannot be told: there are volumes into which nobody can look.";

/// How much of a launch digest is shown where it is only to be recognised.
const SHORT: usize = 16;

/// Show what is in a release, and which part of the measurement covers it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inventory {
    /// The release directory.
    release: PathBuf,
    /// A path or a part of one, a digest or its beginning, a package, or `NAME@VERSION`.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    find: Option<String>,
}

impl Inventory {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let release = Release::open(&self.release)?;
        release.check_artifacts()?;
        for warning in measuring::warnings(&release.record) {
            ui.warn(&warning);
        }
        let contents = Contents::read(&release, ui)?;
        let (manifest, lock) = (release.manifest()?, release.lock()?);
        let searched = Searched {
            manifest: &manifest,
            lock: &lock,
            record: &release.record,
            contents: &contents,
        };
        match &self.find {
            Some(text) => self.find(ui, &searched, text),
            None => list(ui, &searched),
        }
    }

    fn find(&self, ui: &Ui, searched: &Searched<'_>, text: &str) -> Result<()> {
        let Searched { record, contents, .. } = *searched;
        let Found { hits, only_in_lock } = searched.find(text);
        let found = !hits.is_empty();
        if ui.is_json() {
            ui.json(&json!({
                "find": text,
                "found": hits,
                "only-in-lock": only_in_lock,
                "not-searched": unseen(contents),
                "digests": if found { json!(record.digests) } else { json!([]) },
            }))?;
        } else if found {
            ui.answer(&as_text(ui, &hits, record, &self.release.display().to_string()))?;
        }
        for package in &only_in_lock {
            ui.note(&format!(
                "{package} is in the lock, and nothing of it is in the image: it took part in making it at most"
            ));
        }
        for (name, why) in &contents.unseen {
            ui.note(&format!("volume `{name}` was not searched: it {}", why.reason()));
        }
        if found {
            return Ok(());
        }
        let paths = searched.paths().count();
        let volumes: Vec<_> =
            contents.inventory.volumes.keys().map(|name| format!("`{name}`")).collect();
        let of_volumes = match volumes.is_empty() {
            true => String::new(),
            false => format!(" and of the volumes {}", volumes.join(", ")),
        };
        let message = format!(
            "`{text}` was not found: searched were the {paths} paths of the initrd{of_volumes}, their \
             digests, the packages and sources of the lock, and the digests of firmware, kernel, initrd, \
             command line and volumes"
        );
        if !only_in_lock.is_empty() {
            let message = format!(
                "`{text}` took part in making the image; whether something of it was linked into what was \
                 compiled cannot be told from the image"
            );
            return Err(Error::new(Kind::CannotDecide, message));
        }
        if contents.unseen.is_empty() {
            return Err(Error::new(Kind::Rejected, message));
        }
        let names: Vec<_> = contents.unseen.keys().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "{message}; whether it is on a volume that could not be searched ({}) cannot be told",
            names.join(", ")
        );
        Err(Error::new(Kind::CannotDecide, message)
            .hint("`counterfoil volume inspect FILE` lists a volume to whoever has it"))
    }
}

/// Every path of the release. What is on a volume that is not here is not listed, since nobody read it.
fn list(ui: &Ui, searched: &Searched<'_>) -> Result<()> {
    let contents = searched.contents;
    if ui.is_json() {
        ui.json(&json!({
            "inventory": contents.inventory,
            "not-listed": unseen(contents),
        }))?;
    } else {
        let mut text = String::new();
        let mut within = None;
        for (item, cover) in searched.paths() {
            if within.as_ref() != Some(&cover) {
                let words = cover.as_ref().map(|cover| cover.words()).unwrap_or_default();
                let gap = if text.is_empty() { "" } else { "\n" };
                let title = ui.paint(Style::Bold, "Covered by");
                let _ = writeln!(text, "{gap}{title} {words}");
                within = Some(cover);
            }
            let _ = writeln!(text, "  {}", row(item, searched.version(item)));
        }
        ui.answer(&text)?;
        for (name, why) in &contents.unseen {
            ui.note(&format!("volume `{name}` is not listed: it {}", why.reason()));
        }
    }
    let absent = contents.unseen.iter().find(|(_, why)| **why == Unseen::Absent);
    match absent {
        Some((name, why)) => {
            let message = format!("volume `{name}` {}", why.reason());
            Err(Error::new(Kind::CannotDecide, message).hint("fetch the whole release"))
        }
        None => Ok(()),
    }
}

fn unseen(contents: &Contents) -> Value {
    let unseen = contents.unseen.iter();
    unseen.map(|(name, why)| json!({ "volume": name, "because": why.reason() })).collect()
}

fn row(item: &Item, version: Option<&str>) -> String {
    let mark = match item.kind.as_str() {
        "directory" => 'd',
        "symlink" => 'l',
        _ => '-',
    };
    let target = item.target.as_ref().map_or(String::new(), |target| format!(" -> {target}"));
    let name = printable(&format!("{}{target}", item.path)).replace('\n', "\u{fffd}");
    let size = item.size.map_or(String::new(), |size| size.to_string());
    let digest = item.sha256.map_or(String::new(), |digest| digest.to_string());
    let version = version.map_or(String::new(), |version| format!(" {version}"));
    let (mode, owner) = (item.mode.0, item.owner.to_string());
    let from = &item.from;
    format!("{mark} {mode:04o} {owner:>9} {size:>12} {digest:64} {name}  ({from}{version})")
}

fn as_text(ui: &Ui, hits: &[Hit<'_>], record: &Record, release: &str) -> String {
    let mut text = String::new();
    for hit in hits {
        let (title, line) = match &hit.what {
            What::Artifact { name } => (format!("the {name}"), None),
            What::Package { name, version, input, sha256, paths, one_of_several } => {
                let digest = sha256.map_or(String::new(), |digest| format!(", sha256 {digest}"));
                let came = match one_of_several {
                    true => "one of the packages that this part was taken from".to_owned(),
                    false => format!("{paths} paths came from it, by the inventory"),
                };
                let line = format!("of input `{input}`{digest}; {came}");
                (format!("{name} {version}"), Some(line))
            }
            What::Path { item, version } => {
                (printable(item.path.as_str()), Some(row(item, *version)))
            }
        };
        let _ = writeln!(text, "{}", ui.paint(Style::Bold, &title));
        if let Some(line) = line {
            let _ = writeln!(text, "  {line}");
        }
        for cover in &hit.covered_by {
            let _ = writeln!(text, "  covered by {}", cover.words());
        }
    }
    let _ = writeln!(text, "\n{}", ui.paint(Style::Bold, "The launch digests that go with it"));
    for digest in &record.digests {
        let hex = digest.digest.to_string();
        let shown = hex.get(..SHORT).unwrap_or(&hex);
        let (cpu, features) = (&digest.cpu, digest.sev_features);
        let vcpus = match digest.vcpus {
            1 => "1 vCPU".to_owned(),
            count => format!("{count} vCPUs"),
        };
        let _ = writeln!(text, "  {shown}…  {vcpus}, {cpu}, {features}");
    }
    let _ = writeln!(text, "  whole: counterfoil measure {}", quoted(release));
    text
}
