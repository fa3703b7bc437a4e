//! What a release has been measured to be: read from its artifacts, each of which is held against the
//! launch record first. Its manifest and its lock are held against that, too: an audit that believed a
//! manifest beside another image would be worse than none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use counterfoil_init::evidence::PROGRAM;
use counterfoil_init::plan::Plan;

use crate::error::{Context as _, Error, Kind, Result};
use crate::guest;
use crate::image::cpio::ours::{Member, read};
use crate::input::bounded;
use crate::kernel::bzimage::BzImage;
use crate::kernel::config::Config;
use crate::launch::SevFeatures;
use crate::launch::direct_boot::NamedBlobs;
use crate::launch::findings::Finding;
use crate::launch::record::{Disclosure, FirmwareRecord};
use crate::layout;
use crate::manifest::{Lock, Manifest};
use crate::names::GuestPath;
use crate::release::open::Release;
use crate::release::{measure, plan};

/// PID 1's path in the initrd.
const INIT: &str = "init";

/// What the artifacts of a release are.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What becomes of blobs that the firmware was not told of; `None` where that cannot be seen.
    pub named_blobs: Option<NamedBlobs>,
    /// What else the firmware does.
    pub firmware: Vec<Finding>,
    /// What PID 1 is.
    pub pid1: Pid1,
    /// Whether another program than this counterfoil's is the evidence agent.
    pub agent_unknown: bool,
    /// The programs of the initrd that give whoever starts them other rights.
    pub set_id: Vec<String>,
    /// How much of each volume is told, by its record.
    pub volumes: BTreeMap<String, Disclosure>,
    /// What the launch record says that its digests do not cover, by name.
    pub unmeasured: Vec<String>,
    /// The kernel's release, as its image says it.
    pub kernel: String,
}

/// What starts first in the guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pid1 {
    /// This counterfoil's, whose plan is that of the manifest.
    Known {
        /// It forbids to load modules, after its own.
        latches: bool,
        /// It loads modules.
        loads: bool,
    },
    /// Another program.
    Unknown,
}

/// A release, with all that an audit reads of it.
#[derive(Debug)]
pub struct Audited {
    /// The manifest.
    pub manifest: Manifest,
    /// The lock, which is of this manifest.
    pub lock: Lock,
    /// What was measured.
    pub evidence: Evidence,
}

/// Reads a release and checks that its parts belong together.
///
/// # Errors
/// When an artifact is not what was measured, or manifest and lock are not of what was.
pub fn read_release(release: &Release) -> Result<Audited> {
    release.check_artifacts()?;
    let manifest = release.manifest()?;
    check_launch(release, &manifest)?;
    let path = release.path(layout::LOCK);
    let lock = Lock::read(&path)?.ok_or_else(|| {
        Error::new(Kind::CannotDecide, format!("`{}` is missing", path.display()))
            .hint("build the release again, or fetch it again")
    })?;
    lock.check_manifest(&manifest)
        .map_err(|error| error.context(format!("`{}` does not belong here", path.display())))?;
    let firmware = bounded::whole(&release.path(layout::FIRMWARE))?;
    let (record, findings) = FirmwareRecord::examine(&firmware)
        .context(Kind::Malformed, || format!("`{}`", release.path(layout::FIRMWARE).display()))?;
    let kernel = bounded::whole(&release.path(layout::KERNEL))?;
    let kernel = BzImage::parse(&kernel)
        .context(Kind::Malformed, || format!("`{}`", release.path(layout::KERNEL).display()))?;
    let members = members(release)?;
    let volumes = release.record.volumes.iter();
    let evidence = Evidence {
        named_blobs: record.direct_boot.map(|found| found.named_blobs),
        firmware: findings,
        pid1: pid1(&manifest, &members)?,
        agent_unknown: agent_unknown(&manifest, &members),
        set_id: members.iter().filter(|it| it.is_set_id()).map(|it| it.path.clone()).collect(),
        volumes: volumes.map(|volume| (volume.name.clone(), volume.disclosure)).collect(),
        unmeasured: release.record.unmeasured.iter().map(|item| item.what.clone()).collect(),
        kernel: kernel.release().to_owned(),
    };
    Ok(Audited { manifest, lock, evidence })
}

impl Evidence {
    /// Checks that a configuration can be of the release's kernel.
    ///
    /// # Errors
    /// [`Kind::Rejected`] when it is of another.
    pub fn check_config(&self, config: &Config) -> Result<()> {
        match config.can_be_of(&self.kernel) {
            true => Ok(()),
            false => {
                let message =
                    format!("the configuration is of another kernel than {}", self.kernel);
                Err(Error::new(Kind::Rejected, message))
            }
        }
    }
}

/// The launch must be the manifest's: its policy is in no digest, and somebody may have changed it.
fn check_launch(release: &Release, manifest: &Manifest) -> Result<()> {
    let (record, launch) = (&release.record, &manifest.launch);
    let (profile, set) = measure::set(launch, &release.path(layout::MANIFEST))?;
    let recorded = record
        .set()
        .context(Kind::Malformed, || format!("`{}`", release.path(layout::RECORD).display()))?;
    let same = record.profile == profile.id
        && record.policy.0 == launch.policy.0
        && recorded == set
        && release.igvm.as_ref().is_none_or(|igvm| {
            let asked = launch.igvm.as_ref();
            igvm.policy == record.policy
                && asked.map(|it| it.vcpus.value) == Some(igvm.vcpus)
                && asked.map(|it| SevFeatures(it.features.0)) == Some(igvm.sev_features)
        });
    match same {
        true => Ok(()),
        false => Err(not_of(release, "its launch is another")),
    }
}

fn members(release: &Release) -> Result<Vec<Member>> {
    let path = release.path(layout::INITRD);
    let failed = || format!("failed reading `{}`", path.display());
    let file = File::open(&path).context(Kind::Environment, failed)?;
    let plan = plan::PATH.trim_start_matches('/');
    let agent = PROGRAM.trim_start_matches('/');
    read(BufReader::new(file), &[INIT, plan, agent])
        .context(Kind::Rejected, || format!("`{}` cannot be audited", path.display()))
}

fn contents<'m>(members: &'m [Member], path: &str) -> Option<&'m [u8]> {
    let path = path.trim_start_matches('/');
    members.iter().find(|member| member.path == path)?.contents.as_deref()
}

fn agent_unknown(manifest: &Manifest, members: &[Member]) -> bool {
    manifest.evidence.is_some() && contents(members, PROGRAM) != Some(guest::EVIDENCE)
}

/// What PID 1 is, and that it does what the manifest says.
fn pid1(manifest: &Manifest, members: &[Member]) -> Result<Pid1> {
    if contents(members, INIT) != Some(guest::INIT) {
        return Ok(Pid1::Unknown);
    }
    let wrong = || {
        Error::new(
            Kind::Rejected,
            "the manifest of this release is not of its image: PID 1's plan is another",
        )
        .hint("build the release again, or fetch it again")
    };
    let text = contents(members, plan::PATH).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.ok_or_else(wrong)?;
    let read = Plan::parse(text).map_err(|_| wrong())?;
    let modules: Result<Vec<GuestPath>, _> =
        read.modules().map(|path| path.as_str().parse()).collect();
    let modules = modules.map_err(|_| wrong())?;
    // Which modules there are, and whether they are forbidden, is the kernel's; all else the manifest's.
    match plan::write(manifest, &modules, read.latch_modules)? == text {
        true => Ok(Pid1::Known { latches: read.latch_modules, loads: !modules.is_empty() }),
        false => Err(wrong()),
    }
}

fn not_of(release: &Release, why: &str) -> Error {
    let (manifest, record) = (layout::MANIFEST, layout::RECORD);
    let message =
        format!("`{manifest}` of `{}` is not what `{record}` is of: {why}", release.root.display());
    Error::new(Kind::Rejected, message).hint("build the release again, or fetch it again")
}
