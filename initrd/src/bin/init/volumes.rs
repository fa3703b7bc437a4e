//! The volumes of the plan: each is a disk under dm-verity, as the command line binds it, mounted read-only.
//!
//! What is read from the disk is checked block by block against the root hash. Where the command line
//! says that nothing is known of a volume, its disk is mounted as it is, and the console says so.

use core::fmt::Write as _;

use counterfoil_init::plan::{AbsolutePath, Plan};
use counterfoil_init::volume::{BLOCK, Binding, OnCorruption, SALT_ON_DISK, Salt, Volume};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::console::{Failure, say};
use crate::disks::{self, Access, Disk, Fault, SECTOR, Target};
use crate::sys::DmRequest;
use crate::text::Text;

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
    let cmdline = disks::read("/proc/cmdline", &mut buffer)
        .map_err(|errno| Failure::System("cannot read", "/proc/cmdline", errno))?;
    for (name, path) in plan.volumes() {
        let failed = |fault| Failure::Volume(name.as_str(), fault);
        let binding = Binding::find(cmdline, name).map_err(|error| failed(Fault::Word(error)))?;
        let disk = disks::find(name).map_err(failed)?;
        match binding {
            Binding::Verified(volume) => {
                let device = open(&volume, &disk).map_err(failed)?;
                mount(&device, path).map_err(failed)?;
                say!("volume `{name}` at {path}, root hash {}", volume.root);
            }
            Binding::Unverified => {
                let device = disk
                    .path()
                    .map_err(|errno| failed(Fault::System("cannot name its disk", errno)))?;
                mount(&device, path).map_err(failed)?;
                say!("volume `{name}` at {path}: NOT VERIFIED, the host chooses what is in it");
            }
        }
    }
    Ok(())
}

/// Sets dm-verity up; what comes back is the path of the device that checks what it reads.
fn open(volume: &Volume<'_>, disk: &Disk) -> Result<Text<32>, Fault> {
    // The command line has been checked: there is a number for it.
    let needed = volume.bytes().unwrap_or(u64::MAX);
    if disk.bytes < needed {
        return Err(Fault::Short { found: disk.bytes, needed });
    }
    let mut on_disk = Text::<{ 2 * SALT_ON_DISK }>::new();
    let salt = match (volume.salt, volume.salt_at()) {
        (Salt::OnDisk, Some(at)) => {
            read_salt(disk, at, &mut on_disk)
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
    let target = Target {
        kind: "verity",
        sectors: volume.data_blocks * (BLOCK / SECTOR),
        parameters: table.as_str(),
        access: Access::ReadOnly,
    };
    disks::map(volume.name, &target)
        .map_err(|errno| Fault::System("cannot set dm-verity up", errno))
}

fn mount(device: &Text<32>, path: AbsolutePath<'_>) -> Result<(), Fault> {
    rustix::mount::mount(device.as_str(), path.as_str(), "erofs", FLAGS, None)
        .map_err(|errno| Fault::System("cannot mount it", errno))
}

fn read_salt(disk: &Disk, at: u64, salt: &mut Text<{ 2 * SALT_ON_DISK }>) -> Result<(), Errno> {
    let path = disk.path()?;
    let file = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::seek(&file, SeekFrom::Start(at))?;
    let mut bytes = [0; SALT_ON_DISK];
    if rustix::io::read(&file, &mut bytes)? != SALT_ON_DISK {
        return Err(Errno::IO);
    }
    bytes.iter().try_for_each(|byte| write!(salt, "{byte:02x}")).map_err(|_| Errno::NAMETOOLONG)
}
