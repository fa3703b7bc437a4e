//! Whether a kernel's configuration makes a confidential guest: what it must have, and why.

use std::collections::BTreeMap;

/// How an option is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `=y`.
    BuiltIn,
    /// `=m`.
    Module,
    /// Not set, or not known to this kernel.
    Off,
}

/// How an option should be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Only `=y` will do.
    BuiltIn,
    /// `=y` or `=m`; as a module it must be among the manifest's.
    Available,
}

/// How bad it is when an option is not as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The guest cannot boot measured, or cannot attest: the kernel is refused.
    Required,
    /// Something that images commonly use will not work.
    Useful,
}

/// One rule about one option.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The option without `CONFIG_`.
    pub option: &'static str,
    /// How it should be set.
    pub wanted: Wanted,
    /// How bad it is if it is not.
    pub weight: Weight,
    /// What it is for.
    pub why: &'static str,
}

const fn rule(option: &'static str, wanted: Wanted, weight: Weight, why: &'static str) -> Rule {
    Rule { option, wanted, weight, why }
}

/// What a confidential guest needs of its kernel. The first ones: Linux
/// `Documentation/arch/x86/amd-memory-encryption.rst`, `Documentation/virt/coco/sev-guest.rst`,
/// `Documentation/ABI/testing/configfs-tsm-report`.
pub const RULES: [Rule; 20] = {
    use Wanted::{Available, BuiltIn};
    use Weight::{Required, Useful};
    [
        rule(
            "AMD_MEM_ENCRYPT",
            BuiltIn,
            Required,
            "memory encryption: without it no SEV guest boots",
        ),
        rule("EFI_STUB", BuiltIn, Required, "the firmware starts the kernel as an EFI program"),
        rule("BLK_DEV_INITRD", BuiltIn, Required, "PID 1 comes in the initrd"),
        rule("DEVTMPFS", BuiltIn, Required, "device nodes, as PID 1 mounts them"),
        rule("TMPFS", BuiltIn, Required, "writable places, as PID 1 mounts them"),
        rule(
            "SEV_GUEST",
            Available,
            Required,
            "asks the security processor for attestation reports",
        ),
        rule(
            "TSM_REPORTS",
            Available,
            Required,
            "configfs-tsm, the interface for attestation reports",
        ),
        rule(
            "CONFIGFS_FS",
            Available,
            Required,
            "configfs, where attestation reports are asked for",
        ),
        rule(
            "X86_X2APIC",
            BuiltIn,
            Required,
            "vCPUs of a guest with more than 255, and KVM's default",
        ),
        rule(
            "X86_PAT",
            BuiltIn,
            Required,
            "memory types: without them an SNP guest hangs before its first line",
        ),
        rule("SERIAL_8250_CONSOLE", BuiltIn, Useful, "a console on `ttyS0`"),
        rule(
            "UNACCEPTED_MEMORY",
            BuiltIn,
            Useful,
            "accepts memory as it is used, so that large guests boot fast",
        ),
        rule("VIRTIO_PCI", Available, Useful, "virtio devices"),
        rule("VIRTIO_NET", Available, Useful, "network"),
        rule("VIRTIO_BLK", Available, Useful, "disks, for model volumes"),
        rule("BLK_DEV_DM", Available, Useful, "device mapper, for model volumes"),
        rule("DM_VERITY", Available, Useful, "checked reads, for model volumes"),
        rule("EROFS_FS", Available, Useful, "the file system of model volumes"),
        rule("VSOCKETS", Available, Useful, "vsock, for evidence without a network"),
        rule("CRYPTO_SHA256", Available, Useful, "dm-verity's hash"),
    ]
};

/// A kernel's configuration file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    options: BTreeMap<String, String>,
    /// The version in the comment that Kconfig puts on top.
    version: Option<String>,
}

/// One rule and how the kernel does on it.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What the kernel has.
    pub found: Setting,
}

impl Finding {
    /// Whether the kernel has what is wanted.
    pub fn is_met(self) -> bool {
        match self.rule.wanted {
            Wanted::BuiltIn => self.found == Setting::BuiltIn,
            Wanted::Available => self.found != Setting::Off,
        }
    }

    /// Whether the kernel must be refused for it.
    pub fn is_fatal(self) -> bool {
        self.rule.weight == Weight::Required && !self.is_met()
    }
}

impl Config {
    /// Reads a `.config` file; `None` when it has no line of one.
    pub fn parse(text: &str) -> Option<Self> {
        let options: BTreeMap<_, _> = text
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
            .map(|(option, value)| (option.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        let version = text
            .lines()
            .take(8)
            .find_map(|line| {
                // By the name that ARCH was given.
                let words = line.strip_prefix("# Linux/x86")?.split_once(' ')?.1;
                words.strip_suffix(" Kernel Configuration")
            })
            .map(str::to_owned);
        (!options.is_empty()).then_some(Self { options, version })
    }

    /// Whether it can be the configuration of this kernel release, as far as it says whose it is: the
    /// first two numbers agree. Debian's 6.1 says the third in the one place and not in the other.
    pub fn can_be_of(&self, release: &str) -> bool {
        let series = |version: &str| -> Vec<String> {
            version.split(|c: char| !c.is_ascii_digit()).take(2).map(str::to_owned).collect()
        };
        self.version.as_ref().is_none_or(|version| series(version) == series(release))
    }

    /// How `option`, without `CONFIG_`, is set.
    pub fn setting(&self, option: &str) -> Setting {
        match self.options.get(option).map(String::as_str) {
            Some("y") => Setting::BuiltIn,
            Some("m") => Setting::Module,
            _ => Setting::Off,
        }
    }

    /// Every rule with what this kernel has.
    pub fn judge(&self) -> Vec<Finding> {
        RULES.iter().map(|rule| Finding { rule: *rule, found: self.setting(rule.option) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_cannot_attest_is_told_apart() {
        let config =
            Config::parse("CONFIG_AMD_MEM_ENCRYPT=y\n# CONFIG_SEV_GUEST is not set\n").unwrap();
        let fatal: Vec<_> =
            config.judge().into_iter().filter(|f| f.is_fatal()).map(|f| f.rule.option).collect();
        assert!(fatal.contains(&"SEV_GUEST") && fatal.contains(&"TSM_REPORTS"));
        assert!(!fatal.contains(&"AMD_MEM_ENCRYPT"));
        assert!(Config::parse("MZ\0\0").is_none());
        let named = "# Linux/x86 6.12.10 Kernel Configuration\nCONFIG_A=y\n";
        let config = Config::parse(named).unwrap();
        assert!(config.can_be_of("6.12.10+deb13-cloud-amd64"));
        assert!(config.can_be_of("6.12.0-50-cloud-amd64"));
        assert!(!config.can_be_of("6.1.0-50-cloud-amd64") && !config.can_be_of("7.12.10"));
        let config = Config::parse(&named.replace("x86", "x86_64")).unwrap();
        assert!(config.can_be_of("6.12.10") && !config.can_be_of("6.13.10"));
    }
}
