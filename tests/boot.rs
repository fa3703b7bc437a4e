//! The end: the example boots from its measured artifacts and answers, and what is not measured does
//! not boot. Real firmware, kernel, server and QEMU, under software emulation.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use counterfoil::launch::HashTable;
use counterfoil::launch::record::{Blob, Boot};
use counterfoil::layout;
use counterfoil::release::open::Release;
use counterfoil::vm::machine::{Direct, Image, Machine, Mode};
use counterfoil::vm::{Outcome, Watch};
use support::guest::{ANSWER, PROMPT, booted, exchange, post};
use support::real;

/// No verdict on a slow machine before this is a failure.
const PATIENCE: Duration = Duration::from_secs(180);

/// A machine's files, and what is done to them.
struct Case {
    directory: tempfile::TempDir,
    machine: Machine,
}

impl Case {
    /// The llama release as it was measured.
    fn new() -> Self {
        let root = real::release("llama");
        let release = Release::open(&root).unwrap();
        release.check_artifacts().unwrap();
        let table = release.record.hash_table().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let machine = Machine {
            mode: Mode::Emulated { hash_table: table.map(|(at, bytes)| (at, bytes.to_vec())) },
            image: Image::Direct(booted(&root)),
            cpu: "EPYC-v4".to_owned(),
            vcpus: 1,
            memory: 512,
            ports: vec![(port, 8080)],
            disks: Vec::new(),
        };
        Self { directory, machine }
    }

    /// One byte of the model's description, which changes nothing that the server does.
    fn change_initrd(&mut self) {
        let words = b"general.description";
        self.change(
            |image| &mut image.initrd,
            |bytes| {
                let at = bytes.windows(words.len()).position(|window| window == words).unwrap();
                // The key, a type of four bytes, a length of eight, then the text.
                at + words.len() + 12
            },
        );
    }

    /// One byte of the signature that Debian appends to its kernel, which nothing here reads.
    fn change_kernel(&mut self) {
        self.change(|image| &mut image.kernel, |bytes| bytes.len() - 100);
    }

    fn change_cmdline(&mut self) {
        self.image().cmdline.push_str(" x=1");
    }

    fn image(&mut self) -> &mut Direct {
        let Image::Direct(image) = &mut self.machine.image else { unreachable!() };
        image
    }

    fn change(&mut self, of: fn(&mut Direct) -> &mut PathBuf, at: impl Fn(&[u8]) -> usize) {
        let changed = self.directory.path().join("changed");
        let path = of(self.image());
        let mut bytes = fs::read(&path).unwrap();
        let at = at(&bytes);
        bytes[at] ^= 1;
        *path = changed;
        fs::write(path, bytes).unwrap();
    }

    /// Makes the table that the launch of the changed machine would measure.
    fn measure_again(&mut self) {
        let Direct { kernel, initrd, cmdline, .. } = self.image();
        let boot = Boot {
            kernel: Blob::of(&fs::read(kernel).unwrap()),
            initrd: Some(Blob::of(&fs::read(initrd).unwrap())),
            cmdline: cmdline.clone(),
        };
        let hashes: HashTable = boot.hashes().unwrap();
        let mode = &mut self.machine.mode;
        let Mode::Emulated { hash_table: Some((_, bytes)) } = mode else { unreachable!() };
        *bytes = hashes.bytes().to_vec();
    }

    fn start(&self) -> Watch {
        let machine = self.directory.path().join("machine");
        fs::create_dir(&machine).unwrap();
        Watch::start(&real::qemu(), &self.machine, &machine).unwrap()
    }

    /// The firmware must stop it before the kernel says a word, for this reason.
    #[track_caller]
    fn is_stopped(&self, expected: &Outcome) {
        let mut watch = self.start();
        let outcome =
            watch.wait(|| false, Some(Instant::now() + PATIENCE), &mut io::sink()).unwrap();
        assert_eq!(outcome, *expected, "{}", watch.console());
        assert!(!watch.has_started(), "{}", watch.console());
    }

    /// The guest must come up and answer with exactly these tokens.
    #[track_caller]
    fn answers(&self) {
        let mut watch = self.start();
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert_eq!(watch.step(&mut io::sink()).unwrap(), None, "{}", watch.console());
            assert!(Instant::now() < deadline, "no answer: {}", watch.console());
            if let Some(answer) = post(self.machine.ports[0].0, "/v1/completions", PROMPT)
                && answer.starts_with("HTTP/1.1 200")
            {
                assert!(answer.contains(ANSWER), "{answer}");
                return;
            }
        }
    }
}

#[test]
fn the_measured_image_boots_and_answers() {
    Case::new().answers();
}

#[test]
fn a_changed_initrd_is_refused() {
    let mut case = Case::new();
    case.change_initrd();
    case.is_stopped(&Outcome::Refused);
}

#[test]
fn a_changed_initrd_boots_when_it_is_measured() {
    let mut case = Case::new();
    case.change_initrd();
    case.measure_again();
    case.answers();
}

#[test]
fn a_changed_kernel_is_refused() {
    let mut case = Case::new();
    case.change_kernel();
    case.is_stopped(&Outcome::Refused);
}

#[test]
fn a_changed_kernel_boots_when_it_is_measured() {
    let mut case = Case::new();
    case.change_kernel();
    case.measure_again();
    case.answers();
}

#[test]
fn a_changed_command_line_is_refused() {
    let mut case = Case::new();
    case.change_cmdline();
    case.is_stopped(&Outcome::Refused);
}

#[test]
fn a_changed_command_line_boots_when_it_is_measured() {
    let mut case = Case::new();
    case.change_cmdline();
    case.measure_again();
    case.answers();
}

#[test]
fn without_a_table_nothing_boots() {
    let mut case = Case::new();
    case.machine.mode = Mode::Emulated { hash_table: None };
    case.is_stopped(&Outcome::NothingToBoot);
}

/// The smallest image, by the command that people type; and a signal stops machine and program.
#[test]
fn run_boots_a_release_and_stops_when_told() {
    let release = real::release("hello");
    let port = free_port();
    let mut child = run_command(&release, &format!("{port}:8080"), "120").spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        assert!(Instant::now() < deadline, "no answer");
        assert_eq!(child.try_wait().unwrap(), None);
        match post(port, "/", "") {
            Some(answer) if answer.contains("HTTP/1.1") => break answer,
            _ => thread::sleep(Duration::from_millis(200)),
        }
    };
    // It answers GET alone, which shows that it reads what it is asked.
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let answer =
        exchange(port, "GET / HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n").unwrap();
    assert!(answer.contains("hello from counterfoil"), "{answer}");

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: stopped by a signal"), "{said}");
    let console = String::from_utf8_lossy(&output.stdout);
    assert!(console.contains("eth0 has 10.0.2.15/24"), "{console}");
    TcpListener::bind(("127.0.0.1", port)).expect("QEMU is gone and its port free");
}

#[test]
fn no_machine_outlives_a_program_that_was_killed() {
    let port = free_port();
    let mut child =
        run_command(&real::release("hello"), &format!("{port}:8080"), "120").spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let taken = || TcpListener::bind(("127.0.0.1", port)).is_err();
    while !taken() {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "QEMU never began"
        );
        thread::sleep(Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while taken() {
        assert!(Instant::now() < deadline, "QEMU is still there");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn run_says_when_the_time_is_up() {
    let output = run_command(&real::release("hello"), "1", "2").output().unwrap();
    let ran = support::place::Ran::of(&output);
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    assert!(ran.stderr.contains("still running after 2 s"), "{}", ran.stderr);
}

#[test]
fn run_says_what_a_release_does_not_have() {
    let release = real::release("hello");
    let run = |arguments: &[&str]| {
        let release = release.to_str().unwrap();
        real::run(Path::new("/"), &[&["run", release, "--machine", "emulated"], arguments].concat())
    };
    run(&["--igvm"]).is_refusal(20, &["has no IGVM file", "`launch.igvm`"]);
    run(&["--volume", "model=/dev/null"]).is_refusal(2, &["the release has no disk `model`"]);
}

#[test]
fn run_refuses_artifacts_that_were_not_measured() {
    let release = real::release("hello");
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("image")).unwrap();
    for name in layout::ALL {
        fs::copy(release.join(name), copy.path().join(name)).unwrap();
    }
    fs::write(copy.path().join(layout::CMDLINE), "console=ttyS0 panic=-1 init=/bin/sh").unwrap();
    let ran = real::run(copy.path(), &["run", "."]);
    ran.is_refusal(10, &["image/cmdline", "not what was measured"]);
}

fn run_command(release: &Path, port: &str, timeout: &str) -> std::process::Command {
    // Ports of this machine below 1024 are not for everybody; 0 is any, but not ours to see.
    let port = if port == "1" { free_port().to_string() } else { port.to_owned() };
    let release = release.to_str().unwrap();
    let arguments =
        ["run", release, "--machine", "emulated", "--port", &port, "--timeout", timeout];
    // Fetched here, under a lock, rather than by two programs at once.
    drop(real::qemu());
    let mut command = real::command(Path::new("/"), &arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
