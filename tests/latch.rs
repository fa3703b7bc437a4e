//! After PID 1 has loaded the plan's modules nobody loads another, root included. Debian's kernel, and
//! Debian's busybox as the one who tries.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs;

use support::guest::with_and_without_the_latch;
use support::real;

const MANIFEST: &str = r#"
version: 1
name: latch
inputs:
  firmware: {deb: {suite: sid, packages: [ovmf-amdsev]}}
  tools: {deb: {suite: trixie, packages: [busybox-static]}}
firmware: {from: firmware, path: /usr/share/ovmf/OVMF.amdsev.fd}
kernel: {recipe: ../kernels/debian-cloud.yaml}
cmdline: console=ttyS0 panic=-1
files:
  - {path: /usr/bin/busybox, from: tools}
init:
  exec: [/usr/bin/busybox, insmod, /etc/counterfoil/modules/virtio_net.ko]
  user: "0:0"
  sysctl: {kernel.domainname: a}
  output: console
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
"#;

#[test]
fn nobody_loads_a_module_after_the_start() {
    fs::write(real::manifests().join("manifests/latch.yaml"), MANIFEST).unwrap();
    let [latched, open] = with_and_without_the_latch(&real::release("latch"));
    assert!(latched.contains("virtio_net.ko': Operation not permitted"), "{latched}");
    // It is there already, which the kernel says to those only who may load one.
    assert!(open.contains("virtio_net.ko': File exists"), "{open}");
}
