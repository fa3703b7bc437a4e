//! What the words of a kernel's command line do for a hostile host. After Linux 6.12,
//! Documentation/admin-guide/kernel-parameters.txt.

/// A word's kind, for which it is reported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Does {
    /// The host gives orders, code or memory by it.
    HostControl,
    /// It takes a protection away.
    Weakens,
    /// The host reads the kernel's messages by it.
    Shows,
    /// It sets this sysctl.
    Sysctl,
    /// Nothing that matters here.
    Nothing,
    /// Not known.
    Unknown,
}

/// The words that the kernel reads, without quotes, and what each does.
pub(super) fn judge(cmdline: &str) -> impl Iterator<Item = (&str, Does)> {
    let words = cmdline.split(' ').map(|word| word.trim_matches('"'));
    // What is behind `--` goes to PID 1, which ignores it, but not all of the kernel stops there
    // (arch/x86/lib/cmdline.c looks through the whole line).
    let words = words.filter(|word| !word.is_empty() && *word != "--");
    words.map(|word| (word, what(word)))
}

fn what(word: &str) -> Does {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.trim_matches('"'))),
        None => (word, None),
    };
    if name.starts_with("sysctl.") {
        return Does::Sysctl;
    }
    // The kernel takes both for the same.
    let name = name.replace('-', "_");
    let is = |names: &[&str]| names.contains(&name.as_str());
    let first = value.and_then(|value| value.split(',').next()).unwrap_or_default();
    if is(HOST_CONTROL) || name.starts_with("kgdboc") {
        return Does::HostControl;
    }
    if is(SHOWS) {
        return Does::Shows;
    }
    if is(WEAKENS) {
        return Does::Weakens;
    }
    if is(PROTECTIONS) {
        // `mitigations=auto`, `init_on_alloc=1`: what is not taken away is kept.
        return match matches!(first, "off" | "0" | "n" | "N" | "no" | "none" | "never") {
            true => Does::Weakens,
            false => Does::Nothing,
        };
    }
    match (name.as_str(), first) {
        ("lockdown", "none") | ("vsyscall", "native" | "emulate") | ("iomem", "relaxed") => {
            Does::Weakens
        }
        ("debugfs", "on") => Does::Weakens,
        _ if is(KNOWN) => Does::Nothing,
        _ => Does::Unknown,
    }
}

/// A debugger or commands on the serial line; a kernel out of hibernation, tables and modules from
/// where the host writes them; a root file system that it serves.
const HOST_CONTROL: &[&str] = &[
    "acpi_rsdp",
    "efivar_ssdt",
    "ekgdboc",
    "ip",
    "kgdbcon",
    "kgdbdbgp",
    "kgdbwait",
    "nfsroot",
    "resume",
    "resume_offset",
    "root",
    "sysrq_always_enabled",
];

const SHOWS: &[&str] = &[
    "console",
    "debug",
    "earlycon",
    "earlyprintk",
    "ignore_loglevel",
    "initcall_debug",
    "netconsole",
    "no_hash_pointers",
];

const WEAKENS: &[&str] = &[
    "clearcpuid",
    "noexec",
    "nokaslr",
    "nopti",
    "nosmap",
    "nosmep",
    "nospec_store_bypass_disable",
    "nospectre_v1",
    "nospectre_v2",
    "noumip",
    "unsafe_fsgsbase",
];

/// Protections that are on, or as the kernel was configured, unless the word turns them off.
const PROTECTIONS: &[&str] = &[
    "gather_data_sampling",
    "hardened_usercopy",
    "indirect_target_selection",
    "init_on_alloc",
    "init_on_free",
    "l1tf",
    "mds",
    "mem_encrypt",
    "mitigations",
    "mmio_stale_data",
    "module.sig_enforce",
    "page_alloc.shuffle",
    "pti",
    "randomize_kstack_offset",
    "reg_file_data_sampling",
    "retbleed",
    "spec_rstack_overflow",
    "spec_store_bypass_disable",
    "spectre_bhi",
    "spectre_v2",
    "spectre_v2_user",
    "srbds",
    "tsa",
    "tsx_async_abort",
    "vmscape",
];

/// Words that are in many images and do nothing for a host.
const KNOWN: &[&str] = &[
    "clocksource",
    "debugfs",
    "hugepages",
    "hugepagesz",
    "ipv6.disable",
    "lockdown",
    "loglevel",
    "nosmt",
    "oops",
    "panic",
    "panic_on_oops",
    "quiet",
    "random.trust_bootloader",
    "random.trust_cpu",
    "reboot",
    "ro",
    "slab_nomerge",
    "swiotlb",
    "transparent_hugepage",
    "tsc",
    "vsyscall",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        let of = |line: &'static str| judge(line).next().unwrap().1;
        for (line, does) in [
            ("console=ttyS0", Does::Shows),
            ("panic=-1", Does::Nothing),
            ("mitigations=off", Does::Weakens),
            ("mitigations=auto,nosmt", Does::Nothing),
            ("\"mitigations=off\"", Does::Weakens),
            ("mitigations=\"off\"", Does::Weakens),
            ("spec-store-bypass-disable=off", Does::Weakens),
            ("spectre_v2=off", Does::Weakens),
            ("init_on_alloc=0", Does::Weakens),
            ("init_on_alloc=1", Does::Nothing),
            ("nokaslr", Does::Weakens),
            ("kgdboc=ttyS0", Does::HostControl),
            ("kgdboc.kgdboc=ttyS0", Does::HostControl),
            ("sysrq-always-enabled", Does::HostControl),
            ("resume=/dev/vda", Does::HostControl),
            ("vsyscall=none", Does::Nothing),
            ("vsyscall=emulate", Does::Weakens),
            ("sysctl.kernel.sysrq=1", Does::Sysctl),
            ("frobnicate=1", Does::Unknown),
        ] {
            assert_eq!(of(line), does, "{line}");
        }
        let words: Vec<_> = judge("quiet -- nokaslr").map(|(word, _)| word).collect();
        assert_eq!(words, ["quiet", "nokaslr"]);
    }
}
