//! A package archive in a temporary directory: `pool/`, `dists/`, and the key that signs it.

use std::fs;
use std::path::{Path, PathBuf};

use counterfoil::digest::Sha256;
use tempfile::TempDir;

use super::deb::{Deb, compress};
use super::key::Key;

/// The time that tests take for now: an hour after release files are made.
pub const NOW: u64 = 1_789_203_341;

/// An archive, signed by one key.
pub struct Repository {
    directory: TempDir,
    pub key: Key,
}

/// What a suite has, and how it presents itself.
#[derive(Clone, Debug)]
pub struct Suite {
    pub suite: String,
    pub codename: String,
    /// Further lines of the release file, each ended.
    pub fields: String,
    pub by_hash: bool,
    /// The compressions that the index can be had in: `xz`, `gz`, or nothing.
    pub compressions: Vec<String>,
    pub components: Vec<(String, Vec<Deb>)>,
    /// Put at the end of each index.
    pub index_suffix: String,
}

impl Suite {
    /// A suite with these packages in `main`.
    pub fn new(suite: &str, codename: &str, packages: Vec<Deb>) -> Self {
        Self {
            suite: suite.to_owned(),
            codename: codename.to_owned(),
            fields: String::new(),
            by_hash: true,
            compressions: vec!["xz".to_owned(), "gz".to_owned()],
            components: vec![("main".to_owned(), packages)],
            index_suffix: String::new(),
        }
    }
}

impl Repository {
    pub fn new() -> Self {
        Self::signed_by(Key::new(1))
    }

    pub fn signed_by(key: Key) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("archive-keyring.gpg"), key.binary()).unwrap();
        Self { directory, key }
    }

    /// The directory that has `dists/` and `pool/`.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The keyring's file.
    pub fn keyring(&self) -> PathBuf {
        self.root().join("archive-keyring.gpg")
    }

    /// The archive's URI on the disk.
    pub fn uri(&self) -> String {
        format!("file://{}", self.root().display())
    }

    /// Writes the packages, the indexes and `InRelease` of a suite, below its codename and, by a
    /// symbolic link, below its suite name.
    pub fn publish(&self, suite: &Suite) {
        let text = self.write_files(suite);
        self.write_inrelease(suite, &self.key.clearsign(&text));
    }

    /// Replaces the suite's `InRelease`.
    pub fn write_inrelease(&self, suite: &Suite, text: &str) {
        self.write(&format!("dists/{}/InRelease", suite.codename), text.as_bytes());
    }

    /// Everything but the release file, whose text is returned.
    pub fn write_files(&self, suite: &Suite) -> String {
        let mut listed = String::new();
        for (component, packages) in &suite.components {
            let mut index = String::new();
            for deb in packages {
                let path = format!("pool/{component}/{}", deb.file_name());
                let bytes = deb.build();
                index.push_str(&format!(
                    "{}Filename: {path}\nSize: {}\nSHA256: {}\n\n",
                    deb.control(),
                    bytes.len(),
                    Sha256::of(&bytes)
                ));
                self.write(&path, &bytes);
            }
            index.push_str(&suite.index_suffix);
            let directory = format!("{component}/binary-amd64");
            // As in Debian, the plain index is listed but cannot be had.
            listed.push_str(&line(index.as_bytes(), &format!("{directory}/Packages")));
            for compression in &suite.compressions {
                let dot = if compression.is_empty() { "" } else { "." };
                let path = format!("{directory}/Packages{dot}{compression}");
                let bytes = compress(index.as_bytes(), compression);
                if !compression.is_empty() {
                    listed.push_str(&line(&bytes, &path));
                }
                let dists = format!("dists/{}", suite.codename);
                self.write(&format!("{dists}/{path}"), &bytes);
                if suite.by_hash {
                    let name = format!("{directory}/by-hash/SHA256/{}", Sha256::of(&bytes));
                    self.write(&format!("{dists}/{name}"), &bytes);
                }
            }
        }
        if suite.suite != suite.codename {
            let link = self.root().join("dists").join(&suite.suite);
            if !link.exists() {
                std::os::unix::fs::symlink(&suite.codename, link).unwrap();
            }
        }
        let components: Vec<_> = suite.components.iter().map(|(name, _)| name.as_str()).collect();
        format!(
            "Origin: Test\nLabel: Test\nSuite: {}\nCodename: {}\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n\
             Acquire-By-Hash: {}\nNo-Support-for-Architecture-all: Packages\n\
             Architectures: all amd64\nComponents: {}\n{}SHA256:\n{listed}",
            suite.suite,
            suite.codename,
            if suite.by_hash { "yes" } else { "no" },
            components.join(" "),
            suite.fields,
        )
    }

    /// Writes a file of the archive.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root().join(path)).unwrap()
    }
}

fn line(bytes: &[u8], path: &str) -> String {
    format!(" {} {:>8} {path}\n", Sha256::of(bytes), bytes.len())
}
