//! `verify --trust`: what was published of the release, and what came of it in words.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use crate::cli::publish;
use crate::cli::signing::Signer;
use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::digest::Sha256;
use crate::error::{Context as _, Kind, Result};
use crate::input::bounded;
use crate::input::progress::Progress as _;
use crate::layout;
use crate::published::trust::LARGEST;
use crate::published::{self, Known, Published, Question, Trust, View};

pub(super) use crate::published::Answer;
use crate::release::open::Release;
use crate::release::publication::{self, Looked};
use crate::report::{self, Time};
use crate::statement::bundle::Bundle;
use crate::statement::intoto::{Digests, Statement, Subject};
use crate::statement::vsa::{Input, REPRODUCED, Summary, VerificationResult, Verifier};
use crate::whole;

/// What to look at beside a release.
#[derive(Debug, Args)]
#[command(next_help_heading = "What was published of the release")]
pub(super) struct PublishedArgs {
    /// Whom to believe: publishers, logs, witnesses and rebuilders, and how many of them. With it, the release's
    /// statement, its log, and its rebuilds are checked, also without a report.
    #[arg(long, value_name = "FILE", requires = "release")]
    trust: Option<PathBuf>,
    /// The log, as a directory or a URL: also see what it shows today, and whether the publisher has revoked or
    /// superseded the statement.
    #[arg(long, value_name = "LOG", requires = "trust")]
    log: Option<String>,
    /// Where enough rebuilders agree, write a summary of that (SLSA VSA), signed, to this file.
    #[arg(long, value_name = "FILE", requires_all = ["trust", "summary_key"])]
    summary: Option<PathBuf>,
    /// The private key that signs the summary: P-256, in PEM.
    #[arg(long, value_name = "FILE", requires = "summary")]
    summary_key: Option<PathBuf>,
    /// The URI of who is answerable for the summary; the default names the key.
    #[arg(long, value_name = "URI", requires = "summary")]
    verifier_id: Option<String>,
}

/// What was read for it.
pub(super) struct Read {
    trust: Trust,
    publication: published::Publication,
    release: Known,
    log: Option<Looked>,
}

impl PublishedArgs {
    /// Reads what was published of `release`, if that is asked.
    pub(super) fn read(&self, release: &Release, is_read: bool, at: Time) -> Result<Option<Read>> {
        let Some(path) = &self.trust else { return Ok(None) };
        let name = path.display().to_string();
        let trust = Trust::parse(&name, &bounded::at_most(path, LARGEST as u64)?)?;
        let mut publication = publication::read(&release.root)?;
        let known = publication::known(release, is_read)?;
        let log = self.log.as_deref();
        let log = log.map(|log| publication::look(log, &trust, &known, at, &mut publication));
        let log = log.transpose()?;
        Ok(Some(Read { trust, publication, release: known, log }))
    }

    /// Whether the release's large files are to be read, too: where nothing is attested, they are what is asked about,
    /// and a summary vouches for them.
    pub(super) fn reads_artifacts(&self, machine: bool) -> bool {
        self.trust.is_some() && (!machine || self.summary.is_some())
    }

    /// Writes the summary, if it is asked for and there is one to write.
    pub(super) fn summarise(&self, answer: &Answer, read: &Read, at: Time, ui: &Ui) -> Result<()> {
        let (Some(path), Some(key)) = (&self.summary, &self.summary_key) else { return Ok(()) };
        let rebuilds = &answer.published.rebuilds;
        let enough = rebuilds.reached == Some(true) && independent(rebuilds, &read.trust) >= 2;
        if !answer.verdict.reasons.is_empty() || !enough {
            ui.warn(&format!(
                "no summary is written to `{}`: {REPRODUCED} is of an accepted release that builders of two \
                 organisations or more (`org=`) have made again",
                path.display()
            ));
            return Ok(());
        }
        let signer = Signer::of(Some(key), None, None)?;
        let verifier = publish::builder(self.verifier_id.as_deref(), signer.public())?;
        let subject = |(name, digest): (&String, &_)| Subject {
            name: name.clone(),
            digest: Digests::sha256(*digest),
        };
        let input = |name: &str, digest| Input {
            uri: Some(name.to_owned()),
            digest: Digests::sha256(digest),
        };
        let stated = answer.published.statement.as_ref().and(read.publication.statement.as_ref());
        let stated = stated.map(|it| input(&it.name, Sha256::of(&it.bundle)));
        let counted = rebuilds.counted.iter().map(|it| input(&it.name, it.sha256));
        let policy = read.trust.digest;
        let recipe = read.release.files.get(layout::LOCK).map(ToString::to_string);
        let statement = Statement {
            subjects: read.release.files.iter().map(subject).collect(),
            predicate: Summary {
                verifier: Verifier { id: verifier.id, version: verifier.version },
                time_verified: at,
                resource_uri: format!("urn:counterfoil:release:{}", recipe.unwrap_or_default()),
                policy: input(&format!("urn:counterfoil:trust-policy:sha256:{policy}"), policy),
                input_attestations: stated.into_iter().chain(counted).collect(),
                verification_result: VerificationResult::Passed,
                verified_levels: vec![REPRODUCED.to_owned()],
            },
        };
        let envelope = signer.sign(publish::payload(&statement)?)?;
        let json = Bundle::new(envelope, &signer.public()).to_json();
        let json = json.context(Kind::Environment, || format!("`{}`", path.display()))?;
        whole::write(path, &json)?;
        ui.note(&format!("the summary is in `{}`", path.display()));
        Ok(())
    }
}

/// How many of those whose rebuilds count have nothing to do with one another, by what the policy says of them.
fn independent(rebuilds: &published::Rebuilds, trust: &Trust) -> usize {
    let org = |counted: &published::Counted| trust.builders.get(&counted.builder)?.org.as_deref();
    rebuilds.counted.iter().filter_map(org).collect::<BTreeSet<&str>>().len()
}

impl Read {
    /// Answers for the release, and for a machine if there is one.
    pub(super) fn answer(&self, machine: Option<&report::Question<'_>>, at: Time) -> Answer {
        let question = Question {
            trust: &self.trust,
            publication: &self.publication,
            release: &self.release,
            log: self.log.as_ref().map(|log| log as &dyn View),
            at,
        };
        published::verify(&question, machine)
    }
}

/// The four lists.
pub(super) fn lists(ui: &Ui, published: &Published) -> String {
    let rebuilds = &published.rebuilds;
    let lists = [
        ("agree", Style::Green, &rebuilds.agree),
        ("disagree", Style::Red, &rebuilds.disagree),
        ("silent", Style::Dim, &rebuilds.silent),
        ("stale", Style::Yellow, &rebuilds.stale),
    ];
    if lists.iter().all(|(_, _, names)| names.is_empty()) {
        return String::new();
    }
    let mut text = format!("\n{}\n", ui.paint(Style::Bold, "rebuilders"));
    for (word, style, names) in lists {
        let names = match names.as_slice() {
            [] => "nobody".to_owned(),
            names => printable_in_line(&names.join(", ")),
        };
        text += &format!("  {}  {names}\n", ui.paint(style, &format!("{word:8}")));
    }
    text
}
