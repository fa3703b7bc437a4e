//! A directory of one's own to run the program in: manifest, store and home below it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::repository::Repository;

pub struct Place {
    directory: TempDir,
    mirror: Option<(String, PathBuf)>,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), mirror: None }
    }

    /// Packages come from this repository.
    pub fn with(repository: &Repository) -> Self {
        Self::with_mirror(&repository.uri(), &repository.keyring())
    }

    pub fn with_mirror(uri: &str, keyring: &Path) -> Self {
        Self { mirror: Some((uri.to_owned(), keyring.to_owned())), ..Self::new() }
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("HOME", self.root())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        if let Some((uri, keyring)) = &self.mirror
            && matches!(arguments.first(), Some(&("lock" | "build" | "run")))
        {
            command.args(["--mirror", uri, "--keyring"]).arg(keyring);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Runs the program, which must say no with this exit code and all of these words, in one
    /// `error:`, and leave nothing half-written.
    #[track_caller]
    pub fn refuses(&self, arguments: &[&str], code: i32, words: &[&str]) -> Ran {
        let ran = self.run(arguments);
        ran.is_refusal(code, words);
        self.is_clean();
        ran
    }

    #[track_caller]
    pub fn succeeds(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        ran
    }

    /// No temporary file of ours is left, and no release without all of its files.
    #[track_caller]
    pub fn is_clean(&self) {
        for entry in walkdir::WalkDir::new(self.root()).min_depth(1) {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let in_tmp = entry.path().parent().is_some_and(|parent| parent.ends_with("tmp"));
            assert!(
                !in_tmp && !name.starts_with(".counterfoil-"),
                "left: {}",
                entry.path().display()
            );
            if name == "image" {
                let release = entry.path().parent().unwrap();
                assert!(release.join("launch.json").is_file(), "half: {}", release.display());
            }
        }
    }
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    #[track_caller]
    pub fn is_refusal(&self, code: i32, words: &[&str]) {
        let Self { stderr, .. } = self;
        assert_eq!(self.code, code, "{stderr}");
        assert_eq!(stderr.matches("error:").count(), 1, "one error is said once: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "`{word}` is not in: {stderr}");
        }
        assert!(self.stdout.is_empty(), "{}", self.stdout);
    }
}

/// Copies a directory and all that is in it.
pub fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(place).unwrap(),
            false => drop(fs::copy(entry.path(), place).unwrap()),
        }
    }
}
