//! Kernel parameters that take a protection away. After Linux 6.12, Documentation/admin-guide/sysctl.

/// Whether setting `key` to `value` takes a protection away.
pub(super) fn weakens(key: &str, value: &str) -> bool {
    // The kernel takes a slash for a dot.
    let key = key.replace('/', ".");
    let number = value.trim().parse::<i64>().ok();
    match key.as_str() {
        // Programs that the kernel starts by itself, with all rights.
        "kernel.modprobe" | "kernel.hotplug" => !value.trim().is_empty(),
        "kernel.core_pattern" => value.trim_start().starts_with('|'),
        "kernel.sysrq" | "vm.unprivileged_userfaultfd" | "net.ipv4.ip_forward" => number != Some(0),
        "kernel.dmesg_restrict"
        | "kernel.kptr_restrict"
        | "kernel.randomize_va_space"
        | "kernel.unprivileged_bpf_disabled"
        | "kernel.yama.ptrace_scope"
        | "vm.mmap_min_addr"
        | "fs.protected_symlinks"
        | "fs.protected_hardlinks"
        | "net.core.bpf_jit_harden" => number == Some(0),
        "kernel.perf_event_paranoid" => number.is_some_and(|level| level < 2),
        "fs.suid_dumpable" => number == Some(1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_safely_is_nothing_to_say() {
        for (key, value) in [
            ("kernel.sysrq", "1"),
            ("kernel/sysrq", "438"),
            ("kernel.randomize_va_space", "0"),
            ("kernel.core_pattern", "|/bin/dump"),
            ("kernel.modprobe", "/sbin/modprobe"),
            ("kernel.perf_event_paranoid", "-1"),
        ] {
            assert!(weakens(key, value), "{key}");
        }
        for (key, value) in [
            ("kernel.sysrq", "0"),
            ("kernel.randomize_va_space", "2"),
            ("kernel.core_pattern", "core"),
            ("kernel.modprobe", ""),
            ("kernel.kexec_load_disabled", "1"),
            ("net.ipv6.conf.all.disable_ipv6", "1"),
        ] {
            assert!(!weakens(key, value), "{key}");
        }
    }
}
