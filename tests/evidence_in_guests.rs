//! Evidence in a guest, under Debian's kernel and software emulation: there the agent has nobody to ask for
//! reports, and says so to whoever asks.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use counterfoil::layout;
use counterfoil::release::open::Release;
use counterfoil::vm::machine::{Image, Machine, Mode};
use counterfoil::vm::{Outcome, Watch};
use support::guest::{booted, exchange, run_to_the_end};
use support::real;

const MANIFEST: &str = r#"
version: 1
name: NAME
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  tools: {deb: {suite: trixie, packages: [busybox-static]}}
  netcat: {deb: {suite: trixie, packages: [netcat-openbsd, libbsd0, libmd0, libc6]}}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml, modules: [null_blk]}
cmdline: console=ttyS0 panic=-1
files:
  - paths: [/usr/bin/busybox]
    from: tools
  - {path: /usr/bin/other, from: tools, source: /usr/bin/busybox}
  - {path: /etc/passwd, text: "agent:x:65533:65533::/:/\n"}
  - {path: /usr/bin/nc, from: netcat, source: /usr/bin/nc.openbsd, libraries: true}
  - path: /program
    text: |
      PROGRAM
init:
  exec: [/usr/bin/busybox, sh, /program]
  user: "USER"
  on-exit: restart
  network: dhcp
  output: console
evidence: {http: 8001, vsock: 8001}
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
"#;

/// What every program here begins with: asking on the socket, and what the agent may.
const BEGINNING: &str = r#"b=/usr/bin/busybox; s=/run/counterfoil/evidence.sock;
      ask() { printf "$1" | /usr/bin/nc -N -U $s; };
      agent() { for p in /proc/[0-9]*; do $b grep -q '^Name:.evidence$' $p/status && echo ${p#/proc/}; done; };
      bind='PUT /binding HTTP/1.1\r\nContent-Length: 32\r\n\r\n0123456789abcdef0123456789abcdef';"#;

/// As a user of no rights, who then waits for others to ask.
const WORKLOAD: &str = r#"
      $b ls -ln $s; $b grep configfs /proc/mounts;
      ask "$bind"; ask "$bind";
      ask 'POST /report HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc';
      ask 'GET /evidence?nonce=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff HTTP/1.1\r\n\r\n';
      $b grep -E '^(Uid|Gid|Cap|NoNew|Groups)' /proc/$(agent)/status;
      echo adj: $($b cat /proc/$(agent)/oom_score_adj);
      kill -9 $(agent); echo asked by the workload; exec $b sleep 1000"#;

/// As root, who can end the agent, and finds another in its place, which knows what is bound. The second time it
/// finds a third, which does not, and has nothing of what the first time asked last.
const MURDER: &str = r#"
      if [ -e /tmp/twice ]; then
      ask 'PUT /binding HTTP/1.1\r\nContent-Length: 32\r\n\r\nZYXWVU0123456789ZYXWVU0123456789'; exec $b poweroff -f; fi;
      echo > /tmp/twice;
      ask "$bind"; first=$(agent); kill -9 $first; $b sleep 3; second=$(agent);
      [ -n "$second" ] && [ "$first" != "$second" ] && echo another agent;
      ask 'PUT /binding HTTP/1.1\r\nContent-Length: 32\r\n\r\nABCDEF0123456789ABCDEF0123456789';
      ask "$bind"; kill -STOP $second;
      ask 'PUT /binding HTTP/1.1\r\nContent-Length: 32\r\n\r\nabcdef0123456789abcdef0123456789' & $b sleep 1"#;

/// As root, where there is nothing to make evidence of.
const WITHOUT: &str = r#"
      ask "$bind";
      ask 'GET /evidence?nonce=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff HTTP/1.1\r\n\r\n';
      exec $b poweroff -f"#;

/// What PID 1 does with an entry of `tsm`, done with one of another kind: under emulation there is nobody to
/// make reports, and so no entry. The agent's user writes to the one file that it was given, and to no other.
const GIVEN: &str = r#"
      d=/sys/kernel/config/nullb/given; $b mkdir $d && $b chmod 0200 $d/size && $b chown 65533:65533 $d/size;
      echo 3 > /proc/sys/vm/drop_caches; $b ls -ln $d/size;
      echo "echo 77 > $d/size; echo written: \$?; echo 1 > $d/blocksize; echo refused: \$?; $b cat $d/mbps; echo read: \$?" > /tmp/try;
      $b start-stop-daemon -S -c agent -x /usr/bin/other -a busybox -- sh /tmp/try;
      $b chmod 0600 $d/size; echo size: $($b cat $d/size); exec $b poweroff -f"#;

fn release(name: &str, user: &str, program: &str) -> PathBuf {
    let manifest = MANIFEST.replace("NAME", name).replace("USER", user);
    let manifest = manifest.replace("PROGRAM", &[BEGINNING, program].concat());
    fs::write(real::manifests().join(format!("manifests/{name}.yaml")), manifest).unwrap();
    real::release(name)
}

#[test]
fn a_guest_is_asked_for_evidence() {
    let root = release("evidence", "1000:1001", WORKLOAD);
    let plan = fs::read(root.join(layout::INITRD)).unwrap();
    let lines = b"\nevidence /etc/counterfoil/evidence\nevidence-http 8001\nevidence-vsock 8001\n";
    assert!(plan.windows(lines.len()).any(|part| part == lines));
    let threats = fs::read_to_string(root.join(layout::THREAT_MODEL)).unwrap();
    assert!(threats.contains("Whoever reaches TCP port 8001 or vsock port 8001 brings a nonce"));

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let table = Release::open(&root).unwrap().record.hash_table().unwrap();
    let machine = Machine {
        mode: Mode::Emulated { hash_table: table.map(|(at, bytes)| (at, bytes.to_vec())) },
        image: Image::Direct(booted(&root)),
        cpu: "EPYC-v4".to_owned(),
        vcpus: 1,
        memory: 512,
        ports: vec![(port, 8001)],
        disks: Vec::new(),
    };
    let directory = tempfile::tempdir().unwrap();
    let mut watch = Watch::start(&real::qemu(), &machine, directory.path()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(240);
    let nonce = "5a".repeat(32);
    let request = format!("GET /evidence?nonce={nonce} HTTP/1.1\r\nHost: guest\r\n\r\n");
    let mut answer = None;
    while answer.is_none() || !watch.console().contains("asked by the workload") {
        assert_eq!(watch.step(&mut io::sink()).unwrap(), None, "{}", watch.console());
        assert!(Instant::now() < deadline, "no answer: {}", watch.console());
        answer = answer.or_else(|| exchange(port, &request));
    }
    let answer = answer.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains(r#"{"version":1,"error":"no-provider","message":"this kernel"#),
        "{answer}"
    );
    let relayed = exchange(port, "POST /report HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(relayed.unwrap().starts_with("HTTP/1.1 404 "));
    let said = watch.console();
    for expected in [
        "counterfoil-evidence: no reports: this kernel offers no attestation provider",
        "srw-------    1 1000     1001",
        "configfs /sys/kernel/config configfs rw,nosuid,nodev,noexec",
        r#""binding":"3031323334353637383961626364656630313233343536373839616263646566""#,
        r#""error":"bad-request","message":"the body must be the 64 bytes of REPORT_DATA""#,
        r#""error":"no-provider""#,
        "Uid:\t65533\t65533\t65533\t65533",
        "Gid:\t65533\t65533\t65533\t65533",
        "Groups:\t \r",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "adj: -500",
        "Operation not permitted",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in: {said}");
    }
    assert!(!said.contains("started again"), "{said}");
}

#[test]
fn the_agent_is_started_again_and_the_workload_lives() {
    let root = release("evidence-again", "0:0", MURDER);
    let (outcome, said) = run_to_the_end(&root, &root.join(layout::INITRD), Vec::new());
    assert_eq!(outcome, Outcome::PoweredOff, "{said}");
    for expected in [
        "counterfoil-init: the evidence agent was killed by signal 9, and is started again",
        "another agent",
        r#""error":"binding-set""#,
        "counterfoil-init: the workload exited with status 0",
        r#""binding":"5a5958575655303132333435363738395a595857565530313233343536373839""#,
    ] {
        assert!(said.contains(expected), "`{expected}` is not in: {said}");
    }
    // What was bound first was bound twice, once to each agent.
    let first = r#""binding":"3031323334353637383961626364656630313233343536373839616263646566""#;
    assert_eq!(said.matches(first).count(), 2, "{said}");
}

/// A kernel that can do nothing of what evidence takes is no reason not to run the workload.
#[test]
fn a_guest_without_evidence_runs_its_workload() {
    let root = release("evidence-without", "0:0", WITHOUT);
    let directory = tempfile::tempdir().unwrap();
    let initrd = directory.path().join("initrd");
    fs::write(&initrd, without_modules(&fs::read(root.join(layout::INITRD)).unwrap())).unwrap();
    let (outcome, said) = run_to_the_end(&root, &initrd, Vec::new());
    assert_eq!(outcome, Outcome::PoweredOff, "{said}");
    for expected in [
        "counterfoil-init: no evidence: cannot mount `/sys/kernel/config`: ",
        "counterfoil-init: no evidence-vsock: this kernel has no vsock",
        "counterfoil-evidence: no reports: this kernel offers no attestation provider",
        r#""binding":"3031323334353637383961626364656630313233343536373839616263646566""#,
        r#""error":"no-provider""#,
    ] {
        assert!(said.contains(expected), "`{expected}` is not in: {said}");
    }
}

/// An initrd whose plan loads neither configfs nor vsock. It is as long as it was, so that the archive around
/// the plan stays whole: the path of the program has the more slashes.
fn without_modules(initrd: &[u8]) -> Vec<u8> {
    let mut changed = initrd.to_vec();
    for name in [
        "vsock",
        "vmw_vsock_virtio_transport_common",
        "vmw_vsock_virtio_transport",
        "configfs",
        "tsm",
        "sev_guest",
        "null_blk",
    ] {
        changed = replace(&changed, &format!("module /etc/counterfoil/modules/{name}.ko\n"), "");
    }
    let slashes = "/".repeat(initrd.len() - changed.len());
    replace(&changed, "\narg /program\n", &format!("\narg {slashes}/program\n"))
}

/// The first, which must be there.
fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no `{from}`"));
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

#[test]
fn configfs_lets_a_file_be_given_away() {
    let root = release("evidence-given", "0:0", GIVEN);
    let (outcome, said) = run_to_the_end(&root, &root.join(layout::INITRD), Vec::new());
    assert_eq!(outcome, Outcome::PoweredOff, "{said}");
    for expected in
        ["--w-------    1 65533    65533", "written: 0", "refused: 1", "read: 0", "size: 77"]
    {
        assert!(said.contains(expected), "`{expected}` is not in: {said}");
    }
}
