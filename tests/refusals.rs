//! Bad input: one clear sentence with the input's name and what to do, the right exit code, nothing
//! half-written. Every case runs the program itself.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use support::deb::Deb;
use support::place::{Place, Ran};
use support::repository::{Repository, Suite};
use support::server::{Fault, Server};

/// A manifest whose kernel and firmware are files, so that nothing needs a network.
const MANIFEST: &str = r#"version: 1
name: image
inputs:
  firmware:
    file: firmware.fd
  kernel:
    file: vmlinuz
  config:
    file: config
  program:
    file: program
firmware:
  from: firmware
kernel:
  from: kernel
  config: config
cmdline: console=ttyS0
files:
  - path: /bin/program
    from: program
    mode: "0755"
init:
  exec: [/bin/program]
launch:
  profile: qemu
  vcpus: [1]
  cpus: [EPYC-v4]
"#;

/// What a kernel must have.
const CONFIG: &str = "CONFIG_AMD_MEM_ENCRYPT=y\nCONFIG_EFI_STUB=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_DEVTMPFS=y\n\
    CONFIG_TMPFS=y\nCONFIG_SEV_GUEST=y\nCONFIG_TSM_REPORTS=y\nCONFIG_CONFIGFS_FS=y\nCONFIG_X86_X2APIC=y\nCONFIG_X86_PAT=y\n";

/// A setup header that reads as a kernel's. It is refused, or never reached, by every case here.
fn kernel() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    bytes[0x211] = 1;
    bytes[0x236] = 1;
    bytes
}

fn place() -> Place {
    filled(Place::new())
}

fn filled(place: Place) -> Place {
    place.write("image.yaml", MANIFEST);
    place.write("firmware.fd", [0; 4096]);
    place.write("vmlinuz", kernel());
    place.write("config", CONFIG);
    place.write("program", "#!");
    place
}

/// The manifest with `from` replaced by `to`, which must be refused.
#[track_caller]
fn with(from: &str, to: &str, code: i32, words: &[&str]) -> Ran {
    assert!(MANIFEST.contains(from), "{from}");
    let place = place();
    place.write("image.yaml", MANIFEST.replacen(from, to, 1));
    place.refuses(&["build", "image.yaml"], code, words)
}

mod manifest {
    use super::*;

    #[test]
    fn an_unknown_key() {
        with(
            "cmdline:",
            "cmdlime:",
            30,
            &["image.yaml:17:1", "unknown field `cmdlime`", "cmdline", "17 | cmdlime"],
        );
    }

    #[test]
    fn an_unknown_key_deep_inside() {
        with("    mode:", "    mod:", 30, &["image.yaml:21:5", "unknown field `mod`"]);
    }

    #[test]
    fn a_key_given_twice() {
        with(
            "name: image",
            "name: image\nname: other",
            30,
            &["image.yaml:3:1", "duplicate", "name"],
        );
    }

    #[test]
    fn a_missing_key() {
        with("cmdline: console=ttyS0\n", "", 30, &["image.yaml", "missing field `cmdline`"]);
    }

    #[test]
    fn a_version_of_the_future() {
        with("version: 1", "version: 2", 30, &["image.yaml:1:10", "version 2", "expected 1"]);
    }

    #[test]
    fn a_name_that_is_none() {
        with("name: image", "name: My Image", 30, &["image.yaml:2:7", "`My Image`", "lower-case"]);
    }

    #[test]
    fn a_mode_as_a_number() {
        with("mode: \"0755\"", "mode: 755", 30, &["image.yaml:21:11", "octal digits in quotes"]);
    }

    #[test]
    fn an_owner_by_name() {
        with("mode: \"0755\"", "owner: root", 30, &["image.yaml:21:12", "`root`", "UID:GID"]);
    }

    #[test]
    fn a_relative_path() {
        with("path: /bin/program", "path: bin/program", 30, &["image.yaml:19:11", "absolute path"]);
    }

    #[test]
    fn a_path_that_climbs() {
        with("path: /bin/program", "path: /bin/../program", 30, &["image.yaml:19:11", "`..`"]);
    }

    #[test]
    fn an_input_that_nobody_named() {
        let words = ["image.yaml:20:11", "`programme`", "config, firmware, kernel, program"];
        with("from: program", "from: programme", 30, &words);
    }

    #[test]
    fn an_input_that_nobody_uses() {
        with("  program:\n", "  extra:\n    file: x\n  program:\n", 30, &["`extra`", "remove it"]);
    }

    #[test]
    fn a_rule_with_two_contents() {
        with(
            "from: program",
            "from: program\n    text: hi",
            30,
            &["image.yaml:19:5", "exactly one of"],
        );
    }

    #[test]
    fn a_rule_with_no_content() {
        with("    from: program\n", "", 30, &["exactly one of `from`, `text`, `symlink`"]);
    }

    #[test]
    fn a_rule_without_path() {
        with("path: /bin/program\n    from", "from", 30, &["exactly one of `path` and `paths`"]);
    }

    #[test]
    fn libraries_of_a_text() {
        with("from: program", "text: x\n    libraries: true", 30, &["`libraries` need `from`"]);
    }

    #[test]
    fn a_link_with_a_mode() {
        with("from: program", "symlink: x", 30, &["a symbolic link has no `mode`"]);
    }

    #[test]
    fn nothing_to_start() {
        with("exec: [/bin/program]", "exec: []", 30, &["image.yaml", "`exec` is empty"]);
    }

    #[test]
    fn a_program_by_its_bare_name() {
        with(
            "exec: [/bin/program]",
            "exec: [program]",
            30,
            &["image.yaml:23:10", "no PATH search"],
        );
    }

    #[test]
    fn a_program_that_is_not_in_the_guest() {
        with(
            "exec: [/bin/program]",
            "exec: [/bin/other]",
            30,
            &["`/bin/other`", "no rule under `files`"],
        );
    }

    #[test]
    fn a_program_that_may_not_be_executed() {
        with("    mode: \"0755\"\n", "", 30, &["`/bin/program`", "not executable", "0755"]);
    }

    #[test]
    fn a_profile_that_is_none() {
        with("profile: qemu", "profile: qemo", 30, &["`launch.profile`", "qemo", "qemu"]);
    }

    #[test]
    fn a_cpu_that_is_none() {
        with("[EPYC-v4]", "[EPYC-v99]", 30, &["`launch.cpus`", "EPYC-v99", "EPYC-Milan"]);
    }

    #[test]
    fn volumes() {
        let volumes = |text: &str, words: &[&str]| {
            with("init:\n", &format!("volumes:\n{text}init:\n"), 30, words);
        };
        let files = "files: [{path: /a, text: a}]";
        volumes(
            "  model: {mount: /m}\n",
            &["image.yaml:23:18", "volume `model`", "either `files`"],
        );
        volumes(
            &format!("  model: {{mount: /m, record: program, {files}}}\n"),
            &["volume `model`", "either `files`"],
        );
        volumes(
            &format!("  Model: {{mount: /m, {files}}}\n"),
            &["`Model` is not the name of a volume"],
        );
        for mount in ["/", "/dev", "/tmp/models", "/proc/1"] {
            volumes(&format!("  model: {{mount: {mount}, {files}}}\n"), &["PID 1 mounts"]);
        }
        volumes(
            &format!("  a: {{mount: /m, {files}}}\n  b: {{mount: /m/n, {files}}}\n"),
            &["volume `b`", "hide one another"],
        );
        volumes(
            "  model: {mount: /m, record: nothing}\n",
            &["no input is named `nothing`", "program"],
        );
        volumes(
            "  model: {mount: /m, files: [{path: /a, from: nothing}]}\n",
            &["no input is named `nothing`"],
        );
        volumes(
            &format!("  model: {{mount: /m, {files}, on-corruption: ignore}}\n"),
            &["unknown variant `ignore`", "panic, restart"],
        );
    }

    #[test]
    fn what_is_said_of_a_volume_and_is_not_so() {
        let volumes = |text: &str, words: &[&str]| {
            with(
                "init:\n",
                &format!("volumes:\n  model: {{mount: /m, {text}}}\ninit:\n"),
                30,
                words,
            );
        };
        let files = "files: [{path: /a, text: a}]";
        for more in [files, "record: program", "on-corruption: restart"] {
            volumes(&format!("disclosure: none, {more}"), &["nothing is known", "leave out"]);
        }
        volumes(
            &format!("disclosure: committed, {files}"),
            &["tells their digests", "volume build --committed", "`record`"],
        );
        for disclosure in ["public", "committed"] {
            volumes(&format!("disclosure: {disclosure}"), &["either `files`", "disclosure: none"]);
        }
        volumes(&format!("disclosure: secret, {files}"), &["unknown variant `secret`"]);
    }

    #[test]
    fn scratch_disks() {
        let disks = |text: &str, words: &[&str]| {
            with("init:\n", &format!("{text}init:\n"), 30, words);
        };
        let volume = "volumes:\n  work: {mount: /m, disclosure: none}\n";
        disks("scratch:\n  work: {mount: /tmp/work}\n", &["scratch disk `work`", "PID 1 mounts"]);
        disks(
            &format!("{volume}scratch:\n  work: {{mount: /s}}\n"),
            &["`work` is a volume and a scratch disk"],
        );
        disks(
            &format!("{volume}scratch:\n  other: {{mount: /m/n}}\n"),
            &["scratch disk `other`", "hide one another"],
        );
        disks("scratch:\n  work: {mount: /s, size: 3}\n", &["unknown field `size`"]);
    }

    #[test]
    fn evidence() {
        let evidence = |text: &str, words: &[&str]| {
            with("launch:\n", &format!("  network: dhcp\nevidence: {text}\nlaunch:\n"), 30, words);
        };
        evidence("{http: 0}", &["image.yaml:25:18", "`evidence.http`: `0`", "from 1 to 65535"]);
        evidence("{http: 65536}", &["image.yaml:25", "65536"]);
        evidence("{vsock: 0}", &["`evidence.vsock`: `0`", "from 1 to 4294967294"]);
        evidence("{vsock: 4294967295}", &["`evidence.vsock`: `4294967295`"]);
        evidence("{https: 8001}", &["unknown field `https`", "http", "vsock"]);
        evidence("yes", &["image.yaml:25"]);
        evidence("{http: 1}\nevidence: {}", &["evidence"]);
        let unreachable = &["`evidence.http`", "without a network", "`network: dhcp`"];
        with("launch:\n", "evidence: {http: 8001}\nlaunch:\n", 30, unreachable);
        with(
            "launch:\n",
            "  user: \"65533:0\"\nevidence: {}\nlaunch:\n",
            30,
            &["`init.user`", "65533 is the evidence agent's user"],
        );
        let named = MANIFEST.replace("  program:\n", "  evidence:\n");
        let named = named.replace("from: program", "from: evidence");
        let place = place();
        place.write("image.yaml", named + "evidence: {}\n");
        place.refuses(&["build", "image.yaml"], 30, &["input `evidence`", "the evidence agent"]);
    }

    #[test]
    fn a_command_line_that_is_not_the_kernels() {
        let word = "counterfoil.volume.model=1,00,-,panic";
        with("console=ttyS0", word, 30, &[word, "binds a volume", "`volumes`"]);
        // The firmware adds 14 bytes, and the kernel takes 2047.
        let long = |length: usize| format!("cmdline: {}\n", "x".repeat(length));
        with("cmdline: console=ttyS0\n", &long(2034), 30, &["at most 2033 bytes"]);
        let longest = MANIFEST.replace("cmdline: console=ttyS0\n", &long(2033));
        let place = place();
        place.write("image.yaml", longest.replace("[/bin/program]", "[]"));
        place.refuses(&["build", "image.yaml"], 30, &["`exec` is empty"]);
    }

    #[test]
    fn an_igvm_file() {
        let igvm = |text: &str, words: &[&str]| {
            with("vcpus: [1]", &format!("vcpus: [1]\n  igvm: {text}"), 30, words);
        };
        igvm("{vcpus: 0}", &["image.yaml:27:17", "0 vCPUs"]);
        igvm("{vcpus: 4097}", &["4097 vCPUs"]);
        igvm("{vcpus: 1, features: 0x2}", &["features 0x2", "SNP_ACTIVE"]);
        igvm("{}", &["vcpus"]);
    }

    #[test]
    fn no_vcpus() {
        with("vcpus: [1]", "vcpus: [0]", 30, &["image.yaml", "0 vCPUs"]);
    }

    #[test]
    fn a_count_given_twice() {
        with("vcpus: [1]", "vcpus: [2, 2]", 30, &["`launch.vcpus`", "twice"]);
    }

    #[test]
    fn a_command_line_with_a_newline() {
        with(
            "cmdline: console=ttyS0",
            "cmdline: \"a\\nb\"",
            30,
            &["image.yaml:17:10", "printable ASCII"],
        );
    }

    #[test]
    fn a_tar_from_the_net_without_digest() {
        let tar = "    tar: {url: \"https://example.org/x.tar\"}\n";
        with("    file: program\n", tar, 30, &["input `program`", "needs its `sha256`"]);
    }

    #[test]
    fn a_digest_in_capitals() {
        let url =
            format!("    url: {{url: \"https://example.org/x\", sha256: {}}}\n", "A".repeat(64));
        with("    file: program\n", &url, 30, &["image.yaml", "64 lower-case hex digits"]);
    }

    #[test]
    fn packages_by_pattern() {
        let deb = "    deb: {suite: sid, packages: [\"lib*\"]}\n";
        with(
            "    file: program\n",
            deb,
            30,
            &["input `program`", "`lib*` is a pattern", "`depends`"],
        );
    }

    #[test]
    fn no_packages() {
        let deb = "    deb: {suite: sid, packages: []}\n";
        with("    file: program\n", deb, 30, &["input `program`", "`packages` is empty"]);
    }

    #[test]
    fn a_source_that_is_none() {
        with("    file: program\n", "    git: x\n", 30, &["image.yaml:11:5", "git"]);
    }

    #[test]
    fn merge_keys() {
        with("init:\n", "init:\n  <<: {grace: 1}\n", 30, &["image.yaml:23"]);
    }

    #[test]
    fn a_recipe_that_is_not_there() {
        with(
            "  from: kernel\n  config: config\n",
            "  recipe: nowhere.yaml\n",
            1,
            &["nowhere.yaml"],
        );
    }

    #[test]
    fn a_recipe_beside_a_kernel() {
        let words = ["image.yaml:15:3", "either a `recipe`"];
        with("  from: kernel\n", "  from: kernel\n  recipe: x.yaml\n", 30, &words);
    }

    #[test]
    fn no_manifest() {
        place().refuses(&["build", "other.yaml"], 1, &["failed reading `other.yaml`"]);
    }

    #[test]
    fn bytes_that_are_not_text() {
        let place = place();
        place.write("image.yaml", [0xff, 0xfe, 0x00]);
        place.refuses(&["build", "image.yaml"], 30, &["`image.yaml` is not UTF-8"]);
    }

    #[test]
    fn a_program_that_counterfoil_does_not_carry() {
        with("    file: program\n", "    builtin: bash\n", 30, &["no program `bash`", "hello"]);
    }

    #[test]
    fn something_in_the_place_of_pid_1() {
        for word in ["rdinit=/bin/sh", "init=/bin/sh", "initrd=x"] {
            with(
                "console=ttyS0",
                &format!("quiet {word}"),
                30,
                &[word, "PID 1's place", "`init.exec`"],
            );
        }
    }

    #[test]
    fn a_policy_without_which_no_guest_starts() {
        with("vcpus: [1]", "vcpus: [1]\n  policy: 0x0", 30, &["policy 0x0", "bit 17"]);
        with("vcpus: [1]", "vcpus: [1]\n  features: [0x2]", 30, &["features 0x2", "SNP_ACTIVE"]);
    }

    #[test]
    fn too_little_memory_and_a_port_that_is_none() {
        with("launch:\n", "run: {memory: 16}\nlaunch:\n", 30, &["128 MiB"]);
        with("launch:\n", "run: {ports: [0]}\nlaunch:\n", 30, &["`ports`"]);
        with(
            "launch:\n",
            "run: {ports: [65536]}\nlaunch:\n",
            30,
            &["whole number from 0 to 65535"],
        );
    }

    #[test]
    fn a_path_that_pid_1_mounts_over() {
        with(
            "path: /bin/program",
            "path: /run/program",
            30,
            &["`/run/program`", "would not be seen"],
        );
    }

    #[test]
    fn a_directory_to_work_in_that_is_nowhere() {
        with(
            "init:\n",
            "init:\n  workdir: /nowhere\n",
            30,
            &["`init.workdir`", "`/nowhere`", "directory: true"],
        );
    }

    #[test]
    fn the_name_of_pid_1_for_an_input() {
        let ran = with("  program:\n", "  init:\n", 30, &["`init` is PID 1's"]);
        drop(ran);
    }

    #[test]
    fn a_password_in_a_url() {
        let url = format!(
            "    url: {{url: \"https://me:secret@example.org/x\", sha256: {}}}\n",
            "0".repeat(64)
        );
        let ran = with("    file: program\n", &url, 30, &["input `program`", "password"]);
        assert!(!ran.stderr.contains("error: image.yaml: secret"));
    }

    #[test]
    fn a_path_in_a_single_file() {
        with(
            "from: program\n",
            "from: program\n    source: /x\n",
            30,
            &["input `program`", "single file", "leave `source` out"],
        );
    }

    #[test]
    fn a_kernel_without_its_configuration() {
        let from = "  config:\n    file: config\n";
        let place = place();
        place.write("image.yaml", MANIFEST.replace(from, "").replace("  config: config\n", ""));
        place.refuses(
            &["build", "image.yaml"],
            20,
            &["input `kernel`", "cannot be judged", "`kernel.config`"],
        );
    }

    #[test]
    fn the_configuration_of_another_kernel() {
        let place = place();
        place.write("config", format!("# Linux/x86 6.1.99 Kernel Configuration\n{CONFIG}"));
        place.refuses(&["build", "image.yaml"], 10, &["input `kernel`", "of another kernel"]);
    }

    #[test]
    fn a_kernel_that_cannot_attest() {
        let place = place();
        place
            .write("config", CONFIG.replace("CONFIG_SEV_GUEST=y", "# CONFIG_SEV_GUEST is not set"));
        place.refuses(
            &["build", "image.yaml"],
            10,
            &["input `kernel`", "CONFIG_SEV_GUEST", "6.12"],
        );
    }

    #[test]
    fn a_kernel_that_was_cut_short() {
        let place = place();
        let mut bytes = kernel();
        bytes[0x1f4..0x1f8].copy_from_slice(&0x1000_u32.to_le_bytes());
        place.write("vmlinuz", bytes);
        place.refuses(&["build", "image.yaml"], 10, &["input `kernel`"]);
    }

    #[test]
    fn two_rules_for_one_directory() {
        let rules = "files:\n  - {path: /data, directory: true, mode: \"0700\"}\n  - {path: /data, directory: true}\n";
        with("files:\n", rules, 30, &["collide"]);
    }

    #[test]
    fn a_name_that_ends_the_archive() {
        let rules = "files:\n  - {path: \"/TRAILER!!!\", text: x}\n";
        let place = place();
        place.write("image.yaml", MANIFEST.replace("files:\n", rules));
        place.refuses(&["build", "image.yaml"], 30, &["initrd cannot be written", "/TRAILER!!!"]);
    }

    #[test]
    fn a_directory_where_a_file_is_said() {
        let place = place();
        fs::create_dir(place.path("tree")).unwrap();
        place.write("image.yaml", MANIFEST.replace("file: program", "file: tree"));
        place.refuses(
            &["build", "image.yaml"],
            30,
            &["input `program`", "is a directory", "`dir:`"],
        );
    }

    #[test]
    fn an_error_for_programs() {
        let place = place();
        place.write("image.yaml", MANIFEST.replace("version: 1", "version: 2"));
        let ran = place.run(&["build", "image.yaml", "--format", "json"]);
        assert_eq!(ran.code, 30);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(json["error"]["kind"], "malformed");
        assert!(json["error"]["message"].as_str().unwrap().contains("version 2"));
    }

    #[test]
    fn a_host_name_with_a_dot() {
        with("init:\n", "init:\n  hostname: a.b\n", 30, &["`init.hostname`", "`a.b`"]);
    }
}

mod lock {
    use super::*;

    fn locked() -> Place {
        let place = place();
        place.succeeds(&["lock", "image.yaml"]);
        place
    }

    #[test]
    fn none_when_one_must_be_there() {
        let words = ["no lock `image.lock.yaml`", "counterfoil lock image.yaml"];
        place().refuses(&["build", "image.yaml", "--locked"], 20, &words);
    }

    #[test]
    fn one_of_another_manifest() {
        let place = locked();
        place.write("image.yaml", MANIFEST.replace("ttyS0", "ttyS1"));
        let words = ["image.lock.yaml", "made from another manifest", "counterfoil lock"];
        place.refuses(&["build", "image.yaml"], 10, &words);
    }

    #[test]
    fn one_that_was_edited() {
        let place = locked();
        let text = place.read("image.lock.yaml").replace("builtin:", "bultin:");
        place.write("image.lock.yaml", text);
        place.refuses(
            &["build", "image.yaml"],
            30,
            &["image.lock.yaml:4:1", "bultin", "never by hand"],
        );
    }

    #[test]
    fn one_of_the_future() {
        let place = locked();
        let text = place.read("image.lock.yaml").replace("version: 1", "version: 7");
        place.write("image.lock.yaml", text);
        place.refuses(&["build", "image.yaml"], 20, &["version 7", "newer counterfoil"]);
    }

    #[test]
    fn an_update_of_nothing() {
        let words = ["no input is named `kernle`", "kernel", "init"];
        locked().refuses(&["lock", "image.yaml", "--update", "kernle"], 2, &words);
    }

    #[test]
    fn a_file_that_changed_since() {
        let place = locked();
        place.write("program", "#!changed");
        let words = ["input `program`", "has changed since it was locked", "--update program"];
        place.refuses(&["build", "image.yaml"], 10, &words);
    }

    #[test]
    fn a_directory_that_grew() {
        let place = place();
        place.write("tree/program", "#!");
        let manifest = MANIFEST
            .replace("file: program", "dir: tree")
            .replace("path: /bin/program\n", "path: /bin\n    source: /\n");
        place.write("image.yaml", manifest);
        place.succeeds(&["lock", "image.yaml"]);
        place.write("tree/more", "x");
        let words = ["input `program`", "`/more` was added or removed", "--update program"];
        place.refuses(&["build", "image.yaml"], 10, &words);
    }

    #[test]
    fn a_file_that_is_nowhere() {
        let place = place();
        fs::remove_file(place.path("program")).unwrap();
        place.refuses(&["lock", "image.yaml"], 20, &["input `program`", "failed opening"]);
    }

    #[test]
    fn a_directory_with_a_fifo() {
        let place = place();
        fs::create_dir(place.path("tree")).unwrap();
        let made = Command::new("mkfifo").arg(place.path("tree/pipe")).status().unwrap();
        assert!(made.success());
        place.write("image.yaml", MANIFEST.replace("file: program", "dir: tree"));
        place.refuses(
            &["lock", "image.yaml"],
            30,
            &["input `program`", "`/pipe` is a device, socket or FIFO"],
        );
    }
}

mod store {
    use super::*;

    fn objects(place: &Place) -> Vec<std::path::PathBuf> {
        let root = place.path("cache/counterfoil/objects");
        let files = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
        files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect()
    }

    /// What a build needs is brought back into an empty store, from the program and from beside the
    /// manifest.
    #[test]
    fn an_empty_one_is_filled_from_what_is_here() {
        let place = place();
        place.succeeds(&["lock", "image.yaml"]);
        fs::remove_dir_all(place.path("cache")).unwrap();
        place.refuses(&["build", "image.yaml"], 30, &["firmware, input `firmware`"]);
    }

    /// A lock that names another PID 1 than this program carries.
    #[test]
    fn a_program_of_another_counterfoil() {
        let place = place();
        place.succeeds(&["lock", "image.yaml"]);
        let text = place.read("image.lock.yaml");
        let digest = text.split("sha256: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        place.write(
            "image.lock.yaml",
            text.replacen(&digest, &format!("\"{}\"", "0".repeat(64)), 1),
        );
        let words = ["builtin `init`", "another one than the lock names", "--update init"];
        place.refuses(&["build", "image.yaml"], 20, &words);
        place.succeeds(&["lock", "image.yaml", "--update", "init"]);
        place.refuses(&["build", "image.yaml"], 30, &["firmware, input `firmware`"]);
    }

    /// It would know nothing of an agent, and the guest would not start.
    #[test]
    fn an_older_pid_1_does_not_stay_when_evidence_is_asked_for() {
        let place = place();
        place.succeeds(&["lock", "image.yaml"]);
        let text = place.read("image.lock.yaml");
        let carried = text.split("sha256: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        let older = format!("\"{}\"", "0".repeat(64));
        place.write("image.lock.yaml", text.replacen(&carried, &older, 1));
        place.write("image.yaml", format!("{MANIFEST}run:\n  memory: 512\n"));
        place.succeeds(&["lock", "image.yaml"]);
        assert!(place.read("image.lock.yaml").contains(&older), "PID 1 stays as it was locked");
        place.write("image.yaml", format!("{MANIFEST}evidence: {{}}\n"));
        place.succeeds(&["lock", "image.yaml"]);
        let text = place.read("image.lock.yaml");
        assert!(text.contains("  evidence:\n") && text.contains(&carried), "{text}");
        assert!(!text.contains(&older), "{text}");
    }

    fn locked_and_alone() -> Place {
        let place = place();
        place.succeeds(&["lock", "image.yaml"]);
        fs::remove_file(place.path("program")).unwrap();
        place
    }

    #[test]
    fn an_object_that_was_altered() {
        let place = locked_and_alone();
        for path in objects(&place) {
            if fs::read(&path).unwrap() == b"#!" {
                fs::write(&path, b"#?").unwrap();
            }
        }
        let words = ["input `program`", "altered", "removed from the store"];
        place.refuses(&["build", "image.yaml"], 10, &words);
        place.refuses(&["build", "image.yaml"], 20, &["input `program`", "not in the store"]);
    }

    #[test]
    fn an_object_that_is_not_there() {
        let place = locked_and_alone();
        objects(&place).iter().for_each(|path| fs::remove_file(path).unwrap());
        let words = ["not in the store", "import a bundle"];
        place.refuses(&["build", "image.yaml", "--offline"], 20, &words);
    }

    #[test]
    fn a_store_that_cannot_be_made() {
        let place = place();
        place.write("occupied", "a file");
        let words = ["failed making the store's directory", "occupied"];
        place.refuses(&["lock", "image.yaml", "--store", "occupied"], 1, &words);
    }

    /// A file system of 128 KiB in a mount namespace of its own; said and skipped where that is not
    /// allowed.
    #[test]
    fn a_full_disk() {
        let place = place();
        place.write("program", vec![7; 1 << 20]);
        fs::create_dir(place.path("small")).unwrap();
        let script =
            "mount -t tmpfs -o size=128k none small && exec \"$0\" lock image.yaml --store small";
        let output = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script])
            .arg(env!("CARGO_BIN_EXE_counterfoil"))
            .current_dir(place.root())
            .output();
        let Ok(output) = output else { return eprintln!("skipped: unshare is not installed") };
        let ran = Ran::of(&output);
        if ran.stderr.contains("unshare") || ran.stderr.contains("mount:") {
            return eprintln!("skipped: no mount namespace: {}", ran.stderr);
        }
        ran.is_refusal(1, &["input `program`", "No space left on device", "--store"]);
        assert!(!place.path("image.lock.yaml").exists());
    }
}

mod packages {
    use super::*;

    fn suite(packages: Vec<Deb>) -> Suite {
        Suite::new("unstable", "sid", packages)
    }

    fn tool() -> Deb {
        Deb::new("tool", "1.0-1").file("usr/bin/tool", 0o755, "#!")
    }

    fn manifest(packages: &str) -> String {
        MANIFEST
            .replace("file: program", &format!("deb: {{suite: sid, packages: [{packages}]}}"))
            .replace("/bin/program", "/usr/bin/tool")
            .replace("    mode: \"0755\"\n", "")
    }

    fn with_packages(packages: Vec<Deb>) -> (Repository, Place) {
        let repository = Repository::new();
        repository.publish(&suite(packages));
        let place = filled(Place::with(&repository));
        place.write("image.yaml", manifest("tool"));
        (repository, place)
    }

    /// The package is locked, and then refused when the image is put together, or before.
    #[track_caller]
    fn refused(deb: Deb, code: i32, words: &[&str]) {
        let (_repository, place) = with_packages(vec![deb]);
        place.refuses(&["build", "image.yaml"], code, words);
    }

    #[test]
    fn one_that_the_suite_lacks() {
        let (_repository, place) = with_packages(vec![tool()]);
        place.write("image.yaml", manifest("tol"));
        place.refuses(&["build", "image.yaml"], 20, &["input `program`", "`tol`", "tool", "sid"]);
    }

    #[test]
    fn a_path_that_it_lacks() {
        let deb = Deb::new("tool", "1.0-1").file("usr/sbin/tool", 0o755, "#!");
        let words = [
            "input `program`",
            "packages tool",
            "holds no `/usr/bin/tool`",
            "it holds `/usr/sbin/tool`",
        ];
        refused(deb, 20, &words);
    }

    #[test]
    fn a_path_that_climbs_out() {
        let deb = tool().file("../../etc/passwd", 0o644, "root::0:0");
        refused(
            deb,
            30,
            &["input `program`, package `tool`", "../../etc/passwd", "leaves its root"],
        );
    }

    #[test]
    fn the_same_file_twice() {
        refused(
            tool().file("usr/bin/tool", 0o755, "other"),
            30,
            &["package `tool`", "`/usr/bin/tool` twice"],
        );
    }

    #[test]
    fn a_device() {
        let deb = Deb::new("tool", "1").entry(
            "usr/bin/tool",
            tar::EntryType::Char,
            0o666,
            None,
            Vec::new(),
        );
        refused(deb, 30, &["input `program`", "`/usr/bin/tool` is a character device"]);
    }

    #[test]
    fn a_link_out_of_the_package() {
        let deb = Deb::new("tool", "1").symlink("usr/bin/tool", "../../../../etc/shadow");
        refused(deb, 20, &["input `program`", "`/usr/bin/tool` is a link", "/etc/shadow"]);
    }

    #[test]
    fn links_in_a_circle() {
        let deb =
            Deb::new("tool", "1").symlink("usr/bin/tool", "other").symlink("usr/bin/other", "tool");
        refused(deb, 20, &["input `program`", "`/usr/bin/tool` is a link"]);
    }

    #[test]
    fn a_hard_link_to_nothing() {
        let deb = Deb::new("tool", "1").hard_link("usr/bin/tool", "./usr/bin/gone");
        refused(deb, 20, &["input `program`", "`/usr/bin/gone`"]);
    }

    #[test]
    fn links_that_stay_inside_are_followed() {
        let deb = Deb::new("tool", "1")
            .file("usr/lib/tool/tool-1", 0o755, "#!real")
            .symlink("usr/lib/current", "tool")
            .hard_link("usr/lib/tool/again", "./usr/lib/tool/tool-1")
            .symlink("usr/bin/tool", "../lib/current/again");
        let (_repository, place) = with_packages(vec![deb]);
        // It gets as far as the firmware, which is none.
        place.refuses(&["build", "image.yaml"], 30, &["firmware, input `firmware`"]);
    }

    #[test]
    fn a_link_placed_where_files_go() {
        let (_repository, place) = with_packages(vec![tool()]);
        let text =
            manifest("tool").replace("files:\n", "files:\n  - path: /usr\n    symlink: /tmp\n");
        place.write("image.yaml", text);
        let words = ["`/usr/bin/tool`", "`/usr` is a symbolic link, not a directory"];
        let ran = place.run(&["build", "image.yaml"]);
        // Whichever is placed second is the one named; both sentences name the path in question.
        assert_eq!(ran.code, 30, "{}", ran.stderr);
        assert!(
            words.iter().all(|word| ran.stderr.contains(word))
                || ran.stderr.contains("`/usr` is there already"),
            "{}",
            ran.stderr
        );
        place.is_clean();
    }

    #[test]
    fn one_that_is_no_package() {
        let (repository, place) = with_packages(vec![tool()]);
        // Signed and listed as it is, and still not a package.
        let text = "Package: tool\nVersion: 1.0-1\nArchitecture: amd64\nFilename: pool/main/junk.deb\nSize: 4\nSHA256: 00c9f7c0d1d3cd6a4ab0fbd4a5d1aa4c4a8e3bb1a2a3f0c5c8d1b2a3c4d5e6f7\n\n";
        drop((repository, text));
        let store = place.path("deb");
        fs::write(&store, "junk").unwrap();
        let mut manifest = MANIFEST.replace("file: program", "tar: {file: deb.tar.xz}");
        manifest = manifest.replace("/bin/program", "/usr/bin/tool");
        place.write("image.yaml", manifest);
        place.write("deb.tar.xz", b"\xfd7zXZ\0 but nothing more");
        place.refuses(&["build", "image.yaml"], 30, &["input `program`"]);
    }

    #[test]
    fn one_that_was_cut_short() {
        let (repository, place) = with_packages(vec![tool()]);
        let path = "pool/main/tool_1.0-1_amd64.deb";
        let bytes = repository.read(path);
        repository.write(path, &bytes[..bytes.len() - 10]);
        let words = ["input `program`", "tool_1.0-1_amd64.deb", "not what was promised"];
        place.refuses(&["build", "image.yaml"], 10, &words);
    }

    #[test]
    fn one_that_was_altered() {
        let (repository, place) = with_packages(vec![tool()]);
        let path = "pool/main/tool_1.0-1_amd64.deb";
        let mut bytes = repository.read(path);
        bytes[100] ^= 1;
        repository.write(path, &bytes);
        place.refuses(&["build", "image.yaml"], 10, &["input `program`", "sha256"]);
    }

    /// A lock that passes other contents off under a package's name, digest and all.
    #[test]
    fn contents_of_another_in_the_lock() {
        let other = Deb::new("other", "1").file("usr/bin/tool", 0o755, "#!evil");
        let (_repository, place) = with_packages(vec![tool(), other]);
        place.write("image.yaml", manifest("other"));
        place.succeeds(&["lock", "image.yaml"]);
        let data = |text: &str| text.split("        data:\n").nth(1).unwrap().to_owned();
        let evil = data(&place.read("image.lock.yaml"));
        place.write("image.yaml", manifest("tool"));
        place.succeeds(&["lock", "image.yaml"]);
        let text = place.read("image.lock.yaml");
        place.write("image.lock.yaml", text.replace(&data(&text), &evil));
        let words = ["input `program`, package `tool`", "unpacks to", "the lock says"];
        place.refuses(&["build", "image.yaml"], 10, &words);
    }

    #[test]
    fn one_that_has_left_the_mirror() {
        let (repository, place) = with_packages(vec![tool()]);
        place.succeeds(&["lock", "image.yaml"]);
        fs::remove_file(repository.root().join("pool/main/tool_1.0-1_amd64.deb")).unwrap();
        fs::remove_dir_all(place.path("cache")).unwrap();
        let words = ["input `program`, package `tool`", "bundle", "--update INPUT"];
        place.refuses(&["build", "image.yaml"], 20, &words);
    }

    #[test]
    fn a_release_file_by_somebody_else() {
        let (_repository, place) = with_packages(vec![tool()]);
        let other = Repository::signed_by(support::key::Key::new(2));
        let place_of_other = filled(Place::with_mirror(&_repository.uri(), &other.keyring()));
        place_of_other.write("image.yaml", place.read("image.yaml"));
        place_of_other.refuses(
            &["build", "image.yaml"],
            10,
            &["input `program`", "InRelease", "trusted"],
        );
    }

    #[test]
    fn a_release_file_that_was_altered() {
        let (repository, place) = with_packages(vec![tool()]);
        let text = String::from_utf8(repository.read("dists/sid/InRelease")).unwrap();
        repository
            .write("dists/sid/InRelease", text.replace("Origin: Test", "Origin: Tost").as_bytes());
        place.refuses(&["build", "image.yaml"], 10, &["InRelease", "trusted"]);
    }

    #[test]
    fn an_expired_release_file_is_said_and_locked() {
        let repository = Repository::new();
        let mut suite = suite(vec![tool()]);
        suite.fields = "Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\n".to_owned();
        repository.publish(&suite);
        let place = filled(Place::with(&repository));
        place.write("image.yaml", manifest("tool"));
        let ran = place.succeeds(&["lock", "image.yaml"]);
        assert!(
            ran.stderr.contains("warning: the release file of `sid` expired"),
            "{}",
            ran.stderr
        );
        assert!(place.read("image.lock.yaml").contains("expired: true"));
        assert!(!place.read("image.lock.yaml").contains(&repository.uri()), "no mirror in a lock");
    }

    #[test]
    fn no_suite_of_that_name() {
        let (_repository, place) = with_packages(vec![tool()]);
        place.write("image.yaml", manifest("tool").replace("suite: sid", "suite: forky"));
        place.refuses(&["build", "image.yaml"], 20, &["`forky`", "--mirror"]);
    }

    #[test]
    fn a_library_that_nobody_provides() {
        // This test's own program needs libc, which the package does not bring.
        let program = fs::read(env!("CARGO_BIN_EXE_counterfoil")).unwrap();
        let deb = Deb::new("tool", "1").file("usr/bin/tool", 0o755, program);
        let (_repository, place) = with_packages(vec![deb]);
        let text =
            manifest("tool").replace("from: program\n", "from: program\n    libraries: true\n");
        place.write("image.yaml", text);
        let words = ["input `program`", "/usr/bin/tool", "needs the", "`packages`"];
        place.refuses(&["build", "image.yaml"], 20, &words);
    }

    #[test]
    fn an_update_says_what_changes() {
        let (repository, place) = with_packages(vec![tool()]);
        place.succeeds(&["lock", "image.yaml"]);
        repository.publish(&suite(vec![Deb::new("tool", "1.1-1").file(
            "usr/bin/tool",
            0o755,
            "#!2",
        )]));
        let kept = place.succeeds(&["lock", "image.yaml"]);
        assert!(kept.stdout.contains("nothing changed"), "{}", kept.stdout);
        let updated = place.succeeds(&["lock", "image.yaml", "--update", "program"]);
        for words in ["program/tool", "1.0-1", "→ 1.1-1", "rolls initrd"] {
            assert!(updated.stdout.contains(words), "{words}: {}", updated.stdout);
        }
    }

    #[test]
    fn a_url_with_other_bytes() {
        let place = place();
        let served = tempfile::tempdir().unwrap();
        fs::write(served.path().join("x"), "served").unwrap();
        let server = Server::start(served.path());
        let url = format!("url: {{url: \"{}\", sha256: {}}}", server.url("x"), "0".repeat(64));
        place.write("image.yaml", MANIFEST.replace("file: program", &url));
        place.refuses(
            &["build", "image.yaml"],
            10,
            &["input `program`", "not what was promised", "sha256"],
        );
    }

    /// A download that broke off goes on where it stopped, also after kill -9.
    #[test]
    fn a_download_killed_in_the_middle_goes_on() {
        let noise: Vec<u8> =
            (0..4_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let big = Deb::new("tool", "1.0-1").file("usr/bin/tool", 0o755, noise);
        let repository = Repository::new();
        repository.publish(&suite(vec![big]));
        let server = Server::start(repository.root());
        let place = filled(Place::with_mirror(&server.uri(), &repository.keyring()));
        place.write("image.yaml", manifest("tool"));
        let path = "pool/main/tool_1.0-1_amd64.deb";
        server.fault(path, Fault::Stall(6_000_000));
        let mut child = place.command(&["lock", "image.yaml"]).spawn().unwrap();
        let partial = place.path("cache/counterfoil/partial");
        let size = || {
            let entries = walkdir::WalkDir::new(&partial).into_iter().flatten();
            entries.filter_map(|e| Some(e.metadata().ok()?.len())).filter(|l| *l > 10_000).max()
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while size().unwrap_or(0) < 5_000_000 {
            assert!(std::time::Instant::now() < deadline, "the download never began");
            thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!place.path("image.lock.yaml").exists());
        place.succeeds(&["lock", "image.yaml"]);
        let ranges: Vec<_> =
            server.requests().into_iter().filter(|r| r.path.ends_with(path)).collect();
        assert!(ranges.last().unwrap().range.is_some(), "it began anew: {ranges:?}");
        assert!(size().is_none(), "the partial file was kept");
    }

    #[test]
    fn two_at_once_share_one_store() {
        let (_repository, place) = with_packages(vec![tool()]);
        let mut children: Vec<_> = (0..4)
            .map(|n| {
                place.write(&format!("image{n}.yaml"), manifest("tool"));
                let mut command = place.command(&["lock", &format!("image{n}.yaml")]);
                command.spawn().unwrap()
            })
            .collect();
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        let locks: Vec<_> = (0..4).map(|n| place.read(&format!("image{n}.lock.yaml"))).collect();
        assert!(locks.windows(2).all(|pair| pair[0] == pair[1]));
        place.is_clean();
    }
}

mod output {
    use super::*;

    #[test]
    fn a_directory_that_is_something_else() {
        let place = place();
        place.write("out/precious", "x");
        let words = ["`out` is there and is not a release", "--output"];
        place.refuses(&["build", "image.yaml", "--output", "out"], 2, &words);
        assert_eq!(place.read("out/precious"), "x");
    }

    #[test]
    fn a_release_to_which_somebody_added() {
        let place = place();
        place.write("out/launch.json", "{}");
        place.write("out/statement.json", "{}");
        let words = ["`out` holds `statement.json`", "--output"];
        place.refuses(&["build", "image.yaml", "--output", "out"], 2, &words);
        assert!(place.path("out/statement.json").exists());
    }

    #[test]
    fn firmware_that_is_none() {
        place().refuses(&["build", "image.yaml"], 30, &["firmware, input `firmware`"]);
    }

    #[test]
    fn a_kernel_that_is_none() {
        let place = place();
        place.write("vmlinuz", "\x7fELF");
        place.refuses(&["build", "image.yaml"], 10, &["input `kernel`", "not an x86 Linux kernel"]);
    }

    #[test]
    fn wrong_usage() {
        for arguments in
            [&["biuld"][..], &["build"], &["build", "a", "--what"], &["run", "x", "--port", "0"]]
        {
            let ran = place().run(arguments);
            assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        }
    }

    #[test]
    fn a_release_that_is_none() {
        for command in ["run", "measure"] {
            place().refuses(
                &[command, "nowhere"],
                20,
                &["`nowhere` is not a release", "counterfoil build"],
            );
        }
    }

    #[test]
    fn output_that_nobody_reads_is_no_failure() {
        let place = place();
        let mut child =
            place.command(&["man"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert!(child.wait().unwrap().success());
        let _ = std::io::stdout().flush();
    }
}
