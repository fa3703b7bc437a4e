//! Volumes in a guest: the example serves its model from one, and whatever is not the volume that the
//! command line names stops the guest. Real firmware, kernel, server and QEMU, under software emulation.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use counterfoil::digest::Sha256;
use counterfoil::layout;
use counterfoil::release::open::Release;
use counterfoil::vm::machine::{Disk, Image};
use counterfoil::vm::{Machine, Mode, Outcome, Watch};
use support::guest::{ANSWER, PROMPT, booted, post, run_to_the_end};
use support::many_files::twenty_thousand;
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
        Self::of(&release(), disks)
    }

    fn of(root: &Path, disks: &[(&str, &[u8])]) -> Self {
        let record = Release::open(root).unwrap().record;
        let directory = tempfile::tempdir().unwrap();
        let files = disks.iter().enumerate().map(|(index, (serial, bytes))| {
            let path = directory.path().join(format!("disk{index}"));
            fs::write(&path, bytes).unwrap();
            Disk { serial: (*serial).to_owned(), file: path, writable: false }
        });
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let (at, table) = record.hash_table().unwrap().unwrap();
        let machine = Machine {
            mode: Mode::Emulated { hash_table: Some((at, table.to_vec())) },
            image: Image::Direct(booted(root)),
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
    fn answers(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert_eq!(self.watch.step(&mut io::sink()).unwrap(), None, "{}", self.watch.console());
            assert!(Instant::now() < deadline, "no answer: {}", self.watch.console());
            if let Some(answer) = post(self.port, "/v1/completions", PROMPT)
                && answer.starts_with("HTTP/1.1 200")
            {
                assert!(answer.contains(ANSWER), "{answer}");
                self.watch.step(&mut io::sink()).unwrap();
                return self.watch.console();
            }
        }
    }

    /// As [`Guest::answers`], and what the console said until then.
    #[track_caller]
    fn serves(self, words: &[&str]) {
        let said = self.answers();
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
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

/// The model on a volume made before, whose record is all that the image is built from.
struct Before {
    release: PathBuf,
    volume: Vec<u8>,
}

/// Builds `name` from the example's manifest, with `volume` in the place of what it says of its volume.
fn release_with(name: &str, input: &str, volume: &str) -> PathBuf {
    let manifests = real::manifests().join("manifests");
    let manifest = fs::read_to_string(manifests.join("llama-volume.yaml")).unwrap();
    let (inputs, files) = (
        "  model:\n    file: models/tiny.gguf\n",
        "    files:\n      - path: /model.gguf\n        from: model\n",
    );
    assert!(manifest.contains(inputs) && manifest.contains(files));
    let manifest = manifest
        .replace("name: llama-volume", &format!("name: {name}"))
        .replace(inputs, input)
        .replace(files, volume);
    fs::write(manifests.join(format!("{name}.yaml")), manifest).unwrap();
    real::release(name)
}

fn committed() -> Before {
    let manifests = real::manifests().join("manifests");
    let image = manifests.join("closed/model.img");
    let named = manifests.join("closed/model.gguf");
    fs::create_dir_all(named.parent().unwrap()).unwrap();
    fs::copy(manifests.join("models/tiny.gguf"), &named).unwrap();
    let build = ["volume", "build", "closed/model.gguf", "--committed", "-o", "closed/model.img"];
    let ran = real::run(&manifests, &build);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let volume = fs::read(&image).unwrap();
    // Whoever builds the image has the record, and neither model nor volume.
    fs::remove_file(&named).unwrap();
    fs::rename(&image, manifests.join("closed/moved")).unwrap();
    let release = release_with(
        "llama-committed",
        "  model:\n    file: closed/model.json\n",
        "    disclosure: committed\n    record: model\n",
    );
    Before { release, volume }
}

const READER: &str = r#"
version: 1
name: reader
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  tools: {deb: {suite: trixie, packages: [busybox-static]}}
  many: {file: many/many.json}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml}
cmdline: console=ttyS0 panic=-1
files:
  - {path: /usr/bin/busybox, from: tools}
volumes:
  many: {mount: /srv/many, record: many}
init:
  exec:
    - /usr/bin/busybox
    - sh
    - -c
    - |-
      b=/usr/bin/busybox; cd /srv/many; $b echo contents $($b find . -type f | $b sort | $b xargs $b sha256sum | $b sha256sum); $b echo attributes $($b find . -mindepth 1 | $b sort | $b xargs $b stat -c '%f %u %g %N' | $b sha256sum)
  output: console
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
"#;

/// What the guest's program prints of a tree, computed here.
fn as_read(root: &Path) -> [String; 2] {
    let mut paths: Vec<_> =
        walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap).collect();
    let relative = |path: &Path| format!("./{}", path.strip_prefix(root).unwrap().display());
    paths.sort_by_key(|entry| relative(entry.path()));
    let (mut contents, mut attributes) = (String::new(), String::new());
    for entry in paths {
        let (path, kind) = (relative(entry.path()), entry.file_type());
        let mut named = path.clone();
        let mode = if kind.is_file() {
            let digest = Sha256::of(fs::read(entry.path()).unwrap());
            writeln!(contents, "{digest}  {path}").unwrap();
            entry.metadata().unwrap().mode()
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            named = format!("'{path}' -> '{}'", target.display());
            0o120_777
        } else {
            0o040_755
        };
        writeln!(attributes, "{mode:x} 0 0 {named}").unwrap();
    }
    [
        format!("contents {} -", Sha256::of(contents)),
        format!("attributes {} -", Sha256::of(attributes)),
    ]
}

/// Every byte, mode, owner and link of 20 000 files, as the kernel has them.
#[test]
fn a_guest_reads_all_of_many_files() {
    let manifests = real::manifests().join("manifests");
    let tree = manifests.join("many/tree");
    twenty_thousand(&tree);
    let ran = real::run(&manifests, &["volume", "build", "many/tree", "-o", "many/many.img"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    fs::write(manifests.join("reader.yaml"), READER).unwrap();
    let release = real::release("reader");
    let file = manifests.join("many/many.img");
    let disk = Disk { serial: "many".to_owned(), file, writable: false };
    let (outcome, said) = run_to_the_end(&release, &release.join(layout::INITRD), vec![disk]);
    assert_eq!(outcome, Outcome::PoweredOff, "{said}");
    for expected in as_read(&tree) {
        assert!(said.contains(&expected), "`{expected}` is not in: {said}");
    }
}

/// Weights that the record does not tell: served, and bound to the last bit of their salt.
#[test]
fn a_committed_volume_serves_and_is_bound() {
    let Before { release, volume } = committed();
    let record = fs::read_to_string(release.join(layout::RECORD)).unwrap();
    assert!(record.contains("\"disclosure\": \"committed\""), "{record}");
    assert!(record.contains(",disk,panic"), "{record}");
    let threats = fs::read_to_string(release.join(layout::THREAT_MODEL)).unwrap();
    assert!(threats.contains("salted with a secret"), "{threats}");
    // Neither the salt nor a digest of the model is anywhere in the release.
    let model = fs::read(real::manifests().join("manifests/models/tiny.gguf")).unwrap();
    let digest = Sha256::of(model).to_string();
    let salt = &volume[volume.len() - 4096..][..32];
    let hex: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    for entry in walkdir::WalkDir::new(&release).into_iter().map(Result::unwrap) {
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            for secret in [salt, hex.as_bytes(), digest.as_bytes()] {
                let found = bytes.windows(secret.len()).any(|part| part == secret);
                assert!(!found, "{}", entry.path().display());
            }
        }
    }
    Guest::of(&release, &[("model", &volume)]).answers();
    let panics = ["device-mapper: verity", "Kernel panic"];
    for at in [volume.len() - 4096, volume.len() / 2] {
        let mut changed = volume.clone();
        changed[at] ^= 1;
        Guest::of(&release, &[("model", &changed)]).panics(&panics);
    }
    let short = &volume[..volume.len() - 4096];
    Guest::of(&release, &[("model", short)]).panics(&["its disk has", "are needed"]);
}

/// Asked for by name, and said wherever anybody looks.
#[test]
fn an_unverified_volume_is_said_loudly() {
    let release = release_with("llama-unverified", "", "    disclosure: none\n");
    let path = release.to_str().unwrap();
    for file in [layout::RECORD, layout::THREAT_MODEL, layout::INVENTORY, layout::CMDLINE] {
        let text = fs::read_to_string(release.join(file)).unwrap();
        assert!(text.contains("unverified"), "{file}: {text}");
    }
    let threats = fs::read_to_string(release.join(layout::THREAT_MODEL)).unwrap();
    assert!(
        threats.contains("## WARNING") && threats.contains("nothing checks the volume `model`")
    );
    let said = "NOTHING CHECKS these volumes: model";
    let build = ["build", "manifests/llama-unverified.yaml", "--output", "again"];
    for arguments in
        [&build[..], &["measure", path], &["run", path, "--print", "--volume", "model=/dev/null"]]
    {
        let ran = real::run(&real::manifests(), arguments);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    let ran = real::run(&real::manifests(), &["measure", path, "--format", "json"]);
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
    let ran = real::run(&real::manifests(), &["run", path, "--print"]);
    ran.is_refusal(20, &["the data of volume `model` are not at", "`--volume model=FILE`"]);
    // It serves what the host says, whatever that is.
    Guest::of(&release, &[("model", &volume())])
        .serves(&["volume `model` at /models: NOT VERIFIED, the host chooses what is in it"]);
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
