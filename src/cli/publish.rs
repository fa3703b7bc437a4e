//! `publish`: say of a release what it is, signed, where others can contradict it.

mod revoke;
mod said;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::cli::logging::{self, LogTo};
use crate::cli::settings::Settings;
use crate::cli::signing::Signer;
use crate::cli::ui::{Ui, quoted};
use crate::cli::verify::read_policy;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::input::progress::Progress as _;
use crate::layout;
use crate::log::submit::{Submission, last_sequence};
use crate::release::dependencies;
use crate::release::open::Release;
use crate::release::subjects::subjects;
use crate::report::{Policy, Time};
use crate::statement::constraints::{Constraints, Scheme};
use crate::statement::intoto::{Digests, Predicate, Statement, StatementError, Subject};
use crate::statement::key::PublicKey;
use crate::statement::launch::{Launch, Recipe, Revoked, Validity, measurements};
use crate::statement::provenance::{
    BUILD, BuildDefinition, Builder, Parameters, Provenance, RunDetails, Tool,
};
use crate::whole;
use said::{statement_digest, valid_for};

const EXAMPLES: &str = "\
Examples:
  counterfoil publish releases/llama --key publisher.key --sequence 1
  counterfoil publish releases/llama --key publisher.key --sequence 2 --supersedes old/statement.json \\
      --log LOG --log-key log.key
  counterfoil publish releases/llama --signer 'openssl dgst -sha256 -sign hsm.key' --public-key hsm.pem \\
      --sequence 3 --revokes old/statement.json='its kernel has a hole'
  counterfoil publish --revoke old/statement.json --reason 'its kernel has a hole' --key publisher.key \\
      --output revocation.sigstore.json --log LOG --log-key log.key
  openssl ecparam -name prime256v1 -genkey -noout -out publisher.key        a key";

/// Sign what a release is, and log it.
///
/// The statement names every file of the release by digest, every launch digest, what it was made from, what
/// a report must say beside, and how long all that is to be believed. It goes into the release as
/// statement.json, and signed as statement.sigstore.json, with provenance beside it; with `--log` also into a
/// log, with the proofs of that. The release is held against its own records first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// The release.
    #[arg(required_unless_present = "revoke")]
    release: Option<PathBuf>,
    /// Sign with this private key: P-256, in PEM (PKCS #8 or SEC 1), not encrypted.
    #[arg(long, value_name = "FILE", required_unless_present = "signer")]
    key: Option<PathBuf>,
    /// Sign with this command of the shell: what is to be signed is on its standard input, and it answers with the
    /// signature (ECDSA with SHA-256, in DER).
    #[arg(long, value_name = "COMMAND", requires = "public_key", conflicts_with = "key")]
    signer: Option<String>,
    /// The public key that the command signs with, in PEM or as one line of Base64.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A number that is higher than that of every statement before.
    #[arg(long, value_name = "N", required_unless_present = "revoke")]
    sequence: Option<u64>,
    /// A statement in whose place this one is: the file, its bundle, or its SHA-256; may be given again.
    #[arg(long, value_name = "FILE")]
    supersedes: Vec<String>,
    /// A statement that is not to be believed any more, and why; may be given again.
    #[arg(long, value_name = "FILE=REASON")]
    revokes: Vec<String>,
    /// When it begins to be valid; the default is now.
    #[arg(long, value_name = "TIME")]
    valid_from: Option<Time>,
    /// For how many days it is valid.
    #[arg(long, value_name = "DAYS", default_value = "90d", value_parser = valid_for)]
    valid_for: u32,
    /// Until when it is valid, in the place of --valid-for.
    #[arg(long, value_name = "TIME", conflicts_with = "valid_for")]
    valid_until: Option<Time>,
    /// What machines must be, as `verify --policy` takes it; the default is `verify --show-policy`'s.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The URI of who is answerable for how it was built; the default names the key.
    #[arg(long, value_name = "URI")]
    builder_id: Option<String>,
    #[command(flatten)]
    log: LogTo,
    /// Revoke a statement without a release in its place; may be given again.
    #[arg(long, value_name = "FILE", requires = "reason", conflicts_with_all = ["release", "sequence", "supersedes", "revokes", "policy", "valid_from", "valid_until", "builder_id"])]
    revoke: Vec<String>,
    /// Why.
    #[arg(long, value_name = "TEXT", requires = "revoke")]
    reason: Option<String>,
    /// Where the revocation goes.
    #[arg(
        short,
        long,
        value_name = "FILE",
        requires = "revoke",
        default_value = "revocation.sigstore.json"
    )]
    output: PathBuf,
}

impl Publish {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let signer =
            Signer::of(self.key.as_deref(), self.signer.as_deref(), self.public_key.as_deref())?;
        let Some(root) = &self.release else { return self.revocation(&signer, ui, settings) };
        let log = self.log.open()?;
        let supersedes: Vec<Sha256> =
            self.supersedes.iter().map(|file| statement_digest(file)).collect::<Result<_>>()?;
        let revokes: Vec<Revoked> =
            self.revokes.iter().map(|text| said::revoked(text)).collect::<Result<_>>()?;
        let policy = match &self.policy {
            Some(path) => read_policy(path)?,
            None => Policy::conservative(),
        };
        let sequence = self.sequence.unwrap_or_default();
        let release = Release::open(root)?;
        // One publisher at a time: two would both be the next.
        let _lock = lock(root)?;
        check_sequence(root, sequence)?;
        if let Some((log, _)) = &log {
            let name = release.manifest()?.name.to_string();
            if let Some((before, index)) = last_sequence(log, signer.public(), &name)? {
                check_after(
                    &format!("the statement at entry {index} of the log"),
                    before,
                    sequence,
                )?;
            }
        }
        release.check_artifacts()?;
        let statement = Statement {
            subjects: subjects(&release)?,
            predicate: Launch {
                release: release.manifest()?.name.to_string(),
                recipe: recipe(root)?,
                launch_record: digest(&release, layout::RECORD)?,
                measurements: measurements(&release.record, release.igvm.as_ref())
                    .context(Kind::Malformed, || format!("`{}`", root.display()))?,
                report_constraints: constraints(&policy, &release)?,
                validity: self.validity(settings)?,
                sequence,
                supersedes,
                revokes,
            },
        };
        let payload = payload(&statement)?;
        let provenance = self.provenance(&release, &statement.subjects, signer.public())?;
        let key = signer.public();
        let stated = Submission { envelope: signer.sign(payload.clone())?, key, about: Vec::new() };
        let about = measured(&statement);
        let made = Submission { envelope: signer.sign(provenance)?, key, about };
        let signed = stated.envelope.digest();
        let path = release.path(layout::STATEMENT);
        whole::write(&path, &payload)?;
        let bundles = [(stated, layout::STATEMENT_BUNDLE), (made, layout::PROVENANCE_BUNDLE)];
        let bundles = bundles.map(|(it, name)| (it, release.path(name)));
        let published = logging::publish(log.as_ref(), bundles.into())?;
        let index = published.first().and_then(|(it, _)| it.proof.as_ref()).map(|it| it.index);
        let written = published.into_iter().flat_map(|(_, files)| files);
        let files: Vec<PathBuf> = std::iter::once(path).chain(written).collect();
        let digest = Sha256::of(&payload);
        if ui.is_json() {
            return ui.json(&json!({
                "statement": digest,
                "signed": signed,
                "key": key.to_string(),
                "sequence": sequence,
                "validity": statement.predicate.validity,
                "measurements": statement.predicate.digests().count(),
                "index": index,
                "files": files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            }));
        }
        ui.answer(&format!("{digest}"))?;
        let Validity { not_after, .. } = statement.predicate.validity;
        if not_after < Time::from_unix(settings.now()) {
            ui.warn("it is not valid any more: see `--valid-until`");
        }
        ui.done(&format!("statement {sequence} in `{}`, valid until {not_after}", root.display()));
        match index {
            Some(index) => ui.note(&format!("it is entry {index} of the log")),
            None => ui.next(&format!(
                "counterfoil log append LOG --key log.key --public-key FILE {}",
                quoted(&release.path(layout::STATEMENT_BUNDLE).display().to_string())
            )),
        }
        Ok(())
    }

    fn validity(&self, settings: &Settings) -> Result<Validity> {
        let not_before = self.valid_from.unwrap_or_else(|| Time::from_unix(settings.now()));
        let not_after = self.valid_until.unwrap_or_else(|| not_before.plus_days(self.valid_for));
        Ok(Validity { not_before, not_after })
    }

    /// How the release was made.
    fn provenance(
        &self,
        release: &Release,
        subjects: &[Subject],
        key: PublicKey,
    ) -> Result<Vec<u8>> {
        let predicate = Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD.to_owned(),
                external_parameters: Parameters { recipe: recipe(&release.root)?, target: None },
                resolved_dependencies: dependencies::list(&release.lock()?),
            },
            run_details: RunDetails {
                builder: builder(self.builder_id.as_deref(), key)?,
                metadata: None,
                byproducts: Vec::new(),
            },
        };
        payload(&Statement { subjects: subjects.to_vec(), predicate })
    }
}

/// Who did it, by default as the key's name.
pub(super) fn builder(id: Option<&str>, key: PublicKey) -> Result<Builder> {
    let id = id.map_or_else(|| format!("urn:counterfoil:key:{}", key.id()), str::to_owned);
    Ok(Builder { id, version: tool()? })
}

/// This program.
fn tool() -> Result<Tool> {
    let program = Sha256::of(bounded::whole(Path::new("/proc/self/exe"))?);
    Ok(Tool {
        counterfoil: env!("CARGO_PKG_VERSION").to_owned(),
        tool_digest: format!("sha256:{program}"),
    })
}

/// What a release was made from.
pub(super) fn recipe(root: &Path) -> Result<Recipe> {
    let digest = |name: &str| {
        bounded::whole(&root.join(name)).map(|bytes| Digests::sha256(Sha256::of(bytes)))
    };
    Ok(Recipe { manifest: digest(layout::MANIFEST)?, lock: digest(layout::LOCK)? })
}

/// A statement's bytes.
pub(super) fn payload<P: Predicate>(statement: &Statement<P>) -> Result<Vec<u8>> {
    statement.to_json().map_err(|error| {
        let hint = match &error {
            StatementError::Size { .. } => {
                "it lists every launch digest: ask for fewer vCPU counts, CPUs or features under `launch` in the \
                 manifest"
            }
            _ => "see `counterfoil publish --help`",
        };
        Error::caused(Kind::Usage, "there is no such statement to make", error).hint(hint)
    })
}

fn measured(statement: &Statement<Launch>) -> Vec<crate::digest::Sha384> {
    statement.predicate.digests().map(|(_, row)| row.launch_digest).collect()
}

fn digest(release: &Release, name: &str) -> Result<Digests> {
    Ok(Digests::sha256(Sha256::of(bounded::whole(&release.path(name))?)))
}

/// What a report must say. A guest with our agent makes REPORT_DATA as that does, whatever a policy checks of it.
fn constraints(policy: &Policy, release: &Release) -> Result<Constraints> {
    let mut constraints = Constraints::of(policy);
    let has_agent = release.manifest()?.evidence.is_some();
    if constraints.report_data_scheme.is_none() && has_agent {
        constraints.report_data_scheme = Some(Scheme::Labelled);
    }
    Ok(constraints)
}

/// A release that has a statement already gets a later one only.
fn check_sequence(root: &Path, sequence: u64) -> Result<()> {
    let path = root.join(layout::STATEMENT);
    if !path.is_file() {
        return Ok(());
    }
    let bytes = bounded::at_most(&path, crate::statement::launch::MAX as u64)?;
    let before = Statement::<Launch>::from_json(&bytes)
        .context(Kind::Malformed, || format!("`{}`", path.display()))?;
    check_after(&format!("`{}`", path.display()), before.predicate.sequence, sequence)
}

fn check_after(what: &str, before: u64, sequence: u64) -> Result<()> {
    if before < sequence {
        return Ok(());
    }
    let message = format!("{what} is number {before}, and this would be {sequence}");
    Err(Error::new(Kind::Usage, message).hint("say a higher one with `--sequence`"))
}

/// Held by whoever publishes a release.
fn lock(root: &Path) -> Result<File> {
    let failed = || format!("failed locking `{}`", root.display());
    let directory = File::open(root).context(Kind::Environment, failed)?;
    flock(&directory, FlockOperation::LockExclusive)
        .map_err(io::Error::from)
        .context(Kind::Environment, failed)?;
    Ok(directory)
}
