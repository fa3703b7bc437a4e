//! The bill of materials, `sbom.cdx.json`: what is in an image, and what only took part in making it, in
//! words that others' tools read (CycloneDX 1.6). A pure function of the release's other files, so that
//! anybody can hold it against them.
//!
//! It goes down to packages and inputs. Which paths the image has is `inventory.json`'s to say, to which
//! it is bound by a digest: a component for each of twenty thousand paths helps nobody.

mod cyclonedx;
pub(super) mod purl;

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::{Object, Sha256};
use crate::launch::Record;
use crate::launch::igvm::IgvmRecord;
use crate::launch::record::Disclosure;
use crate::layout;
use crate::manifest::lock::{LockedEntry, LockedInput, LockedPackage};
use crate::manifest::{Lock, Manifest};
use crate::names::{Name, Suite};
use crate::release::inventory::{Inventory, Item};
use cyclonedx::{Bom, Component, Hash, Lifecycle, Metadata, Place, Property, Scope, Tools};

/// The writer's epoch: it changes when the bytes made of the same release change.
///
/// # Changelog
/// ## sbom/1
/// The image, its artifacts and volumes, packages, other inputs, what they depend on.
pub const EPOCH: &str = "sbom/1";

/// The image, as the graph names it.
const IMAGE: &str = "image";

/// Whose packages they are when the lock does not say.
pub(super) const VENDOR: &str = "debian";

/// The files of a release that its bill is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The lock.
    pub lock: &'a Lock,
    /// The inventory.
    pub inventory: &'a Inventory,
    /// SHA-256 of its bytes.
    pub inventory_sha256: Sha256,
    /// The launch record.
    pub record: &'a Record,
    /// SHA-256 of its bytes.
    pub record_sha256: Sha256,
    /// The record of the IGVM file, if there is one.
    pub igvm: Option<&'a IgvmRecord>,
}

/// The bill's bytes.
///
/// # Errors
/// None that is known; serialising says that it could fail.
pub fn write(parts: &Parts<'_>) -> serde_json::Result<Vec<u8>> {
    let mut bill = Bill::new(parts);
    bill.inputs();
    bill.artifacts();
    bill.volumes();
    Bom::to_json(bill.metadata(), bill.components.into_values().collect(), bill.edges)
}

struct Bill<'a> {
    parts: &'a Parts<'a>,
    /// The inputs of which something is in the image, as it is or compiled.
    used: BTreeSet<&'a Name>,
    /// Those of them that shape it otherwise than by a path that the inventory has.
    pathless: BTreeSet<&'a Name>,
    /// Everything that the inventory says paths came from.
    origins: BTreeSet<&'a str>,
    components: BTreeMap<String, Component>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Bill<'a> {
    fn new(parts: &'a Parts<'a>) -> Self {
        let manifest = parts.manifest;
        let mut pathless =
            BTreeSet::from([&manifest.firmware.from.value, &manifest.kernel.from.value]);
        pathless.extend(manifest.kernel.config.as_ref().map(|from| &from.value));
        let mut used: BTreeSet<_> = manifest.inputs_of_image().into_iter().collect();
        // What is compiled comes after what it is compiled from: from the last to the first.
        for (name, build) in manifest.builds().into_iter().rev() {
            if used.contains(name) {
                let sources: Vec<_> = build.files.values().map(|part| &part.from.value).collect();
                used.extend(&sources);
                pathless.extend(&sources);
            }
        }
        let items = parts.inventory.volumes.values().chain([&parts.inventory.initrd]).flatten();
        Self {
            parts,
            used,
            pathless,
            origins: items.map(|item| item.from.as_str()).collect(),
            components: BTreeMap::new(),
            edges: BTreeMap::new(),
        }
    }

    /// The image, and what binds the bill to this release. It has no hash of its own: it is several files,
    /// each of which has one.
    fn metadata(&self) -> Metadata {
        let Parts { manifest, lock, record, igvm, .. } = self.parts;
        let of = |name: &str, digest: Sha256| Property::new(&format!("sha256:{name}"), digest);
        let mut properties = vec![
            of(layout::INVENTORY, self.parts.inventory_sha256),
            of(layout::RECORD, self.parts.record_sha256),
            of(layout::LOCK, Sha256::of(lock.canonical())),
            of(layout::MANIFEST, manifest.digest()),
        ];
        for digest in &record.digests {
            let launch = format!("{}:{}:{}", digest.vcpus, digest.cpu, digest.sev_features);
            properties.push(Property::new(&format!("launch-digest:{launch}"), digest.digest));
        }
        if let Some(igvm) = igvm {
            properties.push(Property::new("launch-digest:igvm", igvm.digest));
        }
        let (tool, version) = record.tool.split_once(' ').unwrap_or((&record.tool, ""));
        let tool = Component {
            kind: "application",
            name: tool.to_owned(),
            version: Some(version.to_owned()),
            ..Component::default()
        };
        Metadata {
            lifecycles: vec![Lifecycle { phase: "build" }],
            tools: Tools { components: vec![tool] },
            component: Component {
                kind: "operating-system",
                reference: IMAGE.to_owned(),
                name: manifest.name.to_string(),
                properties,
                ..Component::default()
            },
            properties: vec![Property::new("writer", EPOCH)],
        }
    }

    /// Everything that the lock pins.
    fn inputs(&mut self) {
        let Parts { manifest, lock, .. } = *self.parts;
        for (name, input) in &lock.inputs {
            match input {
                LockedInput::Deb(packages) => {
                    for package in packages {
                        self.package(name, package);
                    }
                }
                // Its volume stands for it.
                _ if self.record_of(name).is_some() => {}
                _ => {
                    let component = self.other(name, input);
                    self.components.insert(component.reference.clone(), component);
                }
            }
        }
        let is_input = |program: &Name| {
            let builtin =
                |input: &LockedInput| matches!(input, LockedInput::Builtin(it) if it == program);
            lock.inputs.values().any(builtin)
        };
        for (name, object) in lock.builtin.iter().filter(|(name, _)| !is_input(name)) {
            let component = Component {
                kind: "application",
                reference: builtin(name),
                name: name.to_string(),
                description: Some("a program of the guest that counterfoil carries"),
                scope: Some(Scope::Required),
                hashes: vec![Hash::sha256(object.sha256)],
                ..Component::default()
            };
            self.components.insert(component.reference.clone(), component);
        }
        for (name, build) in manifest.builds() {
            let from: BTreeSet<_> =
                build.inputs().flat_map(|from| self.references(&from.value)).collect();
            self.edges.insert(reference(name), from);
        }
    }

    /// A package, which several inputs may have.
    fn package(&mut self, input: &Name, package: &LockedPackage) {
        let LockedPackage { package: name, version, architecture, suite, .. } = package;
        let in_image = self.pathless.contains(input)
            || self.origins.contains(format!("{input}/{name}").as_str());
        let scope = match self.used.contains(input) && in_image {
            true => Scope::Required,
            false => Scope::Excluded,
        };
        let purl = purl::deb(self.vendor(suite), name, version, architecture, suite.as_str());
        let reference = self.reference_of(package);
        let component = self.components.entry(reference.clone()).or_insert_with(|| Component {
            kind: "library",
            reference,
            name: name.clone(),
            version: Some(version.clone()),
            hashes: vec![Hash::sha256(package.sha256)],
            purl: Some(purl),
            ..Component::default()
        });
        component.scope = Some(component.scope.map_or(scope, |other| other.min(scope)));
        component.properties.push(Property::new("input", input));
    }

    /// An input that is one thing.
    fn other(&self, name: &Name, input: &LockedInput) -> Component {
        let scope = match self.used.contains(name) {
            true => Scope::Required,
            false => Scope::Excluded,
        };
        let component = Component {
            kind: "file",
            reference: reference(name),
            name: name.to_string(),
            scope: Some(scope),
            properties: vec![Property::new("input", name)],
            ..Component::default()
        };
        let hash = |sha256: &Sha256| vec![Hash::sha256(*sha256)];
        match input {
            LockedInput::Source(source) => Component {
                kind: "library",
                name: source.package.clone(),
                version: Some(source.version.clone()),
                description: Some("a source package"),
                purl: Some(purl::deb(
                    self.vendor(&source.suite),
                    &source.package,
                    &source.version,
                    "source",
                    source.suite.as_str(),
                )),
                components: source
                    .parts
                    .iter()
                    .map(|(path, part)| file(&component.reference, path.as_str(), part.sha256))
                    .collect(),
                ..component
            },
            LockedInput::Sdist(sdist) => Component {
                kind: "library",
                name: sdist.package.to_string(),
                version: Some(sdist.version.to_string()),
                description: Some("a source distribution"),
                hashes: hash(&sdist.sha256),
                purl: Some(purl::pypi(sdist.package.as_str(), sdist.version.as_str())),
                ..component
            },
            LockedInput::File(Object { sha256, .. }) => {
                Component { hashes: hash(sha256), ..component }
            }
            LockedInput::Dir(entries) => Component {
                kind: "data",
                description: Some("a directory beside the manifest"),
                components: entries
                    .iter()
                    .filter_map(|(path, entry)| match entry {
                        LockedEntry::File { sha256, .. } => {
                            Some(file(&component.reference, path.as_str(), *sha256))
                        }
                        _ => None,
                    })
                    .collect(),
                ..component
            },
            LockedInput::Url(url) => Component {
                hashes: hash(&url.sha256),
                places: vec![Place::distribution(url.url.as_str())],
                ..component
            },
            LockedInput::Tar(tar) => Component {
                hashes: hash(&tar.sha256),
                places: tar.url.iter().map(|url| Place::distribution(url.as_str())).collect(),
                ..component
            },
            LockedInput::Builtin(program) => Component {
                kind: "application",
                name: program.to_string(),
                description: Some("a program of the guest that counterfoil carries"),
                hashes: self
                    .parts
                    .lock
                    .builtin
                    .get(program)
                    .map_or_else(Vec::new, |object| hash(&object.sha256)),
                ..component
            },
            LockedInput::Build(build) => {
                let mut properties = component.properties;
                properties.push(Property::new("recipe", build.recipe));
                Component {
                    kind: "application",
                    description: Some(
                        "compiled in a room of locked packages; the hash is of the tar archive that came out",
                    ),
                    hashes: hash(&build.result.sha256),
                    properties,
                    ..component
                }
            }
            // Packages are components each.
            LockedInput::Deb(_) => component,
        }
    }

    /// What is measured, as files of the release.
    fn artifacts(&mut self) {
        let Parts { manifest, record, igvm, inventory, .. } = *self.parts;
        let firmware = self.references(&manifest.firmware.from.value);
        self.artifact(layout::FIRMWARE, "firmware", record.firmware.sha256, firmware);
        let Some(boot) = &record.boot else { return };
        let mut kernel = self.references(&manifest.kernel.from.value);
        kernel.extend(manifest.kernel.config.iter().flat_map(|from| self.references(&from.value)));
        self.artifact(layout::KERNEL, "operating-system", boot.kernel.sha256, kernel);
        if let Some(initrd) = &boot.initrd {
            let from = self.origins_of(&inventory.initrd);
            self.artifact(layout::INITRD, "file", initrd.sha256, from);
        }
        let volumes = record.volumes.iter().map(|volume| volume_reference(&volume.name)).collect();
        self.artifact(layout::CMDLINE, "file", Sha256::of(&boot.cmdline), volumes);
        if let Some(igvm) = igvm {
            let parts = [layout::FIRMWARE, layout::KERNEL, layout::INITRD, layout::CMDLINE];
            let parts = parts.map(str::to_owned).into();
            self.artifact(layout::IGVM, "file", igvm.file.sha256, parts);
        }
    }

    fn artifact(&mut self, path: &str, kind: &'static str, sha256: Sha256, from: BTreeSet<String>) {
        let component = Component {
            kind,
            reference: path.to_owned(),
            name: path.to_owned(),
            scope: Some(Scope::Required),
            hashes: vec![Hash::sha256(sha256)],
            ..Component::default()
        };
        self.components.insert(path.to_owned(), component);
        self.edges.insert(path.to_owned(), from);
        self.edges.entry(IMAGE.to_owned()).or_default().insert(path.to_owned());
    }

    /// Volumes by name and root hash: of closed ones nothing else is to be told.
    fn volumes(&mut self) {
        let Parts { record, inventory, .. } = *self.parts;
        for volume in &record.volumes {
            let (description, disclosure) = match volume.disclosure {
                Disclosure::Public => ("a volume that the command line binds", "public"),
                Disclosure::Committed => {
                    ("a closed volume that the command line binds", "committed")
                }
                Disclosure::None => {
                    ("a volume that nothing checks: the host chooses its bytes", "none")
                }
            };
            let mut properties = vec![Property::new("disclosure", disclosure)];
            properties.extend(volume.root_hash.map(|root| Property::new("root-hash", root)));
            let reference = volume_reference(&volume.name);
            let listed = inventory.volumes.iter().find(|(name, _)| name.as_str() == volume.name);
            if let Some((_, items)) = listed {
                let from = self.origins_of(items);
                self.edges.insert(reference.clone(), from);
            }
            self.edges.entry(IMAGE.to_owned()).or_default().insert(reference.clone());
            let component = Component {
                kind: "data",
                reference: reference.clone(),
                name: volume.name.clone(),
                description: Some(description),
                scope: Some(Scope::Required),
                properties,
                ..Component::default()
            };
            self.components.insert(reference, component);
        }
    }

    /// What paths came from, as the graph names it.
    fn origins_of(&self, items: &[Item]) -> BTreeSet<String> {
        let Parts { lock, .. } = self.parts;
        let mut references = BTreeSet::new();
        for origin in items.iter().map(|item| item.from.as_str()).collect::<BTreeSet<_>>() {
            let (input, package) = origin.split_once('/').unwrap_or((origin, ""));
            match lock.inputs.iter().find(|(name, _)| name.as_str() == input) {
                Some((_, LockedInput::Deb(packages))) => references.extend(
                    packages
                        .iter()
                        .filter(|it| package.is_empty() || it.package == package)
                        .map(|it| self.reference_of(it)),
                ),
                Some((name, _)) => references.extend(self.references(name)),
                None if origin == "counterfoil" => {
                    references.extend(lock.builtin.keys().filter(|it| is_own(it)).map(builtin));
                }
                // Text of the manifest.
                None => {}
            }
        }
        references
    }

    /// An input, or the packages that it is, as the graph names them.
    fn references(&self, name: &Name) -> BTreeSet<String> {
        match (self.parts.lock.inputs.get(name), self.record_of(name)) {
            (Some(LockedInput::Deb(packages)), _) => {
                packages.iter().map(|package| self.reference_of(package)).collect()
            }
            (_, Some(volume)) => BTreeSet::from([volume]),
            (Some(_), None) => BTreeSet::from([reference(name)]),
            (None, None) => BTreeSet::new(),
        }
    }

    /// The volume whose record an input is.
    fn record_of(&self, input: &Name) -> Option<String> {
        let volumes = &self.parts.manifest.volumes;
        let is_record = |from: &&Name| *from == input;
        volumes
            .iter()
            .find(|(_, volume)| {
                volume.record.as_ref().map(|from| &from.value).as_ref().is_some_and(is_record)
            })
            .map(|(name, _)| volume_reference(name.as_str()))
    }

    /// One package of one name and version may be in two suites, and then be two.
    fn reference_of(&self, package: &LockedPackage) -> String {
        let LockedPackage { package: name, version, architecture, suite, sha256, .. } = package;
        format!("deb/{suite}/{name}/{version}/{architecture}/{sha256}")
    }

    fn vendor(&self, suite: &Suite) -> &str {
        self.parts.lock.archives.get(suite).map_or(VENDOR, |archive| &archive.origin)
    }
}

fn file(within: &str, path: &str, sha256: Sha256) -> Component {
    Component {
        kind: "file",
        reference: format!("{within}:{path}"),
        name: path.to_owned(),
        hashes: vec![Hash::sha256(sha256)],
        ..Component::default()
    }
}

fn reference(input: &Name) -> String {
    format!("input/{input}")
}

/// Whether PID 1 or what it brings along: what an inventory says is counterfoil's.
fn is_own(program: &Name) -> bool {
    [Name::init(), Name::evidence()].contains(program)
}

fn builtin(program: &Name) -> String {
    format!("builtin/{program}")
}

fn volume_reference(name: &str) -> String {
    format!("{}/{name}", layout::VOLUMES)
}
