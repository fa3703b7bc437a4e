//! `lock`: resolve a manifest's inputs and pin them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::settings::Settings;
use crate::cli::ui::{Style, Ui};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::apt::archive::Trust;
use crate::input::apt::proxy;
use crate::input::apt::sources::Sources;
use crate::input::fetch::Fetcher;
use crate::input::http::{self, Client};
use crate::input::progress::Progress as _;
use crate::input::resolve::{self, Change, Resolver, Update};
use crate::manifest::load::Loaded;
use crate::manifest::{self, Manifest};
use crate::names::Name;
use crate::release::measure;
use crate::room::{Privilege, Room};

/// apt's configuration on this machine.
const ETC_APT: &str = "/etc/apt";

const EXAMPLES: &str = "\
Examples:
  counterfoil lock manifests/llama.yaml                    pin what is not pinned yet
  counterfoil lock manifests/llama.yaml --update kernel    take the kernel the archive has now
  counterfoil lock manifests/llama.yaml --update           take everything the archive has now";

/// Resolve a manifest's inputs and pin them in its lock.
///
/// Packages come from the Debian mirrors in this machine's apt configuration, or from `--mirror`.
/// The archive's signature and every hash down to each package are checked. What the lock already
/// pins stays as it is unless `--update` names it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Lock {
    /// The manifest.
    manifest: PathBuf,
    /// Resolve these inputs anew; all of them if none is named.
    #[arg(long, value_name = "INPUT", num_args = 0..)]
    update: Option<Vec<String>>,
    #[command(flatten)]
    origin: Origin,
}

/// Where packages come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where packages come from")]
pub(super) struct Origin {
    /// A Debian mirror to use instead of this machine's apt configuration; may be given again.
    /// The environment variable COUNTERFOIL_MIRROR does the same.
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// The Python package index that source distributions are fetched from; else
    /// COUNTERFOIL_PYTHON_INDEX, or the one that pip is configured with on this machine.
    #[arg(long, value_name = "URL")]
    python_index: Option<String>,
    /// Keys whose signatures count, instead of this machine's keyrings; may be given again.
    #[arg(long, value_name = "FILE")]
    keyring: Vec<PathBuf>,
    /// By whose leave programs are compiled in a room: `user`, in a user namespace, or `root`.
    #[arg(long, value_name = "WHOSE", value_parser = privilege, default_value = "user")]
    room: Privilege,
}

/// What fetches, taken together.
pub(super) struct Origins {
    sources: Sources,
    trust: Trust,
    client: Client,
    python_index: Option<String>,
    offline: bool,
    room: Room,
}

impl Lock {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let loaded = Loaded::read(&self.manifest)?;
        measure::set(&loaded.manifest.launch, &loaded.path)?;
        let path = manifest::Lock::path_for(&self.manifest);
        let old = manifest::Lock::read(&path)?;
        let update = match self.update {
            None => Update::Nothing,
            Some(names) if names.is_empty() => Update::Everything,
            Some(names) => {
                let names: Result<BTreeSet<Name>, _> = names.iter().map(|n| n.parse()).collect();
                Update::Only(names.context(Kind::Usage, || "`--update`".to_owned())?)
            }
        };
        let origins = self.origin.read(settings)?;
        let store = settings.store()?;
        let resolver = Resolver { fetcher: &origins.fetcher(&store, ui), now: settings.now() };
        let new = resolver.lock(&loaded.manifest, &loaded.directory, old.as_ref(), &update)?;
        new.write(&path)?;
        let changes = match &old {
            Some(old) => resolve::changes(&loaded.manifest, old, &new),
            None => Vec::new(),
        };
        if ui.is_json() {
            return ui.json(&serde_json::json!({
                "lock": path.display().to_string(),
                "changes": changes,
            }));
        }
        if old.is_some() {
            ui.answer(&table(ui, &changes))?;
        }
        ui.done(&format!("wrote `{}`", path.display()));
        Ok(())
    }
}

impl Origin {
    pub(super) fn read(&self, settings: &Settings) -> Result<Origins> {
        let mirrors = settings.mirrors(&self.mirror);
        let etc_apt = Path::new(ETC_APT);
        let sources = match mirrors.is_empty() {
            true => Sources::read(etc_apt),
            false => Sources::mirrors(&mirrors),
        }
        .context(Kind::Environment, || "the package archives cannot be told".to_owned())?;
        let trust = match self.keyring.is_empty() {
            true => Trust::of_host(Path::new("/")),
            false => Trust::only(self.keyring.clone()),
        };
        let proxy = proxy::read(etc_apt)
            .context(Kind::Environment, || format!("failed reading `{ETC_APT}`"))?;
        let client = Client::new(&http::Settings { proxy, ..http::Settings::default() })
            .context(Kind::Environment, || "nothing can be fetched".to_owned())?;
        let python_index = settings.python_index(self.python_index.as_deref());
        let room = self.room();
        Ok(Origins { sources, trust, client, python_index, offline: false, room })
    }

    /// Nowhere: whatever is not in the store is missing, and no configuration can be wrong.
    pub(super) fn nowhere(&self) -> Result<Origins> {
        let client = Client::new(&http::Settings::default())
            .context(Kind::Environment, || "nothing can be fetched".to_owned())?;
        let (sources, trust) = (Sources::default(), Trust::default());
        let room = self.room();
        Ok(Origins { sources, trust, client, python_index: None, offline: true, room })
    }

    fn room(&self) -> Room {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Room { program: "/proc/self/exe".into(), privilege: self.room, jobs }
    }
}

pub(super) fn privilege(name: &str) -> Result<Privilege, String> {
    Privilege::by_name(name).ok_or_else(|| format!("`{name}` is neither `user` nor `root`"))
}

impl Origins {
    pub(super) fn fetcher<'a>(
        &'a self,
        store: &'a crate::input::store::Store,
        ui: &'a Ui,
    ) -> Fetcher<'a> {
        let Self { sources, trust, client, python_index, offline, room } = self;
        Fetcher {
            store,
            sources,
            trust,
            client,
            progress: ui,
            python_index: python_index.as_deref(),
            offline: *offline,
            room,
        }
    }
}

/// The lock of a manifest, made first if there is none.
pub(super) fn read_or_make(
    loaded: &Loaded,
    origins: &Origins,
    must_be_there: bool,
    settings: &Settings,
    ui: &Ui,
) -> Result<manifest::Lock> {
    let path = manifest::Lock::path_for(&loaded.path);
    if let Some(lock) = manifest::Lock::read(&path)? {
        lock.check_manifest(&loaded.manifest)
            .map_err(|error| error.context(format!("`{}` does not fit", path.display())))?;
        return Ok(lock);
    }
    if must_be_there {
        let message = format!("there is no lock `{}`", path.display());
        return Err(Error::new(Kind::CannotDecide, message)
            .hint(format!("make one with `counterfoil lock {}`", loaded.path.display())));
    }
    ui.note(&format!("there is no `{}` yet; resolving the inputs", path.display()));
    let store = settings.store()?;
    let resolver = Resolver { fetcher: &origins.fetcher(&store, ui), now: settings.now() };
    let manifest: &Manifest = &loaded.manifest;
    let lock = resolver.lock(manifest, &loaded.directory, None, &Update::Nothing)?;
    lock.write(&path)?;
    Ok(lock)
}

fn table(ui: &Ui, changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing changed: every input is pinned as before\n".to_owned();
    }
    let width = |of: fn(&Change) -> &str| changes.iter().map(|c| of(c).len()).max().unwrap_or(0);
    let (input, old) = (width(|c| &c.input), width(|c| &c.old).max(1));
    let mut text = String::new();
    for change in changes {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let rolls = match change.rolls.is_empty() {
            true => "nothing measured".to_owned(),
            false => format!("rolls {}", change.rolls.join(", ")),
        };
        text += &format!(
            "{}  {:old$} → {}  {}\n",
            ui.paint(Style::Bold, &format!("{:input$}", change.input)),
            or_dash(&change.old),
            or_dash(&change.new),
            ui.paint(Style::Yellow, &format!("({rolls})")),
        );
    }
    if changes.iter().any(|change| !change.rolls.is_empty()) {
        text += "the launch digests will change with them\n";
    }
    text
}
