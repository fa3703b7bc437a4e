//! `audit`: what of an image is not measured, not pinned or more open than it need be, and what a hostile
//! host makes of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::inspect::read_config;
use crate::cli::ui::{Style, Ui, printable};
use crate::error::{Context as _, Error, Kind, Result};
use crate::kernel::config::Config;
use crate::manifest::Lock;
use crate::manifest::load::Loaded;
use crate::release::audit::evidence::read_release;
use crate::release::audit::{
    Deny, EVERY_LAUNCH, Finding, LockState, Rule, Severity, Subject, audit, rules,
};
use crate::release::measure;
use crate::release::open::Release;

/// The form of the JSON.
const VERSION: u32 = 1;

const EXAMPLES: &str = "\
Examples:
  counterfoil audit releases/llama
  counterfoil audit manifests/llama.yaml                       without building it
  counterfoil audit releases/llama --deny high                 in a pipeline: exit 10 if there is one
  counterfoil audit releases/llama --deny policy-debug,root-user
  counterfoil audit releases/llama --kernel-config /boot/config-6.12.107-cloud-amd64
  counterfoil audit --list                                     every code, and what it means

Exit codes: 0 whatever is found, 10 a denied finding or a release that does not hold together.";

/// Say what a hostile host can do with an image: everything that is not measured, not pinned, not
/// rebuildable by others, or more open than it need be.
///
/// A release is judged by its artifacts, which are checked first; a manifest by itself and its lock.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Audit {
    /// A release, or a manifest.
    #[arg(value_name = "RELEASE|MANIFEST", required_unless_present = "list")]
    subject: Option<PathBuf>,
    /// Fail if there is a finding of this code, or of this severity and above: info, low, medium, high,
    /// critical. May be given again, and takes several with commas between them.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    deny: Vec<String>,
    /// The configuration of the image's kernel, which a release does not hold.
    #[arg(long, value_name = "FILE")]
    kernel_config: Option<PathBuf>,
    /// Print every code, its severity and what it means.
    #[arg(long, conflicts_with_all = ["subject", "deny", "kernel_config"])]
    list: bool,
}

impl Audit {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        // Before anything is read: a misspelt code must not wait for a finding to be noticed.
        let deny = self.denied()?;
        let Some(path) = self.subject.as_deref().filter(|_| !self.list) else { return list(ui) };
        let config = self.kernel_config.as_deref().map(read_config).transpose()?;
        let audited = match is_release(path)? {
            true => of_release(path, config.as_ref())?,
            false => of_manifest(path, config.as_ref())?,
        };
        let denied: Vec<&str> = audited
            .findings
            .iter()
            .filter(|finding| deny.refuses(finding))
            .map(|finding| finding.rule.code)
            .collect();
        audited.print(ui, &denied)?;
        if denied.is_empty() {
            return Ok(());
        }
        let message = format!("`{}` has denied findings: {}", path.display(), denied.join(", "));
        Err(Error::new(Kind::Rejected, message).hint("above stands with each what takes it away"))
    }

    fn denied(&self) -> Result<Deny> {
        Deny::parse(self.deny.iter().map(String::as_str)).map_err(|error| {
            let codes: Vec<_> = rules().iter().map(|rule| rule.code).collect();
            let severities = Severity::ALL.map(Severity::name).join(", ");
            Error::caused(Kind::Usage, "`--deny` names nothing that is looked for", error)
                .hint(format!("the codes are: {}", codes.join(", ")))
                .hint(format!("or a severity and all above it: {severities}"))
        })
    }
}

/// What is found, and of what.
struct Audited {
    kind: &'static str,
    name: String,
    findings: Vec<Finding>,
}

fn of_release(path: &Path, config: Option<&Config>) -> Result<Audited> {
    let audited = read_release(&Release::open(path)?)?;
    if let Some(config) = config {
        audited.evidence.check_config(config)?;
    }
    let subject = Subject {
        manifest: &audited.manifest,
        lock: LockState::Fits(&audited.lock),
        evidence: Some(&audited.evidence),
        config,
    };
    let name = audited.manifest.name.to_string();
    Ok(Audited { kind: "release", name, findings: audit(&subject) })
}

fn of_manifest(path: &Path, config: Option<&Config>) -> Result<Audited> {
    let loaded = Loaded::read(path)?;
    measure::set(&loaded.manifest.launch, path)?;
    let lock = Lock::read(&Lock::path_for(path))?;
    let lock = match &lock {
        None => LockState::Missing,
        Some(lock) if lock.check_manifest(&loaded.manifest).is_ok() => LockState::Fits(lock),
        Some(lock) => LockState::OfAnother(lock),
    };
    let subject = Subject { manifest: &loaded.manifest, lock, evidence: None, config };
    let name = loaded.manifest.name.to_string();
    Ok(Audited { kind: "manifest", name, findings: audit(&subject) })
}

/// A directory is a release, a file a manifest; anything else might never end.
fn is_release(path: &Path) -> Result<bool> {
    let metadata = std::fs::metadata(path)
        .context(Kind::Environment, || format!("failed reading `{}`", path.display()))?;
    if metadata.is_dir() || metadata.is_file() {
        return Ok(metadata.is_dir());
    }
    let message = format!("`{}` is neither a directory nor a file", path.display());
    Err(Error::new(Kind::Malformed, message).hint("name a release, or a manifest"))
}

impl Audited {
    fn print(&self, ui: &Ui, denied: &[&str]) -> Result<()> {
        if ui.is_json() {
            return ui.json(&json!({
                "version": VERSION,
                "audited": self.kind,
                "name": self.name,
                "findings": self.findings,
                "denied": denied,
            }));
        }
        let counts = Severity::ALL.into_iter().filter_map(|severity| {
            let of = |finding: &&Finding| finding.rule.severity == severity;
            let count = self.findings.iter().filter(of).count();
            (count > 0).then(|| format!("{count} {}", severity.name()))
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        let title = format!("{} `{}`", self.kind, self.name);
        let mut text = format!("{}: {counts}\n\n", ui.paint(Style::Bold, &title));
        for finding in &self.findings {
            text += &shown(ui, finding, denied.contains(&finding.rule.code));
        }
        ui.answer(&text)
    }
}

/// A finding for people. What is only to be known is told in one line; the rest with its remedy.
fn shown(ui: &Ui, finding: &Finding, denied: bool) -> String {
    let Rule { code, severity, means, remedy } = finding.rule;
    let mark = painted(ui, severity);
    let denied = if denied { ui.paint(Style::Red, " denied") } else { String::new() };
    let code = ui.paint(Style::Bold, code);
    let subjects = printable(&finding.subjects.join(", "));
    if severity == Severity::Info && !ui.is_verbose() {
        let subjects = match subjects.as_str() {
            EVERY_LAUNCH => String::new(),
            _ => format!(" ({subjects})"),
        };
        return format!("{mark} {code}{denied}{subjects}: {means}\n");
    }
    format!("{mark} {code}{denied}: {subjects}\n{:9}{means}\n{:9}remedy: {remedy}\n\n", "", "")
}

fn painted(ui: &Ui, severity: Severity) -> String {
    let style = match severity {
        Severity::Critical | Severity::High => Style::Red,
        Severity::Medium => Style::Yellow,
        Severity::Low => Style::Cyan,
        Severity::Info => Style::Dim,
    };
    ui.paint(style, &format!("{:8}", severity.name()))
}

fn list(ui: &Ui) -> Result<()> {
    let rules = rules();
    if ui.is_json() {
        return ui.json(&rules);
    }
    let width = rules.iter().map(|rule| rule.code.len()).max().unwrap_or_default();
    let mut text = String::new();
    for rule in &rules {
        let mark = painted(ui, rule.severity);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{mark}  {:width$}  {}", rule.code, rule.means);
    }
    ui.answer(&text)
}
