//! The classes of causes: what makes artifacts differ that are meant to be the same.

use serde::{Serialize, Serializer};

/// The class of a cause.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "`means` says it")]
pub enum Cause {
    Profile,
    Vcpus,
    Cpu,
    Features,
    Policy,
    PackageVersion,
    Input,
    Firmware,
    Kernel,
    KernelTimestamp,
    Signature,
    Cmdline,
    Added,
    Removed,
    Kind,
    Umask,
    Mode,
    Owner,
    Mtime,
    Link,
    Order,
    HardLinks,
    InodeNumbers,
    Device,
    Content,
    BuildId,
    Compressor,
    Padding,
    Uuid,
    BuildTime,
    Layout,
    Salt,
    Tree,
    Volume,
    Writer,
    Tool,
    Record,
    Document,
}

impl Cause {
    /// A stable name.
    pub fn code(self) -> &'static str {
        self.entry().0
    }

    /// What such a difference comes from.
    pub fn means(self) -> &'static str {
        self.entry().1
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().copied()
    }

    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Profile => {
                ("vmm-profile", "another hypervisor, or another version of its launch")
            }
            Self::Vcpus => ("vcpus", "another number of vCPUs: each is measured"),
            Self::Cpu => ("cpu-model", "another CPU model: its signature is in every VMSA"),
            Self::Features => ("sev-features", "other SEV_FEATURES: they are in every VMSA"),
            Self::Policy => ("policy", "another guest policy; not in the digest, in the report"),
            Self::PackageVersion => ("package-version", "another version of a package"),
            Self::Input => ("input", "another input, or one that is not what it was"),
            Self::Firmware => ("firmware", "another build of the firmware"),
            Self::Kernel => ("kernel", "another kernel, or another configuration of it"),
            Self::KernelTimestamp => (
                "kernel-timestamp",
                "the same release built at another time, by another user or host",
            ),
            Self::Signature => ("signature", "signed, and the other is not, or by another key"),
            Self::Cmdline => ("cmdline", "another kernel command line"),
            Self::Added => ("added", "something that the first does not have"),
            Self::Removed => ("removed", "something that the second does not have"),
            Self::Kind => ("kind", "something of another kind"),
            Self::Umask => {
                ("umask", "modes that differ by what a umask takes away: the builder's leaked in")
            }
            Self::Mode => ("mode", "another mode"),
            Self::Owner => ("owner", "another owner: the builder's user, or a rootless mapping"),
            Self::Mtime => ("timestamp", "another time: a clock or a checkout leaked in"),
            Self::Link => ("link", "a link to somewhere else"),
            Self::Order => {
                ("ordering", "the same in another order: of a directory, or of a locale")
            }
            Self::HardLinks => {
                ("hard-links", "files that were linked on one machine and not on the other")
            }
            Self::InodeNumbers => {
                ("inode-numbers", "inode or device numbers of the builder's machine")
            }
            Self::Device => ("device", "another device"),
            Self::Content => ("content", "other contents"),
            Self::BuildId => ("build-id", "other notes of the linker: a path or a tool leaked in"),
            Self::Compressor => {
                ("compressor", "another compressor, version or level: the contents are the same")
            }
            Self::Padding => ("padding", "other bytes between or behind the contents"),
            Self::Uuid => ("uuid", "another UUID of a file system that is otherwise the same"),
            Self::BuildTime => ("build-time", "another time in a file system's superblock"),
            Self::Layout => (
                "layout",
                "the same contents, put together in another way: another tool or version",
            ),
            Self::Salt => ("salt", "another salt of a hash tree"),
            Self::Tree => ("hash-tree", "another hash tree over the same data"),
            Self::Volume => ("volume", "another volume"),
            Self::Writer => ("writer", "another epoch of a writer"),
            Self::Tool => ("tool", "another version of the program that wrote it"),
            Self::Record => ("record", "a record that says something else"),
            Self::Document => ("document", "another text; nothing that is measured"),
        }
    }
}

const ALL: [Cause; 38] = [
    Cause::Profile,
    Cause::Vcpus,
    Cause::Cpu,
    Cause::Features,
    Cause::Policy,
    Cause::PackageVersion,
    Cause::Input,
    Cause::Firmware,
    Cause::Kernel,
    Cause::KernelTimestamp,
    Cause::Signature,
    Cause::Cmdline,
    Cause::Added,
    Cause::Removed,
    Cause::Kind,
    Cause::Umask,
    Cause::Mode,
    Cause::Owner,
    Cause::Mtime,
    Cause::Link,
    Cause::Order,
    Cause::HardLinks,
    Cause::InodeNumbers,
    Cause::Device,
    Cause::Content,
    Cause::BuildId,
    Cause::Compressor,
    Cause::Padding,
    Cause::Uuid,
    Cause::BuildTime,
    Cause::Layout,
    Cause::Salt,
    Cause::Tree,
    Cause::Volume,
    Cause::Writer,
    Cause::Tool,
    Cause::Record,
    Cause::Document,
];

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// The cause of two modes that differ. A umask takes bits away from group and others.
pub(super) fn of_modes(one: u32, two: u32) -> Cause {
    let (one, two) = (one & 0o7777, two & 0o7777);
    let less = one & two;
    let taken = (one | two) & !less;
    // One has all that the other has, and more for group and others only.
    let only_less = less == one || less == two;
    match only_less && taken & !0o077 == 0 && taken & 0o022 != 0 {
        true => Cause::Umask,
        false => Cause::Mode,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_cause_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Cause::all().map(Cause::code).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn what_a_umask_takes_away() {
        for (one, two, cause) in [
            (0o644, 0o664, Cause::Umask),
            (0o755, 0o775, Cause::Umask),
            (0o666, 0o600, Cause::Umask),
            (0o644, 0o755, Cause::Mode),
            (0o644, 0o4644, Cause::Mode),
            (0o644, 0o640, Cause::Mode),
            (0o664, 0o646, Cause::Mode),
        ] {
            assert_eq!(of_modes(one, two), cause, "{one:o} {two:o}");
        }
    }
}
