//! The small words that manifests, trees and records share, each a type that cannot hold a wrong value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not what its place in the manifest asks for.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct NameError {
    text: String,
    expected: &'static str,
}

fn refuse(text: &str, expected: &'static str) -> NameError {
    NameError { text: text.to_owned(), expected }
}

macro_rules! string_type {
    ($(#[$doc:meta])* $type:ident, $check:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(refuse(text, $expected)) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

string_type!(
    /// The name of an image or of an input: it appears in file names and messages.
    Name,
    |text| {
        text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
    },
    "a name: lower-case letters, digits, `-`, `_` and `.`, at most 64, a letter or digit first"
);

string_type!(
    /// The name of a volume, which is the serial number of the disk that the guest looks for.
    VolumeName,
    |text| counterfoil_init::volume::VolumeName::new(text).is_ok(),
    "the name of a volume: lower-case letters, digits and inner `-`, at most 20"
);

string_type!(
    /// A Debian package name (Debian Policy 5.6.1), or a pattern of them with `*`.
    PackageName,
    |text| {
        text.len() >= 2
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.*".contains(c))
    },
    "a Debian package name: lower-case letters, digits, `+`, `-` and `.`"
);

string_type!(
    /// The name of a project in a Python package index (PyPA's "Names and normalization").
    ProjectName,
    |text| {
        let ends = |c: char| c.is_ascii_alphanumeric();
        text.starts_with(ends)
            && text.ends_with(ends)
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    },
    "a Python project's name: letters, digits, `-`, `_` and `.`, a letter or digit at both ends"
);

string_type!(
    /// A version as a Python project's files say it (PyPA's "Version specifiers").
    ProjectVersion,
    |text| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".!+_".contains(c))
    },
    "a version such as `0.3.36`, in quotes where YAML takes it for a number"
);

string_type!(
    /// An archive's suite or component, a plain path element.
    Suite,
    |text| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
    },
    "a suite such as `trixie` or `sid`"
);

string_type!(
    /// An absolute path in the guest, normalised: no `.`, no `..`, no empty or trailing element.
    GuestPath,
    |text| {
        text.len() < 4096
            && text.starts_with('/')
            && (text == "/" || text[1..].split('/').all(is_path_element))
    },
    "an absolute path in the guest without `.`, `..`, empty parts, newline or NUL"
);

string_type!(
    /// One line of text without newline or NUL: an argument, an environment value.
    Line,
    |text| !text.contains(['\n', '\r', '\0']),
    "one line of text without newline or NUL"
);

/// What firmware puts before or behind a command line; the kernel takes 2047 bytes of both together
/// (edk2, OvmfPkg/Library/GenericQemuLoadImageLib; Linux, arch/x86/include/asm/setup.h,
/// COMMAND_LINE_SIZE), and its EFI stub cuts off what is more.
const INITRD: &str = "initrd=initrd ";

string_type!(
    /// The kernel's command line: printable ASCII on one line, so that its bytes are what is read.
    Cmdline,
    |text| {
        text.len() <= 2047 - INITRD.len()
            && text.bytes().all(|b| (0x20..0x7f).contains(&b))
            && text.trim() == text
            && !text.contains("  ")
    },
    "a command line: printable ASCII, single spaces, none at the ends, at most 2033 bytes"
);

string_type!(
    /// The name of an environment variable.
    Variable,
    |text| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    },
    "an environment variable's name: letters, digits and `_`, not a digit first"
);

string_type!(
    /// A kernel parameter of sysctl in its dotted form.
    Sysctl,
    |text| {
        text.contains('.')
            && text.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)))
    },
    "a sysctl such as `kernel.kptr_restrict`"
);

fn is_path_element(element: &str) -> bool {
    !element.is_empty()
        && element != "."
        && element != ".."
        && element.len() <= 255
        && !element.contains(['\0', '\n', '\r'])
}

impl Name {
    /// PID 1's, among the programs that counterfoil carries; no input has it.
    pub fn init() -> Self {
        Self("init".to_owned())
    }

    /// The evidence agent's; no input of a manifest that asks for evidence has it.
    pub fn evidence() -> Self {
        Self("evidence".to_owned())
    }
}

impl Suite {
    /// The component that holds what counterfoil needs unless the manifest says otherwise.
    pub fn main() -> Self {
        Self("main".to_owned())
    }
}

impl GuestPath {
    /// The guest's root directory.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The path without its leading slash, as archives write it; empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The directory above, or `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let at = self.0.rfind('/').filter(|_| self.0 != "/")?;
        Some(Self(self.0[..at.max(1)].to_owned()))
    }

    /// Where `target` leads from this directory, as a symbolic link's target does: absolute or
    /// relative, `.` and `..` walked, `..` at the root staying there (path_resolution(7)). `None`
    /// when the result is no path.
    pub fn walk(&self, target: &str) -> Option<Self> {
        let base = if target.starts_with('/') { "/" } else { self.as_str() };
        let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/")).parse().ok()
    }

    /// This path with `tail`, a relative normalised path, below it.
    ///
    /// # Errors
    /// When `tail` is not such a path.
    pub fn join(&self, tail: &str) -> Result<Self, NameError> {
        format!("{}/{tail}", self.0.trim_end_matches('/')).parse()
    }
}

/// A kernel module asked for: alternatives by name, tried in order (`tsm_report | tsm`), and
/// whether a kernel without any of them will do (a trailing `?`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRequest {
    /// Names in the kernel's spelling, with `_`.
    pub names: Vec<String>,
    /// Whether the kernel may lack all of them.
    pub optional: bool,
}

impl FromStr for ModuleRequest {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (list, optional) = match text.strip_suffix('?') {
            Some(list) => (list, true),
            None => (text, false),
        };
        let names: Vec<_> = list.split('|').map(|name| name.trim().replace('-', "_")).collect();
        let is_name = |name: &String| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !names.iter().all(is_name) {
            return Err(refuse(text, "a module request: `name`, `one | other`, or `name?`"));
        }
        Ok(Self { names, optional })
    }
}

impl fmt::Display for ModuleRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.names.join(" | "), if self.optional { "?" } else { "" })
    }
}

/// Permission bits, written as an octal string of four digits (`"0755"`): a bare YAML number would
/// mean one thing in YAML 1.1 and another in 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u16);

impl FromStr for Mode {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let octal = text.len() == 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        u16::from_str_radix(text, 8)
            .ok()
            .filter(|_| octal)
            .map(Self)
            .ok_or_else(|| refuse(text, "a mode of four octal digits in quotes, such as \"0755\""))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A user and group by number, written `UID:GID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl FromStr for Owner {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = |part: &str| part.parse().ok().filter(|n: &u32| n.to_string() == part);
        text.split_once(':')
            .and_then(|(uid, gid)| Some(Self { uid: number(uid)?, gid: number(gid)? }))
            .ok_or_else(|| refuse(text, "an owner as `UID:GID`, such as `1000:1000`"))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A 64-bit value written in hexadecimal (`"0x30000"`) or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex64(pub u64);

impl fmt::Display for Hex64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for Hex64 {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed.map(Self).map_err(|_| refuse(text, "a 64-bit number such as 0x30000 or 1"))
    }
}

macro_rules! through_text {
    ($($type:ident),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

through_text!(ModuleRequest, Mode, Owner);

impl Serialize for Hex64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Hex64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit number such as 0x30000 or 1")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Hex64, E> {
                Ok(Hex64(value))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Hex64, E> {
                u64::try_from(value).map(Hex64).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hex64, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_or_are_not_normal_are_refused() {
        for text in ["", "usr/bin", "/usr/../etc", "/a//b", "/a/", "/./a", "/a\nb", "/a\0"] {
            assert!(text.parse::<GuestPath>().is_err(), "{text:?}");
        }
        let path: GuestPath = "/usr/bin/x".parse().unwrap();
        assert_eq!(path.parent().unwrap().as_str(), "/usr/bin");
        assert_eq!("/usr".parse::<GuestPath>().unwrap().parent().unwrap().as_str(), "/");
        assert_eq!("/".parse::<GuestPath>().unwrap().parent(), None);
        assert!(path.join("../x").is_err());
        let walk = |target| path.walk(target).unwrap().to_string();
        assert_eq!(walk("../lib/./y"), "/usr/bin/lib/y");
        assert_eq!(walk("../../../../../etc"), "/etc");
        assert_eq!(walk("/a//b/../c"), "/a/c");
    }

    #[test]
    fn each_word_has_one_spelling() {
        assert_eq!("0755".parse::<Mode>().unwrap().to_string(), "0755");
        for text in ["755", "0o755", "0855", "00755"] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
        assert_eq!("1000:100".parse::<Owner>().unwrap(), Owner { uid: 1000, gid: 100 });
        for text in ["1000", "01:0", "a:b", "-1:0", "4294967296:0"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
        let request: ModuleRequest = "tsm-report | tsm?".parse().unwrap();
        assert_eq!(request.names, ["tsm_report", "tsm"]);
        assert_eq!(request.to_string(), "tsm_report | tsm?");
    }
}
