//! Firmware, kernel and server compiled from source: the same bytes for everyone, the example on them,
//! and what a host can try, each against the packaged firmware and against ours.
//!
//! Compiling takes long, so this runs when it is asked for: `cargo test --test from_source -- --ignored`,
//! some ten minutes on two cores for firmware and kernel, as much again for the server.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use counterfoil::input::store::Store;
use counterfoil::launch::Igvm;
use counterfoil::launch::direct_boot::NamedBlobs;
use counterfoil::launch::findings::State;
use counterfoil::launch::igvm::record::PROFILE;
use counterfoil::launch::record::FirmwareRecord;
use counterfoil::layout;
use counterfoil::manifest::Lock;
use counterfoil::manifest::lock::LockedInput;
use counterfoil::release::check;
use counterfoil::release::inventory::Inventory;
use counterfoil::release::open::Release;
use counterfoil::tree::archive::Archive;
use counterfoil::tree::elf::Needs;
use counterfoil::vm::machine::{Image, Machine, Mode};
use counterfoil::vm::{Outcome, Qemu, Watch};
use support::compiled;
use support::elsewhere::Elsewhere;
use support::guest::{ANSWER, PROMPT, booted, post};
use support::real;

/// What came of a machine.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Its kernel, or what was there in its place, printed the first words of a kernel.
    Started,
    /// It ended before.
    Ended(Outcome),
}

use Fate::{Ended, Started};

const REFUSED: Fate = Ended(Outcome::Refused);

/// What a host tries: QEMU's further arguments, and what it does to the hash table.
struct Attack {
    arguments: Vec<String>,
    table: fn(Vec<u8>) -> Option<Vec<u8>>,
    memory: u32,
}

fn attack(arguments: &[&str], table: fn(Vec<u8>) -> Option<Vec<u8>>) -> Attack {
    let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    Attack { arguments, table, memory: 512 }
}

fn fate(release: &Path, attack: &Attack) -> Fate {
    let (mut watch, _directory, _) = start(release, attack);
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        if watch.has_started() {
            return Started;
        }
        if let Some(outcome) = watch.step(&mut io::sink()).unwrap() {
            return Ended(outcome);
        }
        assert!(Instant::now() < deadline, "no verdict: {}", watch.console());
    }
}

fn start(release: &Path, attack: &Attack) -> (Watch, tempfile::TempDir, u16) {
    let record = Release::open(release).unwrap().record;
    let (at, bytes) = record.hash_table().unwrap().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let machine = Machine {
        mode: Mode::Emulated {
            hash_table: (attack.table)(bytes.to_vec()).map(|table| (at, table)),
        },
        image: Image::Direct(booted(release)),
        cpu: "EPYC-v4".to_owned(),
        vcpus: 1,
        memory: attack.memory,
        ports: vec![(port, 8080)],
        disks: Vec::new(),
    };
    let mut qemu: Qemu = real::qemu();
    qemu.command.extend(attack.arguments.iter().map(Into::into));
    let directory = tempfile::tempdir().unwrap();
    let watch = Watch::start(&qemu, &machine, directory.path()).unwrap();
    (watch, directory, port)
}

/// The three entries of a table: command line, initrd, kernel.
fn entries(table: &[u8]) -> Vec<Vec<u8>> {
    table[18..168].chunks(50).map(<[u8]>::to_vec).collect()
}

fn table(entries: &[&[u8]]) -> Option<Vec<u8>> {
    let body = entries.concat();
    // The GUID of a table (edk2, BlobVerifierSevHashes.c), and its length.
    let mut table = vec![
        0x06, 0xd6, 0x38, 0x94, 0x22, 0x4f, 0xc9, 0x4c, 0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd,
        0x21,
    ];
    table.extend((18 + body.len() as u16).to_le_bytes());
    table.extend(body);
    table.resize(table.len().next_multiple_of(16), 0);
    Some(table)
}

#[test]
#[ignore = "compiles for ten minutes; see the top of this file"]
fn the_example_boots_verifies_and_answers() {
    let release = real::release("llama-hardened");
    let record = Release::open(&release).unwrap().record;
    let found = record.firmware.direct_boot.as_ref().unwrap();
    assert!(matches!(found.named_blobs, NamedBlobs::Refused { .. }), "{found:?}");
    let threats = fs::read_to_string(release.join(layout::THREAT_MODEL)).unwrap();
    for gone in ["has a hole", "WARNING", "build machines |\n| Kernel", "- **kernel-"] {
        assert!(!threats.contains(gone), "`{gone}` is in: {threats}");
    }
    for words in [
        "| Firmware | compiled from source | ",
        "| Kernel | compiled from source | ",
        "**Trust that went away**: for the bytes of firmware and kernel nobody has to trust",
        "- source package `edk2` ",
        "`/0001-refuse-unnamed-blobs.patch`",
        "`gcc-14-x86-64-linux-gnu` ",
        // What was not compiled is still taken on a word.
        "| Input `llama` | packages, as they are | Debian's build machines |",
    ] {
        assert!(threats.contains(words), "`{words}` is not in: {threats}");
    }
    let image = fs::read(release.join(layout::FIRMWARE)).unwrap();
    let (_, findings) = FirmwareRecord::examine(&image).unwrap();
    for code in ["boot-fallback", "option-roms", "s3-resume"] {
        let finding = findings.iter().find(|finding| finding.rule.code == code).unwrap();
        assert!(matches!(finding.state, State::Marked { .. }), "{finding:?}");
        assert!(record.unmeasured.iter().all(|item| item.what != code), "{code}");
    }

    answers(&release);
}

/// The same answer from the server compiled from source, and nothing in the guest beside it.
#[test]
#[ignore = "compiles for twenty minutes; see the top of this file"]
fn the_static_server_boots_verifies_and_answers() {
    let release = real::release("llama-static");
    let inventory = fs::read_to_string(release.join(layout::INVENTORY)).unwrap();
    let inventory: Inventory = serde_json::from_str(&inventory).unwrap();
    let files: Vec<_> = inventory.initrd.iter().filter(|item| item.size.is_some()).collect();
    let paths: Vec<_> = files.iter().map(|item| item.path.as_str()).collect();
    let server = "/usr/bin/llama-server";
    assert_eq!(paths, ["/etc/counterfoil/plan", "/init", "/models/model.gguf", server]);

    let store = Store::open(&real::root().join("store")).unwrap();
    let lock = Lock::read(&release.join(layout::LOCK)).unwrap().unwrap();
    let Some(LockedInput::Build(build)) = lock.inputs.get(&"llama-server".parse().unwrap()) else {
        panic!("the server is compiled")
    };
    let archive = Archive::index(store.need(build.result, "the server").unwrap().held).unwrap();
    let path = "/bin/llama-server".parse().unwrap();
    let bytes = archive.file(&path).unwrap().0.read().unwrap();
    let needs = Needs::of(&path, &bytes).unwrap();
    assert!(needs.interpreter.is_none() && needs.libraries.is_empty(), "{needs:?}");
    assert!(!bytes.windows(7).any(|window| window == b"/build/"), "where it was compiled shows");
    answers(&release);
}

fn answers(release: &Path) {
    let (mut watch, _directory, port) = start(release, &attack(&[], Some));
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        assert_eq!(watch.step(&mut io::sink()).unwrap(), None, "{}", watch.console());
        assert!(Instant::now() < deadline, "no answer: {}", watch.console());
        let Some(answer) = post(port, "/v1/completions", PROMPT) else { continue };
        if answer.starts_with("HTTP/1.1 200") {
            assert!(answer.contains(ANSWER), "{answer}");
            break;
        }
    }
}

#[test]
#[ignore = "compiles for ten minutes; see the top of this file"]
fn the_resolved_configuration_is_the_committed_one() {
    let release = real::release("llama-hardened");
    compiled::is_configured_as(&release, "kernels/minimal/resolved.config");
}

#[test]
#[ignore = "compiles for ten minutes; see the top of this file"]
fn what_is_compiled_is_the_same_elsewhere() {
    compiled::is_the_same_elsewhere("llama-static");
}

/// Firmware and kernel are those that others have compiled before.
#[test]
#[ignore = "compiles for ten minutes; see the top of this file"]
fn what_is_compiled_is_what_it_was() {
    compiled::is_what_it_was("llama-hardened");
}

/// A QEMU that starts from IGVM files: the one that `tests/igvm-qemu.sh` has built, or this machine's.
fn qemu_with_igvm() -> Qemu {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("igvm-qemu/qemu-system-x86_64");
    let paths = [built.as_path(), Path::new("qemu-system-x86_64")];
    let mut qemu = paths
        .into_iter()
        .filter_map(|path| Qemu::at(path).ok())
        .find(Qemu::takes_igvm)
        .expect("no QEMU here starts from IGVM files: build one with tests/igvm-qemu.sh");
    // Firmware and option ROMs of its own it has none.
    let roms = real::qemu().command;
    let roms = roms.windows(2).find(|pair| pair[0] == "-L").map(|pair| pair[1].clone());
    qemu.command.extend(["-L".into(), roms.unwrap_or_else(|| "/usr/share/qemu".into())]);
    qemu
}

/// The file boots, whatever the host offers beside it, and with one byte of it changed it does not.
#[test]
#[ignore = "compiles for ten minutes, and needs tests/igvm-qemu.sh; see the top of this file"]
fn one_igvm_file_and_nothing_of_the_host() {
    let release = real::release("llama-hardened");
    let kernel = release.join(layout::KERNEL).to_str().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other");
    fs::write(&other, b"not an initrd").unwrap();
    let other = other.to_str().unwrap();
    let names = ["kernel", "initrd", "cmdline", "shim", "other"];
    let named =
        names.map(|name| ["-fw_cfg".to_owned(), format!("name=etc/boot/{name},file={other}")]);
    let named = named.concat();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let offers: [&[&str]; 4] = [
        &[],
        &["-kernel", &kernel, "-initrd", other, "-append", "console=ttyS0 rdinit=/no"],
        &["-kernel", &kernel, "-shim", other, "-append", "init=/bin/sh"],
        &named,
    ];
    for offered in offers {
        let file = release.join(layout::IGVM);
        let (mut watch, _directory, port) = start_igvm(&file, offered);
        let mut said = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            assert_eq!(watch.step(&mut said).unwrap(), None, "{}", watch.console());
            assert!(Instant::now() < deadline, "no answer: {}", watch.console());
            let Some(answer) = post(port, "/v1/completions", PROMPT) else { continue };
            if answer.starts_with("HTTP/1.1 200") {
                assert!(answer.contains(ANSWER), "{answer}");
                break;
            }
        }
        let cmdline = Release::open(&release).unwrap().record.boot.unwrap().cmdline;
        // The firmware adds the name of the initrd.
        let measured = format!("ommand line: {cmdline} initrd=initrd");
        // It may have answered before anybody looked at what it says.
        while !String::from_utf8_lossy(&said).contains(&measured) {
            assert_eq!(watch.step(&mut said).unwrap(), None, "{offered:?}");
            assert!(Instant::now() < deadline, "{offered:?}: {}", watch.console());
        }
    }
    // A change that the launch would measure, and the hash table of the file notices already.
    let mut bytes = fs::read(release.join(layout::IGVM)).unwrap();
    let words = b"general.description";
    let at = bytes.windows(words.len()).position(|window| window == words).unwrap();
    bytes[at + words.len() + 12] ^= 1;
    let digest = |bytes: &[u8]| Igvm::parse(bytes.to_vec()).unwrap().digest(PROFILE).unwrap();
    let recorded = Release::open(&release).unwrap().igvm.unwrap().digest;
    assert_eq!(digest(&fs::read(release.join(layout::IGVM)).unwrap()), recorded);
    assert_ne!(digest(&bytes), recorded);
    let changed = directory.path().join("changed.igvm");
    fs::write(&changed, bytes).unwrap();
    let (mut watch, _directory, _) = start_igvm(&changed, &[]);
    let deadline = Instant::now() + Duration::from_secs(180);
    let outcome = loop {
        if let Some(outcome) = watch.step(&mut io::sink()).unwrap() {
            break outcome;
        }
        assert!(!watch.has_started() && Instant::now() < deadline, "{}", watch.console());
    };
    assert_eq!(outcome, Outcome::Refused);
}

fn start_igvm(file: &Path, offered: &[&str]) -> (Watch, tempfile::TempDir, u16) {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let machine = Machine {
        mode: Mode::Emulated { hash_table: None },
        image: Image::Igvm(file.to_owned()),
        cpu: "EPYC-v4".to_owned(),
        vcpus: 2,
        memory: 1024,
        ports: vec![(port, 8080)],
        disks: Vec::new(),
    };
    let mut qemu = qemu_with_igvm();
    qemu.command.extend(offered.iter().map(Into::into));
    let directory = tempfile::tempdir().unwrap();
    let watch = Watch::start(&qemu, &machine, directory.path()).unwrap();
    (watch, directory, port)
}

/// Compiled again on another Debian: every file that the program meets there, from the C library on, is
/// that suite's, and so are the shell and the tools in its path. Also varied are user, directory, host
/// name, umask, time zone and locale. The kernel and the clock are this machine's: see the test above.
#[test]
#[ignore = "compiles for ten minutes; see the top of this file"]
fn what_is_compiled_is_the_same_on_another_debian() {
    let release = real::release("llama-hardened");
    let lock = Lock::read(&release.join(layout::LOCK)).unwrap().unwrap();
    let elsewhere = Elsewhere::new();
    let work = elsewhere.work();
    for name in [layout::MANIFEST, layout::LOCK] {
        fs::copy(release.join(name), work.join(name)).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_counterfoil"), work.join("counterfoil")).unwrap();
    let (here, there) =
        (Store::open(&real::root().join("store")), Store::open(&work.join("store")));
    let (here, there) = (here.unwrap(), there.unwrap());
    let builds = lock.inputs.values().filter_map(|input| match input {
        LockedInput::Build(build) => Some(*build),
        _ => None,
    });
    let builds: Vec<_> = builds.collect();
    // What was compiled here is not taken along.
    for (what, object) in lock.objects() {
        if builds.iter().all(|build| build.result != object) {
            there.put(here.need(object, &what).unwrap().held.reader(), &what).unwrap();
        }
    }
    for (packed, data) in lock.archives_unpacked() {
        there.note_unpacked(packed, data).unwrap();
    }
    let build = ["./counterfoil", "build", layout::MANIFEST, "--locked", "--offline"];
    let ran = elsewhere.run(&[&build[..], &["--store", "store", "--output", "again"]].concat());
    assert_eq!(ran.code, 0, "{}: {}", elsewhere.suite, ran.stderr);
    check::compare(&release, &work.join("again")).unwrap();
    assert_eq!(builds.len(), 2, "firmware and kernel");
    for build in builds {
        assert_eq!(there.built(build.recipe), Some(build.result), "compiled there");
    }
    // A gigabyte; what a failure leaves is there to be looked at.
    fs::remove_dir_all(work).unwrap();
}

/// The measured kernel finds too little memory and comes back: the packaged firmware then starts what
/// the host has on a disk, ours nothing more. The program on the disk is a kernel that finds too little
/// memory as well, and says so.
#[test]
#[ignore = "compiles for ten minutes; see the top of this file"]
fn what_follows_a_kernel_that_fails() {
    let (packaged, ours) = (real::release("llama"), real::release("llama-hardened"));
    let directory = tempfile::tempdir().unwrap();
    let boot = directory.path().join("EFI/BOOT");
    fs::create_dir_all(&boot).unwrap();
    fs::copy(packaged.join(layout::KERNEL), boot.join("BOOTX64.EFI")).unwrap();
    let disk =
        format!("file=fat:{},format=raw,if=virtio,readonly=on", directory.path().to_str().unwrap());
    let attack = Attack { memory: 128, ..attack(&["-drive", &disk], Some) };
    let failed = |release: &Path| {
        let (mut watch, _directory, _) = start(release, &attack);
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            assert!(!watch.has_started(), "{}", watch.console());
            if let Some(outcome) = watch.step(&mut io::sink()).unwrap() {
                let said = watch.console();
                return (outcome, said.matches("efi_stub_entry() failed").count());
            }
            assert!(Instant::now() < deadline, "no verdict: {}", watch.console());
        }
    };
    assert_eq!(failed(&ours), (Outcome::Refused, 1), "the measured kernel, and nothing after it");
    assert_eq!(failed(&packaged), (Outcome::NothingToBoot, 2), "also the disk's");
}

/// Every attempt that runs something which nobody measured, or fails for another reason than being
/// seen, against the packaged firmware; all of them are refused by ours.
#[test]
#[ignore = "compiles for ten minutes; see the top of this file"]
fn what_a_host_can_try() {
    let (packaged, ours) = (real::release("llama"), real::release("llama-hardened"));
    let kernel = packaged.join(layout::KERNEL).to_str().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let junk = file("junk", b"nothing that runs");
    let named = |name: &str, file: &str| format!("name=etc/boot/{name},file={file}");
    let (other, unnamed) = (named("other", &junk), named("", &junk));
    // The packaged firmware runs what it was not given to measure.
    let runs: &[(&str, Attack)] = &[
        ("a shim", attack(&["-shim", &kernel], Some)),
        ("an unknown name", attack(&["-fw_cfg", &other], Some)),
        ("an empty name", attack(&["-fw_cfg", &unnamed], Some)),
        (
            "no initrd in the table",
            attack(&[], |full| {
                let all = entries(&full);
                table(&[&all[0], &all[2]])
            }),
        ),
        (
            "no command line in the table",
            attack(&[], |full| {
                let all = entries(&full);
                table(&[&all[1], &all[2]])
            }),
        ),
        (
            "no kernel in the table",
            attack(&[], |full| {
                let all = entries(&full);
                table(&[&all[0], &all[1]])
            }),
        ),
        ("a kernel alone in the table", attack(&[], |full| table(&[&entries(&full)[2]]))),
        (
            "a second kernel in the table",
            attack(&[], |full| {
                let all = entries(&full);
                let mut second = all[2].clone();
                second[18] ^= 1;
                table(&[&all[0], &all[1], &all[2], &second])
            }),
        ),
        (
            "an entry that nobody knows",
            attack(&[], |full| {
                let all = entries(&full);
                let mut unknown = all[0].clone();
                unknown[0] ^= 1;
                table(&[&all[0], &all[1], &all[2], &unknown])
            }),
        ),
    ];
    for (what, attack) in runs {
        assert_eq!(fate(&ours, attack), REFUSED, "{what}, ours");
        assert_eq!(fate(&packaged, attack), Started, "{what}, packaged");
    }
    // What else a table can be; ours says no before it looks further.
    let refused: &[(&str, Attack)] = &[
        ("no table", attack(&[], |_| None)),
        ("an empty table", attack(&[], |_| table(&[]))),
        (
            "an entry with too much in it",
            attack(&[], |full| {
                let all = entries(&full);
                let mut large = all[2].clone();
                large[16] += 16;
                large.extend([0; 16]);
                table(&[&all[0], &all[1], &large])
            }),
        ),
        (
            "an entry of no length",
            attack(&[], |full| {
                let all = entries(&full);
                let mut none = all[2].clone();
                none[16] = 0;
                table(&[&all[0], &all[1], &none])
            }),
        ),
        (
            "the kernel twice and no initrd",
            attack(&[], |full| {
                let all = entries(&full);
                table(&[&all[0], &all[2], &all[2]])
            }),
        ),
        (
            "a table longer than it is",
            attack(&[], |mut full| {
                full[16..18].copy_from_slice(&0x400u16.to_le_bytes());
                Some(full)
            }),
        ),
        ("a shim of junk", attack(&["-shim", &junk], Some)),
    ];
    for (what, attack) in refused {
        assert_eq!(fate(&ours, attack), REFUSED, "{what}");
    }
    // The controls: the table in another order, and a disk that nobody looks at.
    let order = attack(&[], |full| {
        let all = entries(&full);
        table(&[&all[2], &all[0], &all[1]])
    });
    assert_eq!(fate(&ours, &order), Started, "another order");
    let disk = format!("file={junk},if=virtio,format=raw,readonly=on");
    assert_eq!(fate(&ours, &attack(&["-drive", &disk], Some)), Started, "a disk");
}
