//! The manifest: an image by intent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Sha256;
use crate::manifest::volume::{Scratch, Volume};
use crate::names::{
    Cmdline, GuestPath, Hex64, Line, Mode, ModuleRequest, Name, Owner, PackageName, ProjectName,
    ProjectVersion, Suite, Sysctl, Variable, VolumeName,
};
use crate::yaml::{At, emit};

/// The manifest's format. One version so far; a reader refuses any other.
pub const VERSION: u32 = 1;

/// An image by intent, checked: every `from` names an input, the kernel's recipe is written out.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The image's name; also the release directory's.
    pub name: Name,
    /// Everything that comes from outside, by name.
    pub inputs: BTreeMap<Name, Source>,
    /// The guest's firmware.
    pub firmware: Firmware,
    /// The guest's kernel and the modules it needs.
    pub kernel: Kernel,
    /// The kernel's command line, measured byte for byte.
    pub cmdline: Cmdline,
    /// What stands in the guest's root beside PID 1 and the modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRule>,
    /// Read-only disks whose root hashes stand on the command line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<VolumeName, Volume>,
    /// Encrypted disks, empty at every start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scratch: BTreeMap<VolumeName, Scratch>,
    /// What PID 1 does.
    pub init: Init,
    /// Who may ask for attestation reports, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the launch measurement is computed for.
    pub launch: Launch,
    /// How `counterfoil run` starts it. Not measured.
    #[serde(default, skip_serializing_if = "is_default")]
    pub run: Run,
}

/// Where an input comes from. `R` is what a recipe is named by: by a path in a manifest as written, by
/// nothing in a checked one.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source<R = WrittenOut> {
    /// Packages of a Debian archive.
    Deb(Deb),
    /// A source package of a Debian archive: its parts, without name and version.
    Source(SourceOf),
    /// A file beside the manifest.
    File(LocalPath),
    /// A directory beside the manifest.
    Dir(LocalPath),
    /// A file fetched from a URL.
    Url(Url),
    /// A tar archive, plain or compressed with gzip, xz or zstd.
    Tar(Tar),
    /// A source distribution of a Python project.
    Sdist(Sdist),
    /// A program of the guest that counterfoil itself carries: `hello`.
    Builtin(Name),
    /// Something compiled from other inputs.
    Build(Build),
    /// What the recipe's input of the same name is.
    Recipe(R),
}

/// A recipe in the place where recipes are written out: there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WrittenOut {}

/// Something compiled from other inputs, in a [room](crate::room).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Build {
    /// The inputs, packages each, that are unpacked to be the whole file system of the room.
    pub room: Vec<At<Name>>,
    /// Symbolic links in the room that no package brings, because a maintainer script would make them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<GuestPath, Line>,
    /// What is put into `/build`, by its path there.
    pub files: BTreeMap<GuestPath, Part>,
    /// The program and its arguments. It leaves its results in `/build/out`.
    pub run: Vec<Line>,
}

/// A file or a directory of an input.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Part {
    /// The input.
    pub from: At<Name>,
    /// The path inside the input, where it has paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<GuestPath>,
}

/// Packages of one suite.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deb {
    /// Suite or codename, such as `trixie`.
    pub suite: Suite,
    /// Component; `main` unless said.
    #[serde(default = "Suite::main")]
    pub component: Suite,
    /// Packages by name.
    pub packages: Vec<PackageName>,
    /// Also every package they depend on, directly or not, whose name matches one of these
    /// patterns: how a metapackage leads to the kernel of the day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<PackageName>,
}

/// A source package of one suite.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceOf {
    /// Suite or codename.
    pub suite: Suite,
    /// Component; `main` unless said.
    #[serde(default = "Suite::main")]
    pub component: Suite,
    /// The source package.
    pub package: PackageName,
}

/// A path on the machine that locks, relative to the manifest. Never part of an artifact.
pub type LocalPath = Line;

/// A file fetched from a URL, pinned by the person who wrote the manifest.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Url {
    /// `https://`, `http://` or `file://`.
    pub url: Line,
    /// What its bytes must hash to.
    pub sha256: Sha256,
}

/// A tar archive from exactly one of two places.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tar {
    /// A file beside the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<LocalPath>,
    /// A URL, which then needs `sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Line>,
    /// What its bytes must hash to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// A source distribution in a Python package index, pinned by the person who wrote the manifest: a tar
/// archive, compressed with gzip. Which index is the host's business.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sdist {
    /// The project.
    pub package: ProjectName,
    /// Its version.
    pub version: ProjectVersion,
    /// What the file's bytes must hash to.
    pub sha256: Sha256,
}

/// The firmware: which input, and where in it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Firmware {
    /// An input's name.
    pub from: At<Name>,
    /// The path inside the input, where it has paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<GuestPath>,
    /// What to do about firmware that runs `etc/boot/shim` blobs without verifying them.
    #[serde(default)]
    pub named_blobs: NamedBlobs,
}

/// What to do when the firmware would run named blobs that the measurement does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedBlobs {
    /// Build with a warning that nobody can overlook, in the output and in the record.
    #[default]
    Warn,
    /// Refuse to build.
    Deny,
}

/// The kernel: which input, and which modules.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kernel {
    /// An input's name.
    pub from: At<Name>,
    /// The bzImage's path in the input; found by itself in a Debian kernel package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<GuestPath>,
    /// The input that holds the kernel's configuration, when it is not a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<At<Name>>,
    /// Modules to load, in order, each with what it depends on before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleRequest>,
}

/// Something put into the guest's root.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileRule {
    /// Where it stands in the guest. Exactly one of `path` and `paths`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<At<GuestPath>>,
    /// Several paths that are the same in the input and in the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<At<GuestPath>>,
    /// The input it comes from. Exactly one of `from`, `text`, `symlink`, `directory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<At<Name>>,
    /// Its path in the input, if not the same as `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<GuestPath>,
    /// Its text, written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A symbolic link to this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlink: Option<Line>,
    /// An empty directory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub directory: bool,
    /// Also bring the interpreter and the shared libraries that it needs, from the same input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub libraries: bool,
    /// Permission bits, if not those of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner; `0:0` unless said, whatever the input says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub owner: Owner,
}

/// What PID 1 does after the kernel has started it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Init {
    /// The program and its arguments; the first is an absolute path in the guest.
    pub exec: Vec<At<Line>>,
    /// Its whole environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<Variable, Line>,
    /// Its working directory.
    #[serde(default = "GuestPath::root")]
    pub workdir: GuestPath,
    /// Who it runs as.
    #[serde(default = "nobody")]
    pub user: Owner,
    /// The guest's host name.
    #[serde(default = "guest")]
    pub hostname: Name,
    /// The guest's network.
    #[serde(default)]
    pub network: Network,
    /// Kernel parameters set before the program starts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<Sysctl, Line>,
    /// What follows when the program ends.
    #[serde(default)]
    pub on_exit: OnExit,
    /// Seconds between the request to stop and the kill.
    #[serde(default = "ten")]
    pub grace: u16,
    /// Where its standard output and error go.
    #[serde(default)]
    pub output: Output,
}

/// The evidence agent, which asks for attestation reports: always for the program, on a socket of its own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The TCP port where anyone may ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<At<u16>>,
    /// The vsock port where the host may ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vsock: Option<At<u32>>,
}

/// Where the workload's standard output and error go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Nowhere.
    #[default]
    Discard,
    /// To the console, which the host reads: nothing confidential may be printed.
    Console,
}

/// The guest's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Loopback only.
    #[default]
    None,
    /// One interface, its address asked of the host by DHCP.
    Dhcp,
}

/// What PID 1 does when the workload ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExit {
    /// Power the machine off.
    #[default]
    Poweroff,
    /// Restart the machine.
    Reboot,
    /// Stop it where it stands, loudly.
    Panic,
    /// Start the workload again.
    Restart,
}

/// The set of launches to compute digests for: every combination.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Launch {
    /// The VMM profile's name.
    pub profile: At<String>,
    /// Numbers of vCPUs.
    pub vcpus: At<Vec<u32>>,
    /// CPU models by QEMU's names.
    pub cpus: At<Vec<String>>,
    /// Values of SEV_FEATURES in the VMSA.
    #[serde(default = "snp_active")]
    pub features: Vec<Hex64>,
    /// The guest policy (SNP firmware ABI, 56860, table 9).
    #[serde(default = "default_policy")]
    pub policy: Hex64,
    /// Also write the image as one IGVM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub igvm: Option<Igvm>,
}

/// The image as an IGVM file, which has its vCPUs in it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Igvm {
    /// The number of vCPUs.
    pub vcpus: At<u32>,
    /// SEV_FEATURES of each.
    #[serde(default = "snp_active_alone")]
    pub features: Hex64,
}

/// How `counterfoil run` starts the machine. Nothing here is measured.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Run {
    /// Memory in MiB; 1024 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// TCP ports of the guest to forward from the same ports of 127.0.0.1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
}

impl Build {
    /// Every input that shapes the result.
    pub fn inputs(&self) -> impl Iterator<Item = &At<Name>> {
        self.room.iter().chain(self.files.values().map(|part| &part.from))
    }
}

impl<R> Source<R> {
    /// The source, or the recipe that has it.
    ///
    /// # Errors
    /// The recipe.
    pub fn unless_recipe(self) -> Result<Source, R> {
        Ok(match self {
            Self::Deb(deb) => Source::Deb(deb),
            Self::Source(source) => Source::Source(source),
            Self::File(path) => Source::File(path),
            Self::Dir(path) => Source::Dir(path),
            Self::Url(url) => Source::Url(url),
            Self::Tar(tar) => Source::Tar(tar),
            Self::Sdist(sdist) => Source::Sdist(sdist),
            Self::Builtin(program) => Source::Builtin(program),
            Self::Build(build) => Source::Build(build),
            Self::Recipe(recipe) => return Err(recipe),
        })
    }
}

impl Serialize for WrittenOut {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<'de> Deserialize<'de> for WrittenOut {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("a recipe names no other; name both in the manifest"))
    }
}

impl Source {
    /// SHA-256 of the source's canonical text.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(emit(self))
    }
}

impl Manifest {
    /// The digest that ties a lock to its manifest: SHA-256 of the canonical text, so that
    /// comments and layout do not count.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(self.canonical())
    }

    /// The measured parts that an input shapes: what rolls when it changes.
    pub fn measured_by(&self, input: &Name) -> Vec<&'static str> {
        let mut parts = Vec::new();
        if self.firmware.from.value == *input {
            parts.push("firmware");
        }
        if self.kernel.from.value == *input {
            parts.push("kernel");
        }
        let modules = self.kernel.from.value == *input && !self.kernel.modules.is_empty();
        let file = |rule: &FileRule| rule.from.as_ref().is_some_and(|from| from.value == *input);
        if modules || self.files.iter().any(file) {
            parts.push("initrd");
        }
        if self.volumes.values().any(|volume| volume.inputs().any(|from| from.value == *input)) {
            parts.push("command line");
        }
        // And what is made of it.
        for (made, build) in self.builds() {
            if build.inputs().any(|from| from.value == *input) {
                parts.extend(self.measured_by(made));
            }
        }
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    /// The programs that counterfoil itself carries and the image has.
    pub fn builtins(&self) -> BTreeSet<Name> {
        let inputs = self.inputs.values().filter_map(|source| match source {
            Source::Builtin(program) => Some(program.clone()),
            _ => None,
        });
        let agent = self.evidence.as_ref().map(|_| Name::evidence());
        inputs.chain([Name::init()]).chain(agent).collect()
    }

    /// The inputs that the image is put together from, without what those are compiled from.
    pub fn inputs_of_image(&self) -> Vec<&Name> {
        let used = |name: &&Name| {
            let named = |at: &At<Name>| at.value == **name;
            named(&self.firmware.from)
                || named(&self.kernel.from)
                || self.kernel.config.as_ref().is_some_and(named)
                || self.files.iter().any(|rule| rule.from.as_ref().is_some_and(named))
                || self.volumes.values().any(|volume| volume.inputs().any(named))
        };
        self.inputs.keys().filter(used).collect()
    }

    /// The inputs that are compiled, each after those that it is compiled from.
    pub fn builds(&self) -> Vec<(&Name, &Build)> {
        let mut left: Vec<(&Name, &Build)> = self.inputs.iter().filter_map(build_of).collect();
        let mut ordered = Vec::new();
        while !left.is_empty() {
            let waits = |build: &Build| {
                build.inputs().any(|from| left.iter().any(|(name, _)| **name == from.value))
            };
            let (later, now): (Vec<_>, Vec<_>) =
                left.iter().copied().partition(|(_, build)| waits(build));
            if now.is_empty() {
                // A circle, which no checked manifest has.
                break;
            }
            ordered.extend(now);
            left = later;
        }
        ordered
    }

    /// The manifest as canonical YAML: recipe written out, defaults said, keys in one order.
    pub fn canonical(&self) -> String {
        emit(self)
    }
}

fn build_of<'a>((name, source): (&'a Name, &'a Source)) -> Option<(&'a Name, &'a Build)> {
    match source {
        Source::Build(build) => Some((name, build)),
        _ => None,
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn guest() -> Name {
    #[allow(clippy::unwrap_used)] // "guest" is a name
    "guest".parse().unwrap()
}

/// Debian's `nobody:nogroup` (Debian Policy 9.2.2).
fn nobody() -> Owner {
    Owner { uid: 65534, gid: 65534 }
}

fn ten() -> u16 {
    10
}

/// Bit 0 of SEV_FEATURES, SNP_ACTIVE, alone (AMD APM 24593 volume 2, table B-4).
fn snp_active() -> Vec<Hex64> {
    vec![snp_active_alone()]
}

fn snp_active_alone() -> Hex64 {
    Hex64(1)
}

/// QEMU's default: SMT allowed and the reserved bit that must be one (56860, table 9).
fn default_policy() -> Hex64 {
    Hex64(0x30000)
}
