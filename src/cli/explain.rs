//! `explain`: why a machine attests another digest than the record has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::measure::parameters::Parameters;
use crate::cli::ui::{Style, Ui};
use crate::digest::{Sha256, Sha384};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::bounded;
use crate::input::progress::Progress as _;
use crate::launch::explain::{self, Candidates, Cause, Change, Explanation};
use crate::launch::igvm::IgvmRecord;
use crate::launch::record::{Blob, Boot, FirmwareRecord, Inputs};
use crate::launch::{Policy, Record, Signature};
use crate::release::open::{Release, read_record};
use crate::report::{Evidence, Report};

const EXAMPLES: &str = "\
Examples:
  counterfoil explain 3f57f22e...39ee8967f releases/llama   the digest that a machine attests
  counterfoil explain report.bin --record launch.json       its attestation report
  counterfoil explain report.bin releases/llama --firmware /usr/share/ovmf/OVMF.amdsev.fd
  counterfoil explain 3f57f22e...39ee8967f --firmware OVMF.amdsev.fd --kernel vmlinuz \\
      --initrd initrd --append 'console=ttyS0' --vcpus 4 --cpu EPYC-Milan

The answer is a diagnosis. The exit code is 0 only if the digest is in the record as it stands, and
10 if it is not, also when the cause is found.";

/// Say why a machine attests another digest than a release has.
///
/// The launch that should have been is that of a release, of a record, or of files: the first of
/// each kind that is given. Searched are the launches that are near to it: another number of vCPUs,
/// another CPU, other SEV_FEATURES, another hypervisor, kernel-hashes=off, no initrd, a command line
/// with a newline, and so on; first by one change, then by two. The signature of a report is not
/// checked: `verify` does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The digest as 96 hex digits, or a file with the attestation report, in whatever it came in.
    digest: String,
    /// The release that the machine should run.
    release: Option<PathBuf>,
    /// Its launch record alone.
    #[arg(long, value_name = "FILE", conflicts_with = "release")]
    record: Option<PathBuf>,
    /// A firmware image that may have been used; may be given again.
    #[arg(long, value_name = "FILE")]
    firmware: Vec<PathBuf>,
    /// A kernel that may have been used; may be given again.
    #[arg(long, value_name = "FILE")]
    kernel: Vec<PathBuf>,
    /// An initrd that may have been used; may be given again.
    #[arg(long, value_name = "FILE")]
    initrd: Vec<PathBuf>,
    /// A command line that may have been used; may be given again.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Vec<String>,
    #[command(flatten)]
    parameters: Parameters,
}

/// What the digest should be of.
struct Expected {
    record: Record,
    /// What it is called.
    name: &'static str,
    /// How many files of each kind it took, which are no candidates then.
    taken: usize,
}

impl Explain {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        let attested = attested(&self.digest, ui)?;
        let release = match (&self.release, &self.record) {
            (Some(root), None) => Some(Release::open(root)?),
            _ => None,
        };
        let igvm = release.as_ref().and_then(|release| release.igvm.as_ref());
        if let Some(igvm) = igvm.filter(|igvm| igvm.digest == attested.measurement) {
            return answer_igvm(ui, igvm);
        }
        let Expected { record, name, taken } = self.expected(release)?;
        let candidates = self.candidates(attested.signature, taken)?;
        let found = explain::explain(&record, attested.measurement, &candidates)
            .context(Kind::Malformed, || name.to_owned())?;
        let verdict = Verdict::of(&found);
        if ui.is_json() {
            ui.json(&verdict.json(&record, attested.measurement, &found))?;
        } else {
            ui.answer(&verdict.text(ui, &record, name, &found))?;
        }
        if verdict == Verdict::Recorded {
            return Ok(());
        }
        let digest = attested.measurement;
        Err(Error::new(Kind::Rejected, format!("digest `{digest}` is not in {name}")))
    }

    fn expected(&self, release: Option<Release>) -> Result<Expected> {
        let record = match (release, &self.record) {
            (_, Some(path)) => read_record(path)?,
            (Some(release), None) => release.record,
            (None, None) => {
                let (record, name) = (self.supposed()?, "what these files give");
                return Ok(Expected { record, name, taken: 1 });
            }
        };
        if self.parameters.are_given() {
            let message = "`--vcpus`, `--cpu`, `--features` and `--profile` go with files alone";
            return Err(Error::new(Kind::Usage, message)
                .hint("what the record has, and everything near to it, is searched in any case"));
        }
        Ok(Expected { record, name: "the record", taken: 0 })
    }

    /// The launch of the first file of each kind.
    fn supposed(&self) -> Result<Record> {
        let Some(path) = self.firmware.first() else {
            return Err(Error::new(Kind::Usage, "nothing says what the machine should run").hint(
                "name a release, or `--record FILE`, or `--firmware FILE` and what it boots",
            ));
        };
        if self.kernel.is_empty() && (!self.initrd.is_empty() || !self.append.is_empty()) {
            return Err(Error::new(Kind::Usage, "`--initrd` and `--append` need `--kernel`"));
        }
        let blob = |path: &PathBuf| Ok(Blob::of(&bounded::whole(path)?));
        let boot = match self.kernel.first() {
            Some(kernel) => Some(Boot {
                kernel: blob(kernel)?,
                initrd: self.initrd.first().map(blob).transpose()?,
                cmdline: self.append.first().cloned().unwrap_or_default(),
            }),
            None => None,
        };
        Record::supposed(Inputs {
            profile: self.parameters.profile()?,
            policy: Policy::QEMU_DEFAULT,
            firmware: firmware(path)?,
            boot,
            volumes: Vec::new(),
            set: self.parameters.set_or_one()?,
            writers: BTreeMap::new(),
        })
        .context(Kind::Malformed, || "these files cannot be launched".to_owned())
    }

    fn candidates(
        &self,
        signature: Option<crate::launch::Signature>,
        taken: usize,
    ) -> Result<Candidates> {
        let hashed = |paths: &[PathBuf]| -> Result<Vec<(String, Sha256)>> {
            let rest = paths.iter().skip(taken);
            rest.map(|path| Ok((name(path), Sha256::of(bounded::whole(path)?)))).collect()
        };
        let images = self.firmware.iter().skip(taken);
        Ok(Candidates {
            firmware: images
                .map(|path| Ok((name(path), firmware(path)?)))
                .collect::<Result<_>>()?,
            kernels: hashed(&self.kernel)?,
            initrds: hashed(&self.initrd)?,
            cmdlines: self.append.iter().skip(taken).cloned().collect(),
            signature,
        })
    }
}

/// The three answers.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Verdict {
    /// It is in the record.
    Recorded,
    /// It is not, and this is why.
    Explained,
    /// It is not, and nothing near it is.
    Unexplained,
}

impl Verdict {
    fn of(found: &Explanation) -> Self {
        match (found.recorded, found.causes.is_empty()) {
            (Some(_), _) => Self::Recorded,
            (None, false) => Self::Explained,
            (None, true) => Self::Unexplained,
        }
    }

    /// A stable name for programs.
    fn code(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Explained => "explained",
            Self::Unexplained => "unexplained",
        }
    }

    fn json(self, record: &Record, digest: Sha384, found: &Explanation) -> Value {
        let row = found.recorded.and_then(|row| record.digests.get(row));
        let change = |change: &Change| {
            json!({
                "reason": change.code(),
                "value": change.value(),
                "says": change.sentence(record),
                "advice": change.advice(record),
            })
        };
        let cause = |cause: &Cause| {
            json!({
                "changes": cause.changes.iter().map(change).collect::<Vec<_>>(),
                "launch": {
                    "profile": cause.profile,
                    "vcpus": cause.vcpus.as_ref().map(|vcpus| vcpus.count),
                    "cpu": cause.vcpus.as_ref().map(|vcpus| vcpus.cpu.label()),
                    "sev_features": cause.vcpus.as_ref().map(|vcpus| vcpus.features),
                },
            })
        };
        json!({
            "verdict": self.code(),
            "digest": digest,
            "row": row,
            "causes": found.causes.iter().map(cause).collect::<Vec<_>>(),
            "searched": found.searched,
            "complete": found.complete,
            "check_by_hand": if self == Self::Unexplained { BY_HAND } else { &[] },
        })
    }

    fn text(self, ui: &Ui, record: &Record, name: &str, found: &Explanation) -> String {
        let mut text = String::new();
        match self {
            Self::Recorded => {
                text += &ui.paint(Style::Green, &format!("the digest is in {name}"));
                if let Some(row) = found.recorded.and_then(|row| record.digests.get(row)) {
                    let (vcpus, cpu, features) = (row.vcpus, &row.cpu, row.sev_features);
                    text += &format!(": {vcpus} vCPUs, {cpu}, SEV_FEATURES {features}");
                }
                text += &format!(", profile {}\n", record.profile);
                return text;
            }
            Self::Explained => {
                let (few, many) = ("one change gives it", "these changes together give it");
                let changes = found.causes.iter().map(|cause| cause.changes.len()).max();
                let what = if changes == Some(1) { few } else { many };
                let ways = match found.causes.len() {
                    1 => String::new(),
                    ways => format!(", in {ways} ways"),
                };
                let head = format!("the digest is not in {name}; {what}{ways}:");
                text += &ui.paint(Style::Bold, &head);
                text.push('\n');
                for cause in &found.causes {
                    text += &explained(ui, record, cause);
                }
            }
            Self::Unexplained => {
                let head =
                    format!("the digest is not in {name}, and no launch near to it gives it");
                text += &ui.paint(Style::Bold, &head);
                text += "\n\ncheck by hand\n";
                for item in BY_HAND {
                    text += &format!("  - {item}\n");
                }
            }
        }
        text += &format!("\nsearched {} launches: {SEARCHED}", found.searched);
        if !found.complete {
            text += "; the record has so many that not all its neighbours were tried";
        }
        text +=
            "\nthis is a diagnosis, not a verification: do not accept the digest because of it\n";
        text
    }
}

/// There is nothing to search for.
fn answer_igvm(ui: &Ui, igvm: &IgvmRecord) -> Result<()> {
    let IgvmRecord { vcpus, sev_features, digest, .. } = igvm;
    if ui.is_json() {
        return ui.json(&json!({
            "verdict": Verdict::Recorded.code(),
            "digest": digest,
            "igvm": { "vcpus": vcpus, "sev_features": sev_features },
        }));
    }
    let found = ui.paint(Style::Green, "the digest is that of the release's IGVM file");
    ui.answer(&format!("{found}: {vcpus} vCPUs, any CPU, SEV_FEATURES {sev_features}\n"))
}

fn explained(ui: &Ui, record: &Record, cause: &Cause) -> String {
    let mut text = String::from("\n");
    for change in &cause.changes {
        text += &format!("  {}\n", ui.paint(Style::Yellow, &change.sentence(record)));
        text += &format!("    what to do: {}\n", change.advice(record));
    }
    if let Some(vcpus) = &cause.vcpus {
        let (count, cpu, features) = (vcpus.count, vcpus.cpu.label(), vcpus.features);
        let launch = format!(
            "    the launch: {count} vCPUs, {cpu}, SEV_FEATURES {features}, profile {}\n",
            cause.profile
        );
        text += &ui.paint(Style::Dim, &launch);
    }
    text
}

/// What was gone through, for people.
const SEARCHED: &str = "1 to 512 vCPUs, CPU signatures, SEV_FEATURES, VMM profiles, kernel-hashes, \
                        initrd, command line, section order, the files given; one change, then two";

/// What no search can find, most likely first.
const BY_HAND: &[&str] = &[
    "the firmware: `sha256sum` of the file that the host starts with, against `firmware.sha256` in \
     the record; try it with `--firmware FILE`",
    "kernel and initrd: `sha256sum` against `boot` in the record; try them with `--kernel FILE` and \
     `--initrd FILE`",
    "the command line: the text after `-append` in the host's QEMU command, byte by byte; try it with \
     `--append TEXT`",
    "the release: whether the machine should run this one at all",
    "the report: whether it is whole, and its MEASUREMENT copied without an error",
];

/// What a machine attests, as far as the search goes.
struct Attested {
    measurement: Sha384,
    /// The CPU; reports before version 3 do not say.
    signature: Option<Signature>,
}

/// The digest, and what else is known from where it was. Nothing here checks a report: what is explained is
/// what it claims.
fn attested(text: &str, ui: &Ui) -> Result<Attested> {
    let path = Path::new(text);
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits && (text.len() == 96 || !path.exists()) {
        let measurement = text.to_ascii_lowercase().parse();
        let measurement = measurement
            .context(Kind::Usage, || format!("a launch digest cannot have {} digits", text.len()));
        return Ok(Attested { measurement: measurement?, signature: None });
    }
    let report = bounded::whole(path).map_err(|error| {
        error.hint("give 96 hex digits, or the path of a file with an attestation report")
    })?;
    let named = || format!("`{text}` is not an attestation report");
    let evidence = Evidence::open(&report).context(Kind::Malformed, named)?;
    let report = Report::parse(&evidence.report).context(Kind::Malformed, named)?;
    ui.note("the signature of the report was not checked: `counterfoil verify` does");
    Ok(Attested { measurement: report.measurement(), signature: report.cpu() })
}

fn firmware(path: &Path) -> Result<FirmwareRecord> {
    FirmwareRecord::of(&bounded::whole(path)?)
        .context(Kind::Malformed, || format!("`{}`", path.display()))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
