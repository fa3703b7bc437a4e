//! Kernel modules: their names, what they depend on, and the order in which they load.

use std::collections::{BTreeMap, BTreeSet};

use object::read::elf::{FileHeader as _, SectionHeader as _};

use crate::names::{GuestPath, ModuleRequest};

/// A module that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// None of the names is a module or built in.
    #[error("the kernel has no module `{0}`")]
    Missing(String),
    /// A module that another needs is not there.
    #[error(
        "the module `{module}` depends on `{dependency}`, which the kernel packages do not hold"
    )]
    Dependency {
        /// Who needs it.
        module: String,
        /// Its name.
        dependency: String,
    },
    /// Modules that need one another.
    #[error("the module `{0}` depends on itself")]
    Circle(String),
    /// A module that cannot be read.
    #[error("the module `{module}`: {reason}")]
    Malformed {
        /// Its name.
        module: String,
        /// What is wrong.
        reason: String,
    },
}

/// Where modules come from.
pub trait Modules {
    /// Paths of all modules, by name.
    fn paths(&self) -> &BTreeMap<String, GuestPath>;

    /// The uncompressed bytes of the module at a path.
    ///
    /// # Errors
    /// A sentence saying why they cannot be had.
    fn read(&self, path: &GuestPath) -> Result<Vec<u8>, String>;

    /// Names of what is built into the kernel.
    fn built_in(&self) -> &BTreeSet<String>;
}

/// One module to load.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name, as the kernel spells it.
    pub name: String,
    /// Its uncompressed bytes.
    pub bytes: Vec<u8>,
}

/// The name of the module in the file at `path`, if it is one: `virtio_net` for
/// `…/virtio-net.ko.xz`.
pub fn name_of(path: &GuestPath) -> Option<String> {
    let file = path.as_str().rsplit('/').next()?;
    let stem =
        [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|end| file.strip_suffix(end))?;
    Some(stem.replace('-', "_"))
}

/// The modules that `requests` ask for, each after everything it depends on.
///
/// # Errors
/// When one that is asked for, or needed, is not there.
pub fn closure(
    requests: &[ModuleRequest],
    from: &impl Modules,
) -> Result<Vec<Module>, ModuleError> {
    let mut closing = Closing { from, ordered: Vec::new(), done: BTreeSet::new() };
    for request in requests {
        let available =
            |name: &&String| from.built_in().contains(*name) || from.paths().contains_key(*name);
        match request.names.iter().find(available) {
            Some(name) => closing.visit(name, &mut Vec::new())?,
            None if request.optional => {}
            None => return Err(ModuleError::Missing(request.names.join("` or `"))),
        }
    }
    Ok(closing.ordered)
}

struct Closing<'a, M> {
    from: &'a M,
    ordered: Vec<Module>,
    done: BTreeSet<String>,
}

impl<M: Modules> Closing<'_, M> {
    fn visit(&mut self, name: &str, above: &mut Vec<String>) -> Result<(), ModuleError> {
        if self.done.contains(name) || self.from.built_in().contains(name) {
            return Ok(());
        }
        if above.iter().any(|module| module == name) {
            return Err(ModuleError::Circle(name.to_owned()));
        }
        let Some(path) = self.from.paths().get(name) else {
            return Err(match above.last() {
                Some(module) => {
                    ModuleError::Dependency { module: module.clone(), dependency: name.to_owned() }
                }
                None => ModuleError::Missing(name.to_owned()),
            });
        };
        let malformed = |reason| ModuleError::Malformed { module: name.to_owned(), reason };
        let bytes = self.from.read(path).map_err(malformed)?;
        let depends = depends(&bytes).map_err(malformed)?;
        above.push(name.to_owned());
        for dependency in depends {
            self.visit(&dependency, above)?;
        }
        above.pop();
        self.done.insert(name.to_owned());
        self.ordered.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// The `depends=` of a module's `.modinfo` section: NUL-separated `key=value` (Linux
/// `include/linux/module.h`, `MODULE_INFO`).
fn depends(bytes: &[u8]) -> Result<Vec<String>, String> {
    type Header = object::elf::FileHeader64<object::Endianness>;
    let text = |error: object::Error| error.to_string();
    let header = Header::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let sections = header.sections(endian, bytes).map_err(text)?;
    let (_, section) =
        sections.section_by_name(endian, b".modinfo").ok_or("it has no `.modinfo` section")?;
    let data = section.data(endian, bytes).map_err(text)?;
    let value = data
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(b"depends="))
        .unwrap_or_default();
    let value = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    Ok(value
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}
