//! THREAT-MODEL.md: what of this very image is measured, and what a hostile host can still do.

use std::fmt::Write as _;

use crate::launch::Record;
use crate::launch::direct_boot::NamedBlobs;
use crate::manifest::Manifest;
use crate::manifest::types::{Network, OnExit, Output};
use crate::release::measure::RUNS_NAMED_BLOBS;

/// The document for the image of `manifest`, launched as `record` says.
pub fn write(manifest: &Manifest, record: &Record) -> String {
    let mut text = format!("# Threat model of `{}`\n\n", manifest.name);
    // Writing to a string does not fail.
    let _ = body(&mut text, manifest, record);
    text
}

fn body(out: &mut String, manifest: &Manifest, record: &Record) -> std::fmt::Result {
    writeln!(
        out,
        "The host (its operating system, hypervisor, disks and network) is the adversary. The guest \
         runs encrypted and integrity-protected by AMD SEV-SNP; whoever talks to it asks for an \
         attestation report and compares the launch digest in it with `launch.json`.\n"
    )?;
    findings(out, record)?;
    writeln!(out, "## What the launch digest covers\n")?;
    writeln!(
        out,
        "- Firmware, {} bytes, sha256 `{}`",
        record.firmware.size, record.firmware.sha256
    )?;
    if let Some(boot) = &record.boot {
        writeln!(out, "- Kernel, {} bytes, sha256 `{}`", boot.kernel.size, boot.kernel.sha256)?;
        if let Some(initrd) = &boot.initrd {
            writeln!(
                out,
                "- Initrd with PID 1 and every file of `inventory.json`, {} bytes, sha256 `{}`",
                initrd.size, initrd.sha256
            )?;
        }
        writeln!(out, "- Command line, with its closing NUL: `{}`", boot.cmdline)?;
    }
    writeln!(
        out,
        "- The initial registers of every vCPU, and so their number, the CPU model and SEV_FEATURES \
         (profile `{}`)\n",
        record.profile
    )?;
    writeln!(
        out,
        "The guest policy `{}` is not in the digest; the report carries it.\n",
        record.policy
    )?;
    writeln!(out, "## What the host still chooses\n")?;
    for unmeasured in &record.unmeasured {
        writeln!(out, "- **{}**: {}", unmeasured.what, unmeasured.means)?;
    }
    writeln!(out, "\n## What runs in the guest\n")?;
    let program = manifest.init.exec.iter().map(|arg| arg.value.as_str()).collect::<Vec<_>>();
    writeln!(
        out,
        "PID 1 starts one program, as user and group `{}`, and nothing else; there is no shell, no \
         login and no way to load a kernel module once it runs:\n\n    {}\n",
        manifest.init.user,
        program.join(" ")
    )?;
    writeln!(
        out,
        "{}\n",
        match manifest.init.network {
            Network::None => "It has no network but loopback.",
            Network::Dhcp => {
                "Its address and route come from the host by DHCP; nothing else is taken from there. \
             Whoever reaches the machine reaches the program: what it says and accepts over the \
             network must protect itself."
            }
        }
    )?;
    writeln!(
        out,
        "When the program ends, {}.\n",
        match manifest.init.on_exit {
            OnExit::Poweroff => "the machine powers off",
            OnExit::Reboot => "the machine restarts",
            OnExit::Panic => "the kernel panics",
            OnExit::Restart => "it is started again",
        }
    )?;
    writeln!(
        out,
        "## What is not protected\n\n\
         - Availability: the host can stop the guest at any time.\n\
         - {}\n\
         - Side channels of the CPU that AMD's firmware and the kernel do not close.\n\
         - Bugs in anything measured: a digest says what runs, not that it is right.",
        match manifest.init.output {
            Output::Console =>
                "What the program prints: it goes to the console, which the host reads.",
            Output::Discard => "What the kernel and PID 1 print: the host reads the console.",
        }
    )
}

fn findings(out: &mut String, record: &Record) -> std::fmt::Result {
    let Some(found) = &record.firmware.direct_boot else { return Ok(()) };
    if let NamedBlobs::Run { read_by, started_by } = &found.named_blobs {
        let name = |evidence: &crate::launch::direct_boot::Evidence| {
            evidence.name.clone().unwrap_or_else(|| evidence.module.to_string())
        };
        writeln!(
            out,
            "## WARNING: this image does not keep its promise against the host\n\n\
             Its firmware has a hole: {RUNS_NAMED_BLOBS}. Found in the modules `{}` (reads them) and \
             `{}` (starts one). Until the firmware is replaced, a right digest does **not** prove \
             that the measured kernel runs.\n",
            name(read_by),
            name(started_by)
        )?;
    }
    Ok(())
}
