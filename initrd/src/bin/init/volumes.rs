//! The volumes of the plan: each is a disk under dm-verity, as the command line binds it, mounted read-only.
//!
//! A disk is found by its serial number, which is the host's to choose; that selects, and proves
//! nothing. What is read from it afterwards is checked block by block against the root hash.

use core::fmt::Write as _;
use core::mem::MaybeUninit;
use core::time::Duration;

use counterfoil_init::plan::{AbsolutePath, Plan};
use counterfoil_init::volume::{BLOCK, OnCorruption, SALT_ON_DISK, Salt, Volume, VolumeName};
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::thread::{NanosleepRelativeResult, Timespec};

use crate::console::{Failure, say};
use crate::sys::{self, DeviceMapper, DmRequest};
use crate::text::Text;

/// How often, and how long apart, a disk is looked for: ten seconds in all.
const LOOKS: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(50);

/// What is in a volume is data.
const FLAGS: MountFlags =
    MountFlags::RDONLY.union(MountFlags::NOSUID).union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Longer than any command line (Linux, arch/x86/include/asm/setup.h, COMMAND_LINE_SIZE) and what the
/// firmware puts before it.
const MAX_CMDLINE: usize = 4096;

/// Opens and mounts all of them.
pub(crate) fn mount_all<'p>(plan: &Plan<'p>) -> Result<(), Failure<'p>> {
    if plan.volumes().next().is_none() {
        return Ok(());
    }
    let mut buffer = [0; MAX_CMDLINE];
    let cmdline = read("/proc/cmdline", &mut buffer)
        .map_err(|errno| Failure::System("cannot read", "/proc/cmdline", errno))?;
    for (name, path) in plan.volumes() {
        let failed = |fault| Failure::Volume(name.as_str(), fault);
        let volume = Volume::find(cmdline, name).map_err(|error| failed(Fault::Word(error)))?;
        let device = open(&volume).map_err(failed)?;
        mount(&device, path).map_err(failed)?;
        say!("volume `{name}` at {path}, root hash {}", volume.root);
    }
    Ok(())
}

/// Why a volume is not opened.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    Word(counterfoil_init::volume::VolumeError),
    NoDisk,
    TwoDisks,
    Short { found: u64, needed: u64 },
    System(&'static str, Errno),
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Word(error) => write!(f, "{error}"),
            Self::NoDisk => f.write_str("no disk has this serial number"),
            Self::TwoDisks => f.write_str("two disks have this serial number"),
            Self::Short { found, needed } => {
                write!(f, "its disk has {found} bytes, and {needed} are needed")
            }
            Self::System(what, errno) => write!(f, "{what}: error {}", errno.raw_os_error()),
        }
    }
}

/// A disk of the guest.
struct Disk {
    /// Its name under `/sys/block` and `/dev`.
    name: Text<32>,
    /// Its number, as `MAJOR:MINOR`.
    number: Text<32>,
    bytes: u64,
}

/// Sets dm-verity up; what comes back is the path of the device that checks what it reads.
fn open(volume: &Volume<'_>) -> Result<Text<32>, Fault> {
    let disk = find(volume.name)?;
    // The command line has been checked: there is a number for it.
    let needed = volume.bytes().unwrap_or(u64::MAX);
    if disk.bytes < needed {
        return Err(Fault::Short { found: disk.bytes, needed });
    }
    let mut on_disk = Text::<{ 2 * SALT_ON_DISK }>::new();
    let salt = match (volume.salt, volume.salt_at()) {
        (Salt::OnDisk, Some(at)) => {
            read_salt(&disk, at, &mut on_disk)
                .map_err(|errno| Fault::System("cannot read its salt", errno))?;
            on_disk.as_str()
        }
        (Salt::OnDisk, None) => return Err(Fault::System("has no salt", Errno::INVAL)),
        (Salt::Said(salt), _) => salt,
    };
    let action = match volume.on_corruption {
        OnCorruption::Panic => "panic_on_corruption",
        OnCorruption::Restart => "restart_on_corruption",
    };
    // Linux, Documentation/admin-guide/device-mapper/verity.rst, "Construction Parameters".
    let (number, blocks, root) = (disk.number.as_str(), volume.data_blocks, volume.root);
    let mut table = Text::<{ DmRequest::MAX_PARAMETERS }>::new();
    write!(
        table,
        "1 {number} {number} {BLOCK} {BLOCK} {blocks} {blocks} sha256 {root} {salt} 1 {action}"
    )
    .map_err(|_| Fault::System("cannot write its table", Errno::NAMETOOLONG))?;
    map(volume, table.as_str()).map_err(|errno| Fault::System("cannot set dm-verity up", errno))
}

/// Linux, include/uapi/linux/dm-ioctl.h: a device is made, given a table, and resumed.
fn map(volume: &Volume<'_>, table: &str) -> Result<Text<32>, Errno> {
    let control =
        rustix::fs::open("/dev/mapper/control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let name = volume.name.as_str();
    let made = sys::device_mapper(&control, DeviceMapper::Create, DmRequest::new(name)?)?;
    let sectors = volume.data_blocks * (BLOCK / 512);
    let loaded = DmRequest::new(name)?.read_only().with_target(sectors, "verity", table)?;
    sys::device_mapper(&control, DeviceMapper::Load, loaded)?;
    sys::device_mapper(&control, DeviceMapper::Resume, DmRequest::new(name)?)?;
    let mut path = Text::new();
    write!(path, "/dev/dm-{}", made.minor()).map_err(|_| Errno::NAMETOOLONG)?;
    Ok(path)
}

fn mount(device: &Text<32>, path: AbsolutePath<'_>) -> Result<(), Fault> {
    rustix::mount::mount(device.as_str(), path.as_str(), "erofs", FLAGS, None)
        .map_err(|errno| Fault::System("cannot mount it", errno))
}

/// The one disk with this serial number. Disks may appear a moment after PID 1 has started.
fn find(name: VolumeName<'_>) -> Result<Disk, Fault> {
    for _ in 0..LOOKS {
        let found = look(name).map_err(|errno| Fault::System("cannot look for its disk", errno))?;
        match found {
            (Some(_), true) => return Err(Fault::TwoDisks),
            (Some(disk), false) => return Ok(disk),
            (None, _) => sleep(BETWEEN),
        }
    }
    Err(Fault::NoDisk)
}

/// The first disk with this serial number, and whether there is another.
fn look(name: VolumeName<'_>) -> Result<(Option<Disk>, bool), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, "/sys/block", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(&directory, &mut buffer);
    let mut found = None;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Ok(device) = entry.file_name().to_str() else { continue };
        // virtio has it beside the disk; NVMe and others beside the device.
        let serial = ["serial", "device/serial"];
        if !serial.iter().any(|file| has(device, file, name.as_str())) {
            continue;
        }
        if found.is_some() {
            return Ok((found, true));
        }
        found = Some(disk(device)?);
    }
    Ok((found, false))
}

fn has(device: &str, file: &str, expected: &str) -> bool {
    let mut buffer = [0; 64];
    attribute(device, file, &mut buffer).is_ok_and(|serial| serial == expected)
}

fn disk(device: &str) -> Result<Disk, Errno> {
    let (mut name, mut number) = (Text::new(), Text::new());
    let mut buffer = [0; 64];
    name.write_str(device).map_err(|_| Errno::NAMETOOLONG)?;
    number.write_str(attribute(device, "dev", &mut buffer)?).map_err(|_| Errno::NAMETOOLONG)?;
    // In sectors of 512 bytes, whatever the disk's own are.
    let sectors: u64 = attribute(device, "size", &mut buffer)?.parse().map_err(|_| Errno::INVAL)?;
    Ok(Disk { name, number, bytes: sectors.saturating_mul(512) })
}

/// A line of `/sys/block/DEVICE/FILE`.
fn attribute<'b>(device: &str, file: &str, buffer: &'b mut [u8]) -> Result<&'b str, Errno> {
    let mut path = Text::<128>::new();
    write!(path, "/sys/block/{device}/{file}").map_err(|_| Errno::NAMETOOLONG)?;
    read(path.as_str(), buffer).map(|text| text.trim_ascii())
}

fn read_salt(disk: &Disk, at: u64, salt: &mut Text<{ 2 * SALT_ON_DISK }>) -> Result<(), Errno> {
    let mut path = Text::<64>::new();
    write!(path, "/dev/{}", disk.name.as_str()).map_err(|_| Errno::NAMETOOLONG)?;
    let file = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::seek(&file, SeekFrom::Start(at))?;
    let mut bytes = [0; SALT_ON_DISK];
    if rustix::io::read(&file, &mut bytes)? != SALT_ON_DISK {
        return Err(Errno::IO);
    }
    bytes.iter().try_for_each(|byte| write!(salt, "{byte:02x}")).map_err(|_| Errno::NAMETOOLONG)
}

/// A file's whole contents, which must be shorter than the buffer.
fn read<'b>(path: &str, buffer: &'b mut [u8]) -> Result<&'b str, Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut length = 0;
    loop {
        match rustix::io::read(&file, &mut buffer[length..])? {
            0 if length == buffer.len() => return Err(Errno::FBIG),
            0 => break,
            count => length += count,
        }
    }
    core::str::from_utf8(&buffer[..length]).map_err(|_| Errno::ILSEQ)
}

fn sleep(time: Duration) {
    let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    // Signals are blocked; a shorter sleep would do no harm.
    let _: NanosleepRelativeResult = rustix::thread::nanosleep(&time);
}
