//! Whether something is in an image, and which part of the measurement covers it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::digest::Sha256;
use crate::launch::Record;
use crate::manifest::lock::LockedInput;
use crate::manifest::{Lock, Manifest};
use crate::names::Name;
use crate::release::contents::Contents;
use crate::release::inventory::Item;

/// A digest is known by so many of its digits, or more: fewer are met by chance.
pub const DIGITS: usize = 8;

/// The part of the measurement that covers something.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "part")]
pub enum Cover {
    /// The firmware's pages, which are measured themselves.
    Firmware {
        /// SHA-256 of the image.
        sha256: Sha256,
    },
    /// The kernel's hash, in the hash table.
    Kernel {
        /// The hash.
        sha256: Sha256,
    },
    /// The initrd's hash, in the hash table.
    Initrd {
        /// The hash.
        sha256: Sha256,
    },
    /// The command line's hash, in the hash table.
    CommandLine {
        /// SHA-256 of the command line, here without its NUL.
        sha256: Sha256,
    },
    /// A volume's root hash, on the command line.
    Volume {
        /// The volume.
        name: String,
        /// The root hash.
        root_hash: Sha256,
    },
}

impl Cover {
    /// The same in words.
    pub fn words(&self) -> String {
        match self {
            Self::Firmware { sha256 } => format!("the firmware's pages (sha256 {sha256})"),
            Self::Kernel { sha256 } => format!("the kernel's hash {sha256} in the hash table"),
            Self::Initrd { sha256 } => format!("the initrd's hash {sha256} in the hash table"),
            Self::CommandLine { sha256 } => {
                format!(
                    "the command line's hash in the hash table (sha256 without its NUL {sha256})"
                )
            }
            Self::Volume { name, root_hash } => {
                format!("the root hash {root_hash} of volume `{name}` on the command line")
            }
        }
    }
}

/// Something that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hit<'a> {
    /// What it is.
    #[serde(flatten)]
    pub what: What<'a>,
    /// What covers it; several parts, if something of it is in each.
    pub covered_by: BTreeSet<Cover>,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "found")]
pub enum What<'a> {
    /// A measured file of the release, or a volume.
    Artifact {
        /// What it is.
        name: String,
    },
    /// A package, or a source that something is compiled from.
    Package {
        /// Its name.
        name: &'a str,
        /// Its version.
        version: &'a str,
        /// The input that it is of.
        input: &'a Name,
        /// Its SHA-256, if it is one file.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256>,
        /// How many paths of the image came from it.
        paths: usize,
        /// Whether no more is known than its input: that has other packages too, and which of them the
        /// firmware or the kernel is of is not written down.
        one_of_several: bool,
    },
    /// A path.
    Path {
        /// The item.
        #[serde(flatten)]
        item: &'a Item,
        /// The version of the package that it came from.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<&'a str>,
    },
}

/// What a search gave.
#[derive(Debug)]
pub struct Found<'a> {
    /// What is in the image.
    pub hits: Vec<Hit<'a>>,
    /// What is in the lock, and nothing of it in the image: it took part in compiling, or was not needed.
    pub only_in_lock: Vec<String>,
}

/// Where is searched.
#[derive(Clone, Copy, Debug)]
pub struct Searched<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The lock.
    pub lock: &'a Lock,
    /// The launch record.
    pub record: &'a Record,
    /// The paths, read from the artifacts.
    pub contents: &'a Contents,
}

impl<'a> Searched<'a> {
    /// Every listed path with what covers it: the initrd's, then each volume's.
    pub fn paths(&self) -> impl Iterator<Item = (&'a Item, Option<Cover>)> {
        let inventory = &self.contents.inventory;
        let initrd = self.initrd();
        let initrd = inventory.initrd.iter().map(move |item| (item, initrd.clone()));
        let (volumes, searched) = (inventory.volumes.iter(), *self);
        initrd.chain(volumes.flat_map(move |(name, items)| {
            let cover = searched.volume(name.as_str());
            items.iter().map(move |item| (item, cover.clone()))
        }))
    }

    /// The version of the package that a path came from.
    pub fn version(&self, item: &Item) -> Option<&'a str> {
        let (input, package) = item.from.split_once('/')?;
        let (_, input) = self.lock.inputs.iter().find(|(name, _)| name.as_str() == input)?;
        let LockedInput::Deb(packages) = input else { return None };
        let found = packages.iter().find(|it| it.package == package)?;
        Some(&found.version)
    }

    /// Looks for a path or a part of one, a digest or the beginning of one, a package by its name or as
    /// `NAME@VERSION`.
    pub fn find(&self, text: &str) -> Found<'a> {
        let digits = digits(text);
        let is = |digest: &Sha256| {
            digits.as_deref().is_some_and(|digits| digest.to_string().starts_with(digits))
        };
        let mut found = Found { hits: self.artifacts(is), only_in_lock: Vec::new() };
        self.packages(text, is, &mut found);
        for (item, cover) in self.paths() {
            if item.path.as_str().contains(text) || item.sha256.as_ref().is_some_and(is) {
                let what = What::Path { item, version: self.version(item) };
                found.hits.push(Hit { what, covered_by: cover.into_iter().collect() });
            }
        }
        found
    }

    fn artifacts(&self, is: impl Fn(&Sha256) -> bool) -> Vec<Hit<'a>> {
        let record = self.record;
        let mut all = vec![("firmware".to_owned(), Some(self.firmware()))];
        if let Some(boot) = &record.boot {
            all.push(("kernel".to_owned(), self.kernel()));
            all.push(("initrd".to_owned(), self.initrd()));
            let sha256 = Sha256::of(&boot.cmdline);
            all.push(("command line".to_owned(), Some(Cover::CommandLine { sha256 })));
        }
        let volumes = record.volumes.iter();
        all.extend(volumes.map(|it| (format!("volume `{}`", it.name), self.volume(&it.name))));
        let digest = |cover: &Cover| match cover {
            Cover::Volume { root_hash: sha256, .. }
            | Cover::Firmware { sha256 }
            | Cover::Kernel { sha256 }
            | Cover::Initrd { sha256 }
            | Cover::CommandLine { sha256 } => is(sha256),
        };
        let hit = |(name, cover): (String, Option<Cover>)| {
            let cover = cover.filter(|cover| digest(cover))?;
            Some(Hit { what: What::Artifact { name }, covered_by: BTreeSet::from([cover]) })
        };
        all.into_iter().filter_map(hit).collect()
    }

    fn packages(&self, text: &str, is: impl Fn(&Sha256) -> bool, found: &mut Found<'a>) {
        for (input, locked) in &self.lock.inputs {
            let packages: Vec<(&str, &str, Option<Sha256>, String)> = match locked {
                LockedInput::Deb(packages) => packages
                    .iter()
                    .map(|it| {
                        let origin = format!("{input}/{}", it.package);
                        (it.package.as_str(), it.version.as_str(), Some(it.sha256), origin)
                    })
                    .collect(),
                LockedInput::Source(it) => {
                    vec![(&it.package, &it.version, None, input.to_string())]
                }
                LockedInput::Sdist(it) => {
                    let (name, version) = (it.package.as_str(), it.version.as_str());
                    vec![(name, version, Some(it.sha256), input.to_string())]
                }
                _ => continue,
            };
            let several = packages.len() > 1;
            for (name, version, sha256, origin) in packages {
                let named = text == name
                    || text.split_once('@').is_some_and(|asked| asked == (name, version));
                if !named && !sha256.as_ref().is_some_and(&is) {
                    continue;
                }
                let mut covered_by = self.shaped_by(input);
                let mut paths = 0;
                for (_, cover) in self.paths().filter(|(item, _)| item.from == origin) {
                    paths += 1;
                    covered_by.extend(cover);
                }
                if covered_by.is_empty() {
                    found.only_in_lock.push(format!("{name} {version} (input `{input}`)"));
                    continue;
                }
                let one_of_several = paths == 0 && several;
                let what = What::Package { name, version, input, sha256, paths, one_of_several };
                found.hits.push(Hit { what, covered_by });
            }
        }
    }

    /// What an input shapes otherwise than by a path of its own: firmware and kernel, and whatever is
    /// compiled from it.
    fn shaped_by(&self, input: &Name) -> BTreeSet<Cover> {
        let manifest = self.manifest;
        let mut covers = BTreeSet::new();
        if manifest.firmware.from.value == *input {
            covers.insert(self.firmware());
        }
        if manifest.kernel.from.value == *input {
            covers.extend(self.kernel());
        }
        for (made, build) in manifest.builds() {
            // What of the room was linked in, such as a static libc, the image does not tell.
            if build.files.values().any(|part| part.from.value == *input) {
                covers.extend(self.shaped_by(made));
                let made = made.as_str();
                let from = self.paths().filter(|(item, _)| item.from == made);
                covers.extend(from.filter_map(|(_, cover)| cover));
            }
        }
        covers
    }

    fn firmware(&self) -> Cover {
        Cover::Firmware { sha256: self.record.firmware.sha256 }
    }

    fn kernel(&self) -> Option<Cover> {
        Some(Cover::Kernel { sha256: self.record.boot.as_ref()?.kernel.sha256 })
    }

    fn initrd(&self) -> Option<Cover> {
        Some(Cover::Initrd { sha256: self.record.boot.as_ref()?.initrd?.sha256 })
    }

    fn volume(&self, name: &str) -> Option<Cover> {
        let volume = self.record.volumes.iter().find(|it| it.name == name)?;
        Some(Cover::Volume { name: name.to_owned(), root_hash: volume.root_hash? })
    }
}

/// The digits of a digest or of its beginning.
fn digits(text: &str) -> Option<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hex && (DIGITS..=64).contains(&text.len())).then(|| text.to_ascii_lowercase())
}
