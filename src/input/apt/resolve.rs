//! From package names to packages pinned by digest.

mod near;
mod pattern;

use std::collections::BTreeMap;

use super::index::{Package, Packages};
use super::relation::{self, Relation};
use crate::digest::Sha256;

/// What is asked for of a suite.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The packages by name.
    pub packages: &'a [String],
    /// Patterns of names (`*` and `?`): what the packages depend on is taken too where its name
    /// matches, and what that depends on, and so on. A package that does not match is not taken,
    /// and nothing is taken for its sake.
    pub depends: &'a [String],
}

/// A package, pinned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedPackage {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The suite it was found in, as that was asked for.
    pub suite: String,
    /// The component it was found in.
    pub component: String,
    /// Where it is in any mirror of the archive: `pool/…`.
    pub path: String,
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// Why packages cannot be pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such package.
    #[error(
        "package `{package}` is not in suite `{suite}`, component {}{}",
        components.join(", "), near::hint(near)
    )]
    Unknown {
        /// The package asked for.
        package: String,
        /// The suite searched.
        suite: String,
        /// The components searched.
        components: Vec<String>,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// A dependency that `depends` asks for, and that nothing satisfies.
    #[error(
        "package `{package}` of suite `{suite}` depends on `{dependency}`, which nothing in \
         component {} satisfies: add a component, or narrow `depends`", components.join(", ")
    )]
    Unsatisfied {
        /// The package that depends.
        package: String,
        /// What it depends on, as it says.
        dependency: String,
        /// The suite searched.
        suite: String,
        /// The components searched.
        components: Vec<String>,
    },
}

/// Pins the highest version of each package asked for. The result is sorted, and depends only on
/// the index and the request.
pub fn resolve(packages: &Packages, request: Request<'_>) -> Result<Vec<LockedPackage>, Error> {
    let mut resolver = Resolver { packages, taken: BTreeMap::new(), queue: Vec::new() };
    for name in request.packages {
        let package = packages.named(name).next().ok_or_else(|| Error::Unknown {
            package: name.clone(),
            suite: packages.suite().to_owned(),
            components: packages.components().to_vec(),
            near: near::names(packages, name),
        })?;
        resolver.take(package);
    }
    if !request.depends.is_empty() {
        while let Some(package) = resolver.queue.pop() {
            resolver.follow(package, request.depends)?;
        }
    }
    let mut locked: Vec<_> = resolver.taken.into_values().map(|p| pin(packages, p)).collect();
    locked.sort();
    Ok(locked)
}

struct Resolver<'a> {
    packages: &'a Packages,
    taken: BTreeMap<&'a str, Package<'a>>,
    queue: Vec<Package<'a>>,
}

impl<'a> Resolver<'a> {
    fn take(&mut self, package: Package<'a>) {
        // The highest version of a name is the only one that is ever taken.
        if self.taken.insert(package.name(), package).is_none() {
            self.queue.push(package);
        }
    }

    fn follow(&mut self, package: Package<'a>, patterns: &[String]) -> Result<(), Error> {
        let wanted = |name: &str| patterns.iter().any(|pattern| pattern::matches(pattern, name));
        for field in [package.pre_depends(), package.depends()] {
            for alternatives in relation::parse(field) {
                match alternatives.iter().find_map(|relation| self.candidate(relation)) {
                    Some(found) if wanted(found.name()) => self.take(found),
                    Some(_) => {}
                    None if alternatives.iter().any(|relation| wanted(relation.name)) => {
                        return Err(Error::Unsatisfied {
                            package: package.name().to_owned(),
                            dependency: describe(&alternatives),
                            suite: self.packages.suite().to_owned(),
                            components: self.packages.components().to_vec(),
                        });
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// The package that satisfies `relation`: the one of that name, or the first by name of those
    /// that provide it (Debian Policy 7.5).
    fn candidate(&self, relation: &Relation<'_>) -> Option<Package<'a>> {
        if relation.qualifier.is_some_and(|word| !matches!(word, "any" | "native" | "amd64")) {
            return None;
        }
        let real = self.packages.named(relation.name).next();
        if let Some(package) = real.filter(|package| relation.accepts(package.version())) {
            return Some(package);
        }
        let provides = |package: &Package<'_>| {
            package.provides().contains(relation.name)
                && relation::parse(package.provides()).flatten().any(|provided| {
                    provided.name == relation.name
                        && match provided.constraint {
                            Some((_, version)) => relation.accepts(version),
                            None => relation.constraint.is_none(),
                        }
                })
        };
        // Only what would itself be taken: the first of its name is its highest version.
        let mut previous = "";
        self.packages
            .iter()
            .filter(|package| std::mem::replace(&mut previous, package.name()) != package.name())
            .find(provides)
    }
}

fn describe(alternatives: &[Relation<'_>]) -> String {
    let names: Vec<_> = alternatives.iter().map(ToString::to_string).collect();
    names.join(" | ")
}

fn pin(packages: &Packages, package: Package<'_>) -> LockedPackage {
    LockedPackage {
        package: package.name().to_owned(),
        version: package.version().to_owned(),
        architecture: package.architecture().to_owned(),
        suite: packages.suite().to_owned(),
        component: package.component().to_owned(),
        path: package.path().to_owned(),
        sha256: package.sha256(),
        size: package.size(),
    }
}
