//! `run`: boot a release in QEMU.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::lock::Origin;
use crate::cli::settings::Settings;
use crate::cli::ui::{Ui, quoted};
use crate::error::{Context as _, Error, Kind, Result};
use crate::input::progress::Progress as _;
use crate::input::resolve::Resolver;
use crate::launch::igvm::IgvmRecord;
use crate::launch::measured_image::START;
use crate::layout;
use crate::manifest::Manifest;
use crate::manifest::load::LEAST_MEMORY;
use crate::names::{NameError, VolumeName};
use crate::release::measure as measuring;
use crate::release::open::Release;
use crate::vm::machine::{Direct, Disk, Image, Machine, MemoryEncryption, Mode};
use crate::vm::qemu::{Qemu, QemuError};
use crate::vm::{Outcome, Watch, private};

/// Bytes of a scratch disk that nobody named.
const SCRATCH: u64 = 1 << 30;

/// Memory in MiB when neither the command line nor the manifest says it.
const MEMORY: u32 = 1024;

const EXAMPLES: &str = "\
Examples:
  counterfoil run releases/llama                    boot it; Ctrl-C stops it
  counterfoil run releases/llama --timeout 60       for scripts
  counterfoil run releases/llama --port 9000:8080   the guest's 8080 at 127.0.0.1:9000
  counterfoil run releases/llama --print            only show the QEMU command
  counterfoil run releases/llama --igvm --qemu qemu-with-igvm/qemu-system-x86_64

Exit codes: 0 the guest powered off, 1 it restarted or panicked or QEMU failed, 10 the firmware
refused what it was handed, 20 the time was up.";

/// Boot a release in QEMU.
///
/// On an SEV-SNP host as a confidential guest, measured by the processor. Elsewhere as an ordinary
/// machine under software emulation, with the very hash table that the launch would measure, so that
/// the firmware checks kernel, initrd and command line just the same.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// The release.
    release: PathBuf,
    /// Whether to run confidential or emulated; `auto` looks at what the machine can do.
    #[arg(long, value_enum, default_value_t = Machinery::Auto)]
    machine: Machinery,
    /// Start from the release's IGVM file: no kernel, initrd or command line is handed over.
    #[arg(long, conflicts_with = "vcpus")]
    igvm: bool,
    /// Number of vCPUs; one that the launch record has a digest for unless said.
    #[arg(long, value_name = "N")]
    vcpus: Option<u32>,
    /// CPU model, on an SEV-SNP host; the launch record's first unless said.
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(i64::from(LEAST_MEMORY)..))]
    memory: Option<u32>,
    /// Forward a TCP port of 127.0.0.1 to the guest, `HOST:GUEST` or one for both; may be given
    /// again. Instead of those in the manifest.
    #[arg(short, long, value_name = "PORT", value_parser = port)]
    port: Vec<(u16, u16)>,
    /// The disk of a volume whose data are not in the release, or of a scratch disk, which loses what is
    /// on it (1 GiB of a temporary file unless said); may be given again.
    #[arg(long, value_name = "NAME=FILE", value_parser = disk)]
    volume: Vec<(VolumeName, PathBuf)>,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// The QEMU to use; this machine's if it is new enough, else Debian's, fetched into the cache.
    #[arg(long, value_name = "PROGRAM")]
    qemu: Option<PathBuf>,
    /// Print the QEMU command instead of running it; the machine's files stay in `RELEASE.run`.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Machinery {
    /// Confidential where the machine can do it.
    Auto,
    /// An SEV-SNP guest.
    Snp,
    /// Software emulation.
    Emulated,
}

impl Run {
    pub(super) fn run(self, ui: &Ui, settings: &Settings) -> Result<()> {
        let release = Release::open(&self.release)?;
        release.check_artifacts()?;
        for warning in measuring::warnings(&release.record) {
            ui.warn(&warning);
        }
        let mut machine = self.machine(&release)?;
        let scratch: Vec<_> = release.manifest()?.scratch.into_keys().collect();
        let qemu = self.qemu(ui, settings)?;
        if self.igvm && !qemu.takes_igvm() {
            let message = "this QEMU does not start from IGVM files";
            return Err(Error::new(Kind::CannotDecide, message).hint(
                "Debian's is built without them; tests/igvm-qemu.sh builds one that does, for \
                 `--qemu`",
            ));
        }
        if self.print {
            return self.print(ui, &mut machine, &scratch, qemu);
        }
        let directory = tempfile::Builder::new()
            .prefix("counterfoil-")
            .tempdir()
            .context(Kind::Environment, || "failed making the machine's directory".to_owned())?;
        Self::add_scratch(&mut machine, &scratch, directory.path())?;
        match &machine.mode {
            Mode::Snp { .. } => ui.note("an SEV-SNP guest, measured by the processor"),
            Mode::Emulated { .. } if self.igvm => ui.note(
                "no SEV-SNP here: software emulation, nothing is attested; all that is booted is in \
                 the IGVM file",
            ),
            Mode::Emulated { .. } => ui.note(
                "no SEV-SNP here: software emulation, nothing is attested; the firmware checks \
                 kernel, initrd and command line against the measured table",
            ),
        }
        for (host, guest) in &machine.ports {
            ui.note(&format!("the guest's port {guest} is at 127.0.0.1:{host}"));
        }
        let deadline = self.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut watch = Watch::start(&bound(qemu), &machine, directory.path())
            .context(Kind::Environment, || "QEMU cannot be started".to_owned())?;
        let stop = stop_flag()?;
        let outcome = watch
            .wait(|| stop.load(Ordering::Relaxed), deadline, &mut io::stdout())
            .context(Kind::Environment, || "failed watching the machine".to_owned())?;
        let _ = io::stdout().flush();
        self.verdict(ui, outcome)
    }

    fn machine(&self, release: &Release) -> Result<Machine> {
        let record = &release.record;
        let malformed = || "the launch record".to_owned();
        let manifest = release.manifest()?;
        let run = &manifest.run;
        let confidential = match self.machine {
            Machinery::Snp => true,
            Machinery::Emulated => false,
            Machinery::Auto => is_snp_host(),
        };
        let mode = match confidential {
            true => Mode::Snp {
                policy: record.policy.0,
                memory_encryption: MemoryEncryption::default(),
            },
            false if self.igvm => Mode::Emulated { hash_table: None },
            false => {
                let table = record.hash_table().context(Kind::Malformed, malformed)?;
                Mode::Emulated { hash_table: table.map(|(at, bytes)| (at, bytes.to_vec())) }
            }
        };
        let absolute = |name| {
            let path = release.path(name);
            path.canonicalize()
                .context(Kind::Environment, || format!("failed finding `{}`", path.display()))
        };
        let cpu = self.cpu.clone().or_else(|| record.cpus.first()?.model.clone());
        let (image, in_file) = match self.igvm {
            true => {
                let igvm = release.igvm.as_ref().ok_or_else(|| {
                    let message = format!("`{}` has no IGVM file", self.release.display());
                    Error::new(Kind::CannotDecide, message)
                        .hint("ask for one with `launch.igvm` in the manifest")
                })?;
                (Image::Igvm(absolute(layout::IGVM)?), Some(igvm.vcpus))
            }
            false => (
                Image::Direct(Direct {
                    firmware: absolute(layout::FIRMWARE)?,
                    kernel: absolute(layout::KERNEL)?,
                    initrd: absolute(layout::INITRD)?,
                    cmdline: record
                        .boot
                        .as_ref()
                        .map(|boot| boot.cmdline.clone())
                        .unwrap_or_default(),
                }),
                None,
            ),
        };
        let vcpus = in_file.or(self.vcpus).or_else(|| record.vcpus.first().copied()).unwrap_or(1);
        let ports = match self.port.is_empty() {
            true => run.ports.iter().map(|port| (*port, *port)).collect(),
            false => self.port.clone(),
        };
        let memory = self.memory.or(run.memory).unwrap_or(MEMORY);
        let needed = release.igvm.as_ref().filter(|_| self.igvm).map_or(0, igvm_memory);
        if memory < needed {
            let message = format!(
                "{memory} MiB of memory are too little for this IGVM file: at least {needed} are needed"
            );
            return Err(Error::new(Kind::Usage, message).hint("say more with `--memory`"));
        }
        Ok(Machine {
            mode,
            image,
            cpu: cpu.unwrap_or_else(|| "EPYC-v4".to_owned()),
            vcpus,
            memory,
            ports,
            disks: self.disks(release, &manifest)?,
        })
    }

    /// A disk for each volume of the manifest, and for each scratch disk that was named.
    fn disks(&self, release: &Release, manifest: &Manifest) -> Result<Vec<Disk>> {
        let Manifest { volumes, scratch, .. } = manifest;
        let known = |name: &VolumeName| volumes.contains_key(name) || scratch.contains_key(name);
        if let Some((name, _)) = self.volume.iter().find(|(name, _)| !known(name)) {
            let names: Vec<_> =
                volumes.keys().chain(scratch.keys()).map(|name| format!("`{name}`")).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("the release has no disk `{name}`; it has {has}");
            return Err(Error::new(Kind::Usage, message));
        }
        let named = |name| self.volume.iter().filter(move |(volume, _)| volume == name);
        if let Some((name, _)) = self.volume.iter().find(|(name, _)| named(name).count() > 1) {
            return Err(Error::new(Kind::Usage, format!("`--volume {name}` is given twice")));
        }
        let given = |name: &VolumeName| {
            let volume = self.volume.iter().find(|(volume, _)| volume == name);
            volume.map(|(_, path)| path.clone())
        };
        let disk = |name: &VolumeName, path: PathBuf, writable| match path.canonicalize() {
            Ok(file) if file.is_file() || is_block_device(&file) => {
                Ok(Disk { serial: name.to_string(), file, writable })
            }
            Ok(path) => {
                let message = format!("`{}` is no file and no disk", path.display());
                Err(Error::new(Kind::Usage, message))
            }
            Err(error) => {
                let message = match writable {
                    true => format!("there is no file `{}` for the disk `{name}`", path.display()),
                    false => format!("the data of volume `{name}` are not at `{}`", path.display()),
                };
                Err(Error::caused(Kind::CannotDecide, message, error)
                    .hint(format!("say another with `--volume {name}=FILE`")))
            }
        };
        let mut disks = Vec::new();
        for name in volumes.keys() {
            let path = given(name).unwrap_or_else(|| release.path(&layout::volume(name)));
            disks.push(disk(name, path, false)?);
        }
        for name in scratch.keys() {
            if let Some(path) = given(name) {
                disks.push(disk(name, path, true)?);
            }
        }
        Ok(disks)
    }

    /// Scratch disks that were not named: files full of holes in the machine's own directory, gone with it.
    fn add_scratch(machine: &mut Machine, names: &[VolumeName], directory: &Path) -> Result<()> {
        for name in names {
            if machine.disks.iter().any(|disk| disk.serial == name.as_str()) {
                continue;
            }
            let file = directory.join(format!("{name}.scratch"));
            // Not cut to nothing first: a machine that was started from a printed command may have it.
            File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&file)
                .and_then(|new| new.set_len(SCRATCH))
                .context(Kind::Environment, || format!("failed making `{}`", file.display()))?;
            machine.disks.push(Disk { serial: name.to_string(), file, writable: true });
        }
        Ok(())
    }

    fn qemu(&self, ui: &Ui, settings: &Settings) -> Result<Qemu> {
        if let Some(program) = &self.qemu {
            // The machine has a working directory of its own, from which a relative path leads astray.
            let whole = program.canonicalize().ok().filter(|_| program.components().count() > 1);
            return Qemu::at(whole.as_deref().unwrap_or(program)).map_err(|error| {
                let kind = match &error {
                    QemuError::Old { .. } => Kind::CannotDecide,
                    _ => Kind::Environment,
                };
                Error::caused(kind, "this QEMU will not do", error)
                    .hint("leave `--qemu` out: a new enough one is then found or fetched")
            });
        }
        if let Ok(qemu) = Qemu::at(Path::new("qemu-system-x86_64")) {
            return Ok(qemu);
        }
        let (store, origins) = (settings.store()?, self.origin.read(settings)?);
        let resolver = Resolver { fetcher: &origins.fetcher(&store, ui), now: settings.now() };
        let root = private::root(&settings.cache()?.join("tools"), &resolver)?;
        Ok(Qemu::in_root(&root))
    }

    fn print(
        &self,
        ui: &Ui,
        machine: &mut Machine,
        scratch: &[VolumeName],
        qemu: Qemu,
    ) -> Result<()> {
        // Beside the release, never in it.
        let failed = || format!("failed finding `{}`", self.release.display());
        let mut directory =
            self.release.canonicalize().context(Kind::Environment, failed)?.into_os_string();
        directory.push(".run");
        let directory = PathBuf::from(directory);
        std::fs::create_dir_all(&directory)
            .and_then(|()| machine.prepare(&directory))
            .context(Kind::Environment, || format!("failed writing `{}`", directory.display()))?;
        Self::add_scratch(machine, scratch, &directory)?;
        let words = qemu.command.into_iter().chain(machine.arguments(&directory));
        let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        ui.answer(&words.join(" "))
    }

    fn verdict(&self, ui: &Ui, outcome: Outcome) -> Result<()> {
        let fail = |kind, message: &str| Err(Error::new(kind, message));
        match outcome {
            Outcome::PoweredOff => {
                ui.done("the guest powered off");
                Ok(())
            }
            Outcome::Reset => fail(Kind::Environment, "the guest restarted or panicked"),
            Outcome::Refused => fail(
                Kind::Rejected,
                "the firmware refused what it was handed: kernel, initrd or command line is not \
                 what the hash table names",
            ),
            Outcome::NothingToBoot => fail(
                Kind::Rejected,
                "the firmware found nothing that it may boot; the console says more",
            ),
            Outcome::FirmwareCrashed => Err(Error::new(Kind::Environment, "the firmware crashed")
                .hint("give it more memory with `--memory`")),
            Outcome::TimedOut => fail(
                Kind::CannotDecide,
                &format!("the guest was still running after {} s", self.timeout.unwrap_or(0)),
            ),
            Outcome::Stopped => fail(Kind::Environment, "stopped by a signal"),
            Outcome::QemuFailed(said) => {
                let error = Error::new(Kind::Environment, format!("QEMU ended: {said}"));
                Err(match said.contains("Could not set up host forwarding rule") {
                    true => error.hint("a port is in use; choose another with `--port HOST:GUEST`"),
                    false => error.hint("`--print` shows the command"),
                })
            }
        }
    }
}

/// The least memory in MiB with which an IGVM file is started: what the firmware has at both ends of it,
/// the file itself, and the copies of the initrd on its way to the kernel. With less the firmware would
/// overwrite what the launch put there, and refuse it.
fn igvm_memory(igvm: &IgvmRecord) -> u32 {
    let initrd = igvm.boot.initrd.map_or(0, |initrd| initrd.size);
    let bytes = START + igvm.file.size + 2 * initrd + (128 << 20);
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
}

/// The same QEMU, started so that it ends with this process even if that is killed.
fn bound(qemu: Qemu) -> Qemu {
    let parent = std::process::id().to_string();
    let mut command = vec!["/proc/self/exe".into(), "bound".into(), parent.into()];
    command.extend(qemu.command);
    Qemu { command, ..qemu }
}

/// Raised by the signals that ask a program to end, so that the machine ends with it.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .context(Kind::Environment, || "failed asking for signals".to_owned())?;
    }
    Ok(flag)
}

/// Whether this machine starts SEV-SNP guests (Linux `Documentation/virt/kvm/x86/amd-memory-encryption.rst`).
fn is_snp_host() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/kvm_amd/parameters/sev_snp");
    enabled.is_ok_and(|text| matches!(text.trim(), "Y" | "1")) && Path::new("/dev/sev").exists()
}

fn port(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("`{text}` is not a port: expected 1 to 65535"))
    };
    match text.split_once(':') {
        Some((host, guest)) => Ok((number(host)?, number(guest)?)),
        None => number(text).map(|port| (port, port)),
    }
}

fn is_block_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device())
}

fn disk(text: &str) -> Result<(VolumeName, PathBuf), String> {
    let given = text.split_once('=').filter(|(_, path)| !path.is_empty());
    let (name, path) = given.ok_or("expected NAME=FILE")?;
    Ok((name.parse().map_err(|error: NameError| error.to_string())?, path.into()))
}
