//! Starting a release in a machine, and talking to the example there.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use counterfoil::launch::record::{Blob, Boot};
use counterfoil::layout;
use counterfoil::release::open::Release;
use counterfoil::vm::machine::{Direct, Disk, Image};
use counterfoil::vm::{Machine, Mode, Outcome, Watch};

use super::real;

/// What the example's model of noise says, greedily, to this prompt: tests/tiny_gguf.rs holds the
/// model's bytes, and the lead of each token is wide enough for every back-end.
pub const PROMPT: &str = r#"{"prompt": "counterfoil", "max_tokens": 32, "temperature": 0}"#;
pub const ANSWER: &str = r#""text":"nlnxjzkmxemmmmmmgexjsshsjktsnjkm""#;

pub fn post(port: u16, path: &str, body: &str) -> Option<String> {
    let length = body.len();
    exchange(
        port,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// `None` while nobody answers: QEMU's forwarded port resets until the guest listens.
pub fn exchange(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// What the machine of a release boots.
pub fn booted(release: &Path) -> Direct {
    Direct {
        firmware: release.join(layout::FIRMWARE),
        kernel: release.join(layout::KERNEL),
        initrd: release.join(layout::INITRD),
        cmdline: fs::read_to_string(release.join(layout::CMDLINE)).unwrap(),
    }
}

/// What the machine of `release` says until it ends, with the initrd at `initrd` and the hash table
/// that its launch would measure.
pub fn run_to_the_end(release: &Path, initrd: &Path, disks: Vec<Disk>) -> (Outcome, String) {
    let boot = Boot {
        kernel: Blob::of(&fs::read(release.join(layout::KERNEL)).unwrap()),
        initrd: Some(Blob::of(&fs::read(initrd).unwrap())),
        cmdline: fs::read_to_string(release.join(layout::CMDLINE)).unwrap(),
    };
    let (at, _) = Release::open(release).unwrap().record.hash_table().unwrap().unwrap();
    let machine = Machine {
        mode: Mode::Emulated { hash_table: Some((at, boot.hashes().unwrap().bytes().to_vec())) },
        image: Image::Direct(Direct { initrd: initrd.to_owned(), ..booted(release) }),
        cpu: "EPYC-v4".to_owned(),
        vcpus: 1,
        memory: 512,
        ports: Vec::new(),
        disks,
    };
    let directory = tempfile::tempdir().unwrap();
    let mut watch = Watch::start(&real::qemu(), &machine, directory.path()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(240);
    let outcome = watch.wait(|| false, Some(deadline), &mut io::sink()).unwrap();
    (outcome, watch.console())
}

/// What `insmod` says to root after PID 1 has loaded its modules, in a guest that then ends: as the
/// release is, and without the latch. The release's plan must set `kernel.domainname` to `a`.
pub fn with_and_without_the_latch(release: &Path) -> [String; 2] {
    let initrd = release.join(layout::INITRD);
    let mut bytes = fs::read(&initrd).unwrap();
    // As long as what it replaces, so that the archive around it stays whole.
    let (latched, open) = ("name a\nlatch-modules\n", "name aaaaaaaaaaaaaaa\n");
    let at = bytes.windows(latched.len()).position(|part| part == latched.as_bytes()).unwrap();
    bytes[at..at + latched.len()].copy_from_slice(open.as_bytes());
    let directory = tempfile::tempdir().unwrap();
    let changed = directory.path().join("initrd");
    fs::write(&changed, bytes).unwrap();
    [initrd, changed].map(|initrd| {
        let (outcome, console) = run_to_the_end(release, &initrd, Vec::new());
        assert_eq!(outcome, Outcome::PoweredOff, "{console}");
        console
    })
}
