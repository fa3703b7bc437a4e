//! The machine as QEMU's command line says it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The SEV hash table's file in the machine's own directory.
pub const HASH_TABLE: &str = "hashes.bin";

/// The monitor's socket in the machine's own directory.
pub const MONITOR: &str = "qmp";

/// How a machine is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A real SEV-SNP guest: QEMU's own `sev-snp-guest` object measures it.
    Snp {
        /// The guest policy.
        policy: u64,
        /// The C-bit's position and the physical address bits it costs, as the CPU says.
        memory_encryption: MemoryEncryption,
    },
    /// An ordinary machine under software emulation. The hash table, if there is one, is put where
    /// the launch would put it, so that the firmware's own verifier checks what it is handed.
    Emulated {
        /// Guest physical address and bytes of the SEV hash table.
        hash_table: Option<(u32, Vec<u8>)>,
    },
}

/// CPUID Fn8000_001F EBX (AMD APM 24594, volume 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEncryption {
    /// Bits 5:0.
    pub c_bit: u32,
    /// Bits 11:6.
    pub reduced_bits: u32,
}

impl Default for MemoryEncryption {
    /// What Milan, Genoa and Turin say.
    fn default() -> Self {
        Self { c_bit: 51, reduced_bits: 1 }
    }
}

/// What a machine starts from.
#[derive(Clone, Debug)]
pub enum Image {
    /// The host hands everything over, and the firmware checks it against the hash table.
    Direct(Direct),
    /// One IGVM file with all of it.
    Igvm(PathBuf),
}

/// A firmware, and what it boots.
#[derive(Clone, Debug)]
pub struct Direct {
    /// The firmware image.
    pub firmware: PathBuf,
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initrd.
    pub initrd: PathBuf,
    /// The command line.
    pub cmdline: String,
}

/// A machine to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How.
    pub mode: Mode,
    /// From what.
    pub image: Image,
    /// QEMU's name of the CPU model.
    pub cpu: String,
    /// The number of vCPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// TCP ports: of this machine's 127.0.0.1, and of the guest.
    pub ports: Vec<(u16, u16)>,
    /// Its disks.
    pub disks: Vec<Disk>,
}

/// A disk of a machine.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its serial number, by which the guest finds it.
    pub serial: String,
    /// The file or device that it is.
    pub file: PathBuf,
    /// Whether the guest may write to it.
    pub writable: bool,
}

impl Machine {
    /// QEMU's arguments. `directory` is the machine's own, where [`Machine::prepare`] was called.
    pub fn arguments(&self, directory: &Path) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        let Self { image, cpu, vcpus, memory, .. } = self;
        let (hashes, igvm) = match image {
            Image::Direct(_) => (",kernel-hashes=on", ""),
            Image::Igvm(_) => ("", ",igvm-cfg=igvm0"),
        };
        arguments.flags(&["-nodefaults", "-no-user-config", "-no-reboot"]);
        arguments.pair("-display", "none");
        arguments.pair("-m", memory.to_string());
        arguments.pair("-smp", vcpus.to_string());
        match &self.mode {
            Mode::Snp { policy, memory_encryption: MemoryEncryption { c_bit, reduced_bits } } => {
                arguments.pair("-accel", "kvm");
                arguments.pair("-cpu", cpu);
                arguments.pair(
                    "-machine",
                    format!("q35,confidential-guest-support=sev0,memory-backend=ram0{igvm}"),
                );
                arguments.pair(
                    "-object",
                    format!("memory-backend-memfd,id=ram0,size={memory}M,share=on,prealloc=off"),
                );
                arguments.pair(
                    "-object",
                    format!("sev-snp-guest,id=sev0,policy={policy:#x},cbitpos={c_bit},reduced-phys-bits={reduced_bits}{hashes}"),
                );
            }
            Mode::Emulated { hash_table } => {
                arguments.pair("-accel", "tcg");
                // Inference code takes the best instructions it is offered; baseline models crash some.
                arguments.pair("-cpu", "max");
                arguments.pair("-machine", format!("q35{igvm}"));
                if let Some((address, _)) = hash_table {
                    let file = directory.join(HASH_TABLE);
                    arguments.pair(
                        "-device",
                        option("loader,file=", &file, &format!(",addr={address:#x},force-raw=on")),
                    );
                }
            }
        }
        match image {
            Image::Direct(Direct { firmware, kernel, initrd, cmdline }) => {
                arguments.pair("-bios", firmware);
                arguments.pair("-kernel", kernel);
                arguments.pair("-initrd", initrd);
                arguments.pair("-append", cmdline);
            }
            Image::Igvm(file) => {
                arguments.pair("-object", option("igvm-cfg,id=igvm0,file=", file, ""));
            }
        }
        for (index, Disk { serial, file, writable }) in self.disks.iter().enumerate() {
            let readonly = if *writable { "off" } else { "on" };
            let drive = format!("if=none,id=disk{index},format=raw,readonly={readonly},file=");
            arguments.pair("-drive", option(&drive, file, ""));
            let device = format!("virtio-blk-pci,drive=disk{index},serial={serial}");
            arguments.pair("-device", device);
        }
        let forwards: String = self
            .ports
            .iter()
            .map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"))
            .collect();
        arguments.pair("-netdev", format!("user,id=net0,restrict=on{forwards}"));
        arguments.pair("-device", "virtio-net-pci,netdev=net0,romfile=");
        arguments.pair("-chardev", "stdio,id=console0,signal=off");
        arguments.pair("-serial", "chardev:console0");
        arguments.pair("-qmp", option("unix:", &directory.join(MONITOR), ",server=on,wait=off"));
        arguments.0
    }

    /// Writes what QEMU reads beside the artifacts into the machine's own directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prepare(&self, directory: &Path) -> std::io::Result<()> {
        match &self.mode {
            Mode::Emulated { hash_table: Some((_, bytes)) } => {
                fs::write(directory.join(HASH_TABLE), bytes)
            }
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flags(&mut self, flags: &[&str]) {
        self.0.extend(flags.iter().map(OsString::from));
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.push(flag.into());
        self.0.push(value.into());
    }
}

/// A path inside an option; QEMU takes a doubled comma for a comma.
fn option(before: &str, path: &Path, after: &str) -> OsString {
    let mut text = OsString::from(before);
    text.push(path.to_string_lossy().replace(',', ",,"));
    text.push(after);
    text
}
