//! Scratch disks: the file system that PID 1 puts on one, held against e2fsck of Debian 12, and the disk in
//! a guest, under Debian's kernel and software emulation.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Once;

use counterfoil::layout;
use counterfoil::vm::Outcome;
use counterfoil::vm::machine::Disk;
use counterfoil_init::ext4::{BLOCK, LEAST, Layout, Owner};
use support::guest::run_to_the_end;
use support::real;
use support::tools::{succeeds, tool};

const OWNER: Owner = Owner { uid: 0x1_2345, gid: 65534 };

/// Puts a file system on a disk that was used before.
fn make(path: &Path, blocks: u64) {
    let file = File::create(path).unwrap();
    file.set_len(blocks * BLOCK as u64).unwrap();
    let layout = Layout::new(blocks).unwrap();
    let mut block = [0; BLOCK];
    for at in layout.written() {
        // What stands behind what is written must not be read.
        if at + 1 < u32::try_from(blocks).unwrap() {
            file.write_all_at(&[0xa5; BLOCK], u64::from(at + 1) * BLOCK as u64).unwrap();
        }
        layout.fill(at, &[7; 16], OWNER, &mut block);
        file.write_all_at(&block, u64::from(at) * BLOCK as u64).unwrap();
    }
}

/// Sizes around the end of a group, and groups with and without copies of the superblock.
#[test]
fn e2fsck_finds_nothing_to_mend() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    let group = 8 * BLOCK as u64;
    for blocks in [
        LEAST,
        5000,
        group - 1,
        group,
        group + 1,
        group + 99,
        group + 100,
        2 * group + 98,
        10 * group + 4711,
        // Two blocks of descriptors.
        129 * group,
    ] {
        make(&disk, blocks);
        let said = succeeds(tool("e2fsck").args(["-f", "-n"]).arg(&disk));
        assert!(said.contains("11/") || said.contains("10/"), "{said}");
        let said = succeeds(tool("debugfs").args(["-R", "stat /"]).arg(&disk));
        for expected in ["Mode:  0700", "User: 74565", "Group: 65534", "Links: 2", "directory"] {
            assert!(said.contains(expected), "{blocks}: `{expected}` is not in: {said}");
        }
        fs::remove_file(&disk).unwrap();
    }
}

/// What is written here must not be found on the disk.
const SECRET: &str = "counterfoil-scratch-secret";

const MANIFEST: &str = r#"
version: 1
name: scratch
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  tools: {deb: {suite: trixie, packages: [busybox-static]}}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml}
cmdline: console=ttyS0 panic=-1
files:
  - {path: /usr/bin/busybox, from: tools}
scratch:
  work: {mount: /srv/work}
init:
  exec:
    - /usr/bin/busybox
    - sh
    - -c
    - |-
      PROGRAM
  user: "1000:1001"
  output: console
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
"#;

/// Says what is there, fills 20 MiB with the secret, and reads them back past the page cache.
const PROGRAM: &str = "b=/usr/bin/busybox; $b echo before: $($b ls -A /srv/work) end; $b id; \
     $b ls -ldn /srv/work; $b grep /srv/work /proc/mounts; cd /srv/work || exit 1; \
     $b yes SECRET | $b head -c 20971520 > data; $b sync; $b sha256sum data; $b df -k .";

fn start(disk: Vec<Disk>) -> (Outcome, String) {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        let manifest = MANIFEST.replace("PROGRAM", &PROGRAM.replace("SECRET", SECRET));
        fs::write(real::manifests().join("manifests/scratch.yaml"), manifest).unwrap();
    });
    let release = real::release("scratch");
    run_to_the_end(&release, &release.join(layout::INITRD), disk)
}

fn disk(file: &Path) -> Vec<Disk> {
    vec![Disk { serial: "work".to_owned(), file: file.to_owned(), writable: true }]
}

#[test]
fn a_guest_writes_what_nobody_else_reads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    File::create(&file).unwrap().set_len(200 << 20).unwrap();
    let (outcome, said) = start(disk(&file));
    assert_eq!(outcome, Outcome::PoweredOff, "{said}");
    for expected in [
        "scratch `work` at /srv/work, encrypted with a key of this boot",
        "before: end",
        "uid=1000 gid=1001",
        "drwx------    2 1000     1001",
        "/srv/work ext4 rw,nosuid,nodev,noexec",
        "  data",
        "/srv/work\r\n",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in: {said}");
    }
    let first = fs::read(&file).unwrap();
    let written = first.chunks(4096).filter(|block| block.iter().any(|byte| *byte != 0)).count();
    assert!(written * 4096 > 20 << 20, "the guest wrote {written} blocks");
    let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(!holds(&first, SECRET.as_bytes()));
    // Nor what a file system begins with: 0xef53 in the superblock.
    assert_ne!(&first[0x438..0x43a], [0x53, 0xef]);

    // Another start has another key, and finds nothing of the first.
    let (outcome, said) = start(disk(&file));
    assert_eq!(outcome, Outcome::PoweredOff, "{said}");
    assert!(said.contains("before: end"), "{said}");
    let second = fs::read(&file).unwrap();
    let same = first
        .chunks(4096)
        .zip(second.chunks(4096))
        .filter(|(one, two)| one == two && one.iter().any(|byte| *byte != 0));
    // Only what the second start has not written.
    assert!(same.count() < written / 2, "the same key twice");
}

#[test]
fn no_scratch_disk_is_missed() {
    let (outcome, said) = start(Vec::new());
    assert_eq!(outcome, Outcome::Reset, "{said}");
    assert!(said.contains("scratch `work`: no disk has this serial number"), "{said}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    File::create(&file).unwrap().set_len(64 << 10).unwrap();
    let (outcome, said) = start(disk(&file));
    assert_eq!(outcome, Outcome::Reset, "{said}");
    assert!(
        said.contains("scratch `work`: its disk has 65536 bytes, and 409600 are needed"),
        "{said}"
    );
}
