//! The kernel's own file systems, and memory to write to.

use core::ffi::CStr;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::console::Failure;

struct Mount {
    kind: &'static str,
    path: &'static str,
    flags: MountFlags,
    data: Option<&'static CStr>,
}

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// In this order: `/dev/shm` is in `/dev`. Nothing here may hold programs, so that all that can be
/// executed is what the image brought.
const MOUNTS: [Mount; 6] = [
    Mount { kind: "proc", path: "/proc", flags: PLAIN, data: None },
    Mount { kind: "sysfs", path: "/sys", flags: PLAIN, data: None },
    Mount {
        kind: "devtmpfs",
        path: "/dev",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        data: Some(c"mode=0755"),
    },
    Mount { kind: "tmpfs", path: "/dev/shm", flags: PLAIN, data: Some(c"mode=1777") },
    Mount { kind: "tmpfs", path: "/run", flags: PLAIN, data: Some(c"mode=0755") },
    Mount { kind: "tmpfs", path: "/tmp", flags: PLAIN, data: Some(c"mode=1777") },
];

/// Where reports are asked for. The kernel makes the directory, if it has configfs.
const CONFIGFS: Mount =
    Mount { kind: "configfs", path: "/sys/kernel/config", flags: PLAIN, data: None };

pub(crate) fn mount_all() -> Result<(), Failure<'static>> {
    for mount in MOUNTS {
        match rustix::fs::mkdir(mount.path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Failure::System("cannot make", mount.path, errno)),
        }
        mount.mount()?;
    }
    Ok(())
}

/// For a guest that is asked for evidence.
pub(crate) fn mount_configfs() -> Result<(), Failure<'static>> {
    CONFIGFS.mount()
}

impl Mount {
    fn mount(&self) -> Result<(), Failure<'static>> {
        rustix::mount::mount(self.kind, self.path, self.kind, self.flags, self.data)
            .map_err(|errno| Failure::System("cannot mount", self.path, errno))
    }
}

/// The mounts above are file systems of their own and stay as they are.
pub(crate) fn make_root_read_only() -> Result<(), Failure<'static>> {
    rustix::mount::mount_remount("/", MountFlags::RDONLY, c"")
        .map_err(|errno| Failure::System("cannot make read-only", "/", errno))
}
