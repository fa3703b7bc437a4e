//! From a file to a checked manifest: recipes written out, every reference resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use counterfoil_init::evidence::USER;
use counterfoil_init::plan::{Port, VsockPort};

use crate::error::{Context as _, Error, Kind, Result};
use crate::input::http::without_credentials;
use crate::manifest::directory_of;
use crate::manifest::recipe::{no_recipe_of, recipe_of_inputs, with_recipe};
use crate::manifest::types::{
    Build, Evidence, FileRule, Firmware, Init, Kernel, Launch, Manifest, NamedBlobs, Network, Run,
    Source, VERSION,
};
use crate::manifest::volume::{self, Scratch, Volume};
use crate::names::{Cmdline, GuestPath, Line, ModuleRequest, Name, VolumeName};
use crate::room;
use crate::yaml::{At, Document, Position};

/// The largest manifest read, in bytes; a sane one is a few kilobytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The most vCPUs a digest is computed for; QEMU's q35 machine ends at 4096, KVM's guests earlier.
const MAX_VCPUS: u32 = 4096;

/// The least memory that the firmware runs in, in MiB.
pub const LEAST_MEMORY: u32 = 128;

/// Where PID 1 mounts file systems.
const MOUNTED: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];

/// A checked manifest and the directory that its local paths are relative to.
#[derive(Debug)]
pub struct Loaded {
    /// The manifest.
    pub manifest: Manifest,
    /// Where the manifest stands.
    pub directory: PathBuf,
    /// The manifest's path as the user gave it.
    pub path: PathBuf,
}

/// The manifest as written: firmware, kernel and inputs may be references to recipes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    version: At<u32>,
    name: Name,
    #[serde(default)]
    inputs: BTreeMap<Name, At<Source<Line>>>,
    firmware: At<WrittenFirmware>,
    kernel: At<WrittenKernel>,
    cmdline: At<Cmdline>,
    #[serde(default)]
    files: Vec<At<FileRule>>,
    #[serde(default)]
    volumes: BTreeMap<VolumeName, Volume>,
    #[serde(default)]
    scratch: BTreeMap<VolumeName, Scratch>,
    init: At<Init>,
    evidence: Option<Evidence>,
    launch: Launch,
    #[serde(default = "no_run")]
    run: At<Run>,
}

/// Either `recipe` or the firmware itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenFirmware {
    recipe: Option<At<Line>>,
    from: Option<At<Name>>,
    path: Option<GuestPath>,
    named_blobs: Option<NamedBlobs>,
}

/// Either `recipe` (with more modules, perhaps) or the kernel itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenKernel {
    recipe: Option<At<Line>>,
    from: Option<At<Name>>,
    image: Option<GuestPath>,
    config: Option<At<Name>>,
    #[serde(default)]
    modules: Vec<ModuleRequest>,
}

impl Loaded {
    /// Reads and checks the manifest at `path`, with the recipes that it names.
    ///
    /// # Errors
    /// [`Kind::Malformed`] with line and column; [`Kind::Environment`] when a file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = read_text(path, MAX_BYTES)?;
        let document = Document { name: &name, text: &text };
        let written: Written = document.parse()?;
        let directory = directory_of(path).to_owned();
        let manifest = check(document, written, &directory)?;
        Ok(Self { manifest, directory, path: path.to_owned() })
    }
}

impl Loaded {
    /// The manifest of a release or a bundle, which is written out: it names no recipe, and has one
    /// spelling. `name` is what messages call it.
    ///
    /// # Errors
    /// [`Kind::Malformed`] when it is anything else.
    pub fn released(text: &str, name: &str) -> Result<Manifest> {
        let document = Document { name, text };
        let written: Written = document.parse()?;
        // A place below which nothing is, so that no path in it leads anywhere.
        let manifest = check(document, written, Path::new("/dev/null"))?;
        match manifest.canonical() == text {
            true => Ok(manifest),
            false => Err(Error::new(
                Kind::Malformed,
                format!("{name} is not in the form in which a release has it"),
            )
            .hint("was it edited? a release is made again with `counterfoil build MANIFEST`")),
        }
    }
}

/// The text of a file of at most so many bytes.
///
/// # Errors
/// [`Kind::Malformed`] when it is larger, or not text; [`Kind::Environment`] when it cannot be read.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .context(Kind::Environment, || format!("failed reading `{}`", path.display()))?;
    if bytes.len() as u64 > most {
        let message = format!("`{}` is larger than {most} bytes", path.display());
        return Err(Error::new(Kind::Malformed, message).hint("is this a manifest or a lock?"));
    }
    String::from_utf8(bytes)
        .context(Kind::Malformed, || format!("`{}` is not UTF-8", path.display()))
}

fn check(document: Document<'_>, written: Written, directory: &Path) -> Result<Manifest> {
    check_version(document, &written.version)?;
    let (mut inputs, mut recipes) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
    for (name, source) in written.inputs {
        check_source(document, &name, &source)?;
        let At { value, position } = source;
        match value.unless_recipe() {
            Ok(source) => drop(inputs.insert(name, source)),
            Err(recipe) => recipes.entry(recipe).or_default().push(At { value: name, position }),
        }
    }
    for (recipe, names) in recipes {
        recipe_of_inputs(document, &recipe, &names, directory, &mut inputs)?;
    }
    let kernel = kernel(document, written.kernel, directory, &mut inputs)?;
    let firmware = firmware(document, written.firmware, directory, &mut inputs)?;
    let references = References { document, inputs: &inputs };
    let mut used = references.builds()?;
    used.insert(firmware.from.value.clone());
    used.insert(kernel.from.value.clone());
    used.extend(kernel.config.iter().map(|config| config.value.clone()));
    for rule in &written.files {
        check_rule(document, rule)?;
        if let Some(from) = &rule.value.from {
            used.insert(references.resolve(from)?);
        }
    }
    volume::check(document, &written.volumes, &written.scratch, &MOUNTED)?;
    for volume in written.volumes.values() {
        volume.files.iter().try_for_each(|rule| check_rule(document, rule))?;
        for from in volume.inputs() {
            used.insert(references.resolve(from)?);
        }
    }
    if let Some(unused) = inputs.keys().find(|name| !used.contains(*name)) {
        let message = format!("{}: nothing uses the input `{unused}`", document.name);
        return Err(Error::new(Kind::Malformed, message)
            .hint("remove it, or take a file `from` it: a release lists only what shaped it"));
    }
    check_init(document, &written.init)?;
    if let Some(evidence) = &written.evidence {
        check_evidence(document, evidence, &written.init)?;
        check_agent(document, &inputs)?;
    }
    check_launch(document, &written.launch)?;
    check_cmdline(document, &written.cmdline)?;
    check_run(document, &written.run)?;
    let manifest = Manifest {
        version: VERSION,
        name: written.name,
        inputs,
        firmware,
        kernel,
        cmdline: written.cmdline.value,
        files: written.files.into_iter().map(|rule| rule.value).collect(),
        volumes: written.volumes,
        scratch: written.scratch,
        init: written.init.value,
        evidence: written.evidence,
        launch: written.launch,
        run: written.run.value,
    };
    check_circles(document, &manifest)?;
    Ok(manifest)
}

/// What is compiled from itself can never be.
fn check_circles(document: Document<'_>, manifest: &Manifest) -> Result<()> {
    let ordered = manifest.builds();
    let circle = manifest.inputs.iter().find_map(|(name, source)| match source {
        Source::Build(build) if !ordered.iter().any(|(known, _)| *known == name) => {
            Some((name, build))
        }
        _ => None,
    });
    match circle {
        Some((name, build)) => {
            let position = build.inputs().next().map_or_else(Position::default, |at| at.position);
            let message = format!("input `{name}` is compiled from itself");
            Err(document.error_at(position, message))
        }
        None => Ok(()),
    }
}

pub(super) fn check_version(document: Document<'_>, version: &At<u32>) -> Result<()> {
    if version.value == VERSION {
        return Ok(());
    }
    let message = format!("version {} is not known; expected {VERSION}", version.value);
    Err(document.error_at(version.position, message).hint("a newer counterfoil may read it"))
}

pub(super) fn check_source<R>(
    document: Document<'_>,
    name: &Name,
    source: &At<Source<R>>,
) -> Result<()> {
    let wrong = |message: &str| {
        Err(document.error_at(source.position, format!("input `{name}`: {message}")))
    };
    if *name == Name::init() {
        return wrong("the name `init` is PID 1's; choose another");
    }
    let url = match &source.value {
        Source::Url(url) => Some(&url.url),
        Source::Tar(tar) => tar.url.as_ref(),
        _ => None,
    };
    if url.is_some_and(|url| without_credentials(url.as_str()) != url.as_str()) {
        return wrong(
            "the URL holds a user or password, which everybody would read in the release",
        );
    }
    match &source.value {
        Source::Deb(deb) if deb.packages.is_empty() => {
            wrong("`packages` is empty; name at least one")
        }
        Source::Deb(deb) => {
            match deb.packages.iter().find(|package| package.as_str().contains('*')) {
                Some(package) => {
                    wrong(&format!("`{package}` is a pattern; only `depends` takes those"))
                }
                None => Ok(()),
            }
        }
        Source::Build(build) => check_build(build).or_else(|message| wrong(&message)),
        Source::Tar(tar) => match (&tar.file, &tar.url, &tar.sha256) {
            (Some(_), None, _) | (None, Some(_), Some(_)) => Ok(()),
            (None, Some(_), None) => wrong("a `url` needs its `sha256`"),
            _ => wrong("exactly one of `file` and `url` is needed"),
        },
        _ => Ok(()),
    }
}

fn check_build(build: &Build) -> Result<(), String> {
    if build.room.is_empty() {
        return Err("`room` is empty; name the inputs that are unpacked into it".to_owned());
    }
    if build.run.is_empty() {
        return Err("`run` is empty; say the program and its arguments".to_owned());
    }
    match build.files.keys().find(|path| !room::is_for_recipes(path)) {
        Some(path) => Err(format!("`{path}`: files are put below `{}`, not at `out`", room::BUILD)),
        None => Ok(()),
    }
}

/// The kernel as the manifest says it, or as the recipe it names says it.
fn kernel(
    document: Document<'_>,
    written: At<WrittenKernel>,
    directory: &Path,
    inputs: &mut BTreeMap<Name, Source>,
) -> Result<Kernel> {
    let At { value: kernel, position } = written;
    match (kernel.recipe, kernel.from) {
        (None, Some(from)) => {
            let WrittenKernel { image, config, modules, .. } = kernel;
            let kernel = Kernel { from, image, config, modules };
            References { document, inputs }.resolve_kernel(&kernel)?;
            Ok(kernel)
        }
        (Some(recipe), None) if kernel.image.is_none() && kernel.config.is_none() => {
            let mut resolved = with_recipe(
                &recipe.value,
                directory,
                "kernel",
                inputs,
                |recipe, inputs, document| {
                    let made = recipe.kernel.filter(|_| recipe.firmware.is_none());
                    let made = made.ok_or_else(|| no_recipe_of("kernel", document))?;
                    References { document, inputs }.resolve_kernel(&made)?;
                    Ok(made)
                },
            )?;
            resolved.modules.extend(kernel.modules);
            Ok(resolved)
        }
        _ => Err(document.error_at(
            position,
            "a kernel is either a `recipe` (and perhaps more `modules`), or `from` an input",
        )),
    }
}

/// The firmware as the manifest says it, or as the recipe it names says it.
fn firmware(
    document: Document<'_>,
    written: At<WrittenFirmware>,
    directory: &Path,
    inputs: &mut BTreeMap<Name, Source>,
) -> Result<Firmware> {
    let At { value: firmware, position } = written;
    match (firmware.recipe, firmware.from) {
        (None, Some(from)) => {
            References { document, inputs }.resolve(&from)?;
            let named_blobs = firmware.named_blobs.unwrap_or_default();
            Ok(Firmware { from, path: firmware.path, named_blobs })
        }
        (Some(recipe), None) if firmware.path.is_none() => {
            let mut resolved = with_recipe(
                &recipe.value,
                directory,
                "firmware",
                inputs,
                |recipe, inputs, document| {
                    let made = recipe.firmware.filter(|_| recipe.kernel.is_none());
                    let made = made.ok_or_else(|| no_recipe_of("firmware", document))?;
                    References { document, inputs }.resolve(&made.from)?;
                    Ok(made)
                },
            )?;
            resolved.named_blobs = firmware.named_blobs.unwrap_or(resolved.named_blobs);
            Ok(resolved)
        }
        _ => Err(document.error_at(
            position,
            "a firmware is either a `recipe`, or `from` an input and a `path`",
        )),
    }
}

/// What the manifest leaves out.
fn no_run() -> At<Run> {
    At { value: Run::default(), position: Position::default() }
}

/// What would put something else in PID 1's place: measured, and still not what anybody reads.
fn check_cmdline(document: Document<'_>, cmdline: &At<Cmdline>) -> Result<()> {
    let words = ["rdinit=", "init=", "initrd="];
    let found = |word: &&str| words.iter().any(|start| word.starts_with(start));
    let bound = |word: &&str| word.starts_with(counterfoil_init::volume::PREFIX);
    if let Some(word) = cmdline.value.as_str().split(' ').find(bound) {
        return Err(document
            .error_at(cmdline.position, format!("`{word}` is a word that binds a volume"))
            .hint("declare it under `volumes`: the build adds the word"));
    }
    match cmdline.value.as_str().split(' ').find(found) {
        Some(word) => Err(document
            .error_at(cmdline.position, format!("`{word}` puts something else in PID 1's place"))
            .hint("the guest's program is said under `init.exec`")),
        None => Ok(()),
    }
}

fn check_run(document: Document<'_>, run: &At<Run>) -> Result<()> {
    let Run { memory, ports } = &run.value;
    if memory.is_some_and(|memory| memory < LEAST_MEMORY) {
        let message = format!("a guest needs {LEAST_MEMORY} MiB of memory at least");
        return Err(document.error_at(run.position, message));
    }
    let unique: BTreeSet<_> = ports.iter().collect();
    if unique.len() != ports.len() || ports.contains(&0) {
        return Err(document.error_at(run.position, "`ports` are from 1 to 65535, each once"));
    }
    Ok(())
}

struct References<'a> {
    document: Document<'a>,
    inputs: &'a BTreeMap<Name, Source>,
}

impl References<'_> {
    /// The inputs that others are compiled from.
    fn builds(&self) -> Result<BTreeSet<Name>> {
        let mut used = BTreeSet::new();
        for (name, source) in self.inputs {
            let Source::Build(build) = source else { continue };
            for from in build.inputs() {
                used.insert(self.resolve(from)?);
            }
            let packages = |from: &&At<Name>| {
                !matches!(self.inputs.get(&from.value), Some(Source::Deb(_) | Source::Build(_)))
            };
            if let Some(from) = build.room.iter().find(packages) {
                let message = format!(
                    "input `{name}`: a room is unpacked from packages, and `{}` has none",
                    from.value
                );
                return Err(self.document.error_at(from.position, message));
            }
        }
        Ok(used)
    }

    fn resolve_kernel(&self, kernel: &Kernel) -> Result<()> {
        self.resolve(&kernel.from)?;
        kernel.config.iter().try_for_each(|config| self.resolve(config).map(drop))
    }

    fn resolve(&self, reference: &At<Name>) -> Result<Name> {
        if self.inputs.contains_key(&reference.value) {
            return Ok(reference.value.clone());
        }
        let known: Vec<_> = self.inputs.keys().map(Name::as_str).collect();
        let message = format!("no input is named `{}`", reference.value);
        let hint = match known.is_empty() {
            true => "the manifest has no inputs".to_owned(),
            false => format!("the inputs are: {}", known.join(", ")),
        };
        Err(self.document.error_at(reference.position, message).hint(hint))
    }
}

fn check_rule(document: Document<'_>, rule: &At<FileRule>) -> Result<()> {
    let wrong = |message: &str| Err(document.error_at(rule.position, message));
    let FileRule { path, paths, from, source, text, symlink, directory, libraries, mode, .. } =
        &rule.value;
    let contents = usize::from(from.is_some())
        + usize::from(text.is_some())
        + usize::from(symlink.is_some())
        + usize::from(*directory);
    if contents != 1 {
        return wrong("exactly one of `from`, `text`, `symlink` and `directory: true` is needed");
    }
    match (path, paths.is_empty()) {
        (Some(_), true) => {}
        (None, false) if from.is_some() && source.is_none() => {}
        (None, false) => return wrong("`paths` goes with `from` and without `source`"),
        _ => return wrong("exactly one of `path` and `paths` is needed"),
    }
    if (source.is_some() || *libraries) && from.is_none() {
        return wrong("`source` and `libraries` need `from`");
    }
    let mounted = |path: &&At<GuestPath>| {
        let text = path.value.as_str();
        MOUNTED
            .iter()
            .any(|mount| text.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/')))
    };
    if let Some(path) = path.iter().chain(paths).find(mounted) {
        return Err(document.error_at(
            path.position,
            format!(
                "PID 1 mounts a file system over `{}`'s directory; it would not be seen",
                path.value
            ),
        ));
    }
    if mode.is_some() && symlink.is_some() {
        return wrong("a symbolic link has no `mode` of its own");
    }
    Ok(())
}

fn check_init(document: Document<'_>, init: &At<Init>) -> Result<()> {
    match init.value.exec.first() {
        None => Err(document.error_at(init.position, "`exec` is empty; name the program to start")),
        Some(program) if program.value.as_str().parse::<GuestPath>().is_err() => Err(document
            .error_at(
                program.position,
                format!("`{}` is not an absolute path in the guest", program.value),
            )
            .hint("the guest has no shell and no PATH search: write the program's whole path")),
        Some(_) => Ok(()),
    }
}

/// Ports that PID 1 could not open, or that nobody could reach, and a user who is the agent's.
fn check_evidence(document: Document<'_>, evidence: &Evidence, init: &At<Init>) -> Result<()> {
    let Init { network, user, .. } = init.value;
    // Who could end the agent, and take its place in asking for reports.
    if user.uid == USER || user.gid == USER {
        let message = format!("`init.user`: `{user}`: {USER} is the evidence agent's user");
        return Err(document.error_at(init.position, message).hint("choose another"));
    }
    if let Some(At { value: port, position }) = evidence.http {
        Port::new(port).map_err(|error| {
            document.error_at(position, format!("`evidence.http`: `{port}`: {error}"))
        })?;
        if network == Network::None {
            let message = "`evidence.http`: nobody could ask there, in a guest without a network";
            return Err(document.error_at(position, message).hint(
                "say `network: dhcp` under `init`, or leave the port out: the program has a socket",
            ));
        }
    }
    if let Some(At { value: port, position }) = evidence.vsock {
        VsockPort::new(port).map_err(|error| {
            document.error_at(position, format!("`evidence.vsock`: `{port}`: {error}"))
        })?;
    }
    Ok(())
}

/// A lock names the agent beside the inputs.
fn check_agent(document: Document<'_>, inputs: &BTreeMap<Name, Source>) -> Result<()> {
    if !inputs.contains_key(&Name::evidence()) {
        return Ok(());
    }
    let message =
        format!("{}: input `evidence`: the name is that of the evidence agent", document.name);
    Err(Error::new(Kind::Malformed, message).hint("choose another name for the input"))
}

fn check_launch(document: Document<'_>, launch: &Launch) -> Result<()> {
    if launch.vcpus.value.is_empty() || launch.cpus.value.is_empty() || launch.features.is_empty() {
        return Err(document.error_at(
            launch.vcpus.position,
            "`vcpus`, `cpus` and `features` each need at least one value",
        ));
    }
    // Bit 17 of the guest policy is reserved and must be one (SNP ABI, 56860, section 4.3).
    if launch.policy.0 & 1 << 17 == 0 {
        let message = format!(
            "the guest policy {} lacks bit 17, without which no guest starts",
            launch.policy
        );
        return Err(document
            .error_at(launch.vcpus.position, message)
            .hint("QEMU's default is 0x30000"));
    }
    // Bit 0 of SEV_FEATURES is SNP_ACTIVE (AMD APM 24593, table B-4).
    let igvm = launch.igvm.as_ref();
    let features = launch.features.iter().map(|features| (features, launch.vcpus.position));
    let of_igvm = igvm.map(|igvm| (&igvm.features, igvm.vcpus.position));
    let mut features = features.chain(of_igvm);
    if let Some((features, position)) = features.find(|(features, _)| features.0 & 1 == 0) {
        let message =
            format!("the features {features} lack bit 0, SNP_ACTIVE: that is no SNP guest");
        return Err(document.error_at(position, message));
    }
    let counts = launch.vcpus.value.iter().map(|count| (count, launch.vcpus.position));
    let igvm = igvm.map(|igvm| (&igvm.vcpus.value, igvm.vcpus.position));
    match counts.chain(igvm).find(|(count, _)| !(1..=MAX_VCPUS).contains(*count)) {
        Some((count, position)) => Err(document.error_at(
            position,
            format!("{count} vCPUs cannot be launched; expected 1 to {MAX_VCPUS}"),
        )),
        None => Ok(()),
    }
}
