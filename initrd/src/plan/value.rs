//! The values of a plan. None can hold a newline or a NUL: a line could not carry the one, nor an
//! argument vector the other.

use core::fmt;

/// Any text without newline or NUL; may be empty.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Text<'a>(&'a str);

/// An absolute path in its one plain spelling: no empty, `.` or `..` component, no slash at the
/// end, at most 255 bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AbsolutePath<'a>(&'a str);

/// A host name: letters, digits and inner hyphens, at most 63.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Hostname<'a>(&'a str);

/// A key such as `net.ipv6.conf.all.disable_ipv6`: lower-case letters, digits, `_` and `-`, in
/// components with dots between them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SysctlKey<'a>(&'a str);

/// `KEY=VALUE`; the key is not empty.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Variable<'a>(&'a str);

/// A user or group: any but 2³² − 1, which to the kernel means "leave as it is", that is: root.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Id(u32);

/// A span of time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Seconds(u16);

/// A TCP port: any but 0, which to the kernel means "any".
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Port(u16);

/// A vsock port: any but 0, which is nobody's, and 2³² − 1, which to the kernel means "any" (Linux,
/// include/uapi/linux/vm_sockets.h, VMADDR_PORT_ANY).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct VsockPort(u32);

/// Why text is not the value that it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "`Display` says it")]
pub enum ValueError {
    Hostname,
    Id,
    Path,
    Port,
    Seconds,
    SysctlKey,
    Text,
    Variable,
    VolumeName,
    VsockPort,
}

impl<'a> Text<'a> {
    /// # Errors
    /// If the text has a newline or a NUL.
    pub fn new(text: &'a str) -> Result<Self, ValueError> {
        if text.bytes().any(|b| b == b'\n' || b == 0) {
            Err(ValueError::Text)
        } else {
            Ok(Self(text))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'a> AbsolutePath<'a> {
    pub(super) const ROOT: Self = Self("/");

    /// # Errors
    /// If this is not such a path.
    pub fn new(path: &'a str) -> Result<Self, ValueError> {
        Text::new(path).map_err(|_| ValueError::Path)?;
        let relative = path.strip_prefix('/').ok_or(ValueError::Path)?;
        let plain = |component: &str| !matches!(component, "" | "." | "..");
        if path.len() > 255 || !(relative.is_empty() || relative.split('/').all(plain)) {
            return Err(ValueError::Path);
        }
        Ok(Self(path))
    }

    /// The path.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'a> Hostname<'a> {
    /// # Errors
    /// If this is not such a name.
    pub fn new(name: &'a str) -> Result<Self, ValueError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let edges = name.starts_with('-') || name.ends_with('-');
        if name.is_empty() || name.len() > 63 || edges || !name.bytes().all(allowed) {
            return Err(ValueError::Hostname);
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'a> SysctlKey<'a> {
    /// # Errors
    /// If this is not such a key.
    pub fn new(key: &'a str) -> Result<Self, ValueError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        let plain = |component: &str| !component.is_empty() && component.bytes().all(allowed);
        if key.len() > 200 || !key.split('.').all(plain) {
            return Err(ValueError::SysctlKey);
        }
        Ok(Self(key))
    }

    /// The key, with dots.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'a> Variable<'a> {
    /// # Errors
    /// If there is no `=`, nothing before it, or the text has a newline or a NUL.
    pub fn new(text: &'a str) -> Result<Self, ValueError> {
        Text::new(text).map_err(|_| ValueError::Variable)?;
        match text.split_once('=') {
            Some((key, _)) if !key.is_empty() => Ok(Self(text)),
            _ => Err(ValueError::Variable),
        }
    }

    /// The whole, `KEY=VALUE`.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// What stands before the first `=`.
    pub fn key(&self) -> &'a str {
        self.0.split_once('=').map_or(self.0, |(key, _)| key)
    }
}

impl Id {
    pub(super) const NOBODY: Self = Self(65534);

    /// # Errors
    /// If the number is 2³² − 1.
    pub const fn new(id: u32) -> Result<Self, ValueError> {
        if id == u32::MAX { Err(ValueError::Id) } else { Ok(Self(id)) }
    }

    pub(super) fn parse(text: &str) -> Result<Self, ValueError> {
        decimal(text).ok_or(ValueError::Id).and_then(Self::new)
    }

    /// The number.
    pub fn as_u32(self) -> u32 {
        self.0
    }
}

impl Seconds {
    /// Any number of seconds up to some eighteen hours.
    pub const fn from_u16(seconds: u16) -> Self {
        Self(seconds)
    }

    pub(super) fn parse(text: &str) -> Result<Self, ValueError> {
        let seconds = decimal(text).and_then(|number| u16::try_from(number).ok());
        seconds.map(Self).ok_or(ValueError::Seconds)
    }

    /// The number.
    pub fn as_u16(self) -> u16 {
        self.0
    }
}

impl Port {
    /// # Errors
    /// If the number is 0.
    pub const fn new(port: u16) -> Result<Self, ValueError> {
        if port == 0 { Err(ValueError::Port) } else { Ok(Self(port)) }
    }

    pub(super) fn parse(text: &str) -> Result<Self, ValueError> {
        let port = decimal(text).and_then(|number| u16::try_from(number).ok());
        port.ok_or(ValueError::Port).and_then(Self::new)
    }

    /// The number.
    pub fn as_u16(self) -> u16 {
        self.0
    }
}

impl VsockPort {
    /// # Errors
    /// If the number is 0 or 2³² − 1.
    pub const fn new(port: u32) -> Result<Self, ValueError> {
        if port == 0 || port == u32::MAX { Err(ValueError::VsockPort) } else { Ok(Self(port)) }
    }

    pub(super) fn parse(text: &str) -> Result<Self, ValueError> {
        decimal(text).ok_or(ValueError::VsockPort).and_then(Self::new)
    }

    /// The number.
    pub fn as_u32(self) -> u32 {
        self.0
    }
}

/// A decimal number in its one spelling: no sign, no leading zero.
fn decimal(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

macro_rules! display {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

display!(
    Text<'_>,
    AbsolutePath<'_>,
    Hostname<'_>,
    SysctlKey<'_>,
    Variable<'_>,
    Id,
    Port,
    Seconds,
    VsockPort
);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hostname => "not a host name",
            Self::Id => "not a user or group number",
            Self::Path => "not an absolute path in plain spelling of at most 255 bytes",
            Self::Port => "not a port from 1 to 65535",
            Self::Seconds => "not a number of seconds up to 65535",
            Self::SysctlKey => "not a sysctl key",
            Self::Text => "text with a newline or a NUL",
            Self::Variable => "not of the form `KEY=VALUE`",
            Self::VolumeName => "not a volume's name",
            Self::VsockPort => "not a port from 1 to 4294967294",
        })
    }
}

impl core::error::Error for ValueError {}
