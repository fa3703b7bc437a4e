//! A QEMU that can do it: the host's own, or Debian's in a directory of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// QEMU before this patches the kernel's setup header on its way to the firmware, whose verifier
/// then finds a kernel that is not the measured one. From here on it hands over the file as it is
/// (`etc/boot/kernel` in fw_cfg), which this generation of firmware prefers.
pub const OLDEST: u32 = 10;

/// A QEMU that can be started.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// The program and the arguments that come before the machine's.
    pub command: Vec<OsString>,
    /// Its major version.
    pub version: u32,
}

/// Why a QEMU will not do.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// It could not be started.
    #[error("`{}` cannot be started", .0.display())]
    Start(PathBuf, #[source] std::io::Error),
    /// It does not say its version.
    #[error("`{}` does not say what version of QEMU it is", .0.display())]
    Version(PathBuf),
    /// It is too old.
    #[error("`{}` is QEMU {found}; measured direct boot needs {OLDEST} or newer", program.display())]
    Old {
        /// The program.
        program: PathBuf,
        /// Its major version.
        found: u32,
    },
}

impl Qemu {
    /// The QEMU at `program`, or by that name on the search path, if it is new enough.
    ///
    /// # Errors
    /// When it cannot be started or is too old.
    pub fn at(program: &Path) -> Result<Self, QemuError> {
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| QemuError::Start(program.to_owned(), error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = major(&text).ok_or_else(|| QemuError::Version(program.to_owned()))?;
        if found < OLDEST {
            return Err(QemuError::Old { program: program.to_owned(), found });
        }
        Ok(Self { command: vec![program.into()], version: found })
    }

    /// Whether it was built to start from IGVM files.
    pub fn takes_igvm(&self) -> bool {
        let Some((program, arguments)) = self.command.split_first() else { return false };
        let output = Command::new(program)
            .args(arguments)
            .args(["-object", "help"])
            .stdin(Stdio::null())
            .output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("igvm-cfg"))
    }

    /// Debian's QEMU unpacked at `root`, started through its own dynamic linker so that no library
    /// of this machine is loaded.
    pub fn in_root(root: &Path) -> Self {
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let command = vec![
            root.join("usr/lib64/ld-linux-x86-64.so.2").into(),
            "--inhibit-cache".into(),
            "--library-path".into(),
            libraries.into(),
            root.join("usr/bin/qemu-system-x86_64").into(),
            "-L".into(),
            root.join("usr/share/qemu").into(),
        ];
        Self { command, version: OLDEST }
    }
}

/// The major version in `QEMU emulator version 10.0.2 (…)`.
fn major(text: &str) -> Option<u32> {
    text.split_once("version ")?.1.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_read() {
        let text = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\n";
        assert_eq!(super::major(text), Some(10));
        assert_eq!(super::major("something else"), None);
    }
}
