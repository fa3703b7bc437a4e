//! Every code, how much it weighs, why it matters and what takes it away. Codes that records, `inspect`
//! and THREAT-MODEL.md have already are taken from there, with their words.

use super::{Rule, Severity};
use crate::kernel::exposure::{self, To};
use crate::launch::{findings, unmeasured};
use crate::release::measure::RUNS_NAMED_BLOBS;

/// Every rule, by severity, the gravest first.
pub fn rules() -> Vec<Rule> {
    let mut rules = OWN.to_vec();
    rules.extend(findings::RULES.into_iter().map(of_firmware));
    rules.extend(exposure::RULES.iter().map(of_kernel));
    rules.extend(unmeasured::ALWAYS.iter().map(|(code, means)| of_every_launch(code, means)));
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.severity));
    rules
}

/// A way around the measured kernel.
fn of_firmware(rule: &'static findings::Rule) -> Rule {
    let severity = match rule.code {
        "s3-resume" => Severity::High,
        // On some processors, and not seen in any file.
        "page-validation" => Severity::Medium,
        _ => Severity::Critical,
    };
    Rule { code: rule.code, severity, means: rule.means, remedy: rule.cure }
}

/// Code that can be attacked: from outside it weighs more than from within.
fn of_kernel(rule: &'static exposure::Rule) -> Rule {
    let severity = match rule.to {
        To::Host => Severity::Medium,
        To::Program | To::Root => Severity::Low,
    };
    let remedy = "a kernel without it, such as that of `kernels/minimal.yaml`";
    Rule { code: rule.code, severity, means: rule.means, remedy }
}

/// What no image takes away; the remedy is what whoever relies on it can do.
fn of_every_launch(code: &'static str, means: &'static str) -> Rule {
    let remedy = match code {
        "cpuid" => "a program that does not take its safety from a feature that the host may hide",
        "devices" | "smbios" => {
            "a kernel that knows few devices and tables, such as that of `kernels/minimal.yaml`"
        }
        "network" => "end-to-end encryption to a key that the attestation report binds",
        "policy" => "compare the policy in the report, or launch with an ID block",
        "time" => "take the time from someone who signs it, where it matters",
        _ => "nothing that an image can do: rely on nothing that depends on it",
    };
    Rule { code, severity: Severity::Info, means, remedy }
}

const fn rule(
    code: &'static str,
    severity: Severity,
    means: &'static str,
    remedy: &'static str,
) -> Rule {
    Rule { code, severity, means, remedy }
}

/// The rules that are of the audit alone. The policy's: SNP ABI (56860), table "Guest Policy Structure".
const OWN: [Rule; 44] = [
    // The launch.
    rule(
        "fw-cfg-blobs",
        Severity::Critical,
        RUNS_NAMED_BLOBS,
        "a loader that refuses blobs which the hash table does not name: `recipe: firmware/amdsev.yaml`",
    ),
    rule(
        "policy-debug",
        Severity::Critical,
        "the guest policy has DEBUG: the host reads and writes the guest's memory through the debug \
         commands of the AMD firmware",
        "clear bit 19 of `launch.policy`",
    ),
    rule(
        "policy-migrate",
        Severity::High,
        "the guest policy has MIGRATE_MA: a migration agent that the host starts takes the guest's \
         memory to another machine",
        "clear bit 18 of `launch.policy`",
    ),
    rule(
        "policy-smt",
        Severity::Low,
        "the guest policy allows SMT: a thread of the host's shares a core with the guest, and what \
         leaks between threads",
        "clear bit 16 of `launch.policy`, and launch on hosts with SMT off",
    ),
    rule(
        "policy-cxl",
        Severity::Low,
        "the guest policy has CXL_ALLOW: devices and memory on CXL, outside the processor, may be there",
        "clear bit 21 of `launch.policy`",
    ),
    rule(
        "policy-reserved",
        Severity::Low,
        "the guest policy has bits that must be zero: no AMD firmware of today starts the guest, and \
         what one of tomorrow makes of them is not known",
        "clear bits 26 to 63 of `launch.policy`",
    ),
    rule(
        "policy-protections",
        Severity::Low,
        "the guest policy does not ask for these protections: the host may leave them off, read power \
         meters and ciphertexts, move pages, or encrypt with the weaker mode",
        "set the bits in `launch.policy` where the hosts' processors and firmware have them",
    ),
    rule(
        "interrupt-injection",
        Severity::Low,
        "the host has the guest take any interrupt or exception at any time, by which registers of \
         programs were changed (CVE-2024-25742, CVE-2024-25744)",
        "a kernel from 6.9 on, without 32-bit system calls; RESTRICTED_INJECTION in `launch.features` \
         where hypervisor and kernel have it",
    ),
    rule(
        "fw-cfg-blobs-unused",
        Severity::Low,
        "the firmware reads any fw_cfg file below etc/boot/ unverified; no module was found that \
         starts one",
        "a loader that refuses blobs which the hash table does not name: `recipe: firmware/amdsev.yaml`",
    ),
    rule(
        "firmware-mark",
        Severity::Low,
        "that the firmware refuses this is said by a mark in it, which is the word of whoever built it; \
         this image does not compile it from source",
        "`recipe: firmware/amdsev.yaml`, or a `build` input of your own",
    ),
    rule(
        "firmware-not-visible",
        Severity::Info,
        "the bytes of the firmware do not show whether this is open",
        "a firmware that is compiled from source in which it is closed",
    ),
    rule(
        "named-blobs-allowed",
        Severity::Info,
        "the manifest does not refuse firmware that runs unmeasured blobs: a new lock may bring one, \
         with a warning and no error",
        "`named-blobs: deny` under `firmware`",
    ),
    rule(
        "not-built",
        Severity::Info,
        "only a build can tell: nothing was looked into for this",
        "build the manifest, and audit the release",
    ),
    rule(
        "unmeasured-other",
        Severity::Info,
        "the launch record says that the digest does not cover this, in words that this program does \
         not know",
        "read `unmeasured` in `launch.json`, or take a newer counterfoil",
    ),
    rule(
        "disks",
        Severity::Info,
        "the host attaches any disks, with any contents, and can change them; only volumes whose root \
         hash is on the command line are bound, and only where the guest opens them through dm-verity",
        "nothing is needed where the guest reads no other: its kernel looks at partitions only if it is \
         made to (`kernel-partitions`)",
    ),
    // What runs.
    rule(
        "init-unknown",
        Severity::High,
        "PID 1 is another program than this counterfoil's: what it does with the guest cannot be told \
         from its plan",
        "audit with the counterfoil that made the release, or build it again",
    ),
    rule(
        "evidence-unknown",
        Severity::High,
        "the evidence agent is another program than this counterfoil's: it may let others choose what \
         the guest's reports are over",
        "audit with the counterfoil that made the release, or build it again",
    ),
    rule(
        "builtin-unknown",
        Severity::High,
        "the lock takes a program of another make for one that counterfoil carries",
        "lock it again with this counterfoil, or audit with the one that made the lock",
    ),
    rule(
        "root-user",
        Severity::Medium,
        "the program has root's rights in the guest: whoever takes it over has the kernel's interfaces \
         for root, too",
        "another `init.user`; unless said, it is nobody",
    ),
    rule(
        "set-uid-files",
        Severity::Info,
        "these programs have set-user-id or set-group-id bits, which count for nothing while PID 1 \
         starts the program with `no_new_privs`, as this one does",
        "modes without these bits; unless said, what inputs have of them is taken away",
    ),
    rule(
        "modules-open",
        Severity::Medium,
        "code can be added to the running kernel after the start: nothing forbids it",
        "build with this counterfoil, whose PID 1 forbids it, or take a kernel without modules",
    ),
    rule(
        "kernel-config-unknown",
        Severity::Low,
        "a release does not hold its kernel's configuration: what the kernel offers to attack cannot \
         be told from it",
        "`--kernel-config FILE`: the `config-…` of the kernel's package, or what was compiled",
    ),
    rule(
        "cmdline-host-control",
        Severity::High,
        "the kernel takes orders, code or memory from the host by these words: from its serial line, \
         its tables or its disks",
        "take the words out of `cmdline`",
    ),
    rule(
        "cmdline-weakens",
        Severity::Medium,
        "these words take away protections that the kernel has by itself, also against side channels",
        "take the words out of `cmdline`",
    ),
    rule(
        "cmdline-unknown",
        Severity::Info,
        "this program does not know what these words do",
        "look them up in the kernel's documentation (admin-guide/kernel-parameters)",
    ),
    rule(
        "sysctl-weakens",
        Severity::Medium,
        "these parameters take away protections that the kernel has",
        "take them out of `init.sysctl` and `cmdline`",
    ),
    rule(
        "console-output",
        Severity::Medium,
        "what the program prints goes to the console, which the host reads",
        "`init.output: discard`, or a program that prints nothing of what it is told",
    ),
    rule(
        "console-kernel",
        Severity::Low,
        "the kernel's messages, and PID 1's, go where the host reads them",
        "a `cmdline` without these words, once the image is tried",
    ),
    rule(
        "network-listener",
        Severity::Medium,
        "whoever reaches the machine reaches the program: nothing in the guest filters or encrypts",
        "a program that authenticates and encrypts by itself, or `init.network: none`",
    ),
    rule(
        "evidence-port",
        Severity::Low,
        "whoever reaches these ports has the guest ask the security processor for reports, and so can \
         keep the workload from its own: the host lets a guest have so many and no more",
        "`evidence: {}`, where the program hands its evidence out itself",
    ),
    rule(
        "network-configuration",
        Severity::Info,
        "address and route come from outside, by DHCP",
        "`init.network: none`, where no network is needed",
    ),
    rule(
        "ipv6-autoconfiguration",
        Severity::Low,
        "the guest takes IPv6 addresses and routes from whoever speaks on the wire, if its kernel has \
         IPv6",
        "`net.ipv6.conf.all.disable_ipv6: \"1\"` under `init.sysctl`, or a kernel without IPv6",
    ),
    rule(
        "runtime-fetch",
        Severity::Low,
        "the program is told of an address outside: what it takes from there is in no digest",
        "make it an input, or see that the program checks what it gets",
    ),
    rule(
        "on-exit-restart",
        Severity::Info,
        "a program that ends is started again: whoever makes it end can try as often as he likes",
        "`init.on-exit: poweroff`, or `panic`",
    ),
    // Disks.
    rule(
        "unverified-volumes",
        Severity::High,
        "nothing checks what is on these disks: the host puts anything there, another model too, and \
         changes it while the guest runs",
        "a volume with a root hash: `files` or `record`",
    ),
    rule(
        "scratch-disk",
        Severity::Low,
        "written to and encrypted, not authenticated: the host spoils blocks or brings old ones back, \
         and sees which are written",
        "keep in memory what must be relied on",
    ),
    rule(
        "committed-volume",
        Severity::Info,
        "others cannot make this volume again, nor tell what is in it: it is bound, and not shown",
        "`disclosure: public`, where the contents may be known",
    ),
    rule(
        "volume-made-before",
        Severity::Info,
        "a rebuild takes this volume's record as it is, and does not make the volume again",
        "`files`, so that it is made with the image; or `counterfoil volume build` of the same contents",
    ),
    // Inputs.
    rule(
        "input-unlocked",
        Severity::High,
        "nothing pins these: the next build may be of other bytes",
        "`counterfoil lock MANIFEST`",
    ),
    rule(
        "input-unsigned-archive",
        Severity::High,
        "no signature stands behind these packages in the lock",
        "`counterfoil lock MANIFEST --update INPUT`, from an archive that is signed",
    ),
    rule(
        "input-expired-archive",
        Severity::Medium,
        "the archive's release file had expired when it was locked: an old state, or one that was \
         withheld from newer ones",
        "`counterfoil lock MANIFEST --update`, from a mirror that is current",
    ),
    rule(
        "input-not-rebuildable",
        Severity::Medium,
        "taken as they are, on the word of whoever made them: nothing says what they were made from",
        "a `build` input that compiles them; for weights and texts, that everybody can look at them",
    ),
    rule(
        "input-vendor-build",
        Severity::Low,
        "taken as the vendor's machines compiled them: a rebuild shows the same bytes, not where they \
         come from",
        "recipes that compile from source: `firmware/amdsev.yaml`, `kernels/minimal.yaml`, \
         `servers/llama.yaml`",
    ),
    rule(
        "input-local-file",
        Severity::Low,
        "from the machine that locks: others have them only if they get them with the manifest",
        "publish them with the manifest, or name a `url` and its digest",
    ),
];
