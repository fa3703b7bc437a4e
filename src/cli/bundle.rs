//! `bundle`: every input of a release in one file, for those who come when no archive has them any more.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::lock::Origin;
use crate::cli::settings::Settings;
use crate::cli::ui::{Style, Ui, printable, quoted};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bundle;
use crate::input::store::Store;
use crate::layout;
use crate::manifest::load::Loaded;
use crate::manifest::{Lock, directory_of};
use crate::release::origins;

const EXAMPLES: &str = "\
Examples:
  counterfoil bundle create releases/llama --output llama.bundle
  counterfoil bundle import llama.bundle               into the store; each input is checked
  counterfoil bundle --list releases/llama             what comes from outside, and how to check it
  counterfoil reproduce releases/llama --bundle llama.bundle --offline";

/// Write every input of a lock into one file, or fill the store from such a file.
///
/// A release and its bundle can be rebuilt without any archive. What is in a bundle is held against the
/// lock like anything that is fetched, so it may come from anybody. Programs that are compiled from
/// source are in it as sources and compilers, and not as what came out.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct Bundle {
    /// List every input of a release, a manifest or a bundle: hash, size, where it is to be had, and how to
    /// check it.
    #[arg(long, value_name = "PATH")]
    list: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    Import(Import),
}

/// Write the bundle of a release, or of a manifest and its lock.
///
/// What the store lacks is fetched first. The same lock gives the same bytes.
#[derive(Debug, Args)]
struct Create {
    /// A release or a manifest.
    path: PathBuf,
    /// Where the bundle goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Fetch nothing.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    origin: Origin,
}

/// Bring what is in a bundle into the store.
#[derive(Debug, Args)]
struct Import {
    /// The bundle.
    bundle: PathBuf,
}

impl Bundle {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        match (self.command, self.list) {
            (Some(Command::Create(create)), _) => create.run(ui, settings),
            (Some(Command::Import(import)), _) => import.run(ui, settings),
            (None, Some(path)) => list(ui, &path),
            (None, None) => Err(Error::new(Kind::Usage, "nothing to do")
                .hint("`bundle create`, `bundle import`, or `bundle --list PATH`")),
        }
    }
}

impl Create {
    fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let (loaded, lock) = read(&self.path)?;
        let other = self.output.exists() && !is_bundle(&self.output);
        if self.output.is_dir() || other {
            let message = format!("`{}` is there and is no bundle", self.output.display());
            return Err(Error::new(Kind::Usage, message).hint("say another file with `--output`"));
        }
        let origins =
            if self.offline { self.origin.nowhere()? } else { self.origin.read(settings)? };
        let store = settings.store()?;
        origins.fetcher(&store, ui).receive(&lock, &loaded.manifest, &loaded.directory)?;
        let parent = directory_of(&self.output);
        let failed = || format!("failed writing `{}`", self.output.display());
        let new = tempfile::Builder::new()
            .prefix(".counterfoil-bundle-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(parent)
            .context(Kind::Environment, failed)?;
        let mut out = BufWriter::with_capacity(1 << 20, new.as_file());
        bundle::write(&loaded.manifest, &lock, &store, &mut out, ui)?;
        out.flush().context(Kind::Environment, failed)?;
        drop(out);
        let size = new.as_file().metadata().context(Kind::Environment, failed)?.len();
        new.persist(&self.output)
            .map_err(|error| error.error)
            .context(Kind::Environment, failed)?;
        let inputs = bundle::externals(&lock).len();
        if ui.is_json() {
            return ui.json(&serde_json::json!({
                "bundle": self.output.display().to_string(),
                "writer": bundle::EPOCH,
                "size": size,
                "inputs": inputs,
            }));
        }
        let output = self.output.display().to_string();
        ui.done(&format!("bundle `{output}`: {inputs} inputs, {size} bytes"));
        ui.next(&format!("counterfoil bundle import {}", quoted(&output)));
        Ok(())
    }
}

impl Import {
    fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let store = settings.store()?;
        let file = open(&self.bundle)?;
        let contents = bundle::import(file, &store, ui)
            .map_err(|error| error.context(format!("`{}`", self.bundle.display())))?;
        let missing: Vec<_> = bundle::externals(&contents.lock)
            .into_iter()
            .filter(|external| !store.contains(external.object))
            .map(|external| external.what)
            .collect();
        if ui.is_json() {
            ui.json(&serde_json::json!({
                "imported": contents.objects.len(),
                "missing": missing,
            }))?;
        }
        if let Some(first) = missing.first() {
            let message = format!(
                "`{}` lacks {} inputs of its lock, the first is {first}",
                self.bundle.display(),
                missing.len()
            );
            return Err(Error::new(Kind::CannotDecide, message)
                .hint("was it cut off, or made from a store that lacked them?"));
        }
        if !ui.is_json() {
            ui.done(&format!("{} inputs are in the store", contents.objects.len()));
        }
        Ok(())
    }
}

/// Brings a bundle into the store, as far as it goes: what it lacks is missed by whoever needs it.
pub(super) fn bring(path: &Path, store: &Store, ui: &Ui) -> Result<()> {
    bundle::import(open(path)?, store, ui)
        .map(drop)
        .map_err(|error| error.context(format!("`{}`", path.display())))
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path)
        .context(Kind::Environment, || format!("failed reading `{}`", path.display()))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

/// A manifest and the lock beside it, of a release directory or by its path.
fn read(path: &Path) -> Result<(Loaded, Lock)> {
    let manifest = if path.is_dir() { path.join(layout::MANIFEST) } else { path.to_owned() };
    if path.is_dir() && !manifest.is_file() {
        let message = format!("`{}` is not a release: it has no `manifest.yaml`", path.display());
        return Err(Error::new(Kind::CannotDecide, message));
    }
    let loaded = Loaded::read(&manifest)?;
    let at = Lock::path_for(&manifest);
    let lock = Lock::read(&at)?.ok_or_else(|| {
        Error::new(Kind::CannotDecide, format!("there is no lock `{}`", at.display()))
            .hint(format!("make one with `counterfoil lock {}`", manifest.display()))
    })?;
    lock.check_manifest(&loaded.manifest)
        .map_err(|error| error.context(format!("`{}` does not fit", at.display())))?;
    Ok((loaded, lock))
}

fn is_bundle(path: &Path) -> bool {
    let mut head = [0; 512];
    path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && bundle::looks_like_one(&head)
}

fn list(ui: &Ui, path: &Path) -> Result<()> {
    let (lock, held) = if is_bundle(path) {
        // Nothing is believed before it was hashed.
        let check = |external: &bundle::External<'_>, data: &mut dyn std::io::Read| {
            let failed = || format!("`{}`: {}", path.display(), external.what);
            let found = crate::input::store::digest(data).context(Kind::Malformed, failed)?;
            match found == external.object {
                true => Ok(()),
                false => Err(Error::new(
                    Kind::Rejected,
                    format!("{}: not what the lock names (sha256 {})", failed(), found.sha256),
                )),
            }
        };
        let contents = bundle::read(open(path)?, check)?;
        (contents.lock, Some(contents.objects))
    } else {
        (read(path)?.1, None)
    };
    let listed = origins::list(&lock);
    let is_held = |origin: &origins::Origin<'_>| {
        held.as_ref().map(|held| held.contains(&origin.object.sha256))
    };
    if ui.is_json() {
        let rows: Vec<_> = listed
            .iter()
            .map(|origin| {
                let mut row = serde_json::json!(origin);
                if let Some(held) = is_held(origin) {
                    row["in_bundle"] = held.into();
                }
                row
            })
            .collect();
        return ui.json(&rows);
    }
    let mut text = String::new();
    for origin in &listed {
        let held = match is_held(origin) {
            Some(false) => format!("  {}", ui.paint(Style::Red, "NOT IN THE BUNDLE")),
            _ => String::new(),
        };
        text += &format!(
            "{}{held}\n  sha256  {}\n  size    {}\n  from    {}\n  check   {}\n",
            ui.paint(Style::Bold, &printable(&origin.what)),
            origin.object.sha256,
            origin.object.size,
            printable(&origin.from),
            origin.check,
        );
    }
    let total: u64 = listed.iter().map(|origin| origin.object.size).sum();
    text += &format!("{} inputs, {total} bytes\n", listed.len());
    ui.answer(&text)
}
