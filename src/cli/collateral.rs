//! `collateral`: what is needed beside a report, in one file.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::cli::settings::Settings;
use crate::cli::ui::{Style, Ui, printable_in_line};
use crate::error::{Context as _, Error, Kind, Result, in_one_line};
use crate::input::bounded;
use crate::input::kds::{Kds, Options, PACE, SERVICE};
use crate::input::progress::Progress as _;
use crate::report::binding::spki;
use crate::report::certificate::{Certificate, Endorsement, Kind as CertificateKind};
use crate::report::describe::hex;
use crate::report::fields::Signer;
use crate::report::wrapper::LARGEST;
use crate::report::{
    Collateral, Evidence, Expected, Policy, Product, Question, Reason, Report, Roots, Time, verify,
};
use crate::whole;

/// The most that is read of a file of certificates: that of a fleet has one for each chip.
const LARGEST_COLLATERAL: u64 = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  counterfoil collateral fetch report.bin -o collateral.json
  counterfoil collateral fetch --product Genoa -o genoa.json          for every chip, without its own
  counterfoil collateral fetch report.bin --from DIR -o bundle.json   without network
  counterfoil collateral pack vcek.der cert_chain.pem crl.der -o bundle.json
  counterfoil collateral show bundle.json";

/// Get, pack and show the certificates and lists of revoked ones that a report needs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CollateralCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Fetch(Fetch),
    Pack(Pack),
    Show(Show),
}

/// Ask AMD's key service for what a report needs; what it gave before is kept, and it is asked slowly.
#[derive(Debug, Args)]
struct Fetch {
    /// The report, in whatever it came in.
    #[arg(required_unless_present = "product")]
    report: Option<PathBuf>,
    /// The line of processors (Milan, Genoa, Turin): for what every report of it needs, or beside a report
    /// of version 2, which does not say it.
    #[arg(long, value_name = "NAME", value_parser = product)]
    product: Option<Product>,
    /// Where to put it.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Take it from the files in this directory, and ask nobody.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Ask again for what is kept and can change.
    #[arg(long)]
    refresh: bool,
    /// Where the service is.
    #[arg(long, value_name = "URL", default_value = SERVICE)]
    service: String,
    /// Seconds between two requests for chips' certificates.
    #[arg(long, value_name = "SECONDS", default_value_t = PACE)]
    pace: u64,
}

/// Put certificates and lists, in whatever form, into one file.
#[derive(Debug, Args)]
struct Pack {
    /// Files, and directories of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where to put it.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Show what is in a collateral file, or in any certificates.
#[derive(Debug, Args)]
struct Show {
    /// The file.
    file: PathBuf,
}

impl CollateralCommand {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        match self.command {
            Command::Fetch(command) => command.run(ui, settings),
            Command::Pack(command) => command.run(ui),
            Command::Show(command) => command.run(ui),
        }
    }
}

impl Fetch {
    fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let evidence = self.report.as_deref().map(read_evidence).transpose()?;
        let found = match &self.from {
            Some(directory) => {
                whole_and_known(gather(std::slice::from_ref(directory), &Roots::amd(), ui)?)?
            }
            None => self.ask(evidence.as_ref(), ui, settings)?,
        };
        if let Some(directory) = &self.from {
            let at = Time::from_unix(settings.now());
            let missing = self.missing(evidence.as_ref(), &found, at);
            if !missing.is_empty() {
                let message = format!(
                    "what is in `{}` is not enough: {}",
                    directory.display(),
                    missing.join("; ")
                );
                return Err(Error::new(Kind::CannotDecide, message)
                    .hint("without `--from`, AMD's key service is asked for it"));
            }
        }
        let mut all = evidence.map(|evidence| evidence.collateral).unwrap_or_default();
        all.merge(&found).context(Kind::Malformed, || "what was found".to_owned())?;
        all.fetched = found.fetched;
        write(&all, &self.output, ui)
    }

    /// What a report needs, or every report of a product, and is not in `found`: by name.
    fn missing(&self, evidence: Option<&Evidence>, found: &Collateral, at: Time) -> Vec<String> {
        if let Some(evidence) = evidence {
            let verdict = verify(&Question {
                evidence: Ok(evidence),
                collateral: found,
                roots: &Roots::amd(),
                policy: &Policy::conservative(),
                expected: Expected::Anything,
                nonce: None,
                at,
            });
            let reasons = verdict.reasons.into_iter().filter(|found| MISSING.contains(&found.code));
            return reasons.map(|found| format!("{}: {}", found.code, found.says)).collect();
        }
        let Some(product) = self.product else { return Vec::new() };
        let (ask, asvk) = (format!("SEV-{product}"), format!("SEV-VLEK-{product}"));
        let mut names = found.certificates.iter().map(Certificate::name);
        let mut missing = Vec::new();
        if !names.any(|name| name == ask || name == asvk) {
            missing.push(format!("no certificate {ask} or {asvk}"));
        }
        let root = format!("ARK-{product}");
        if !found.crls.iter().any(|crl| crl.issuer_name() == root) {
            missing.push(format!("no list of revoked certificates of {root}"));
        }
        missing
    }

    fn ask(&self, evidence: Option<&Evidence>, ui: &Ui, settings: &Settings) -> Result<Collateral> {
        let now = Time::from_unix(settings.now());
        let options = Options { refresh: self.refresh, pace: self.pace };
        let kds = Kds::new(&self.service, &settings.cache()?, now, options, ui)?;
        if let (Some(product), None) = (self.product, evidence) {
            let mut found = kds.chain(product, Signer::Vcek)?;
            let vlek = kds.chain(product, Signer::Vlek)?;
            found.merge(&vlek).context(Kind::Malformed, || self.service.clone())?;
            return Ok(found);
        }
        let evidence = evidence.ok_or_else(|| Error::new(Kind::Usage, "no report"))?;
        let report = Report::parse(&evidence.report)
            .context(Kind::Malformed, || "what the report came in holds none".to_owned())?;
        let signer = report.signer().map_err(|reason| {
            Error::new(Kind::CannotDecide, format!("the report: {}", reason.means()))
        })?;
        let product =
            product_of(&report, &evidence.collateral).or(self.product).ok_or_else(|| {
                let message = "the report does not say which line of processors it is from";
                Error::new(Kind::CannotDecide, message).hint("say it by `--product`")
            })?;
        if signer == Signer::Vlek && evidence.collateral.of_kind(is_vek).next().is_none() {
            ui.warn("the report is signed by a VLEK, whose certificate only the cloud's operator has: it is not in the file");
        }
        kds.collateral(&report, product, signer)
    }
}

impl Pack {
    fn run(self, ui: &Ui) -> Result<()> {
        write(&whole_and_known(gather(&self.paths, &Roots::amd(), ui)?)?, &self.output, ui)
    }
}

impl Show {
    fn run(self, ui: &Ui) -> Result<()> {
        let found = read_collateral(&self.file)?;
        if ui.is_json() {
            return ui.json(&as_json(&found));
        }
        ui.answer(&as_text(ui, &found))
    }
}

/// What a verdict says where a certificate or a list that the report needs is not there, or another one is.
const MISSING: [Reason; 9] = [
    Reason::VekMissing,
    Reason::VekKind,
    Reason::VekTcb,
    Reason::VekChipId,
    Reason::ReportSignature,
    Reason::VekIssuer,
    Reason::AskMissing,
    Reason::CrlMissing,
    Reason::CrlIssuer,
];

/// Everything in some files and directories that is a certificate or a list.
///
/// What a person names is meant to count, all of it: what is damaged stands in the answer, and so does a
/// certificate of no chain of AMD's. In a directory stand other things too, which are left out; but nothing that
/// calls itself a certificate, and nothing that has to do with the roots: a damaged one is not as good as none.
pub(super) fn gather(paths: &[PathBuf], roots: &Roots, ui: &Ui) -> Result<Collateral> {
    let mut all = Collateral::default();
    for path in paths {
        if !path.is_dir() {
            let bytes = bounded::at_most(path, LARGEST_COLLATERAL)?;
            let found =
                Collateral::read(&bytes).unwrap_or_else(|error| damaged(path, &error.to_string()));
            all.merge(&found).context(Kind::Malformed, || format!("`{}`", path.display()))?;
            continue;
        }
        for entry in WalkDir::new(path).sort_by_file_name() {
            let named = || format!("failed reading `{}`", path.display());
            let entry = entry.context(Kind::Environment, named)?;
            if !entry.file_type().is_dir() {
                let found = in_directory(entry.path(), roots, ui);
                all.merge(&found).context(Kind::Malformed, || format!("`{}`", path.display()))?;
            }
        }
    }
    if all.certificates.is_empty() && all.crls.is_empty() && all.damaged.is_empty() {
        return Err(Error::new(Kind::CannotDecide, "no certificate and no list was found"));
    }
    Ok(all)
}

/// What a file among others in a directory has.
fn in_directory(path: &Path, roots: &Roots, ui: &Ui) -> Collateral {
    let left_out = |what: &str| {
        let shown = format!("`{}` {what}: left out", path.display());
        ui.note(&printable_in_line(&shown));
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase);
    let by_name = extension.is_some_and(|it| EXTENSIONS.contains(&it.as_str()));
    // A pipe would be waited for, a link may lead anywhere.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        left_out("is no file");
        return Collateral::default();
    }
    let bytes = match bounded::at_most(path, LARGEST_COLLATERAL) {
        Ok(bytes) => bytes,
        Err(error) if by_name => return damaged(path, &in_one_line(&error)),
        Err(_) => {
            left_out("is no certificate and no list");
            return Collateral::default();
        }
    };
    let mut found = match Collateral::read(&bytes) {
        Ok(found) => found,
        Err(error) if Collateral::is_claimed(&bytes) || by_name && !is_key(&bytes) => {
            return damaged(path, &error.to_string());
        }
        Err(_) => {
            left_out("is no certificate and no list");
            return Collateral::default();
        }
    };
    found.certificates.retain(|certificate| {
        let ours = certificate.kind().is_some()
            || certificate.is_amds_in_word()
            || roots.concerns(certificate);
        if !ours {
            left_out(&format!("has `{}`, which is of no chain of AMD's", certificate.subject()));
        }
        ours
    });
    found
}

/// What files of certificates are called.
const EXTENSIONS: [&str; 5] = ["pem", "der", "crt", "cer", "crl"];

/// Keys are called so too: one in DER that can be read, or PEM with nothing else in it.
fn is_key(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let labels = text.split("-----BEGIN ").skip(1);
    let mut labels = labels.map(|block| block.split("-----").next().unwrap_or_default()).peekable();
    match labels.peek() {
        Some(_) => {
            labels.all(|label| label.ends_with("PUBLIC KEY") || label.ends_with("PRIVATE KEY"))
        }
        None => spki(bytes).is_some(),
    }
}

fn damaged(path: &Path, says: &str) -> Collateral {
    let damaged = vec![format!("`{}`: {says}", path.display())];
    Collateral { damaged, ..Collateral::default() }
}

/// What is to be handed on: nothing in it may be damaged, or of no use to anybody.
fn whole_and_known(found: Collateral) -> Result<Collateral> {
    if let Some(damaged) = found.damaged.first() {
        return Err(Error::new(Kind::Malformed, printable_in_line(damaged))
            .hint("fetch it again, or leave it out"));
    }
    if let Some(stranger) = found.strangers().next() {
        let subject = printable_in_line(&stranger.subject());
        let message = format!("`{subject}` is of no chain of AMD's");
        return Err(Error::new(Kind::Rejected, message).hint(Reason::CertificateUnknown.advice()));
    }
    Ok(found)
}

fn write(collateral: &Collateral, path: &Path, ui: &Ui) -> Result<()> {
    let json =
        collateral.to_json().context(Kind::Environment, || "failed writing JSON".to_owned())?;
    whole::write(path, &json)?;
    let (certificates, crls) = (collateral.certificates.len(), collateral.crls.len());
    ui.done(&format!("{certificates} certificates and {crls} lists in `{}`", path.display()));
    ui.next(&format!(
        "counterfoil verify --report REPORT --release DIR --collateral {}",
        path.display()
    ));
    Ok(())
}

/// Certificates and lists from one file.
pub(super) fn read_collateral(path: &Path) -> Result<Collateral> {
    let named = || format!("`{}` is nothing to decide by", path.display());
    Collateral::read(&bounded::at_most(path, LARGEST_COLLATERAL)?).context(Kind::Malformed, named)
}

/// The report in a file, and what came with it.
fn read_evidence(path: &Path) -> Result<Evidence> {
    Evidence::open(&bounded::at_most(path, LARGEST as u64)?)
        .context(Kind::Malformed, || format!("no report in `{}`", path.display()))
}

/// The line of processors that a report is from, by itself or by a certificate that came along.
pub(super) fn product_of(report: &Report, collateral: &Collateral) -> Option<Product> {
    let certified = || {
        let mut veks = collateral.of_kind(is_vek);
        veks.find_map(|vek| vek.endorsement().ok()?.product)
    };
    report.cpu().and_then(Product::of).or_else(certified)
}

fn is_vek(kind: CertificateKind) -> bool {
    matches!(kind, CertificateKind::Vek(_))
}

fn product(text: &str) -> std::result::Result<Product, String> {
    let found = Product::ALL.into_iter().find(|product| product.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "expected Milan, Genoa or Turin".to_owned())
}

fn kind(certificate: &Certificate) -> String {
    certificate.kind().map_or("unknown".to_owned(), |kind| kind.to_string())
}

/// What the certificate of a signing key is for, as one line.
fn endorses(of: &Endorsement) -> String {
    let fmc = of.fmc.map_or(String::new(), |fmc| format!("fmc {fmc}, "));
    let whose = match (&of.hw_id, &of.csp_id) {
        (_, Some(csp)) => format!("operator {csp}"),
        (Some(id), None) => format!("chip {}", hex(id)),
        (None, None) => "nobody".to_owned(),
    };
    format!(
        "{}, {fmc}bootloader {}, tee {}, snp {}, microcode {}, {whose}",
        of.product_name, of.bootloader, of.tee, of.snp, of.microcode
    )
}

fn as_json(found: &Collateral) -> Value {
    let certificate = |certificate: &Certificate| {
        let (from, to) = certificate.validity();
        json!({
            "kind": kind(certificate),
            "name": certificate.name(),
            "issuer": certificate.issuer_name(),
            "valid_from": from,
            "valid_to": to,
            "endorses": certificate.endorsement().ok().map(|of| json!({
                "product": of.product_name,
                "fmc": of.fmc,
                "bootloader": of.bootloader,
                "tee": of.tee,
                "snp": of.snp,
                "microcode": of.microcode,
                "chip_id": of.hw_id.as_deref().map(hex),
                "csp_id": of.csp_id,
            })),
            "sha256": crate::digest::Sha256::of(certificate.der()),
        })
    };
    json!({
        "fetched": found.fetched,
        "certificates": found.certificates.iter().map(certificate).collect::<Vec<_>>(),
        "crls": found.crls.iter().map(|crl| json!({
            "issuer": crl.issuer_name(),
            "this_update": crl.this_update(),
            "next_update": crl.next_update(),
            "revoked": crl.len(),
        })).collect::<Vec<_>>(),
    })
}

fn as_text(ui: &Ui, found: &Collateral) -> String {
    let mut text = String::new();
    if let Some(fetched) = found.fetched {
        text += &format!("fetched {fetched}\n");
    }
    for certificate in &found.certificates {
        let (from, to) = certificate.validity();
        let head = format!("{:5} {}", kind(certificate), printable_in_line(&certificate.name()));
        text += &format!("{}\n", ui.paint(Style::Bold, &head));
        text += &format!("      by      {}\n", printable_in_line(&certificate.issuer_name()));
        text += &format!("      valid   {from} to {to}\n");
        if let Ok(endorses) = certificate.endorsement().map(|of| endorses(&of)) {
            text += &format!("      for     {}\n", printable_in_line(&endorses));
        }
        let pinned =
            Product::ALL.into_iter().find(|product| Roots::amd().is_pinned(*product, certificate));
        if let Some(product) = pinned {
            text += &format!("      root    the key is the one that is built in for {product}\n");
        }
    }
    for crl in &found.crls {
        let head = format!("{:5} {}", "CRL", printable_in_line(&crl.issuer_name()));
        text += &format!("{}\n", ui.paint(Style::Bold, &head));
        let next = crl.next_update().map_or("nothing".to_owned(), |next| next.to_string());
        text += &format!("      valid   {} to {next}\n", crl.this_update());
        text += &format!("      revokes {}\n", crl.len());
    }
    text += "signatures are not checked here: `counterfoil verify` does\n";
    text
}
