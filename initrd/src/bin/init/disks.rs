//! Disks: found by the serial number that the host gave them, and put under the device mapper.
//!
//! A serial number selects, and proves nothing. What stands between a disk and the guest is what the
//! device mapper is told to check or to decrypt.

use core::fmt::Write as _;
use core::mem::MaybeUninit;
use core::time::Duration;

use counterfoil_init::volume::VolumeName;
use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::thread::{NanosleepRelativeResult, Timespec};

use crate::sys::{self, DeviceMapper, DmRequest};
use crate::text::Text;

/// How often, and how long apart, a disk is looked for: ten seconds in all.
const LOOKS: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(50);

/// The unit in which the kernel counts what a disk holds, in bytes.
pub(crate) const SECTOR: u64 = 512;

/// Why a volume or a scratch disk is not there.
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
pub(crate) struct Disk {
    /// Its name under `/sys/block` and `/dev`.
    name: Text<32>,
    /// Its number, as `MAJOR:MINOR`.
    pub(crate) number: Text<32>,
    pub(crate) bytes: u64,
}

impl Disk {
    /// Of the device itself.
    pub(crate) fn path(&self) -> Result<Text<32>, Errno> {
        let mut path = Text::new();
        write!(path, "/dev/{}", self.name.as_str()).map_err(|_| Errno::NAMETOOLONG)?;
        Ok(path)
    }
}

/// What the device mapper is to do.
pub(crate) struct Target<'a> {
    /// Its name.
    pub(crate) kind: &'a str,
    pub(crate) sectors: u64,
    pub(crate) parameters: &'a str,
    pub(crate) access: Access,
}

/// How a mapped device is made.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Access {
    ReadOnly,
    /// And the kernel forgets the parameters that it was handed.
    Secret,
}

/// Linux, include/uapi/linux/dm-ioctl.h: a device is made, given a table, and resumed. What comes back is
/// its path.
pub(crate) fn map(name: VolumeName<'_>, target: &Target<'_>) -> Result<Text<32>, Errno> {
    let control =
        rustix::fs::open("/dev/mapper/control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let name = name.as_str();
    let mut made = DmRequest::new(name)?;
    sys::device_mapper(&control, DeviceMapper::Create, &mut made)?;
    let mut loaded = DmRequest::new(name)?;
    match target.access {
        Access::ReadOnly => loaded.read_only(),
        Access::Secret => loaded.secret(),
    }
    loaded.set_target(target.sectors, target.kind, target.parameters)?;
    let result = sys::device_mapper(&control, DeviceMapper::Load, &mut loaded);
    loaded.wipe();
    result?;
    sys::device_mapper(&control, DeviceMapper::Resume, &mut DmRequest::new(name)?)?;
    let mut path = Text::new();
    write!(path, "/dev/dm-{}", made.minor()).map_err(|_| Errno::NAMETOOLONG)?;
    Ok(path)
}

/// The one disk with this serial number. Disks may appear a moment after PID 1 has started.
pub(crate) fn find(name: VolumeName<'_>) -> Result<Disk, Fault> {
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
    // In sectors of this size, whatever the disk's own are.
    let sectors: u64 = attribute(device, "size", &mut buffer)?.parse().map_err(|_| Errno::INVAL)?;
    Ok(Disk { name, number, bytes: sectors.saturating_mul(SECTOR) })
}

/// A line of `/sys/block/DEVICE/FILE`.
fn attribute<'b>(device: &str, file: &str, buffer: &'b mut [u8]) -> Result<&'b str, Errno> {
    let mut path = Text::<128>::new();
    write!(path, "/sys/block/{device}/{file}").map_err(|_| Errno::NAMETOOLONG)?;
    read(path.as_str(), buffer).map(|text| text.trim_ascii())
}

/// A file's whole contents, which must be shorter than the buffer.
pub(crate) fn read<'b>(path: &str, buffer: &'b mut [u8]) -> Result<&'b str, Errno> {
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
