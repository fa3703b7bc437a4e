//! THREAT-MODEL.md: what of this very image is measured, and what a hostile host can still do.

use std::fmt::Write as _;

use counterfoil_init::evidence::SOCKET;

use crate::kernel::exposure::{Exposure, To};
use crate::launch::direct_boot::NamedBlobs;
use crate::launch::record::{Disclosure, Volume};
use crate::launch::{Record, findings};
use crate::manifest::types::{Evidence, Network, OnExit, Output};
use crate::manifest::{Lock, Manifest};
use crate::names::Owner;
use crate::release::measure::{self, RUNS_NAMED_BLOBS};
use crate::release::trust;

/// The document for the image of `manifest`, whose inputs `lock` pins, launched as `record` says, on a
/// kernel that offers `exposures`.
pub fn write(manifest: &Manifest, lock: &Lock, record: &Record, exposures: &[Exposure]) -> String {
    let mut text = format!("# Threat model of `{}`\n\n", manifest.name);
    // Writing to a string does not fail.
    let _ = body(&mut text, manifest, lock, record, exposures);
    text
}

fn body(
    out: &mut String,
    manifest: &Manifest,
    lock: &Lock,
    record: &Record,
    exposures: &[Exposure],
) -> std::fmt::Result {
    writeln!(
        out,
        "The host (its operating system, hypervisor, disks and network) is the adversary. The guest \
         runs encrypted and integrity-protected by AMD SEV-SNP; whoever talks to it asks for an \
         attestation report and compares the launch digest in it with `launch.json` (or with \
         `igvm.json`, where there is one and the guest was started from the IGVM file).\n"
    )?;
    warning(out, record)?;
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
    for Volume { name, root_hash, disclosure } in &record.volumes {
        let Some(root_hash) = root_hash else { continue };
        writeln!(
            out,
            "- Volume `{name}`: every byte of it, by its root hash `{root_hash}` on the command line; \
             the guest stops at the first block that is another.{}",
            match disclosure {
                Disclosure::Committed =>
                    " Which bytes they are is not told: the root hash is salted with a secret, so \
                     that a copy or a guess cannot be checked against it. That they have not changed \
                     between two launches with this digest is certain; what they are is known to \
                     whoever made the volume, whoever runs the machine, and whomever those tell the \
                     salt",
                _ => "",
            }
        )?;
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
    if let Some(igvm) = &manifest.launch.igvm {
        writeln!(
            out,
            "The same image is there as one IGVM file, `image/guest.igvm`, for {} vCPUs. All of it is in \
             its launch digest, which is in `igvm.json` and holds on every CPU model; firmware, kernel, \
             initrd and command line are then not fetched from the host. What is below holds there, \
             too.\n",
            igvm.vcpus.value
        )?;
    }
    writeln!(out, "## What the host still chooses\n")?;
    for unmeasured in &record.unmeasured {
        writeln!(out, "- **{}**: {}", unmeasured.what, unmeasured.means)?;
    }
    writeln!(out)?;
    trust::write(out, manifest, lock)?;
    writeln!(out, "## What runs in the guest\n")?;
    let program = manifest.init.exec.iter().map(|arg| arg.value.as_str()).collect::<Vec<_>>();
    let beside = match manifest.evidence {
        Some(_) => "the evidence agent beside it, ",
        None => "",
    };
    writeln!(
        out,
        "PID 1 starts one program, as user and group `{}`, {beside}and nothing else; there is no shell, no \
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
    evidence(out, manifest)?;
    offered(out, exposures, manifest.init.user)?;
    disks(out, manifest)?;
    writeln!(
        out,
        "## What is not protected\n\n\
         - Availability: the host can stop the guest at any time.\n\
         - {}\n\
         - Side channels of the CPU that AMD's firmware and the kernel do not close.\n\
         - Bugs in anything measured: a digest says what runs, not that it is right.\n\
         - What no firmware file shows: {}.",
        match manifest.init.output {
            Output::Console =>
                "What the program prints: it goes to the console, which the host reads.",
            Output::Discard => "What the kernel and PID 1 print: the host reads the console.",
        },
        findings::PAGE_VALIDATION.means
    )
}

/// Who may have the guest attested, and to what.
fn evidence(out: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let Some(Evidence { http, vsock }) = &manifest.evidence else { return Ok(()) };
    write!(
        out,
        "The evidence agent asks the security processor for attestation reports, as a user of its own who \
         may do nothing else. The program asks it at `{SOCKET}`, over any REPORT_DATA, and binds a \
         key there. "
    )?;
    let http = http.iter().map(|port| format!("TCP port {}", port.value));
    let vsock = vsock.iter().map(|port| format!("vsock port {}", port.value));
    let ports: Vec<_> = http.chain(vsock).collect();
    if ports.is_empty() {
        return writeln!(out, "Nobody else can ask it.\n");
    }
    writeln!(
        out,
        "Whoever reaches {} brings a nonce and gets a report over SHA-512 of a label, the nonce and what \
         the program has bound, and so cannot have the guest vouch for a key of another. He can keep \
         others from theirs by asking without end.\n",
        ports.join(" or ")
    )
}

/// What the guest keeps on disks of its own.
fn disks(out: &mut String, manifest: &Manifest) -> std::fmt::Result {
    if manifest.scratch.is_empty() {
        return Ok(());
    }
    writeln!(out, "## What the guest writes down\n")?;
    for (name, scratch) in &manifest.scratch {
        writeln!(
            out,
            "- Scratch disk `{name}` at `{}`: encrypted with AES-256-XTS under a key that PID 1 draws at \
             every start and tells nobody, empty at every start. The host sees which blocks are \
             written, and when. It can spoil them or bring old ones back, which is not noticed: \
             what is read from there is secret, and not to be relied on, and the guest's kernel reads \
             the file system itself from there",
            scratch.mount.value
        )?;
    }
    writeln!(out)
}

/// What of firmware and volumes keeps a right digest from proving that the measured kernel runs.
fn warning(out: &mut String, record: &Record) -> std::fmt::Result {
    let named = record.firmware.direct_boot.as_ref().map(|found| &found.named_blobs);
    let further = measure::findings(record);
    let open_firmware = named.is_some_and(NamedBlobs::is_hole) || !further.is_empty();
    let unverified = measure::unverified(record);
    if !open_firmware && unverified.is_empty() {
        return Ok(());
    }
    writeln!(out, "## WARNING: this image does not keep its promise against the host\n")?;
    for name in unverified {
        writeln!(
            out,
            "- **unverified-volumes**: nothing checks the volume `{name}`. A right digest says nothing of \
             what is on it: the host can put anything there, another model too, and change it while the \
             guest runs. What closes it: a volume with a root hash, `disclosure: public` or \
             `committed`."
        )?;
    }
    if !open_firmware {
        return writeln!(out);
    }
    writeln!(
        out,
        "Until its firmware is replaced, a right digest does **not** prove that the measured kernel \
         runs. By the codes of `launch.json` (`unmeasured`) and `counterfoil inspect`:\n"
    )?;
    if let Some(NamedBlobs::Run { read_by, started_by }) = named {
        writeln!(
            out,
            "- **fw-cfg-blobs**: the firmware has a hole: {RUNS_NAMED_BLOBS}. Found in the modules \
             `{}` (reads them) and `{}` (starts one). What closes it: a loader that refuses blobs \
             which the hash table does not name.",
            read_by.label(),
            started_by.label()
        )?;
    }
    for rule in further {
        writeln!(out, "- **{}**: {}. What closes it: {}.", rule.code, rule.means, rule.cure)?;
    }
    writeln!(out, "\n`firmware/amdsev.yaml` is a recipe for a firmware that has none of them.\n")
}

/// What the kernel has beyond need, to whom it is open.
fn offered(out: &mut String, exposures: &[Exposure], user: Owner) -> std::fmt::Result {
    writeln!(out, "## What the kernel offers to attack\n")?;
    if exposures.is_empty() {
        return writeln!(
            out,
            "By its configuration the kernel has nothing of what `counterfoil inspect` looks for \
             beyond what one program in a guest needs: no modules, no other kernel in its place, no \
             debugging interfaces, no way to its memory, no interpreter for others' programs.\n"
        );
    }
    writeln!(
        out,
        "Nothing here lets a host past the launch digest. It is code that one program in a guest has \
         no need of, and that can be attacked; `kernels/minimal.yaml` is a recipe for a kernel \
         without. By the kernel's configuration:"
    )?;
    let mut to = None;
    for Exposure { rule, options } in exposures {
        if to != Some(rule.to) {
            to = Some(rule.to);
            let whom = match rule.to {
                To::Host => "To the host, from outside",
                To::Program => "To the program, should it be taken over",
                To::Root if user.uid == 0 => "To root, whose rights the program of this image has",
                To::Root => "To root, whose rights the program of this image does not have",
            };
            writeln!(out, "\n{whom}:\n")?;
        }
        writeln!(out, "- **{}**: {} ({})", rule.code, rule.means, options.join(", "))?;
    }
    writeln!(out)
}
