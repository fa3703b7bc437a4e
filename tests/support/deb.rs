//! Debian binary packages (deb(5)), written by hand.

use std::io::Write;

/// A package in the making.
#[derive(Clone, Debug)]
pub struct Deb {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Further control fields, such as `("Depends", "libc6")`.
    pub fields: Vec<(String, String)>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    path: String,
    kind: tar::EntryType,
    mode: u32,
    link: Option<String>,
    bytes: Vec<u8>,
}

impl Deb {
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            fields: Vec::new(),
            entries: Vec::new(),
        }
    }

    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn depends(self, value: &str) -> Self {
        self.field("Depends", value)
    }

    /// A regular file; `path` without a slash before it.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        self.entry(path, tar::EntryType::Regular, mode, None, bytes.into())
    }

    #[must_use]
    pub fn directory(self, path: &str) -> Self {
        self.entry(
            &format!("{}/", path.trim_end_matches('/')),
            tar::EntryType::Directory,
            0o755,
            None,
            Vec::new(),
        )
    }

    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, 0o777, Some(target), Vec::new())
    }

    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, tar::EntryType::Link, 0o644, Some(target), Vec::new())
    }

    /// Any entry, also one that no honest package has.
    #[must_use]
    pub fn entry(
        mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        link: Option<&str>,
        bytes: Vec<u8>,
    ) -> Self {
        let (path, link) = (path.to_owned(), link.map(str::to_owned));
        self.entries.push(Entry { path, kind, mode, link, bytes });
        self
    }

    /// The file, its members compressed with xz.
    pub fn build(&self) -> Vec<u8> {
        self.build_as("xz")
    }

    /// The file, its members compressed with `xz`, `gz`, or nothing (an empty name).
    pub fn build_as(&self, compression: &str) -> Vec<u8> {
        let mut deb = b"!<arch>\n".to_vec();
        let extension =
            if compression.is_empty() { String::new() } else { format!(".{compression}") };
        let control = [Entry {
            path: "control".to_owned(),
            kind: tar::EntryType::Regular,
            mode: 0o644,
            link: None,
            bytes: self.control().into_bytes(),
        }];
        member(&mut deb, "debian-binary", b"2.0\n");
        member(
            &mut deb,
            &format!("control.tar{extension}"),
            &compress(&tar(&control), compression),
        );
        member(
            &mut deb,
            &format!("data.tar{extension}"),
            &compress(&tar(&self.entries), compression),
        );
        deb
    }

    /// The control file, which is also the beginning of the stanza in an index.
    pub fn control(&self) -> String {
        let mut text = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Test <test@example.org>\n",
            self.name, self.version, self.architecture
        );
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push_str("Description: made for a test\n Longer text,\n .\n on several lines.\n");
        text
    }

    /// The file name, below the pool.
    pub fn file_name(&self) -> String {
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }
}

pub fn compress(bytes: &[u8], compression: &str) -> Vec<u8> {
    match compression {
        "xz" => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "gz" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "" => bytes.to_vec(),
        other => panic!("no compression is called {other}"),
    }
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.bytes.len() as u64);
        header.set_mtime(1_700_000_000);
        // Written by hand: the crate's own setters refuse the paths that readers must refuse.
        let path = format!("./{}", entry.path);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(link) = &entry.link {
            old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, entry.bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn member(ar: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let size = bytes.len();
    writeln!(ar, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 1_700_000_000, 0, 0, 100_644)
        .unwrap();
    ar.extend_from_slice(bytes);
    if size % 2 == 1 {
        ar.push(b'\n');
    }
}
