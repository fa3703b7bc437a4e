//! From locked inputs to what a guest is made of: firmware, kernel, command line and the tree of
//! its initrd.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_init::evidence::PROGRAM;

use crate::error::{Context as _, Error, Kind, Result};
use crate::input::open::{Opened, Opener};
use crate::kernel::bzimage::BzImage;
use crate::kernel::config::{Config, Setting};
use crate::kernel::exposure::{self, Exposure};
use crate::kernel::modules::{self, Module, ModuleError, Modules};
use crate::kernel::{is_config, is_image};
use crate::manifest::types::{FileRule, Manifest};
use crate::manifest::volume::Volume;
use crate::names::{GuestPath, Name, Owner, VolumeName};
use crate::release::disks;
use crate::release::evidence;
use crate::release::plan;
use crate::release::volumes::{self, Contents};
use crate::tree::archive::decompress;
use crate::tree::{Content, Entry, Node, Tree, elf};

/// Where PID 1 stands: what the kernel starts from an initrd without being told.
const INIT: &str = "/init";

/// Where the modules that PID 1 loads stand.
const MODULES: &str = "/etc/counterfoil/modules";

/// The largest module, uncompressed, that is believed.
const MAX_MODULE: u64 = 256 << 20;

/// Directories that PID 1 mounts file systems on, and their modes.
const MOUNT_POINTS: [(&str, u16); 5] =
    [("/dev", 0o755), ("/proc", 0o555), ("/run", 0o755), ("/sys", 0o555), ("/tmp", 0o1777)];

/// What a guest is made of.
#[derive(Debug)]
pub struct Assembled {
    /// The firmware image.
    pub firmware: Vec<u8>,
    /// The kernel image, byte for byte as its input has it.
    pub kernel: Vec<u8>,
    /// What the kernel offers beyond what the guest needs, as its configuration says.
    pub exposures: Vec<Exposure>,
    /// What the initrd holds.
    pub tree: Tree,
    /// What the volumes hold.
    pub volumes: BTreeMap<VolumeName, Contents>,
}

/// The order in which things are put together. It must not matter; a check varies it.
#[derive(Clone, Copy, Debug, Default)]
pub enum Order {
    /// As written.
    #[default]
    Canonical,
    /// Shuffled by this seed.
    Shuffled(u64),
}

/// Puts the guest of `manifest` together from `inputs`.
///
/// # Errors
/// When an input lacks what the manifest takes from it, or the kernel cannot make a confidential
/// guest.
pub fn assemble(manifest: &Manifest, opener: &Opener<'_>, order: Order) -> Result<Assembled> {
    let mut inputs = BTreeMap::new();
    let mut names = manifest.inputs_of_image();
    order.apply(&mut names);
    for name in names {
        inputs.insert(name.clone(), opener.open(name)?);
    }
    let inputs = Inputs(inputs);

    let firmware = inputs.get(&manifest.firmware.from.value)?;
    let firmware = read(&firmware.file(manifest.firmware.path.as_ref())?, "the firmware")?;
    let kernel = Kernel::find(manifest, &inputs)?;
    let mut requests = manifest.kernel.modules.clone();
    requests.extend(disks::modules(manifest, &kernel.config)?);
    requests.extend(evidence::modules(manifest, &kernel.config)?);
    let modules = modules::closure(&requests, &kernel).map_err(|error| {
        let kind = match &error {
            ModuleError::Malformed { .. } | ModuleError::Circle(_) => Kind::Malformed,
            ModuleError::Missing(_) | ModuleError::Dependency { .. } => Kind::CannotDecide,
        };
        Error::new(kind, format!("input `{}`: {error}", manifest.kernel.from.value))
    })?;

    let mut tree = Tree::default();
    let mut nodes = Vec::new();
    for (path, mode) in MOUNT_POINTS {
        nodes.push((guest_path(path)?, made(Entry::Directory, mode)));
    }
    nodes.extend(init_nodes(manifest, opener, &modules, kernel.loads_modules)?);
    for rule in &manifest.files {
        nodes.extend(rule_nodes(rule, &inputs)?);
    }
    for (_, mount) in disks::mounts(manifest) {
        nodes.push((mount.clone(), made(Entry::Directory, 0o755)));
    }
    place(&mut tree, nodes, order, "the guest's files collide")?;
    check_program(manifest, &tree)?;
    disks::check_mounts(manifest, &tree)?;
    let mut volumes = BTreeMap::new();
    for (name, volume) in &manifest.volumes {
        volumes.insert(name.clone(), contents(name, volume, &inputs, order)?);
    }
    Ok(Assembled { firmware, kernel: kernel.image, exposures: kernel.exposures, tree, volumes })
}

/// Puts nodes into a tree, whatever their order.
fn place(
    tree: &mut Tree,
    mut nodes: Vec<(GuestPath, Node)>,
    order: Order,
    collide: &str,
) -> Result<()> {
    order.apply(&mut nodes);
    // Directories first: a path that implies its parents must not hide that one is said elsewhere.
    nodes.sort_by_key(|(_, node)| !matches!(node.entry, Entry::Directory));
    for (path, node) in nodes {
        tree.place(path, node).context(Kind::Malformed, || collide.to_owned())?;
    }
    Ok(())
}

/// What a volume holds, or its record.
fn contents(name: &VolumeName, volume: &Volume, inputs: &Inputs, order: Order) -> Result<Contents> {
    if volume.is_unverified() {
        return Ok(Contents::Unverified);
    }
    if let Some(from) = &volume.record {
        let what = format!("volume `{name}`, input `{}`", from.value);
        let json = read(&inputs.get(&from.value)?.file(None)?, &what)?;
        let record = volumes::read_record(&json, &what)?;
        volumes::check_disclosure(name, volume, &record)?;
        return Ok(Contents::Record(record));
    }
    let mut nodes = Vec::new();
    for rule in &volume.files {
        nodes.extend(rule_nodes(&rule.value, inputs)?);
    }
    let mut tree = Tree::default();
    place(&mut tree, nodes, order, &format!("the files of volume `{name}` collide"))?;
    Ok(Contents::Tree(tree))
}

impl Order {
    /// Fisher–Yates with a linear congruential generator (Knuth's MMIX constants): any order will do.
    fn apply<T>(self, items: &mut [T]) {
        let Self::Shuffled(mut state) = self else { return };
        for last in (1..items.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let other = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
            items.swap(last, other);
        }
    }
}

struct Inputs(BTreeMap<Name, Opened>);

impl Inputs {
    fn get(&self, name: &Name) -> Result<&Opened> {
        self.0
            .get(name)
            .ok_or_else(|| Error::new(Kind::Malformed, format!("no input is named `{name}`")))
    }
}

/// PID 1, its plan, the evidence agent, and the modules it loads.
fn init_nodes(
    manifest: &Manifest,
    opener: &Opener<'_>,
    modules: &[Module],
    latch: bool,
) -> Result<Vec<(GuestPath, Node)>> {
    let mut paths = Vec::new();
    let mut nodes =
        vec![(guest_path(INIT)?, made(Entry::File(opener.builtin(&Name::init())?), 0o755))];
    if manifest.evidence.is_some() {
        let agent = opener.builtin(&Name::evidence())?;
        nodes.push((guest_path(PROGRAM)?, made(Entry::File(agent), 0o755)));
    }
    for module in modules {
        let path = guest_path(&format!("{MODULES}/{}.ko", module.name))?;
        let entry = Entry::File(Content::from_bytes(module.bytes.clone()));
        let origin = manifest.kernel.from.value.to_string();
        nodes.push((path.clone(), Node { origin, ..made(entry, 0o644) }));
        paths.push(path);
    }
    let plan = Content::from_bytes(plan::write(manifest, &paths, latch)?.into_bytes());
    nodes.push((guest_path(plan::PATH)?, made(Entry::File(plan), 0o644)));
    Ok(nodes)
}

/// What one rule of the manifest puts into the guest.
fn rule_nodes(rule: &FileRule, inputs: &Inputs) -> Result<Vec<(GuestPath, Node)>> {
    let origin = "manifest".to_owned();
    let mut nodes = Vec::new();
    let paths = rule.path.iter().chain(&rule.paths).map(|at| &at.value);
    if let Some(from) = &rule.from {
        let input = inputs.get(&from.value)?;
        for path in paths {
            nodes.extend(input.take(rule.source.as_ref().unwrap_or(path), path)?);
        }
        let libraries = if rule.libraries { libraries(&nodes, input)? } else { Vec::new() };
        for (_, node) in &mut nodes {
            if let (Some(mode), Entry::File(_)) = (rule.mode, &node.entry) {
                node.mode = mode.0;
            }
            node.owner = rule.owner;
        }
        nodes.extend(libraries);
        return Ok(nodes);
    }
    for path in paths {
        let (entry, mode) = if let Some(text) = &rule.text {
            (Entry::File(Content::from_bytes(text.clone().into_bytes())), 0o644)
        } else if let Some(target) = &rule.symlink {
            (Entry::Symlink(target.clone()), 0o777)
        } else {
            (Entry::Directory, 0o755)
        };
        let mode = rule.mode.map_or(mode, |mode| mode.0);
        nodes.push((path.clone(), Node { entry, mode, owner: rule.owner, origin: origin.clone() }));
    }
    Ok(nodes)
}

/// The interpreter and libraries that the ELF files among `nodes` need, taken from `input`.
fn libraries(nodes: &[(GuestPath, Node)], input: &Opened) -> Result<Vec<(GuestPath, Node)>> {
    let mut roots = BTreeMap::new();
    for (path, node) in nodes {
        if let Entry::File(content) = &node.entry {
            let bytes = read(content, path.as_str())?;
            if elf::is_elf(&bytes) {
                roots.insert(path.clone(), bytes);
            }
        }
    }
    let needed = elf::closure(&roots, input).map_err(|error| {
        let kind = match &error {
            elf::ElfError::Malformed { .. } => Kind::Malformed,
            _ => Kind::CannotDecide,
        };
        let missing = kind == Kind::CannotDecide;
        let error = Error::new(kind, format!("input `{}`: {error}", input.name()));
        match missing {
            true => error.hint(
                "add the package that holds it to the input's `packages` and run `counterfoil lock`",
            ),
            false => error,
        }
    })?;
    let mut taken = Vec::new();
    for (at, source) in needed {
        taken.extend(input.take(&source, &at)?);
    }
    Ok(taken)
}

/// The kernel package or file, opened.
struct Kernel<'a> {
    input: &'a Opened,
    image: Vec<u8>,
    modules: BTreeMap<String, GuestPath>,
    built_in: BTreeSet<String>,
    /// Whether it can load modules at all; if not, there is nothing to latch.
    loads_modules: bool,
    exposures: Vec<Exposure>,
    config: Config,
}

impl<'a> Kernel<'a> {
    fn find(manifest: &Manifest, inputs: &'a Inputs) -> Result<Self> {
        let name = &manifest.kernel.from.value;
        let input = inputs.get(name)?;
        let paths = input.paths();
        let image_path = match &manifest.kernel.image {
            Some(path) => Some(path.clone()),
            None if input.is_file() => None,
            None => Some(only(&paths, is_image, name, "kernel image", "say it as `image`")?),
        };
        let image = read(&input.file(image_path.as_ref())?, "the kernel")?;
        let header = BzImage::parse(&image)
            .context(Kind::Rejected, || format!("input `{name}`: the kernel image"))?;
        let config = match &manifest.kernel.config {
            Some(config) => inputs.get(&config.value)?.file(None)?,
            None if input.is_file() => {
                let message =
                    format!("input `{name}`: a kernel without its configuration cannot be judged");
                return Err(Error::new(Kind::CannotDecide, message).hint(
                    "name the input that holds the configuration it was built with as `kernel.config`",
                ));
            }
            None => {
                let remedy = "name an input as `config`";
                let path = only(&paths, is_config, name, "kernel configuration", remedy)?;
                input.file(Some(&path))?
            }
        };
        let config = read(&config, "the kernel's configuration")?;
        let config = judge(&header, &String::from_utf8_lossy(&config), name)?;
        let loads_modules = config.setting("MODULES") != Setting::Off;
        let modules =
            paths.iter().filter_map(|path| Some((modules::name_of(path)?, path.clone()))).collect();
        let mut built_in = BTreeSet::new();
        if let Some(path) = paths.iter().find(|path| path.as_str().ends_with("/modules.builtin")) {
            let list = read(&input.file(Some(path))?, "modules.builtin")?;
            built_in = String::from_utf8_lossy(&list)
                .lines()
                .filter_map(|line| modules::name_of(&format!("/{line}").parse().ok()?))
                .collect();
        }
        let exposures = exposure::of(&config);
        Ok(Self { input, image, modules, built_in, loads_modules, exposures, config })
    }
}

impl Modules for Kernel<'_> {
    fn paths(&self) -> &BTreeMap<String, GuestPath> {
        &self.modules
    }

    fn read(&self, path: &GuestPath) -> Result<Vec<u8>, String> {
        let packed = self
            .input
            .file(Some(path))
            .and_then(|content| read(&content, path.as_str()))
            .map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        decompress(packed.as_slice(), path.as_str(), MAX_MODULE, &mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn built_in(&self) -> &BTreeSet<String> {
        &self.built_in
    }
}

fn only(
    paths: &[GuestPath],
    wanted: fn(&GuestPath) -> bool,
    name: &Name,
    what: &str,
    remedy: &str,
) -> Result<GuestPath> {
    let mut found = paths.iter().filter(|path| wanted(path));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path.clone()),
        (None, _) => {
            let message = format!("input `{name}` holds no {what} where Debian's packages have it");
            Err(Error::new(Kind::CannotDecide, message).hint(remedy))
        }
        (Some(one), Some(two)) => {
            let message = format!("input `{name}` holds more than one {what}: `{one}` and `{two}`");
            Err(Error::new(Kind::CannotDecide, message).hint(remedy))
        }
    }
}

fn judge(header: &BzImage, text: &str, name: &Name) -> Result<Config> {
    let config = Config::parse(text).ok_or_else(|| {
        let message = format!("input `{name}`: its kernel configuration has no `CONFIG_` line");
        Error::new(Kind::Malformed, message)
    })?;
    if !config.can_be_of(header.release()) {
        let message = format!(
            "input `{name}`: the configuration is of another kernel than {}",
            header.release()
        );
        return Err(Error::new(Kind::Rejected, message));
    }
    let findings = config.judge();
    let fatal: Vec<_> = findings
        .iter()
        .filter(|finding| finding.is_fatal())
        .map(|finding| format!("CONFIG_{} ({})", finding.rule.option, finding.rule.why))
        .collect();
    if fatal.is_empty() {
        return Ok(config);
    }
    let message = format!(
        "input `{name}`: kernel {} cannot make a confidential guest that attests; it lacks {}",
        header.release(),
        fatal.join(", ")
    );
    Err(Error::new(Kind::Rejected, message)
        .hint("take a kernel from 6.12 on: Debian's 6.1 is built without the attestation driver")
        .hint("`counterfoil inspect KERNEL` prints what any kernel has and lacks"))
}

/// A workload that is not in the guest would fail at boot; here it can be said better.
fn check_program(manifest: &Manifest, tree: &Tree) -> Result<()> {
    let Some(program) = manifest.init.exec.first().map(|program| program.value.as_str()) else {
        return Ok(());
    };
    let wrong = |reason: &str| {
        Err(Error::new(Kind::Malformed, format!("`init.exec` starts `{program}`, {reason}")))
    };
    match tree.get(&guest_path(program)?) {
        None => wrong("which no rule under `files` puts into the guest"),
        Some(Node { entry: Entry::File(_), mode, .. }) if mode & 0o111 == 0 => {
            wrong("which is not executable; say `mode: \"0755\"`")
        }
        Some(Node { entry: Entry::Directory, .. }) => wrong("which is a directory"),
        Some(_) => Ok(()),
    }?;
    let workdir = &manifest.init.workdir;
    if tree.get(workdir).is_some() {
        return Ok(());
    }
    let message = format!("`init.workdir` is `{workdir}`, which nothing puts into the guest");
    Err(Error::new(Kind::Malformed, message).hint("add a rule with `directory: true`"))
}

fn made(entry: Entry, mode: u16) -> Node {
    Node { entry, mode, owner: Owner::default(), origin: "counterfoil".to_owned() }
}

fn guest_path(text: &str) -> Result<GuestPath> {
    text.parse().context(Kind::Malformed, || "not a path in the guest".to_owned())
}

fn read(content: &Content, what: &str) -> Result<Vec<u8>> {
    content.read().context(Kind::Environment, || format!("failed reading {what}"))
}
