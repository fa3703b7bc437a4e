//! Source packages: one stanza of a `Sources` index (Debian Policy 5.4, DebianRepository/Format), and
//! the parts that it lists. The `.dsc` is not among them: the index, which the archive's signature
//! leads to, has the same digests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use super::index::{Compression, Error, XZ_MEMORY_KIB};
use super::release::is_below;
use super::{deb822, version};
use crate::digest::{Object, Sha256};

/// A source package and its parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourcePackage {
    /// Its version.
    pub version: String,
    /// Its parts by what they are whatever the version: `orig.tar.xz`, `debian.tar.xz`.
    pub parts: BTreeMap<String, SourcePart>,
}

/// A part of a source package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourcePart {
    /// Where it is in the archive, relative to the archive's URI.
    pub path: String,
    /// Its bytes.
    pub object: Object,
}

/// The highest version of `package` in an index, whose bytes must have been checked already. `name` is
/// for messages; the index must unpack to at most `limit` bytes.
///
/// # Errors
/// When the index is damaged, or the stanza is malformed.
pub fn find(
    name: &str,
    bytes: &[u8],
    compression: Compression,
    limit: u64,
    package: &str,
) -> Result<Option<SourcePackage>, Error> {
    let unpacked: Box<dyn Read + '_> = match compression {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        Compression::Xz => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY_KIB))
        }
    };
    let mut input = BufReader::with_capacity(1 << 18, unpacked.take(limit.saturating_add(1)));
    let wanted = format!("Package: {package}\n");
    let (mut stanza, mut line, mut total) = (Vec::new(), Vec::new(), 0);
    let (mut best, mut number, mut ours) = (None::<SourcePackage>, 0, false);
    loop {
        line.clear();
        let read = input
            .read_until(b'\n', &mut line)
            .map_err(|source| Error::Damaged { name: name.to_owned(), source })?;
        (total, number) = (total + read as u64, number + 1);
        if total > limit {
            return Err(Error::TooLarge { name: name.to_owned(), limit });
        }
        if !line.trim_ascii().is_empty() {
            ours |= line == wanted.as_bytes();
            stanza.extend_from_slice(&line);
            continue;
        }
        if std::mem::take(&mut ours) {
            let malformed = |problem: &str| Error::Malformed {
                name: name.to_owned(),
                line: number,
                problem: problem.to_owned(),
            };
            let found = parse(&String::from_utf8_lossy(&stanza)).map_err(malformed)?;
            let higher = best.as_ref().is_none_or(|best| {
                version::compare(&found.version, &best.version) == std::cmp::Ordering::Greater
            });
            if higher {
                best = Some(found);
            }
        }
        stanza.clear();
        if read == 0 {
            return Ok(best);
        }
    }
}

fn parse(stanza: &str) -> Result<SourcePackage, &'static str> {
    let stanzas = deb822::stanzas(stanza).map_err(|_| "a line that belongs to no field")?;
    let fields = stanzas.first().ok_or("no field")?;
    let field = |name: &str| fields.iter().find(|field| field.is(name));
    let value = |name: &str| Some(*field(name)?.lines.first()?);
    let version = value("Version").ok_or("no `Version`")?;
    let directory = value("Directory").ok_or("no `Directory`")?;
    let mut parts = BTreeMap::new();
    for line in field("Checksums-Sha256").ok_or("no `Checksums-Sha256`")?.lines.iter().skip(1) {
        let mut words = line.split_ascii_whitespace();
        let (Some(sha256), Some(size), Some(file), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("a line of `Checksums-Sha256` that is not digest, size and name");
        };
        let sha256: Sha256 = sha256.parse().map_err(|_| "a digest that is none")?;
        let size = size.parse().map_err(|_| "a size that is none")?;
        let path = format!("{directory}/{file}");
        if !is_below(&path) || file.contains('/') {
            return Err("a path that leaves the archive");
        }
        let Some(part) = part(file) else { continue };
        let object = Object { sha256, size };
        if parts.insert(part.to_owned(), SourcePart { path, object }).is_some() {
            return Err("two files for one part");
        }
    }
    Ok(SourcePackage { version: version.to_owned(), parts })
}

/// What a file is, without the package's name and version (dpkg-source(1), "SOURCE PACKAGE FORMATS").
fn part(file: &str) -> Option<&str> {
    if file.ends_with(".dsc") || file.ends_with(".asc") {
        return None;
    }
    let from = |mark: &str| file.find(mark).and_then(|at| file.get(at + 1..));
    from(".orig.tar.")
        .or_else(|| from(".orig-"))
        .or_else(|| from(".debian.tar."))
        .or_else(|| from(".tar."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: edk
Version: 9

Package: edk2
Version: 1.0-1
Directory: pool/main/e/edk2
Checksums-Sha256:
 0000000000000000000000000000000000000000000000000000000000000001 7 edk2_1.0.orig.tar.xz
 0000000000000000000000000000000000000000000000000000000000000002 8 edk2_1.0-1.debian.tar.xz
 0000000000000000000000000000000000000000000000000000000000000003 9 edk2_1.0-1.dsc

Package: edk2
Version: 1.0-10
Directory: pool/main/e/edk2
Checksums-Sha256:
 0000000000000000000000000000000000000000000000000000000000000004 7 edk2_1.0.orig.tar.xz
";

    fn search(text: &str, package: &str) -> Result<Option<SourcePackage>, Error> {
        find("Sources", text.as_bytes(), Compression::None, 1 << 20, package)
    }

    #[test]
    fn the_highest_version_and_its_parts() {
        let found = search(INDEX, "edk2").unwrap().unwrap();
        assert_eq!((found.version.as_str(), found.parts.len()), ("1.0-10", 1));
        let older =
            search(INDEX.split("\n\nPackage: edk2\nVersion: 1.0-10").next().unwrap(), "edk2");
        let parts = older.unwrap().unwrap().parts;
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["debian.tar.xz", "orig.tar.xz"]);
        assert_eq!(parts["orig.tar.xz"].path, "pool/main/e/edk2/edk2_1.0.orig.tar.xz");
        assert_eq!(parts["debian.tar.xz"].object.size, 8);
        assert_eq!(search(INDEX, "edk3").unwrap(), None);
        assert_eq!(part("x_1.tar.xz"), Some("tar.xz"));
        assert_eq!(part("x_1.orig-extra.tar.gz"), Some("orig-extra.tar.gz"));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (from, to) in [
            ("pool/main/e/edk2\n", "../../etc\n"),
            ("1.0-10\nDirectory: pool/main/e/edk2\n", "1.0-10\n"),
            ("4 7 edk2", "4 x edk2"),
            ("4 7 edk2", "4 7 a/../edk2"),
            ("0004 7", "004 7"),
        ] {
            assert!(INDEX.contains(from), "{from}");
            let text = INDEX.replace(from, to);
            assert!(matches!(search(&text, "edk2"), Err(Error::Malformed { .. })), "{from}");
        }
    }
}
