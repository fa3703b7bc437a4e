//! Kernel modules: those of the plan, and then none.

use counterfoil_init::plan::Plan;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::console::{Failure, say};
use crate::sysctl;

pub(crate) fn load_all<'p>(plan: &Plan<'p>) -> Result<(), Failure<'p>> {
    for path in plan.modules() {
        let path = path.as_str();
        let loaded = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| rustix::system::finit_module(file, c"", 0));
        match loaded {
            // Another module's probe may have asked for it, or the kernel may have it built in.
            Ok(()) | Err(Errno::EXIST) => {}
            // The module is the measured one; what it drives is not here, as the SNP guest
            // device is not under emulation, or an instruction on an older CPU. The host could
            // always withhold a device, so to go on gives it nothing.
            Err(Errno::NODEV) => say!("module `{path}` has no device here"),
            Err(errno) => return Err(Failure::System("cannot load module", path, errno)),
        }
    }
    Ok(())
}

/// Nobody can load a module from here on, root included, until the next boot.
pub(crate) fn latch() -> Result<(), Failure<'static>> {
    sysctl::write("kernel.modules_disabled", "1")
}
