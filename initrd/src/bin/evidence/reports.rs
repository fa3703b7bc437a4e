//! Reports, asked of the kernel: Linux, Documentation/ABI/testing/configfs-tsm-report.

use core::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// The largest report and the largest certificates that the kernel hands out (Linux,
/// include/linux/tsm.h, TSM_OUTBLOB_MAX).
const LONGEST: usize = 32 * 1024;

/// The longest name of a provider: `sev_guest`, and room.
const LONGEST_NAME: usize = 32;

/// Why there is no report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    NoProvider,
    /// Somebody else wrote to the entry meanwhile: the report may be over their bytes.
    Conflict,
    /// What could not be done, and why.
    Failed(&'static str, Errno),
}

impl Fault {
    /// Its stable name.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoProvider => "no-provider",
            Self::Conflict => "conflict",
            Self::Failed(..) => "failed",
        }
    }

    fn of(what: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| match errno {
            // No configfs, no `tsm` in it, nobody behind it, or a provider that has left.
            Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV | Errno::NOTTY => {
                Self::NoProvider
            }
            errno => Self::Failed(what, errno),
        }
    }
}

/// The agent's entry among the kernel's requests.
#[derive(Clone, Copy)]
pub(crate) struct Reports {
    pub(crate) entry: &'static CStr,
}

impl Reports {
    /// Who makes reports here.
    pub(crate) fn provider(self) -> Result<Provider, Fault> {
        Provider::read(&self.open()?)
    }

    /// A report over these bytes, and no others.
    pub(crate) fn get(self, report_data: &[u8; 64]) -> Result<Report, Fault> {
        let entry = self.open()?;
        let before = generation(&entry)?;
        write(&entry, report_data).map_err(Fault::of("cannot write the report data"))?;
        let mut report = Report {
            provider: Provider { name: [0; LONGEST_NAME], length: 0 },
            report: Blob { bytes: [0; LONGEST], length: 0 },
            certificates: Blob { bytes: [0; LONGEST], length: 0 },
            certificates_fit: true,
        };
        let failed = Fault::of("cannot get a report");
        if report.report.fill(&entry, "outblob").map_err(&failed)? == 0 {
            return Err(failed(Errno::NODATA));
        }
        match report.certificates.fill(&entry, "auxblob") {
            // A host need not bring certificates, and a provider need not know of them.
            Ok(_) | Err(Errno::NOENT) => {}
            // Nor can one keep the guest from a report by bringing too many.
            Err(Errno::FBIG) => report.certificates_fit = false,
            Err(errno) => return Err(Fault::of("cannot get the certificates")(errno)),
        }
        report.provider = Provider::read(&entry)?;
        // Each write counts, and there was to be one: ours.
        match generation(&entry)? == before.wrapping_add(1) {
            true => Ok(report),
            false => Err(Fault::Conflict),
        }
    }

    /// PID 1 has made it, if there is anybody to make reports.
    fn open(self) -> Result<OwnedFd, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, self.entry, flags, Mode::empty())
            .map_err(Fault::of("cannot open the agent's entry in configfs"))
    }
}

/// A report, with what came with it.
pub(crate) struct Report {
    provider: Provider,
    report: Blob,
    certificates: Blob,
    certificates_fit: bool,
}

impl Report {
    pub(crate) fn provider(&self) -> &str {
        self.provider.as_str()
    }

    pub(crate) fn report(&self) -> &[u8] {
        self.report.as_bytes()
    }

    /// Empty if there are none, `None` if they are longer than there is room for.
    pub(crate) fn certificates(&self) -> Option<&[u8]> {
        self.certificates_fit.then(|| self.certificates.as_bytes())
    }

    /// As large as there is room for.
    #[cfg(test)]
    pub(crate) fn full() -> Self {
        let blob = || Blob { bytes: [0xff; LONGEST], length: LONGEST };
        let provider = Provider { name: [b'a'; LONGEST_NAME], length: LONGEST_NAME };
        Self { provider, report: blob(), certificates: blob(), certificates_fit: true }
    }
}

/// The name of who makes reports, which is safe to print.
pub(crate) struct Provider {
    name: [u8; LONGEST_NAME],
    length: usize,
}

impl Provider {
    fn read(entry: impl AsFd) -> Result<Self, Fault> {
        let mut text = [0; LONGEST_NAME + 1];
        let length = read(entry, "provider", &mut text)
            .map_err(Fault::of("cannot ask who makes reports"))?;
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
        let name = text[..length].strip_suffix(b"\n").unwrap_or(&text[..length]);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.iter().all(allowed) {
            return Err(Fault::Failed("cannot tell who makes reports", Errno::INVAL));
        }
        let mut provider = Self { name: [0; LONGEST_NAME], length: name.len() };
        provider.name[..name.len()].copy_from_slice(name);
        Ok(provider)
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.name[..self.length]).unwrap_or_default()
    }
}

struct Blob {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Blob {
    fn fill(&mut self, entry: impl AsFd, attribute: &str) -> Result<usize, Errno> {
        self.length = read(entry, attribute, &mut self.bytes)?;
        Ok(self.length)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn generation(entry: impl AsFd) -> Result<u64, Fault> {
    let failed = Fault::of("cannot ask how often the entry was written to");
    let mut text = [0; 24];
    let length = read(entry, "generation", &mut text).map_err(&failed)?;
    let text = str::from_utf8(&text[..length]).ok();
    text.and_then(|text| text.trim_ascii().parse().ok()).ok_or_else(|| failed(Errno::INVAL))
}

/// The kernel takes what was written when the file is closed, and whether it did shows in the generation.
fn write(entry: impl AsFd, report_data: &[u8; 64]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(entry, "inblob", flags, Mode::empty())?;
    match rustix::io::write(file, report_data)? {
        64 => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Reads all of an attribute, which must fit.
fn read(entry: impl AsFd, attribute: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(entry, attribute, flags, Mode::empty())?;
    let mut length = 0;
    loop {
        // What does not fit shows in one byte more.
        let mut over = [0; 1];
        let room = match &mut buffer[length..] {
            [] => &mut over[..],
            room => room,
        };
        match rustix::io::read(&file, room) {
            Ok(0) => return Ok(length),
            Ok(_) if length == buffer.len() => return Err(Errno::FBIG),
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
