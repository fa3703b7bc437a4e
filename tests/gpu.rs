//! The kernel for guests with a GPU, and NVIDIA's modules: that they fit each other and the firmware,
//! and how they go on a machine that has no GPU, which is every machine that this was tried on.
//!
//! Compiling takes some fourteen CPU minutes, so this runs when it is asked for:
//! `cargo test --test gpu -- --ignored`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use counterfoil::digest::Sha256;
use counterfoil::kernel::{is_image, modules};
use counterfoil::layout;
use counterfoil::manifest::lock::LockedInput;
use counterfoil::release::inventory::{Inventory, Item};
use counterfoil::tree::archive::Archive;
use counterfoil::vm::Outcome;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use support::compiled;
use support::guest::{run_to_the_end, with_and_without_the_latch};
use support::real;

const MODULES: &str = "/etc/counterfoil/modules";

/// A module as the recipe gave it.
struct Module(Vec<u8>);

impl Module {
    fn named(name: &str) -> Self {
        let kernel = compiled::result(&real::release("gpu"), "kernel");
        let is_it = |path: &_| modules::name_of(path).as_deref() == Some(name);
        let (path, _) = kernel.iter().find(|(path, _)| is_it(path)).unwrap();
        Self(compiled::read(&kernel, path))
    }

    fn elf(&self) -> object::File<'_> {
        object::File::parse(self.0.as_slice()).unwrap()
    }

    /// What its `.modinfo` says under `key`.
    fn info(&self, key: &str) -> Vec<String> {
        let elf = self.elf();
        let data = elf.section_by_name(".modinfo").unwrap().data().unwrap();
        let text = String::from_utf8(data.to_vec()).unwrap();
        let start = format!("{key}=");
        text.split('\0').filter_map(|entry| entry.strip_prefix(&start)).map(str::to_owned).collect()
    }

    fn needs(&self) -> BTreeSet<String> {
        let elf = self.elf();
        let undefined = elf.symbols().filter(|symbol| symbol.is_undefined());
        undefined.map(|symbol| symbol.name().unwrap().to_owned()).collect()
    }

    /// By the entry in the kernel's table that each has (Linux `include/linux/export-internal.h`).
    fn exports(&self) -> BTreeSet<String> {
        let elf = self.elf();
        let names = elf.symbols().map(|symbol| symbol.name().unwrap().to_owned());
        names.filter_map(|name| name.strip_prefix("__ksymtab_").map(str::to_owned)).collect()
    }
}

fn inventory() -> Vec<Item> {
    let text = fs::read_to_string(real::release("gpu").join(layout::INVENTORY)).unwrap();
    serde_json::from_str::<Inventory>(&text).unwrap().initrd
}

fn item<'a>(inventory: &'a [Item], path: &str) -> &'a Item {
    inventory.iter().find(|item| item.path.as_str() == path).unwrap_or_else(|| panic!("{path}"))
}

#[test]
#[ignore = "compiles for fourteen minutes; see the top of this file"]
fn the_modules_are_of_this_kernel_unsigned_and_in_the_initrd() {
    let kernel = compiled::result(&real::release("gpu"), "kernel");
    let (image, _) = kernel.iter().find(|(path, _)| is_image(path)).unwrap();
    let release = image.as_str().strip_prefix("/boot/vmlinuz-").unwrap();
    let inventory = inventory();
    for name in ["nvidia", "nvidia_uvm"] {
        let module = Module::named(name);
        assert!(module.info("vermagic")[0].starts_with(&format!("{release} ")), "{name}");
        assert!(!module.0.ends_with(b"~Module signature appended~\n"), "{name}");
        assert!(module.elf().sections().all(|section| section.name() != Ok(".debug_info")));
        let item = item(&inventory, &format!("{MODULES}/{name}.ko"));
        assert_eq!((item.sha256, item.from.as_str()), (Some(Sha256::of(&module.0)), "kernel"));
        // Of the room it may know the one place where everything is compiled; of a machine, nothing.
        for path in ["/home/", "/root/", "/tmp/", "/var/"] {
            let found = module.0.windows(path.len()).any(|window| window == path.as_bytes());
            assert!(!found, "{name} has `{path}` in it");
        }
    }
}

/// The driver compares the two when it starts the GPU; here nothing else would.
#[test]
#[ignore = "compiles for fourteen minutes; see the top of this file"]
fn the_firmware_is_the_one_that_the_driver_asks_for() {
    let nvidia = Module::named("nvidia");
    let version = &nvidia.info("version")[0];
    assert_eq!(Module::named("nvidia_uvm").info("version"), [version.as_str()]);
    let wanted = format!("nvidia/{version}/gsp_ga10x.bin");
    assert!(nvidia.info("firmware").contains(&wanted), "{:?}", nvidia.info("firmware"));

    let inventory = inventory();
    let item = item(&inventory, &format!("/lib/firmware/{wanted}"));
    let release = real::release("gpu");
    let lock = compiled::lock(&release);
    let Some(LockedInput::Deb(packages)) = lock.inputs.get(&"nvidia-firmware".parse().unwrap())
    else {
        panic!("the firmware is a package")
    };
    let archive: Archive = compiled::open(packages[0].data);
    let packed = compiled::read(&archive, &format!("/usr/lib/firmware/{wanted}").parse().unwrap());
    let from = "nvidia-firmware/firmware-nvidia-gsp";
    assert_eq!((item.sha256, item.from.as_str()), (Some(Sha256::of(&packed)), from));
    let elf = object::File::parse(packed.as_slice()).unwrap();
    let says = elf.section_by_name(".fwversion").unwrap().data().unwrap();
    assert_eq!(says.split(|byte| *byte == 0).next(), Some(version.as_bytes()));
}

/// nvidia.ko has every symbol it needs, starts, and finds that there is no GPU. nvidia-uvm.ko then
/// lacks what nvidia.ko would have given it, and nothing of the kernel's. PID 1 goes no further.
#[test]
#[ignore = "compiles for fourteen minutes; see the top of this file"]
fn without_a_gpu_the_driver_says_so_and_the_guest_stops() {
    let release = real::release("gpu");
    let (outcome, console) = run_to_the_end(&release, &release.join(layout::INITRD), Vec::new());
    assert_eq!(outcome, Outcome::Reset, "{console}");
    for words in [
        "NVRM: No NVIDIA GPU found.",
        "module `/etc/counterfoil/modules/nvidia.ko` has no device here",
        "cannot load module `/etc/counterfoil/modules/nvidia_uvm.ko`: no such file",
        "Attempted to kill init!",
    ] {
        assert!(console.contains(words), "{words}: {console}");
    }
    for words in ["version magic", "disagrees about version", "nvidia: Unknown symbol", "eth0"] {
        assert!(!console.contains(words), "{words}: {console}");
    }
    let unknown: BTreeSet<String> = console
        .lines()
        .filter_map(|line| line.split_once("nvidia_uvm: Unknown symbol ")?.1.split_once(' '))
        .map(|(name, _)| name.to_owned())
        .collect();
    let (nvidia, uvm) = (Module::named("nvidia"), Module::named("nvidia_uvm"));
    let (exports, needs) = (nvidia.exports(), uvm.needs());
    assert!(!unknown.is_empty());
    assert_eq!(unknown, needs.intersection(&exports).cloned().collect(), "{console}");
}

#[test]
#[ignore = "compiles for fourteen minutes; see the top of this file"]
fn nobody_loads_a_module_after_the_start() {
    let place = real::manifests();
    let read = |path: &str| fs::read_to_string(place.join(path)).unwrap();
    let replaced = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    // Without nvidia-uvm, so that the guest goes on; root's busybox in the place of the program.
    let recipe = replaced(read("kernels/gpu.yaml"), "[nvidia, nvidia-uvm]", "[nvidia]");
    fs::write(place.join("kernels/gpu-alone.yaml"), recipe).unwrap();
    fs::write(place.join("manifests/gpu-latch.yaml"), LATCH).unwrap();
    let [latched, open] = with_and_without_the_latch(&real::release("gpu-latch"));
    assert!(latched.contains("nvidia.ko': Operation not permitted"), "{latched}");
    assert!(open.contains("nvidia.ko': No such device"), "{open}");
}

const LATCH: &str = r#"
version: 1
name: gpu-latch
inputs:
  tools: {deb: {suite: trixie, packages: [busybox-static]}}
firmware: {recipe: ../firmware/amdsev.yaml}
kernel: {recipe: ../kernels/gpu-alone.yaml}
cmdline: console=ttyS0 panic=-1
files:
  - {path: /usr/bin/busybox, from: tools}
init:
  exec: [/usr/bin/busybox, insmod, /etc/counterfoil/modules/nvidia.ko]
  user: "0:0"
  sysctl: {kernel.domainname: a}
  output: console
launch: {profile: qemu, vcpus: [1], cpus: [EPYC-v4]}
"#;

#[test]
#[ignore = "compiles for fourteen minutes; see the top of this file"]
fn the_resolved_configuration_is_the_committed_one() {
    compiled::is_configured_as(&real::release("gpu"), "kernels/gpu/resolved.config");
}

#[test]
#[ignore = "compiles for fourteen minutes; see the top of this file"]
fn what_is_compiled_is_the_same_elsewhere() {
    compiled::is_the_same_elsewhere("gpu");
}
