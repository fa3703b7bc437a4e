//! What runs in the guest, and what it reads, writes and says.

use super::cmdline::{self, Does};
use super::evidence::Pid1;
use super::{Found, Subject, sysctl};
use crate::kernel::config::{Config, Setting};
use crate::kernel::exposure;
use crate::launch::record::Disclosure;
use crate::manifest::Manifest;
use crate::manifest::types::{Init, Network, OnExit, Output};

/// Set-user-id and set-group-id.
const SET_ID: u16 = 0o6000;

pub(super) fn audit(subject: &Subject<'_>, found: &mut Found) {
    let manifest = subject.manifest;
    words(manifest, found);
    parameters(manifest, found);
    program(&manifest.init, found);
    network(subject, found);
    evidence(subject, found);
    disks(manifest, subject, found);
    kernel(subject, found);
    files(subject, found);
}

fn words(manifest: &Manifest, found: &mut Found) {
    for (word, does) in cmdline::judge(manifest.cmdline.as_str()) {
        let code = match does {
            Does::HostControl => "cmdline-host-control",
            Does::Weakens => "cmdline-weakens",
            Does::Shows => "console-kernel",
            Does::Unknown => "cmdline-unknown",
            Does::Sysctl | Does::Nothing => continue,
        };
        found.add(code, word);
    }
}

/// Kernel parameters, which both the command line and the plan set.
fn parameters(manifest: &Manifest, found: &mut Found) {
    let words = cmdline::judge(manifest.cmdline.as_str());
    let on_cmdline = words.filter(|(_, does)| *does == Does::Sysctl).filter_map(|(word, _)| {
        let (key, value) = word.strip_prefix("sysctl.")?.split_once('=')?;
        Some((key, value.trim_matches('"')))
    });
    let in_plan = manifest.init.sysctl.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in on_cmdline.chain(in_plan) {
        if sysctl::weakens(key, value) {
            found.add("sysctl-weakens", format!("{key}={value}"));
        }
    }
}

fn program(init: &Init, found: &mut Found) {
    if init.user.uid == 0 {
        found.add("root-user", format!("init.user: {}", init.user));
    }
    if init.output == Output::Console {
        found.add("console-output", "init.output: console");
    }
    if init.on_exit == OnExit::Restart {
        found.add("on-exit-restart", "init.on-exit: restart");
    }
    let outside = |text: &str| text.contains("://");
    let arguments = init.exec.iter().map(|word| word.value.as_str());
    found.add_all(
        "runtime-fetch",
        arguments.filter(|word| outside(word)).map(|word| format!("init.exec: {word}")),
    );
    let environment = init.env.iter().filter(|(_, value)| outside(value.as_str()));
    found.add_all(
        "runtime-fetch",
        environment.map(|(name, value)| format!("init.env: {name}={value}")),
    );
}

fn network(subject: &Subject<'_>, found: &mut Found) {
    let manifest = subject.manifest;
    if manifest.init.network == Network::None {
        return;
    }
    found.add("network-listener", "init.network: dhcp");
    found.add_all("network-listener", manifest.run.ports.iter().map(|port| format!("port {port}")));
    found.add("network-configuration", "init.network: dhcp");
    let closed = manifest.init.sysctl.iter().any(|(key, value)| {
        key.as_str() == "net.ipv6.conf.all.disable_ipv6" && value.as_str().trim() == "1"
    });
    let mut words = manifest.cmdline.as_str().split(' ');
    let off = words.any(|word| word == "ipv6.disable=1");
    let absent = subject.config.is_some_and(|config| config.setting("IPV6") == Setting::Off);
    if !closed && !off && !absent {
        found.add("ipv6-autoconfiguration", "init.network: dhcp");
    }
}

/// Who may ask for reports, and whether it is our program that they ask.
fn evidence(subject: &Subject<'_>, found: &mut Found) {
    let Some(asked) = &subject.manifest.evidence else { return };
    let http = asked.http.iter().map(|port| format!("evidence.http: {}", port.value));
    let vsock = asked.vsock.iter().map(|port| format!("evidence.vsock: {}", port.value));
    found.add_all("evidence-port", http.chain(vsock));
    if subject.evidence.is_some_and(|evidence| evidence.agent_unknown) {
        found.add("evidence-unknown", "the evidence agent");
    }
}

fn disks(manifest: &Manifest, subject: &Subject<'_>, found: &mut Found) {
    for (name, volume) in &manifest.volumes {
        // What its record tells, where it was read; else what the manifest says.
        let told = subject.evidence.and_then(|evidence| evidence.volumes.get(name.as_str()));
        let code = match told.copied().or(volume.disclosure) {
            Some(Disclosure::None) => "unverified-volumes",
            Some(Disclosure::Committed) => "committed-volume",
            _ if volume.record.is_some() => "volume-made-before",
            _ => continue,
        };
        found.add(code, format!("volume `{name}`"));
        if subject.evidence.is_none() && code == "volume-made-before" {
            found.add("not-built", format!("volume `{name}`: whether it is committed"));
        }
    }
    let scratch = manifest.scratch.keys();
    found.add_all("scratch-disk", scratch.map(|name| format!("scratch disk `{name}`")));
}

/// What the kernel offers, and whether code can be added to it.
fn kernel(subject: &Subject<'_>, found: &mut Found) {
    let offered = subject.config.map(exposure::of).unwrap_or_default();
    for exposure in offered {
        found.add_all(
            exposure.rule.code,
            exposure.options.iter().map(|option| format!("CONFIG_{option}")),
        );
    }
    let name = &subject.manifest.kernel.from.value;
    let Some(evidence) = subject.evidence else {
        if subject.config.is_none() {
            found.add("not-built", "kernel: what it offers to attack");
        }
        return found.add("not-built", "kernel: whether others than the measured modules can load");
    };
    if subject.config.is_none() {
        found.add("kernel-config-unknown", format!("kernel, input `{name}`"));
    }
    let loads = |config: &Config| config.setting("MODULES") != Setting::Off;
    match (&evidence.pid1, subject.config.map(loads)) {
        (Pid1::Unknown, _) => found.add("init-unknown", "PID 1"),
        (Pid1::Known { latches: true, .. }, _) | (Pid1::Known { .. }, Some(false)) => {}
        (Pid1::Known { loads: false, .. }, None) => {
            // As a build leaves it for a kernel without modules, if it is one.
            found.add("kernel-config-unknown", "whether the kernel can load modules");
        }
        (Pid1::Known { .. }, _) => found.add("modules-open", format!("kernel, input `{name}`")),
    }
}

/// Programs with set-user-id bits; on disks they count for nothing, by how PID 1 mounts them.
fn files(subject: &Subject<'_>, found: &mut Found) {
    if let Some(evidence) = subject.evidence {
        let paths = evidence.set_id.iter();
        return found.add_all("set-uid-files", paths.map(|path| format!("/{path}")));
    }
    for rule in &subject.manifest.files {
        if rule.mode.is_some_and(|mode| mode.0 & SET_ID != 0 && mode.0 & 0o111 != 0) {
            let paths = rule.path.iter().chain(&rule.paths);
            found.add_all("set-uid-files", paths.map(|path| path.value.to_string()));
        }
    }
}
