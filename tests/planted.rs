//! Differences planted one at a time, in a manifest, an input or an artifact: the first line of `diff` or
//! `reproduce` must name each by its class and its place. The test prints a table of all.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Once;

use support::many_files::noise;
use support::place::{self, Ran};
use support::real;

const MANIFEST: &str = r#"
version: 1
name: planted
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  hello: {builtin: hello}
  zlib: {deb: {suite: trixie, packages: [zlib1g]}}
  model: {file: planted/model.bin}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml}
cmdline: console=ttyS0 panic=-1
files:
  - {path: /usr/bin/hello, from: hello, mode: "0755"}
  - {path: /usr/lib/x86_64-linux-gnu/libz.so.1, from: zlib}
  - {path: /etc/motd, text: "one\ntwo\n", mode: "0644"}
  - {path: /srv/current, symlink: v2}
  - {path: /srv/empty, directory: true}
volumes:
  model:
    mount: /models
    files:
      - {path: /model.bin, from: model}
      - {path: /README, text: "weights\n", mode: "0644"}
init:
  exec: [/usr/bin/hello, "8080"]
  output: console
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
run: {memory: 512}
"#;

/// What is expected of a first line: the class, and words.
type Expected<'a> = (&'a str, &'a [&'a str]);

struct Table {
    base: PathBuf,
    rows: Vec<(String, String)>,
}

impl Table {
    fn new() -> Self {
        static WRITTEN: Once = Once::new();
        WRITTEN.call_once(|| {
            let manifests = real::manifests().join("manifests");
            fs::create_dir_all(manifests.join("planted")).unwrap();
            fs::write(manifests.join("planted/model.bin"), noise(3, 1 << 20)).unwrap();
            fs::write(manifests.join("planted.yaml"), MANIFEST).unwrap();
        });
        Self { base: real::release("planted"), rows: Vec::new() }
    }

    /// Past the capturing of the test harness, so that the table of a test that passes is seen.
    fn print(&self, least: usize) {
        assert!(self.rows.len() >= least, "{}", self.rows.len());
        let width = self.rows.iter().map(|(what, _)| what.len()).max().unwrap();
        let mut text =
            format!("{} planted differences, and the first line about each:\n", self.rows.len());
        for (what, first) in &self.rows {
            let shown: String = first.chars().take(160).collect();
            text += &format!("  {what:width$}  {shown}\n");
        }
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }

    /// Notes the first line, which must name the cause.
    #[track_caller]
    fn names(&mut self, what: &str, ran: &Ran, (class, words): Expected<'_>) {
        assert_eq!(ran.code, 10, "{what}: {}{}", ran.stdout, ran.stderr);
        let first = ran.stdout.lines().next().unwrap_or_default().to_owned();
        assert!(first.starts_with(&format!("[{class}]")), "{what}: {}", ran.stdout);
        for word in words {
            assert!(first.contains(word), "{what}: `{word}` is not in: {first}");
        }
        self.rows.push((what.to_owned(), first));
    }

    /// Another image, of a manifest in which one thing was changed.
    #[track_caller]
    fn built(&mut self, what: &str, from: &str, to: &str, expected: Expected<'_>) {
        self.built_with(what, &[(from, to)], expected);
    }

    #[track_caller]
    fn built_with(&mut self, what: &str, changes: &[(&str, &str)], expected: Expected<'_>) {
        let name = format!("planted-{}", self.rows.len());
        let mut text = MANIFEST.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        fs::write(real::manifests().join(format!("manifests/{name}.yaml")), text).unwrap();
        let other = {
            let manifest = format!("manifests/{name}.yaml");
            // Only what changed is resolved anew.
            let locks = real::manifests().join("manifests");
            fs::copy(locks.join("planted.lock.yaml"), locks.join(format!("{name}.lock.yaml")))
                .unwrap();
            let ran = real::run(&real::manifests(), &["lock", &manifest]);
            assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
            let ran = real::run(&real::manifests(), &["build", &manifest, "--output", &name]);
            assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
            real::manifests().join(name)
        };
        let ran = real::run(&self.base, &["diff", ".", other.to_str().unwrap()]);
        self.names(what, &ran, expected);
    }

    /// A copy of the release in which one file was changed.
    #[track_caller]
    fn changed(
        &mut self,
        what: &str,
        file: &str,
        change: impl FnOnce(Vec<u8>) -> Vec<u8>,
        expected: Expected<'_>,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("release");
        place::copy(&self.base, &copy);
        let path = copy.join(file);
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        let release = copy.to_str().unwrap();
        let ran = real::run(&self.base, &["reproduce", release, "--offline"]);
        let verdict = fs::read_to_string(copy.join("rebuilds/unnamed.json")).unwrap();
        assert!(verdict.contains("\"verdict\": \"differs\""), "{what}: {verdict}");
        self.names(what, &ran, expected);
    }
}

/// Another byte at a place.
fn flipped(at: impl Fn(&[u8]) -> usize) -> impl FnOnce(Vec<u8>) -> Vec<u8> {
    move |mut bytes| {
        let at = at(&bytes);
        bytes[at] ^= 0x40;
        bytes
    }
}

fn replaced(from: &'static str, to: &'static str) -> impl FnOnce(Vec<u8>) -> Vec<u8> {
    move |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    }
}

/// Where the header of the member of this name is in a cpio archive.
fn member(archive: &[u8], name: &str) -> usize {
    let name = format!("{name}\0");
    let places = (110..archive.len() - name.len()).map(|at| at - 110);
    let mut found = places.filter(|at| {
        archive[at + 110..].starts_with(name.as_bytes()) && archive[*at..].starts_with(b"070701")
    });
    found.next().unwrap()
}

/// Another value in a field of a member, by its number.
fn field(name: &'static str, number: usize, value: u32) -> impl FnOnce(Vec<u8>) -> Vec<u8> {
    move |mut archive| {
        let at = member(&archive, name) + 6 + 8 * number;
        archive[at..at + 8].copy_from_slice(format!("{value:08x}").as_bytes());
        archive
    }
}

/// The first data block of the volume's model, which is noise and stands in whole blocks.
fn weights(image: &[u8]) -> usize {
    let start = &noise(3, 4096)[..];
    image.windows(4096).step_by(4096).position(|block| block == start).unwrap() * 4096
}

fn blocks(image: &[u8]) -> usize {
    // `blocks_lo` of the superblock.
    u32::from_le_bytes(image[1024 + 36..1024 + 40].try_into().unwrap()) as usize * 4096
}

const INITRD: &str = "image/initrd";
const VOLUME: &str = "image/volumes/model.img";
const RECORD: &str = "launch.json";

#[test]
fn in_a_manifest_or_an_input() {
    let table = &mut Table::new();
    images(table);
    table.print(21);
}

#[test]
fn in_an_initrd() {
    let table = &mut Table::new();
    initrds(table);
    table.print(11);
}

#[test]
fn in_another_file_of_a_release() {
    let table = &mut Table::new();
    others(table);
    table.print(13);
}

#[test]
fn nothing_planted_is_nothing_found() {
    let base = &Table::new().base;
    let path = base.to_str().unwrap();
    let ran = real::run(base, &["diff", ".", path]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "the same\n"));
    let ran = real::run(base, &["reproduce", path, "--offline", "--no-verdict"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Something else in the manifest, or in what it names.
fn images(table: &mut Table) {
    let motd = r#"{path: /etc/motd, text: "one\ntwo\n", mode: "0644"}"#;
    let with = |end: &str| motd.replace(r#", mode: "0644"}"#, end);

    table.built(
        "a mode in the manifest",
        motd,
        &with(r#", mode: "0744"}"#),
        ("mode", &[INITRD, "etc/motd", "0644 → 0744"]),
    );
    table.built(
        "a mode with the group's write bit",
        motd,
        &with(r#", mode: "0664"}"#),
        ("umask", &["etc/motd", "0644 → 0664"]),
    );
    table.built(
        "an owner",
        motd,
        &with(r#", mode: "0644", owner: "1000:1000"}"#),
        ("owner", &["etc/motd", "0:0 → 1000:1000"]),
    );
    table.built(
        "a line of a text",
        r"one\ntwo\n",
        r"one\n2\n",
        ("content", &["etc/motd", "line 2: `two` → `2`", "manifest"]),
    );
    table.built(
        "where a link leads",
        "symlink: v2",
        "symlink: v3",
        ("link", &["srv/current", "`v2` → `v3`"]),
    );
    table.built(
        "one directory more",
        "  - {path: /srv/empty, directory: true}",
        "  - {path: /srv/empty, directory: true}\n  - {path: /srv/more, directory: true}",
        ("added", &["srv/more"]),
    );
    table.built("one file less", &format!("  - {motd}\n"), "", ("removed", &["etc/motd"]));
    table.built(
        "one word more on the command line",
        "panic=-1",
        "panic=-1 quiet",
        ("cmdline", &["`quiet`", "not in the first"]),
    );
    table.built(
        "another value on the command line",
        "panic=-1",
        "panic=5",
        ("cmdline", &["`panic=-1` → `panic=5`"]),
    );
    table.built(
        "words in another order",
        "console=ttyS0 panic=-1",
        "panic=-1 console=ttyS0",
        ("ordering", &["image/cmdline"]),
    );
    table.built("another number of vCPUs", "vcpus: [1]", "vcpus: [2]", ("vcpus", &["1 → 2"]));
    table.built(
        "another CPU model",
        "[EPYC-v4]",
        "[EPYC-Milan]",
        ("cpu-model", &["EPYC-v4 → EPYC-Milan"]),
    );
    table.built(
        "other features",
        "cpus: [EPYC-v4]",
        "cpus: [EPYC-v4], features: [0x21]",
        ("sev-features", &["0x1 → 0x21"]),
    );
    table.built(
        "another policy",
        "cpus: [EPYC-v4]",
        "cpus: [EPYC-v4], policy: 0xb0000",
        ("policy", &["0x30000 → 0xb0000"]),
    );
    table.built(
        "another hypervisor",
        "profile: qemu",
        "profile: qemu-legacy",
        ("vmm-profile", &["qemu → qemu-legacy"]),
    );
    table.built(
        "another version of a library",
        "zlib: {deb: {suite: trixie",
        "zlib: {deb: {suite: sid",
        ("package-version", &["libz.so.1", "package zlib1g 1", "→ 1", "`zlib/zlib1g`"]),
    );
    table.built(
        "another argument of the program",
        "\"8080\"]",
        "\"8081\"]",
        ("content", &["etc/counterfoil/plan", "`arg 8080` → `arg 8081`"]),
    );
    table.built(
        "a file of the volume",
        r#"text: "weights\n", mode: "0644""#,
        r#"text: "weights\n", mode: "0755""#,
        ("mode", &[VOLUME, "/README", "0644 → 0755"]),
    );
    table.built(
        "what only `run` reads",
        "memory: 512",
        "memory: 513",
        ("document", &["manifest.yaml", "memory: 512"]),
    );
    let firmware = fs::read(table.base.join("image/firmware.fd")).unwrap();
    let manifests = real::manifests().join("manifests/planted");
    fs::write(manifests.join("firmware.fd"), flipped(|_| 0x8_0000)(firmware)).unwrap();
    table.built_with(
        "another firmware",
        &[
            (
                "firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}",
                "firmware: {file: planted/firmware.fd}",
            ),
            (", path: /usr/share/ovmf/OVMF.amdsev.fd", ""),
        ],
        ("input", &["image/firmware.fd", "another input `firmware`"]),
    );
    let mut model = noise(3, 1 << 20);
    model[700_000] ^= 1;
    fs::write(manifests.join("other.bin"), model).unwrap();
    table.built(
        "one bit of the weights",
        "planted/model.bin",
        "planted/other.bin",
        ("input", &[VOLUME, "/model.bin", "another input `model`", "byte 700000"]),
    );
}

/// One thing else in the initrd, as another tool or another machine would have it.
fn initrds(table: &mut Table) {
    table.changed(
        "an initrd that is cut off",
        INITRD,
        |mut archive| {
            archive.truncate(archive.len() / 2);
            archive
        },
        ("content", &[INITRD, "is damaged", "ends at byte"]),
    );
    table.changed(
        "an initrd that is a bomb",
        INITRD,
        |archive| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            // A header that begins an archive, and then a long nothing.
            packer.write_all(&archive[..4096]).unwrap();
            let zeroes = vec![0; 1 << 20];
            (0..200).for_each(|_| packer.write_all(&zeroes).unwrap());
            packer.finish().unwrap()
        },
        ("content", &[INITRD, "is damaged", "unpacks to more than"]),
    );
    table.changed(
        "a mode in the initrd",
        INITRD,
        field("etc/motd", 1, 0o100_640),
        ("mode", &["etc/motd", "0640 → 0644"]),
    );
    table.changed(
        "a time in the initrd",
        INITRD,
        field("etc/motd", 5, 1_700_000_000),
        ("timestamp", &["etc/motd", "1700000000"]),
    );
    table.changed(
        "an owner in the initrd",
        INITRD,
        field("etc/motd", 2, 1000),
        ("owner", &["etc/motd", "1000:0"]),
    );
    table.changed(
        "an inode number",
        INITRD,
        field("etc/motd", 0, 77_777),
        ("inode-numbers", &["etc/motd"]),
    );
    table.changed(
        "a number of links",
        INITRD,
        field("etc/motd", 4, 2),
        ("hard-links", &["etc/motd"]),
    );
    table.changed(
        "a byte of a file in the initrd",
        INITRD,
        |mut archive| {
            let at = member(&archive, "etc/motd") + 110;
            let at = at + archive[at..].iter().position(|byte| *byte == b'w').unwrap();
            archive[at] = b'W';
            archive
        },
        ("content", &["etc/motd", "line 2"]),
    );
    table.changed(
        "bytes behind the initrd",
        INITRD,
        |mut archive| {
            archive.extend([0; 512]);
            archive
        },
        ("padding", &[INITRD]),
    );
    table.changed(
        "a packed initrd",
        INITRD,
        |archive| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&archive).unwrap();
            packer.finish().unwrap()
        },
        ("compressor", &[INITRD, "gzip"]),
    );
    table.changed(
        "members in another order",
        INITRD,
        |archive| {
            // Two empty directories of the same length of name, one for the other.
            let (one, two) = (member(&archive, "proc"), member(&archive, "sys"));
            let end = |at: usize, name: &str| at + (110 + name.len() + 1).next_multiple_of(4);
            let (first, second) = (one..end(one, "proc"), two..end(two, "sys"));
            let mut other = archive[..first.start].to_vec();
            other.extend(&archive[second.clone()]);
            other.extend(&archive[first.end..second.start]);
            other.extend(&archive[first.clone()]);
            other.extend(&archive[second.end..]);
            other
        },
        ("ordering", &[INITRD]),
    );
}

/// One thing else in another file of the release.
fn others(table: &mut Table) {
    table.changed(
        "a byte of the kernel",
        "image/kernel",
        flipped(|bytes| bytes.len() / 2),
        ("content", &["image/kernel", "byte"]),
    );
    table.changed(
        "a kernel without its signature",
        "image/kernel",
        |mut bytes| {
            let at = u32::from_le_bytes(bytes[0x3c..0x40].try_into().unwrap()) as usize;
            // The certificate table is entry 4 of the data directories, 112 bytes into the optional header.
            let entry = at + 24 + 112 + 4 * 8;
            let table = u32::from_le_bytes(bytes[entry..entry + 4].try_into().unwrap()) as usize;
            bytes[entry..entry + 8].fill(0);
            bytes.truncate(table);
            bytes
        },
        ("signature", &["image/kernel", "none → 1472"]),
    );
    table.changed(
        "a byte of the firmware",
        "image/firmware.fd",
        flipped(|_| 0x8_0000),
        ("firmware", &["image/firmware.fd", "0x80000"]),
    );
    table.changed(
        "the file of the command line",
        "image/cmdline",
        replaced("panic=-1", "panic=0"),
        ("cmdline", &["`panic=0` → `panic=-1`"]),
    );
    table.changed(
        "a digest in the record",
        RECORD,
        |bytes| {
            let mut text = String::from_utf8(bytes).unwrap();
            let at = text.rfind("\"digest\": \"").unwrap() + 11;
            let other = if text[at..].starts_with('0') { "1" } else { "0" };
            text.replace_range(at..=at, other);
            text.into_bytes()
        },
        ("record", &[RECORD, "digests[0].digest"]),
    );
    table.changed(
        "a number of vCPUs in the record",
        RECORD,
        replaced("\"vcpus\": [\n    1", "\"vcpus\": [\n    3"),
        ("vcpus", &[RECORD, "3 → 1"]),
    );
    table.changed(
        "a sentence of the record",
        RECORD,
        replaced("the host chooses the devices", "nobody chooses the devices"),
        ("record", &[RECORD, "unmeasured"]),
    );
    table.changed(
        "the UUID of a volume",
        VOLUME,
        flipped(|_| 1024 + 48),
        ("uuid", &[VOLUME, "superblock"]),
    );
    table.changed(
        "the build time of a volume",
        VOLUME,
        flipped(|_| 1024 + 24),
        ("build-time", &[VOLUME]),
    );
    table.changed(
        "a byte of the weights",
        VOLUME,
        flipped(|image| weights(image) + 5),
        ("content", &[VOLUME, "/model.bin", "byte 5"]),
    );
    table.changed(
        "a byte of the hash tree",
        VOLUME,
        flipped(|image| blocks(image) + 40),
        ("hash-tree", &[VOLUME]),
    );
    table.changed(
        "the inventory",
        "inventory.json",
        replaced("etc/motd", "etc/mott"),
        ("document", &["inventory.json"]),
    );
    table.changed(
        "a word of the threat model",
        "THREAT-MODEL.md",
        replaced("adversary", "friend"),
        ("document", &["THREAT-MODEL.md", "line"]),
    );
}
