//! `verify`: what a machine attested, and whether it is this release.

pub(super) mod ask;
mod published;
mod shown;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::cli::collateral::{gather, read_collateral};
use crate::cli::settings::Settings;
use crate::cli::ui::Ui;
use crate::digest::{Sha256, Sha384, parse_hex};
use crate::error::{Context as _, Error, Kind, Result, in_one_line};
use crate::input::bounded;
use crate::input::progress::Progress as _;
use crate::launch::Record;
use crate::launch::igvm::IgvmRecord;
use crate::published::Published;
use crate::release::open::{Release, read_record};
use crate::report::policy::{self, Binding, ReportData};
use crate::report::verdict::{Answer, Ledger};
use crate::report::wrapper::LARGEST;
use crate::report::{
    Collateral, Evidence, Expected, Policy, Question, Reason, Roots, Time, Verdict, verify,
};
use crate::whole;
use published::PublishedArgs;

const EXAMPLES: &str = "\
Examples:
  counterfoil verify --report report.bin --release releases/llama --collateral collateral.json
  counterfoil verify --url http://192.0.2.7:8001 --release releases/llama --collateral collateral.json
  counterfoil verify --report report.bin --record launch.json --collateral collateral.json \\
      --spki server.pem --at 2026-11-22T12:00:00Z
  counterfoil verify --show-policy > policy.yaml
  counterfoil verify --release releases/llama --trust trust.policy     what was published of a release, alone
  counterfoil verify --report report.bin --release releases/llama --collateral collateral.json \\
      --trust trust.policy --log https://log.example/     all of it, and whether it was revoked

The report may be bare or extended, from configfs-tsm, from SNP_GET_REPORT, from Azure, in JSON, hex, base64
or gzip. What decides beside it (certificates, the list of revoked ones) comes with it or by --collateral;
`counterfoil collateral fetch` gets it. No network is used but for --url, and for --log with a URL.

Exit codes: 0 accepted, 10 rejected, 20 something is missing, 30 malformed.";

/// Say whether a machine attested a release: accepted, or every reason why not.
///
/// The report's signature is followed to AMD's root, which is built in; certificates are held against the
/// report's chip and firmware, and against the list of revoked ones; the machine against a policy; and its
/// launch digest against those that follow from the release's launch record. Every reason has a stable name:
/// `--list-reasons`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// The attestation report, in whatever it came in; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Ask the agent of a guest for a report with a fresh nonce.
    #[arg(long, value_name = "URL", conflicts_with_all = ["report", "nonce"])]
    url: Option<String>,
    /// The release that the machine must run.
    #[arg(long, value_name = "DIR", group = "expected")]
    release: Option<PathBuf>,
    /// Its launch record alone.
    #[arg(long, value_name = "FILE", group = "expected")]
    record: Option<PathBuf>,
    /// A launch digest, in place of a release.
    #[arg(long, value_name = "HEX", group = "expected", value_parser = digest)]
    measurement: Option<Sha384>,
    /// Ask only who signed and what the machine is, whatever it runs.
    #[arg(long, group = "expected")]
    any_measurement: bool,
    /// Certificates and lists of revoked ones: a file of `counterfoil collateral`, PEM, DER, a certificate
    /// table (`auxblob`), Azure's JSON, or a directory of them; may be given again. What is damaged counts against
    /// it; of a directory, what is not AMD's in any way is left out.
    #[arg(long, value_name = "PATH", alias = "certificates")]
    collateral: Vec<PathBuf>,
    /// Also hold the release's files against its record, all of them; a digest in `igvm.json` counts only then. Without
    /// a report, `--trust` does.
    #[arg(long)]
    artifacts: bool,
    /// What the machine must be; the default is printed by `--show-policy`.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The time for which the question is asked, in UTC; the default is this machine's clock.
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// REPORT_DATA must be these 64 bytes.
    #[arg(long, value_name = "HEX", group = "bound", value_parser = bytes::<64>)]
    report_data: Option<[u8; 64]>,
    /// REPORT_DATA must be the SHA-256 of this public key (a file with the key or with a certificate, PEM
    /// or DER; or the digest in hex), then zeros.
    #[arg(long, value_name = "FILE|HEX", group = "bound")]
    spki: Option<String>,
    /// The guest must have bound this public key to its evidence (as for --spki; or `none`).
    #[arg(long, value_name = "FILE|HEX", group = "bound")]
    binding: Option<String>,
    /// The nonce that the agent was asked with (32 bytes).
    #[arg(long, value_name = "HEX", value_parser = bytes::<32>)]
    nonce: Option<[u8; 32]>,
    /// Believe this root certificate in place of AMD's, to try things without a processor. The answer says so.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Keep the evidence that `--url` got in this file.
    #[arg(long, value_name = "FILE", requires = "url")]
    save_evidence: Option<PathBuf>,
    #[command(flatten)]
    published: PublishedArgs,
    /// Print the policy that counts if no other is given, with what each key means.
    #[arg(long)]
    show_policy: bool,
    /// Print every reason by its name, with what it means and what to do.
    #[arg(long, conflicts_with = "show_policy")]
    list_reasons: bool,
}

impl Verify {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        if self.show_policy {
            return match ui.is_json() {
                true => ui.json(&json!({ "policy": policy::DEFAULT })),
                false => ui.answer(policy::DEFAULT),
            };
        }
        if self.list_reasons {
            return shown::reasons(ui);
        }
        self.means_something()?;
        let known = self.known(settings)?;
        let mut policy = match &self.policy {
            Some(path) => read_policy(path)?,
            None => Policy::conservative(),
        };
        let roots = match &self.root {
            Some(path) => read_root(path)?,
            None => Roots::amd(),
        };
        let collateral = match self.collateral.as_slice() {
            [] => Collateral::default(),
            paths => gather(paths, &roots, ui)?,
        };
        self.bind(&mut policy)?;
        let asked = self.report.is_some() || self.url.is_some();
        let evidence = asked.then(|| self.evidence(ui)).transpose()?;
        // After the evidence was fetched: a certificate may have begun to be valid just now.
        let at = self.at.unwrap_or_else(|| Time::from_unix(settings.now()));
        let opened = evidence.as_ref().map(|(bytes, nonce)| (Evidence::open(bytes), *nonce));
        let question = opened.as_ref().map(|(evidence, nonce)| Question {
            evidence: evidence.as_ref(),
            collateral: &collateral,
            roots: &roots,
            policy: &policy,
            expected: known.expected(),
            nonce: *nonce,
            at,
        });
        let answer = match (known.published(), &question) {
            (Some(read), question) => {
                let answer = read.answer(question.as_ref(), at);
                self.published.summarise(&answer, read, at, ui)?;
                Answered::Published(Box::new(answer))
            }
            (None, Some(question)) => Answered::Machine(Box::new(verify(question))),
            (None, None) => Answered::Machine(Box::new(known.nothing(at)?)),
        };
        let verdict = answer.verdict();
        match ui.is_json() {
            true => ui.json(&answer)?,
            false => shown::verdict(ui, verdict, answer.published())?,
        }
        known.hint(ui, verdict, self.reads_artifacts());
        if self.at.is_none() {
            ui.note(&format!("the time is this machine's: {at}; say another by `--at`"));
        }
        match (&known, &question) {
            (Known::Invalid(why), None) => Err(Error::new(Kind::Rejected, why.clone())
                .hint("fetch the release again; if it stays so, its publisher must correct it")),
            (_, None) => failure(verdict, "the release"),
            (_, Some(_)) => failure(verdict, "the report"),
        }
    }

    /// Refuses a command line that asks for nothing, or for what would not be looked at. (Clap lets `requires` go
    /// where what is required conflicts with something that was given.)
    fn means_something(&self) -> Result<()> {
        let usage = |message: &str| Err(Error::new(Kind::Usage, message));
        // What is published is read where no machine is asked about, if it is asked about at all.
        let published = self.published.reads_artifacts(false);
        if self.report.is_none() && self.url.is_none() && !published {
            return usage(
                "nothing to verify: say a machine by `--report` or `--url`, or what was published by `--trust`",
            );
        }
        if self.release.is_none() && self.artifacts {
            return usage("`--artifacts` is about a release's files: say which by `--release DIR`");
        }
        if self.release.is_none() && published {
            return usage(
                "`--trust` is about what was published of a release: say which by `--release DIR`",
            );
        }
        Ok(())
    }

    /// The evidence, and the nonce that it must have been made with.
    fn evidence(&self, ui: &Ui) -> Result<(Vec<u8>, Option<[u8; 32]>)> {
        if let Some(url) = &self.url {
            let nonce = ask::nonce()?;
            let bytes = ask::evidence(url, &nonce, ui)?;
            if let Some(path) = &self.save_evidence {
                whole::write(path, &bytes)?;
            }
            return Ok((bytes, Some(nonce)));
        }
        let path = self.report.as_deref().unwrap_or(Path::new("-"));
        let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
        // One byte more, so that what is too large is seen and told like everything else.
        Ok((bounded::first(path, LARGEST as u64 + 1)?, self.nonce))
    }

    /// What must run there.
    fn known(&self, settings: &Settings) -> Result<Known> {
        if let Some(measurement) = self.measurement {
            return Ok(Known::Measurement(measurement));
        }
        if self.any_measurement {
            return Ok(Known::Anything);
        }
        let read = match (&self.release, &self.record) {
            (Some(root), _) => self.opened(root, settings),
            (None, Some(record)) => read_record(record).map(Recorded::alone),
            (None, None) => {
                let message = "nothing to compare the report with";
                return Err(Error::new(Kind::Usage, message).hint(
                    "say what must run by `--release DIR`, `--record FILE` or `--measurement HEX`; or ask only who \
                     signed by `--any-measurement`",
                ));
            }
        };
        match read {
            Ok(recorded) => Ok(Known::Release(Box::new(recorded))),
            // A record that contradicts itself is a reason like any other.
            Err(error) if error.kind() == Kind::Rejected => Ok(Known::Invalid(in_one_line(&error))),
            Err(error) => Err(error),
        }
    }

    /// The records of a release. What `launch.json` says is computed again; that it is of the release's files,
    /// and `igvm.json` anything at all, is known once those were read.
    fn opened(&self, root: &Path, settings: &Settings) -> Result<Recorded> {
        let release = Release::open(root)?;
        let artifacts = self.reads_artifacts();
        if artifacts {
            release.check_artifacts()?;
        }
        let at = self.at.unwrap_or_else(|| Time::from_unix(settings.now()));
        let published = self.published.read(&release, artifacts, at)?;
        let aside = release.igvm.as_ref().map(|igvm| igvm.digest).filter(|_| !artifacts);
        let igvm = release.igvm.filter(|_| artifacts);
        Ok(Recorded { record: release.record, igvm, aside, published })
    }

    /// Whether all of the release's files are held against its record.
    fn reads_artifacts(&self) -> bool {
        let machine = self.report.is_some() || self.url.is_some();
        self.artifacts || self.published.reads_artifacts(machine)
    }

    /// What the command line says of REPORT_DATA counts more than the policy.
    fn bind(&self, policy: &mut Policy) -> Result<()> {
        if let Some(data) = self.report_data {
            policy.report_data = ReportData::Raw(data);
        }
        // Zeros are refused as in a policy: they are what a report has where nothing was bound.
        let some = |digest: Sha256, says: &str| match digest.0 == [0; 32] {
            true => Err(Error::new(Kind::Usage, says)),
            false => Ok(digest),
        };
        if let Some(key) = &self.spki {
            let digest = some(key_digest(key)?, "zeros for `--spki` are the digest of no key")?;
            policy.report_data = ReportData::Sha256Spki(digest);
        }
        match self.binding.as_deref() {
            Some("none") => policy.report_data = ReportData::Labelled(Binding::None),
            Some(key) => {
                let says = "zeros for `--binding` are what stands for nothing bound: say `none`";
                let digest = some(key_digest(key)?, says)?;
                policy.report_data = ReportData::Labelled(Binding::Is(digest.0));
            }
            None => {}
        }
        // Whoever has a nonce means it to be checked.
        let fresh = self.nonce.is_some() || self.url.is_some();
        if fresh && policy.report_data == ReportData::Unchecked {
            policy.report_data = ReportData::Labelled(Binding::Any);
        }
        Ok(())
    }
}

/// The answer to what was asked.
#[derive(Serialize)]
#[serde(untagged)]
enum Answered {
    /// On a machine.
    Machine(Box<Verdict>),
    /// On what was published, with or without a machine.
    Published(Box<published::Answer>),
}

impl Answered {
    fn verdict(&self) -> &Verdict {
        match self {
            Self::Machine(verdict) => verdict,
            Self::Published(answer) => &answer.verdict,
        }
    }

    fn published(&self) -> Option<&Published> {
        match self {
            Self::Machine(_) => None,
            Self::Published(answer) => Some(&answer.published),
        }
    }
}

/// What is known of a release.
struct Recorded {
    record: Record,
    igvm: Option<IgvmRecord>,
    /// A digest that the release claims too, and that does not count.
    aside: Option<Sha384>,
    /// What was published of it, where that is asked.
    published: Option<published::Read>,
}

impl Recorded {
    fn alone(record: Record) -> Self {
        Self { record, igvm: None, aside: None, published: None }
    }
}

/// What the machine must run, held.
enum Known {
    Release(Box<Recorded>),
    Invalid(String),
    Measurement(Sha384),
    Anything,
}

impl Known {
    /// What was published.
    fn published(&self) -> Option<&published::Read> {
        match self {
            Self::Release(release) => release.published.as_ref(),
            Self::Invalid(_) | Self::Measurement(_) | Self::Anything => None,
        }
    }

    /// The answer where there is neither a report nor a release that anything could be published of.
    fn nothing(&self, at: Time) -> Result<Verdict> {
        let Self::Invalid(why) = self else {
            let error = Error::new(Kind::Usage, "there is no report to verify");
            return Err(error.hint("say `--report FILE`"));
        };
        let mut verdict = Verdict::of_release(at);
        let mut ledger = Ledger::default();
        ledger.failed("release", Reason::RecordInvalid, why);
        verdict.append(ledger);
        Ok(verdict)
    }

    /// What an answer rests on beside the evidence.
    fn hint(&self, ui: &Ui, verdict: &Verdict, artifacts: bool) {
        let Self::Release(release) = self else { return };
        let digest = verdict.report.as_ref().map(|report| report.measurement);
        if release.aside.is_some() && release.aside == digest {
            ui.note(
                "MEASUREMENT is the digest in `igvm.json`, for which the launch record does not vouch: with \
                 `--artifacts` the IGVM file is made again from the release's files, and then it counts",
            );
        }
        if verdict.matched.is_some() && !artifacts {
            ui.note(
                "the digests follow from the launch record; that the record is of the release's files is checked by \
                 `--artifacts`, and that the files follow from their inputs by `counterfoil reproduce`",
            );
        }
    }

    fn expected(&self) -> Expected<'_> {
        match self {
            Self::Release(release) => {
                Expected::Release { record: &release.record, igvm: release.igvm.as_ref() }
            }
            Self::Invalid(why) => Expected::Invalid(why),
            Self::Measurement(measurement) => Expected::Measurement(*measurement),
            Self::Anything => Expected::Anything,
        }
    }
}

/// The failure that a verdict is, if it is one.
fn failure(verdict: &Verdict, what: &str) -> Result<()> {
    let (kind, word) = match verdict.verdict {
        Answer::Accepted => return Ok(()),
        Answer::Rejected => (Kind::Rejected, "is rejected"),
        Answer::CannotDecide => (Kind::CannotDecide, "cannot be decided about"),
        Answer::Malformed => (Kind::Malformed, "is malformed"),
    };
    let mut codes: Vec<&str> = verdict.reasons.iter().map(|reason| reason.code.code()).collect();
    let mut seen = BTreeSet::new();
    codes.retain(|code| seen.insert(*code));
    let mut error = Error::new(kind, format!("{what} {word}: {}", codes.join(", ")));
    let missing = [Reason::VekMissing, Reason::AskMissing, Reason::CrlMissing];
    if verdict.reasons.iter().any(|reason| missing.contains(&reason.code)) {
        error = error.hint(
            "`counterfoil collateral fetch REPORT --output FILE` asks AMD for what is missing",
        );
    }
    Err(error)
}

pub(super) fn read_policy(path: &Path) -> Result<Policy> {
    let bytes = bounded::at_most(path, LARGEST as u64)?;
    let text = String::from_utf8(bytes)
        .context(Kind::Malformed, || format!("`{}` is not text", path.display()))?;
    Policy::parse(&path.display().to_string(), &text)
}

/// A root that is not AMD's.
pub(super) fn read_root(path: &Path) -> Result<Roots> {
    let collateral = read_collateral(path)?;
    let [root] = collateral.certificates.as_slice() else {
        let message = format!("`{}` is not one certificate", path.display());
        return Err(Error::new(Kind::Malformed, message));
    };
    Roots::other(root).ok_or_else(|| {
        Error::new(Kind::Malformed, format!("`{}` is not for an RSA key", path.display()))
    })
}

/// The SHA-256 of a public key: from the digest itself, or from a file with the key or a certificate.
fn key_digest(text: &str) -> Result<Sha256> {
    if let Ok(digest) = text.to_ascii_lowercase().parse() {
        return Ok(digest);
    }
    let path = Path::new(text);
    let bytes = bounded::at_most(path, LARGEST as u64).map_err(|error| {
        error.hint("give 64 hex digits, or a file with a public key or a certificate")
    })?;
    crate::report::binding::spki(&bytes).map(Sha256::of).ok_or_else(|| {
        Error::new(
            Kind::Malformed,
            format!("`{text}` is neither a public key nor a certificate, PEM or DER"),
        )
    })
}

fn digest(text: &str) -> std::result::Result<Sha384, String> {
    let digest = text.to_ascii_lowercase().parse();
    digest.map_err(|_| "expected 96 hex digits".to_owned())
}

fn bytes<const N: usize>(text: &str) -> std::result::Result<[u8; N], String> {
    parse_hex(&text.to_ascii_lowercase()).map_err(|_| format!("expected {} hex digits", 2 * N))
}
