//! Package indexes: the stanzas of a `Packages` file (DebianRepository/Format, Debian Policy 5.3).
//!
//! A suite has some seventy thousand packages in as many megabytes. The few fields that matter are
//! copied one after another into one string while the file is unpacked, and found again by offset.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

use super::release::is_below;
use super::version;
use crate::digest::Sha256;

/// The packages of one suite, for one architecture.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    suite: String,
    components: Vec<String>,
    /// The fields of all rows.
    text: String,
    /// Sorted by name, then by version, the highest first.
    rows: Vec<Row>,
}

/// A package in an index.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    packages: &'a Packages,
    row: &'a Row,
}

/// How an index is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.xz`
    Xz,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not unpack.
    #[error("the package index `{name}` cannot be unpacked: it is truncated or damaged")]
    Damaged {
        /// The index.
        name: String,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// A stanza that is not one of a package.
    #[error("the package index `{name}` is malformed at line {line}: {problem}")]
    Malformed {
        /// The index.
        name: String,
        /// The line of the unpacked file, counted from 1: the last one of the stanza.
        line: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// It unpacks to more than it should.
    #[error("the package index `{name}` unpacks to more than the {limit} bytes it should have")]
    TooLarge {
        /// The index.
        name: String,
        /// The bound.
        limit: u64,
    },
}

impl Packages {
    /// The packages of a suite, none yet.
    pub fn new(suite: &str) -> Self {
        Self { suite: suite.to_owned(), ..Self::default() }
    }

    /// Adds an index. `name` is for messages; it must unpack to at most `limit` bytes. Its bytes
    /// must have been checked already: nothing here vouches for them.
    pub fn add(
        &mut self,
        name: &str,
        component: &str,
        bytes: &[u8],
        compression: Compression,
        limit: u64,
    ) -> Result<(), Error> {
        let component = match self.components.iter().position(|known| known == component) {
            Some(index) => index,
            None => {
                self.components.push(component.to_owned());
                self.components.len() - 1
            }
        };
        let unpacked: Box<dyn Read + '_> = match compression {
            Compression::None => Box::new(bytes),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
            Compression::Xz => {
                Box::new(lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY_KIB))
            }
        };
        // One byte more than the limit, by which an excess shows.
        let bounded = BufReader::with_capacity(1 << 18, unpacked.take(limit.saturating_add(1)));
        self.read(name, component, bounded, limit)?;
        self.sort();
        Ok(())
    }

    /// The suite these are of.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The components that were read.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All packages, sorted by name, the highest version of each first.
    pub fn iter(&self) -> impl Iterator<Item = Package<'_>> {
        self.rows.iter().map(|row| Package { packages: self, row })
    }

    /// The packages of this name, the highest version first.
    pub fn named(&self, name: &str) -> impl Iterator<Item = Package<'_>> {
        let start = self.rows.partition_point(|row| self.slice(&row.package) < name);
        let found = self.rows[start..].iter();
        found
            .map(|row| Package { packages: self, row })
            .take_while(move |package| package.name() == name)
    }

    fn slice(&self, span: &Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    fn read(
        &mut self,
        name: &str,
        component: usize,
        mut input: impl BufRead,
        limit: u64,
    ) -> Result<(), Error> {
        let mut line = Vec::with_capacity(4096);
        let mut stanza = Stanza::default();
        let mut unpacked = 0u64;
        for number in 1.. {
            line.clear();
            let n = input
                .read_until(b'\n', &mut line)
                .map_err(|source| Error::Damaged { name: name.to_owned(), source })?;
            unpacked += n as u64;
            if unpacked > limit {
                return Err(Error::TooLarge { name: name.to_owned(), limit });
            }
            let malformed =
                |problem: String| Error::Malformed { name: name.to_owned(), line: number, problem };
            let content = line.trim_ascii_end();
            if !content.is_empty() {
                stanza.add(content, &mut self.text).map_err(malformed)?;
                continue;
            }
            if let Some(row) =
                std::mem::take(&mut stanza).finish(component, &self.text).map_err(malformed)?
            {
                self.rows.push(row);
            }
            if n == 0 {
                break;
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        let text = &self.text;
        let slice = |span: &Span| &text[span.start as usize..span.end as usize];
        let components = &self.components;
        // The last keys only make the order independent of the order of the files.
        self.rows.sort_by(|a, b| {
            slice(&a.package)
                .cmp(slice(&b.package))
                .then_with(|| version::compare(slice(&b.version), slice(&a.version)))
                .then_with(|| slice(&a.architecture).cmp(slice(&b.architecture)))
                .then_with(|| components[a.component].cmp(&components[b.component]))
                .then_with(|| slice(&a.path).cmp(slice(&b.path)))
        });
    }
}

impl<'a> Package<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.packages.slice(&self.row.package)
    }

    /// Its version.
    pub fn version(&self) -> &'a str {
        self.packages.slice(&self.row.version)
    }

    /// Its architecture: that of the index, or `all`.
    pub fn architecture(&self) -> &'a str {
        self.packages.slice(&self.row.architecture)
    }

    /// The component it is in.
    pub fn component(&self) -> &'a str {
        &self.packages.components[self.row.component]
    }

    /// Where it is in the archive, relative to the archive's URI.
    pub fn path(&self) -> &'a str {
        self.packages.slice(&self.row.path)
    }

    /// The source package it was built from, and that one's version if it is another.
    pub fn source(&self) -> &'a str {
        match self.packages.slice(&self.row.source) {
            "" => self.name(),
            source => source,
        }
    }

    /// The SHA-256 of the package.
    pub fn sha256(&self) -> Sha256 {
        self.row.sha256
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.row.size
    }

    /// The `Depends` field.
    pub fn depends(&self) -> &'a str {
        self.packages.slice(&self.row.depends)
    }

    /// The `Pre-Depends` field.
    pub fn pre_depends(&self) -> &'a str {
        self.packages.slice(&self.row.pre_depends)
    }

    /// The `Provides` field.
    pub fn provides(&self) -> &'a str {
        self.packages.slice(&self.row.provides)
    }
}

/// A range of `Packages::text`.
type Span = Range<u32>;

#[derive(Clone, Debug)]
struct Row {
    component: usize,
    package: Span,
    version: Span,
    architecture: Span,
    path: Span,
    source: Span,
    depends: Span,
    pre_depends: Span,
    provides: Span,
    sha256: Sha256,
    size: u64,
}

/// The fields of one stanza, as far as it was read.
#[derive(Default)]
struct Stanza {
    package: Span,
    version: Span,
    architecture: Span,
    path: Span,
    source: Span,
    depends: Span,
    pre_depends: Span,
    provides: Span,
    sha256: Option<Sha256>,
    size: Option<u64>,
    any: bool,
}

impl Stanza {
    fn add(&mut self, line: &[u8], text: &mut String) -> Result<(), String> {
        if line[0] == b' ' || line[0] == b'\t' {
            // No field that matters here goes on over several lines.
            return if self.any { Ok(()) } else { Err("expected `Field: value`".to_owned()) };
        }
        self.any = true;
        // Most lines are of other fields: look at the first byte before anything else.
        let (span, value) = match line[0] {
            b'P' => match line {
                [b'P', b'a', b'c', b'k', b'a', b'g', b'e', b':', value @ ..] => {
                    (&mut self.package, value)
                }
                _ if line.starts_with(b"Pre-Depends:") => (&mut self.pre_depends, &line[12..]),
                _ if line.starts_with(b"Provides:") => (&mut self.provides, &line[9..]),
                _ => return Ok(()),
            },
            b'V' if line.starts_with(b"Version:") => (&mut self.version, &line[8..]),
            b'A' if line.starts_with(b"Architecture:") => (&mut self.architecture, &line[13..]),
            b'F' if line.starts_with(b"Filename:") => (&mut self.path, &line[9..]),
            b'D' if line.starts_with(b"Depends:") => (&mut self.depends, &line[8..]),
            b'S' => match line {
                _ if line.starts_with(b"Source:") => (&mut self.source, &line[7..]),
                _ if line.starts_with(b"Size:") => {
                    let size = ascii(&line[5..]).and_then(|value| value.parse().ok());
                    let size = size.ok_or("`Size` is not a number of bytes")?;
                    return once(&mut self.size, size, "Size");
                }
                _ if line.starts_with(b"SHA256:") => {
                    let sha256 = ascii(&line[7..]).and_then(|value| value.parse().ok());
                    let sha256 = sha256.ok_or("`SHA256` is not 64 lower-case hex digits")?;
                    return once(&mut self.sha256, sha256, "SHA256");
                }
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        if *span != Span::default() {
            let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
            return Err(format!("field `{}` is there twice", String::from_utf8_lossy(field)));
        }
        let value = ascii(value).ok_or("a field that should be ascii text is not")?;
        let offset = |len: usize| u32::try_from(len).map_err(|_| "the index is too large");
        let start = offset(text.len())?;
        text.push_str(value);
        *span = start..offset(text.len())?;
        Ok(())
    }

    /// The row, or `None` if there was no line at all.
    fn finish(self, component: usize, text: &str) -> Result<Option<Row>, String> {
        if !self.any {
            return Ok(None);
        }
        let slice = |span: &Span| &text[span.start as usize..span.end as usize];
        for (name, span) in [
            ("Package", &self.package),
            ("Version", &self.version),
            ("Architecture", &self.architecture),
            ("Filename", &self.path),
        ] {
            if span.is_empty() {
                return Err(format!("the stanza has no `{name}`"));
            }
        }
        let package = slice(&self.package);
        if !is_name(package) {
            return Err(format!("`{package}` is not a package name"));
        }
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !plain(slice(&self.version)) || !plain(slice(&self.architecture)) {
            return Err(format!("package `{package}` has an impossible version or architecture"));
        }
        let path = slice(&self.path);
        if !is_below(path) {
            return Err(format!("package `{package}` has the path `{path}`, outside the archive"));
        }
        let missing = |name: &str| format!("package `{package}` has no `{name}`");
        Ok(Some(Row {
            sha256: self.sha256.ok_or_else(|| missing("SHA256"))?,
            size: self.size.ok_or_else(|| missing("Size"))?,
            component,
            package: self.package,
            version: self.version,
            architecture: self.architecture,
            path: self.path,
            source: self.source,
            depends: self.depends,
            pre_depends: self.pre_depends,
            provides: self.provides,
        }))
    }
}

fn once<T>(field: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("field `{name}` is there twice")),
    }
}

fn ascii(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.trim_ascii()).ok().filter(|text| text.is_ascii())
}

/// Debian Policy 5.6.1, without its lower bound of two characters. Upper case occurs elsewhere.
fn is_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(rest)
}

/// Debian's indexes need 64 MiB for the dictionary.
pub(super) const XZ_MEMORY_KIB: u32 = 256 << 10;
