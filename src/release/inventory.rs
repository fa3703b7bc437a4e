//! The inventory: every path in the initrd, and the input it came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::names::{GuestPath, Mode, Owner, VolumeName};
use crate::release::volumes::Contents;
use crate::tree::{Entry, Tree};

/// The inventory's format.
pub const VERSION: u32 = 1;

/// Every path of every artifact that has paths.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// [`VERSION`].
    pub version: u32,
    /// The initrd's paths, in its order.
    pub initrd: Vec<Item>,
    /// The paths of the volumes that were made with it, in their order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<VolumeName, Vec<Item>>,
    /// The volumes whose paths are not here, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unlisted: BTreeMap<VolumeName, Unlisted>,
}

/// Why a volume's paths are not in an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unlisted {
    /// It was made before, and its root hash binds them; `volume inspect` lists them to whoever has it.
    MadeBefore,
    /// Nothing binds it: the host chooses what is on it.
    Unverified,
}

/// One path.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Where it stands in the guest.
    pub path: GuestPath,
    /// `directory`, `file` or `symlink`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Permission bits.
    pub mode: Mode,
    /// User and group.
    pub owner: Owner,
    /// The input it came from, with the package if there are several; `manifest` when its text is
    /// there; `counterfoil` for PID 1, its plan, the evidence agent and implied directories.
    pub from: String,
    /// A file's size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of a file's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// A symbolic link's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Inventory {
    /// The inventory of an initrd made from `tree`, and of the volumes beside it.
    pub fn of(tree: &Tree, volumes: &BTreeMap<VolumeName, Contents>) -> Self {
        let (mut listed, mut unlisted) = (BTreeMap::new(), BTreeMap::new());
        for (name, contents) in volumes {
            let why = match contents {
                Contents::Tree(tree) => {
                    listed.insert(name.clone(), items(tree));
                    continue;
                }
                Contents::Record(_) => Unlisted::MadeBefore,
                Contents::Unverified => Unlisted::Unverified,
            };
            unlisted.insert(name.clone(), why);
        }
        Self { version: VERSION, initrd: items(tree), volumes: listed, unlisted }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// None that is known; serialising says that it could fail.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

fn items(tree: &Tree) -> Vec<Item> {
    let items = tree.iter().filter(|(path, _)| path.as_str() != "/").map(|(path, node)| {
        let (kind, size, sha256, target) = match &node.entry {
            Entry::Directory => ("directory", None, None, None),
            Entry::File(content) => ("file", Some(content.size), Some(content.sha256), None),
            Entry::Symlink(target) => ("symlink", None, None, Some(target.to_string())),
        };
        Item {
            path: path.clone(),
            kind: kind.to_owned(),
            mode: Mode(node.mode),
            owner: node.owner,
            from: node.origin.clone(),
            size,
            sha256,
            target,
        }
    });
    items.collect()
}
