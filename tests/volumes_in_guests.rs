//! Volumes in a guest: the example serves its model from one, and whatever is not the volume that the
//! command line names stops the guest. Real firmware, kernel, server and QEMU, under software emulation.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use counterfoil::release::layout;
use counterfoil::release::open::Release;
use counterfoil::vm::machine::Image;
use counterfoil::vm::{Machine, Mode, Outcome, Watch};
use support::guest::{ANSWER, PROMPT, booted, post};
use support::real;

/// No verdict on a slow machine before this is a failure.
const PATIENCE: Duration = Duration::from_secs(180);

fn release() -> PathBuf {
    real::release("llama-volume")
}

fn volume() -> Vec<u8> {
    fs::read(release().join(layout::volume(&"model".parse().unwrap()))).unwrap()
}

/// What of the volume is data; the tree follows.
fn data_size() -> usize {
    let record = Release::open(&release()).unwrap().record;
    let cmdline = record.boot.unwrap().cmdline;
    let (_, word) = cmdline.split_once("counterfoil.volume.model=").unwrap();
    word.split(',').next().unwrap().parse::<usize>().unwrap() * 4096
}

/// The guest with these disks, each with its serial number. Nothing that is measured changes.
struct Guest {
    watch: Watch,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Guest {
    fn start(disks: &[(&str, &[u8])]) -> Self {
        let root = release();
        let record = Release::open(&root).unwrap().record;
        let directory = tempfile::tempdir().unwrap();
        let files = disks.iter().enumerate().map(|(index, (serial, bytes))| {
            let path = directory.path().join(format!("disk{index}"));
            fs::write(&path, bytes).unwrap();
            ((*serial).to_owned(), path)
        });
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let (at, table) = record.hash_table().unwrap().unwrap();
        let machine = Machine {
            mode: Mode::Emulated { hash_table: Some((at, table.to_vec())) },
            image: Image::Direct(booted(&root)),
            cpu: "EPYC-v4".to_owned(),
            vcpus: 1,
            memory: 512,
            ports: vec![(port, 8080)],
            disks: files.collect(),
        };
        let own = directory.path().join("machine");
        fs::create_dir(&own).unwrap();
        let watch = Watch::start(&real::qemu(), &machine, &own).unwrap();
        Self { watch, port, _directory: directory }
    }

    #[track_caller]
    fn answers(mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert_eq!(self.watch.step(&mut io::sink()).unwrap(), None, "{}", self.watch.console());
            assert!(Instant::now() < deadline, "no answer: {}", self.watch.console());
            if let Some(answer) = post(self.port, "/v1/completions", PROMPT)
                && answer.starts_with("HTTP/1.1 200")
            {
                assert!(answer.contains(ANSWER), "{answer}");
                return;
            }
        }
    }

    /// The kernel panics, and has said all of these words.
    #[track_caller]
    fn panics(mut self, words: &[&str]) {
        let end = Some(Instant::now() + PATIENCE);
        let outcome = self.watch.wait(|| false, end, &mut io::sink()).unwrap();
        let said = self.watch.console();
        assert_eq!(outcome, Outcome::Reset, "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }
}

#[test]
fn the_example_serves_from_its_volume() {
    Guest::start(&[("other", &[0; 4096]), ("model", &volume())]).answers();
}

/// One bit anywhere: the superblock, the inodes, the model, the tree.
#[test]
fn one_flipped_bit_is_the_end() {
    let (whole, data) = (volume(), data_size());
    for at in [1024, 4096, data / 2, data - 4096, data, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        Guest::start(&[("model", &changed)]).panics(&["device-mapper: verity", "Kernel panic"]);
    }
}

/// Another volume that is right by itself, of the same size.
#[test]
fn another_volume_is_not_this_one() {
    let directory = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/models/tiny.gguf");
    let mut bytes = fs::read(model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(directory.path().join("model.gguf"), bytes).unwrap();
    let ran =
        real::run(directory.path(), &["volume", "build", "model.gguf", "--output", "other.img"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let other = fs::read(directory.path().join("other.img")).unwrap();
    assert_eq!(other.len(), volume().len());
    Guest::start(&[("model", &other)]).panics(&["device-mapper: verity", "Kernel panic"]);
}

#[test]
fn a_disk_that_is_too_short_is_refused() {
    let whole = volume();
    let short = &whole[..whole.len() - 4096];
    Guest::start(&[("model", short)]).panics(&[
        "volume `model`: its disk has",
        "are needed",
        "Kernel panic",
    ]);
}

#[test]
fn a_disk_that_is_not_there_is_missed() {
    Guest::start(&[("models", &volume())])
        .panics(&["volume `model`: no disk has this serial number", "Kernel panic"]);
}

#[test]
fn two_disks_of_one_name_are_one_too_many() {
    Guest::start(&[("model", &volume()), ("model", &volume())])
        .panics(&["volume `model`: two disks have this serial number", "Kernel panic"]);
}
