//! What a kernel offers beyond what a guest of one program needs: to the host, to a program that was
//! taken over, and to one that became root. Nothing here lets a host past the launch digest; each is
//! code that can be attacked, or a way to look into or around the kernel that was measured.
//!
//! A kernel is judged by its configuration, which is what its maker says of it. Options that are
//! modules do not count: a guest has only the modules that its manifest names.

use serde::Serialize;

use super::config::{Config, Setting};

/// Who is offered it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// The host, from outside.
    Host,
    /// Any program of the guest.
    Program,
    /// A program of the guest that has root's rights; the workload has none unless it is given them.
    Root,
}

/// One thing that a kernel may offer.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Its stable name.
    pub code: &'static str,
    /// To whom.
    pub to: To,
    /// The options, any one of which offers it, without `CONFIG_`.
    #[serde(skip)]
    pub options: &'static [&'static str],
    /// What it is.
    pub means: &'static str,
}

/// What a kernel offers, and by which of its options.
#[derive(Clone, Debug, Serialize)]
pub struct Exposure {
    /// The rule.
    #[serde(flatten)]
    pub rule: &'static Rule,
    /// The options of it that are built in, without `CONFIG_`.
    pub options: Vec<&'static str>,
}

const fn rule(
    code: &'static str,
    to: To,
    options: &'static [&'static str],
    means: &'static str,
) -> Rule {
    Rule { code, to, options, means }
}

/// In the order of reporting: what is offered to the host first. The words are from the options' help
/// texts in Linux 6.12 and Documentation/admin-guide (sysrq, sysctl/kernel, kernel-lockdown).
pub const RULES: &[Rule] = &[
    rule(
        "kernel-sysrq",
        To::Host,
        &["MAGIC_SYSRQ"],
        "the kernel takes commands from its serial line, as far as the sysctl `kernel.sysrq` lets it",
    ),
    rule(
        "kernel-hotplug",
        To::Host,
        &["HOTPLUG_PCI", "MEMORY_HOTPLUG"],
        "the host adds devices or memory while the guest runs, and the kernel takes them into use",
    ),
    rule(
        "kernel-host-tables",
        To::Host,
        &["DMI", "X86_MPPARSE", "ACPI_SPCR_TABLE", "FW_CFG_SYSFS"],
        "the kernel reads tables of the host's that a guest has no need of",
    ),
    rule(
        "kernel-partitions",
        To::Host,
        &["MSDOS_PARTITION", "EFI_PARTITION"],
        "the kernel reads the partition table of every disk that the host attaches",
    ),
    rule(
        "kernel-network-protocols",
        To::Host,
        &["IPV6", "NETFILTER", "PACKET"],
        "the kernel has network code beyond IPv4, some of which answers whoever is on the wire",
    ),
    rule(
        "kernel-input",
        To::Host,
        &["INPUT", "VT"],
        "the kernel listens to keyboards and has a terminal on the screen; both are the host's",
    ),
    rule(
        "kernel-bpf",
        To::Program,
        &["BPF_SYSCALL"],
        "programs for the kernel's own interpreter are taken: from root, and from everybody if the \
         sysctl `kernel.unprivileged_bpf_disabled` is 0",
    ),
    rule(
        "kernel-io-uring",
        To::Program,
        &["IO_URING"],
        "io_uring: a second way to most system calls, past filters for the first",
    ),
    rule(
        "kernel-userfaultfd",
        To::Program,
        &["USERFAULTFD"],
        "a program can hold the kernel up in the middle of an access to memory, which makes races \
         easy to win",
    ),
    rule(
        "kernel-user-namespaces",
        To::Program,
        &["USER_NS"],
        "every program may be root of a namespace of its own, and so reach code made for root",
    ),
    rule(
        "kernel-32-bit",
        To::Program,
        &["IA32_EMULATION", "X86_X32_ABI"],
        "a second table of system calls, for 32-bit programs",
    ),
    rule(
        "kernel-old-calls",
        To::Program,
        &["MODIFY_LDT_SYSCALL", "X86_IOPL_IOPERM", "KCMP", "CROSS_MEMORY_ATTACH", "AIO"],
        "system calls that a server has no need of",
    ),
    rule(
        "kernel-modules",
        To::Root,
        &["MODULES"],
        "code can be added to the running kernel, until PID 1 forbids it, before the program starts; \
         the modules that PID 1 loads are in the measured initrd",
    ),
    rule(
        "kernel-kexec",
        To::Root,
        &["KEXEC", "KEXEC_FILE"],
        "another kernel can be started in the place of the measured one, under the same reports",
    ),
    rule(
        "kernel-raw-memory",
        To::Root,
        &["DEVMEM", "DEVPORT", "PROC_KCORE"],
        "memory and ports can be read past the kernel, through /dev/mem, /dev/port or /proc/kcore",
    ),
    rule(
        "kernel-debugging",
        To::Root,
        &["DEBUG_FS", "KPROBES", "UPROBE_EVENTS", "FTRACE"],
        "the running kernel and its programs can be watched and changed by debugging interfaces",
    ),
    rule(
        "kernel-memory-to-disk",
        To::Root,
        &["HIBERNATION", "SWAP", "CRASH_DUMP", "COREDUMP"],
        "memory can be written to disks, which are the host's",
    ),
];

/// What a kernel of this configuration offers, in the order of [`RULES`].
pub fn of(config: &Config) -> Vec<Exposure> {
    let offered = |rule: &'static Rule| {
        let built_in = |option: &&str| config.setting(option) == Setting::BuiltIn;
        let options: Vec<_> = rule.options.iter().copied().filter(built_in).collect();
        (!options.is_empty()).then_some(Exposure { rule, options })
    };
    RULES.iter().filter_map(offered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recipe's own configuration offers nothing of it: it forbids every one of these options.
    #[test]
    fn the_minimal_kernel_offers_none() {
        let resolved = include_str!("../../kernels/minimal/resolved.config");
        let config = Config::parse(resolved).unwrap();
        assert!(of(&config).is_empty(), "{:?}", of(&config));
        let fragment = include_str!("../../kernels/minimal/fragment.config");
        for option in RULES.iter().flat_map(|rule| rule.options) {
            let line = format!("# CONFIG_{option} is not set");
            let derived = ["USER_NS", "MEMORY_HOTPLUG"].contains(option);
            assert!(derived || fragment.lines().any(|at| at == line), "{line}");
        }
    }

    #[test]
    fn modules_are_not_offered_until_they_are_loaded() {
        let config = Config::parse("CONFIG_MODULES=y\nCONFIG_FW_CFG_SYSFS=m\n").unwrap();
        let codes: Vec<_> = of(&config).iter().map(|it| it.rule.code).collect();
        assert_eq!(codes, ["kernel-modules"]);
        let config = Config::parse("CONFIG_KEXEC_FILE=y\nCONFIG_MAGIC_SYSRQ=y\n").unwrap();
        let found = of(&config);
        assert_eq!(found[0].rule.code, "kernel-sysrq");
        assert_eq!(
            (found[1].rule.code, &found[1].options[..]),
            ("kernel-kexec", &["KEXEC_FILE"][..])
        );
    }

    #[test]
    fn codes_are_told_apart() {
        let mut codes: Vec<_> = RULES.iter().map(|rule| rule.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), RULES.len());
        assert!(RULES.is_sorted_by_key(|rule| rule.to));
    }
}
