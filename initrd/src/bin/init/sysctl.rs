//! Kernel settings under `/proc/sys`.

use counterfoil_init::plan::Plan;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::console::Failure;

pub(crate) fn apply_all<'p>(plan: &Plan<'p>) -> Result<(), Failure<'p>> {
    plan.sysctls().try_for_each(|(key, value)| write(key.as_str(), value.as_str()))
}

pub(crate) fn write<'k>(key: &'k str, value: &str) -> Result<(), Failure<'k>> {
    let failed = |errno| Failure::System("cannot set", key, errno);
    let mut path = [0; 256];
    let path = path_of(key, &mut path).ok_or(failed(Errno::NAMETOOLONG))?;
    let file =
        rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    // In one write, since the kernel takes each one for a value of its own.
    match rustix::io::write(file, value.as_bytes()) {
        Ok(count) if count == value.len() => Ok(()),
        Ok(_) => Err(failed(Errno::INVAL)),
        Err(errno) => Err(failed(errno)),
    }
}

fn path_of<'b>(key: &str, buffer: &'b mut [u8; 256]) -> Option<&'b [u8]> {
    const ROOT: &[u8] = b"/proc/sys/";
    let path = buffer.get_mut(..ROOT.len() + key.len())?;
    path[..ROOT.len()].copy_from_slice(ROOT);
    for (to, from) in path[ROOT.len()..].iter_mut().zip(key.bytes()) {
        *to = if from == b'.' { b'/' } else { from };
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_slashes() {
        let path = path_of("net.ipv4.ip_forward", &mut [0; 256]).map(<[u8]>::to_vec);
        assert_eq!(path.unwrap(), b"/proc/sys/net/ipv4/ip_forward");
        assert_eq!(path_of(&"a".repeat(247), &mut [0; 256]), None);
    }
}
