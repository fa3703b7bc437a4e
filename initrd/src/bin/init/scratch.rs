//! The scratch disks of the plan: each is encrypted with a key that is made here, written down nowhere,
//! and gone with the machine; an empty file system is put on it.
//!
//! The host learns which blocks are written, and when. It can bring old blocks back, or spoil them,
//! which nothing here finds out: what is on a scratch disk is secret, and not to be believed. The kernel
//! reads the file system from there all the same.

use core::fmt::Write as _;
use core::hint::black_box;

use counterfoil_init::ext4::{self, BLOCK, Layout, Owner};
use counterfoil_init::plan::{AbsolutePath, Plan};
use counterfoil_init::volume::VolumeName;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::rand::GetRandomFlags;

use crate::console::{Failure, say};
use crate::disks::{self, Access, Fault, SECTOR, Target};
use crate::sys::DmRequest;
use crate::text::Text;

/// What is in it is data.
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Two keys of AES-256, as XTS takes them (IEEE 1619).
const KEY: usize = 64;

/// Makes and mounts all of them.
pub(crate) fn mount_all<'p>(plan: &Plan<'p>) -> Result<(), Failure<'p>> {
    let owner = Owner { uid: plan.uid.as_u32(), gid: plan.gid.as_u32() };
    for (name, path) in plan.scratch() {
        let failed = |fault| Failure::Scratch(name.as_str(), fault);
        let (device, layout) = encrypt(name).map_err(failed)?;
        make(&device, layout, owner).map_err(failed)?;
        mount(&device, path).map_err(failed)?;
        say!("scratch `{name}` at {path}, encrypted with a key of this boot");
    }
    Ok(())
}

/// Sets dm-crypt up over the disk; what comes back is the device, and the layout of what goes on it.
fn encrypt(name: VolumeName<'_>) -> Result<(Text<32>, Layout), Fault> {
    let disk = disks::find(name)?;
    let blocks = disk.bytes / BLOCK as u64;
    let least = ext4::LEAST * BLOCK as u64;
    let layout = Layout::new(blocks).ok_or(Fault::Short { found: disk.bytes, needed: least })?;
    let mut key = Text::<{ 2 * KEY }>::new();
    draw_key(&mut key).map_err(|errno| Fault::System("cannot draw a key", errno))?;
    // Linux, Documentation/admin-guide/device-mapper/dm-crypt.rst: cipher, key, offset of the IV,
    // device, offset, and options.
    let number = disk.number.as_str();
    let mut table = Text::<{ DmRequest::MAX_PARAMETERS }>::new();
    let target =
        write!(table, "aes-xts-plain64 {} 0 {number} 0 1 sector_size:{BLOCK}", key.as_str())
            .map_err(|_| Fault::System("cannot write its table", Errno::NAMETOOLONG))
            .map(|()| Target {
                kind: "crypt",
                sectors: blocks * (BLOCK as u64 / SECTOR),
                parameters: table.as_str(),
                access: Access::Secret,
            })?;
    let mapped = disks::map(name, &target);
    // The key is in the device mapper now, and nowhere else.
    key.wipe();
    table.wipe();
    let device = mapped.map_err(|errno| Fault::System("cannot set dm-crypt up", errno))?;
    Ok((device, layout))
}

/// From the kernel's generator, once that has been seeded: by the processor's own, without which a kernel does
/// not start in a confidential guest (Linux from 6.9 on, arch/x86/coco/core.c, `cc_random_init`).
fn draw_key(text: &mut Text<{ 2 * KEY }>) -> Result<(), Errno> {
    let mut key = [0; KEY];
    if rustix::rand::getrandom(&mut key, GetRandomFlags::empty())? != KEY {
        return Err(Errno::IO);
    }
    key.iter().try_for_each(|byte| write!(text, "{byte:02x}")).map_err(|_| Errno::NAMETOOLONG)?;
    key = [0; KEY];
    black_box(&key);
    Ok(())
}

fn make(device: &Text<32>, layout: Layout, owner: Owner) -> Result<(), Fault> {
    let failed = |errno| Fault::System("cannot write to it", errno);
    let flags = OFlags::WRONLY | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(device.as_str(), flags, Mode::empty()).map_err(failed)?;
    let mut uuid = [0; 16];
    rustix::rand::getrandom(&mut uuid, GetRandomFlags::empty()).map_err(failed)?;
    let mut block = [0; BLOCK];
    for at in layout.written() {
        layout.fill(at, &uuid, owner, &mut block);
        let written = rustix::io::pwrite(&file, &block, u64::from(at) * BLOCK as u64);
        if written.map_err(failed)? != BLOCK {
            return Err(failed(Errno::IO));
        }
    }
    Ok(())
}

fn mount(device: &Text<32>, path: AbsolutePath<'_>) -> Result<(), Fault> {
    rustix::mount::mount(device.as_str(), path.as_str(), "ext4", FLAGS, None)
        .map_err(|errno| Fault::System("cannot mount it", errno))
}
