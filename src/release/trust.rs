//! Who has to be trusted for the bytes of an image, and who need not be: a part of THREAT-MODEL.md,
//! from what the lock says of each input. It tells what a rebuild shows and what it does not.

use std::collections::BTreeSet;
use std::fmt::{Result, Write as _};

use crate::guest;
use crate::manifest::lock::{LockedBuild, LockedEntry, LockedInput, LockedPackage};
use crate::manifest::types::{Build, Source};
use crate::manifest::{Lock, Manifest};
use crate::names::{Name, Suite};

/// Up to this many packages are listed with their digests; of more, the lock has them.
const FEW: usize = 3;

/// Whose word counterfoil's own programs are taken on.
const COUNTERFOIL: &str = "nobody, for its bytes: they are compiled by the toolchain that counterfoil \
                           pins, and their digest is in its source";

/// Where the lock names programs that this counterfoil does not carry.
const ANOTHERS: &str =
    "whoever made the lock: it is not what the counterfoil that wrote this carries";

/// A compiler or what comes with one, by the names of Debian's packages.
const COMPILERS: &[&str] = &["binutils", "clang-", "g++-", "gcc-", "golang-", "nasm", "rustc"];

/// A part of the image, or something compiled for one.
struct Part<'a> {
    /// `Firmware`, or ``Input `model` ``.
    title: String,
    name: &'a Name,
    input: &'a LockedInput,
    /// How it is compiled, where it is.
    build: Option<&'a Build>,
    /// What of it is more than a file among others.
    recipes: Option<&'static str>,
}

/// The section, for the image of `manifest` whose inputs `lock` pins.
pub(super) fn write(out: &mut String, manifest: &Manifest, lock: &Lock) -> Result {
    let parts = parts(manifest, lock);
    writeln!(out, "## Who has to be trusted, and for what\n")?;
    writeln!(
        out,
        "Whoever reads a report trusts AMD: the processor, its firmware, and the keys that sign. \
         Beyond that, whose word are the bytes of each part taken on?\n\n\
         | part | comes as | taken on the word of |\n|---|---|---|"
    )?;
    for part in &parts {
        writeln!(out, "| {} | {} | {} |", part.title, part.comes_as(), part.word_of(lock))?;
    }
    let mut programs = lock.builtin.iter();
    let ours =
        programs.all(|(name, object)| guest::program_with(name.as_str(), object.sha256).is_some());
    let word = if ours { COUNTERFOIL } else { ANOTHERS };
    let what = match manifest.evidence {
        Some(_) => "PID 1, the evidence agent",
        None => "PID 1",
    };
    writeln!(out, "| {what} | compiled with counterfoil | {word} |\n")?;
    went_away(out, &parts, lock)?;
    for part in &parts {
        writeln!(out, "### {}: {}\n", part.title, part.comes_as())?;
        match (part.input, part.build) {
            (LockedInput::Build(locked), Some(build)) => {
                part.compiled(out, *locked, build, lock)?
            }
            _ => part.taken(out, lock)?,
        }
    }
    Ok(())
}

/// Firmware and kernel first, then the rest of the image, then what is compiled for other builds.
fn parts<'a>(manifest: &'a Manifest, lock: &'a Lock) -> Vec<Part<'a>> {
    let (firmware, kernel) = (&manifest.firmware.from.value, &manifest.kernel.from.value);
    let mut names = vec![firmware];
    let of_image = manifest.inputs_of_image().into_iter();
    let builds = manifest.builds().into_iter().map(|(name, _)| name);
    for name in [kernel].into_iter().chain(of_image).chain(builds) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let part = |name: &'a Name| {
        let (title, recipes) = match (name == firmware, name == kernel) {
            (true, true) => ("Firmware and kernel".to_owned(), None),
            (true, false) => ("Firmware".to_owned(), Some("`recipe: firmware/amdsev.yaml`")),
            (false, true) => ("Kernel".to_owned(), Some("`recipe: kernels/minimal.yaml`")),
            (false, false) => (format!("Input `{name}`"), None),
        };
        let build = match manifest.inputs.get(name) {
            Some(Source::Build(build)) => Some(build),
            _ => None,
        };
        Some(Part { title, name, input: lock.inputs.get(name)?, build, recipes })
    };
    names.into_iter().filter_map(part).collect()
}

/// The trust that compiling took away, in one paragraph; nothing if nothing is compiled.
fn went_away(out: &mut String, parts: &[Part<'_>], lock: &Lock) -> Result {
    let compiled: Vec<_> = parts.iter().filter(|part| part.build.is_some()).collect();
    let titles: Vec<_> = compiled.iter().map(|part| part.title.to_lowercase()).collect();
    let Some((last, first)) = titles.split_last() else {
        return writeln!(
            out,
            "No part of this image is compiled from source under its lock: a rebuild shows that the \
             image was put together from these inputs, and not where their bytes come from.\n"
        );
    };
    let what = match first {
        [] => last.clone(),
        _ => format!("{} and {last}", first.join(", ")),
    };
    let vendors = vendors(lock);
    writeln!(
        out,
        "**Trust that went away**: for the bytes of {what} nobody has to trust whoever compiled them, \
         their machine, or the build machines of {vendors}. They are compiled from the sources below \
         in a room of locked packages; a build with an empty store compiles them again, and stops \
         (exit code 10) if one byte is another.\n"
    )
}

/// The archives of the lock by their own names.
fn vendors(lock: &Lock) -> String {
    let names: BTreeSet<_> =
        lock.archives.values().map(|archive| archive.origin.as_str()).collect();
    match names.is_empty() {
        true => "anybody else".to_owned(),
        false => names.into_iter().collect::<Vec<_>>().join(" and "),
    }
}

impl Part<'_> {
    fn comes_as(&self) -> &'static str {
        match self.input {
            LockedInput::Build(_) => "compiled from source",
            LockedInput::Deb(packages) if packages.len() == 1 => "a package, as it is",
            LockedInput::Deb(_) => "packages, as they are",
            LockedInput::Source(_) => "a source package, as it is",
            LockedInput::File(_) | LockedInput::Url(_) => "a file, as it is",
            LockedInput::Dir(_) => "a directory, as it is",
            LockedInput::Tar(_) => "an archive of files, as it is",
            LockedInput::Sdist(_) => "a source distribution, as it is",
            LockedInput::Builtin(_) => "compiled with counterfoil",
        }
    }

    fn word_of(&self, lock: &Lock) -> String {
        match self.input {
            LockedInput::Build(_) => {
                "nobody, for its bytes: anybody can compile them again; its sources and tools are below"
                    .to_owned()
            }
            LockedInput::Deb(packages) => {
                format!("{}'s build machines", origin(packages, lock))
            }
            LockedInput::Source(source) => {
                format!("the source's authors and {}", archive(&source.suite, lock))
            }
            LockedInput::Builtin(_) => COUNTERFOIL.to_owned(),
            _ => "whoever made it".to_owned(),
        }
    }

    fn compiled(
        &self,
        out: &mut String,
        locked: LockedBuild,
        build: &Build,
        lock: &Lock,
    ) -> Result {
        writeln!(out, "From these sources, by SHA-256:\n")?;
        let sources: BTreeSet<_> = build.files.values().map(|part| &part.from.value).collect();
        for name in sources {
            if let Some(input) = lock.inputs.get(name) {
                source(out, name, input, lock)?;
            }
        }
        writeln!(out, "\nby these tools, in a room where nothing else is:\n")?;
        for name in build.room.iter().map(|from| &from.value) {
            if let Some(input) = lock.inputs.get(name) {
                tools(out, name, input, lock)?;
            }
        }
        writeln!(
            out,
            "\nThe recipe, all of that together, is `{}`; what comes out is `{}`.\n\n\
             - **No longer trusted**: whoever compiled it, and their machine. The same sources and \
             tools gave these bytes to everybody who built this release.\n\
             - **Still trusted**: what the sources say, since a rebuild shows where bytes come from \
             and not that they do no harm; and the tools, which the build machines of {} made: a \
             compiler that lies tells everybody the same lie.",
            locked.recipe,
            locked.result.sha256,
            vendors(lock)
        )?;
        if self.title == "Firmware" {
            writeln!(
                out,
                "- **Shown by a rebuild alone**: marks in the firmware's modules say what it refuses, \
                 and are the word of whoever compiled it. Here the sources above stand behind them."
            )?;
        }
        writeln!(out)
    }

    fn taken(&self, out: &mut String, lock: &Lock) -> Result {
        source(out, self.name, self.input, lock)?;
        let cure = self.recipes.map_or_else(
            || "a `build` input that compiles it from source".to_owned(),
            |recipe| format!("a `build` input that compiles it from source, such as {recipe}"),
        );
        match self.input {
            LockedInput::Deb(packages) => {
                let origin = origin(packages, lock);
                writeln!(
                    out,
                    "\n- **Trusted**: {origin}'s build machines, and everybody who could change what \
                     they gave out. The bytes are said to come from the source package of that \
                     version; nothing in this release shows it.\n\
                     - **Vouched for** by the signature of the archive, which leads to each package by \
                     its hash: it says who gave the bytes out, not what they were made from."
                )?;
                writeln!(out, "- **Would take that trust away**: {cure}.\n")
            }
            LockedInput::Builtin(_) => writeln!(
                out,
                "\n- **Trusted**: counterfoil's source, and the Rust toolchain that it pins.\n"
            ),
            LockedInput::Source(_) => writeln!(
                out,
                "\n- **Trusted**: its authors, for what it says; nothing of it was compiled.\n"
            ),
            _ => writeln!(
                out,
                "\n- **Trusted**: whoever made it, for all of it: nothing here says what it was made \
                 from, only that everybody has the same bytes.\n"
            ),
        }
    }
}

/// What an input is, as a list item that a reviewer can check.
fn source(out: &mut String, name: &Name, input: &LockedInput, lock: &Lock) -> Result {
    match input {
        LockedInput::Source(source) => {
            writeln!(
                out,
                "- source package `{}` {} of {} (`{name}`)",
                source.package,
                source.version,
                archive(&source.suite, lock)
            )?;
            for (path, part) in &source.parts {
                writeln!(out, "  - `{path}` `{}`", part.sha256)?;
            }
            Ok(())
        }
        LockedInput::Deb(packages) if packages.len() <= FEW => {
            for package in packages {
                writeln!(
                    out,
                    "- package `{}` {} of {} (`{name}`) `{}`",
                    package.package,
                    package.version,
                    archive(&package.suite, lock),
                    package.sha256
                )?;
            }
            Ok(())
        }
        LockedInput::Deb(packages) => {
            let named = packages.iter().map(|it| format!("`{}` {}", it.package, it.version));
            let named: Vec<_> = named.collect();
            writeln!(
                out,
                "- {} packages of {} (`{name}`; `lock.yaml` has the digest of each): {}",
                packages.len(),
                suites(packages, lock),
                named.join(", ")
            )
        }
        LockedInput::Dir(entries) => {
            writeln!(out, "- files that came with the manifest (`{name}`)")?;
            for (path, entry) in entries {
                if let LockedEntry::File { sha256, .. } = entry {
                    writeln!(out, "  - `{path}` `{sha256}`")?;
                }
            }
            Ok(())
        }
        LockedInput::File(object) => {
            writeln!(out, "- a file that came with the manifest (`{name}`) `{}`", object.sha256)
        }
        LockedInput::Sdist(sdist) => writeln!(
            out,
            "- source distribution `{}` {} of a Python package index, which nobody signs: the manifest \
             has its digest (`{name}`) `{}`",
            sdist.package, sdist.version, sdist.sha256
        ),
        LockedInput::Url(url) => writeln!(out, "- `{}` (`{name}`) `{}`", url.url, url.sha256),
        LockedInput::Tar(tar) => match &tar.url {
            Some(url) => writeln!(out, "- `{url}` (`{name}`) `{}`", tar.sha256),
            None => writeln!(
                out,
                "- an archive that came with the manifest (`{name}`) `{}`",
                tar.sha256
            ),
        },
        LockedInput::Builtin(program) => {
            let digest = lock.builtin.get(program).map(|object| object.sha256.to_string());
            writeln!(
                out,
                "- counterfoil's own program `{program}` (`{name}`) `{}`",
                digest.unwrap_or_default()
            )
        }
        LockedInput::Build(build) => {
            writeln!(out, "- what input `{name}` gives, compiled too: `{}`", build.result.sha256)
        }
    }
}

/// What a room is furnished with: how many packages, and the compilers among them.
fn tools(out: &mut String, name: &Name, input: &LockedInput, lock: &Lock) -> Result {
    let LockedInput::Deb(packages) = input else { return source(out, name, input, lock) };
    let is_compiler = |package: &&LockedPackage| {
        COMPILERS.iter().any(|prefix| package.package.starts_with(prefix))
    };
    let compilers = packages.iter().filter(is_compiler);
    let compilers: Vec<_> =
        compilers.map(|package| format!("`{}` {}", package.package, package.version)).collect();
    write!(
        out,
        "- {} packages of {} (`{name}`; `lock.yaml` has the digest of each)",
        packages.len(),
        suites(packages, lock)
    )?;
    match compilers.is_empty() {
        true => writeln!(out),
        false => writeln!(out, ", among them {}", compilers.join(", ")),
    }
}

/// ``Debian `trixie` ``.
fn archive(suite: &Suite, lock: &Lock) -> String {
    let origin = lock.archives.get(suite).map_or("the archive's", |archive| &archive.origin);
    format!("{origin} `{suite}`")
}

fn suites(packages: &[LockedPackage], lock: &Lock) -> String {
    let suites: BTreeSet<_> = packages.iter().map(|it| archive(&it.suite, lock)).collect();
    suites.into_iter().collect::<Vec<_>>().join(" and ")
}

fn origin(packages: &[LockedPackage], lock: &Lock) -> String {
    let origins: BTreeSet<_> = packages
        .iter()
        .filter_map(|package| Some(lock.archives.get(&package.suite)?.origin.as_str()))
        .collect();
    match origins.is_empty() {
        true => "the archive".to_owned(),
        false => origins.into_iter().collect::<Vec<_>>().join(" and "),
    }
}

#[cfg(test)]
mod tests;
