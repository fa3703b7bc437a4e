//! `build`: from a manifest and its lock to a release.

use std::path::PathBuf;

use clap::Args;

use crate::cli::lock::{self, Origin};
use crate::cli::measure;
use crate::cli::settings::Settings;
use crate::cli::ui::{Style, Ui, quoted};
use crate::error::Result;
use crate::input::open::Opener;
use crate::input::progress::Progress as _;
use crate::launch::Record;
use crate::manifest::load::Loaded;
use crate::release::assemble::{Order, assemble};
use crate::release::open::Release;
use crate::release::{check, measure as measuring, write};

const EXAMPLES: &str = "\
Examples:
  counterfoil build manifests/llama.yaml            to releases/llama
  counterfoil build manifests/llama.yaml --check    and again under another environment, compared
  counterfoil build manifests/llama.yaml --locked --offline";

/// Build a release from a manifest: every input that its lock names, and nothing else.
///
/// Without a lock one is made first. With a full store nothing is fetched, and no network is needed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Build {
    /// The manifest.
    manifest: PathBuf,
    /// Where the release goes; `releases/NAME` unless said.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Build twice, the second time under another umask, time zone, locale, working directory, CPU
    /// count, order of files, store and (as root) user; and compare every file.
    #[arg(long)]
    check: bool,
    /// Fail if there is no lock.
    #[arg(long)]
    locked: bool,
    /// Fetch nothing.
    #[arg(long)]
    offline: bool,
    /// Put things together in an order shuffled by this seed; the release must not show it.
    #[arg(long, value_name = "SEED", hide = true)]
    shuffle: Option<u64>,
    #[command(flatten)]
    origin: Origin,
}

impl Build {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let loaded = Loaded::read(&self.manifest)?;
        // What can be refused early is refused before anything is fetched.
        measuring::set(&loaded.manifest.launch, &loaded.path)?;
        let target = match &self.output {
            Some(target) => target.clone(),
            None => PathBuf::from("releases").join(loaded.manifest.name.as_str()),
        };
        write::check_target(&target)?;
        let origins =
            if self.offline { self.origin.nowhere()? } else { self.origin.read(settings)? };
        let lock =
            lock::read_or_make(&loaded, &origins, self.locked || self.offline, settings, ui)?;
        let store = settings.store()?;
        origins.fetcher(&store, ui).fill(&lock, &loaded.manifest, &loaded.directory)?;
        for (suite, archive) in lock.archives.iter().filter(|(_, archive)| archive.expired) {
            ui.note(&format!(
                "the release file of `{suite}` of {} was expired when it was locked",
                archive.date
            ));
        }
        let opener = Opener {
            lock: &lock,
            store: &store,
            manifest: &loaded.manifest,
            directory: Some(&loaded.directory),
        };
        let order = self.shuffle.map_or(Order::Canonical, Order::Shuffled);
        let assembled = assemble(&loaded.manifest, &opener, order)?;
        let record = write::write(&target, &loaded.manifest, &lock, &assembled, ui)?;
        warn(ui, &record);
        let checked = match self.check {
            true => Some(check::again(&target, &lock, &store, ui)?),
            false => None,
        };
        let igvm = Release::open(&target)?.igvm;
        if ui.is_json() {
            return ui.json(&serde_json::json!({
                "release": target.display().to_string(),
                "digests": record.digests,
                "named-blobs": record.firmware.direct_boot.as_ref().map(|found| &found.named_blobs),
                "findings": measuring::findings(&record).iter().map(|rule| rule.code).collect::<Vec<_>>(),
                "unverified-volumes": measuring::unverified(&record),
                "igvm": igvm,
                "checked": checked,
            }));
        }
        let igvm = igvm.map(|igvm| measure::igvm_line(&igvm, &igvm.digest.to_string()));
        let table = measure::table(ui, &record.digests);
        ui.answer(&format!("{table}{}", igvm.unwrap_or_default()))?;
        if let Some(varied) = checked {
            ui.done(&format!("built twice, every file the same; varied: {}", varied.join(", ")));
        }
        ui.done(&format!("release in `{}`", target.display()));
        ui.next(&format!("counterfoil run {}", quoted(&target.display().to_string())));
        Ok(())
    }
}

/// Says what nobody may overlook.
fn warn(ui: &Ui, record: &Record) {
    if let Some(unverified) = measuring::unverified_volumes(record) {
        ui.warn(&ui.paint_err(Style::Red, &unverified));
    }
    if let Some(further) = measuring::further(measuring::findings(record).into_iter()) {
        ui.warn(&format!("{further}; THREAT-MODEL.md of the release, too"));
    }
    if !measuring::runs_named_blobs(&record.firmware) {
        return;
    }
    let rule = "=".repeat(78);
    ui.warn(&format!(
        "{}\n{rule}\nThe firmware has a hole: {}.\nThe launch record and THREAT-MODEL.md say so; do \
         not trust this release against its host.\nTo make this an error, say `named-blobs: deny` \
         under `firmware` in the manifest.\n{rule}",
        ui.paint_err(Style::Red, "a right digest does NOT prove that the measured kernel runs"),
        measuring::RUNS_NAMED_BLOBS,
    ));
}
