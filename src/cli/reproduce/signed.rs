//! What a rebuilder found, signed: provenance of what was built again, with the verdict in it. Agreement and
//! disagreement have the same form, so that silence is neither.

use std::path::{Component, Path, PathBuf};

use clap::Args;

use crate::cli::logging::{LogTo, publish};
use crate::cli::publish::{builder, payload, recipe};
use crate::cli::signing::Signer;
use crate::digest::{Sha256, Sha384};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::layout;
use crate::log::SignerKey;
use crate::log::submit::Submission;
use crate::release::dependencies;
use crate::release::open::Release;
use crate::release::reproduce::{Outcome, Rebuilt};
use crate::release::subjects::{sha256, subjects};
use crate::release::verdict::{Answer, Verdict, rebuilds};
use crate::report::Time;
use crate::statement::intoto::{Digests, Statement};
use crate::statement::launch::{self, Launch, measurements};
use crate::statement::provenance::{
    self, BuildDefinition, Builder, FirstDifference, Metadata, Parameters, Provenance, REBUILD,
    RunDetails, Target, check_uri,
};

/// How much of what differs is told.
const MOST_TOLD: usize = 1000;

/// How many files that differ are told.
const MOST_FILES: usize = 100;

#[derive(Debug, Args)]
#[command(next_help_heading = "Signature")]
pub(super) struct Signature {
    /// Sign what was found with this private key: P-256, in PEM (PKCS #8 or SEC 1), not encrypted.
    // Two signed verdicts of `unnamed` would be in each other's way.
    #[arg(long, value_name = "FILE", requires = "rebuilder", conflicts_with = "no_verdict")]
    sign: Option<PathBuf>,
    /// Sign with this command of the shell, as for `publish`.
    #[arg(long, value_name = "COMMAND", requires = "public_key", requires = "rebuilder",
        conflicts_with_all = ["sign", "no_verdict"])]
    signer: Option<String>,
    /// The public key that the command signs with, in PEM or as one line of Base64.
    #[arg(long, value_name = "FILE", requires = "signer")]
    public_key: Option<PathBuf>,
    /// Sign also what was found of a copy that is not what its own launch record and statement say.
    #[arg(long)]
    anyway: bool,
    /// The URI of who is answerable for the rebuild; the default names the key.
    #[arg(long, value_name = "URI")]
    builder_id: Option<String>,
    #[command(flatten)]
    log: LogTo,
}

/// Who signs, and where that goes.
pub(super) struct Signing<'a> {
    signer: Signer,
    builder: Builder,
    log: Option<(&'a Path, SignerKey)>,
}

impl Signature {
    /// The keys, read before anything is built of `release`, which must be worth a signed word.
    pub(super) fn open(&self, release: &Path) -> Result<Option<Signing<'_>>> {
        let log = self.log.open()?;
        if self.sign.is_none() && self.signer.is_none() {
            if log.is_some() || self.builder_id.is_some() || self.anyway {
                let message = "`--log`, `--builder-id` and `--anyway` are for what is signed";
                return Err(Error::new(Kind::Usage, message).hint("sign with `--sign FILE`"));
            }
            return Ok(None);
        }
        let signer =
            Signer::of(self.sign.as_deref(), self.signer.as_deref(), self.public_key.as_deref())?;
        let builder = builder(self.builder_id.as_deref(), signer.public())?;
        check_uri("--builder-id", &builder.id).map_err(|says| Error::new(Kind::Usage, says))?;
        let whole = match self.anyway {
            true => Ok(()),
            false => whole(release),
        };
        whole.map_err(|error| {
            let message =
                format!("`{}` is damaged, and nothing is signed of it", release.display());
            error.context(message).hint(
                "fetch it again: a signed disagreement is held against the release, and not against this copy; or \
                 say `--anyway`, and it is signed as it is",
            )
        })?;
        Ok(Some(Signing { signer, builder, log }))
    }
}

impl Signing<'_> {
    /// Signs what was found of `release`, whose rebuild is in `again`, and says which files that gave; none when
    /// nothing was built.
    pub(super) fn sign(
        &self,
        release: &Path,
        again: &Path,
        rebuilt: &Rebuilt,
        verdict: &Verdict,
        time: Time,
    ) -> Result<Option<Vec<PathBuf>>> {
        let Outcome::Compared(compared) = &rebuilt.outcome else { return Ok(None) };
        let built = Release::open(again)?;
        let found = provenance::Verdict {
            matches: verdict.verdict == Answer::Reproduced,
            measured: compared.measured,
            measurements: measurements(&built.record, built.igvm.as_ref())
                .context(Kind::Malformed, || "the launch record of the rebuild".to_owned())?,
            files: told(&compared.files),
            not_compared: told(&compared.not_compared),
            first_difference: verdict.cause.as_ref().map(|first| FirstDifference {
                cause: first.cause.code().to_owned(),
                place: shortened(&first.place()),
                what: shortened(&first.what),
            }),
        };
        let key = self.signer.public();
        let failed = || "the verdict".to_owned();
        let statement = Statement {
            subjects: subjects(&built)?,
            predicate: Provenance {
                build_definition: BuildDefinition {
                    build_type: REBUILD.to_owned(),
                    external_parameters: Parameters {
                        recipe: recipe(again)?,
                        target: Some(target(release, rebuilt.identity.record)),
                    },
                    resolved_dependencies: dependencies::list(&built.lock()?),
                },
                run_details: RunDetails {
                    builder: self.builder.clone(),
                    metadata: Some(Metadata { finished_on: time }),
                    byproducts: vec![found.resource().context(Kind::Environment, failed)?],
                },
            },
        };
        let envelope = self.signer.sign(payload(&statement)?)?;
        // Whoever looks for what the publisher says is to find who disagrees.
        let submission = Submission { envelope, key, about: claimed(release) };
        rebuilds(release)?;
        let path = release.join(layout::rebuild_bundle(&verdict.rebuilder));
        let published = publish(self.log.as_ref(), vec![(submission, path)])?;
        Ok(Some(published.into_iter().flat_map(|(_, files)| files).collect()))
    }
}

/// That a copy of a release is what its own launch record says, and its statement if it has one. What the record says
/// may still not be what the release is made from.
fn whole(release: &Path) -> Result<()> {
    let release = match Release::open(release) {
        Ok(release) => release,
        // What is no release at all is told by the rebuild.
        Err(error) if error.kind() != Kind::Rejected => return Ok(()),
        Err(error) => return Err(error),
    };
    release.check_image()?;
    let path = release.path(layout::STATEMENT);
    let Ok(words) = bounded::at_most(&path, launch::MAX as u64) else { return Ok(()) };
    let Ok(statement) = Statement::<Launch>::from_json(&words) else { return Ok(()) };
    for subject in &statement.subjects {
        let file = release.path(&subject.name);
        // A volume may be elsewhere. What leads out of the release is no file of it.
        let is_plain =
            Path::new(&subject.name).components().all(|it| matches!(it, Component::Normal(_)));
        if is_plain && file.is_file() && sha256(&file)? != subject.digest.sha256 {
            let message = format!("`{}` is not what the statement is of", file.display());
            return Err(Error::new(Kind::Rejected, message));
        }
    }
    Ok(())
}

/// What was made again.
fn target(release: &Path, record: Sha256) -> Target {
    // Whatever else stands there is no statement, and must not keep anyone from saying what was found.
    let statement = bounded::at_most(&release.join(layout::STATEMENT), launch::MAX as u64).ok();
    Target {
        launch_record: Digests::sha256(record),
        statement: statement.map(|bytes| Digests::sha256(Sha256::of(bytes))),
    }
}

/// The launch digests that the release says it has, whether or not it does.
fn claimed(release: &Path) -> Vec<Sha384> {
    let Ok(release) = Release::open(release) else { return Vec::new() };
    let rows = release.record.digests.iter().map(|row| row.digest);
    rows.chain(release.igvm.iter().map(|igvm| igvm.digest)).collect()
}

fn told(files: &[String]) -> Vec<String> {
    files.iter().take(MOST_FILES).map(|name| shortened(name)).collect()
}

/// What comes out of the release of another is of whatever length.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_TOLD) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
